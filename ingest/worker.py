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
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Literal

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

# An argument, and a value that came of it, the seconds that it took in all, or why it failed.
Event = tuple[Any, Literal["item", "end", "error"], Any]


class Workers:
    """Readers side by side, the cores parted among them.

    On 2 cores, two readers of one thread take in speech 1.5 times as fast as one reader of two.
    """

    def __init__(self, settings: Settings) -> None:
        number = min(settings.threads, _MOST_WORKERS)
        share = settings.model_copy(update={"threads": settings.threads // number})
        self._workers = [Worker(share) for _ in range(number)]

    def run(self, operation: str, *arguments: Any) -> Generator[Any, None, float]:
        """See `Worker.run`."""
        return self._workers[0].run(operation, *arguments)

    def each(self, operation: str, arguments: Iterable[Any]) -> Iterator[Event]:
        """Run an operation on many arguments, several at a time, and yield what comes of each as soon as it comes.

        An argument's events end with one that says "end" or "error"; between them may be events of others.
        """
        waiting, found = deque(arguments), queue.Queue[Event | None](_AHEAD)
        with ThreadPoolExecutor(len(self._workers)) as pool:
            threads = [pool.submit(_work, worker, operation, waiting, found) for worker in self._workers]
            working = len(threads)
            try:
                while working:
                    event = found.get()
                    if event is None:
                        working -= 1
                    else:
                        yield event
            finally:
                waiting.clear()
                while working:  # nobody wants the rest; a thread may be starting a reader just now, so more than once
                    for worker in self._workers:
                        worker.interrupt()
                    with contextlib.suppress(queue.Empty):
                        working -= found.get(timeout=0.1) is None
        for thread in threads:
            thread.result()  # a fault of our own is raised here

    def close(self) -> None:
        """Stop all readers."""
        for worker in self._workers:
            worker.close()


def _work(worker: Worker, operation: str, waiting: deque[Any], found: queue.Queue[Event | None]) -> None:
    """Take arguments while there are any."""
    try:
        for argument in _taken(waiting):
            _report(argument, worker.run(operation, argument), found)
    finally:
        found.put(None)


def _taken(waiting: deque[Any]) -> Iterator[Any]:
    while True:
        try:
            argument = waiting.popleft()
        except IndexError:  # none is left
            return
        yield argument


def _report(argument: Any, results: Generator[Any, None, float], found: queue.Queue[Event | None]) -> None:
    try:
        while True:
            found.put((argument, "item", next(results)))
    except StopIteration as end:
        found.put((argument, "end", end.value))
    except errors.ExhibitError as error:
        found.put((argument, "error", error))


class Worker:
    """A reader process, started when it is first needed and replaced when it dies.

    Args:
        settings: passed to the readers; `file_timeout_s` is the longest silence before a reader is stopped.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: _Process | None = None

    def run(self, operation: str, *arguments: Any) -> Generator[Any, None, float]:
        """Yield the values of an operation of `ingest.readers.Readers`, and return the seconds that it took.

        Raises:
            MediaError: the reader refused the file, crashed, ran out of memory or fell silent.
            ExhibitError: whatever else the operation raised on purpose.
        """
        process = self._process = self._process or _Process(self._settings)
        process.send((operation, arguments))
        try:
            while True:
                kind, value = process.items.get(timeout=self._settings.file_timeout_s)
                if kind == "item":
                    yield value
                else:
                    break
        except queue.Empty:
            kind, value = "silent", f"{self._settings.file_timeout_s:g}"
        except GeneratorExit:  # the rest is not wanted, and must not be taken for the next operation's
            self.close()
            raise
        if kind == "error":
            name, message = value
            raise getattr(errors, name)(message)
        if kind == "silent":
            self.close()
            raise errors.DamagedMedia(
                f"Its reader fell silent for {value} s and was stopped; raise EXHIBIT_FILE_TIMEOUT_S if it is sound."
            )
        if kind == "died":
            self.close()
            raise errors.DamagedMedia(f"Its reader crashed ({value}); the file is probably malformed.")
        seconds: float = value
        return seconds

    def interrupt(self) -> None:
        """Kill the process while another thread waits for its results; that thread is told that it died."""
        if process := self._process:
            process.signal()

    def close(self) -> None:
        """Stop the process; nothing it holds is worth keeping."""
        if self._process is not None:
            self._process.kill()
            self._process = None


class _Process:
    """One worker process, and the thread that moves its messages into a bounded queue."""

    def __init__(self, settings: Settings) -> None:
        self.items: queue.Queue[tuple[str, Any]] = queue.Queue(_AHEAD)
        self._process = subprocess.Popen(
            # -P: a folder named `ingest` where the user happens to be is not this package.
            # -W: Pillow warns of odd metadata and goes on.
            [sys.executable, "-P", "-W", "ignore", "-m", "ingest.worker"],
            env=_KEEP_MEMORY | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the parent, which then stops the worker
        )
        self._pump = threading.Thread(target=self._move, daemon=True)
        self._pump.start()
        self.send(settings.model_dump())

    def send(self, request: Any) -> None:
        # A broken pipe means that the worker has just died; the pump reports that.
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.write(pickle.dumps(request))
            self._process.stdin.flush()

    def signal(self) -> None:
        self._process.kill()

    def kill(self) -> None:
        self.signal()
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
                self.items.put(pickle.load(self._process.stdout))
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
    except FileNotFoundError:
        _reply(replies, "error", ("MediaError", "It has gone since it was found."))
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
