"""Reading happens in processes of its own, so that a file can break its reader but not the run.

A native crash, a leak or an endless loop in a decoder ends the worker; the file is listed with that reason, a fresh
worker takes the next one. Reading also overlaps with embedding, which stays in the parent. A worker is started as
``python -m ingest.worker`` rather than through `multiprocessing`, which would import the user's own script again.

Parent to worker: pickled `(operation, arguments)`. Worker to parent: pickled `("item", value)` for every value that
the operation yields, then `("end", seconds)` or `("error", (error class name, message))`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable
from typing import IO, Any

from rag import errors
from rag.config import Settings

_AHEAD = 32  # items read before the parent takes them: bounds memory to about 32 pictures of 768 px, 55 MB
# What Whisper and OCR free they soon ask for again; glibc gave it back to the system in between, which took a third of
# the time: 1.2 million page faults for 48 s of speech, now 0.09.
_KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**26),
}
_MOST_WORKERS = 4  # each holds its own speech and OCR models: 0.6 GB


class Workers:
    """Readers side by side, the cores parted among them; results come in the order in which they were asked for.

    On 2 cores, two readers of one thread take in speech 1.5 times as fast as one reader of two.
    """

    def __init__(self, settings: Settings) -> None:
        number = min(settings.threads, _MOST_WORKERS)
        share = settings.model_copy(update={"threads": settings.threads // number})
        self._workers = [Worker(share) for _ in range(number)]
        self._asked: deque[Worker] = deque()

    @property
    def ahead(self) -> int:
        """How many operations should be started ahead, so that no reader waits for work."""
        return 2 * len(self._workers)

    def start(self, operation: str, *arguments: Any) -> None:
        """Begin an operation in the reader that has the fewest to do."""
        worker = min(self._workers, key=lambda worker: worker.unfinished)
        worker.start(operation, *arguments)
        self._asked.append(worker)

    def results(self) -> Generator[Any, None, float]:
        """Yield the values of the oldest operation that was started; see `Worker.results`."""
        return self._asked.popleft().results()

    def close(self) -> None:
        """Stop all readers."""
        for worker in self._workers:
            worker.close()


class Worker:
    """A reader process that is replaced when it dies.

    Args:
        settings: passed to the readers; `file_timeout_s` is the longest silence before a reader is stopped.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: _Process | None = None
        self._started: deque[tuple[str, tuple[Any, ...]]] = deque()

    def start(self, operation: str, *arguments: Any) -> None:
        """Begin an operation of `ingest.readers.Readers`; the worker takes them in order, one at a time."""
        self._started.append((operation, arguments))
        if self._process is None:
            self._process = _Process(self._settings, self._started)
        else:
            self._process.ask((operation, arguments))

    @property
    def unfinished(self) -> int:
        """How many operations have been started and not been worked off, whether or not their results were taken."""
        return len(self._started) if self._process is None else self._process.unfinished

    def results(self) -> Generator[Any, None, float]:
        """Yield the values of the oldest operation that was started, and return the seconds that it took.

        Raises:
            MediaError: the reader refused the file, crashed, ran out of memory or fell silent.
            ExhibitError: whatever else the operation raised on purpose.
        """
        if self._process is None:
            self._process = _Process(self._settings, self._started)
        try:
            while True:
                kind, value = self._process.items.get(timeout=self._settings.file_timeout_s)
                if kind == "item":
                    yield value
                else:
                    break
        except queue.Empty:
            kind, value = "silent", f"{self._settings.file_timeout_s:g}"
        self._started.popleft()
        if kind == "error":
            name, message = value
            raise getattr(errors, name)(message)
        if kind == "silent":
            self._stop()
            raise errors.DamagedMedia(
                f"Its reader fell silent for {value} s and was stopped; raise EXHIBIT_FILE_TIMEOUT_S if it is sound."
            )
        if kind == "died":
            self._stop()
            raise errors.DamagedMedia(f"Its reader crashed ({value}); the file is probably malformed.")
        seconds: float = value
        return seconds

    def run(self, operation: str, *arguments: Any) -> Generator[Any, None, float]:
        """Start an operation and yield its values; see `results` for the errors."""
        self.start(operation, *arguments)
        return self.results()

    def close(self) -> None:
        """Stop the process and forget what was started; nothing it holds is worth keeping."""
        self._stop()
        self._started.clear()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None


class _Process:
    """One worker process, and the thread that moves its messages into a bounded queue."""

    def __init__(self, settings: Settings, started: Iterable[Any]) -> None:
        self.items: queue.Queue[tuple[str, Any]] = queue.Queue(_AHEAD)
        self._process = subprocess.Popen(
            # -P: a folder named `ingest` where the user happens to be is not this package.
            [sys.executable, "-P", "-m", "ingest.worker"],
            env=_KEEP_MEMORY | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the parent, which then stops the worker
        )
        self._asked = self._answered = 0
        self._pump = threading.Thread(target=self._move, daemon=True)
        self._pump.start()
        self._send(settings.model_dump())
        for request in started:
            self.ask(request)

    @property
    def unfinished(self) -> int:
        return self._asked - self._answered

    def ask(self, request: Any) -> None:
        self._asked += 1
        self._send(request)

    def _send(self, request: Any) -> None:
        # A broken pipe means that the worker has just died; the pump reports that.
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.write(pickle.dumps(request))
            self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        while self._pump.is_alive():  # it may wait for room in the queue
            with contextlib.suppress(queue.Empty):
                self.items.get(timeout=0.05)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()

    def _move(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(EOFError, pickle.UnpicklingError):
            while True:
                message = pickle.load(self._process.stdout)
                self._answered += message[0] != "item"
                self.items.put(message)
        code = self._process.wait()
        self.items.put(("died", f"signal {-code}" if code < 0 else f"exit code {code}"))


def main() -> None:
    """Serve operations until the parent closes the pipe."""
    requests, replies = sys.stdin.buffer, _private_stdout()
    settings = Settings(**pickle.load(requests))
    _bound_memory(settings)
    from ingest.readers import Readers

    readers = Readers(settings)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent has gone
        while True:
            operation, arguments = pickle.load(requests)
            _serve(replies, getattr(readers, operation), arguments)


def _serve(replies: IO[bytes], operation: Any, arguments: tuple[Any, ...]) -> None:
    started = time.monotonic()
    try:
        for item in operation(*arguments):
            _reply(replies, "item", item)
    except errors.ExhibitError as error:
        _reply(replies, "error", (type(error).__name__, str(error)))
    except MemoryError:
        advice = "Reading it takes too much memory; raise EXHIBIT_READER_MEMORY_GB to allow more."
        _reply(replies, "error", ("MediaTooLarge", advice))
    except Exception as error:  # noqa: BLE001 - the edge of one file: an unforeseen fault in a reader must not end the run
        _reply(replies, "error", ("DamagedMedia", f"Its reader failed: {type(error).__name__}: {error}"[:500]))
    else:
        _reply(replies, "end", time.monotonic() - started)


def _reply(replies: IO[bytes], kind: str, value: Any) -> None:
    pickle.dump((kind, value), replies, protocol=pickle.HIGHEST_PROTOCOL)
    replies.flush()


def _private_stdout() -> IO[bytes]:
    """The real standard output for replies; whatever libraries print goes to standard error."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


def _bound_memory(settings: Settings) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    most = int(settings.reader_memory_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()
