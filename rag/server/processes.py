"""Several processes that do the same, until they are told to stop; one that dies is replaced."""

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

_LOOKED_S = 0.5


@dataclass(frozen=True, slots=True)
class _Started:
    """A process, and whether it has begun to serve."""

    process: SpawnProcess
    is_ready: Event


class ServerProcesses:
    """Processes that do some work.

    Args:
        work: what each does, with an event that it sets once it serves; it ends on SIGTERM and SIGINT.
        arguments: of `work`, before the event.
        number: of the processes.
    """

    def __init__(self, work: Callable[..., None], arguments: tuple[Any, ...], number: int) -> None:
        self._work, self._arguments, self._number = work, arguments, number
        self._context = multiprocessing.get_context("spawn")
        self._is_stopping = False

    def run(self) -> None:
        """Keep them running until this process is told to stop, and wait until they have ended.

        Raises:
            ExhibitError: one died before it served; another in its place would, too.
        """
        before = {kind: signal.signal(kind, self._stop) for kind in (signal.SIGTERM, signal.SIGINT)}
        running = [self._started() for _ in range(self._number)]
        try:
            while not self._is_stopping:
                wait([one.process.sentinel for one in running], _LOOKED_S)
                running = [self._kept(one) for one in running]
        finally:
            for one in running:
                one.process.terminate()
            for one in running:
                one.process.join()
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _started(self) -> _Started:
        is_ready = self._context.Event()
        process = self._context.Process(target=self._work, args=(*self._arguments, is_ready))
        process.start()
        return _Started(process, is_ready)

    def _kept(self, one: _Started) -> _Started:
        """The process, or another in its place where it has died."""
        if one.process.is_alive() or self._is_stopping:
            return one
        if not one.is_ready.is_set():
            raise ExhibitError(f"A process of the server ended at once, with {one.process.exitcode}; its log says why.")
        return self._started()

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._is_stopping = True


def when_parent_exits(act: Callable[[], None]) -> None:
    """Have something done when the process that started this one has gone, however that happened."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            act()

    threading.Thread(target=watch, daemon=True).start()
