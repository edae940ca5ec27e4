"""Search and ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse

from rag.presentation.json_values import hit_json, jsonable
from rag.server.access import ReadableBase
from rag.server.evidence_views import EvidenceLinker
from rag.server.native import preference_routes, schemas
from rag.server.native.query_parts import asked
from rag.server.problems import Problem, problem_details
from rag.server.state import server_state
from rag.server.streams import events, until_gone
from rag.types import Answer, Hit

router = APIRouter(prefix="/api/bases/{base}", tags=["questions"])

_SEARCHES = {
    "words": {"value": {"query": "an orangutan", "to": ["image"], "top_k": 3}},
    "parts": {
        "value": {
            "query": [
                {"type": "text", "text": "in the forest"},
                {"type": "not", "part": {"type": "text", "text": "gorilla", "weight": 0.5}},
            ],
            "where": {"kind": "picture"},
        }
    },
}
_QUESTIONS = {
    "plain": {"value": {"question": "What name did Jane Goodall give to the first chimpanzee?"}},
    "follow-up": {
        "value": {
            "question": "What colour was his beard?",
            "turns": [["Which chimpanzee let Jane Goodall come near?", "David Greybeard [E1]."]],
            "stream": True,
        }
    },
}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "model": schemas.Answer,
        "description": "The answer; with `stream` the events `piece` (with `text`), and `answer` or `error`.",
        "content": {"text/event-stream": {"example": 'event: piece\ndata: {"type": "piece", "text": "David"}\n\n'}},
    }
}


@router.post("/search", summary="Find places in the files of a knowledge base")
async def search(
    request: Request, viewer: ReadableBase, sent: Annotated[schemas.SearchRequest, Body(openapi_examples=_SEARCHES)]
) -> schemas.Hits:
    """The places that fit words, pictures and recordings best, in any medium."""
    query = asked(sent.query, "query")
    scope: dict[str, Any] = {"modality": sent.to or None, "where": sent.where}
    state_gates = server_state(request.app).gates
    gates = [state_gates.search, *([state_gates.answer] if sent.rerank else [])]
    how: dict[str, Any] = {"top_k": sent.top_k, "rerank": sent.rerank, "quotas": sent.quotas}
    user = preference_routes.name(viewer.who, sent.taste) if sent.taste else ""
    found = await until_gone(request, viewer.base.asearch(query, **scope, **how, user=user), *gates)
    return schemas.Hits(hits=[_hit(viewer, hit) for hit in found])


@router.post(
    "/ask", summary="Answer a question from a knowledge base", response_model=schemas.Answer, responses=_STREAM
)
async def ask(
    request: Request, viewer: ReadableBase, sent: Annotated[schemas.AskRequest, Body(openapi_examples=_QUESTIONS)]
) -> Response:
    """Answer with each statement cited, or say that the collection does not answer it."""
    question = asked(sent.question, "question")
    how: dict[str, Any] = {"modality": sent.to or None, "where": sent.where, "turns": sent.turns}
    if sent.stream:
        return await events(request, server_state(request.app).gates.answer, _pieces(viewer, question, how), _failed)
    answer = await until_gone(request, viewer.base.aask(question, **how), server_state(request.app).gates.answer)
    return JSONResponse(await asyncio.to_thread(_answer, viewer, answer))


async def _pieces(viewer: EvidenceLinker, question: Any, how: dict[str, Any]) -> AsyncGenerator[dict[str, Any] | str]:
    async with aclosing(viewer.base.aask_stream(question, **how)) as chunks:
        async for chunk in chunks:
            if chunk.answer:
                yield {"type": "answer", **await asyncio.to_thread(_answer, viewer, chunk.answer)}
            else:
                yield {"type": "piece", "text": chunk.text}


def _failed(problem: Problem) -> dict[str, Any]:
    return {**problem_details(problem), "type": "error"}


def _answer(viewer: EvidenceLinker, answer: Answer) -> dict[str, Any]:
    exhibits = [
        schemas.Exhibit(number=shown.number, **hit_json(shown.hit), views=viewer.views(shown.hit))
        for shown in answer.evidence
    ]
    return schemas.Answer(
        question=answer.question,
        text=answer.text,
        declined=answer.declined,
        citations=jsonable(answer.citations),
        exhibits=exhibits,
        warnings=list(answer.warnings),
        trace=jsonable(answer.trace),
    ).model_dump(mode="json")


def _hit(viewer: EvidenceLinker, hit: Hit) -> schemas.Hit:
    return schemas.Hit(**hit_json(hit), views=viewer.views(hit))
