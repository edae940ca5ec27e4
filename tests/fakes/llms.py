"""A language model and an engine of llama.cpp whose replies a test scripts, and replies that tests share."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rag.errors import ContextOverflow, LLMError
from rag.llm import usage
from rag.llm.base import Completion, Message, Schema
from rag.llm.llama_cpp import Chunk, Engine

_TOKEN = re.compile(r"\s*\S+")


class ScriptedModel:
    """A `LanguageModel` without a model; a word is one token, a picture 1,400.

    Args:
        reply: returns what it writes, given the text of the last message; an error is raised.
        logit: returns the logit of Yes minus No, given the same; with None it gives no log-probabilities.
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
        self.requests: list[list[Message]] = []
        self.context_tokens = context_tokens
        self.sees_images = sees_images
        self.gives_logprobs = gives_logprobs
        self._reply = reply
        self._logit = logit

    def load(self) -> None:
        """Do nothing: there is no model."""

    def complete(self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None) -> Completion:
        reply = _raise_or_return(self._reply(self._receive(messages)))
        words = _TOKEN.findall(reply)[:max_tokens]
        done = Completion("".join(words), self._length(messages), len(words))
        usage.add(done.prompt_tokens, done.completion_tokens)
        return done

    async def acomplete(
        self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None
    ) -> Completion:
        return self.complete(messages, max_tokens=max_tokens, schema=schema)

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Generator[str]:
        # Three characters at a time: markers arrive in halves, as they do from a real model.
        text = self.complete(messages, max_tokens=max_tokens).text
        yield from (text[n : n + 3] for n in range(0, len(text), 3))

    async def astream(self, messages: Sequence[Message], *, max_tokens: int) -> AsyncGenerator[str]:
        for piece in self.stream(messages, max_tokens=max_tokens):
            yield piece

    def judge(self, messages: Sequence[Message]) -> float | None:
        if not self.gives_logprobs:
            return None
        logit = _raise_or_return(self._logit(self._receive(messages)))
        usage.add(self._length(messages), 1)
        self.gives_logprobs = logit is not None
        return logit

    async def ajudge(self, messages: Sequence[Message]) -> float | None:
        return self.judge(messages)

    def count_tokens(self, text: str) -> int:
        return len(_TOKEN.findall(text))

    def _receive(self, messages: Sequence[Message]) -> str:
        self.requests.append(list(messages))
        if not self.sees_images and any(part["type"] != "text" for message in messages for part in _parts(message)):
            raise LLMError("`scripted` reads text only.")
        if self._length(messages) > self.context_tokens:
            raise ContextOverflow("The prompt is too long for `scripted`.")
        return text_of(messages[-1])

    def _length(self, messages: Sequence[Message]) -> int:
        return sum(self.count_tokens(text_of(message)) + 1400 * len(pictures_of(message)) for message in messages)


class ScriptedEngine(Engine):
    """An engine that gives scripted replies, one for each request; an error is raised, and no reply runs on forever.

    Attributes:
        begun: set when a request runs.
        requests: those that ran.
    """

    def __init__(self, *replies: Sequence[Chunk] | Exception | None) -> None:
        super().__init__(Path(), 1)
        self.begun = threading.Event()
        self.requests: list[Mapping[str, Any]] = []
        self._replies = list(replies)

    def load(self) -> None:
        """Do nothing: there is no model."""

    def run(self, request: Mapping[str, Any], receive: Callable[[Chunk], bool]) -> None:
        self.requests.append(request)
        self.begun.set()
        reply = self._replies.pop(0)
        if reply is None:
            while not receive(text_chunk("x")):
                time.sleep(0.001)
        for chunk in _raise_or_return(reply) or ():
            receive(chunk)


class Replies:
    """What the bundled model replied in this process, to repeat it when a later test asks the same.

    Temperature is 0, so the model would say the same again, or nearly: rounding differs with the prompts before. A
    reply that was cancelled or failed is not repeated.

    Attributes:
        are_reused: False lets the model reply anew.
        run: stands in for `Engine.run`.
    """

    def __init__(self, run: Callable[[Engine, Mapping[str, Any], Callable[[Chunk], bool]], None]) -> None:
        self.are_reused = True
        replies: dict[tuple[Engine, str], list[Chunk]] = {}

        def reply(engine: Engine, request: Mapping[str, Any], receive: Callable[[Chunk], bool]) -> None:
            key = (engine, json.dumps(request, sort_keys=True))
            if self.are_reused and key in replies:
                any(receive(chunk) for chunk in replies[key])
                return
            chunks: list[Chunk] = []
            is_stopped = False  # by the receiver

            def record(chunk: Chunk) -> bool:
                nonlocal is_stopped
                chunks.append(chunk)
                is_stopped = receive(chunk) or is_stopped
                return is_stopped

            run(engine, request, record)
            if not is_stopped and not any("error" in chunk for chunk in chunks):
                replies[key] = chunks

        self.run = reply


def text_chunk(text: str, **others: Any) -> Chunk:
    """Return one piece of a reply, as llama.cpp streams it."""
    return {"choices": [{"delta": {"content": text}, "finish_reason": None}], **others}


def text_of(message: Message) -> str:
    """Return the words of a message, without its pictures."""
    return "\n".join(part["text"] for part in _parts(message) if part["type"] == "text")


def pictures_of(message: Message) -> list[str]:
    """Return the pictures of a message, as data URLs."""
    return [part["image_url"]["url"] for part in _parts(message) if part["type"] == "image_url"]


def _parts(message: Message) -> list[dict[str, object]]:
    content = message["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _raise_or_return(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value
