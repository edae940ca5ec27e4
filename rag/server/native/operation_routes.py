"""Figures about the server."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from rag.server.access import CurrentCaller
from rag.server.native import schemas
from rag.server.state import server_state

router = APIRouter(prefix="/api", tags=["operation"])


@router.get("/stats", summary="How much was asked, and how long it took")
async def get_stats(request: Request, caller: CurrentCaller) -> schemas.Stats:
    """Figures since the server was started, and the jobs of the knowledge bases that you may use."""
    state = server_state(request.app)
    figures = state.figures.now()
    jobs = await asyncio.to_thread(state.runner.jobs.counts, caller.names)
    return schemas.Stats(**figures, jobs=jobs)
