"""Turn a PDF into segments, page by page: passages, then figures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingest.document.page_lines import TextLine, page_passages
from ingest.document.pdf_figures import PdfFigure, find_figures, lines_in, repeated_pictures
from ingest.document.pdf_page import (
    is_scan,
    ocr_lines,
    page_count,
    remove_running_titles,
    render,
    running_titles,
    text_lines,
)
from ingest.formats.identify import Measure
from ingest.picture.ocr import PICTURE_PX, Ocr
from ingest.picture.pixels import for_segment
from rag.config import Settings
from rag.errors import DamagedMedia
from rag.media.opening import open_pdf
from rag.types import Box, Extracted, PageBox, Scalar, Segment, Source

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_TRAILER_BYTES = 4096
_SAMPLED_PAGES = 8
_LABEL_WORDS = 60  # fewer words in a figure are labels, useless outside it; more are text of its own
_BLANK, _MIN_INK = 245, 0.01  # a page with a smaller share of darker pixels is blank
_SCAN_LETTERS = 20  # a page without text is a picture if OCR reads fewer letters


def segments(source: Source, settings: Settings, ocr: Ocr) -> Iterator[Extracted]:
    """Yield the passages and figures of a PDF, page by page.

    Raises:
        ProtectedMedia: it needs a password.
        DamagedMedia: it is truncated or malformed.
        MediaTooLarge: it has more pages than the settings allow.
    """
    _check_trailer(source.path)
    ordinal = 0
    heading = ""
    with open_pdf(source.path) as document:
        pages = page_count(document, settings.max_pages)
        reader = _PdfReader(document, pages, ocr if settings.ocr != "off" else None)
        for number in range(pages):
            for item in reader.page(number, heading):
                heading = str(item.segment.meta.get("heading", heading))
                yield _with_identity(item, source, ordinal)
                ordinal += 1


def measure(source: Source, settings: Settings) -> Measure:
    """Return the number of pages, and characters and pictures estimated from a few pages.

    Raises:
        MediaError: it cannot be opened, or has more pages than the settings allow.
    """
    _check_trailer(source.path)
    with open_pdf(source.path) as document:
        pages = page_count(document, settings.max_pages)
        numbers = range(0, pages, -(-pages // _SAMPLED_PAGES))
        characters = pictures = 0
        for number in numbers:
            page = document[number]
            lines = text_lines(page)
            characters += sum(len(line.text) for line in lines)
            pictures += 1 if is_scan(page, lines) else len(find_figures(page, lines, frozenset()))
            page.close()
        return Measure(
            pages, round(pictures * pages / len(numbers)), characters=round(characters * pages / len(numbers))
        )


class _PdfReader:
    """A reader of one document's pages; it knows their running titles and repeated pictures."""

    def __init__(self, document: PdfDocument, pages: int, ocr: Ocr | None) -> None:
        self._document, self._ocr = document, ocr
        self._running = running_titles(document, pages)
        self._repeated = repeated_pictures(document, pages)

    def page(self, number: int, heading: str) -> Iterator[Extracted]:
        """Yield the segments of a page; `number` counts from 0, `heading` is the last one before the page."""
        page = self._document[number]
        try:
            printed = text_lines(page)
            if is_scan(page, printed):
                yield from self._scan(page, number, heading)
                return
            lines = remove_running_titles(printed, self._running)
            found = find_figures(page, lines, self._repeated)
            yield from _passages(_body_lines(found, lines), number, heading, {})
            yield from (self._figure(page, figure, number) for figure in found)
        finally:
            page.close()

    def _scan(self, page: PdfPage, number: int, heading: str) -> Iterator[Extracted]:
        """Read a page without printed text: yield what OCR reads, or the page as a picture unless it is blank."""
        lines = ocr_lines(page, self._ocr) if self._ocr else []
        lines = remove_running_titles(lines, self._running)
        yield from _passages(lines, number, heading, {"ocr": True})
        if sum(char.isalnum() for line in lines for char in line.text) >= _SCAN_LETTERS:
            return
        picture = render(page, PICTURE_PX)
        if (np.asarray(picture.convert("L")) < _BLANK).mean() >= _MIN_INK:
            segment = Segment("", 0, "image", "figure", PageBox(number + 1), meta={"page": number + 1})
            yield Extracted(segment, for_segment(picture))

    def _figure(self, page: PdfPage, figure: PdfFigure, number: int) -> Extracted:
        picture = render(page, PICTURE_PX, figure.box)
        words = [line.text for line in figure.lines]
        if not words and self._ocr:
            words = [line.text for line in self._ocr.read(picture)]
        locator = PageBox(number + 1, figure.box)
        segment = Segment(
            "",
            0,
            "image",
            "figure",
            locator,
            text="\n".join(words),
            caption=figure.caption,
            meta={"page": number + 1, "width_px": picture.width, "height_px": picture.height},
        )
        return Extracted(segment, for_segment(picture))


def _passages(lines: Sequence[TextLine], number: int, heading: str, meta: dict[str, Scalar]) -> Iterator[Extracted]:
    for passage in page_passages(lines, heading):
        known = meta | {"page": number + 1} | ({"heading": passage.heading} if passage.heading else {})
        yield Extracted(
            Segment("", 0, "text", "passage", PageBox(number + 1, passage.box), text=passage.text, meta=known)
        )


def _body_lines(found: Sequence[PdfFigure], lines: Sequence[TextLine]) -> list[TextLine]:
    """Return the lines that are not labels of a figure."""
    labels: set[tuple[str, Box]] = set()
    for figure in found:
        inside = lines_in(figure.box, lines)
        if sum(len(line.text.split()) for line in inside) < _LABEL_WORDS:
            labels |= {(line.text, line.box) for line in inside}
    return [line for line in lines if (line.text, line.box) not in labels]


def _with_identity(item: Extracted, source: Source, ordinal: int) -> Extracted:
    heading = str(item.segment.meta.get("heading", ""))
    title = f"{source.title} › {heading}" if heading else source.title
    return replace(item, segment=replace(item.segment, asset_id=source.asset_id, ordinal=ordinal, title=title))


def _check_trailer(path: Path) -> None:
    """Refuse a file without its end: PDFium would repair it, and pages would be missing silently."""
    with path.open("rb") as file:
        file.seek(-min(_TRAILER_BYTES, os.fstat(file.fileno()).st_size), os.SEEK_END)
        if b"%%EOF" not in file.read():
            raise DamagedMedia("Its end is missing, so it is truncated; copy it again from the original.")
