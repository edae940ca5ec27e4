"""Search and ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse

from rag.presentation.json_values import hit_json, jsonable
from rag.presentation.verdicts import narrowed
from rag.server.access import ReadableBase
from rag.server.evidence_views import EvidenceLinker
from rag.server.native import preference_routes, schemas
from rag.server.native.query_parts import read_parts
from rag.server.problems import HTTPProblem, problem_details
from rag.server.state import server_state
from rag.server.streams import StreamEvent, stream_events, until_gone
from rag.types import Answer

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
        "model": schemas.AnswerSchema,
        "description": "The answer; with `stream` the events `piece` (with `text`), then `answer` or `error`.",
        "content": {"text/event-stream": {"example": 'event: piece\ndata: {"type": "piece", "text": "David"}\n\n'}},
    }
}


@router.post("/search", summary="Search a knowledge base")
async def search(
    request: Request, linker: ReadableBase, sent: Annotated[schemas.SearchRequest, Body(openapi_examples=_SEARCHES)]
) -> schemas.HitsSchema:
    """The places that match words, pictures and recordings best, in any medium."""
    query = read_parts(sent.query, "query")
    scope: dict[str, Any] = {"modality": sent.to or None, "where": sent.where}
    gates = server_state(request.app).gates
    turns = [gates.search, *([gates.answer] if sent.rerank else [])]
    ranking: dict[str, Any] = {"top_k": sent.top_k, "rerank": sent.rerank, "quotas": sent.quotas}
    user = preference_routes.stored_user(linker.key_id, sent.taste) if sent.taste else ""
    hits = await until_gone(request, linker.base.asearch(query, **scope, **ranking, user=user), *turns)
    return schemas.HitsSchema(hits=[schemas.HitSchema(**hit_json(hit), views=linker.view_urls(hit)) for hit in hits])


@router.post(
    "/ask", summary="Answer a question from a knowledge base", response_model=schemas.AnswerSchema, responses=_STREAM
)
async def ask(
    request: Request, linker: ReadableBase, sent: Annotated[schemas.AskRequest, Body(openapi_examples=_QUESTIONS)]
) -> Response:
    """Answers and cites each statement, or says that the collection does not answer the question."""
    question = read_parts(sent.question, "question")
    scope: dict[str, Any] = {"modality": sent.to or None, "where": sent.where, "turns": sent.turns}
    gate = server_state(request.app).gates.answer
    if sent.stream:
        return await stream_events(request, gate, _events(linker, question, scope), _format_failure)
    answer = await until_gone(request, linker.base.aask(question, **scope), gate)
    return JSONResponse(await asyncio.to_thread(answer_json, linker, answer))


async def _events(linker: EvidenceLinker, question: Any, scope: dict[str, Any]) -> AsyncGenerator[StreamEvent]:
    async with aclosing(linker.base.aask_stream(question, **scope)) as chunks:
        async for chunk in chunks:
            if chunk.answer:
                answer = await asyncio.to_thread(answer_json, linker, chunk.answer)
                yield StreamEvent.from_json({"type": "answer", **answer})
            else:
                yield StreamEvent.from_json({"type": "piece", "text": chunk.text})


def _format_failure(problem: HTTPProblem) -> dict[str, Any]:
    return {**problem_details(problem), "type": "error"}


def answer_json(linker: EvidenceLinker, answer: Answer) -> dict[str, Any]:
    """Return an answer with its verdicts, and its evidence with links that show the narrowest known place."""
    exhibits = [
        schemas.Exhibit(
            number=evidence.number,
            **hit_json(evidence.hit),
            views=linker.view_urls(evidence.hit, narrowed(answer, evidence.number).locator),
        )
        for evidence in answer.evidence
    ]
    return schemas.AnswerSchema(
        question=answer.question,
        text=answer.text,
        declined=answer.declined,
        citations=jsonable(answer.citations),
        exhibits=exhibits,
        open_parts=list(answer.open_parts),
        warnings=list(answer.warnings),
        trace=jsonable(answer.trace),
    ).model_dump(mode="json")
