"""The contract of language models: the bundled one, one behind HTTP, and the scripted fake."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from PIL import Image

from rag.errors import ContextOverflow, LLMError
from rag.llm import LanguageModel
from rag.llm.base import picture_part
from rag.llm.usage import start_counting

NUMBERS = {
    "type": "object",
    "properties": {"order": {"type": "array", "items": {"type": "integer"}, "maxItems": 3}},
    "required": ["order"],
    "additionalProperties": False,
}


def ask(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


PICTURE = [{"role": "user", "content": [{"type": "text", "text": "?"}, picture_part(Image.new("RGB", (8, 8)))]}]


class LanguageModelContract:
    """Tests for every language model; subclasses define the fixture `llm`."""

    def test_completes(self, llm: LanguageModel) -> None:
        done = llm.complete(ask("Which city is the capital of France? Reply with its name."), max_tokens=8)
        assert "Paris" in done.text
        assert done.prompt_tokens > 0
        assert 0 < done.completion_tokens <= 8

    def test_respects_the_token_limit(self, llm: LanguageModel) -> None:
        assert llm.complete(ask("Count from one to twenty."), max_tokens=3).completion_tokens <= 3

    def test_stream_adds_up_to_the_answer(self, llm: LanguageModel) -> None:
        question = ask("Which city is the capital of France? Reply with its name.")
        pieces = list(llm.stream(question, max_tokens=8))
        assert all(pieces)
        assert "".join(pieces) == llm.complete(question, max_tokens=8).text

    def test_follows_a_schema(self, llm: LanguageModel) -> None:
        done = llm.complete(ask("Sort 3, 1, 2 as JSON."), max_tokens=40, schema=NUMBERS)
        assert sorted(json.loads(done.text)["order"]) == [1, 2, 3]

    def test_prefers_yes_or_no(self, llm: LanguageModel) -> None:
        yes = llm.judge(ask("Is Paris in France? Reply Yes or No."))
        no = llm.judge(ask("Is Paris in Japan? Reply Yes or No."))
        assert yes is not None
        assert no is not None
        assert math.isfinite(yes)
        assert yes > no

    async def test_async_twins_reply_alike(self, llm: LanguageModel) -> None:
        question = ask("Which city is the capital of France? Reply with its name.")
        judged = ask("Is Paris in France? Reply Yes or No.")
        done, logit = await asyncio.gather(llm.acomplete(question, max_tokens=8), llm.ajudge(judged))
        streamed = [piece async for piece in llm.astream(question, max_tokens=8)]
        assert done.text == "".join(streamed) == llm.complete(question, max_tokens=8).text
        assert logit == pytest.approx(llm.judge(judged), abs=0.2)

    async def test_tokens_are_counted(self, llm: LanguageModel) -> None:
        question, judged = ask("Which city is the capital of France?"), ask("Is Paris in France? Reply Yes or No.")
        whole = start_counting()
        done = llm.complete(question, max_tokens=8)
        assert (whole.prompt, whole.completion) == (done.prompt_tokens, done.completion_tokens)
        streamed = start_counting()
        assert [piece async for piece in llm.astream(question, max_tokens=8)]
        assert streamed.prompt > 0
        assert 0 < streamed.completion <= 8
        both = start_counting()
        await asyncio.gather(llm.ajudge(judged), llm.acomplete(question, max_tokens=8))
        assert both.prompt > whole.prompt == done.prompt_tokens
        assert both.is_known

    async def test_a_closed_stream_frees_the_model(self, llm: LanguageModel) -> None:
        question = ask("Which city is the capital of France? Reply with its name.")
        stream = llm.stream(question, max_tokens=8)
        assert next(stream)
        stream.close()
        assert not list(stream)
        twin = llm.astream(question, max_tokens=8)
        assert await anext(twin)
        await twin.aclose()
        assert llm.complete(question, max_tokens=8).text

    def test_has_what_the_protocol_names(self, llm: LanguageModel) -> None:
        for name in (name for name in vars(LanguageModel) if not name.startswith("_")):
            assert hasattr(llm, name), name
        llm.load()

    def test_prompt_over_the_context_is_refused(self, llm: LanguageModel) -> None:
        long = ask("one two three " * llm.context_tokens)
        with pytest.raises(ContextOverflow):
            llm.complete(long, max_tokens=1)
        with pytest.raises(ContextOverflow):
            next(iter(llm.stream(long, max_tokens=1)))

    def test_counts_tokens(self, llm: LanguageModel) -> None:
        assert llm.count_tokens("") == 0
        assert 2 <= llm.count_tokens("Hello world") <= 4

    def test_pictures_only_for_models_that_see(self, llm: LanguageModel) -> None:
        if llm.sees_images:
            assert llm.complete(PICTURE, max_tokens=4).text
        else:
            with pytest.raises(LLMError, match="text only"):
                llm.complete(PICTURE, max_tokens=4)
