"""Language models of every provider that litellm knows, `LiteLLMClient`: clouds and local servers.

``openai/gpt-4o``, ``anthropic/claude-…``, ``ollama_chat/llama3.2``: each call is one call of litellm
(`rag.llm.litellm_api`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from functools import cached_property
from typing import Any

from rag.errors import LLMError
from rag.llm import usage
from rag.llm.base import LOGPROBS, Completion, Message, Schema, response_format, yes_no_log_odds
from rag.llm.litellm_api import call_with_retries, import_litellm, is_refused, is_retryable, translated_errors
from rag.llm.retries import aretry, aretry_stream, retry_stream

# Assumed of a model that litellm does not know: the least that current servers have.
_UNKNOWN_CONTEXT_TOKENS = 4096
_WITH_USAGE: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
_WITHOUT_USAGE: Mapping[str, Any] = {"stream": True}


class LiteLLMClient:
    """A language model behind an API; see `LanguageModel` for its methods.

    Args:
        model: a litellm model string.
        timeout_s: longest wait for one reply.
        api_base: address of your own server, such as ``http://localhost:8000/v1``.
    """

    def __init__(self, model: str, *, timeout_s: float = 120.0, api_base: str | None = None) -> None:
        self.model = model
        self._timeout_s = timeout_s
        self._api_base = api_base
        self._refuses_logprobs = False

    def load(self) -> None:
        """Import litellm, which takes 2 s."""
        import_litellm()

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text with the nearest tokenizer that litellm has."""
        return int(import_litellm().token_counter(model=self.model, text=text))

    @cached_property
    def context_tokens(self) -> int:
        """See `LanguageModel.context_tokens`; 4096 if litellm does not know the model."""
        costs = import_litellm().model_cost
        known = costs.get(self.model) or costs.get(self.model.partition("/")[2]) or {}
        return int(known.get("max_input_tokens") or _UNKNOWN_CONTEXT_TOKENS)

    @cached_property
    def sees_images(self) -> bool:
        """See `LanguageModel.sees_images`; False if litellm does not know the model."""
        return bool(import_litellm().supports_vision(self.model))

    @property
    def gives_logprobs(self) -> bool:
        """See `LanguageModel.gives_logprobs`."""
        return not self._refuses_logprobs and self._supports_logprobs

    @cached_property
    def _supports_logprobs(self) -> bool:
        return "top_logprobs" in (import_litellm().get_supported_openai_params(self.model) or ())

    def complete(self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None) -> Completion:
        """See `LanguageModel.complete`."""
        return _completion(self._respond(self._call(messages, max_tokens, schema)))

    async def acomplete(
        self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None
    ) -> Completion:
        """See `LanguageModel.acomplete`."""
        return _completion(await self._arespond(self._call(messages, max_tokens, schema)))

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Generator[str]:
        """See `LanguageModel.stream`."""
        call = self._call(messages, max_tokens)
        reported = None
        with closing(retry_stream(lambda: self._chunks(call), is_retryable)) as chunks:
            for chunk in chunks:
                reported = getattr(chunk, "usage", None) or reported
                if text := _text(chunk):
                    yield text
        _count(reported)

    async def astream(self, messages: Sequence[Message], *, max_tokens: int) -> AsyncGenerator[str]:
        """See `LanguageModel.astream`."""
        call = self._call(messages, max_tokens)
        reported = None
        async with aclosing(aretry_stream(lambda: self._achunks(call), is_retryable)) as chunks:
            async for chunk in chunks:
                reported = getattr(chunk, "usage", None) or reported
                if text := _text(chunk):
                    yield text
        _count(reported)

    def judge(self, messages: Sequence[Message]) -> float | None:
        """See `LanguageModel.judge`."""
        if not self.gives_logprobs:
            return None
        with self._noticing_refusal():
            return self._log_odds(self._respond(self._call(messages, 1) | LOGPROBS))
        return None

    async def ajudge(self, messages: Sequence[Message]) -> float | None:
        """See `LanguageModel.ajudge`."""
        if not await asyncio.to_thread(lambda: self.gives_logprobs):  # may import litellm
            return None
        with self._noticing_refusal():
            return self._log_odds(await self._arespond(self._call(messages, 1) | LOGPROBS))
        return None

    def _call(self, messages: Sequence[Message], max_tokens: int, schema: Schema | None = None) -> dict[str, Any]:
        """Return the arguments of litellm's `completion`."""
        call: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "api_base": self._api_base,
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "timeout": self._timeout_s,
            "max_retries": 0,  # `rag.llm.retries` counts
            "drop_params": True,  # reasoning models refuse a temperature
        }
        return call if schema is None else call | {"response_format": response_format(schema)}

    def _respond(self, call: Mapping[str, Any]) -> Any:
        return call_with_retries(lambda: import_litellm().completion(**call), self.model)

    async def _arespond(self, call: Mapping[str, Any]) -> Any:
        litellm = await asyncio.to_thread(import_litellm)

        async def respond() -> Any:
            with translated_errors(self.model):
                return await litellm.acompletion(**call)

        return await aretry(respond, is_retryable)

    def _chunks(self, call: Mapping[str, Any]) -> Generator[Any]:
        """Yield litellm's chunks; older servers refuse to count what they stream, so they are asked without."""
        is_started = False
        try:
            for chunk in self._open_stream({**call, **_WITH_USAGE}):
                is_started = True
                yield chunk
        except LLMError as error:
            if is_started or not is_refused(error):
                raise
            yield from self._open_stream({**call, **_WITHOUT_USAGE})

    async def _achunks(self, call: Mapping[str, Any]) -> AsyncGenerator[Any]:
        """Async twin of `_chunks`."""
        is_started = False
        try:
            async with aclosing(self._aopen_stream({**call, **_WITH_USAGE})) as chunks:
                async for chunk in chunks:
                    is_started = True
                    yield chunk
        except LLMError as error:
            if is_started or not is_refused(error):
                raise
            async with aclosing(self._aopen_stream({**call, **_WITHOUT_USAGE})) as chunks:
                async for chunk in chunks:
                    yield chunk

    def _open_stream(self, call: Mapping[str, Any]) -> Generator[Any]:
        with translated_errors(self.model):
            yield from import_litellm().completion(**call)

    async def _aopen_stream(self, call: Mapping[str, Any]) -> AsyncGenerator[Any]:
        litellm = await asyncio.to_thread(import_litellm)
        with translated_errors(self.model):
            async for chunk in await litellm.acompletion(**call):
                yield chunk

    def _log_odds(self, response: Any) -> float | None:
        _count(response.usage)
        content = getattr(getattr(response.choices[0], "logprobs", None), "content", None)
        if not content:
            self._refuses_logprobs = True
            return None
        return yes_no_log_odds({item.token: item.logprob for item in content[0].top_logprobs})

    @contextmanager
    def _noticing_refusal(self) -> Iterator[None]:
        """End the block if the request is refused: some providers refuse requests for log-probabilities."""
        try:
            yield
        except LLMError as error:
            if not is_refused(error):
                raise
            self._refuses_logprobs = True


def _completion(response: Any) -> Completion:
    _count(response.usage)
    text = response.choices[0].message.content or ""
    return Completion(text, response.usage.prompt_tokens, response.usage.completion_tokens)


def _text(chunk: Any) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _count(reported: Any) -> None:
    """Count the tokens of litellm's `Usage`, or None."""
    usage.add(
        _number(reported, "prompt_tokens"),
        _number(reported, "completion_tokens"),
        cached=_number(getattr(reported, "prompt_tokens_details", None), "cached_tokens"),
        reasoning=_number(getattr(reported, "completion_tokens_details", None), "reasoning_tokens"),
    )


def _number(reported: Any, name: str) -> int:
    return getattr(reported, name, 0) or 0
