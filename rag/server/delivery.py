"""Sends files and texts over HTTP, with ETags and range requests."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.datastructures import MutableHeaders

from rag.server.problems import HTTPProblem

_RANGES = re.compile(r"bytes=(?:\d{1,18}-\d{0,18}|-\d{1,18})(?:\s*,\s*(?:\d{1,18}-\d{0,18}|-\d{1,18}))*")


def send_file(request: Request, path: Path, headers: Mapping[str, str]) -> Response:
    """Return a file, or the requested ranges of it. Malformed ranges are ignored, as HTTP demands.

    Raises:
        HTTPProblem: 416, a range begins beyond the end.
    """
    stat = os.stat(path)
    response = FileResponse(path, headers=dict(headers), stat_result=stat)
    if _is_known(request, response):
        return _not_modified(response)
    header = request.headers.get("range", "")
    ranges = _parse_ranges(header)
    if header and not ranges:
        del MutableHeaders(scope=request.scope)["range"]
    elif any(_start_of(first, last) >= stat.st_size for first, last in ranges):
        size = {"Content-Range": f"bytes */{stat.st_size}"}
        raise HTTPProblem(416, f"The range begins beyond the file's {stat.st_size} bytes.", headers=size)
    return response


def send_text(request: Request, text: str, headers: Mapping[str, str]) -> Response:
    """Return a text."""
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    response = PlainTextResponse(text, headers={**headers, "ETag": etag})
    return _not_modified(response) if _is_known(request, response) else response


def _is_known(request: Request, response: Response) -> bool:
    """Return whether the client has this version already."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return response.headers["etag"] in known or "*" in known


def _not_modified(response: Response) -> Response:
    names = ("etag", "last-modified", "cache-control")
    return Response(
        status_code=304, headers={name: response.headers[name] for name in names if name in response.headers}
    )


def _parse_ranges(header: str) -> list[tuple[str, str]]:
    """Return first and last byte of each range, either of which may be empty. A malformed header has no ranges."""
    if not _RANGES.fullmatch(header):
        return []
    pairs = [part.strip().partition("-") for part in header.removeprefix("bytes=").split(",")]
    ranges = [(first, last) for first, _, last in pairs]
    return [] if any(first and last and int(first) > int(last) for first, last in ranges) else ranges


def _start_of(first: str, last: str) -> float:
    """Return where a range begins. A range of the last n bytes always exists, unless n is 0."""
    if first:
        return int(first)
    return 0 if int(last) else float("inf")
