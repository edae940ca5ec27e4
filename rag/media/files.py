"""Checks that files are still there and unchanged before they are shown."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rag.errors import MediaError
from rag.media.opening import read_errors
from rag.types import Source


def head_of(path: Path) -> bytes:
    """Return the first kilobyte of a file.

    Raises:
        MediaError: the file has gone.
        ProtectedMedia: it may not be read.
    """
    with read_errors(path), path.open("rb") as file:
        return file.read(1024)


def check_same(path: Path, asset_id: str) -> None:
    """Check that a file still has the content that was indexed; this reads all of it.

    Args:
        path: of the file.
        asset_id: id of the content, `Source.asset_id`.

    Raises:
        MediaError: the file has gone, or its content has changed.
        ProtectedMedia: it may not be read.
    """
    with read_errors(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    if Source(path, digest, size, "", "document").asset_id != asset_id:
        raise MediaError(f"{path.name} has changed since it was indexed; ingest it again.")
