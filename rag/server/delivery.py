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
    ranges = request.headers.get("range", "")
    if ranges and not _is_valid(ranges):
        del MutableHeaders(scope=request.scope)["range"]
    elif ranges and any(start >= stat.st_size for start in _range_starts(ranges)):
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


def _is_valid(ranges: str) -> bool:
    pairs = [part.strip().partition("-") for part in ranges.removeprefix("bytes=").split(",")]
    return bool(_RANGES.fullmatch(ranges)) and all(
        not first or not last or int(first) <= int(last) for first, _, last in pairs
    )


def _range_starts(ranges: str) -> list[float]:
    """Return where the ranges begin. A range of the last n bytes always exists, unless n is 0."""
    pairs = [part.strip().partition("-") for part in ranges.removeprefix("bytes=").split(",")]
    return [int(first) if first else (0 if int(last) else float("inf")) for first, _, last in pairs]
