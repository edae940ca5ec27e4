"""``/v1/chat/completions`` and ``/v1/models``: a knowledge base as a model that any OpenAI client can talk to.

The answer's text is Markdown (`rag.server.markdown`). Its citations are annotations of type ``url_citation``, in the
message, or in the last pieces of a stream; each also carries an ``exhibit`` with the place as a media fragment and the
URLs of all its views. What a client sends that has no effect here is named in ``exhibit.ignored`` of the response.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from rag.server import messages
from rag.server.access import Called
from rag.server.asking import Asking, Options, exhibit, unused
from rag.server.evidence import Viewer
from rag.server.gate import Gate
from rag.server.markdown import Cite
from rag.server.streams import events, until_gone

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_EXAMPLE = {
    "model": "museum",
    "messages": [{"role": "user", "content": "What name did Jane Goodall give to the first chimpanzee?"}],
}


class ChatRequest(BaseModel):
    """A chat, as OpenAI's clients send it."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(description="Name of a knowledge base.", examples=["museum"])
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=1000)
    stream: bool = False
    n: Literal[1] | None = None
    exhibit: Options = Options()


@router.get("/models", summary="The knowledge bases, as models")
async def models(caller: Called) -> dict[str, Any]:
    """Every knowledge base that the caller may use."""
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "exhibit"} for name in caller.names]
    return {"object": "list", "data": listed}


@router.get("/models/{name}", summary="One knowledge base, as a model")
async def model(caller: Called, name: str) -> dict[str, Any]:
    """A knowledge base that the caller may use."""
    return {"id": caller.viewer(name).name, "object": "model", "created": 0, "owned_by": "exhibit"}


@router.post("/chat/completions", summary="Answer a question from a knowledge base")
async def completions(
    request: Request, caller: Called, chat: Annotated[ChatRequest, Body(examples=[_EXAMPLE])]
) -> Response:
    """Answer the last message, with each statement cited, or say that the collection does not answer it."""
    asking = _asking(chat, caller.viewer(chat.model))
    gate: Gate = request.app.state.gate
    made_of = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": chat.model}
    if chat.stream:
        return await events(request, gate, _chunks(asking, made_of))
    async with gate.entered():
        whole = await until_gone(request, asking.whole())
    message = {"role": "assistant", "content": whole.text, "refusal": None, "annotations": annotated(whole.cites)}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    body = {**made_of, "object": "chat.completion", "choices": [choice], "exhibit": asking.told(whole)}
    return JSONResponse(body)


def annotated(cites: Sequence[Cite]) -> list[dict[str, Any]]:
    """Citations as OpenAI has them, each with its exhibit."""
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": cite.start,
                "end_index": cite.end,
                "title": cite.link.title,
                "url": cite.link.url,
            },
            "exhibit": exhibit(cite),
        }
        for cite in cites
    ]


def _asking(sent: ChatRequest, viewer: Viewer) -> Asking:
    chat = messages.read(sent.messages)
    return Asking(chat, viewer, sent.exhibit, (*unused(sent.model_extra or {}), *chat.ignored))


async def _chunks(asking: Asking, made_of: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any] | str]:
    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**made_of, "object": "chat.completion.chunk", "choices": [choice], **more}

    start = {"role": "assistant"}
    async with aclosing(asking.pieces()) as pieces:
        async for piece in pieces:
            if isinstance(piece, str):
                yield chunk(start | {"content": piece})
                start = {}
            else:
                if piece.tail:
                    yield chunk({"content": piece.tail})
                cited = annotated(piece.cites)
                yield chunk({"annotations": cited} if cited else {}, "stop", exhibit=asking.told(piece))
    yield "[DONE]"
