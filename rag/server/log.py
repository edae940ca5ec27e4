"""What the server writes down: lines of JSON, each with the id of the request that it belongs to, and no content.

What an error says may quote what was asked, so of an error stand here its kind, the kinds of what caused it, and where
it was raised. What other packages say may do so, too: of that stands here who said it, and where.
"""

from __future__ import annotations

import json
import logging
import traceback
import warnings
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_OURS = ("exhibit", "uvicorn")
_FRAMES = 12  # of an error, the innermost
_request: ContextVar[str] = ContextVar("request", default="")

requests = logging.getLogger("exhibit.requests")


def begin(request_id: str) -> None:
    """Say that what is logged from here on, in this task and the threads that it starts, belongs to a request."""
    _request.set(request_id)


def configure() -> None:
    """Write lines to standard error: all of the server's own, of others their warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("exhibit").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.formatwarning = _place  # of all that is said to be logged, only this


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line: when, how grave, who says it, for which request, and what."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if request_id := _request.get():
            line["request"] = request_id
        if record.name.partition(".")[0] in _OURS:
            line["message"] = record.getMessage().strip()
            line |= getattr(record, "fields", {})
        else:
            line["at"] = _at(record)
        if record.exc_info and record.exc_info[1]:
            line["error"] = _told(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def _at(record: logging.LogRecord) -> str:
    """Where something was said; of a warning, also its kind."""
    return record.getMessage() if record.name == "py.warnings" else f"{record.module}:{record.lineno}"


def _place(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """A warning without what it says."""
    return f"{_short(filename)}:{lineno}: {category.__name__}"


def _told(error: BaseException) -> dict[str, Any]:
    """An error without what it says."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    told: dict[str, Any] = {
        "kind": f"{type(error).__module__}.{type(error).__qualname__}",
        "at": [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames],
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told | ({"cause": _told(cause)} if cause else {})


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-3:])
