"""Read files in processes of their own, so that a file can break its reader but not the run.

A native crash, a leak or an endless loop in a decoder ends the child process. The file is listed with that reason, and
a fresh child takes the next one. Reading also overlaps with embedding, which stays in the parent. A child is started as
``python -m ingest.reading.child`` rather than through `multiprocessing`, which would import the user's own script
again. `ingest.reading.protocol` holds what parent and child say to each other; both sides pickle it through pipes.
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
from typing import Any

from ingest.reading.protocol import (
    BeatEvent,
    BeatMessage,
    EndEvent,
    EndMessage,
    ErrorEvent,
    ErrorMessage,
    Event,
    ExitMessage,
    ItemEvent,
    ItemMessage,
    MemoryMessage,
    Message,
    ReaderRequest,
    SilenceMessage,
    TimeoutMessage,
)
from rag import errors
from rag.config import Settings
from rag.types import Source

# Values that wait for the parent, of each worker and of the pool: 32 pictures of 768 px are 57 MB.
_QUEUE_LENGTH = 32
# Whisper and OCR soon ask again for the memory they free. glibc gave it back to the system in between, which took a
# third of the time: 1.2 million page faults for 48 s of speech, now 0.09.
_KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**26),
}
_MAX_WORKERS = 4
# A worker holds its own speech and OCR models, 0.6 GB; a quarter of the machine's memory is left for everything else.
_WORKERS_SHARE, _MIN_WORKER_GB = 0.75, 1.5
# The time limit of an operation, in multiples of the longest silence: an hour of speech has 4 MB or more and takes
# 11 minutes on one core; 5,000 scanned pages have 100 MB and take 3 hours.
_ROUNDS, _ROUNDS_PER_MB = 6, 1
_BEAT_S = 1.0


class WorkerPool:
    """Workers side by side, with the cores divided among them.

    On 2 cores, two workers of one thread take in speech 1.5 times as fast as one worker of two.

    Args:
        settings: passed to the workers.
        beat_s: how often `each` yields a `BeatEvent` while nothing comes.
    """

    def __init__(self, settings: Settings, *, beat_s: float = _BEAT_S) -> None:
        self._beat_s = beat_s
        memory_gb = _WORKERS_SHARE * _machine_gb()
        number = max(1, min(settings.threads, _MAX_WORKERS, int(min(memory_gb, 1000) / _MIN_WORKER_GB)))
        max_gb = min(settings.reader_memory_gb, memory_gb / number)
        share = {"threads": settings.threads // number, "reader_memory_gb": max_gb}
        self._workers = [Worker(settings.model_copy(update=share)) for _ in range(number)]

    def run(self, operation: str, *arguments: Any) -> Generator[Any, None, float]:
        """Run one operation; see `Worker.run`."""
        return self._workers[0].run(operation, *arguments)

    def each(self, operation: str, arguments: Iterable[Any]) -> Iterator[Event]:
        """Run an operation on many arguments, several at a time, and yield every result as soon as it comes.

        The events of an argument end with an `EndEvent` or an `ErrorEvent`; events of others may come in between.
        While nothing comes there are beats, so that the caller can stop without waiting for the end of a long video.
        """
        waiting, results = deque(arguments), queue.Queue[Event | None](_QUEUE_LENGTH)
        with ThreadPoolExecutor(len(self._workers)) as threads:
            tasks = [threads.submit(_work, worker, operation, waiting, results) for worker in self._workers]
            working = len(tasks)
            try:
                while working:
                    event: Event | None
                    try:
                        event = results.get(timeout=self._beat_s)
                    except queue.Empty:
                        event = BeatEvent()
                    if event is None:
                        working -= 1
                    else:
                        yield event
            finally:
                waiting.clear()
                # The caller wants no more. A thread may be starting its child just now, so it is asked repeatedly.
                while working:
                    for worker in self._workers:
                        worker.interrupt()
                    with contextlib.suppress(queue.Empty):
                        working -= results.get(timeout=0.1) is None
        for task in tasks:
            task.result()  # raises what went wrong in our own code

    def close(self) -> None:
        """Stop all workers."""
        for worker in self._workers:
            worker.close()


def _work(worker: Worker, operation: str, waiting: deque[Any], results: queue.Queue[Event | None]) -> None:
    """Run an operation on arguments until none is left; None in the results says that this thread is done."""
    try:
        for argument in _drain(waiting):
            _run_into_queue(argument, worker.run(operation, argument), results)
    finally:
        results.put(None)


def _drain(waiting: deque[Any]) -> Iterator[Any]:
    while True:
        try:
            argument = waiting.popleft()
        except IndexError:  # none is left
            return
        yield argument


def _run_into_queue(argument: Any, values: Generator[Any, None, float], results: queue.Queue[Event | None]) -> None:
    try:
        while True:
            results.put(ItemEvent(argument, next(values)))
    except StopIteration as end:
        results.put(EndEvent(argument, end.value))
    except errors.ExhibitError as error:
        results.put(ErrorEvent(argument, error))


class Worker:
    """A child process that reads files, started when it is first needed and replaced when it dies.

    Args:
        settings: passed to the child; `file_timeout_s` is the longest silence before it is stopped.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: _Process | None = None

    def run(self, operation: str, *arguments: Any) -> Generator[Any, None, float]:
        """Yield the values of an operation of `ingest.reading.readers.Readers`, and return the seconds it took.

        Raises:
            MediaError: the reader refused the file, crashed, ran out of memory, fell silent or took too long.
            ExhibitError: any other error that the operation raised on purpose.
        """
        process = self._running_process()
        process.send(ReaderRequest(operation, arguments))
        message: Message | None = None
        try:
            for message in self._messages(process, _time_limit_s(arguments, self._settings)):
                if isinstance(message, ItemMessage):
                    yield message.value
        except GeneratorExit:  # the rest is not wanted, and the next operation must not receive it
            self.close()
            raise
        match message:
            case EndMessage(seconds):
                return seconds
            case ErrorMessage(error_class, text):
                raise getattr(errors, error_class)(text)
        self.close()  # the state of the child is unknown
        raise _describe_failure(message, self._settings)

    def _running_process(self) -> _Process:
        """Return the process; a new one if it died while idle, for which no file is to blame."""
        if self._process is not None and self._process.has_ended:
            self.close()
        self._process = self._process or _Process(self._settings)
        return self._process

    def _messages(self, process: _Process, limit_s: float) -> Iterator[Message]:
        """Yield all messages but beats, up to a final one or to the end of the time, which beats extend."""
        message: Message | None = None
        ends_s = time.monotonic() + limit_s
        while message is None or isinstance(message, ItemMessage | BeatMessage):
            left_s = ends_s - time.monotonic()
            try:
                message = process.items.get(timeout=max(0.0, min(left_s, self._settings.file_timeout_s)))
            except queue.Empty:
                was_silent = left_s > self._settings.file_timeout_s
                message = SilenceMessage() if was_silent else TimeoutMessage(limit_s)
            if isinstance(message, BeatMessage):
                ends_s += message.excused_s
            else:
                yielded_s = time.monotonic()
                yield message
                ends_s += time.monotonic() - yielded_s  # the caller's time does not count

    def interrupt(self) -> None:
        """Kill the process while another thread waits for its results; that thread gets an error."""
        if process := self._process:
            process.signal()

    def close(self) -> None:
        """Stop the process and discard what it holds."""
        if self._process is not None:
            self._process.kill()
            self._process = None


def _time_limit_s(arguments: tuple[Any, ...], settings: Settings) -> float:
    """Return the longest time an operation may take: a small file that keeps its reader busy for hours is a bomb."""
    megabytes = sum(argument.size for argument in arguments if isinstance(argument, Source)) / 1e6
    return settings.file_timeout_s * (_ROUNDS + _ROUNDS_PER_MB * megabytes)


def _describe_failure(message: Message | None, settings: Settings) -> errors.MediaError:
    """Return the error for a child that died or was stopped."""
    remedy = "If the file is sound, raise EXHIBIT_FILE_TIMEOUT_S."
    match message:
        case SilenceMessage():
            return errors.DamagedMedia(
                f"Its reader gave no sign of life for {settings.file_timeout_s:g} s and was stopped. {remedy}"
            )
        case TimeoutMessage(limit_s):
            return errors.DamagedMedia(f"Reading it took over {limit_s:.0f} s, too long for its size. {remedy}")
        case MemoryMessage():
            return errors.MediaTooLarge(
                f"Reading it takes more than {settings.reader_memory_gb:.1f} GB of memory. Raise "
                "EXHIBIT_READER_MEMORY_GB if the machine has more."
            )
        case ExitMessage(cause):
            return errors.DamagedMedia(f"Its reader crashed ({cause}); the file is probably malformed.")
    return errors.DamagedMedia("Its reader stopped without a result; the file is probably malformed.")


def _machine_gb() -> float:
    """Return the memory of this machine; infinity where the system does not report it, as on Windows."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError):
        return float("inf")


class _Process:
    """One child process, and the thread that moves its messages into a bounded queue."""

    def __init__(self, settings: Settings) -> None:
        self.items: queue.Queue[Message] = queue.Queue(_QUEUE_LENGTH)
        self._process = subprocess.Popen(
            # -P: do not import a folder named `ingest` in the user's working directory.
            # -W: Pillow warns about odd metadata and goes on.
            [sys.executable, "-P", "-W", "ignore", "-m", "ingest.reading.child"],
            env=_KEEP_MEMORY | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the parent, which then stops the child
        )
        self._pump = threading.Thread(target=self._move_messages, daemon=True)
        self._pump.start()
        self.send(settings.model_dump())

    def send(self, request: Any) -> None:
        """Send a request; if the child has just died, the pump reports it."""
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.write(pickle.dumps(request))
            self._process.stdin.flush()

    @property
    def has_ended(self) -> bool:
        """Whether the child has ended."""
        return self._process.poll() is not None

    def signal(self) -> None:
        """Kill the child; the pump then ends with an `ExitMessage`."""
        self._process.kill()

    def kill(self) -> None:
        """Kill the child and close its pipes."""
        self.signal()
        while self._pump.is_alive():  # it may wait for room in the queue
            with contextlib.suppress(queue.Empty):
                self.items.get(timeout=0.05)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()

    def _move_messages(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(EOFError, pickle.UnpicklingError):
            while True:
                self.items.put(pickle.load(self._process.stdout))
        code = self._process.wait()
        self.items.put(ExitMessage(f"signal {-code}" if code < 0 else f"exit code {code}"))
