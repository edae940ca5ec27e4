"""Uploads and addresses. Both become jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Request

from rag.server import uploads
from rag.server.access import WritableBase
from rag.server.job_store import JobFile, new_id
from rag.server.native import schemas
from rag.server.problems import HTTPProblem
from rag.server.state import server_state
from rag.server.uploads import MOST_FILES, Upload, UploadLimits

router = APIRouter(prefix="/api/bases/{base}", tags=["taking in"])

MOST_WAITING = 200  # unfinished jobs of a knowledge base

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
                            "description": "Files with their names, as `curl -F files=@report.pdf` sends them.",
                        }
                    },
                }
            }
        },
    }
}
_URLS = {"one": {"value": {"urls": ["https://example.org/report.pdf"]}}}


@router.post("/files", status_code=202, summary="Upload files to a knowledge base", openapi_extra=_FORM)
async def upload_files(request: Request, linker: WritableBase) -> schemas.Accepted:
    """One or more files in any medium, as a form. A job adds them to the knowledge base.

    A web page and its pictures are read together if they are sent together. Files keep their names; a second file with
    the same name gets a number.
    """
    _check_room(request, linker.name)
    base, options, job_id = linker.base, server_state(request.app).options, new_id()
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
        runner.jobs.add(linker.name, items, job_id=job_id)
        uploads.finish(base.path, job_id)
        runner.queue(linker.name)

    await asyncio.to_thread(queue)
    return schemas.Accepted(job=job_id)


@router.post("/urls", status_code=202, summary="Add files from addresses")
async def take_in_urls(
    request: Request, linker: WritableBase, sent: Annotated[schemas.UrlsRequest, Body(openapi_examples=_URLS)]
) -> schemas.Accepted:
    """Files and pages on the public internet. Each is fetched once; links in a page are not followed.

    Off unless the server was started with `--allow-urls`. Addresses of private networks are refused.
    """
    if not server_state(request.app).options.allow_urls:
        raise HTTPProblem(
            403,
            "This server does not fetch addresses. Start it with `exhibit serve --allow-urls`.",
            code="urls_not_allowed",
        )
    _check_room(request, linker.name)
    addresses = list(dict.fromkeys(sent.urls))
    for address in addresses:
        server_state(request.app).fetcher.check(address)
    items = [JobFile(number, address, url=address) for number, address in enumerate(addresses)]
    runner = server_state(request.app).runner
    job_id = await asyncio.to_thread(runner.jobs.add, linker.name, items)
    runner.queue(linker.name)
    return schemas.Accepted(job=job_id)


def _check_room(request: Request, base: str) -> None:
    if len(server_state(request.app).runner.jobs.unfinished(base)) >= MOST_WAITING:
        detail = f"{MOST_WAITING} jobs are waiting already; try again in a minute."
        raise HTTPProblem(429, detail, code="overloaded", headers={"Retry-After": "60"})
