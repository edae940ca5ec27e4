"""Figures about the server."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from rag.server.access import CurrentCaller
from rag.server.native import schemas

router = APIRouter(prefix="/api", tags=["operation"])


@router.get("/stats", summary="How much was asked, and how long it took")
async def get_stats(request: Request, caller: CurrentCaller) -> schemas.Stats:
    """Figures since the server was started, and the jobs of the knowledge bases that you may use."""
    figures = request.app.state.figures.now()
    jobs = await asyncio.to_thread(request.app.state.runner.jobs.counts, caller.names)
    return schemas.Stats(**figures, jobs=jobs)
