"""Server-sent events in OpenAI's form, and work that ends when the one who asked for it goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
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


class EventStream(StreamingResponse):
    """A stream of events that frees what it holds however it ends, even before it begins."""

    media_type = "text/event-stream"

    def __init__(
        self,
        first: dict[str, Any] | str,
        rest: Pieces,
        held: AsyncExitStack,
        failed: Failed = openai_error,
        longest_s: float = LONGEST_S,
    ) -> None:
        super().__init__(self._events(first, rest), headers=_HEADERS)
        self._held, self._failed, self._longest_s = held, failed, longest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, and free what is held."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._held.aclose()

    async def _events(self, first: dict[str, Any] | str, rest: Pieces) -> AsyncIterator[str]:
        yield _event(first)
        try:
            async with asyncio.timeout(self._longest_s):
                async for piece in _kept_alive(rest):
                    yield ": still at work\n\n" if piece is None else _event(piece)
        except Exception as error:  # noqa: BLE001 - the status is sent already: whatever it is, it is told in the stream
            problem = _too_long(self._longest_s) if isinstance(error, TimeoutError) else as_problem(error)
            yield _event(self._failed(problem))


async def events(
    request: Request, gate: Gate, pieces: Pieces, failed: Failed = openai_error, *, longest_s: float = LONGEST_S
) -> EventStream:
    """Pieces as a stream of events, once there is room and the first is there: what fails before has a status.

    A piece that has a ``type`` is an event of that name. What fails later is told by `failed`.

    Raises:
        Busy: there is no room.
        Problem: 499, the client has gone; 504, the first piece took longer than `longest_s`, as the others may.
    """
    async with AsyncExitStack() as holding:
        holding.push_async_callback(pieces.aclose)
        first = await until_gone(request, _begun(pieces, gate, holding, longest_s))
        return EventStream(first, pieces, holding.pop_all(), failed, longest_s)


async def until_gone(request: Request, work: Coroutine[Any, Any, _T], *gates: Gate, longest_s: float = LONGEST_S) -> _T:
    """What work gives, once all gates have let it in; when the client goes away, it is cancelled, or never begins.

    Raises:
        Busy: there is no room.
        Problem: 499, the client has gone; 504, it took longer than `longest_s`.
    """
    working = asyncio.ensure_future(_let_in(work, gates, longest_s))
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Problem(499, "The client has gone.")
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
        work.close()  # it may never have begun


async def _let_in(work: Coroutine[Any, Any, _T], gates: Sequence[Gate], longest_s: float) -> _T:
    async with AsyncExitStack() as holding:
        for gate in gates:
            await holding.enter_async_context(gate.entered())
        return await _in_time(work, longest_s)


async def _begun(pieces: Pieces, gate: Gate, holding: AsyncExitStack, longest_s: float) -> dict[str, Any] | str:
    """The first piece, once there is room, which is held."""
    await holding.enter_async_context(gate.entered())
    return await _in_time(anext(pieces), longest_s)


async def _in_time(work: Awaitable[_T], longest_s: float) -> _T:
    try:
        async with asyncio.timeout(longest_s):
            return await work
    except TimeoutError as error:
        raise _too_long(longest_s) from error


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


def _too_long(longest_s: float) -> Problem:
    return Problem(504, f"The answer took longer than {longest_s:.0f} s.", code="timeout")
