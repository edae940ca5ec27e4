"""Texts without the paths of this machine: an error or a reason may name a file, and not where it lies."""

from __future__ import annotations

import os
import re

from rag.presentation.json_values import name_of
from rag.types import FileResult

_COPY = "same content as "
# A path with a folder in it; what follows a word, a colon or another slash belongs to a URL or a media type.
_PATH = re.compile(r"(?<![\w:/.~])(?:[A-Za-z]:)?(?:[/\\][^/\\\s'\"`]+)+[/\\](?P<name>[^/\\\s'\"`]*)")


def without_paths(text: str, *known: str) -> str:
    """The text with files called by their names alone.

    Args:
        text: what is told.
        *known: paths that may be in it, which need not be guessed; spaces may be in them.
    """
    for path in sorted(known, key=len, reverse=True):
        text = text.replace(path, name_of(path)).replace(os.path.dirname(path) + os.sep, "")
    return _PATH.sub(lambda found: found["name"] or "a folder", text)


def reason_of(result: FileResult) -> str:
    """Why a file is not indexed, or not indexed twice."""
    if result.reason.startswith(_COPY):
        return _COPY + name_of(result.reason.removeprefix(_COPY))
    return without_paths(result.reason, result.path)
