"""``/v1/responses``: the same answers in the form of OpenAI's newer API, which stores what was said before.

A response is stored, unless the client sends ``store: false``, with the words of its question and without its media.
The next question can then name it as ``previous_response_id``, or be part of the same ``conversation``.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import count
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from rag.llm.usage import Usage, start_counting
from rag.query.options import Turn
from rag.server.access import Caller, CurrentCaller
from rag.server.history import History, StoredTurn
from rag.server.openai import messages
from rag.server.openai.answer_request import (
    AnswerRequest,
    CurrentHistory,
    Metadata,
    Options,
    evidence_json,
    ignored_fields,
    stored_body,
    url_citation,
)
from rag.server.openai.markdown import LinkedCitation, MarkdownAnswer
from rag.server.openai.pagination import list_page
from rag.server.problems import HTTPProblem
from rag.server.state import server_state
from rag.server.streams import StreamEvent, stream_events, until_gone

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_EXAMPLE = {"model": "museum", "input": "What name did Jane Goodall give to the first chimpanzee?"}

_MOST_ITEMS = 1000


class Named(BaseModel):
    """A conversation by its id."""

    id: str


class ResponseRequest(BaseModel):
    """A question, as OpenAI's clients send it."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(description="Name of a knowledge base.", examples=["museum"])
    input: str | list[dict[str, Any]]
    stream: bool | None = False
    store: bool | None = Field(default=True, description="Store the words of question and answer.")
    previous_response_id: str | None = Field(default=None, description="The response that this one follows.")
    conversation: str | Named | None = Field(default=None, description="The conversation that this is part of.")
    metadata: Metadata | None = None
    exhibit: Options = Options()


@dataclass(frozen=True)
class _PendingResponse:
    """A response that is being answered.

    Attributes:
        sent: the client's request.
        request: the question.
        conversation: id of its conversation; empty for none.
        previous: id of the turn that it follows; empty for none.
        name: the part that the ids of the response and of its message share.
        made: seconds since 1970.
    """

    sent: ResponseRequest
    request: AnswerRequest
    conversation: str
    previous: str
    name: str
    made: int

    @property
    def is_stored(self) -> bool:
        """Whether the client wants it stored."""
        return self.sent.store is not False

    def body(self, answer: MarkdownAnswer | None = None) -> dict[str, Any]:
        """Return the response, complete or still without an answer."""
        tools = {"parallel_tool_calls": False, "tool_choice": "none", "tools": []}  # the client's types require them
        return {
            "id": f"resp_{self.name}",
            "object": "response",
            "created_at": self.made,
            "status": "completed" if answer else "in_progress",
            "completed_at": int(time.time()) if answer else None,
            "error": None,
            "incomplete_details": None,
            "model": self.sent.model,
            "output": [answer_item(self.name, answer.text, answer.cites)] if answer else [],
            "metadata": self.sent.metadata or {},
            "previous_response_id": self.sent.previous_response_id,
            "conversation": {"id": self.conversation} if self.conversation else None,
            "store": self.is_stored,
            "text": {"format": {"type": "text"}},
            **tools,
            **(
                {"usage": _format_usage(self.request.usage), "exhibit": self.request.describe(answer)} if answer else {}
            ),
        }

    async def finish(self, answer: MarkdownAnswer, history: History) -> dict[str, Any]:
        """Return the complete response, and store it unless the client declined that."""
        body = self.body(answer)
        if self.is_stored:
            turn = StoredTurn(
                id=body["id"],
                kind="response",
                made=self.made,
                body=json.dumps(body),
                metadata=body["metadata"],
                conversation=self.conversation,
                previous=self.previous,
                **self.request.stored_fields(answer),
            )
            await asyncio.to_thread(history.add, turn)
        return body


class _ResponseEvents:
    """Makes the numbered events of one response."""

    def __init__(self, pending: _PendingResponse) -> None:
        self._pending, self._number = pending, count()
        self._place = {"item_id": f"msg_{pending.name}", "output_index": 0, "content_index": 0}

    def opening(self) -> Iterator[dict[str, Any]]:
        """Yield the events before the text."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, {"response": self._pending.body()})
        empty = answer_item(self._pending.name, "", ()) | {"status": "in_progress", "content": []}
        yield self._event("response.output_item.added", {"output_index": 0, "item": empty})
        yield self._event("response.content_part.added", self._place | {"part": text_part("", ())})

    def delta(self, text: str) -> dict[str, Any]:
        """Return the event for a piece of the text."""
        return self._event("response.output_text.delta", self._place | {"delta": text, "logprobs": []})

    def closing(self, answer: MarkdownAnswer, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events after the text."""
        part = text_part(answer.text, answer.cites)
        for index, annotation in enumerate(part["annotations"]):
            kind = "response.output_text.annotation.added"
            yield self._event(kind, self._place | {"annotation_index": index, "annotation": annotation})
        yield self._event("response.output_text.done", self._place | {"text": answer.text, "logprobs": []})
        yield self._event("response.content_part.done", self._place | {"part": part})
        yield self._event("response.output_item.done", {"output_index": 0, "item": body["output"][0]})
        yield self._event("response.completed", {"response": body})

    def failure(self, problem: HTTPProblem) -> dict[str, Any]:
        """Return the last event of a response that fails after its first event."""
        error = {"code": problem.code or "server_error", "message": problem.detail}
        return self._event("response.failed", {"response": self._pending.body() | {"status": "failed", "error": error}})

    def _event(self, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": kind, "sequence_number": next(self._number), **fields}


@router.post("/responses", summary="Answer a question from a knowledge base and remember it", name="respond")
async def create_response(
    request: Request,
    caller: CurrentCaller,
    history: CurrentHistory,
    sent: Annotated[ResponseRequest, Body(examples=[_EXAMPLE])],
) -> Response:
    """Answers the last message of the input and cites each statement, or says that the collection does not answer it.

    Earlier messages of the input, the response that it follows, and its conversation help to understand it.
    """
    gate = server_state(request.app).gates.answer
    pending = await _read_request(history, caller, sent)
    if sent.stream:
        maker = _ResponseEvents(pending)
        return await stream_events(request, gate, _events(pending, maker, history), maker.failure)
    answer = await until_gone(request, pending.request.answer(), gate)
    return JSONResponse(await pending.finish(answer, history))


@router.get("/responses/{response_id}", summary="Get a stored response", name="response")
def get_response(
    history: CurrentHistory, caller: CurrentCaller, response_id: str, stream: bool = False
) -> dict[str, Any]:
    """The response as it was sent, with renewed links."""
    if stream:
        raise HTTPProblem(400, "A stored response cannot be streamed again; leave `stream` out.", param="stream")
    return stored_body(history.turn(response_id, caller.key_id, "response"), caller.access.links)


@router.delete("/responses/{response_id}", summary="Delete a stored response", name="forget")
def delete_response(history: CurrentHistory, caller: CurrentCaller, response_id: str) -> dict[str, Any]:
    """Deletes the question and the answer, also from their conversation."""
    turn = history.turn(response_id, caller.key_id, "response")
    history.delete(turn)
    return {"id": turn.id, "object": "response", "deleted": True}


@router.get("/responses/{response_id}/input_items", summary="Get the question of a stored response", name="input_items")
def list_input_items(history: CurrentHistory, caller: CurrentCaller, response_id: str) -> dict[str, Any]:
    """The words of the question. Its media are not stored."""
    return list_page([question_item(history.turn(response_id, caller.key_id, "response"))])


def text_part(text: str, cites: Sequence[LinkedCitation]) -> dict[str, Any]:
    """Return the text of an answer with its citations, each with its evidence."""
    cited = [{"type": "url_citation", **url_citation(cite), "exhibit": evidence_json(cite)} for cite in cites]
    return {"type": "output_text", "text": text, "annotations": cited, "logprobs": []}


def answer_item(name: str, text: str, cites: Sequence[LinkedCitation]) -> dict[str, Any]:
    """Return an answer as an item."""
    content = [text_part(text, cites)]
    return {"id": f"msg_{name}", "type": "message", "role": "assistant", "status": "completed", "content": content}


def question_item(turn: StoredTurn) -> dict[str, Any]:
    """Return the words of a question as an item."""
    content = [{"type": "input_text", "text": turn.asked}]
    name = turn.id.partition("_")[2]
    return {"id": f"msg_{name}_asked", "type": "message", "role": "user", "status": "completed", "content": content}


def require_messages(items: Sequence[Mapping[str, Any]], field: str) -> Sequence[Mapping[str, Any]]:
    """Return the items of a request if all are messages.

    Raises:
        HTTPProblem: 400, an item is something else, or there are too many.
    """
    if len(items) > _MOST_ITEMS:
        raise HTTPProblem(400, f"The request has {len(items)} items (limit {_MOST_ITEMS}).", param=field)
    for item in items:
        if item.get("type") not in (None, "message"):
            kind = str(item["type"])[:40]
            raise HTTPProblem(400, f"An item is a `{kind}`; only messages are accepted.", param=field)
    return items


async def _read_request(history: History, caller: Caller, sent: ResponseRequest) -> _PendingResponse:
    if sent.previous_response_id and sent.conversation:
        raise HTTPProblem(400, "Give `previous_response_id` or `conversation`, not both.", param="previous_response_id")
    linker = caller.open_base(sent.model)
    items = [{"role": "user", "content": sent.input}] if isinstance(sent.input, str) else sent.input
    chat = messages.read(require_messages(items, "input"), field="input")
    conversation = sent.conversation.id if isinstance(sent.conversation, Named) else sent.conversation or ""
    previous, turns = await asyncio.to_thread(
        _turns_before, history, caller.key_id, conversation, sent.previous_response_id or ""
    )
    chat = replace(chat, turns=(*turns, *chat.turns))
    ignored = (*ignored_fields(sent.model_extra or {}), *chat.ignored)
    request = AnswerRequest(chat, linker, sent.exhibit, ignored, start_counting())
    return _PendingResponse(sent, request, conversation, previous, uuid.uuid4().hex, int(time.time()))


def _turns_before(history: History, key_id: str, conversation: str, previous: str) -> tuple[str, list[Turn]]:
    """Return the id of the turn that a question follows, and the turns up to it."""
    if conversation:
        previous = history.newest_id(history.conversation(conversation, key_id))
    return previous, history.turns_up_to(previous, key_id) if previous else []


def _format_usage(usage: Usage) -> dict[str, Any] | None:
    """Return the number of tokens in OpenAI's form, or None if it is unknown."""
    if not usage.is_known:
        return None
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


async def _events(pending: _PendingResponse, maker: _ResponseEvents, history: History) -> AsyncGenerator[StreamEvent]:
    has_begun = False
    async with aclosing(pending.request.stream()) as chunks:
        async for chunk in chunks:
            if not has_begun:
                has_begun = True
                for event in maker.opening():
                    yield StreamEvent.from_json(event)
            if chunk.text:
                yield StreamEvent.from_json(maker.delta(chunk.text))
            if chunk.answer:
                for event in maker.closing(chunk.answer, await pending.finish(chunk.answer, history)):
                    yield StreamEvent.from_json(event)
