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
from rag.server.problems import HTTPProblem
from rag.server.state import server_state
from rag.server.streams import HEADERS, KEEP_ALIVE, SILENCE_S, StreamEvent

router = APIRouter(prefix="/api", tags=["jobs"])

_POLL_S = 0.25
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The job whenever it changes, until it is over.",
        "content": {"text/event-stream": {"example": 'id: 5e\ndata: {"id": "3f…", "state": "running", "done": 1}\n\n'}},
    },
    204: {"description": "The job is over, and the client has its last event."},
}
JobId = Annotated[str, Path(alias="id", max_length=100, description="Id of a job.")]


@router.get("/bases/{base}/jobs", summary="List the jobs of a knowledge base")
async def list_jobs(
    request: Request, linker: ReadableBase, limit: Annotated[int, Query(ge=1, le=200, description="Most jobs.")] = 50
) -> schemas.Jobs:
    """Newest first. Finished jobs are kept for a while."""
    runner = server_state(request.app).runner
    jobs = await asyncio.to_thread(runner.jobs.newest, linker.name, limit)
    return schemas.Jobs(jobs=[_job_json(runner, job) for job in jobs])


@router.get("/jobs/{id}", summary="Get a job")
async def get_job(request: Request, caller: CurrentCaller, job_id: JobId) -> schemas.Job:
    """Its progress, and the result of each file."""
    return _job_json(server_state(request.app).runner, await _find_job(request, caller, job_id))


@router.get("/jobs/{id}/events", summary="Follow a job", response_class=Response, responses=_EVENTS)
async def follow_job(
    request: Request,
    caller: CurrentCaller,
    job_id: JobId,
    last_id: Annotated[str, Header(alias="Last-Event-ID", max_length=100, description="`id` of the last event.")] = "",
) -> Response:
    """Server-sent events, each with the whole job, until it is over.

    A client that reconnects with the `id` of its last event gets what has changed since.
    """
    runner = server_state(request.app).runner
    job = await _find_job(request, caller, job_id)
    if job.is_over and last_id == _event_of(_job_json(runner, job)).id:
        return Response(status_code=204)  # makes browsers stop reconnecting
    return StreamingResponse(_events(request, job_id, last_id), media_type="text/event-stream", headers=HEADERS)


@router.delete("/jobs/{id}", status_code=204, summary="Cancel a job")
async def cancel_job(request: Request, caller: CurrentCaller, job_id: JobId) -> Response:
    """Finished files stay; the others are dropped. A job that is over does not change."""
    job = await _find_job(request, caller, job_id)
    if not caller.may_write(job.base):
        raise HTTPProblem(403, "This key may only read.", code="read_only")
    runner = server_state(request.app).runner
    if not job.is_over:
        await asyncio.to_thread(runner.cancel, job)
    return Response(status_code=204)


async def _find_job(request: Request, caller: Caller, job_id: str) -> IngestJob:
    runner = server_state(request.app).runner
    job = await asyncio.to_thread(runner.jobs.get, job_id)
    if job is None or job.base not in caller.names:
        raise HTTPProblem(404, f"There is no job `{job_id}` here.", code="job_not_found", param="id")
    return job


async def _events(request: Request, job_id: str, last_id: str) -> AsyncIterator[str]:
    """Yield the job as events until the job, the server or the connection ends."""
    state = server_state(request.app)
    sent_at = time.monotonic()
    while not state.is_ending():
        job = await asyncio.to_thread(state.runner.jobs.get, job_id)
        if job is None:
            return
        event = _event_of(_job_json(state.runner, job))
        if event.id != last_id:
            last_id, sent_at = event.id, time.monotonic()
            yield event.encode()
        elif time.monotonic() - sent_at > SILENCE_S:
            sent_at = time.monotonic()
            yield KEEP_ALIVE
        if job.is_over:
            return
        await asyncio.sleep(_POLL_S)


def _event_of(job: schemas.Job) -> StreamEvent:
    data = job.model_dump_json()
    return StreamEvent(data, id=hashlib.sha256(data.encode()).hexdigest()[:16])


def _job_json(runner: JobRunner, job: IngestJob) -> schemas.Job:
    results = [
        schemas.JobResult(name=file.name, state=file.state, reason=file.reason, segments=file.segments)  # type: ignore[arg-type]
        for file in job.settled
    ]
    return schemas.Job(
        id=job.id,
        base=job.base,
        state=job.state,
        done=len(results),
        total=len(job.files),
        current=runner.current(job),
        results=results,
        error=job.error,
        made=job.made,
        finished=job.finished,
    )
