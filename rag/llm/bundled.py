"""The bundled language model: Qwen2.5-Coder-1.5B-Instruct in llama.cpp (`rag.llm.llama_cpp`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from typing import Any

from rag.errors import ContextOverflow, LLMError, LLMUnavailable
from rag.llm import usage
from rag.llm.base import LOGPROBS, Completion, Message, Schema, response_format, yes_no_log_odds
from rag.llm.llama_cpp import CONTEXT_TOKENS, NAME, Chunk, Engine, EngineRefused, agenerate, generate
from rag.llm.retries import aretry, aretry_stream, retry, retry_stream

MODEL = f"bundled/{NAME}"

_MAX_REPLY_TOKENS = 1024


class BundledLanguageModel:
    """The language model that comes with Exhibit; see `LanguageModel` for its methods. It reads text only.

    Args:
        engine: runs the model; knowledge bases share it (`rag.llm.llama_cpp.shared_engine`).
        model: its name; any other than `MODEL` is refused when the model is first used.
        timeout_s: longest wait for one reply, including the wait for earlier ones.
    """

    context_tokens = CONTEXT_TOKENS
    sees_images = False

    def __init__(self, engine: Engine, *, model: str = MODEL, timeout_s: float = 120.0) -> None:
        self.model = model
        self.gives_logprobs = True
        self._engine = engine
        self._timeout_s = timeout_s

    def load(self) -> None:
        """Load the model, which takes 6 s, unless it is loaded.

        Raises:
            LLMError: no bundled model has this name.
            ModelError: the model or its runtime is missing.
        """
        if self.model != MODEL:
            raise LLMError(f"No bundled language model is called `{self.model}`; there is `{MODEL}`.")
        self._engine.load()

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text as the model does."""
        return len(self._engine.tokenizer.encode(text).ids)

    def complete(self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None) -> Completion:
        """See `LanguageModel.complete`."""
        return _completion(self._all_chunks(_request(messages, max_tokens, schema)))

    async def acomplete(
        self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None
    ) -> Completion:
        """See `LanguageModel.acomplete`."""
        return _completion(await self._aall_chunks(_request(messages, max_tokens, schema)))

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Generator[str]:
        """See `LanguageModel.stream`."""
        request = _request(messages, max_tokens)
        self.load()
        reported = None
        with closing(retry_stream(lambda: self._chunks(request), _is_retryable)) as chunks:
            for chunk in chunks:
                reported = chunk.get("usage") or reported
                if text := _text(chunk):
                    yield text
        _count(reported)

    async def astream(self, messages: Sequence[Message], *, max_tokens: int) -> AsyncGenerator[str]:
        """See `LanguageModel.astream`."""
        request = _request(messages, max_tokens)
        await asyncio.to_thread(self.load)
        reported = None
        async with aclosing(aretry_stream(lambda: self._achunks(request), _is_retryable)) as chunks:
            async for chunk in chunks:
                reported = chunk.get("usage") or reported
                if text := _text(chunk):
                    yield text
        _count(reported)

    def judge(self, messages: Sequence[Message]) -> float | None:
        """See `LanguageModel.judge`."""
        if not self.gives_logprobs:
            return None
        return self._log_odds(self._all_chunks(_request(messages, 1) | LOGPROBS))

    async def ajudge(self, messages: Sequence[Message]) -> float | None:
        """See `LanguageModel.ajudge`."""
        if not self.gives_logprobs:
            return None
        return self._log_odds(await self._aall_chunks(_request(messages, 1) | LOGPROBS))

    def _all_chunks(self, request: Chunk) -> list[Chunk]:
        self.load()
        return retry(lambda: list(self._chunks(request)), _is_retryable)

    async def _aall_chunks(self, request: Chunk) -> list[Chunk]:
        async def collect() -> list[Chunk]:
            async with aclosing(self._achunks(request)) as chunks:
                return [chunk async for chunk in chunks]

        await asyncio.to_thread(self.load)
        return await aretry(collect, _is_retryable)

    def _chunks(self, request: Chunk) -> Generator[Chunk]:
        with _translated_errors(self.model), closing(generate(self._engine, request, self._timeout_s)) as chunks:
            yield from chunks

    async def _achunks(self, request: Chunk) -> AsyncGenerator[Chunk]:
        with _translated_errors(self.model):
            async with aclosing(agenerate(self._engine, request, self._timeout_s)) as chunks:
                async for chunk in chunks:
                    yield chunk

    def _log_odds(self, chunks: Sequence[Chunk]) -> float | None:
        _count(_reported_usage(chunks))
        for chunk in chunks:
            for choice in chunk["choices"]:
                for token in (choice.get("logprobs") or {}).get("content") or ():
                    return yes_no_log_odds({item["token"]: item["logprob"] for item in token["top_logprobs"]})
        self.gives_logprobs = False
        return None


@contextmanager
def _translated_errors(model: str) -> Iterator[None]:
    """Raise Exhibit's errors for those of llama.cpp."""
    try:
        yield
    except EngineRefused as error:
        if error.is_too_long:
            raise ContextOverflow(f"The prompt is too long for `{model}`: {error}") from error
        raise LLMUnavailable(f"`{model}` failed: {error}") from error
    except ValueError as error:
        raise LLMError(f"`{model}` refused the request: {error}") from error
    except TimeoutError as error:
        raise LLMUnavailable(f"`{model}` did not answer in time; raise EXHIBIT_LLM_TIMEOUT_S.") from error
    except RuntimeError as error:
        raise LLMUnavailable(f"`{model}` failed: {error}") from error


def _is_retryable(error: LLMUnavailable) -> bool:
    """Return whether a retry may succeed soon; a call that waited its full time is not made again."""
    return not isinstance(error.__cause__, TimeoutError)


def _request(messages: Sequence[Message], max_tokens: int, schema: Schema | None = None) -> Chunk:
    for message in messages:
        parts = message["content"] if isinstance(message["content"], list) else []
        if any(part["type"] != "text" for part in parts):
            raise LLMError(f"`{MODEL}` reads text only; describe the picture, or set EXHIBIT_LLM.")
    request: Chunk = {
        "messages": list(messages),
        "max_tokens": min(max_tokens, _MAX_REPLY_TOKENS),
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # llama.cpp then calls back while it reads, so that a cancelled call ends
    }
    return request if schema is None else request | {"response_format": response_format(schema)}


def _completion(chunks: Sequence[Chunk]) -> Completion:
    reported = _reported_usage(chunks)
    _count(reported)
    text = "".join(_text(chunk) for chunk in chunks)
    return Completion(text, reported["prompt_tokens"], reported["completion_tokens"])


def _text(chunk: Chunk) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])


def _reported_usage(chunks: Sequence[Chunk]) -> Mapping[str, Any]:
    found = (chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage"))
    return next(found, {"prompt_tokens": 0, "completion_tokens": 0})


def _count(reported: Mapping[str, Any] | None) -> None:
    reported = reported or {}
    usage.add(reported.get("prompt_tokens", 0), reported.get("completion_tokens", 0))
