"""The server's log: lines of JSON, each with the id of its request and without content.

The message of an error may quote a question, so only the kinds of an error and of its causes are logged, and where it
was raised. Messages of other packages may do so, too: only their logger and place are logged.
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
_FRAMES = 12  # innermost frames of an error
_request: ContextVar[str] = ContextVar("request", default="")

requests = logging.getLogger("exhibit.requests")


def begin(request_id: str) -> None:
    """Assign everything logged from now on, in this task and the threads it starts, to a request."""
    _request.set(request_id)


def configure() -> None:
    """Log to standard error: all of the server's own lines, and warnings of other packages."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("exhibit").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.formatwarning = _format_warning  # log only the place of a warning


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: time, level, logger, request and message."""
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
            line["error"] = _format_error(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def _at(record: logging.LogRecord) -> str:
    """Return where a record was logged; for a warning, also its kind."""
    return record.getMessage() if record.name == "py.warnings" else f"{record.module}:{record.lineno}"


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return the place and kind of a warning, without its message."""
    return f"{_short(filename)}:{lineno}: {category.__name__}"


def _format_error(error: BaseException) -> dict[str, Any]:
    """Return the kind and frames of an error, without its message."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    line: dict[str, Any] = {
        "kind": f"{type(error).__module__}.{type(error).__qualname__}",
        "at": [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames],
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return line | ({"cause": _format_error(cause)} if cause else {})


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-3:])
