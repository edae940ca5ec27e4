"""One contract for every language model: the bundled one, one behind HTTP, and the scripted fake."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rag.config import Settings
from rag.errors import ContextOverflow, LLMError, LLMUnavailable, ModelError
from rag.llm import LanguageModel, gguf
from rag.llm.base import picture_part
from rag.llm.litellm_api import RETRY_WAITS_S
from rag.llm.litellm_client import LiteLLMClient
from rag.llm.usage import counted
from tests.fakes.llms import ScriptedModel
from tests.fakes.server import Handler, Server, running

BUNDLED = "bundled/qwen2.5-coder-1.5b-instruct"
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
    """What rerank and answer rely on; subclasses give the fixture `llm`."""

    def test_completes(self, llm: LanguageModel) -> None:
        done = llm.complete(ask("Which city is the capital of France? Reply with its name."), max_tokens=8)
        assert "Paris" in done.text
        assert done.prompt_tokens > 0
        assert 0 < done.completion_tokens <= 8

    def test_writes_no_more_than_it_may(self, llm: LanguageModel) -> None:
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

    async def test_async_twins_say_the_same(self, llm: LanguageModel) -> None:
        question = ask("Which city is the capital of France? Reply with its name.")
        judged = ask("Is Paris in France? Reply Yes or No.")
        done, logit = await asyncio.gather(llm.acomplete(question, max_tokens=8), llm.ajudge(judged))
        streamed = [piece async for piece in llm.astream(question, max_tokens=8)]
        assert done.text == "".join(streamed) == llm.complete(question, max_tokens=8).text
        assert logit == pytest.approx(llm.judge(judged), abs=0.2)

    async def test_what_it_takes_is_counted(self, llm: LanguageModel) -> None:
        question, judged = ask("Which city is the capital of France?"), ask("Is Paris in France? Reply Yes or No.")
        whole = counted()
        done = llm.complete(question, max_tokens=8)
        assert (whole.prompt, whole.completion) == (done.prompt_tokens, done.completion_tokens)
        streamed = counted()
        assert [piece async for piece in llm.astream(question, max_tokens=8)]
        assert streamed.prompt > 0
        assert 0 < streamed.completion <= 8
        both = counted()
        await asyncio.gather(llm.ajudge(judged), llm.acomplete(question, max_tokens=8))
        assert both.prompt > whole.prompt == done.prompt_tokens
        assert both.is_known

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


class TestBundled(LanguageModelContract):
    @pytest.fixture
    def llm(self, bundled: LanguageModel) -> LanguageModel:
        return bundled

    def test_counts_as_the_model_does(self, llm: LanguageModel) -> None:
        text = "It's 1234 o'clock!\n\n  Émile sees 犬, x=1; [E1] <b>½</b>"
        empty = llm.complete(ask(""), max_tokens=1).prompt_tokens
        assert llm.complete(ask(text), max_tokens=1).prompt_tokens == empty + llm.count_tokens(text)

    def test_stops_when_the_stream_is_closed(self, llm: LanguageModel) -> None:
        stream = llm.stream(ask("Write a long story."), max_tokens=1000)
        next(stream)
        stream.close()
        assert llm.complete(ask("Say Paris."), max_tokens=4).text

    async def test_stops_when_the_async_stream_is_closed(self, llm: LanguageModel) -> None:
        stream = llm.astream(ask("Write a long story."), max_tokens=1000)
        await anext(stream)
        await stream.aclose()
        started = time.monotonic()
        assert (await llm.acomplete(ask("Say Paris."), max_tokens=4)).text
        assert time.monotonic() - started < 10  # the story takes 40 s

    async def test_stops_when_the_task_is_cancelled(self, llm: LanguageModel) -> None:
        task = asyncio.create_task(llm.acomplete(ask("Write a long story."), max_tokens=1000))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await llm.acomplete(ask("Say Paris."), max_tokens=4)).text

    def test_waits_no_longer_than_told(self) -> None:
        hasty = LiteLLMClient(BUNDLED, home=Settings().home, timeout_s=0.001)
        with pytest.raises(LLMUnavailable, match="EXHIBIT_LLM_TIMEOUT_S"):
            hasty.complete(ask("Write a long story."), max_tokens=1000)

    def test_refuses_a_malformed_schema(self, llm: LanguageModel) -> None:
        with pytest.raises(LLMError, match="schema"):
            llm.complete(ask("?"), max_tokens=4, schema={"type": "nonsense"})

    def test_knows_what_it_is(self, llm: LanguageModel) -> None:
        assert (llm.sees_images, llm.gives_logprobs, llm.context_tokens) == (False, True, 4096)


class TestScripted(LanguageModelContract):
    @pytest.fixture
    def llm(self) -> ScriptedModel:
        return ScriptedModel(_knows, lambda prompt: 2.0 if "France" in prompt else -2.0)

    def test_without_logprobs(self) -> None:
        mute = ScriptedModel(logit=lambda prompt: None)
        assert mute.judge(ask("?")) is mute.judge(ask("?")) is None
        assert len(mute.asked) == 1


def _knows(prompt: str) -> str:
    return '{"order":[1,2,3]}' if "JSON" in prompt else "Paris is the capital."


class _Handler(Handler):
    """An OpenAI-compatible server; how it behaves is told by the name of the model."""

    def answer(self, request: dict[str, Any]) -> None:
        text = json.dumps(request["messages"])
        status = {"busy": 429, "down": 503, "locked": 401, "missing": 404}.get(request["model"])
        if request["model"] == "busy" and len(self.server.requests) > len(RETRY_WAITS_S):
            status = None
        if status:
            self.send_json(status, {"error": {"message": f"status {status}"}})
        elif len(text) > 20_000:
            code = "context_length_exceeded"
            message = "This model's maximum context length is 4096 tokens."
            self.send_json(400, {"error": {"message": message, "code": code, "type": "invalid_request_error"}})
        elif request.get("logprobs") and request["model"] == "strict":
            self.send_json(400, {"error": {"message": "logprobs are not supported by this model"}})
        elif request.get("stream_options") and request["model"] == "old":
            self.send_json(400, {"error": {"message": "unknown parameter: stream_options"}})
        elif "image_url" in text and request["model"] == "blind":
            self.send_json(400, {"error": {"message": "this model reads text only"}})
        elif request.get("stream"):
            self._stream(request)
        else:
            self.send_json(200, _completion(request, text))

    def _stream(self, request: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for piece in ("Paris", " is", " it"):
            delta = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            self._event(request, [delta])
        self._event(request, [{"index": 0, "delta": {}, "finish_reason": "stop"}])
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, request: dict[str, Any], choices: list[dict[str, Any]]) -> None:
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": request["model"]}
        self.wfile.write(b"data: " + json.dumps(chunk | {"choices": choices}).encode() + b"\n\n")


def _completion(request: dict[str, Any], text: str) -> dict[str, Any]:
    yes, no = (-0.1, -2.4) if "France" in text else (-2.4, -0.1)
    top = [{"token": "Yes", "logprob": yes, "bytes": None}, {"token": " No", "logprob": no, "bytes": None}]
    judged = {"token": "Yes", "logprob": yes, "bytes": None, "top_logprobs": top}
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {
            "role": "assistant",
            "content": '{"order":[1,2,3]}' if "response_format" in request else "Paris is it",
        },
        "logprobs": {"content": [judged], "refusal": None}
        if request.get("logprobs") and request["model"] != "mute"
        else None,
    }
    usage = {
        "prompt_tokens": len(text),
        "completion_tokens": min(3, request["max_tokens"]),
        "total_tokens": len(text) + 3,
    }
    envelope = {"id": "1", "object": "chat.completion", "created": 1, "model": request["model"]}
    return envelope | {"choices": [choice], "usage": usage}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(_Handler) as server:
        yield server


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.usefixtures("litellm_closed")
class TestOverHttp(LanguageModelContract):
    @pytest.fixture
    def llm(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        return self.named("blind", server, tmp_path)

    def named(self, model: str, server: Server, home: Path) -> LanguageModel:
        server.requests.clear()
        return LiteLLMClient(f"openai/{model}", home=home, api_base=f"{server.url}/v1", timeout_s=20)

    async def test_a_server_that_cannot_count_streams_all_the_same(
        self, llm: LanguageModel, server: Server, tmp_path: Path
    ) -> None:
        llm, used = self.named("old", server, tmp_path), counted()
        assert list(llm.stream(ask("Paris?"), max_tokens=8)) == ["Paris", " is", " it"]
        assert [piece async for piece in llm.astream(ask("Paris?"), max_tokens=8)] == ["Paris", " is", " it"]
        assert not used.is_known

    def test_sends_pictures_to_a_model_that_sees(self, llm: LanguageModel, server: Server, tmp_path: Path) -> None:
        seeing = self.named("gpt-4o", server, tmp_path)
        assert seeing.sees_images
        assert seeing.complete(PICTURE, max_tokens=4).text == "Paris is it"
        assert seeing.context_tokens == 128_000

    def test_passing_failure_is_tried_again(self, llm: LanguageModel, server: Server, tmp_path: Path) -> None:
        assert self.named("busy", server, tmp_path).complete(ask("?"), max_tokens=4).text == "Paris is it"

    def test_lasting_outage_is_told(self, llm: LanguageModel, server: Server, tmp_path: Path) -> None:
        with pytest.raises(LLMUnavailable, match="is its server up"):
            self.named("down", server, tmp_path).complete(ask("?"), max_tokens=4)
        assert len(server.requests) == 1 + len(RETRY_WAITS_S)

    @pytest.mark.parametrize(("model", "advice"), [("locked", "the key"), ("missing", "EXHIBIT_LLM")])
    def test_refusal_is_not_tried_again(
        self, llm: LanguageModel, server: Server, tmp_path: Path, model: str, advice: str
    ) -> None:
        with pytest.raises(LLMError, match=advice):
            self.named(model, server, tmp_path).complete(ask("?"), max_tokens=4)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("model", ["mute", "strict"])
    async def test_server_without_logprobs_is_asked_once(
        self, llm: LanguageModel, server: Server, tmp_path: Path, model: str
    ) -> None:
        mute = self.named(model, server, tmp_path)
        assert mute.gives_logprobs
        assert mute.judge(ask("?")) is None
        assert not mute.gives_logprobs
        asked = len(server.requests)
        assert mute.judge(ask("?")) is await mute.ajudge(ask("?")) is None
        assert len(server.requests) == asked
        assert await self.named(model, server, tmp_path).ajudge(ask("?")) is None

    def test_an_outage_is_no_refusal_of_logprobs(self, llm: LanguageModel, server: Server, tmp_path: Path) -> None:
        locked = self.named("locked", server, tmp_path)
        with pytest.raises(LLMError, match="the key"):
            locked.judge(ask("?"))
        assert locked.gives_logprobs


def test_unknown_bundled_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LLMError, match=BUNDLED):
        LiteLLMClient("bundled/other", home=tmp_path).complete(ask("?"), max_tokens=1)


def test_unknown_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LLMError, match="refused the request"):
        LiteLLMClient("nonsense", home=tmp_path).complete(ask("?"), max_tokens=1)


def test_pictures_are_sent_small() -> None:
    large = Image.effect_noise((3000, 1500), 90).convert("RGBA")
    assert len(picture_part(large)["image_url"]["url"]) < 1_500_000
    assert large.size == (3000, 1500)


@pytest.mark.parametrize(
    "head", [b"", b"GGUF", b"RIFF" + bytes(60), b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(20)]
)
def test_damaged_gguf_is_refused(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "x.gguf").write_bytes(head)
    with pytest.raises(ModelError, match=r"x\.gguf"):
        gguf.tokenizer(tmp_path / "x.gguf")
