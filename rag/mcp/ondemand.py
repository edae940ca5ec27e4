"""A knowledge base that is only open while in use: assistants run for days, and one process can open it at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread

from rag.knowledge_base import KnowledgeBase

IDLE_S = 60.0


class OnDemand:
    """A knowledge base that is opened for the first call and closed after a time without calls.

    While it is open, the language model stays loaded. When it is closed, other programs can use the knowledge base.

    Args:
        open_base: opens it.
        idle_s: seconds from the last call until it is closed.
    """

    def __init__(self, open_base: Callable[[], KnowledgeBase], *, idle_s: float = IDLE_S) -> None:
        self._open, self._idle_s = open_base, idle_s
        self._base: KnowledgeBase | None = None
        self._opening, self._users = asyncio.Lock(), 0
        self._closing: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def used(self) -> AsyncIterator[KnowledgeBase]:
        """Yield the knowledge base, which stays open at least until the end of the block.

        Raises:
            KnowledgeBaseBusy: another process has it open; other errors are those of `KnowledgeBase.open`.
        """
        async with self._opening:
            if self._closing is not None:
                self._closing.cancel()
                self._closing = None
            if self._base is None:
                # Not cancelled with the call, so that a knowledge base that was opened is also closed.
                self._base = await anyio.to_thread.run_sync(self._open)
            self._users += 1
        try:
            yield self._base
        finally:
            self._users -= 1
            if not self._users:
                self._closing = asyncio.get_running_loop().call_later(self._idle_s, self.close)

    def close(self) -> None:
        """Close it, if it is open."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        base, self._base = self._base, None
        if base is not None:
            base.close()
