"""Jobs, and their events."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from rag.server.access import Caller, CurrentCaller, ReadableBase
from rag.server.job_runner import JobRunner
from rag.server.job_store import IngestJob
from rag.server.native import schemas
from rag.server.problems import Problem
from rag.server.state import server_state

router = APIRouter(prefix="/api", tags=["jobs"])

_LOOKED_S = 0.25
_SILENCE_S = 10.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # proxies shall not collect it
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The job whenever it has changed, until it is over.",
        "content": {"text/event-stream": {"example": 'id: 5e\ndata: {"id": "3f…", "state": "running", "done": 1}\n\n'}},
    },
    204: {"description": "The job is over, and its last event was the one with this id."},
}
JobId = Annotated[str, Path(alias="id", max_length=100, description="Of a job.")]


@router.get("/bases/{base}/jobs", summary="The jobs of a knowledge base")
async def list_jobs(
    request: Request, viewer: ReadableBase, limit: Annotated[int, Query(ge=1, le=200, description="Most jobs.")] = 50
) -> schemas.Jobs:
    """Newest first; those that are over are kept for a while."""
    runner = server_state(request.app).runner
    found = await asyncio.to_thread(runner.jobs.of, viewer.name, limit)
    return schemas.Jobs(jobs=[_shown(runner, job) for job in found])


@router.get("/jobs/{id}", summary="One job")
async def get_job(request: Request, caller: CurrentCaller, job_id: JobId) -> schemas.Job:
    """How far it is, and what became of each file."""
    return _shown(server_state(request.app).runner, await _found(request, caller, job_id))


@router.get("/jobs/{id}/events", summary="A job as it goes on", response_class=Response, responses=_EVENTS)
async def follow_job(
    request: Request,
    caller: CurrentCaller,
    job_id: JobId,
    seen: Annotated[str, Header(alias="Last-Event-ID", max_length=100, description="`id` of the last event.")] = "",
) -> Response:
    """Server-sent events, each the whole job, from where it is until it is over.

    Whoever comes again with the `id` of the last event is told what has changed since.
    """
    runner = server_state(request.app).runner
    found = await _found(request, caller, job_id)
    if found.is_over and seen == _event_id(_shown(runner, found)):
        return Response(status_code=204)  # at which browsers stop coming again
    return StreamingResponse(_events(request, job_id, seen), media_type="text/event-stream", headers=_HEADERS)


@router.delete("/jobs/{id}", status_code=204, summary="Cancel a job")
async def cancel_job(request: Request, caller: CurrentCaller, job_id: JobId) -> Response:
    """Files that are finished stay; of the others nothing does. Of a job that is over, nothing is changed."""
    found = await _found(request, caller, job_id)
    if not caller.may_write(found.base):
        raise Problem(403, "This key may only read.", code="read_only")
    runner = server_state(request.app).runner
    if not found.is_over:
        await asyncio.to_thread(runner.cancel, found)
    return Response(status_code=204)


async def _found(request: Request, caller: Caller, job_id: str) -> IngestJob:
    runner = server_state(request.app).runner
    found = await asyncio.to_thread(runner.jobs.get, job_id)
    if found is None or found.base not in caller.names:
        raise Problem(404, f"There is no job `{job_id}` here.", code="job_not_found", param="id")
    return found


async def _events(request: Request, job_id: str, seen: str) -> AsyncIterator[str]:
    """The job as events; ends with the job, with the server, or when the client has gone."""
    runner = server_state(request.app).runner
    said_at = time.monotonic()
    while not server_state(request.app).is_ending():
        found = await asyncio.to_thread(runner.jobs.get, job_id)
        if found is None:
            return
        told = _shown(runner, found)
        if (event_id := _event_id(told)) != seen:
            seen, said_at = event_id, time.monotonic()
            yield f"id: {event_id}\ndata: {told.model_dump_json()}\n\n"
        elif time.monotonic() - said_at > _SILENCE_S:
            said_at = time.monotonic()
            yield ": still at work\n\n"
        if found.is_over:
            return
        await asyncio.sleep(_LOOKED_S)


def _event_id(told: schemas.Job) -> str:
    return hashlib.sha256(told.model_dump_json().encode()).hexdigest()[:16]


def _shown(runner: JobRunner, job: IngestJob) -> schemas.Job:
    results = [
        schemas.JobResult(name=item.name, state=item.state, reason=item.reason, segments=item.segments)  # type: ignore[arg-type]
        for item in job.settled
    ]
    return schemas.Job(
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
