"""What stands before every route: sizes, addresses, pages of others, and a log line without content.

Here is also the edge at which an error that nobody expected becomes an answer.
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
from rag.server.problems import Problem, response
from rag.server.state import server_state

_UPLOAD = re.compile(r"/api/bases/[^/]+/files")
_SAFE = ("GET", "HEAD", "OPTIONS")
_SILENCE_S = 60.0  # of a body that is being sent
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Guard:
    """Refuses requests that are too large, and what other web pages make a browser send.

    Args:
        app: what is guarded.
        is_open: whether no key is needed: then a page anywhere could ask as if it were the user, so what other pages
            send is refused, and so is every name but this machine's own, which they could point here (DNS rebinding).
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
        problem = self._problem(scope)
        if problem is not None:
            await response(Request(scope), problem)(scope, receive, send)
            return
        await self._app(scope, _LimitedBody(receive, self._most(scope)), send)

    def _most(self, scope: Scope) -> int:
        is_form = Headers(scope=scope).get("content-type", "").startswith("multipart/")  # which alone goes to the disk
        return self._max_upload_bytes if is_form and _UPLOAD.fullmatch(scope["path"]) else self._max_bytes

    def _problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        if self._is_open and not _is_here(headers.get("host", "")):
            return Problem(403, "Without keys this server answers only to localhost; make one with `exhibit keys add`.")
        other = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        if self._is_open and other and scope["method"] not in _SAFE:
            return Problem(403, "Without keys no other web page may send this; make one with `exhibit keys add`.")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most(scope):
            return _too_large(self._most(scope))
        return None


class _LimitedBody:
    """Receives a body: no more of it than may be, for its stated length may be wrong or missing, and not for ever."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._seen, self._is_whole = receive, most, 0, False

    async def __call__(self) -> Message:
        try:
            async with asyncio.timeout(None if self._is_whole else _SILENCE_S):
                message = await self._receive()
        except TimeoutError as error:
            raise Problem(408, f"Nothing of the request came for {_SILENCE_S:.0f} s.", code="timeout") from error
        self._is_whole = not message.get("more_body", False)
        self._seen += len(message.get("body", b""))
        if self._seen > self._most:
            raise _too_large(self._most)
        return message


class RequestLog:
    """Gives every request an id and a line in the log; what fails unexpectedly is answered here, under that id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it when it is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started, status = uuid.uuid4().hex, time.monotonic(), 0
        log.begin(request_id)

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception as error:
            if status:  # an answer that was begun can only be broken off
                raise
            await response(Request(scope), error)(scope, receive, sent)
        finally:
            route = getattr(scope.get("route"), "path", "")  # a path may hold a token
            seconds = round(time.monotonic() - started, 3)
            line = {"method": scope["method"], "route": route, "status": status, "seconds": seconds}
            log.requests.info("answered", extra={"fields": line})
            server_state(scope["app"]).figures.add(scope["method"], scope["path"], status, seconds)


async def require_valid_unicode(request: Request) -> None:
    """Refuse JSON with half a letter in it: it can be neither stored nor sent back.

    Raises:
        Problem: 400, there is one.
    """
    if "json" not in request.headers.get("content-type", ""):
        return
    body = await request.body()
    try:
        if _SURROGATE.search(body):
            json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        letter = ascii(error.object[error.start])
        raise Problem(400, f"The request is no valid Unicode: {letter} is half a letter.") from error
    except (ValueError, RecursionError):  # no JSON: whoever reads it says so
        return


def _is_here(host: str) -> bool:
    """Whether a Host header names this machine's loopback."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    if name in ("localhost", ""):
        return bool(name)
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _too_large(most: int) -> Problem:
    return Problem(413, f"The request is larger than {most / 1e6:.0f} MB.", code="request_too_large")
