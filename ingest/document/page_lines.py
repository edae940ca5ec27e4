"""Group the lines of a page, printed or recognised, into passages with their boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from ingest.document.chunking import DocumentText, TextBlock, count_words, join_blocks, split_passages
from ingest.document.layout import gutter, reading_order, union
from rag.types import Box

# "Figure 3: …", "Fig. 3 The …", but not "Figure 3 shows …", the start of a sentence.
CAPTION = re.compile(
    r"(Fig(?:ure|\.)?|FIG(?:URE|\.)?|Abb(?:ildung|\.)|Chart|Scheme|Plate|Exhibit|Tab(?:le|elle|\.)|TABLE)"
    r"\s*[A-Z]?\d+(?:[.-]\d+)*[a-z]?(?:\s*[:.|–—)]|\s+[A-Z\d(]|$)"
)
_BULLET = re.compile(r"(?:[•◦▪●‣–—*-]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+\S")
_HYPHENS = "-\u00ad\u2010\u0002\ufffe"  # PDFium writes a hyphen at a line's end as U+0002 or U+FFFE
_SENTENCE_ENDS = (".", "!", "?", ":", ";", "”", '"')
# Of a line's height: the gap between paragraphs, the indent of a first line, the difference between two sizes.
_PARAGRAPH_GAP, _INDENT, _OTHER_SIZE = 0.65, 0.8, 0.15
_SHORT_LINE = 0.15  # share of the column's width that, left empty, ends a paragraph
_HEADING_WORDS = 16


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text, its box in fractions of the page, and the height of most of its characters."""

    text: str
    box: Box
    bold: bool = False
    size: float = 0.0


@dataclass(frozen=True, slots=True)
class PagePassage:
    """A passage of a page: its words, the box around its lines, the heading above it."""

    text: str
    box: Box
    heading: str


def in_reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """Return the lines in reading order; without columns, keep the given order."""
    boxes = [line.box for line in lines]
    return [lines[i] for i in reading_order(boxes)] if gutter(boxes) is not None else list(lines)


def page_passages(lines: Sequence[TextLine], heading: str = "") -> Iterator[PagePassage]:
    """Split the lines of a page, in reading order, into passages.

    Args:
        lines: of one page.
        heading: the last one of the page before.
    """
    found = list(group_paragraphs(lines))
    body = _body_size(lines)
    document = join_blocks(
        TextBlock(p.text, "heading" if _is_heading(p, body) else "paragraph", _level(p, body)) for p in found
    )
    for passage in split_passages(document):
        boxes = _boxes_between(document, found, passage.start, passage.end)
        yield PagePassage(document.text[passage.start : passage.end], union(boxes), passage.heading or heading)


class Paragraph:
    """Lines that belong together, with the range of each in the joined text; hyphens at line ends are removed."""

    def __init__(self, lines: list[TextLine]) -> None:
        self.lines = lines
        self.ranges: list[tuple[int, int]] = []
        text = ""
        for line in lines:
            if text and text[-1] in _HYPHENS and _continues_word(text, line.text):
                text = text[:-1]
                # The hyphen belonged to the line above, so the range of that line shrinks.
                self.ranges[-1] = (self.ranges[-1][0], len(text))
            elif text:
                text += " "
            self.ranges.append((len(text), len(text) + len(line.text)))
            text += line.text
        self.box = union([line.box for line in lines])
        self.text = text.translate({ord(mark): "-" for mark in "\u0002\ufffe"}).replace("\u00ad", "-")


def _continues_word(text: str, following: str) -> bool:
    """Return whether typesetting inserted the hyphen at a line's end: between a letter and a lower-case letter."""
    return len(text) > 1 and text[-2].isalpha() and following[:1].islower()


def group_paragraphs(lines: Sequence[TextLine]) -> Iterator[Paragraph]:
    """Group lines, in reading order, by their gaps, sizes and indents."""
    current: list[TextLine] = []
    for line in lines:
        if current and _starts_paragraph(current, line):
            yield Paragraph(current)
            current = []
        current.append(line)
    if current:
        yield Paragraph(current)


def _starts_paragraph(current: list[TextLine], line: TextLine) -> bool:
    last = current[-1]
    height = min(last.size, line.size) or 1e-4
    same_row = abs(line.box.y + line.box.h / 2 - last.box.y - last.box.h / 2) < 0.4 * height
    if same_row:
        return False
    if line.bold != last.bold or abs(line.size - last.size) > _OTHER_SIZE * max(line.size, last.size):
        return not _flows_on(last, line)
    if line.box.y < last.box.y or line.box.x > last.box.x + last.box.w:  # the next column
        return not _flows_on(last, line)
    gap = line.box.y - last.box.y - last.box.h
    if gap > _PARAGRAPH_GAP * height or _BULLET.match(line.text) or CAPTION.match(line.text):
        return not (_flows_on(last, line) and gap < 1.2 * height)
    left = min(other.box.x for other in current)
    right = max(other.box.x + other.box.w for other in [*current, line])
    ended_early = last.box.x + last.box.w < right - _SHORT_LINE * (right - left)
    indented = len(current) > 1 and line.box.x - left > _INDENT * height * 0.7
    return (ended_early and last.text.endswith(_SENTENCE_ENDS)) or (indented and last.text.endswith(_SENTENCE_ENDS))


def _flows_on(last: TextLine, line: TextLine) -> bool:
    """Return whether a sentence clearly continues from one line to the next."""
    return not last.text.endswith(_SENTENCE_ENDS) and line.text[:1].islower()


def _body_size(lines: Sequence[TextLine]) -> float:
    """Return the height of most characters."""
    return median([line.size for line in lines for _ in range(max(1, len(line.text) // 10))]) if lines else 0.0


def _is_heading(paragraph: Paragraph, body: float) -> bool:
    first = paragraph.lines[0]
    if (
        len(paragraph.lines) > 3
        or count_words(paragraph.text) > _HEADING_WORDS
        or not re.search(r"[^\W\d]{2}", paragraph.text)
    ):
        return False
    if paragraph.text.endswith((".", ",", ";")) or CAPTION.match(paragraph.text):
        return False
    return first.size > (1 + _OTHER_SIZE) * body or (first.bold and first.size > 0.9 * body)


def _level(paragraph: Paragraph, body: float) -> int:
    size = paragraph.lines[0].size / body if body else 1.0
    return 1 if size > 1.6 else 2 if size > 1.25 else 3


def _boxes_between(document: DocumentText, found: Sequence[Paragraph], start: int, end: int) -> list[Box]:
    """Return the boxes of the lines that overlap ``document.text[start:end]``."""
    filled = [paragraph for paragraph in found if paragraph.text.strip()]
    return [
        line.box
        for part, paragraph in zip(document.parts, filled, strict=True)
        if part.end > start and part.start < end
        for line, (first, last) in zip(paragraph.lines, paragraph.ranges, strict=True)
        if part.start + last > start and part.start + first < end
    ]
