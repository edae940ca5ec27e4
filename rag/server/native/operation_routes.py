"""Figures of the server."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from rag.server.access import CurrentCaller
from rag.server.native import schemas
from rag.server.state import server_state

router = APIRouter(prefix="/api", tags=["operation"])


@router.get("/stats", summary="Get figures of the server")
async def get_stats(request: Request, caller: CurrentCaller) -> schemas.Stats:
    """Figures since the server started, and the number of jobs of the knowledge bases that you may use."""
    state = server_state(request.app)
    figures = state.figures.now()
    jobs = await asyncio.to_thread(state.runner.jobs.counts, caller.names)
    return schemas.Stats(**figures, jobs=jobs)
