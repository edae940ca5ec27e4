"""Limits how many questions run at once and how many wait; further ones are told when to retry.

A queue without a limit answers no one in time, so a request that would wait too long is refused at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_FIRST_GUESS_S = 10.0
_NEWEST_WEIGHT = 0.2  # of the newest duration in the running mean
# OpenAI's client retries by itself if it has to wait at most two minutes, earlier versions one. By then some of the
# waiting requests will have had their turn.
_LONGEST_WAIT_S = 60.0


class Busy(Exception):
    """Too many requests wait already. `retry_after_s` estimates when there will be room."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many questions at once; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class Gate:
    """Lets a number of requests run at once and a number of others wait in order.

    Args:
        running: number of requests that may run at once.
        waiting: number of requests that may wait.

    Attributes:
        waiting: number of requests that wait now.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._free, self._running, self._most_waiting = asyncio.Semaphore(running), running, waiting
        self.waiting = 0
        self._mean_s = _FIRST_GUESS_S

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it.

        Raises:
            Busy: the maximum number of requests waits already.
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
            self._mean_s += _NEWEST_WEIGHT * (time.monotonic() - started - self._mean_s)
