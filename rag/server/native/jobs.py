"""Jobs, and their events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from rag.server.access import Called, Caller, Read
from rag.server.jobs import Job
from rag.server.native import models
from rag.server.problems import Problem
from rag.server.runner import Runner

router = APIRouter(tags=["jobs"])

_LOOKED_S = 0.25
_SILENCE_S = 10.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies shall not collect it
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The job whenever it has changed, until it is over.",
        "content": {
            "text/event-stream": {"example": 'data: {"id": "3f…", "state": "running", "done": 1, "total": 2}\n\n'}
        },
    }
}
JobId = Annotated[str, Path(alias="id", max_length=100, description="Of a job.")]


@router.get("/bases/{base}/jobs", summary="The jobs of a knowledge base")
async def jobs(
    request: Request, viewer: Read, limit: Annotated[int, Query(ge=1, le=200, description="Most jobs.")] = 50
) -> models.Jobs:
    """Newest first; those that are over are kept for a while."""
    runner: Runner = request.app.state.runner
    found = await asyncio.to_thread(runner.jobs.of, viewer.name, limit)
    return models.Jobs(jobs=[_shown(runner, job) for job in found])


@router.get("/jobs/{id}", summary="One job")
async def job(request: Request, caller: Called, job_id: JobId) -> models.Job:
    """How far it is, and what became of each file."""
    return _shown(request.app.state.runner, await _found(request, caller, job_id))


@router.get("/jobs/{id}/events", summary="A job as it goes on", response_class=Response, responses=_EVENTS)
async def events(request: Request, caller: Called, job_id: JobId) -> StreamingResponse:
    """Server-sent events, each the whole job, from where it is until it is over."""
    await _found(request, caller, job_id)
    return StreamingResponse(_events(request, job_id), media_type="text/event-stream", headers=_HEADERS)


@router.delete("/jobs/{id}", status_code=204, summary="Cancel a job")
async def cancel(request: Request, caller: Called, job_id: JobId) -> Response:
    """Files that are finished stay; of the others nothing does. Of a job that is over, nothing is changed."""
    found = await _found(request, caller, job_id)
    if not caller.may_write(found.base):
        raise Problem(403, "This key may only read.", code="read_only")
    runner: Runner = request.app.state.runner
    if not found.is_over:
        await asyncio.to_thread(runner.cancel, found)
    return Response(status_code=204)


async def _found(request: Request, caller: Caller, job_id: str) -> Job:
    runner: Runner = request.app.state.runner
    found = await asyncio.to_thread(runner.jobs.get, job_id)
    if found is None or found.base not in caller.names:
        raise Problem(404, f"There is no job `{job_id}` here.", code="job_not_found", param="id")
    return found


async def _events(request: Request, job_id: str) -> AsyncIterator[str]:
    """The job as events; ends with the job, with the server, or when the client has gone."""
    runner: Runner = request.app.state.runner
    before, said_at = "", 0.0
    while not request.app.state.is_ending():
        found = await asyncio.to_thread(runner.jobs.get, job_id)
        if found is None:
            return
        told = _shown(runner, found).model_dump_json()
        if told != before:
            before, said_at = told, time.monotonic()
            yield f"data: {told}\n\n"
        elif time.monotonic() - said_at > _SILENCE_S:
            said_at = time.monotonic()
            yield ": still at work\n\n"
        if found.is_over:
            return
        await asyncio.sleep(_LOOKED_S)


def _shown(runner: Runner, job: Job) -> models.Job:
    results = [
        models.JobResult(name=item.name, state=item.state, reason=item.reason, segments=item.segments)  # type: ignore[arg-type]
        for item in job.settled
    ]
    return models.Job(
        id=job.id,
        base=job.base,
        state=job.state,
        done=len(results),
        total=len(job.items),
        current=runner.current(job),
        results=results,
        error=job.error,
        made=job.made,
        finished=job.finished,
    )
