"""Several processes that do the same work until they are stopped. One that dies is replaced."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from types import FrameType
from typing import Any

from rag.errors import ExhibitError

_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class _RunningProcess:
    """A process, and whether it has begun to serve."""

    process: SpawnProcess
    is_ready: Event


class ServerProcesses:
    """Processes that run the same function.

    Args:
        work: the function. Its last argument is an event that it sets once it serves. It ends on SIGTERM and SIGINT.
        arguments: arguments of `work` before the event.
        number: number of processes.
    """

    def __init__(self, work: Callable[..., None], arguments: tuple[Any, ...], number: int) -> None:
        self._work, self._arguments, self._number = work, arguments, number
        self._context = multiprocessing.get_context("spawn")
        self._is_stopping = False

    def run(self) -> None:
        """Keep the processes running until this one is stopped, then wait for them to end.

        Raises:
            ExhibitError: a process died before it served; a replacement would die, too.
        """
        before = {kind: signal.signal(kind, self._stop) for kind in (signal.SIGTERM, signal.SIGINT)}
        running = [self._start() for _ in range(self._number)]
        try:
            while not self._is_stopping:
                wait([one.process.sentinel for one in running], _POLL_S)
                running = [self._replace_if_dead(one) for one in running]
        finally:
            for one in running:
                one.process.terminate()
            for one in running:
                one.process.join()
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _start(self) -> _RunningProcess:
        is_ready = self._context.Event()
        process = self._context.Process(target=self._work, args=(*self._arguments, is_ready))
        process.start()
        return _RunningProcess(process, is_ready)

    def _replace_if_dead(self, one: _RunningProcess) -> _RunningProcess:
        """Return the process, or a new one if it has died."""
        if one.process.is_alive() or self._is_stopping:
            return one
        if not one.is_ready.is_set():
            raise ExhibitError(f"A process of the server ended at once with code {one.process.exitcode}. See its log.")
        return self._start()

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._is_stopping = True


def when_parent_exits(act: Callable[[], None]) -> None:
    """Call a function when the process that started this one has ended, however that happened."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            act()

    threading.Thread(target=watch, daemon=True).start()
