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
# OpenAI's client tries again by itself where it is to wait for two minutes at most, earlier versions one; by then some
# that wait will have had their turn.
_LONGEST_WAIT_S = 60.0


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

    Attributes:
        waiting: how many wait now.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._free, self._running, self._most_waiting = asyncio.Semaphore(running), running, waiting
        self.waiting = 0
        self._mean_s = _FIRST_GUESS_S

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it.

        Raises:
            Busy: as many wait already as may.
        """
        if self._free.locked() and self.waiting >= self._most_waiting:
            wait_s = min(self._mean_s * (self.waiting + 1) / self._running, _LONGEST_WAIT_S)
            raise Busy(max(1, math.ceil(wait_s)))
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        started = time.monotonic()
        try:
            yield
        finally:
            self._free.release()
            self._mean_s += _NEWEST * (time.monotonic() - started - self._mean_s)
