"""A language model that says what a test tells it to."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any

from rag.errors import ContextOverflow, LLMError
from rag.llm import usage
from rag.llm.base import Completion, Message, Schema

_TOKEN = re.compile(r"\s*\S+")


class ScriptedModel:
    """Same interface as `rag.llm.LanguageModel`, without a model; a word is a token, a picture 1,400.

    Args:
        reply: what it writes, given the text of the last message; an error is raised.
        logit: its preference for Yes over No, given the same; None turns out to give no log-probabilities.
    """

    model = "scripted"

    def __init__(
        self,
        reply: Callable[[str], str | Exception] = lambda prompt: "",
        logit: Callable[[str], float | Exception | None] = lambda prompt: 0.0,
        *,
        context_tokens: int = 4096,
        sees_images: bool = False,
        gives_logprobs: bool = True,
    ) -> None:
        self.asked: list[list[Message]] = []
        self.context_tokens = context_tokens
        self.sees_images = sees_images
        self.gives_logprobs = gives_logprobs
        self._reply = reply
        self._logit = logit

    def complete(self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None) -> Completion:
        reply = _raised(self._reply(self._heard(messages)))
        words = _TOKEN.findall(reply)[:max_tokens]
        done = Completion("".join(words), self._length(messages), len(words))
        usage.add(done)
        return done

    async def acomplete(
        self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None
    ) -> Completion:
        return self.complete(messages, max_tokens=max_tokens, schema=schema)

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        # Three characters at a time: markers arrive in halves, as they do from a real model.
        text = self.complete(messages, max_tokens=max_tokens).text
        yield from (text[n : n + 3] for n in range(0, len(text), 3))

    async def astream(self, messages: Sequence[Message], *, max_tokens: int) -> AsyncGenerator[str]:
        for piece in self.stream(messages, max_tokens=max_tokens):
            yield piece

    def judge(self, messages: Sequence[Message]) -> float | None:
        if not self.gives_logprobs:
            return None
        logit = _raised(self._logit(self._heard(messages)))
        usage.add(Completion("", self._length(messages), 1))
        self.gives_logprobs = logit is not None
        return logit

    async def ajudge(self, messages: Sequence[Message]) -> float | None:
        return self.judge(messages)

    def count_tokens(self, text: str) -> int:
        return len(_TOKEN.findall(text))

    def _heard(self, messages: Sequence[Message]) -> str:
        self.asked.append(list(messages))
        if not self.sees_images and any(part["type"] != "text" for message in messages for part in _parts(message)):
            raise LLMError("`scripted` reads text only.")
        if self._length(messages) > self.context_tokens:
            raise ContextOverflow("The prompt is too long for `scripted`.")
        return text_of(messages[-1])

    def _length(self, messages: Sequence[Message]) -> int:
        return sum(self.count_tokens(text_of(message)) + 1400 * len(pictures_of(message)) for message in messages)


def text_of(message: Message) -> str:
    """The words of a message, without its pictures."""
    return "\n".join(part["text"] for part in _parts(message) if part["type"] == "text")


def pictures_of(message: Message) -> list[str]:
    """The pictures of a message, as data URLs."""
    return [part["image_url"]["url"] for part in _parts(message) if part["type"] == "image_url"]


def _parts(message: Message) -> list[dict[str, object]]:
    content = message["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _raised(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value
