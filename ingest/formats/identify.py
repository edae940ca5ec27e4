"""Find the files under the given paths, and identify each by its content.

Only the first bytes and the SHA-256 of a file are read, and the headers of containers that may hold sound, pictures or
both. The readers (`ingest.document.documents`, `ingest.picture.images`, ...) take a `Source` from here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from ingest.formats.sniff import HEAD_BYTES, media_type_of
from rag.config import Settings
from rag.errors import DamagedMedia, MediaError, MediaTooLarge, ProtectedMedia, UnsupportedMedia
from rag.types import Medium, Source

_JUNK_NAMES = frozenset({"__pycache__", "__MACOSX", "node_modules", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"})
_KINDS_OF_FILE = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)


@dataclass(frozen=True, slots=True)
class Measure:
    """The amount of content in a file, found without reading it; the basis of a plan's estimate."""

    pages: int = 0
    pictures: int = 0
    audio_s: float = 0.0
    video_s: float = 0.0
    characters: int = 0


@dataclass(frozen=True, slots=True)
class UnreadablePath:
    """A path that could not be examined; it may be a folder, so nothing below it counts as removed."""

    path: Path
    reason: str


def identify(path: Path, settings: Settings) -> Source:
    """Identify a file by its content, and hash it.

    Raises:
        UnsupportedMedia: no reader takes this kind of content, or the path is a folder, a pipe or a device.
        DamagedMedia: it is empty, truncated or not what its first bytes promise; or the disk failed.
        ProtectedMedia: its permissions forbid reading, or it is encrypted as a whole.
        MediaTooLarge: it is larger than `settings.max_file_mb`.
        MediaError: it does not exist, such as the target of a dangling link.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            _check_size(status.st_size, settings)
            head = file.read(HEAD_BYTES)
            media_type = media_type_of(path, head)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _map_os_error(error) from error
    return Source(path, digest, status.st_size, media_type, medium_of(media_type), status.st_mtime_ns)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file.

    Raises:
        UnsupportedMedia: it is a folder, a pipe or a device.
    """
    # Checked before opening, because opening a named pipe waits for its other end.
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS_OF_FILE if test(mode)), "something else")
        raise UnsupportedMedia(f"It is {kind}, not a file.")
    return path.open("rb")


def medium_of(media_type: str) -> Medium:
    """Return which reader takes a media type; SVG counts as a document because only its words are read."""
    match media_type.split("/", 1):
        case ["image", subtype] if subtype != "svg+xml":
            return "image"
        case ["audio", _]:
            return "audio"
        case ["video", _]:
            return "video"
    return "document"


def walk(paths: Iterable[Path]) -> Iterator[Path | UnreadablePath]:
    """Yield the given files and those in the given folders, sorted, each once, as absolute paths.

    In folders, skip hidden files, lock files of office programs, and the leftovers of version control and operating
    systems. Follow links, but enter each folder only once, however many links lead to it. Yield a given path that does
    not exist as a file: `identify` reports what is wrong with it.
    """
    seen: set[Path] = set()
    entered: set[tuple[int, int]] = set()
    for path in paths:
        absolute = Path(os.path.abspath(path))
        for entry in _descend(absolute, entered) if os.path.isdir(absolute) else (absolute,):
            key = entry.path if isinstance(entry, UnreadablePath) else entry
            if key not in seen:
                seen.add(key)
                yield entry


def _check_size(size: int, settings: Settings) -> None:
    if size == 0:
        raise DamagedMedia("It is empty (0 bytes).")
    if size > settings.max_file_mb * 1e6:
        raise MediaTooLarge(
            f"It has {size / 1e6:,.0f} MB, more than the limit of {settings.max_file_mb:,.0f} MB; "
            "split it, or raise EXHIBIT_MAX_FILE_MB."
        )


def _map_os_error(error: OSError) -> MediaError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return MediaError("There is no such file; if it is a link, its target does not exist.")
        case errno.ELOOP:
            return MediaError("It is a link that leads back to itself; point it at a file.")
        case errno.EACCES | errno.EPERM:
            return ProtectedMedia("You have no permission to read it; change its permissions or run as its owner.")
        case errno.ENAMETOOLONG:
            return MediaError("Its path is longer than this system can open; shorten it.")
    return DamagedMedia(f"It could not be read: {error.strerror or error}.")


def _descend(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Path | UnreadablePath]:
    """Yield the files below a folder in path order; a stack, because deep folders exceed the recursion limit."""
    stack = [_entries(folder, entered)]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif isinstance(entry, Path) and entry.is_dir():
            stack.append(_entries(entry, entered))
        else:
            yield entry


def _entries(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Path | UnreadablePath]:
    """Yield the sorted entries of a folder."""
    try:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in entered:
            return
        names = sorted(os.listdir(folder))
        entered.add(identity)
    except OSError as error:
        yield UnreadablePath(folder, f"The folder could not be read: {error.strerror or error}.")
        return
    for name in names:
        if not _is_junk(name):
            yield _check_path(folder / name)


def _check_path(path: Path) -> Path | UnreadablePath:
    try:
        os.stat(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):  # a link that leads nowhere is a file that fails
            return UnreadablePath(path, f"It could not be examined: {error.strerror or error}.")
    return path


def _is_junk(name: str) -> bool:
    return name.startswith((".", "~$")) or name in _JUNK_NAMES
