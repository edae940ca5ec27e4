"""Lists in OpenAI's form, which a client requests page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Query

from rag.server.history import PageRequest

Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str, Query(max_length=80, description="Id of the last entry of the previous page.")]


def oldest_first(limit: Limit = 20, after: After = "", order: Literal["asc", "desc"] = "asc") -> PageRequest:
    """Return the requested page, oldest first by default."""
    return PageRequest(limit, after, order == "desc")


def newest_first(limit: Limit = 20, after: After = "", order: Literal["asc", "desc"] = "desc") -> PageRequest:
    """Return the requested page, newest first by default."""
    return PageRequest(limit, after, order == "desc")


def list_page(data: Sequence[Mapping[str, Any]], has_more: bool = False) -> dict[str, Any]:
    """Return a page of a list in OpenAI's form."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": list(data), "first_id": first, "last_id": last, "has_more": has_more}
