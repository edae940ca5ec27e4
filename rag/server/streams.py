"""Server-sent events in OpenAI's form, and work that stops when the client leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from rag.server.gate import Gate
from rag.server.problems import HTTPProblem, as_problem, openai_error

LONGEST_S = 600.0
SILENCE_S = 10.0  # then a comment is sent, because proxies close silent connections
KEEP_ALIVE = ": still at work\n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies must not buffer the events
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event.

    Attributes:
        data: its data, in one line.
        name: what clients tell events apart by; empty if they need not.
        id: what a client sends as `Last-Event-ID` when it reconnects; empty for none.
    """

    data: str
    name: str = ""
    id: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StreamEvent:
        """Return the event with this value as JSON, named after its ``type``."""
        return cls(json.dumps(value, ensure_ascii=False), str(value.get("type", "")))

    def encode(self) -> str:
        """Return the event as it is sent."""
        fields = (("id", self.id), ("event", self.name), ("data", self.data))
        return "".join(f"{field}: {value}\n" for field, value in fields if value) + "\n"


DONE = StreamEvent("[DONE]")  # ends OpenAI's streams of chat completions
EventSource = AsyncGenerator[StreamEvent]
FormatFailure = Callable[[HTTPProblem], Mapping[str, Any]]


class EventStream(StreamingResponse):
    """A response of server-sent events that releases its resources however it ends, even before it begins."""

    media_type = "text/event-stream"

    def __init__(
        self,
        first: StreamEvent,
        rest: EventSource,
        resources: AsyncExitStack,
        format_failure: FormatFailure = openai_error,
        longest_s: float = LONGEST_S,
    ) -> None:
        super().__init__(self._encode(first, rest), headers=HEADERS)
        self._resources, self._format_failure, self._longest_s = resources, format_failure, longest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, then release the resources."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._resources.aclose()

    async def _encode(self, first: StreamEvent, rest: EventSource) -> AsyncIterator[str]:
        yield first.encode()
        try:
            async with asyncio.timeout(self._longest_s):
                async for event in _with_keep_alive(rest):
                    yield KEEP_ALIVE if event is None else event.encode()
        except Exception as error:  # noqa: BLE001 - the status is sent already, so every failure goes into the stream
            problem = _timeout_problem(self._longest_s) if isinstance(error, TimeoutError) else as_problem(error)
            yield StreamEvent.from_json(self._format_failure(problem)).encode()


async def stream_events(
    request: Request,
    gate: Gate,
    events: EventSource,
    format_failure: FormatFailure = openai_error,
    *,
    longest_s: float = LONGEST_S,
) -> EventStream:
    """Wait for a turn and for the first event, then return the stream of all events.

    A failure before the first event is raised and gets a status. A later one becomes the stream's last event.

    Args:
        request: the request, which tells when the client leaves.
        gate: gives the turn, which is held until the stream ends.
        events: the events.
        format_failure: makes the data of the event for a failure.
        longest_s: longest time until the first event, and again until the last one.

    Raises:
        Busy: the gate is full.
        HTTPProblem: 499, the client has left; 504, the first event took longer than `longest_s`.
    """
    async with AsyncExitStack() as resources:
        resources.push_async_callback(events.aclose)
        first = await until_gone(request, _first_event(events, gate, resources, longest_s))
        return EventStream(first, events, resources.pop_all(), format_failure, longest_s)


async def until_gone(request: Request, work: Coroutine[Any, Any, _T], *gates: Gate, longest_s: float = LONGEST_S) -> _T:
    """Pass all gates, run the work and return its result.

    If the client leaves, the work is cancelled, or never started.

    Raises:
        Busy: a gate is full.
        HTTPProblem: 499, the client has left; 504, the work took longer than `longest_s`.
    """
    working = asyncio.ensure_future(_run_behind(work, gates, longest_s))
    leaving = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise HTTPProblem(499, "The client has gone.")
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
        work.close()  # it may never have started


async def _run_behind(work: Coroutine[Any, Any, _T], gates: Sequence[Gate], longest_s: float) -> _T:
    async with AsyncExitStack() as turns:
        for gate in gates:
            await turns.enter_async_context(gate.turn())
        return await _within(work, longest_s)


async def _first_event(events: EventSource, gate: Gate, resources: AsyncExitStack, longest_s: float) -> StreamEvent:
    """Return the first event once there is a turn. The turn stays held by `resources`."""
    await resources.enter_async_context(gate.turn())
    return await _within(anext(events), longest_s)


async def _within(work: Awaitable[_T], longest_s: float) -> _T:
    try:
        async with asyncio.timeout(longest_s):
            return await work
    except TimeoutError as error:
        raise _timeout_problem(longest_s) from error


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _with_keep_alive(events: EventSource) -> AsyncIterator[StreamEvent | None]:
    """Yield the events, and None after each `SILENCE_S` without one."""
    coming: asyncio.Future[StreamEvent] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({coming}, timeout=SILENCE_S)
            if not done:
                yield None
                continue
            try:
                event, coming = coming.result(), None
            except StopAsyncIteration:
                return
            yield event
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


def _timeout_problem(longest_s: float) -> HTTPProblem:
    return HTTPProblem(504, f"The answer took longer than {longest_s:.0f} s.", code="timeout")
