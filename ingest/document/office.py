"""Turn DOCX, PPTX and XLSX into blocks, and find their pictures.

The words of DOCX and PPTX come from markitdown, the cells of XLSX from openpyxl, the places of pictures on slides from
python-pptx. All three raise errors of many kinds for malformed files; they are mapped here.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import fromstring
from xml.parsers.expat import ExpatError

from ingest.document.chunking import DocumentText, TextBlock, join_blocks
from ingest.document.markup import markdown_blocks, table_rows
from ingest.formats.archive import check_archive, read_pictures
from rag.errors import DamagedMedia, MediaTooLarge
from rag.types import Box

_DATA_URI = re.compile(r"\]\(data:[^;,)\s]*;base64,([A-Za-z0-9+/=]*)\)")
_SLIDE = re.compile(r"^<!-- Slide number: (\d+) -->$", re.M)
_PICTURE_LINE = re.compile(r"^!\[[^\n]*\]\([^)\n]*\)$", re.M)
_MAX_CELLS = 5_000_000
_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing}"
_MAIN = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_EMBED = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}embed"
_GENERATED_ALT = re.compile(r".*automatically generated.*|Picture(?: \d+)?|[\w -]+\.(?:png|jpe?g|gif|bmp)", re.I | re.S)


@dataclass(frozen=True, slots=True)
class SlidePicture:
    """A picture on a slide: the part that holds it, its place, and its alternative text."""

    part: str
    slide: int
    box: Box
    alt: str


def read_docx(path: Path) -> DocumentText:
    """Read the headings, paragraphs and rows of a Word document; pictures become figure blocks that name their part.

    Raises:
        DamagedMedia: it cannot be read.
        MediaTooLarge: it unpacks to too much.
    """
    from markitdown.converters import DocxConverter

    check_archive(path)
    parts = {hashlib.sha256(data).digest(): name for name, data in read_pictures(path)}
    markdown = _markdown(path, DocxConverter())
    blocks = list(markdown_blocks(_DATA_URI.sub(lambda match: f"](part:{_part(match.group(1), parts)})", markdown)))
    return join_blocks([_clean_alt(block) for block in blocks])


def read_pptx(path: Path) -> DocumentText:
    """Read the titles, lines, rows and notes of a presentation; each block's page is its slide.

    Raises:
        DamagedMedia: it cannot be read.
        MediaTooLarge: it unpacks to too much.
    """
    from markitdown.converters import PptxConverter

    check_archive(path)
    pieces = _SLIDE.split(_markdown(path, PptxConverter()))
    blocks: list[TextBlock] = []
    for number, markdown in zip(pieces[1::2], pieces[2::2], strict=True):
        words = _PICTURE_LINE.sub("", markdown)
        blocks += markdown_blocks(words, page=int(number), line_break="\n")
    return join_blocks(blocks)


def read_xlsx(path: Path) -> DocumentText:
    """Read the rows of each sheet with the names of their columns, and its pictures; each block's page is its sheet.

    Raises:
        DamagedMedia: it cannot be read.
        MediaTooLarge: it unpacks to too much, or has too many cells.
    """
    import openpyxl

    check_archive(path)
    blocks: list[TextBlock] = []
    cells = 0
    with _map_errors(), warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # openpyxl warns about every extension it does not know
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        for number, sheet in enumerate(book.worksheets, start=1):
            table = []
            for row in sheet.iter_rows(values_only=True):
                cells += len(row)
                if cells > _MAX_CELLS:
                    raise MediaTooLarge(f"It has more than {_MAX_CELLS:,} cells; split it.")
                table.append([_cell(value) for value in row])
            rows = [TextBlock(row, "row", page=number) for row in table_rows(_drop_empty(table))]
            figures = [replace(figure, page=number) for figure in _sheet_figures(file, sheet._worksheet_path)]
            if rows or figures:
                blocks += [TextBlock(sheet.title, "heading", 1, number), *figures, *rows]
        book.close()
    return join_blocks(blocks)


def slide_pictures(path: Path) -> list[SlidePicture]:
    """Return the pictures on the slides of a presentation, in order.

    Raises:
        DamagedMedia: it cannot be read.
    """
    import pptx

    with _map_errors(), path.open("rb") as file:
        show = pptx.Presentation(file)
        width, height = show.slide_width or 1, show.slide_height or 1
        found = []
        for number, slide in enumerate(show.slides, start=1):
            for shape, (left, top, wide, high) in _picture_shapes(slide.shapes, _Frame(0, 0, 1 / width, 1 / height)):
                relation = shape._element.xpath(".//a:blip/@r:embed")
                if relation and wide and high:
                    part = str(slide.part.related_part(relation[0]).partname).lstrip("/")
                    box = Box(left, top, wide, high)
                    described = shape._element.xpath(".//p:cNvPr/@descr")
                    found.append(
                        SlidePicture(part, number, box, _drop_generated_alt(described[0] if described else ""))
                    )
    return found


@dataclass(frozen=True, slots=True)
class _Frame:
    """A coordinate system within a slide: its origin and units, in fractions of the slide."""

    x: float
    y: float
    unit_x: float
    unit_y: float

    def place(self, shape: Any) -> tuple[float, float, float, float]:
        """Return left, top, width and height of a shape."""
        left, top = self.x + (shape.left or 0) * self.unit_x, self.y + (shape.top or 0) * self.unit_y
        return left, top, (shape.width or 0) * self.unit_x, (shape.height or 0) * self.unit_y

    def inside(self, group: Any) -> _Frame:
        """Return the frame inside a group, which has its own coordinates (ECMA-376, 19.3.1.22 and 20.1.7.5)."""
        own = [group._element.xpath(f"./p:grpSpPr/a:xfrm/a:{name}") for name in ("chOff/@x", "chOff/@y")]
        size = [group._element.xpath(f"./p:grpSpPr/a:xfrm/a:{name}") for name in ("chExt/@cx", "chExt/@cy")]
        zero_x, zero_y, wide, high = (int(found[0]) if found else 0 for found in own + size)
        left, top, width, height = self.place(group)
        unit_x, unit_y = width / wide if wide else self.unit_x, height / high if high else self.unit_y
        return _Frame(left - zero_x * unit_x, top - zero_y * unit_y, unit_x, unit_y)


def _picture_shapes(shapes: Any, frame: _Frame) -> Iterator[tuple[Any, tuple[float, float, float, float]]]:
    """Yield the shapes that show a picture, also those in groups, each with its place on the slide."""
    from pptx.enum.shapes import MSO_SHAPE_TYPE

    for shape in shapes:
        if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
            yield from _picture_shapes(shape.shapes, frame.inside(shape))
        elif shape.shape_type in (MSO_SHAPE_TYPE.PICTURE, MSO_SHAPE_TYPE.PLACEHOLDER):
            yield shape, frame.place(shape)


def _sheet_figures(book: BinaryIO, sheet: str) -> Iterator[TextBlock]:
    """Yield the pictures of a sheet, from the drawings that it refers to."""
    with zipfile.ZipFile(book) as archive:
        for drawing in _related_parts(archive, sheet, "/drawing").values():
            parts = _related_parts(archive, drawing, "/image")
            for picture in fromstring(archive.read(drawing)).iter(f"{_DRAWING}pic"):
                blip, described = picture.find(f".//{_MAIN}blip"), picture.find(f".//{_DRAWING}cNvPr")
                part = parts.get(blip.get(_EMBED, "") if blip is not None else "")
                if part:
                    yield TextBlock(
                        _drop_generated_alt(described.get("descr", "") if described is not None else ""),
                        "figure",
                        part=part,
                    )


def _related_parts(archive: zipfile.ZipFile, part: str, kind: str) -> dict[str, str]:
    """Return the parts that a part refers to, by id, if their relationship type ends in `kind`."""
    from openpyxl.packaging.relationship import get_dependents, get_rels_path

    named = get_rels_path(part.lstrip("/"))
    if named not in archive.namelist():
        return {}
    return {each.Id: each.target for each in get_dependents(archive, named) if each.Type.endswith(kind)}


def _markdown(path: Path, converter: Any) -> str:
    from markitdown import StreamInfo

    with _map_errors(), warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")
        markdown: str = converter.convert(file, StreamInfo(), keep_data_uris=True).markdown
    return markdown.replace("\r", "").replace("\x00", "")


@contextmanager
def _map_errors() -> Iterator[None]:
    """Map the errors that mammoth, python-pptx and openpyxl raise for malformed files, as found by a fuzz test."""
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
        SyntaxError,  # base class of the parse errors of lxml and xml.etree
        TypeError,
        ValueError,
    ) as error:
        raise DamagedMedia(
            f"The office document is malformed ({type(error).__name__}: {error}); save it again."
        ) from error


def _part(encoded: str, parts: dict[bytes, str]) -> str:
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return ""
    return parts.get(hashlib.sha256(data).digest(), "")


def _clean_alt(block: TextBlock) -> TextBlock:
    return replace(block, text=_drop_generated_alt(block.text)) if block.kind == "figure" else block


def _drop_generated_alt(alt: str) -> str:
    """Return the alternative text, or an empty one if an office program generated it."""
    return "" if _GENERATED_ALT.fullmatch(alt.strip()) else " ".join(alt.split())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if hasattr(value, "isoformat"):
        return str(value.isoformat(sep=" ") if hasattr(value, "hour") and hasattr(value, "year") else value.isoformat())
    return " ".join(str(value).split())


def _drop_empty(table: list[list[str]]) -> list[list[str]]:
    """Return the table without empty rows and columns."""
    rows = [row for row in table if any(row)]
    used = [n for n in range(max(map(len, rows), default=0)) if any(n < len(row) and row[n] for row in rows)]
    return [[row[n] if n < len(row) else "" for n in used] for row in rows]
