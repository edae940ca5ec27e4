"""Streams and work that end with the one who asked for them, whatever the moment."""

import asyncio
import json

import pytest
from fastapi import Request

from rag.errors import LLMUnavailable, QueryError
from rag.server.gate import Busy, Gate
from rag.server.problems import HTTPProblem
from rag.server.streams import StreamEvent, stream_events, until_gone


class Client:
    """Both ends of one ASGI request: what it was sent, and when it goes away."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.sent: list[str] = []
        self.scope = {"type": "http", "method": "POST", "path": "/v1/x", "headers": [], "asgi": {"spec_version": "2.3"}}

    @property
    def request(self) -> Request:
        return Request(self.scope, self.receive)

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message) -> None:
        self.sent.append(message.get("body", b"").decode())


class Work:
    """Pieces that take as long as a test lets them, and what became of them."""

    def __init__(self, *pieces) -> None:
        self.pieces, self.more, self.begun, self.ended = pieces, asyncio.Event(), False, False

    async def __call__(self):
        self.begun = True
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield StreamEvent.from_json(piece)
            await self.more.wait()
        finally:
            self.ended = True


async def test_a_stream_is_sent_to_its_end():
    client, gate = Client(), Gate(1, 0)
    work = Work({"n": 1}, {"n": "ü"})
    work.more.set()
    answer = await stream_events(client.request, gate, work())
    await answer(client.scope, client.receive, client.send)
    assert [json.loads(line.removeprefix("data: ")) for line in client.sent if line] == [{"n": 1}, {"n": "ü"}]
    assert work.ended
    async with gate.turn():
        pass


async def test_a_client_that_goes_away_ends_the_work_and_leaves_room():
    client, gate, work = Client(), Gate(1, 0), Work({"n": 1})
    answer = await stream_events(client.request, gate, work())
    with pytest.raises(Busy):
        async with gate.turn():
            pass
    sending = asyncio.create_task(answer(client.scope, client.receive, client.send))
    while not client.sent[1:]:
        await asyncio.sleep(0)
    client.gone.set()
    await sending
    assert work.ended
    async with gate.turn():
        pass


async def test_a_client_that_is_gone_before_the_stream_begins_leaves_room():
    client, gate, work = Client(), Gate(1, 0), Work({"n": 1})
    answer = await stream_events(client.request, gate, work())

    async def broken(message) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await answer(client.scope, client.receive, broken)
    assert work.ended
    async with gate.turn():
        pass


async def test_a_failure_before_the_first_piece_is_raised():
    client, gate, work = Client(), Gate(1, 0), Work(QueryError("empty"))
    with pytest.raises(QueryError, match="empty"):
        await stream_events(client.request, gate, work())
    async with gate.turn():
        pass


async def test_a_later_failure_is_an_event_of_the_stream():
    client, work = Client(), Work({"n": 1}, LLMUnavailable("the model is down"))
    answer = await stream_events(client.request, Gate(1, 0), work())
    await answer(client.scope, client.receive, client.send)
    told = json.loads(client.sent[2].removeprefix("data: "))
    assert told["error"]["message"] == "the model is down"
    assert told["error"]["type"] == "server_error"


async def test_an_unexpected_failure_leaks_no_details():
    client, work = Client(), Work({"n": 1}, RuntimeError("/home/me/secret"))
    answer = await stream_events(client.request, Gate(1, 0), work())
    await answer(client.scope, client.receive, client.send)
    assert "secret" not in "".join(client.sent)


async def test_work_is_cancelled_when_the_client_goes_away():
    client, cancelled = Client(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    waiting = asyncio.create_task(until_gone(client.request, work()))
    await asyncio.sleep(0.01)
    client.gone.set()
    with pytest.raises(HTTPProblem, match="gone"):
        await waiting
    assert cancelled.is_set()


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_waiting_client_that_goes_away_leaves_room(is_streamed):
    client, gate, work = Client(), Gate(1, 1), Work({"n": 1})
    pieces = work()
    asked = (
        stream_events(client.request, gate, pieces) if is_streamed else until_gone(client.request, anext(pieces), gate)
    )
    async with gate.turn():
        waiting = asyncio.create_task(asked)
        while not gate.waiting:
            await asyncio.sleep(0)
        client.gone.set()
        with pytest.raises(HTTPProblem, match="gone"):
            await waiting
        assert not gate.waiting
    assert not work.begun


async def test_work_over_the_time_limit_fails():
    client, gate, work = Client(), Gate(1, 0), Work()
    with pytest.raises(HTTPProblem, match=r"\b0 s") as told:
        await until_gone(client.request, anext(work()), gate, longest_s=0)
    assert told.value.status_code == 504
    with pytest.raises(HTTPProblem, match=r"\b0 s"):
        await stream_events(client.request, gate, work(), longest_s=0)
    answer = await stream_events(client.request, gate, Work({"n": 1})(), longest_s=0.05)
    await answer(client.scope, client.receive, client.send)
    assert json.loads(client.sent[2].removeprefix("data: "))["error"]["code"] == "timeout"
    async with gate.turn():
        pass


async def test_finished_work_returns_its_result():
    async def work() -> int:
        return 5

    assert await until_gone(Client().request, work()) == 5
