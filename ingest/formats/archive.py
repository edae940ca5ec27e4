"""The ZIP container of an office document, checked before a library opens it.

A few kilobytes can hold gigabytes. Python's `zipfile` never yields more bytes of a member than its directory
declares, so the declared sizes are a true bound; a member that holds more fails its checksum.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rag.errors import DamagedMedia, MediaTooLarge, ProtectedMedia

_MAX_MEMBERS = 20_000
_MAX_BYTES = 1_000_000_000  # all members, unpacked
_MAX_XML_BYTES = 100_000_000  # XML parts, unpacked: parsers need about ten times as much memory
_MAX_PICTURE_BYTES = 50_000_000
_PICTURE_NAME = re.compile(r"(?:word|ppt|xl)/media/[^/]+\.(?:png|jpe?g|gif|bmp|tiff?|webp)", re.I)
_SLIDE_NAME = re.compile(r"ppt/slides/slide\d+\.xml")
_BODY_NAME = re.compile(r"word/document\.xml|ppt/slides/slide\d+\.xml|xl/sharedStrings\.xml|xl/worksheets/[^/]+\.xml")
_PROLOG_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ArchiveContents:
    """The size of an office document: its slides, its pictures, and the bytes of the XML that holds its text."""

    slides: int
    pictures: int
    xml_bytes: int


def check_archive(path: Path) -> None:
    """Refuse a container that unpacks to too much, or whose XML defines a document type.

    Office formats never need a document type; entity bombs and references to other files do.

    Raises:
        MediaTooLarge: too many members, or too many bytes when unpacked.
        DamagedMedia: not a sound ZIP file, or an XML part with a document type.
        ProtectedMedia: encrypted members.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_sizes(members)
            for member in members:
                if member.flag_bits & 1:
                    raise ProtectedMedia("It is encrypted; save a copy without a password.")
                if member.filename.lower().endswith((".xml", ".rels")):
                    with archive.open(member) as part:
                        _check_prolog(part.read(_PROLOG_BYTES), member.filename)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise DamagedMedia(f"Its ZIP container is damaged ({error}); save the document again.") from error


def read_contents(path: Path) -> ArchiveContents:
    """Count what a container holds, from its directory alone.

    Raises:
        MediaError: see `check_archive`.
    """
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    return ArchiveContents(
        slides=sum(bool(_SLIDE_NAME.fullmatch(member.filename)) for member in members),
        pictures=sum(bool(_PICTURE_NAME.fullmatch(member.filename)) for member in members),
        xml_bytes=sum(member.file_size for member in members if _BODY_NAME.fullmatch(member.filename)),
    )


def read_pictures(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of each picture in the document, except oversized and damaged ones."""
    with zipfile.ZipFile(path) as archive:
        names = [member.filename for member in archive.infolist() if _PICTURE_NAME.fullmatch(member.filename)]
    for name in names:
        data = read_part(path, name)
        if data is not None:
            yield name, data


def read_part(path: Path, name: str) -> bytes | None:
    """Return the bytes of one picture in the container; None if it is missing, oversized or damaged."""
    with zipfile.ZipFile(path) as archive:
        try:
            member = archive.getinfo(name)
            return archive.read(member) if member.file_size <= _MAX_PICTURE_BYTES else None
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError):
            return None


def _check_sizes(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > _MAX_MEMBERS:
        raise MediaTooLarge(f"It holds {len(members):,} parts, more than the limit of {_MAX_MEMBERS:,}; split it.")
    unpacked = sum(member.file_size for member in members)
    xml = sum(member.file_size for member in members if member.filename.lower().endswith((".xml", ".rels")))
    for size, limit, what in ((unpacked, _MAX_BYTES, "in all"), (xml, _MAX_XML_BYTES, "of XML")):
        if size > limit:
            raise MediaTooLarge(
                f"It unpacks to {size / 1e6:,.0f} MB {what}, more than the limit of {limit / 1e6:,.0f} MB; "
                "it may be a ZIP bomb."
            )


def _check_prolog(head: bytes, name: str) -> None:
    if b"<!DOCTYPE" in head.replace(b"\x00", b""):  # without NULs, UTF-16 reads like ASCII
        raise DamagedMedia(
            f"Its part {name} defines an XML document type, which office formats never need; save it again."
        )
