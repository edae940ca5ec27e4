"""Uploads: files are streamed to a folder of the knowledge base, under safe names, completely or not at all.

Each upload has its own folder, named after its job, so that no file replaces another. An unfinished upload is in a
folder whose name ends in ``.part``. If its server was killed, the folder is deleted after an hour.
"""

from __future__ import annotations

import asyncio
import errno
import re
import shutil
import time
import unicodedata
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING

from rag.server.problems import HTTPProblem
from rag.text import replace_surrogates

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartParser

MOST_FILES = 500
_FOLDER, _PART = "uploads", ".part"
_FIELD = "files"
_MOST_NAME_BYTES = 180  # file systems allow 255, and a number may be added
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)  # device names on Windows
_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]')
_BLOCK_BYTES = 1_000_000
_ABANDONED_S = 3600.0


def safe_name(name: str) -> str:
    """Return a name that is safe in a folder, as close to the given one as possible."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    plain = _UNSAFE.sub("_", replace_surrogates(last)).strip(" .")
    stem, dot, suffix = plain.rpartition(".")
    if not dot or len(suffix.encode()) > 20:
        stem, dot, suffix = plain, "", ""
    most = _MOST_NAME_BYTES - len((dot + suffix).encode())
    plain = stem.encode()[:most].decode("utf-8", "ignore") + dot + suffix
    return f"_{plain}" if _RESERVED.fullmatch(plain) else plain or "file"


def unused_path(folder: Path, name: str) -> Path:
    """Return a path in the folder, under a safe name that no file has."""
    path = folder / safe_name(name)
    stem, suffix, number = path.stem, path.suffix, 2
    while path.exists():
        path = folder / f"{stem} ({number}){suffix}"
        number += 1
    return path


def folder_of(base: Path, job_id: str) -> Path:
    """Return the folder of a job's files. It is created if missing."""
    folder = base / _FOLDER / job_id
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def delete(base: Path, files: Iterable[str]) -> None:
    """Delete the given files if they were uploaded to the knowledge base. Others stay."""
    uploaded = base / _FOLDER
    for file in map(Path, files):
        if file.is_relative_to(uploaded) and ".." not in file.parts:
            file.unlink(missing_ok=True)
            drop_if_empty(file.parent)


def drop_if_empty(folder: Path) -> None:
    """Delete a folder if it is empty."""
    with suppress(OSError):
        folder.rmdir()


def finish(base: Path, job_id: str) -> None:
    """Give an upload its final folder, now that its job is queued. A second call does nothing."""
    part = base / _FOLDER / f"{job_id}{_PART}"
    with suppress(FileNotFoundError):
        part.rename(part.with_suffix(""))


def sweep(base: Path, jobs: Collection[str]) -> None:
    """Delete abandoned uploads: not of these jobs, and untouched for an hour."""
    for part in (base / _FOLDER).glob(f"*{_PART}"):
        with suppress(FileNotFoundError):  # finished meanwhile
            touched = max(file.stat().st_mtime for file in (part, *part.iterdir()))
            if part.stem not in jobs and time.time() - touched > _ABANDONED_S:
                shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """The largest upload.

    Attributes:
        max_file_bytes: largest file.
        max_bytes: largest form: all files with the boundaries between them.
    """

    max_file_bytes: int
    max_bytes: int


class Upload:
    """Receives files into a folder of a knowledge base.

    Args:
        base: folder of the knowledge base.
        job_id: id of the upload's job.
        limits: the largest upload.
    """

    def __init__(self, base: Path, job_id: str, limits: UploadLimits) -> None:
        self._folder, self._part = base / _FOLDER / job_id, base / _FOLDER / f"{job_id}{_PART}"
        self._limits = limits

    async def receive(self, content_type: str, length: int, body: AsyncIterator[bytes]) -> list[Path]:
        """Write the files of a multipart form to disk as they arrive. Return their paths after `finish`.

        Raises:
            HTTPProblem: 400, it is not a form with files; 413, it is too large; 507, the disk is full. All files are
                deleted then.
        """
        try:
            with _map_errors(), closing(_FormParser(self._part, self._limits)) as form:
                self._check_room(length)
                parser = form.parser(content_type)
                async for block in _blocks(body, self._limits.max_bytes):
                    await asyncio.to_thread(parser.write, block)
                return [self._folder / name for name in form.names()]
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Delete the files."""
        shutil.rmtree(self._part, ignore_errors=True)

    def _check_room(self, length: int) -> None:
        if length > self._limits.max_bytes:
            raise _too_large(self._limits.max_bytes)
        self._part.mkdir(parents=True)
        if length > shutil.disk_usage(self._part).free:
            raise OSError(errno.ENOSPC, "no room")


class _FormParser:
    """Parses a multipart form and writes its files to a folder."""

    def __init__(self, folder: Path, limits: UploadLimits) -> None:
        self._folder, self._limits = folder, limits
        self._name, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._file: BufferedWriter | None = None
        self._written = 0
        self._names: list[str] = []
        self._is_complete = False

    def parser(self, content_type: str) -> MultipartParser:
        """Return the parser, which takes the bytes of the form."""
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise HTTPProblem(400, f"Send a form (multipart/form-data) with files in `{_FIELD}`.", param=_FIELD)
        return MultipartParser(
            options[b"boundary"],
            {
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_file,
                "on_part_data": self._write,
                "on_part_end": self.close,
                "on_end": self._end,
            },
        )

    def names(self) -> list[str]:
        """Return the names of the files, once all are complete."""
        if not self._is_complete:
            raise HTTPProblem(400, "The form was cut off before its last boundary.", param=_FIELD)
        if not self._names:
            raise HTTPProblem(400, f"The form has no files; send them as `{_FIELD}`.", param=_FIELD)
        return self._names

    def close(self) -> None:
        """Close the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _begin_file(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        if options.get(b"name") != _FIELD.encode() or b"filename" not in options:
            raise HTTPProblem(400, f"The form may contain only files, as `{_FIELD}`.", param=_FIELD)
        if len(self._names) == MOST_FILES:
            raise HTTPProblem(413, f"Too many files (limit {MOST_FILES}).", code="too_many_files")
        path = unused_path(self._folder, options[b"filename"].decode("utf-8", "replace"))
        self._file, self._written = path.open("xb"), 0
        self._names.append(path.name)

    def _write(self, data: bytes, start: int, end: int) -> None:
        self._written += end - start
        if self._written > self._limits.max_file_bytes:
            most = self._limits.max_file_bytes / 1e6
            raise HTTPProblem(413, f"`{self._names[-1]}` is larger than {most:,.0f} MB.", code="file_too_large")
        assert self._file is not None
        self._file.write(data[start:end])

    def _end(self) -> None:
        self._is_complete = True


async def _blocks(body: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """Yield the body in blocks large enough to be written by a thread."""
    received, block = 0, bytearray()
    async for piece in body:
        received += len(piece)
        if received > most:
            raise _too_large(most)
        block += piece
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)


@contextmanager
def _map_errors() -> Iterator[None]:
    """Turn errors of the parser and the disk into problems."""
    from python_multipart.exceptions import FormParserError

    try:
        yield
    except FormParserError as error:
        raise HTTPProblem(400, f"The form is malformed: {error}.", param=_FIELD) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HTTPProblem(507, "The server's disk is full.", code="no_room") from error
        raise


def _too_large(most: int) -> HTTPProblem:
    return HTTPProblem(413, f"The files together are larger than {most / 1e6:,.0f} MB.", code="upload_too_large")
