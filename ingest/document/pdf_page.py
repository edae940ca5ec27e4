"""Read a PDF page with PDFium: its lines with boxes, printed or recognised, and its picture.

Boxes are fractions of the visible page: cropped, turned upright, origin at the top left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from PIL.Image import Image

from ingest.document.layout import union
from ingest.document.page_lines import TextLine, in_reading_order
from ingest.picture.ocr import PAGE_PX, Ocr
from rag.errors import DamagedMedia
from rag.media.opening import check_pages, render_page
from rag.types import Box

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MAX_CHARACTERS = 60_000  # of one page; a dense newspaper page has 20,000
_OCR_DPI = 200
_COLUMN_GAP = 1.3  # of a line's height: a wider space separates two columns or cells
_BOLD = re.compile(r"bold|black|heavy|semibold|demi|cmbx|-medi|\bbd\b", re.I)
_WORD = re.compile(r"(?<![^\W_])(?:[^\W\d_]?[^\W\dA-Z_]+|\d+(?:[.,]\d+)?[a-z%]?)(?![^\W_])")
_SAMPLED_PAGES = 12
_MARGIN = 0.08  # of the page's height at its top and bottom, the place of running titles
_MIN_LETTERS = 20  # a page with fewer is read with OCR, unless it has only a few lines and frames
_MAX_OBJECTS, _FEW_STROKES = 1000, 8
_READABLE = 0.6  # share of letters, digits and spaces that text needs: fonts without a character map yield noise

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class PageView:
    """The visible box of a page and its rotation, which turn page coordinates into fractions of the visible page."""

    left: float
    bottom: float
    right: float
    top: float
    turn: int

    def box(self, left: float, bottom: float, right: float, top: float) -> Box | None:
        """Return the visible part of a rectangle in page coordinates; None if it lies outside."""
        width, height = self.right - self.left or 1.0, self.top - self.bottom or 1.0
        x0, x1 = (left - self.left) / width, (right - self.left) / width
        y0, y1 = (self.top - top) / height, (self.top - bottom) / height
        match self.turn:
            case 90:
                x0, y0, x1, y1 = 1 - y1, x0, 1 - y0, x1
            case 180:
                x0, y0, x1, y1 = 1 - x1, 1 - y1, 1 - x0, 1 - y0
            case 270:
                x0, y0, x1, y1 = y0, 1 - x1, y1, 1 - x0
        x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0)
        return Box(x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None


def page_count(document: PdfDocument, limit: int) -> int:
    """Return the number of pages.

    Raises:
        MediaTooLarge: there are more than `limit`.
        DamagedMedia: there are none.
    """
    pages = len(document)
    check_pages(pages, limit)
    if pages == 0:
        raise DamagedMedia("It has no pages; it is truncated or malformed.")
    return pages


def page_view(page: PdfPage) -> PageView:
    """Return the visible box and rotation of a page."""
    left, bottom, right, top = page.get_bbox()
    return PageView(left, bottom, right, top, page.get_rotation())


def text_lines(page: PdfPage) -> list[TextLine]:
    """Return the printed lines of a page in reading order; none if a bad font makes its characters meaningless."""
    lines = _fragments(page)
    text = "".join(line.text for line in lines)
    readable = sum(char.isalnum() or char.isspace() or char in ".,;:-()" for char in text)
    return in_reading_order(lines) if readable >= _READABLE * len(text) else []


def is_scan(page: PdfPage, lines: Sequence[TextLine]) -> bool:
    """Return whether a page has hardly any printed letters, but pictures or strokes that may contain some."""
    import pypdfium2.raw as pdfium

    if sum(char.isalnum() for line in lines for char in line.text) >= _MIN_LETTERS:
        return False
    kinds = Counter(item.type for item in islice(page.get_objects(max_depth=5), _MAX_OBJECTS))
    unread = kinds[pdfium.FPDF_PAGEOBJ_TEXT] if not lines else 0
    return kinds[pdfium.FPDF_PAGEOBJ_IMAGE] > 0 or kinds[pdfium.FPDF_PAGEOBJ_PATH] + unread > _FEW_STROKES


def ocr_lines(page: PdfPage, ocr: Ocr) -> list[TextLine]:
    """Read the page with OCR, and return its lines in reading order."""
    return [
        TextLine(line.text, line.box, size=line.box.h) for line in ocr.read(render(page, PAGE_PX), longest_px=PAGE_PX)
    ]


def render(page: PdfPage, longest_px: int, box: Box | None = None) -> Image:
    """Render a page or a part of it for OCR and encoders: RGB, longest side at most `longest_px`."""
    return render_page(page, longest_px, box, dpi=_OCR_DPI)


def running_titles(document: PdfDocument, pages: int) -> frozenset[str]:
    """Return headers and footers, with digits as ``#``: lines that sampled pages share at their top or bottom."""

    def marginal_texts(page: PdfPage) -> set[str]:
        return {_mask_digits(line.text) for line in _fragments(page) if _is_marginal(line)}

    return shared_items(document, pages, marginal_texts, min_pages=2)


def shared_items(
    document: PdfDocument, pages: int, items_of: Callable[[PdfPage], set[_Item]], *, min_pages: int
) -> frozenset[_Item]:
    """Return the items that occur on a third of the sampled pages, and on `min_pages`; none of one or two pages."""
    numbers = range(0, pages, max(1, pages // _SAMPLED_PAGES)) if pages > 2 else ()
    counts: Counter[_Item] = Counter()
    for number in numbers:
        page = document[number]
        counts.update(items_of(page))
        page.close()
    return frozenset(item for item, count in counts.items() if count >= max(min_pages, len(numbers) // 3))


def remove_running_titles(lines: Sequence[TextLine], titles: frozenset[str]) -> list[TextLine]:
    """Return the lines that are not a header, footer or page number."""
    return [
        line
        for line in lines
        if not (_is_marginal(line) and (_mask_digits(line.text) in titles or line.text.isdigit()))
    ]


def _is_marginal(line: TextLine) -> bool:
    return line.box.y < _MARGIN or line.box.y + line.box.h > 1 - _MARGIN


def _mask_digits(text: str) -> str:
    return re.sub(r"\d+", "#", text)


def _fragments(page: PdfPage) -> list[TextLine]:
    """Return lines in content order, split at wide spaces; leave out text in another direction than most."""
    textpage = page.get_textpage()
    try:
        reader = _Characters(textpage.raw, page_view(page))
        count = min(textpage.count_chars(), _MAX_CHARACTERS)
        fragments = [fragment for fragment in reader.fragments(count) if fragment.line.text]
    finally:
        textpage.close()
    directions = Counter(fragment.direction for fragment in fragments for _ in fragment.line.text)
    main = directions.most_common(1)[0][0] if directions else 0
    return [fragment.line for fragment in fragments if fragment.direction == main]


@dataclass(frozen=True, slots=True)
class _Fragment:
    line: TextLine
    direction: int


class _Characters:
    """A reader of a text page, character by character; it keeps PDFium's own line ends and spaces."""

    def __init__(self, raw: Any, place: PageView) -> None:
        import pypdfium2.raw as pdfium

        self._pdfium, self._raw, self._view = pdfium, raw, place
        self._rectangle = pdfium.FS_RECTF()

    def fragments(self, count: int) -> Iterator[_Fragment]:
        """Yield runs of characters on one line without a wide space."""
        pieces: list[str] = []
        boxes: list[Box] = []
        first = last = 0
        for index in range(count):
            char = self._char(index)
            box = None if char.isspace() else self._box(index)
            if char in "\r\n" or (box and boxes and _is_apart(boxes[-1], box)):
                if boxes:
                    yield self._fragment(pieces, boxes, first, last)
                pieces, boxes = [], []
            if box or (pieces and char in " \t\u00a0"):
                first, last = first if pieces else index, index if box else last
                pieces.append(char if box else " ")
                boxes += [box] if box else []
        if boxes:
            yield self._fragment(pieces, boxes, first, last)

    def _char(self, index: int) -> str:
        code = self._pdfium.FPDFText_GetUnicode(self._raw, index)
        # Text files cannot hold lone surrogates and NUL. Private-use characters stay, as they count as noise.
        return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"

    def _box(self, index: int) -> Box | None:
        rectangle = self._rectangle
        if not self._pdfium.FPDFText_GetLooseCharBox(self._raw, index, rectangle):
            return None
        return self._view.box(rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)

    def _fragment(self, pieces: list[str], boxes: list[Box], first: int, last: int) -> _Fragment:
        angle = self._pdfium.FPDFText_GetCharAngle(self._raw, first)
        direction = round(angle * 2 / 3.14159265) % 4 if angle >= 0 else 0
        text = " ".join("".join(pieces).split())
        # For glyphs that the font does not map, PDFium gives the glyph's number, which may or may not be the character.
        unmapped = any(self._pdfium.FPDFText_HasUnicodeMapError(self._raw, index) == 1 for index in (first, last))
        if unmapped and not _is_language(text):
            text = ""
        bold = all(_BOLD.search(self._font(index)) for index in (first, last))
        line = TextLine(text, union(boxes), bold, median(box.h for box in boxes))
        return _Fragment(line, direction)

    def _font(self, index: int) -> str:
        from ctypes import c_int, create_string_buffer

        name = create_string_buffer(128)
        self._pdfium.FPDFText_GetFontInfo(self._raw, index, name, len(name), c_int())
        return name.value.decode("utf-8", errors="replace")


def _is_language(text: str) -> bool:
    """Return whether a text is mostly lower-case words, capitalised words and numbers."""
    return sum(len(word) for word in _WORD.findall(text)) >= _READABLE * len(text.replace(" ", ""))


def _is_apart(last: Box, box: Box) -> bool:
    """Return whether a character starts a new fragment: far to the right, back to the left, or on another line."""
    height = min(last.h, box.h)
    gap = box.x - last.x - last.w
    other_line = abs(box.y + box.h / 2 - last.y - last.h / 2) > max(last.h, box.h)
    return other_line or gap > _COLUMN_GAP * height or gap < -3 * max(last.h, box.h)
