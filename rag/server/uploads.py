"""Files that are uploaded: streamed to a folder of the knowledge base, under safe names, whole or not at all.

Each upload has a folder of its own, called by its job, so that nobody's file takes another's place. What is half there
lies in a folder whose name ends in ``.part``; where its server was killed, it is deleted after an hour.
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

from rag.server.problems import Problem
from rag.text import replace_surrogates

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartParser

MOST_FILES = 500
_FOLDER, _PART = "uploads", ".part"
_FIELD = "files"
_MOST_NAME_BYTES = 180  # file systems take 255, and a number may be added
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)  # names of devices on Windows
_UNFIT = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]')
_WRITTEN_BYTES = 1_000_000
_CUT_OFF_S = 3600.0


def safe_name(name: str) -> str:
    """A file's name as it can stand in a folder, as like to the given one as possible."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    plain = _UNFIT.sub("_", replace_surrogates(last)).strip(" .")
    stem, dot, suffix = plain.rpartition(".")
    if not dot or len(suffix.encode()) > 20:
        stem, dot, suffix = plain, "", ""
    most = _MOST_NAME_BYTES - len((dot + suffix).encode())
    plain = stem.encode()[:most].decode("utf-8", "ignore") + dot + suffix
    return f"_{plain}" if _RESERVED.fullmatch(plain) else plain or "file"


def free(folder: Path, name: str) -> Path:
    """A path of a safe name in a folder that no file has."""
    path = folder / safe_name(name)
    stem, suffix, number = path.stem, path.suffix, 2
    while path.exists():
        path = folder / f"{stem} ({number}){suffix}"
        number += 1
    return path


def folder_of(base: Path, job_id: str) -> Path:
    """The folder of a job's files, made if it is not there."""
    folder = base / _FOLDER / job_id
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def delete(base: Path, files: Iterable[str]) -> None:
    """Delete those of some files that were uploaded to a knowledge base; others are not touched."""
    uploaded = base / _FOLDER
    for file in map(Path, files):
        if file.is_relative_to(uploaded) and ".." not in file.parts:
            file.unlink(missing_ok=True)
            drop_if_empty(file.parent)


def drop_if_empty(folder: Path) -> None:
    """Delete a folder in which nothing is."""
    with suppress(OSError):
        folder.rmdir()


def keep(base: Path, job_id: str) -> None:
    """Let the files of an upload stay, now that it is a job; a second time does nothing."""
    part = base / _FOLDER / f"{job_id}{_PART}"
    with suppress(FileNotFoundError):
        part.rename(part.with_suffix(""))


def sweep(base: Path, jobs: Collection[str]) -> None:
    """Delete what is left of uploads that were cut off: none of these jobs, and untouched for an hour."""
    for part in (base / _FOLDER).glob(f"*{_PART}"):
        with suppress(FileNotFoundError):  # whole now
            touched = max(file.stat().st_mtime for file in (part, *part.iterdir()))
            if part.stem not in jobs and time.time() - touched > _CUT_OFF_S:
                shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How much may be uploaded at once.

    Attributes:
        max_file_bytes: in one file.
        max_bytes: in all together, with what stands between them.
    """

    max_file_bytes: int
    max_bytes: int


class Upload:
    """Files on their way to a folder of a knowledge base.

    Args:
        base: folder of the knowledge base.
        job_id: of the job that the upload will be.
        limits: how much may be uploaded.
    """

    def __init__(self, base: Path, job_id: str, limits: UploadLimits) -> None:
        self._folder, self._part = base / _FOLDER / job_id, base / _FOLDER / f"{job_id}{_PART}"
        self._limits = limits

    async def receive(self, content_type: str, length: int, body: AsyncIterator[bytes]) -> list[Path]:
        """Write the files of a multipart form to disk as they come; the paths are those after `keep`.

        Raises:
            Problem: 400, it is no form with files; 413, too much; 507, the disk is full. Nothing is left then.
        """
        try:
            with _mapped(), closing(_FormParser(self._part, self._limits)) as form:
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
    """A multipart form whose files are written to a folder while it is parsed."""

    def __init__(self, folder: Path, limits: UploadLimits) -> None:
        self._folder, self._limits = folder, limits
        self._name, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._file: BufferedWriter | None = None
        self._written = 0
        self._names: list[str] = []
        self._is_whole = False

    def parser(self, content_type: str) -> MultipartParser:
        """What the form's bytes are written to."""
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Problem(400, f"Send a form (multipart/form-data) with files in `{_FIELD}`.", param=_FIELD)
        return MultipartParser(
            options[b"boundary"],
            {
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header,
                "on_headers_finished": self._begin,
                "on_part_data": self._write,
                "on_part_end": self.close,
                "on_end": self._end,
            },
        )

    def names(self) -> list[str]:
        """The names of the files; all of them are there whole."""
        if not self._is_whole:
            raise Problem(400, "The form ends before its last boundary; it was cut off.", param=_FIELD)
        if not self._names:
            raise Problem(400, f"There is no file in it; send some as `{_FIELD}`.", param=_FIELD)
        return self._names

    def close(self) -> None:
        """Close the file that is being written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _begin(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        if options.get(b"name") != _FIELD.encode() or b"filename" not in options:
            raise Problem(400, f"Only files can be sent here, as `{_FIELD}`.", param=_FIELD)
        if len(self._names) == MOST_FILES:
            raise Problem(413, f"At most {MOST_FILES} files can be sent at once.", code="too_many_files")
        path = free(self._folder, options[b"filename"].decode("utf-8", "replace"))
        self._file, self._written = path.open("xb"), 0
        self._names.append(path.name)

    def _write(self, data: bytes, start: int, end: int) -> None:
        self._written += end - start
        if self._written > self._limits.max_file_bytes:
            most = self._limits.max_file_bytes / 1e6
            raise Problem(413, f"`{self._names[-1]}` is larger than {most:,.0f} MB.", code="file_too_large")
        assert self._file is not None
        self._file.write(data[start:end])

    def _end(self) -> None:
        self._is_whole = True


async def _blocks(body: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """The body in pieces that are worth a thread each."""
    seen, held = 0, bytearray()
    async for piece in body:
        seen += len(piece)
        if seen > most:
            raise _too_large(most)
        held += piece
        if len(held) >= _WRITTEN_BYTES:
            yield bytes(held)
            held.clear()
    yield bytes(held)


@contextmanager
def _mapped() -> Iterator[None]:
    """What the parser and the disk raise, as what a client is told."""
    from python_multipart.exceptions import FormParserError

    try:
        yield
    except FormParserError as error:
        raise Problem(400, f"The form is malformed: {error}.", param=_FIELD) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Problem(507, "The server's disk is full.", code="no_room") from error
        raise


def _too_large(most: int) -> Problem:
    return Problem(413, f"The files together are larger than {most / 1e6:,.0f} MB.", code="upload_too_large")
