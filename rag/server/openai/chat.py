"""``/v1/chat/completions`` and ``/v1/models``: a knowledge base as a model that any OpenAI client can talk to.

The answer's text is Markdown (`rag.server.openai.markdown`). Its citations are annotations of type ``url_citation`` in
the message, or in the last chunks of a stream. Each also carries an ``exhibit`` with the place as a media fragment and
the URLs of all its views. Request fields that have no effect are list_page in ``exhibit.ignored`` of the response.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from rag.llm.usage import Usage, start_counting
from rag.server.access import CurrentCaller
from rag.server.evidence_views import EvidenceLinker
from rag.server.history import History, PageRequest
from rag.server.openai import embeddings, messages
from rag.server.openai.answer_request import (
    AnswerRequest,
    CurrentHistory,
    Description,
    Metadata,
    Options,
    exhibit,
    ignored_fields,
    stored_body,
    url_citation,
)
from rag.server.openai.markdown import LinkedCitation, MarkdownAnswer
from rag.server.openai.pagination import list_page, oldest_first
from rag.server.state import server_state
from rag.server.streams import events, until_gone

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_METADATA = re.compile(r"metadata\[(?P<key>.{1,64})\]")

_EXAMPLE = {
    "model": "museum",
    "messages": [{"role": "user", "content": "What name did Jane Goodall give to the first chimpanzee?"}],
}


class StreamOptions(BaseModel):
    """What a stream is to hold beside the answer."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = Field(default=False, description="End with the number of tokens.")


class ChatRequest(BaseModel):
    """A chat, as OpenAI's clients send it."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(description="Name of a knowledge base.", examples=["museum"])
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=1000)
    stream: bool | None = False
    store: bool | None = Field(default=False, description="Keep the words of question and answer.")
    metadata: Metadata | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    exhibit: Options = Options()


@router.get("/models", summary="The knowledge bases, as models")
async def models(caller: CurrentCaller) -> dict[str, Any]:
    """Every knowledge base that the caller may use."""
    return {"object": "list", "data": [_model(name) for name in caller.names]}


@router.get("/models/{name}", summary="One knowledge base, as a model")
async def model(caller: CurrentCaller, name: str) -> dict[str, Any]:
    """A knowledge base that the caller may use, with the models that embed as it does."""
    return _model(caller.viewer(name).name)


@dataclass(frozen=True)
class _PendingCompletion:
    """A chat completion on its way.

    Attributes:
        sent: what was sent.
        asking: the question.
        id: what clients call it.
        made: seconds since 1970.
    """

    sent: ChatRequest
    asking: AnswerRequest
    id: str
    made: int

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        """A piece of it."""
        return self._formed("chat.completion.chunk", {"delta": delta, "finish_reason": finish})

    def body(self, whole: MarkdownAnswer) -> dict[str, Any]:
        """The whole of it."""
        message = {"role": "assistant", "content": whole.text, "refusal": None, "annotations": annotated(whole.cites)}
        told = {"usage": _tokens(self.asking.usage), "exhibit": self.asking.told(whole)}
        return self._formed("chat.completion", {"message": message, "finish_reason": "stop"}) | told

    def used(self) -> dict[str, Any]:
        """The last piece of a stream whose client wants to know what it took."""
        return self._formed("chat.completion.chunk", None) | {"usage": _tokens(self.asking.usage)}

    async def kept(self, whole: MarkdownAnswer, history: History) -> dict[str, Any]:
        """The whole of it, kept if the client wants that."""
        body = self.body(whole)
        if self.sent.store:
            known = {"id": self.id, "kind": "chat.completion", "made": self.made, "metadata": self.sent.metadata or {}}
            await asyncio.to_thread(history.add, self.asking.kept(whole, body=json.dumps(body), **known))
        return body

    def _formed(self, form: str, choice: Mapping[str, Any] | None) -> dict[str, Any]:
        known = {"id": self.id, "object": form, "created": self.made, "model": self.sent.model}
        return {**known, "choices": [{"index": 0, "logprobs": None, **choice}] if choice else []}


@router.post("/chat/completions", summary="Answer a question from a knowledge base")
async def completions(
    request: Request,
    caller: CurrentCaller,
    history: CurrentHistory,
    chat: Annotated[ChatRequest, Body(examples=[_EXAMPLE])],
) -> Response:
    """Answer the last message, with each statement cited, or say that the collection does not answer it."""
    gate = server_state(request.app).gates.answer
    asking = _asking(chat, caller.viewer(chat.model))
    completion = _PendingCompletion(chat, asking, f"chatcmpl-{uuid.uuid4().hex}", int(time.time()))
    if chat.stream:
        return await events(request, gate, _chunks(completion, history))
    whole = await until_gone(request, asking.whole(), gate)
    return JSONResponse(await completion.kept(whole, history))


@router.get("/chat/completions", summary="The chat completions that were kept")
def kept(
    request: Request,
    caller: CurrentCaller,
    history: CurrentHistory,
    wanted: Annotated[PageRequest, Depends(oldest_first)],
    model: Annotated[str, Query(max_length=200)] = "",
) -> dict[str, Any]:
    """Those that were asked with `store: true`; `metadata[key]=value` gives those that have it."""
    given = ((_METADATA.fullmatch(name), value) for name, value in request.query_params.items())
    turns, has_more = history.completions(
        caller.who, wanted, model, {found["key"]: value for found, value in given if found}
    )
    return list_page([stored_body(turn, caller.access.links) for turn in turns], has_more)


@router.get("/chat/completions/{completion_id}", summary="A chat completion that was kept")
def completion(caller: CurrentCaller, history: CurrentHistory, completion_id: str) -> dict[str, Any]:
    """The chat completion as it was sent; its links last as long as new ones."""
    return stored_body(history.turn(completion_id, caller.who, "chat.completion"), caller.access.links)


@router.post("/chat/completions/{completion_id}", summary="Describe a chat completion")
def describe(caller: CurrentCaller, history: CurrentHistory, completion_id: str, told: Description) -> dict[str, Any]:
    """Replace its metadata."""
    turn = replace(history.turn(completion_id, caller.who, "chat.completion"), metadata=told.metadata or {})
    history.describe(turn, turn.metadata)
    return stored_body(turn, caller.access.links)


@router.delete("/chat/completions/{completion_id}", summary="Forget a chat completion")
def forget(caller: CurrentCaller, history: CurrentHistory, completion_id: str) -> dict[str, Any]:
    """Forget question and answer."""
    history.delete(history.turn(completion_id, caller.who, "chat.completion"))
    return {"id": completion_id, "object": "chat.completion.deleted", "deleted": True}


@router.get("/chat/completions/{completion_id}/messages", summary="The question of a chat completion that was kept")
def asked(caller: CurrentCaller, history: CurrentHistory, completion_id: str) -> dict[str, Any]:
    """The words of the question; its media, and what was said before it, are not kept."""
    turn = history.turn(completion_id, caller.who, "chat.completion")
    return list_page([{"id": f"{turn.id}-0", "role": "user", "content": turn.asked}])


def annotated(cites: Sequence[LinkedCitation]) -> list[dict[str, Any]]:
    """Citations as OpenAI has them, each with its exhibit."""
    return [{"type": "url_citation", "url_citation": url_citation(cite), "exhibit": exhibit(cite)} for cite in cites]


def _model(name: str) -> dict[str, Any]:
    known = {"id": name, "object": "model", "created": 0, "owned_by": "exhibit"}
    return known | {"exhibit": {"embeddings": embeddings.names(name)}}


def _asking(sent: ChatRequest, viewer: EvidenceLinker) -> AnswerRequest:
    chat = messages.read(sent.messages)
    unkept = ("metadata",) if sent.metadata and not sent.store else ()
    streamed = sent.stream_options.model_extra if sent.stream_options else None
    ignored = (*ignored_fields(sent.model_extra or {}), *unkept, *ignored_fields(streamed or {}), *chat.ignored)
    return AnswerRequest(chat, viewer, sent.exhibit, ignored, start_counting())


def _tokens(usage: Usage) -> dict[str, Any] | None:
    """How many tokens were taken, in OpenAI's form; None where that is not known."""
    if not usage.is_known:
        return None
    total = usage.prompt + usage.completion
    counts = {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion, "total_tokens": total}
    read, written = {"cached_tokens": usage.cached}, {"reasoning_tokens": usage.reasoning}
    return counts | {"prompt_tokens_details": read, "completion_tokens_details": written}


async def _chunks(completion: _PendingCompletion, history: History) -> AsyncGenerator[dict[str, Any] | str]:
    start = {"role": "assistant"}
    async with aclosing(completion.asking.pieces()) as pieces:
        async for piece in pieces:
            text = piece if isinstance(piece, str) else piece.tail
            if text:
                yield completion.chunk(start | {"content": text})
                start = {}
            if not isinstance(piece, str):
                body = await completion.kept(piece, history)
                cited = body["choices"][0]["message"]["annotations"]
                last = completion.chunk({"annotations": cited} if cited else {}, "stop")
                yield last | {"exhibit": body["exhibit"]}
    if completion.sent.stream_options and completion.sent.stream_options.include_usage:
        yield completion.used()
    yield "[DONE]"
