"""The bundled language model: llama.cpp inside this process, behind a litellm provider called ``bundled``.

litellm calls `BundledProvider` as it calls the clouds. On 2 cores a token takes 10 ms to read and 40 ms to write; a
prompt that begins like an earlier one is read from where they part.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rag import models
from rag.errors import ModelError
from rag.llm import gguf

if TYPE_CHECKING:
    from litellm import ModelResponse
    from tokenizers import Tokenizer

PROVIDER = "bundled"
NAME = "qwen2.5-coder-1.5b-instruct"
# 28 KB of memory each; reading a full context takes 50 s on 2 cores, so a longer one would not be waited for.
CONTEXT_TOKENS = 4096

_MODEL_FILE = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
_MOST_WRITTEN_TOKENS = 1024
# Read in one go before a cancelled call is noticed: 5 s on 2 cores.
_BATCH_TOKENS = 512
# Prompts kept for their common beginnings, 28 KB a token.
_PROMPT_CACHE_MIB = 256
_PASSED_ON = ("max_tokens", "temperature", "stop", "seed", "logprobs", "top_logprobs", "response_format")

Chunk = dict[str, Any]


class Engine:
    """One llama.cpp server in this process, loaded when it is first used.

    Attributes:
        turn: is held while a call runs, so that one that is cancelled while it waits never begins.
    """

    def __init__(self, home: Path, threads: int) -> None:
        self.turn = threading.Lock()
        self._home = home
        self._threads = threads
        self._lock = threading.Lock()
        self._server: Any = None

    def load(self) -> None:
        """Loads the model unless that has been done.

        Raises:
            ModelError: the model or its runtime is missing or cannot be loaded.
        """
        with self._lock:
            if self._server is None:
                self._server = self._loaded(self._file)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer, without special tokens.

        Raises:
            ModelError: the model is missing.
        """
        return gguf.tokenizer(self._file)

    def run(self, request: Mapping[str, Any], receive: Callable[[Chunk], bool]) -> None:
        """Runs one chat completion and gives each streamed chunk to `receive`, which returns True to cancel.

        Raises:
            ValueError: the request is malformed.
            RuntimeError: the server failed.
        """
        self.load()
        self._server.handle_chat_completions(dict(request), receive)

    @cached_property
    def _file(self) -> Path:
        return models.ensure(NAME, self._home) / _MODEL_FILE

    def _loaded(self, file: Path) -> Any:
        # Spinning brings two threads on busy cores down to 2 tokens/s; sleeping at once, on free cores, from 26 to 18.
        # OpenMP reads this when its library is loaded.
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        try:
            import xllamacpp
        except ImportError as error:
            raise ModelError(
                f"llama.cpp cannot be loaded ({error}). Install it with `pip install 'exhibit-rag[bundled]'` and, on "
                "Linux, the system library libgomp1; or set EXHIBIT_LLM to another model."
            ) from error
        # The server listens on a socket in a folder that nobody else can enter, and on no port.
        private = tempfile.mkdtemp(prefix="exhibit-")
        atexit.register(shutil.rmtree, private, ignore_errors=True)
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx = CONTEXT_TOKENS
        params.n_batch = _BATCH_TOKENS
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._threads
        # Without repacked weights prompts are read a fifth faster, in 0.6 GB less; writing is a quarter slower.
        params.no_extra_bufts = True
        params.cache_ram_mib = _PROMPT_CACHE_MIB
        params.hostnames = [str(Path(private) / "llama.sock")]
        params.api_keys = [secrets.token_hex(32)]
        params.ui = params.endpoint_slots = params.endpoint_props = False
        # The first prompt does that, and is waited for anyway.
        params.warmup = False
        params.verbosity = -1
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise ModelError(f"llama.cpp cannot load {file} ({error}). Is there 1.5 GB of free memory?") from error


class BundledProvider:
    """What litellm expects of a custom provider; engines are told apart by ``api_base``, the home of their files.

    The methods name the keywords that they use of the sixteen that litellm passes. They raise litellm's exceptions.
    """

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()

    def engine(self, home: Path, threads: int) -> Engine:
        """The one engine of this process for the model files in `home`; the first caller sets its threads."""
        with self._lock:
            return self._engines.setdefault(str(home), Engine(home, threads))

    def completion(self, **call: Any) -> ModelResponse:
        """One whole answer."""
        with _litellm_errors(call["model"]), self._generation(call) as generation:
            return _response(call["model"], list(generation))

    async def acompletion(self, **call: Any) -> ModelResponse:
        """One whole answer; cancelling the task stops the model."""
        with _litellm_errors(call["model"]), self._generation(call) as generation:
            return _response(call["model"], await asyncio.to_thread(list, generation))

    def streaming(self, **call: Any) -> Iterator[Chunk]:
        """An answer in pieces; closing the iterator stops the model."""
        with _litellm_errors(call["model"]), self._generation(call) as generation:
            for chunk in generation:
                yield _piece(chunk)

    async def astreaming(self, **call: Any) -> AsyncIterator[Chunk]:
        """An answer in pieces; closing the iterator or cancelling the task stops the model."""
        with _litellm_errors(call["model"]), self._generation(call) as generation:
            while (chunk := await asyncio.to_thread(next, generation, None)) is not None:
                yield _piece(chunk)

    def _generation(self, call: Mapping[str, Any]) -> _Generation:
        engine = self._engines[call["api_base"]]
        request = _request(call["messages"], call["optional_params"])
        return _Generation(engine, request, float(call["timeout"]))


def for_litellm() -> BundledProvider:
    """A provider that litellm calls; it takes only what derives from a class of its own, which is slow to import."""
    from litellm import CustomLLM

    class Provider(BundledProvider, CustomLLM):
        pass

    return Provider()


class _Generation:
    """A request that runs in a thread of its own: an iterator over its chunks, and a way to stop it."""

    def __init__(self, engine: Engine, request: Chunk, timeout_s: float) -> None:
        self._engine = engine
        self._request = request
        self._deadline = time.monotonic() + timeout_s
        self._stopped = threading.Event()
        self._chunks: queue.SimpleQueue[Chunk | Exception | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        # Not a daemon: the interpreter must not end below llama.cpp. What it writes is bounded.
        threading.Thread(target=self._run, name="exhibit-llm").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        try:
            chunk = self._chunks.get(timeout=max(self._deadline - time.monotonic(), 0.0))
        except queue.Empty:
            raise TimeoutError("the bundled language model took longer than EXHIBIT_LLM_TIMEOUT_S") from None
        if chunk is None:
            raise StopIteration
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def _run(self) -> None:
        try:
            with self._engine.turn:
                if not self._stopped.is_set():
                    self._engine.run(self._request, self._receive)
            self._chunks.put(None)
        except (ValueError, RuntimeError, ModelError) as error:
            self._chunks.put(error)

    def _receive(self, chunk: Chunk) -> bool:
        if "error" in chunk:
            self._chunks.put(_Refused(chunk["error"]))
        elif chunk.get("usage") or chunk["choices"][0]["finish_reason"] or chunk["choices"][0]["delta"].get("content"):
            self._chunks.put(chunk)
        return self._stopped.is_set()


class _Refused(Exception):
    """The server's own account of why it refused a request."""

    def __init__(self, reason: Mapping[str, Any]) -> None:
        super().__init__(reason.get("message", "no reason given"))
        self.too_long = reason.get("type") == "exceed_context_size_error"


@contextmanager
def _litellm_errors(model: str) -> Iterator[None]:
    """Turns what llama.cpp raises into what litellm's callers expect."""
    from litellm import exceptions

    try:
        yield
    except _Refused as error:
        kind = exceptions.ContextWindowExceededError if error.too_long else exceptions.InternalServerError
        raise kind(message=str(error), model=model, llm_provider=PROVIDER) from error
    except ValueError as error:
        raise exceptions.BadRequestError(message=str(error), model=model, llm_provider=PROVIDER) from error
    except TimeoutError as error:
        raise exceptions.Timeout(message=str(error), model=model, llm_provider=PROVIDER) from error
    except RuntimeError as error:
        raise exceptions.InternalServerError(message=str(error), model=model, llm_provider=PROVIDER) from error


def _request(messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Chunk:
    for message in messages:
        parts = message["content"] if isinstance(message["content"], list) else []
        if any(part["type"] != "text" for part in parts):
            raise ValueError(f"the bundled model {NAME} reads text only; describe the picture, or set EXHIBIT_LLM")
    request: Chunk = {"messages": list(messages), "stream": True, "temperature": 0.0}
    request |= {key: options[key] for key in _PASSED_ON if key in options}
    request["max_tokens"] = min(request.get("max_tokens") or _MOST_WRITTEN_TOKENS, _MOST_WRITTEN_TOKENS)
    # Progress makes llama.cpp call back while it reads, so that a cancelled call ends.
    return request | {"stream_options": {"include_usage": True}, "return_progress": True}


def _response(model: str, chunks: Sequence[Chunk]) -> ModelResponse:
    import litellm

    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    logprobs = [item for choice in choices for item in (choice.get("logprobs") or {}).get("content", ())]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(c["delta"].get("content") or "" for c in choices)},
        "finish_reason": next((c["finish_reason"] for c in choices if c["finish_reason"]), "stop"),
        "logprobs": {"content": logprobs} if logprobs else None,
    }
    return litellm.ModelResponse(model=model, choices=[choice], usage=_usage(chunks[-1]))


def _piece(chunk: Chunk) -> Chunk:
    """A chunk in the form that litellm takes from custom providers (its GenericStreamingChunk)."""
    choice = chunk["choices"][0] if chunk["choices"] else {"delta": {}, "finish_reason": None}
    return {
        "text": choice["delta"].get("content") or "",
        "is_finished": choice["finish_reason"] is not None,
        "finish_reason": choice["finish_reason"] or "",
        "usage": _usage(chunk),
        "index": 0,
        "tool_use": None,
    }


def _usage(chunk: Chunk) -> dict[str, int] | None:
    usage = chunk.get("usage")
    return {key: usage[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")} if usage else None
