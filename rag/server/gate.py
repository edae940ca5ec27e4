"""How many questions are answered at once, how many may wait, and when the others shall come back.

A queue that grows without end answers nobody in time, so whoever would wait too long is told at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_FIRST_GUESS_S = 10.0
_NEWEST = 0.2  # weight of the newest duration in their running mean


class Busy(Exception):
    """There is no room; `retry_after_s` says when there may be."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many questions at once; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class Gate:
    """Lets so many in at once and so many more wait, in their order.

    Args:
        running: most that run at once.
        waiting: most that wait.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._free, self._running, self._most_waiting = asyncio.Semaphore(running), running, waiting
        self._waiting = 0
        self._mean_s = _FIRST_GUESS_S

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it.

        Raises:
            Busy: as many wait already as may.
        """
        if self._free.locked() and self._waiting >= self._most_waiting:
            raise Busy(max(1, math.ceil(self._mean_s * (self._waiting + 1) / self._running)))
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        started = time.monotonic()
        try:
            yield
        finally:
            self._free.release()
            self._mean_s += _NEWEST * (time.monotonic() - started - self._mean_s)
