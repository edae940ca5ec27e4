"""llama.cpp inside this process: one engine for each folder of model files, and one thread for each request.

On 2 cores a token takes 10 ms to read and 40 ms to write. A prompt that begins like an earlier one is read from where
the two differ.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import queue
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag import models
from rag.errors import ModelError
from rag.llm import gguf

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "qwen2.5-coder-1.5b-instruct"
# 28 KB of memory each. Reading a full context takes 50 s on 2 cores; nobody would wait for a longer one.
CONTEXT_TOKENS = 4096

_MODEL_FILE = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
# Read in one go before a cancelled call is noticed: 5 s on 2 cores.
_BATCH_TOKENS = 512
# Memory for earlier prompts, 28 KB a token.
_PROMPT_CACHE_MIB = 256

Chunk = dict[str, Any]


class Engine:
    """A llama.cpp server in this process, loaded when it is first used.

    Attributes:
        turn: held while a request runs, so that one that is cancelled while it waits never begins.
    """

    def __init__(self, home: Path, threads: int) -> None:
        self.turn = threading.Lock()
        self._home = home
        self._threads = threads
        self._lock = threading.Lock()
        self._server: Any = None

    def load(self) -> None:
        """Load the model unless it is loaded.

        Raises:
            ModelError: the model or its runtime is missing or cannot be loaded.
        """
        with self._lock:
            if self._server is None:
                self._server = self._create_server(self._file)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer, without special tokens.

        Raises:
            ModelError: the model is missing.
        """
        return gguf.read_tokenizer(self._file)

    def run(self, request: Mapping[str, Any], receive: Callable[[Chunk], bool]) -> None:
        """Run one chat completion and pass each streamed chunk to `receive`, which returns True to cancel.

        Raises:
            ValueError: the request is malformed.
            RuntimeError: the server failed.
        """
        self.load()
        self._server.handle_chat_completions(dict(request), receive)

    @cached_property
    def _file(self) -> Path:
        return models.ensure(NAME, self._home) / _MODEL_FILE

    def _create_server(self, file: Path) -> Any:
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
        # The server listens on a socket in a folder that only this user can enter, and on no port.
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
        # The first prompt warms it up, and is waited for anyway.
        params.warmup = False
        params.verbosity = -1
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise ModelError(f"llama.cpp cannot load {file} ({error}). Is there 1.5 GB of free memory?") from error


_ENGINES: dict[Path, Engine] = {}
_ENGINES_LOCK = threading.Lock()


def shared_engine(home: Path, threads: int) -> Engine:
    """Return this process's engine for the model files in `home`; the first caller sets its threads."""
    with _ENGINES_LOCK:
        return _ENGINES.setdefault(home, Engine(home, threads))


class EngineRefused(Exception):
    """The server refused a request, with its own reason."""

    def __init__(self, reason: Mapping[str, Any]) -> None:
        super().__init__(reason.get("message", "no reason given"))
        self.is_too_long = reason.get("type") == "exceed_context_size_error"


def generate(engine: Engine, request: Mapping[str, Any], timeout_s: float) -> Generator[Chunk]:
    """Run a chat completion and yield its chunks; closing the generator stops the model.

    Raises:
        TimeoutError: it takes longer than `timeout_s`, which includes the wait for its turn.
        EngineRefused: the server refused the request.
        ValueError: the request is malformed.
        RuntimeError: the server failed.
        ModelError: the model cannot be loaded.
    """
    deadline = time.monotonic() + timeout_s
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
    with _running(engine, request, events.put):
        while True:
            try:
                event = events.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                raise TimeoutError from None
            if event is None:
                return
            yield _chunk(event)


async def agenerate(engine: Engine, request: Mapping[str, Any], timeout_s: float) -> AsyncGenerator[Chunk]:
    """Async twin of `generate`; cancelling the task stops the model."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    events: asyncio.Queue[_Event] = asyncio.Queue()

    def deliver(event: _Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, so nothing waits for this
            loop.call_soon_threadsafe(events.put_nowait, event)

    with _running(engine, request, deliver):
        while (event := await _next_event(events, deadline)) is not None:
            yield _chunk(event)


_Event = Chunk | Exception | None  # None is the end


async def _next_event(events: asyncio.Queue[_Event], deadline: float) -> _Event:
    async with asyncio.timeout_at(deadline):
        return await events.get()


def _chunk(event: Chunk | Exception) -> Chunk:
    if isinstance(event, Exception):
        raise event
    return event


@contextlib.contextmanager
def _running(engine: Engine, request: Mapping[str, Any], deliver: Callable[[_Event], None]) -> Iterator[None]:
    """Run a request in a thread of its own until the end of the block."""
    stopped = threading.Event()
    # Not a daemon: the interpreter must not end while llama.cpp runs. The length of a reply is bounded.
    threading.Thread(target=_run, args=(engine, request, deliver, stopped), name="exhibit-llm").start()
    try:
        yield
    finally:
        stopped.set()


def _run(
    engine: Engine, request: Mapping[str, Any], deliver: Callable[[_Event], None], stopped: threading.Event
) -> None:
    def receive(chunk: Chunk) -> bool:
        if "error" in chunk:
            deliver(EngineRefused(chunk["error"]))
        elif chunk.get("usage") or chunk["choices"][0]["finish_reason"] or chunk["choices"][0]["delta"].get("content"):
            deliver(chunk)
        return stopped.is_set()

    try:
        with engine.turn:
            if not stopped.is_set():
                engine.run(request, receive)
    except (ValueError, RuntimeError, ModelError) as error:
        deliver(error)
    finally:
        deliver(None)
