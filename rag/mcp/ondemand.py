"""A knowledge base that is open while it is used: assistants run for days, and one process holds it at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread

from rag.knowledge_base import KnowledgeBase

IDLE_S = 60.0


class OnDemand:
    """Opens a knowledge base for the first call, and closes it when none has come for a while.

    Until then the language model stays loaded; after that other programs may use the knowledge base.

    Args:
        opened: opens it.
        idle_s: how long it is kept for the next call.
    """

    def __init__(self, opened: Callable[[], KnowledgeBase], *, idle_s: float = IDLE_S) -> None:
        self._open, self._idle_s = opened, idle_s
        self._base: KnowledgeBase | None = None
        self._opening, self._users = asyncio.Lock(), 0
        self._closing: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def used(self) -> AsyncIterator[KnowledgeBase]:
        """The knowledge base, which stays open until the end of the block at least.

        Raises:
            KnowledgeBaseBusy: another process holds it; other errors are those of `KnowledgeBase.open`.
        """
        async with self._opening:
            if self._closing is not None:
                self._closing.cancel()
                self._closing = None
            if self._base is None:
                # A call that is cancelled here still waits, so that what was opened is known.
                self._base = await anyio.to_thread.run_sync(self._open)
            self._users += 1
        try:
            yield self._base
        finally:
            self._users -= 1
            if not self._users:
                self._closing = asyncio.get_running_loop().call_later(self._idle_s, self.close)

    def close(self) -> None:
        """Let go of it, if it is open."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        base, self._base = self._base, None
        if base is not None:
            base.close()
