"""Lists as OpenAI has them, which a client asks for page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Query

from rag.server.history import PageRequest

Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str, Query(max_length=80, description="Id of the last one of the page before.")]


def oldest_first(limit: Limit = 20, after: After = "", order: Literal["asc", "desc"] = "asc") -> PageRequest:
    """Which part of a list is wanted, oldest first unless told otherwise."""
    return PageRequest(limit, after, order == "desc")


def newest_first(limit: Limit = 20, after: After = "", order: Literal["asc", "desc"] = "desc") -> PageRequest:
    """Which part of a list is wanted, newest first unless told otherwise."""
    return PageRequest(limit, after, order == "desc")


def list_page(data: Sequence[Mapping[str, Any]], has_more: bool = False) -> dict[str, Any]:
    """A page of a list."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": list(data), "first_id": first, "last_id": last, "has_more": has_more}
