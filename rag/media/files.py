"""Files on their way to being shown: whether they are still there and the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rag.errors import MediaError
from rag.media.opening import read_errors
from rag.types import Source


def head_of(path: Path) -> bytes:
    """The first kilobyte of a file.

    Raises:
        MediaError: the file has gone.
        ProtectedMedia: it may not be read.
    """
    with read_errors(path), path.open("rb") as file:
        return file.read(1024)


def check_same(path: Path, asset_id: str) -> None:
    """Make sure that a file still has the content that was indexed; reads all of it.

    Args:
        path: where it was.
        asset_id: id of the content, `Source.asset_id`.

    Raises:
        MediaError: the file has gone, or its content is another now.
        ProtectedMedia: it may not be read.
    """
    with read_errors(path), path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    if Source(path, found, size, "", "document").asset_id != asset_id:
        raise MediaError(f"{path.name} has changed since it was indexed; ingest it again.")
