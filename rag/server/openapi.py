"""The OpenAPI description: names of operations, and their errors."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from rag.server.native.schemas import Problem

_ERRORS = {
    "4XX": "The request cannot be served; the message says why.",
    "5XX": "The server, a model or a store failed.",
}
_STREAMED = ("/v1/chat/completions", "/v1/responses")  # on request
_OPENAI = {
    "type": "object",
    "description": "An error in OpenAI's form.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string", "examples": ["invalid_request_error"]},
                "param": {"type": ["string", "null"], "description": "The field of the request that is wrong."},
                "code": {"type": ["string", "null"], "examples": ["model_not_found"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}


def operation_id(route: APIRoute) -> str:
    """Return the name of an operation in generated clients."""
    if not route.path_format.startswith("/v1/"):
        return route.name
    return f"openai_{route.endpoint.__module__.rpartition('.')[2]}_{route.name}"


def install(app: FastAPI) -> None:
    """Describe the errors of `rag.server.problems`, instead of FastAPI's own, which never occur."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _add_errors(_shorten_names(describe()))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _shorten_names(described: dict[str, Any]) -> dict[str, Any]:
    """Name schemas as clients know them, such as ``Hit`` for `HitSchema`."""
    shortened = re.sub(r'"(#/components/schemas/)?(\w+)Schema"', r'"\1\2"', json.dumps(described))
    return json.loads(shortened)  # type: ignore[no-any-return]


def _add_errors(described: dict[str, Any]) -> dict[str, Any]:
    schemas = described["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"Problem": Problem.model_json_schema(), "OpenAIError": _OPENAI}
    for path, operations in described["paths"].items():
        kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
        name = "OpenAIError" if path.startswith("/v1/") else "Problem"
        content = {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"] |= {
                status: {"description": text, "content": content} for status, text in _ERRORS.items()
            }
    for path in _STREAMED:
        described["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"] = {}
    return described
