"""DOCX, PPTX and XLSX to blocks, and the places of their pictures.

Words of DOCX and PPTX come from markitdown, cells of XLSX from openpyxl, places of pictures on slides from
python-pptx. All three meet malformed files with errors of many kinds; they are mapped here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from ingest.archive import check_archive, pictures
from ingest.markup import markdown_blocks, table_rows
from ingest.prose import Block, Prose, lay_out
from rag.errors import DamagedMedia, MediaTooLarge
from rag.types import Box

_DATA_URI = re.compile(r"\]\(data:[^;,)\s]*;base64,([A-Za-z0-9+/=]*)\)")
_SLIDE = re.compile(r"^<!-- Slide number: (\d+) -->$", re.M)
_PICTURE_LINE = re.compile(r"^!\[[^\n]*\]\([^)\n]*\)$", re.M)
_MOST_CELLS = 5_000_000
_MACHINE_MADE = re.compile(r".*automatically generated.*|Picture \d+|[\w -]+\.(?:png|jpe?g|gif|bmp)", re.I | re.S)


@dataclass(frozen=True, slots=True)
class SlidePicture:
    """A picture on a slide: the part that holds it, where it is, and its alternative text."""

    part: str
    slide: int
    box: Box
    alt: str


def read_docx(path: Path) -> Prose:
    """Headings, paragraphs and rows of a Word document; pictures are figure blocks that name their part.

    Raises:
        DamagedMedia: it cannot be read.
        MediaTooLarge: it unpacks to too much.
    """
    from markitdown.converters import DocxConverter

    check_archive(path)
    parts = {hashlib.sha256(data).digest(): name for name, data in pictures(path)}
    markdown = _markdown(path, DocxConverter())
    blocks = list(markdown_blocks(_DATA_URI.sub(lambda match: f"](part:{_part(match.group(1), parts)})", markdown)))
    return lay_out([_without_machine_alt(block) for block in blocks])


def read_pptx(path: Path) -> Prose:
    """Titles, lines, rows and notes of a presentation; each block's page is its slide.

    Raises:
        DamagedMedia: it cannot be read.
        MediaTooLarge: it unpacks to too much.
    """
    from markitdown.converters import PptxConverter

    check_archive(path)
    pieces = _SLIDE.split(_markdown(path, PptxConverter()))
    blocks: list[Block] = []
    for number, markdown in zip(pieces[1::2], pieces[2::2], strict=True):
        words = _PICTURE_LINE.sub("", markdown)
        blocks += markdown_blocks(words, page=int(number), line_break="\n")
    return lay_out(blocks)


def read_xlsx(path: Path) -> Prose:
    """Rows of each sheet with the names of their columns; each block's page is its sheet.

    Raises:
        DamagedMedia: it cannot be read.
        MediaTooLarge: it unpacks to too much, or has too many cells.
    """
    import openpyxl

    check_archive(path)
    blocks: list[Block] = []
    cells = 0
    with _mapped_errors(), warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # openpyxl warns of each extension that it does not know
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        for number, sheet in enumerate(book.worksheets, start=1):
            table = []
            for row in sheet.iter_rows(values_only=True):
                cells += len(row)
                if cells > _MOST_CELLS:
                    raise MediaTooLarge(f"It has more than {_MOST_CELLS:,} cells; split it.")
                table.append([_cell(value) for value in row])
            rows = [Block(row, "row", page=number) for row in table_rows(_trimmed(table))]
            blocks += [Block(sheet.title, "heading", 1, number), *rows] if rows else []
        book.close()
    return lay_out(blocks)


def slide_pictures(path: Path) -> list[SlidePicture]:
    """Pictures on the slides of a presentation, in order.

    Raises:
        DamagedMedia: it cannot be read.
    """
    import pptx

    with _mapped_errors(), path.open("rb") as file:
        show = pptx.Presentation(file)
        width, height = show.slide_width or 1, show.slide_height or 1
        found = []
        for number, slide in enumerate(show.slides, start=1):
            for shape in _shapes(slide.shapes):
                relation = shape._element.xpath(".//a:blip/@r:embed")
                if relation and shape.width and shape.height:
                    part = str(slide.part.related_part(relation[0]).partname).lstrip("/")
                    left, top = (shape.left or 0) / width, (shape.top or 0) / height
                    box = Box(left, top, shape.width / width, shape.height / height)
                    described = shape._element.xpath(".//p:cNvPr/@descr")
                    found.append(SlidePicture(part, number, box, _human(described[0] if described else "")))
    return found


def _shapes(shapes: Any) -> Iterator[Any]:
    """Shapes that show a picture; those of a group have the group's own coordinates and are passed over."""
    from pptx.enum.shapes import MSO_SHAPE_TYPE

    for shape in shapes:
        if shape.shape_type in (MSO_SHAPE_TYPE.PICTURE, MSO_SHAPE_TYPE.PLACEHOLDER):
            yield shape


def _markdown(path: Path, converter: Any) -> str:
    from markitdown import StreamInfo

    with _mapped_errors(), warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")
        markdown: str = converter.convert(file, StreamInfo(), keep_data_uris=True).markdown
    return markdown.replace("\r", "").replace("\x00", "")


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Errors that mammoth, python-pptx and openpyxl raise for malformed files, found by cutting and flipping bytes."""
    from openpyxl.utils.exceptions import InvalidFileException
    from pptx.exc import PythonPptxError

    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        PythonPptxError,
        InvalidFileException,
        ArithmeticError,
        AssertionError,
        AttributeError,
        ExpatError,
        EOFError,
        LookupError,
        OSError,
        RecursionError,
        SyntaxError,  # those of lxml and xml.etree are some
        TypeError,
        ValueError,
    ) as error:
        raise DamagedMedia(f"It is not a sound office document ({type(error).__name__}: {error}).") from error


def _part(encoded: str, parts: dict[bytes, str]) -> str:
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return ""
    return parts.get(hashlib.sha256(data).digest(), "")


def _without_machine_alt(block: Block) -> Block:
    return Block(_human(block.text), "figure", page=block.page, part=block.part) if block.kind == "figure" else block


def _human(alt: str) -> str:
    """Alternative text without what office programs make up themselves."""
    return "" if _MACHINE_MADE.fullmatch(alt.strip()) else " ".join(alt.split())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if hasattr(value, "isoformat"):
        return str(value.isoformat(sep=" ") if hasattr(value, "hour") and hasattr(value, "year") else value.isoformat())
    return " ".join(str(value).split())


def _trimmed(table: list[list[str]]) -> list[list[str]]:
    """The table without empty rows and columns."""
    rows = [row for row in table if any(row)]
    used = [n for n in range(max(map(len, rows), default=0)) if any(n < len(row) and row[n] for row in rows)]
    return [[row[n] if n < len(row) else "" for n in used] for row in rows]
