"""``/v1/chat/completions`` and ``/v1/models``: a knowledge base as a model that any OpenAI client can talk to.

The answer's text is Markdown (`rag.server.openai.markdown`). Its citations are annotations of type ``url_citation`` in
the message, or in the last chunks of a stream. Each also carries an ``exhibit`` with the place as a media fragment, the
URLs of all its views, and the verdict on the statement. Request fields that have no effect are listed in
``exhibit.ignored`` of the response.
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
from rag.server.history import History, PageRequest, StoredTurn
from rag.server.openai import embeddings, messages
from rag.server.openai.answer_request import (
    AnswerRequest,
    CurrentHistory,
    Description,
    Metadata,
    Options,
    evidence_json,
    ignored_fields,
    stored_body,
    url_citation,
)
from rag.server.openai.markdown import LinkedCitation, MarkdownAnswer
from rag.server.openai.pagination import list_page, oldest_first
from rag.server.state import server_state
from rag.server.streams import DONE, StreamEvent, stream_events, until_gone

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_METADATA = re.compile(r"metadata\[(?P<key>.{1,64})\]")

_EXAMPLE = {
    "model": "museum",
    "messages": [{"role": "user", "content": "What name did Jane Goodall give to the first chimpanzee?"}],
}


class StreamOptions(BaseModel):
    """What a stream contains beside the answer."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = Field(default=False, description="End with the number of tokens.")


class ChatRequest(BaseModel):
    """A chat, as OpenAI's clients send it."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(description="Name of a knowledge base.", examples=["museum"])
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=1000)
    stream: bool | None = False
    store: bool | None = Field(default=False, description="Store the words of question and answer.")
    metadata: Metadata | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    exhibit: Options = Options()


@router.get("/models", summary="List the knowledge bases, as models", name="models")
async def list_models(caller: CurrentCaller) -> dict[str, Any]:
    """Each knowledge base that the caller may use appears as a model with the same name."""
    return {"object": "list", "data": [_model_json(name) for name in caller.names]}


@router.get("/models/{name}", summary="Get a knowledge base, as a model", name="model")
async def get_model(caller: CurrentCaller, name: str) -> dict[str, Any]:
    """The knowledge base, with the names of its embedding models."""
    return _model_json(caller.open_base(name).name)


@dataclass(frozen=True)
class _PendingCompletion:
    """A chat completion that is being answered.

    Attributes:
        sent: the client's request.
        request: the question.
        id: id of the completion.
        made: seconds since 1970.
    """

    sent: ChatRequest
    request: AnswerRequest
    id: str
    made: int

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        """Return a chunk of the stream."""
        return self._format("chat.completion.chunk", {"delta": delta, "finish_reason": finish})

    def body(self, answer: MarkdownAnswer) -> dict[str, Any]:
        """Return the complete chat completion."""
        message = {
            "role": "assistant",
            "content": answer.text,
            "refusal": None,
            "annotations": format_annotations(answer.cites),
        }
        extra = {"usage": _format_usage(self.request.usage), "exhibit": self.request.describe(answer)}
        return self._format("chat.completion", {"message": message, "finish_reason": "stop"}) | extra

    def usage_chunk(self) -> dict[str, Any]:
        """Return the last chunk of a stream whose client asked for the number of tokens."""
        return self._format("chat.completion.chunk", None) | {"usage": _format_usage(self.request.usage)}

    async def finish(self, answer: MarkdownAnswer, history: History) -> dict[str, Any]:
        """Return the complete chat completion, and store it if the client asked for that."""
        body = self.body(answer)
        if self.sent.store:
            turn = StoredTurn(
                id=self.id,
                kind="chat.completion",
                made=self.made,
                metadata=self.sent.metadata or {},
                body=json.dumps(body),
                **self.request.stored_fields(answer),
            )
            await asyncio.to_thread(history.add, turn)
        return body

    def _format(self, form: str, choice: Mapping[str, Any] | None) -> dict[str, Any]:
        fields = {"id": self.id, "object": form, "created": self.made, "model": self.sent.model}
        return {**fields, "choices": [{"index": 0, "logprobs": None, **choice}] if choice else []}


@router.post("/chat/completions", summary="Answer a question from a knowledge base", name="completions")
async def create_completion(
    request: Request,
    caller: CurrentCaller,
    history: CurrentHistory,
    chat: Annotated[ChatRequest, Body(examples=[_EXAMPLE])],
) -> Response:
    """Answers the last message and cites each statement, or says that the collection does not answer it."""
    gate = server_state(request.app).gates.answer
    pending = _PendingCompletion(
        chat, _read_request(chat, caller.open_base(chat.model)), f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
    )
    if chat.stream:
        return await stream_events(request, gate, _events(pending, history))
    answer = await until_gone(request, pending.request.answer(), gate)
    return JSONResponse(await pending.finish(answer, history))


@router.get("/chat/completions", summary="List the stored chat completions", name="kept")
def list_completions(
    request: Request,
    caller: CurrentCaller,
    history: CurrentHistory,
    page: Annotated[PageRequest, Depends(oldest_first)],
    model: Annotated[str, Query(max_length=200)] = "",
) -> dict[str, Any]:
    """The chat completions that were created with `store: true`; `metadata[key]=value` filters them."""
    matches = ((_METADATA.fullmatch(name), value) for name, value in request.query_params.items())
    turns, has_more = history.completions(
        caller.key_id, page, model, {match["key"]: value for match, value in matches if match}
    )
    return list_page([stored_body(turn, caller.access.links) for turn in turns], has_more)


@router.get("/chat/completions/{completion_id}", summary="Get a stored chat completion", name="completion")
def get_completion(caller: CurrentCaller, history: CurrentHistory, completion_id: str) -> dict[str, Any]:
    """The chat completion as it was sent, with renewed links."""
    return stored_body(history.turn(completion_id, caller.key_id, "chat.completion"), caller.access.links)


@router.post("/chat/completions/{completion_id}", summary="Describe a chat completion", name="describe")
def describe_completion(
    caller: CurrentCaller, history: CurrentHistory, completion_id: str, description: Description
) -> dict[str, Any]:
    """Replaces its metadata."""
    turn = history.turn(completion_id, caller.key_id, "chat.completion")
    turn = replace(turn, metadata=description.metadata or {})
    history.describe(turn, turn.metadata)
    return stored_body(turn, caller.access.links)


@router.delete("/chat/completions/{completion_id}", summary="Delete a stored chat completion", name="forget")
def delete_completion(caller: CurrentCaller, history: CurrentHistory, completion_id: str) -> dict[str, Any]:
    """Deletes the question and the answer."""
    history.delete(history.turn(completion_id, caller.key_id, "chat.completion"))
    return {"id": completion_id, "object": "chat.completion.deleted", "deleted": True}


@router.get(
    "/chat/completions/{completion_id}/messages", summary="Get the question of a stored chat completion", name="asked"
)
def list_messages(caller: CurrentCaller, history: CurrentHistory, completion_id: str) -> dict[str, Any]:
    """The words of the question. Its media and the turns before it are not stored."""
    turn = history.turn(completion_id, caller.key_id, "chat.completion")
    return list_page([{"id": f"{turn.id}-0", "role": "user", "content": turn.asked}])


def format_annotations(cites: Sequence[LinkedCitation]) -> list[dict[str, Any]]:
    """Return citations in OpenAI's form, each with its evidence."""
    return [
        {"type": "url_citation", "url_citation": url_citation(cite), "exhibit": evidence_json(cite)} for cite in cites
    ]


def _model_json(name: str) -> dict[str, Any]:
    fields = {"id": name, "object": "model", "created": 0, "owned_by": "exhibit"}
    return fields | {"exhibit": {"embeddings": embeddings.model_names(name)}}


def _read_request(sent: ChatRequest, linker: EvidenceLinker) -> AnswerRequest:
    chat = messages.read(sent.messages)
    not_stored = ("metadata",) if sent.metadata and not sent.store else ()
    stream_extra = sent.stream_options.model_extra if sent.stream_options else None
    ignored = (*ignored_fields(sent.model_extra or {}), *not_stored, *ignored_fields(stream_extra or {}), *chat.ignored)
    return AnswerRequest(chat, linker, sent.exhibit, ignored, start_counting())


def _format_usage(usage: Usage) -> dict[str, Any] | None:
    """Return the number of tokens in OpenAI's form, or None if it is unknown."""
    if not usage.is_known:
        return None
    total = usage.prompt + usage.completion
    counts = {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion, "total_tokens": total}
    details = {"cached_tokens": usage.cached}, {"reasoning_tokens": usage.reasoning}
    return counts | {"prompt_tokens_details": details[0], "completion_tokens_details": details[1]}


async def _events(completion: _PendingCompletion, history: History) -> AsyncGenerator[StreamEvent]:
    start = {"role": "assistant"}
    async with aclosing(completion.request.stream()) as chunks:
        async for chunk in chunks:
            if chunk.text:
                yield StreamEvent.from_json(completion.chunk(start | {"content": chunk.text}))
                start = {}
            if chunk.answer:
                body = await completion.finish(chunk.answer, history)
                cited = body["choices"][0]["message"]["annotations"]
                last = completion.chunk({"annotations": cited} if cited else {}, "stop")
                yield StreamEvent.from_json(last | {"exhibit": body["exhibit"]})
    if completion.sent.stream_options and completion.sent.stream_options.include_usage:
        yield StreamEvent.from_json(completion.usage_chunk())
    yield DONE
