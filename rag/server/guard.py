"""Middleware around every route: request sizes, requests from other web pages, and a log line without content.

An unexpected error becomes a response here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import time
import uuid

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.server import log
from rag.server.problems import HTTPProblem, response
from rag.server.state import server_state

_UPLOAD = re.compile(r"/api/bases/[^/]+/files")
_SAFE = ("GET", "HEAD", "OPTIONS")
_SILENCE_S = 60.0  # while a body is being sent
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Guard:
    """Refuses requests that are too large, and requests that other web pages make a browser send.

    Args:
        app: the app behind it.
        is_open: whether no key is needed. Then any web page could send requests as the user, so requests from other
            pages are refused, and so is every host name but this machine's own (DNS rebinding).
        max_bytes: largest body of a request.
        max_upload_bytes: largest body of an upload.
    """

    def __init__(self, app: ASGIApp, *, is_open: bool, max_bytes: int, max_upload_bytes: int) -> None:
        self._app, self._is_open, self._max_bytes, self._max_upload_bytes = app, is_open, max_bytes, max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why it is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._find_problem(scope)
        if problem is not None:
            await response(Request(scope), problem)(scope, receive, send)
            return
        await self._app(scope, _LimitedBody(receive, self._max_bytes_of(scope)), send)

    def _max_bytes_of(self, scope: Scope) -> int:
        is_form = Headers(scope=scope).get("content-type", "").startswith("multipart/")  # only forms are read to disk
        return self._max_upload_bytes if is_form and _UPLOAD.fullmatch(scope["path"]) else self._max_bytes

    def _find_problem(self, scope: Scope) -> HTTPProblem | None:
        headers = Headers(scope=scope)
        if self._is_open and not _is_loopback_host(headers.get("host", "")):
            return HTTPProblem(
                403, "Without keys this server answers only to localhost; make one with `exhibit keys add`."
            )
        other = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        if self._is_open and other and scope["method"] not in _SAFE:
            return HTTPProblem(403, "Without keys no other web page may send this; make one with `exhibit keys add`.")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_bytes_of(scope):
            return _too_large(self._max_bytes_of(scope))
        return None


class _LimitedBody:
    """Receives a body and enforces its size, because the stated length may be wrong or missing, and a timeout."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive, self._max_bytes, self._received, self._is_complete = receive, max_bytes, 0, False

    async def __call__(self) -> Message:
        try:
            async with asyncio.timeout(None if self._is_complete else _SILENCE_S):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPProblem(408, f"No data of the request arrived for {_SILENCE_S:.0f} s.", code="timeout") from error
        self._is_complete = not message.get("more_body", False)
        self._received += len(message.get("body", b""))
        if self._received > self._max_bytes:
            raise _too_large(self._max_bytes)
        return message


class RequestLog:
    """Gives each request an id and a line in the log, and answers unexpected errors under that id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it when it is complete."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started, status = uuid.uuid4().hex, time.monotonic(), 0
        log.begin(request_id)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            if status:  # a response that has begun can only be broken off
                raise
            await response(Request(scope), error)(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", "")  # the path itself may contain a token
            seconds = round(time.monotonic() - started, 3)
            line = {"method": scope["method"], "route": route, "status": status, "seconds": seconds}
            log.requests.info("answered", extra={"fields": line})
            server_state(scope["app"]).figures.add(scope["method"], scope["path"], status, seconds)


async def require_valid_unicode(request: Request) -> None:
    """Refuse JSON that contains half a surrogate pair: it can be neither stored nor sent back.

    Raises:
        HTTPProblem: 400, the body contains one.
    """
    if "json" not in request.headers.get("content-type", ""):
        return
    body = await request.body()
    try:
        if _SURROGATE.search(body):
            json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        letter = ascii(error.object[error.start])
        raise HTTPProblem(400, f"The request is not valid Unicode: {letter} is half a surrogate pair.") from error
    except (ValueError, RecursionError):  # not JSON: its reader reports that
        return


def _is_loopback_host(host: str) -> bool:
    """Return whether a Host header names this machine's loopback."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    if name in ("localhost", ""):
        return bool(name)
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _too_large(most: int) -> HTTPProblem:
    return HTTPProblem(413, f"The request is larger than {most / 1e6:.0f} MB.", code="request_too_large")
