"""Uploads and addresses, which become jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Request

from rag.server import uploads
from rag.server.access import WritableBase
from rag.server.job_store import JobFile, new_id
from rag.server.native import schemas
from rag.server.problems import Problem
from rag.server.state import server_state
from rag.server.uploads import MOST_FILES, Upload, UploadLimits

router = APIRouter(prefix="/api/bases/{base}", tags=["taking in"])

MOST_WAITING = 200  # jobs of a knowledge base that are not over

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "maxItems": MOST_FILES,
                            "description": "Each with its name, as `curl -F files=@report.pdf` sends it.",
                        }
                    },
                }
            }
        },
    }
}
_URLS = {"one": {"value": {"urls": ["https://example.org/report.pdf"]}}}


@router.post("/files", status_code=202, summary="Upload files to a knowledge base", openapi_extra=_FORM)
async def upload_files(request: Request, viewer: WritableBase) -> schemas.Accepted:
    """Files in any medium, one or many, as a form; a job takes them in.

    A page and its pictures that are sent together are read together. Files keep their names; a second one of the same
    name gets a number.
    """
    _check_room(request, viewer.name)
    base, options, job_id = viewer.base, server_state(request.app).options, new_id()
    limits = UploadLimits(int(base.settings.max_file_mb * 1e6), int(options.max_upload_mb * 1e6))
    upload = Upload(base.path, job_id, limits)
    length = request.headers.get("content-length", "")
    received = await upload.receive(
        request.headers.get("content-type", ""), int(length) if length.isdecimal() else 0, request.stream()
    )
    items = [JobFile(number, path.name, str(path)) for number, path in enumerate(received)]
    runner = server_state(request.app).runner

    def queue() -> None:
        # The job is stored before the folder gets its final name. If the server is killed between the two, the process
        # that runs the job renames the folder.
        runner.jobs.add(viewer.name, items, job_id=job_id)
        uploads.keep(base.path, job_id)
        runner.queue(viewer.name)

    await asyncio.to_thread(queue)
    return schemas.Accepted(job=job_id)


@router.post("/urls", status_code=202, summary="Take in what is at some addresses")
async def take_in_urls(
    request: Request, viewer: WritableBase, sent: Annotated[schemas.UrlsRequest, Body(openapi_examples=_URLS)]
) -> schemas.Accepted:
    """Files and pages on the public internet, each fetched once, as it is; what a page links to is not followed.

    Off unless the server was started with `--allow-urls`. Addresses of private networks are refused.
    """
    if not server_state(request.app).options.allow_urls:
        raise Problem(
            403,
            "This server fetches nothing; `exhibit serve --allow-urls` switches it on.",
            code="urls_not_allowed",
        )
    _check_room(request, viewer.name)
    addresses = list(dict.fromkeys(sent.urls))
    for address in addresses:
        server_state(request.app).fetcher.check(address)
    items = [JobFile(number, address, url=address) for number, address in enumerate(addresses)]
    runner = server_state(request.app).runner
    job_id = await asyncio.to_thread(runner.jobs.add, viewer.name, items)
    runner.queue(viewer.name)
    return schemas.Accepted(job=job_id)


def _check_room(request: Request, base: str) -> None:
    if len(server_state(request.app).runner.jobs.unfinished(base)) >= MOST_WAITING:
        said = f"{MOST_WAITING} jobs wait already; try again in a minute."
        raise Problem(429, said, code="overloaded", headers={"Retry-After": "60"})
