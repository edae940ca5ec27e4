"""``/v1/responses``: the same answers in the form of OpenAI's newer API, which keeps what was said before.

A response is kept, unless the client says ``store: false``, with the words of its question and without its media, so
that the next question can name it as ``previous_response_id``, or be part of the same ``conversation``.
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
from rag.server.history import History, PageRequest, StoredTurn
from rag.server.openai import messages
from rag.server.openai.answer_request import (
    AnswerRequest,
    CurrentHistory,
    Metadata,
    Options,
    exhibit,
    ignored_fields,
    stored_body,
    url_citation,
)
from rag.server.openai.markdown import LinkedCitation, MarkdownAnswer
from rag.server.openai.pagination import list_page
from rag.server.problems import Problem
from rag.server.state import server_state
from rag.server.streams import events, until_gone

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
    store: bool | None = Field(default=True, description="Keep the words of question and answer.")
    previous_response_id: str | None = Field(default=None, description="The response that this follows.")
    conversation: str | Named | None = Field(default=None, description="The conversation that this is part of.")
    metadata: Metadata | None = None
    exhibit: Options = Options()


@dataclass(frozen=True)
class _PendingResponse:
    """A request on its way to its response.

    Attributes:
        sent: what was sent.
        asking: the question.
        conversation: id of its conversation; empty where there is none.
        previous: id of the turn that it follows; empty where there is none.
        name: the part that the ids of the response and of its message share.
        made: seconds since 1970.
    """

    sent: ResponseRequest
    asking: AnswerRequest
    conversation: str
    previous: str
    name: str
    made: int

    @property
    def is_kept(self) -> bool:
        """Whether the client wants it kept."""
        return self.sent.store is not False

    def body(self, whole: MarkdownAnswer | None = None) -> dict[str, Any]:
        """The response, as it is while there is no answer, or with the whole of it."""
        changes = {"parallel_tool_calls": False, "tool_choice": "none", "tools": []}  # the client's types want them
        return {
            "id": f"resp_{self.name}",
            "object": "response",
            "created_at": self.made,
            "status": "completed" if whole else "in_progress",
            "completed_at": int(time.time()) if whole else None,
            "error": None,
            "incomplete_details": None,
            "model": self.sent.model,
            "output": [message(self.name, whole.text, whole.cites)] if whole else [],
            "metadata": self.sent.metadata or {},
            "previous_response_id": self.sent.previous_response_id,
            "conversation": {"id": self.conversation} if self.conversation else None,
            "store": self.is_kept,
            "text": {"format": {"type": "text"}},
            **changes,
            **({"usage": _tokens(self.asking.usage), "exhibit": self.asking.told(whole)} if whole else {}),
        }

    def kept(self, whole: MarkdownAnswer, body: Mapping[str, Any]) -> StoredTurn:
        """What is kept of it."""
        return self.asking.kept(
            whole,
            id=body["id"],
            kind="response",
            made=self.made,
            body=json.dumps(body),
            metadata=body["metadata"],
            conversation=self.conversation,
            previous=self.previous,
        )


class _ResponseEvents:
    """The events of one response, numbered."""

    def __init__(self, asked: _PendingResponse) -> None:
        self._asked, self._number = asked, count()
        self._place = {"item_id": f"msg_{asked.name}", "output_index": 0, "content_index": 0}

    def opening(self) -> Iterator[dict[str, Any]]:
        """What comes before the text."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self._asked.body())
        empty = message(self._asked.name, "", ()) | {"status": "in_progress", "content": []}
        yield self._event("response.output_item.added", output_index=0, item=empty)
        yield self._event("response.content_part.added", **self._place, part=part("", ()))

    def delta(self, text: str) -> dict[str, Any]:
        """A piece of the text."""
        return self._event("response.output_text.delta", **self._place, delta=text, logprobs=[])

    def closing(self, whole: MarkdownAnswer, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What comes after the text."""
        said = part(whole.text, whole.cites)
        for index, annotation in enumerate(said["annotations"]):
            kind = "response.output_text.annotation.added"
            yield self._event(kind, **self._place, annotation_index=index, annotation=annotation)
        yield self._event("response.output_text.done", **self._place, text=whole.text, logprobs=[])
        yield self._event("response.content_part.done", **self._place, part=said)
        yield self._event("response.output_item.done", output_index=0, item=body["output"][0])
        yield self._event("response.completed", response=body)

    def failed(self, problem: Problem) -> dict[str, Any]:
        """The last event of a response that fails after its first piece."""
        error = {"code": problem.code or "server_error", "message": problem.detail}
        return self._event("response.failed", response=self._asked.body() | {"status": "failed", "error": error})

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "sequence_number": next(self._number), **fields}


@router.post("/responses", summary="Answer a question from a knowledge base, and remember it")
async def respond(
    request: Request,
    caller: CurrentCaller,
    history: CurrentHistory,
    sent: Annotated[ResponseRequest, Body(examples=[_EXAMPLE])],
) -> Response:
    """Answer the last message of the input, with each statement cited, or say that the collection does not answer it.

    Earlier messages of the input, the response that it follows and its conversation are what it is understood from.
    """
    gate = server_state(request.app).gates.answer
    asked = await _asked(history, caller, sent)
    if sent.stream:
        told = _ResponseEvents(asked)
        return await events(request, gate, _told(asked, told, history), told.failed)
    whole = await until_gone(request, asked.asking.whole(), gate)
    return JSONResponse(await _finished(asked, whole, history))


@router.get("/responses/{response_id}", summary="A response that was kept")
def response(history: CurrentHistory, caller: CurrentCaller, response_id: str, stream: bool = False) -> dict[str, Any]:
    """The response as it was sent; its links last as long as new ones."""
    if stream:
        raise Problem(400, "A response that was kept is not streamed again; leave `stream` out.", param="stream")
    return stored_body(history.turn(response_id, caller.who, "response"), caller.access.links)


@router.delete("/responses/{response_id}", summary="Forget a response")
def forget(history: CurrentHistory, caller: CurrentCaller, response_id: str) -> dict[str, Any]:
    """Forget question and answer; in a conversation they are then missing, too."""
    turn = history.turn(response_id, caller.who, "response")
    history.delete(turn)
    return {"id": turn.id, "object": "response", "deleted": True}


@router.get("/responses/{response_id}/input_items", summary="The question of a response that was kept")
def input_items(history: CurrentHistory, caller: CurrentCaller, response_id: str) -> dict[str, Any]:
    """The words of the question; its media are not kept."""
    return list_page([question(history.turn(response_id, caller.who, "response"))])


def part(text: str, cites: Sequence[LinkedCitation]) -> dict[str, Any]:
    """The text of an answer with its citations, each with its exhibit."""
    cited = [{"type": "url_citation", **url_citation(cite), "exhibit": exhibit(cite)} for cite in cites]
    return {"type": "output_text", "text": text, "annotations": cited, "logprobs": []}


def message(name: str, text: str, cites: Sequence[LinkedCitation]) -> dict[str, Any]:
    """An answer as an item."""
    content = [part(text, cites)]
    return {"id": f"msg_{name}", "type": "message", "role": "assistant", "status": "completed", "content": content}


def question(turn: StoredTurn) -> dict[str, Any]:
    """The words of a question as an item."""
    content = [{"type": "input_text", "text": turn.asked}]
    name = turn.id.partition("_")[2]
    return {"id": f"msg_{name}_asked", "type": "message", "role": "user", "status": "completed", "content": content}


def only_messages(items: Sequence[Mapping[str, Any]], field: str) -> Sequence[Mapping[str, Any]]:
    """The items of a request, which can only be messages.

    Raises:
        Problem: 400, one is something else, or there are too many.
    """
    if len(items) > _MOST_ITEMS:
        raise Problem(400, f"There are {len(items)} items; at most {_MOST_ITEMS} can be sent.", param=field)
    for item in items:
        if item.get("type") not in (None, "message"):
            kind = str(item["type"])[:40]
            raise Problem(400, f"An item is a `{kind}`; only messages can be sent here.", param=field)
    return items


async def _asked(history: History, caller: Caller, sent: ResponseRequest) -> _PendingResponse:
    if sent.previous_response_id and sent.conversation:
        raise Problem(400, "Give `previous_response_id` or `conversation`, not both.", param="previous_response_id")
    viewer = caller.viewer(sent.model)
    said = [{"role": "user", "content": sent.input}] if isinstance(sent.input, str) else sent.input
    chat = messages.read(only_messages(said, "input"), field="input")
    conversation = sent.conversation.id if isinstance(sent.conversation, Named) else sent.conversation or ""
    previous, turns = await asyncio.to_thread(
        _followed, history, caller.who, conversation, sent.previous_response_id or ""
    )
    chat = replace(chat, turns=(*turns, *chat.turns))
    asking = AnswerRequest(
        chat, viewer, sent.exhibit, (*ignored_fields(sent.model_extra or {}), *chat.ignored), start_counting()
    )
    return _PendingResponse(sent, asking, conversation, previous, uuid.uuid4().hex, int(time.time()))


def _followed(history: History, who: str, conversation: str, previous: str) -> tuple[str, list[Turn]]:
    """Id of the turn that a question follows, and what was said up to it."""
    if conversation:
        newest, _ = history.said(history.conversation(conversation, who), PageRequest(1, is_newest_first=True))
        previous = newest[0].id if newest else ""
    return previous, history.before(previous, who) if previous else []


def _tokens(usage: Usage) -> dict[str, Any] | None:
    """How many tokens were taken, in OpenAI's form; None where that is not known."""
    if not usage.is_known:
        return None
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


async def _told(
    asked: _PendingResponse, told: _ResponseEvents, history: History
) -> AsyncGenerator[dict[str, Any] | str]:
    is_open = False
    async with aclosing(asked.asking.pieces()) as pieces:
        async for piece in pieces:
            if not is_open:
                is_open = True
                for event in told.opening():
                    yield event
            if isinstance(piece, str):
                yield told.delta(piece)
                continue
            if piece.tail:
                yield told.delta(piece.tail)
            for event in told.closing(piece, await _finished(asked, piece, history)):
                yield event


async def _finished(asked: _PendingResponse, whole: MarkdownAnswer, history: History) -> dict[str, Any]:
    """The whole response, kept if it is to be."""
    body = asked.body(whole)
    if asked.is_kept:
        await asyncio.to_thread(history.add, asked.kept(whole, body))
    return body
