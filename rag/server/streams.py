"""Server-sent events in OpenAI's form, and work that ends when the one who asked for it goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from rag.server.gate import Gate
from rag.server.problems import Problem, as_problem, openai_error

LONGEST_S = 600.0
_SILENCE_S = 10.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies shall not collect it

Pieces = AsyncGenerator[dict[str, Any] | str]
Failed = Callable[[Problem], dict[str, Any]]  # the event that tells of a failure
_T = TypeVar("_T")


class Events(StreamingResponse):
    """A stream of events that frees what it holds however it ends, even before it begins."""

    media_type = "text/event-stream"

    def __init__(self, first: dict[str, Any] | str, rest: Pieces, held: AsyncExitStack, failed: Failed) -> None:
        super().__init__(self._events(first, rest), headers=_HEADERS)
        self._held, self._failed = held, failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, and free what is held."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._held.aclose()

    async def _events(self, first: dict[str, Any] | str, rest: Pieces) -> AsyncIterator[str]:
        yield _event(first)
        try:
            async with asyncio.timeout(LONGEST_S):
                async for piece in _kept_alive(rest):
                    yield ": still at work\n\n" if piece is None else _event(piece)
        except Exception as error:  # noqa: BLE001 - the status is sent already: whatever it is, it is told in the stream
            problem = _too_long() if isinstance(error, TimeoutError) else as_problem(error)
            yield _event(self._failed(problem))


async def events(request: Request, gate: Gate, pieces: Pieces, failed: Failed = openai_error) -> Events:
    """Pieces as a stream of events, once there is room and the first is there: what fails before has a status.

    A piece that has a ``type`` is an event of that name. What fails later is told by `failed`.

    Raises:
        Busy: there is no room.
        Problem: 499, the client has gone.
    """
    async with AsyncExitStack() as holding:
        holding.push_async_callback(pieces.aclose)
        await holding.enter_async_context(gate.entered())
        first = await until_gone(request, anext(pieces))
        return Events(first, pieces, holding.pop_all(), failed)


async def until_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """What work gives; it is cancelled when the client goes away, or when it takes longer than `LONGEST_S`.

    Raises:
        Problem: 499, the client has gone; 504, it took too long.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, leaving}, timeout=LONGEST_S, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Problem(499, "The client has gone.") if leaving.done() else _too_long()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _kept_alive(pieces: Pieces) -> AsyncIterator[dict[str, Any] | str | None]:
    """The pieces, and None whenever nothing came for a while: proxies close what is silent."""
    coming: asyncio.Future[dict[str, Any] | str] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(pieces))
            done, _ = await asyncio.wait({coming}, timeout=_SILENCE_S)
            if not done:
                yield None
                continue
            try:
                piece, coming = coming.result(), None
            except StopAsyncIteration:
                return
            yield piece
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


def _event(piece: dict[str, Any] | str) -> str:
    if isinstance(piece, str):
        return f"data: {piece}\n\n"
    name = f"event: {piece['type']}\n" if "type" in piece else ""
    return f"{name}data: {json.dumps(piece, ensure_ascii=False)}\n\n"


def _too_long() -> Problem:
    return Problem(504, f"The answer took longer than {LONGEST_S:.0f} s.", code="timeout")
