"""Every language model behind one class: a litellm model string, of a cloud, a local server or the bundled model.

``bundled/qwen2.5-coder-1.5b-instruct``, ``openai/gpt-4o``, ``anthropic/claude-…``, ``ollama_chat/llama3.2``: each call
is one litellm call (`rag.llm.litellm_api`). Keys of cloud services are read by litellm from their usual variables
(``OPENAI_API_KEY``…).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rag.errors import LLMError, LLMUnavailable
from rag.llm import litellm_api, usage
from rag.llm.base import Completion, Message, Schema, yes_no_log_odds

if TYPE_CHECKING:
    from rag.llm.bundled import BundledProvider, Engine


# What is assumed of a model that litellm does not know: the least that current servers give.
_UNKNOWN_CONTEXT_TOKENS = 4096
# The most that OpenAI allows.
_LOGPROBS = {"logprobs": True, "top_logprobs": 20}
_COUNTED: Mapping[str, Any] = {"stream_options": {"include_usage": True}}
_PROVIDER_LOCK = threading.Lock()

_T = TypeVar("_T")


class LiteLLMClient:
    """A language model.

    Args:
        model: a litellm model string.
        home: folder for Exhibit's own files, where the bundled model is kept.
        threads: threads of the bundled model.
        timeout_s: longest wait for one answer.
        api_base: address of an own server, such as ``http://localhost:8000/v1``.

    Every method raises `LLMUnavailable` when the model cannot be reached (passing failures are tried three times),
    `ContextOverflow` when the prompt is too long, `ModelError` when the bundled model is missing, and `LLMError` when
    the request is refused.
    """

    def __init__(
        self, model: str, *, home: Path, threads: int = 1, timeout_s: float = 120.0, api_base: str | None = None
    ) -> None:
        self.model = model
        self._home = home
        self._threads = threads
        self._timeout_s = timeout_s
        self._api_base = api_base
        self._logprobs_refused = False

    def load(self) -> None:
        """Import and load now what the first call would wait for; with the bundled model 6 s.

        Raises:
            ModelError: the bundled model or its runtime is missing.
        """
        litellm_api.litellm()
        self._options(1)

    def complete(self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None) -> Completion:
        """The model's answer; with a JSON schema, JSON that follows it where the model can be held to one."""
        options = self._options(max_tokens, schema)
        return _completion(self._retried(lambda: litellm_api.litellm().completion(messages=list(messages), **options)))

    async def acomplete(
        self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None
    ) -> Completion:
        """`complete` without blocking."""
        options = await asyncio.to_thread(self._options, max_tokens, schema)
        return _completion(
            await self._aretried(lambda: litellm_api.litellm().acompletion(messages=list(messages), **options))
        )

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Generator[str]:
        """The answer in pieces, none of them empty."""
        options = self._options(max_tokens)

        def opened(counted: Mapping[str, Any] = _COUNTED) -> tuple[Iterator[Any], Any]:
            chunks = iter(litellm_api.litellm().completion(messages=list(messages), stream=True, **options, **counted))
            return chunks, next(chunks, None)

        try:
            chunks, first = self._retried(opened)
        except LLMError as error:
            if not litellm_api.is_refused(error):
                raise
            chunks, first = self._retried(lambda: opened({}))  # older servers cannot count what they stream
        yield from _text(first)
        told = None
        with litellm_api.errors(self.model):
            for chunk in chunks:
                told = getattr(chunk, "usage", None) or told
                yield from _text(chunk)
        usage.add(told)

    async def astream(self, messages: Sequence[Message], *, max_tokens: int) -> AsyncGenerator[str]:
        """`stream` without blocking; closing it stops the model."""
        options = await asyncio.to_thread(self._options, max_tokens)

        async def opened(counted: Mapping[str, Any] = _COUNTED) -> tuple[AsyncIterator[Any], Any]:
            call = litellm_api.litellm().acompletion(messages=list(messages), stream=True, **options, **counted)
            chunks = aiter(await call)
            return chunks, await anext(chunks, None)

        try:
            chunks, first = await self._aretried(opened)
        except LLMError as error:
            if not litellm_api.is_refused(error):
                raise
            chunks, first = await self._aretried(lambda: opened({}))
        for text in _text(first):
            yield text
        told = None
        with litellm_api.errors(self.model):
            async for chunk in chunks:
                told = getattr(chunk, "usage", None) or told
                for text in _text(chunk):
                    yield text
        usage.add(told)

    def judge(self, messages: Sequence[Message]) -> float | None:
        """Logit of Yes minus logit of No for the next word; 0 means that both are as likely.

        None where the model gives no log-probabilities; from then on `gives_logprobs` is False, and none are asked for.
        """
        options = self._judging()
        if options is None:
            return None
        with self._without_logprobs():
            return self._preference(
                self._retried(lambda: litellm_api.litellm().completion(messages=list(messages), **options))
            )
        return None

    async def ajudge(self, messages: Sequence[Message]) -> float | None:
        """`judge` without blocking."""
        options = await asyncio.to_thread(self._judging)
        if options is None:
            return None
        with self._without_logprobs():
            return self._preference(
                await self._aretried(lambda: litellm_api.litellm().acompletion(messages=list(messages), **options))
            )
        return None

    def count_tokens(self, text: str) -> int:
        """Tokens of a text: the bundled model's own count, for others that of the nearest tokenizer litellm has."""
        if self._engine:
            return len(self._engine.tokenizer.encode(text).ids)
        return int(litellm_api.litellm().token_counter(model=self.model, text=text))

    @cached_property
    def context_tokens(self) -> int:
        """Most tokens of a prompt and its answer together."""
        if self._engine:
            from rag.llm.bundled import CONTEXT_TOKENS

            return CONTEXT_TOKENS
        known = (
            litellm_api.litellm().model_cost.get(self.model)
            or litellm_api.litellm().model_cost.get(self.model.partition("/")[2])
            or {}
        )
        return int(known.get("max_input_tokens") or _UNKNOWN_CONTEXT_TOKENS)

    @cached_property
    def sees_images(self) -> bool:
        """Whether messages may hold pictures, as far as litellm knows the model."""
        return not self._engine and bool(litellm_api.litellm().supports_vision(self.model))

    @property
    def gives_logprobs(self) -> bool:
        """Whether `judge` has an answer, as far as is known."""
        return not self._logprobs_refused and (bool(self._engine) or self._takes_logprobs)

    @cached_property
    def _takes_logprobs(self) -> bool:
        return "top_logprobs" in (litellm_api.litellm().get_supported_openai_params(self.model) or ())

    @cached_property
    def _engine(self) -> Engine | None:
        """The engine of the bundled model; None for every other model."""
        from rag.llm.bundled import NAME, PROVIDER

        if not self.model.startswith(f"{PROVIDER}/"):
            return None
        if self.model != f"{PROVIDER}/{NAME}":
            raise LLMError(f"No bundled language model is called `{self.model}`; there is `{PROVIDER}/{NAME}`.")
        return _provider().engine(self._home, self._threads)

    def _options(self, max_tokens: int, schema: Schema | None = None) -> dict[str, Any]:
        if self._engine:
            self._engine.load()
        options: dict[str, Any] = {
            "model": self.model,
            "api_base": str(self._home) if self._engine else self._api_base,
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "timeout": self._timeout_s,
            "max_retries": 0,  # ours count
            "drop_params": True,  # reasoning models refuse a temperature
        }
        if schema is not None:
            named = {"name": "reply", "schema": dict(schema), "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": named}
        return options

    def _judging(self) -> dict[str, Any] | None:
        return self._options(1) | _LOGPROBS if self.gives_logprobs else None

    def _preference(self, response: Any) -> float | None:
        usage.add(response.usage)
        content = getattr(getattr(response.choices[0], "logprobs", None), "content", None)
        if not content:
            self._logprobs_refused = True
            return None
        return yes_no_log_odds({item.token: item.logprob for item in content[0].top_logprobs})

    @contextmanager
    def _without_logprobs(self) -> Iterator[None]:
        """Ends where the request is refused: some providers do so where they are asked for log-probabilities."""
        try:
            yield
        except LLMError as error:
            if not litellm_api.is_refused(error):
                raise
            self._logprobs_refused = True

    def _retried(self, call: Callable[[], _T]) -> _T:
        return litellm_api.retried(call, self.model)

    async def _aretried(self, call: Callable[[], Awaitable[_T]]) -> _T:
        for wait_s in litellm_api.RETRY_WAITS_S:
            try:
                with litellm_api.errors(self.model):
                    return await call()
            except LLMUnavailable as error:
                if not litellm_api.is_retryable(error):
                    raise
            await asyncio.sleep(wait_s)
        with litellm_api.errors(self.model):
            return await call()


def _completion(response: Any) -> Completion:
    usage.add(response.usage)
    return Completion(
        response.choices[0].message.content or "", response.usage.prompt_tokens, response.usage.completion_tokens
    )


def _text(chunk: Any) -> Iterator[str]:
    if chunk is not None and chunk.choices and chunk.choices[0].delta.content:
        yield chunk.choices[0].delta.content


def _provider() -> BundledProvider:
    """The bundled provider, known to litellm."""
    from rag.llm.bundled import PROVIDER, for_litellm

    litellm = litellm_api.litellm()
    with _PROVIDER_LOCK:
        for item in litellm.custom_provider_map:
            if item["provider"] == PROVIDER:
                provider: BundledProvider = item["custom_handler"]
                return provider
        provider = for_litellm()
        litellm.custom_provider_map.append({"provider": PROVIDER, "custom_handler": provider})
        return provider
