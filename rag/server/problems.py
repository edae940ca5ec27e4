"""Errors as clients expect them: OpenAI's form below ``/v1``, problem details (RFC 9457) everywhere else.

Messages of Exhibit's own errors are meant to be read. Of any other error a client learns only the request's id, under
which it is in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http.client import responses as phrases
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from rag.errors import (
    ContextOverflow,
    ExhibitError,
    IndexUnavailable,
    LLMError,
    LLMUnavailable,
    MediaError,
    MediaTooLarge,
    ModelError,
    QueryError,
    UnsupportedMedia,
)
from rag.server.gate import Busy
from rag.server.history import EntryNotFound
from rag.server.redaction import without_paths
from rag.server.signed_links import Expired, LinkError
from rag.text import escape_surrogates

_log = logging.getLogger("exhibit.server")

# The first match counts. Any other error is the server's fault.
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (MediaTooLarge, 413),
    (UnsupportedMedia, 415),
    (MediaError, 422),
    (QueryError, 400),
    (ContextOverflow, 400),
    (LLMUnavailable, 503),
    (LLMError, 502),
    (IndexUnavailable, 503),
    (ModelError, 503),
    (Busy, 429),
    (Expired, 410),
    (LinkError, 403),
    (EntryNotFound, 404),
)
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class HTTPProblem(HTTPException):
    """A request that cannot be served.

    Args:
        status: HTTP status.
        detail: what is wrong and what to do.
        code: a code for programs, such as ``model_not_found``.
        param: the field of the request that is wrong.
        headers: headers of the response.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # A file name may contain bytes that are not text and cannot be sent.
        super().__init__(status, escape_surrogates(detail), dict(headers or {}))
        self.code, self.param = code, param


def install(app: FastAPI) -> None:
    """Answer the expected errors of an app in the form of their path. `RequestLog` answers the others."""
    for kind in (HTTPException, RequestValidationError, ExhibitError, Busy, LinkError, EntryNotFound, ClientDisconnect):
        app.add_exception_handler(kind, _respond)


def as_problem(error: Exception) -> HTTPProblem:
    """Return any error as the problem that a client gets."""
    if isinstance(error, HTTPProblem):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return HTTPProblem(400, f"`{where or 'body'}`: {first['msg']}.", code="invalid_request", param=where or None)
    if isinstance(error, HTTPException):
        return HTTPProblem(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, ClientDisconnect):
        return HTTPProblem(499, "The client has gone.")
    if isinstance(error, Busy):
        return HTTPProblem(429, str(error), code="overloaded", headers={"Retry-After": str(error.retry_after_s)})
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        _log.error("unexpected error", exc_info=error)
        return HTTPProblem(500, "The server failed. See its log under the request's id.")
    headers = {"Retry-After": "5"} if status == 503 else {}
    code = "not_found" if status == 404 else type(error).__name__
    return HTTPProblem(status, without_paths(str(error)), code=code, headers=headers)


def problem_details(problem: HTTPProblem) -> dict[str, Any]:
    """Return the body of an error as problem details (RFC 9457)."""
    title = phrases.get(problem.status_code, "Error")
    body = {"type": "about:blank", "title": title, "status": problem.status_code, "detail": problem.detail}
    extra = {"code": problem.code, "param": problem.param}
    return body | {name: value for name, value in extra.items() if value}


def openai_error(problem: HTTPProblem) -> dict[str, Any]:
    """Return the body of an error in OpenAI's form."""
    kind = _KINDS.get(problem.status_code, "server_error" if problem.status_code >= 500 else "invalid_request_error")
    return {"error": {"message": problem.detail, "type": kind, "param": problem.param, "code": problem.code}}


def response(request: Request, error: Exception) -> Response:
    """Return the response for an error, in the form of the request's path."""
    problem = as_problem(error)
    headers = {**(problem.headers or {}), "Cache-Control": "no-store"}
    if request.url.path.startswith("/v1/"):
        return JSONResponse(openai_error(problem), problem.status_code, headers)
    body = {**problem_details(problem), "instance": request.url.path}
    return JSONResponse(body, problem.status_code, headers, media_type="application/problem+json")


async def _respond(request: Request, error: Exception) -> Response:
    return response(request, error)
