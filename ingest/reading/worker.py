"""Reading happens in processes of its own, so that a file can break its reader but not the run.

A native crash, a leak or an endless loop in a decoder ends the worker; the file is listed with that reason, a fresh
worker takes the next one. Reading also overlaps with embedding, which stays in the parent. A worker is started as
``python -m ingest.reading.worker`` rather than through `multiprocessing`, which would import the user's own script
again.

Parent to worker: pickled `(operation, arguments)`. Worker to parent: pickled `("item", value)` for every value that
the operation yields and `("beat", seconds that do not count)` while it works, then `("end", seconds)`,
`("error", (error class name, message))` or `("memory", None)`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Literal

from ingest.reading import heartbeat
from rag import errors
from rag.config import Settings
from rag.types import Source

_AHEAD = 32  # items that wait for the parent, of each reader and of all together: 32 pictures of 768 px are 57 MB
# What Whisper and OCR free they soon ask for again; glibc gave it back to the system in between, which took a third of
# the time: 1.2 million page faults for 48 s of speech, now 0.09.
_KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**26),
}
_MOST_WORKERS = 4
# A reader holds its own speech and OCR models, 0.6 GB; a quarter of the machine's memory is for all else.
_READERS_SHARE, _LEAST_READER_GB = 0.75, 1.5
# How long an operation may take in all, in times of the longest silence: an hour of speech has 4 MB or more and takes
# 11 minutes on one core; 5,000 scanned pages have 100 MB and take 3 hours.
_ROUNDS, _ROUNDS_PER_MB = 6, 1

_BEAT_S = 1.0
# An argument, and a value that came of it, the seconds that it took in all, or why it failed; beats are of none.
Event = tuple[Any, Literal["item", "end", "error", "beat"], Any]


class Workers:
    """Readers side by side, the cores parted among them.

    On 2 cores, two readers of one thread take in speech 1.5 times as fast as one reader of two.

    Args:
        settings: passed to the readers.
        beat_s: how often `each` lets whoever listens do something else while nothing comes.
    """

    def __init__(self, settings: Settings, *, beat_s: float = _BEAT_S) -> None:
        self._beat_s = beat_s
        memory_gb = _READERS_SHARE * _machine_gb()
        number = max(1, min(settings.threads, _MOST_WORKERS, int(min(memory_gb, 1000) / _LEAST_READER_GB)))
        most_gb = min(settings.reader_memory_gb, memory_gb / number)
        share = {"threads": settings.threads // number, "reader_memory_gb": most_gb}
        self._workers = [Worker(settings.model_copy(update=share)) for _ in range(number)]

    def run(self, operation: str, *arguments: Any) -> Generator[Any, None, float]:
        """See `Worker.run`."""
        return self._workers[0].run(operation, *arguments)

    def each(self, operation: str, arguments: Iterable[Any]) -> Iterator[Event]:
        """Run an operation on many arguments, several at a time, and yield what comes of each as soon as it comes.

        An argument's events end with one that says "end" or "error"; between them may be events of others. While
        nothing comes there are beats, so that a caller who wants no more need not wait for the end of a long film.
        """
        waiting, found = deque(arguments), queue.Queue[Event | None](_AHEAD)
        with ThreadPoolExecutor(len(self._workers)) as pool:
            threads = [pool.submit(_work, worker, operation, waiting, found) for worker in self._workers]
            working = len(threads)
            try:
                while working:
                    try:
                        event = found.get(timeout=self._beat_s)
                    except queue.Empty:
                        event = (None, "beat", None)
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
        """Yield the values of an operation of `ingest.reading.readers.Readers`, and return the seconds that it took.

        Raises:
            MediaError: the reader refused the file, crashed, ran out of memory, fell silent or took too long.
            ExhibitError: whatever else the operation raised on purpose.
        """
        process = self._running()
        process.send((operation, arguments))
        kind: str = ""
        value: Any = None
        try:
            for kind, value in self._messages(process, _most_s(arguments, self._settings)):
                if kind == "item":
                    yield value
        except GeneratorExit:  # the rest is not wanted, and must not be taken for the next operation's
            self.close()
            raise
        if kind not in ("end", "error"):  # nothing it holds can be relied on
            self.close()
            raise _ended(kind, value, self._settings)
        if kind == "error":
            name, message = value
            raise getattr(errors, name)(message)
        seconds: float = value
        return seconds

    def _running(self) -> _Process:
        """The process; a new one where it has died since it was last used, for which no file is to blame."""
        if self._process is not None and self._process.has_ended:
            self.close()
        self._process = self._process or _Process(self._settings)
        return self._process

    def _messages(self, process: _Process, most_s: float) -> Iterator[tuple[str, Any]]:
        """What the process says, until it says something final or its time is over."""
        kind, ends_s = "item", time.monotonic() + most_s
        while kind in ("item", "beat"):
            left_s = ends_s - time.monotonic()
            try:
                kind, value = process.items.get(timeout=max(0.0, min(left_s, self._settings.file_timeout_s)))
            except queue.Empty:
                kind, value = ("silent", None) if left_s > self._settings.file_timeout_s else ("late", most_s)
            if kind == "beat":
                ends_s += value
            else:
                taken_s = time.monotonic()
                yield kind, value
                ends_s += time.monotonic() - taken_s

    def interrupt(self) -> None:
        """Kill the process while another thread waits for its results; that thread is told that it died."""
        if process := self._process:
            process.signal()

    def close(self) -> None:
        """Stop the process; nothing it holds is worth keeping."""
        if self._process is not None:
            self._process.kill()
            self._process = None


def _most_s(arguments: tuple[Any, ...], settings: Settings) -> float:
    """How long an operation may take in all: a small file that keeps its reader busy for hours is a bomb."""
    megabytes = sum(argument.size for argument in arguments if isinstance(argument, Source)) / 1e6
    return settings.file_timeout_s * (_ROUNDS + _ROUNDS_PER_MB * megabytes)


def _ended(kind: str, value: Any, settings: Settings) -> errors.MediaError:
    """Why a reader had to be stopped, or was gone."""
    advice = "raise EXHIBIT_FILE_TIMEOUT_S if it is sound."
    match kind:
        case "silent":
            return errors.DamagedMedia(
                f"Its reader fell silent for {settings.file_timeout_s:g} s and was stopped; {advice}"
            )
        case "late":
            return errors.DamagedMedia(f"Its reader was stopped after {value:.0f} s, long for its size; {advice}")
        case "memory":
            return errors.MediaTooLarge(
                f"Reading it takes more than {settings.reader_memory_gb:.1f} GB of memory; EXHIBIT_READER_MEMORY_GB "
                "allows more, up to what the machine has."
            )
    return errors.DamagedMedia(f"Its reader crashed ({value}); the file is probably malformed.")


def _machine_gb() -> float:
    """Memory of this machine; no bound where it does not say, as on Windows."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError):
        return float("inf")


class _Process:
    """One worker process, and the thread that moves its messages into a bounded queue."""

    def __init__(self, settings: Settings) -> None:
        self.items: queue.Queue[tuple[str, Any]] = queue.Queue(_AHEAD)
        self._process = subprocess.Popen(
            # -P: a folder named `ingest` where the user happens to be is not this package.
            # -W: Pillow warns of odd metadata and goes on.
            [sys.executable, "-P", "-W", "ignore", "-m", "ingest.reading.worker"],
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

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

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
    requests, stream = sys.stdin.buffer, _private_stdout()
    settings = Settings(**pickle.load(requests))
    _bound_memory(settings)
    from ingest.reading.readers import Readers

    readers, replies = Readers(settings), Replies(stream, settings.file_timeout_s)
    heartbeat.report_to(lambda waited_s: replies.send("beat", waited_s))
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent has gone
        while True:
            operation, arguments = pickle.load(requests)
            serve(replies, getattr(readers, operation), arguments)


class Replies:
    """What is told to the parent, and the alarm clock of a process that has nothing to tell any more.

    A process whose parent was killed ends with its next reply, which nobody takes. One that never replies, because
    native code goes round for ever, is ended by the system: the signal is not caught, so no code can delay it.
    """

    def __init__(self, stream: IO[bytes], timeout_s: float) -> None:
        self._stream = stream
        self._alarm_s = 1.5 * timeout_s  # the parent, if there is one, stops it first and says why

    def send(self, kind: str, value: Any) -> None:
        """Tell the parent, and wind the clock."""
        self.rest()  # while the parent is busy it takes nothing, and that is no silence
        pickle.dump((kind, value), self._stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._stream.flush()
        self.wind()

    def wind(self) -> None:
        """From now on the process lives for so long, unless it replies."""
        _set_alarm(self._alarm_s)

    def rest(self) -> None:
        """Nothing is asked of the process."""
        _set_alarm(0)


def serve(replies: Replies, operation: Any, arguments: tuple[Any, ...]) -> None:
    """Run one operation, and reply with what comes of it."""
    started = time.monotonic()
    replies.wind()
    try:
        for item in operation(*arguments):
            replies.send("item", item)
    except errors.ExhibitError as error:
        replies.send("error", (type(error).__name__, str(error)))
    except MemoryError:
        replies.send("memory", None)
    except FileNotFoundError:
        replies.send("error", ("MediaError", "It has gone since it was found."))
    except Exception as error:  # noqa: BLE001 - the edge of one file: an unforeseen fault in a reader must not end the run
        replies.send("error", ("DamagedMedia", f"Its reader failed: {type(error).__name__}: {error}"[:500]))
    else:
        replies.send("end", time.monotonic() - started)
    replies.rest()


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, seconds)


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
