"""Find the figures on a PDF page: embedded pictures, and drawings with a caption.

An embedded picture is an image object, or several that touch. A drawing has no object of its own; it is whatever is not
blank between its caption and the body text above.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.document.layout import gutter, union
from ingest.document.page_lines import CAPTION, Paragraph, TextLine, group_paragraphs
from ingest.document.pdf_page import page_view, render, shared_items
from rag.types import Box

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MAX_OBJECTS = 5_000  # of one page; maps have tens of thousands of strokes, but no more pictures
_MIN_SIDE, _MIN_AREA = 0.04, 0.012  # of the page; smaller pictures are icons, bullets and logos
_MIN_PX = 40
_BACKGROUND_AREA, _BACKGROUND_WORDS = 0.4, 60
_TOUCHING = 0.008
_CAPTION_GAP, _NEARBY_GAP = 0.08, 0.05  # of the page's height
_NEARBY_WORDS = 40
_BODY_WIDTH, _BODY_WORDS = 0.7, 6  # a line of body text fills its column and has several words
_DRAWING_HEIGHT = 0.05
_DRAWING_PX = 600
_BLANK_BAND = 0.035  # of the page's height; a wider blank band separates a drawing from what is above it
_NARROW = 0.6  # of the width of all text: a narrower caption of several lines stands in its own column
_BLANK = 245  # grey level above which paper counts as blank


@dataclass(frozen=True, slots=True)
class PdfFigure:
    """A figure: its box, its caption or the nearest text, and the lines printed in it."""

    box: Box
    caption: str
    lines: tuple[TextLine, ...]


def find_figures(page: PdfPage, lines: Sequence[TextLine], repeated: frozenset[Box]) -> list[PdfFigure]:
    """Return the figures of a page, from top to bottom.

    Args:
        page: the page.
        lines: its lines in reading order.
        repeated: boxes of pictures that stand on many pages, from `repeated_pictures`.
    """
    texts = list(group_paragraphs(lines))
    captions = [p for p in texts if CAPTION.match(p.text) and not p.text.lower().startswith("tab")]
    pictures = [
        box for box in _merge_touching([b for b in _picture_boxes(page) if b not in repeated]) if _is_figure(box, lines)
    ]
    captioned: dict[int, list[Box]] = {}
    result = []
    for box in pictures:
        number = _caption_of(box, captions)
        if number is None:
            result.append(_figure(box, _nearest_words(box, texts), lines))
        else:
            captioned.setdefault(number, []).append(box)
    result += [_figure(union(boxes), captions[number].text, lines) for number, boxes in captioned.items()]
    unmatched = [caption for number, caption in enumerate(captions) if number not in captioned]
    result += [_figure(box, caption, lines) for box, caption in _drawings(page, unmatched, texts)]
    return sorted(result, key=lambda figure: (figure.box.y, figure.box.x))


def repeated_pictures(document: PdfDocument, pages: int) -> frozenset[Box]:
    """Return the boxes of pictures at the same place on a third of the sampled pages: logos and backgrounds."""
    return shared_items(document, pages, lambda page: set(_picture_boxes(page)), min_pages=3)


def _picture_boxes(page: PdfPage) -> list[Box]:
    import pypdfium2.raw as pdfium

    place = page_view(page)
    boxes = []
    for number, item in enumerate(page.get_objects(max_depth=5)):
        if number >= _MAX_OBJECTS:
            break
        if item.type == pdfium.FPDF_PAGEOBJ_IMAGE and min(item.get_px_size()) >= _MIN_PX:
            box = place.box(*_bounds(item))
            if box is not None:
                boxes.append(box)
    return boxes


def _bounds(item: Any) -> tuple[float, float, float, float]:
    """Return the bounds of an object on the page, also of one inside a form, which has its own coordinates."""
    left, bottom, right, top = item.get_bounds()
    form = item.container
    while form is not None:
        left, bottom, right, top = form.get_matrix().on_rect(left, bottom, right, top)
        form = form.container
    return left, bottom, right, top


def _merge_touching(boxes: Sequence[Box]) -> list[Box]:
    """Merge boxes that touch or overlap: pictures are often stored in strips."""
    merged: list[Box] = []
    for box in boxes:
        touching = [other for other in merged if _touch(box, other)]
        while touching:
            box = union([box, *touching])
            merged = [other for other in merged if other not in touching]
            touching = [other for other in merged if _touch(box, other)]
        merged.append(box)
    return merged


def _touch(a: Box, b: Box) -> bool:
    apart_x = max(a.x, b.x) - min(a.x + a.w, b.x + b.w)
    apart_y = max(a.y, b.y) - min(a.y + a.h, b.y + b.h)
    return apart_x < _TOUCHING and apart_y < _TOUCHING


def _is_figure(box: Box, lines: Sequence[TextLine]) -> bool:
    if min(box.w, box.h) < _MIN_SIDE or box.w * box.h < _MIN_AREA:
        return False
    words = sum(len(line.text.split()) for line in lines_in(box, lines))
    return box.w * box.h < _BACKGROUND_AREA or words < _BACKGROUND_WORDS


def lines_in(box: Box, lines: Sequence[TextLine]) -> list[TextLine]:
    """Return the lines whose middle lies in a box."""
    return [
        line
        for line in lines
        if box.x <= line.box.x + line.box.w / 2 <= box.x + box.w
        and box.y <= line.box.y + line.box.h / 2 <= box.y + box.h
    ]


def _caption_of(box: Box, captions: Sequence[Paragraph]) -> int | None:
    """Return the index of the nearest caption below or above a box in its column; None if there is none."""
    best: tuple[float, int] | None = None
    for number, caption in enumerate(captions):
        overlap = min(box.x + box.w, caption.box.x + caption.box.w) - max(box.x, caption.box.x)
        below = caption.box.y - box.y - box.h
        above = box.y - caption.box.y - caption.box.h
        gap = below if below > -0.02 else above + 0.02  # a caption is usually below
        if overlap > 0.3 * min(box.w, caption.box.w) and -0.02 < gap < _CAPTION_GAP:
            best = min(best or (gap, number), (gap, number))
    return best[1] if best else None


def _nearest_words(box: Box, texts: Sequence[Paragraph]) -> str:
    """Return the start of the nearest paragraph above or below, at most 5 % of the page's height away."""
    gaps = []
    for number, text in enumerate(texts):
        shared = min(box.x + box.w, text.box.x + text.box.w) - max(box.x, text.box.x)
        gap = max(text.box.y - box.y - box.h, box.y - text.box.y - text.box.h)
        if shared > 0 and -0.01 < gap < _NEARBY_GAP:
            gaps.append((gap, number))
    return " ".join(texts[min(gaps)[1]].text.split()[:_NEARBY_WORDS]) if gaps else ""


def _figure(box: Box, caption: str, lines: Sequence[TextLine]) -> PdfFigure:
    return PdfFigure(box, caption, tuple(line for line in lines_in(box, lines) if line.text not in caption))


def _drawings(page: PdfPage, captions: Sequence[Paragraph], texts: Sequence[Paragraph]) -> Iterator[tuple[Box, str]]:
    if not captions:
        return
    lines = [line for text in texts for line in text.lines]
    middle = gutter([line.box for line in lines])
    ink = np.asarray(render(page, _DRAWING_PX).convert("L")) < _BLANK
    for caption in captions:
        left, right = _column(caption, lines, middle)
        top = max((other.y + other.h for other in _search_limits(caption, texts, left, right)), default=0.04)
        box = _ink_bounds(ink, left, top, right, caption.box.y)
        if box is not None and box.h >= _DRAWING_HEIGHT and box.w * box.h >= _MIN_AREA:
            yield box, caption.text


def _column(caption: Paragraph, lines: Sequence[TextLine], middle: float | None) -> tuple[float, float]:
    """Return the left and right edge of the column where a caption's drawing can be."""
    left, right = min(line.box.x for line in lines), max(line.box.x + line.box.w for line in lines)
    box = caption.box
    if len(caption.lines) > 1 and box.w < _NARROW * (right - left):
        left, right = box.x, box.x + box.w
    elif middle is not None and box.x >= middle:
        left = middle
    elif middle is not None and box.x + box.w <= middle:
        right = middle
    return left - 0.01, right + 0.01


def _search_limits(caption: Paragraph, texts: Sequence[Paragraph], left: float, right: float) -> Iterator[Box]:
    """Yield what ends the search for a drawing above a caption: body text and other captions in its column."""
    for text in texts:
        if text is caption or not left <= text.box.x + text.box.w / 2 <= right or text.box.y >= caption.box.y:
            continue
        if CAPTION.match(text.text):
            yield text.box
        for line in text.lines:
            fills = line.box.w >= _BODY_WIDTH * (right - left) and len(line.text.split()) >= _BODY_WORDS
            if fills and line.box.y < caption.box.y:
                yield line.box


def _ink_bounds(ink: Any, left: float, top: float, right: float, bottom: float) -> Box | None:
    """Return the box around the ink in a region, from its bottom up to the first wide blank band; None if blank."""
    height, width = ink.shape
    first_row, first_column = round(top * height), round(max(left, 0) * width)
    part = ink[first_row : round(bottom * height), first_column : round(min(right, 1) * width)]
    rows = np.flatnonzero(part.any(axis=1))
    if not len(rows):
        return None
    wide = np.flatnonzero(np.diff(rows) > _BLANK_BAND * height)
    rows = rows[wide[-1] + 1 :] if len(wide) else rows
    columns = np.flatnonzero(part[rows[0] :].any(axis=0))
    x, y = max(0, first_column + columns[0] - 2) / width, max(0, first_row + rows[0] - 2) / height
    return Box(x, y, (first_column + columns[-1] + 3) / width - x, (first_row + rows[-1] + 1) / height - y)
