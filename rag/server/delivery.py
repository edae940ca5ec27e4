"""Files and texts as HTTP has them sent: again only if they have changed, and parts where parts are wanted."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.datastructures import MutableHeaders

from rag.server.problems import Problem

_RANGES = re.compile(r"bytes=(?:\d{1,18}-\d{0,18}|-\d{1,18})(?:\s*,\s*(?:\d{1,18}-\d{0,18}|-\d{1,18}))*")


def file(request: Request, path: Path, headers: Mapping[str, str]) -> Response:
    """A file, or the ranges of it that are wanted; ranges that make no sense are not looked at, as HTTP has it.

    Raises:
        Problem: 416, a range begins beyond its end.
    """
    stat = os.stat(path)
    response = FileResponse(path, headers=dict(headers), stat_result=stat)
    if _is_known(request, response):
        return _unchanged(response)
    wanted = request.headers.get("range", "")
    if wanted and not _is_sound(wanted):
        del MutableHeaders(scope=request.scope)["range"]
    elif wanted and any(first >= stat.st_size for first in _firsts(wanted)):
        size = {"Content-Range": f"bytes */{stat.st_size}"}
        raise Problem(416, f"It has {stat.st_size} bytes, and the range begins beyond them.", headers=size)
    return response


def text(request: Request, words: str, headers: Mapping[str, str]) -> Response:
    """A text."""
    etag = f'"{hashlib.sha256(words.encode()).hexdigest()[:32]}"'
    response = PlainTextResponse(words, headers={**headers, "ETag": etag})
    return _unchanged(response) if _is_known(request, response) else response


def _is_known(request: Request, response: Response) -> bool:
    """Whether the client has it already, as it says."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return response.headers["etag"] in known or "*" in known


def _unchanged(response: Response) -> Response:
    kept = ("etag", "last-modified", "cache-control")
    return Response(
        status_code=304, headers={name: response.headers[name] for name in kept if name in response.headers}
    )


def _is_sound(wanted: str) -> bool:
    pairs = [part.strip().partition("-") for part in wanted.removeprefix("bytes=").split(",")]
    return bool(_RANGES.fullmatch(wanted)) and all(
        not first or not last or int(first) <= int(last) for first, _, last in pairs
    )


def _firsts(wanted: str) -> list[float]:
    """Where the ranges begin; the last so many bytes are always there, unless they are none."""
    pairs = [part.strip().partition("-") for part in wanted.removeprefix("bytes=").split(",")]
    return [int(first) if first else (0 if int(last) else float("inf")) for first, _, last in pairs]
