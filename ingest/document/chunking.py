"""Join the blocks of a document into one text, and split that text into passages.

A passage is a slice of the text, so its `CharSpan` reproduces it exactly. The cuts are a shortest path over the ends of
sentences. Passages of 120 to 200 words cost nothing. Shorter and longer ones, ends within a paragraph and headings in
the middle cost something. A passage never ends in a heading and never spans two pages. MiniLM sees 256 tokens, about
190 English words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rag.text import wrapped_sentences

BlockKind = Literal["heading", "paragraph", "row", "figure"]

_MIN_WORDS, _GOOD_WORDS, _MAX_WORDS = 120, 200, 240
_SHORT_WORDS = 8
_CUT_IN_PARAGRAPH, _HEADING_INSIDE, _ENDS_IN_HEADING = 0.3, 0.5, 100.0
_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"
# One ideograph, or up to 12 other characters, so that a URL or a base64 line counts as several words.
_WORD = re.compile(rf"[{_CJK}]|[^\s{_CJK}]{{1,12}}")
_LINE = re.compile(r"[^\n]+")


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A piece of a document before all are joined into one text.

    Attributes:
        text: its words with their line ends; for a figure the alternative text, which stays out of the joined text.
        kind: a row belongs to a table and follows the row before it on the next line.
        level: of a heading, from 1.
        page: the slide, sheet or page, which no passage crosses; 0 in formats without pages.
        part: the name of a figure's picture in its container.
    """

    text: str
    kind: BlockKind = "paragraph"
    level: int = 0
    page: int = 0
    part: str = ""


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """A block and its place in the text: characters ``[start, end)``."""

    start: int
    end: int
    block: TextBlock


@dataclass(frozen=True, slots=True)
class DocumentText:
    """The text of a document, its blocks in order, and its title if it has one."""

    text: str
    parts: tuple[PlacedBlock, ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A slice ``[start, end)`` of a text, and the heading above it."""

    start: int
    end: int
    heading: str = ""
    page: int = 0


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, heading or row: the smallest piece of a passage."""

    start: int
    end: int
    words: int
    block: TextBlock
    ends_block: bool


def join_blocks(blocks: Iterable[TextBlock], title: str = "") -> DocumentText:
    """Join blocks into one text: rows of a table with line ends, others with blank lines; figures add no text."""
    pieces: list[str] = []
    parts: list[PlacedBlock] = []
    position = 0
    for block in blocks:
        if block.kind == "figure":
            parts.append(PlacedBlock(position, position, block))
            continue
        if not block.text.strip():
            continue
        if pieces:
            separator = "\n" if block.kind == parts[-1].block.kind == "row" else "\n\n"
            pieces.append(separator)
            position += len(separator)
        pieces.append(block.text)
        parts.append(PlacedBlock(position, position + len(block.text), block))
        position += len(block.text)
    return DocumentText("".join(pieces), tuple(parts), title)


def split_passages(document: DocumentText) -> Iterator[Passage]:
    """Split a document into passages, in order; together they hold every block."""
    units = _merge_short_units(
        unit for part in document.parts if part.end > part.start for unit in _units(document.text, part)
    )
    cuts = _best_cuts(units)
    trail: dict[int, str] = {}
    for first, last in pairwise(cuts):
        members = units[first:last]
        # Headings that open a passage belong to it; later ones belong to what follows.
        opening = next((n for n, unit in enumerate(members) if unit.block.kind != "heading"), len(members))
        for unit in members[:opening]:
            _update_headings(trail, document.text, unit)
        heading = " › ".join(trail[level] for level in sorted(trail))
        yield Passage(members[0].start, members[-1].end, heading, members[0].block.page)
        for unit in members[opening:]:
            if unit.block.kind == "heading":
                _update_headings(trail, document.text, unit)


def count_words(text: str) -> int:
    """Count words as a measure of a passage's length; long strings without spaces count as several."""
    return sum(1 for _ in _WORD.finditer(text))


def _update_headings(trail: dict[int, str], text: str, unit: _Unit) -> None:
    level = unit.block.level
    for deeper in [other for other in trail if other >= level]:
        del trail[deeper]
    trail[level] = " ".join(text[unit.start : unit.end].split())


def _units(text: str, part: PlacedBlock) -> Iterator[_Unit]:
    whole = part.block.kind == "heading" or count_words(text[part.start : part.end]) < _MIN_WORDS // 4
    ranges = [(part.start, part.end)] if whole else list(wrapped_sentences(text, part.start, part.end))
    pieces = [piece for start, end in ranges for piece in _split_long(text, start, end)]
    for number, (start, end, words) in enumerate(pieces):
        yield _Unit(start, end, words, part.block, number == len(pieces) - 1)


def _merge_short_units(units: Iterable[_Unit]) -> list[_Unit]:
    """Merge short neighbouring units, so that a table of a million numbers does not have a million places to cut."""
    merged: list[_Unit] = []
    for unit in units:
        last = merged[-1] if merged else None
        if last and _is_short(last) and _is_short(unit) and last.block.page == unit.block.page:
            merged[-1] = _Unit(last.start, unit.end, last.words + unit.words, unit.block, unit.ends_block)
        else:
            merged.append(unit)
    return merged


def _is_short(unit: _Unit) -> bool:
    return unit.words < _SHORT_WORDS and unit.block.kind != "heading"


def _split_long(text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield a range whole, or in parts if it exceeds a passage: split at line ends, or else between words."""
    words = [match.span() for match in _WORD.finditer(text, start, end)]
    if len(words) <= _MAX_WORDS:
        yield start, end, len(words)
        return
    lines = [match.span() for match in _LINE.finditer(text, start, end) if not match.group().isspace()]
    if len(lines) > 1:
        for line_start, line_end in lines:
            yield from _split_long(text, line_start, line_end)
        return
    for first in range(0, len(words), _GOOD_WORDS):
        chunk = words[first : first + _GOOD_WORDS]
        yield chunk[0][0], chunk[-1][1], len(chunk)


def _best_cuts(units: list[_Unit]) -> list[int]:
    """Return the indices of the units that start passages, and the end, by dynamic programming from the front."""
    best = [0.0] + [float("inf")] * len(units)
    came_from = [0] * (len(units) + 1)
    for end in range(1, len(units) + 1):
        last = units[end - 1]
        at_end = end == len(units) or units[end].block.page != last.block.page
        closing = 0.0 if last.ends_block else _CUT_IN_PARAGRAPH
        if last.block.kind == "heading" and not at_end:
            closing = _ENDS_IN_HEADING
        words, headings = 0, 0
        for start in range(end - 1, -1, -1):
            unit = units[start]
            words += unit.words
            if unit.block.page != last.block.page or (words > _MAX_WORDS and start < end - 1):
                break
            total = best[start] + closing + _size_cost(words) + _HEADING_INSIDE * headings
            if total < best[end]:
                best[end], came_from[end] = total, start
            opens = unit.block.kind == "heading"
            headings += opens and start > 0 and units[start - 1].block.kind != "heading"
    cuts = [len(units)]
    while cuts[-1] > 0:
        cuts.append(came_from[cuts[-1]])
    return cuts[::-1]


def _size_cost(words: int) -> float:
    if words < _MIN_WORDS:
        return 0.01 + ((_MIN_WORDS - words) / _MIN_WORDS) ** 2
    return 0.01 + max(0.0, (words - _GOOD_WORDS) / (_MAX_WORDS - _GOOD_WORDS))
