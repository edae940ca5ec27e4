"""Removes this machine's paths from texts: an error or a reason may name a file, but not its folder."""

from __future__ import annotations

import os
import re

from rag.presentation.json_values import name_of
from rag.types import FileResult

_COPY = "same content as "
# A path that contains a folder. After a word, a colon or another slash it would belong to a URL or a media type.
_PATH = re.compile(r"(?<![\w:/.~])(?:[A-Za-z]:)?(?:[/\\][^/\\\s'\"`]+)+[/\\](?P<name>[^/\\\s'\"`]*)")


def without_paths(text: str, *known: str) -> str:
    """Return the text with only the names of files.

    Args:
        text: a message.
        *known: paths that may occur in it, also with spaces. Others are recognized by their form.
    """
    for path in sorted(known, key=len, reverse=True):
        text = text.replace(path, name_of(path)).replace(os.path.dirname(path) + os.sep, "")
    return _PATH.sub(lambda match: match["name"] or "a folder", text)


def reason_of(result: FileResult) -> str:
    """Return why a file is not indexed, or not indexed twice, without paths."""
    if result.reason.startswith(_COPY):
        return _COPY + name_of(result.reason.removeprefix(_COPY))
    return without_paths(result.reason, result.path)
