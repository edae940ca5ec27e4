"""From what a language model wrote to statements with checked citations; pure functions over text.

`cite` brings the markers of a whole text to one form, through the same code as a stream (`rag.answering.markers`), and
finds the statement that each marker covers. It can be given a function that chooses which evidence holds the words of a
statement (`rag.answering.attribution`); the marker of that statement then names that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rag.answering.markers import BARE_ITEM_LABEL, ITEM_LABEL, MARKER, MARKER_RUN, Attribute, MarkerStream
from rag.text import sentence_ends, trim
from rag.types import Citation, Evidence, Hit

# What may stand between a marker and the next part of the sentence.
_JOINTS = ",;:.–-•*"
_WORD = re.compile(r"\w")
_LINE = re.compile(r"[^\n]+")
_STOP_BEHIND = re.compile(r"[.,;:!?]*")
_MARKERS_BEHIND = re.compile(r"(?:[ \t]*\[E\d{1,3}\])*")


@dataclass(frozen=True, slots=True)
class Cited:
    """A text whose markers are all of the form ``[E1]`` and name evidence.

    Attributes:
        text: the text.
        citations: the statements, or parts of statements, that markers cover; never the markers themselves.
        unknown: markers that named no evidence, as they were written.
        uncited: statements without a marker, as ``[start, end)`` of the text.
        moved: how many markers named other evidence when they were written.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    unknown: tuple[str, ...] = ()
    uncited: tuple[tuple[int, int], ...] = ()
    moved: int = 0


def number_hits(hits: Sequence[Hit]) -> tuple[Evidence, ...]:
    """Return the hits as evidence, numbered from 1 in their order."""
    return tuple(Evidence(n, hit) for n, hit in enumerate(hits, 1))


def cite(text: str, evidence_n: int, attribute: Attribute | None = None) -> Cited:
    """Check the markers of a whole text against the number of pieces of evidence that its writer saw."""
    stream = MarkerStream(evidence_n, attribute)
    clean = (stream.feed(text) + stream.end()).rstrip()
    statements = _statements(clean)
    citations = tuple(Citation(n, each.start, each.end) for each in statements for n in each.numbers)
    uncited = tuple((each.start, each.end) for each in statements if not each.numbers)
    return Cited(clean, citations, tuple(stream.unknown), uncited, stream.moved)


def without(cited: Cited, spans: Iterable[tuple[int, int]], evidence_n: int) -> Cited:
    """Return the same text without the statements at these ``[start, end)`` and their markers; no other is moved."""
    keep, position = [], 0
    for start, end in spans:
        keep.append(cited.text[position:start])
        markers = MARKER_RUN.match(cited.text, end)
        stop = _STOP_BEHIND.match(cited.text, markers.end() if markers else end)
        position = stop.end() if stop else end
    rest = BARE_ITEM_LABEL.sub("", "".join([*keep, cited.text[position:]]))
    return replace(cite(rest.strip(), evidence_n), unknown=cited.unknown, moved=cited.moved)


def with_markers(cited: Cited, number: int) -> str:
    """Return the text with a marker behind each statement that has none."""
    text = cited.text
    for start, end in reversed(cited.uncited):
        stop = start + len(text[start:end].rstrip(".!?… "))
        text = f"{text[:stop]} [E{number}]{text[stop:]}"
    return text


def words_of(text: str, citation: Citation) -> str:
    """Return the statement that a citation covers, without markers inside it."""
    return MARKER_RUN.sub("", text[citation.start : citation.end]).strip()


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement, or a part of one, as ``[start, end)``, and the numbers of its markers; none if uncited."""

    start: int
    end: int
    numbers: tuple[int, ...] = ()


def _statements(text: str) -> list[_Statement]:
    statements: list[_Statement] = []
    for start, end in cited_sentences(text):
        runs = tuple(MARKER_RUN.finditer(text, start, end))
        if not _WORD.search(MARKER_RUN.sub("", text[start:end])):
            if runs and statements:  # markers alone on a line belong to the line above
                both = dict.fromkeys((*statements[-1].numbers, *_numbers_of(runs)))
                statements[-1] = replace(statements[-1], numbers=tuple(both))
        elif runs:
            statements += _parts(text, start, end, runs)
        elif text[end - 1] != ":":
            statements.append(_Statement(start, end))
    return statements


def cited_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the sentences of a text as ``[start, end)``, each with its markers and without the label of its item.

    A line break ends a sentence. Markers stand behind a sentence, or before it on a line that begins with one and does
    not end with one.
    """
    for line in _LINE.finditer(text):
        label = ITEM_LABEL.match(text, *line.span())
        start = label.end() if label else line.start()
        for end in [*_ends_with_markers(text, start, line.end()), line.end()]:
            span = trim(text, start, end)
            if span[0] < span[1]:
                yield span
            start = end


def _ends_with_markers(text: str, start: int, end: int) -> Iterator[int]:
    leads = _leads(text, start, end)
    for cut in sentence_ends(text, start, end):
        markers = _MARKERS_BEHIND.match(text, cut, end)
        yield cut if leads or markers is None else markers.end()


def _leads(text: str, start: int, end: int) -> bool:
    """Return whether a line begins with a marker and does not end with one."""
    runs = list(MARKER_RUN.finditer(text, start, end))
    return bool(runs and not _WORD.search(text, start, runs[0].start()) and _WORD.search(text, runs[-1].end(), end))


def _parts(text: str, start: int, end: int, runs: tuple[re.Match[str], ...]) -> Iterator[_Statement]:
    """Yield the parts of a sentence with markers, each covered by one run of markers.

    A marker covers its sentence as far back as the marker before it; what follows the last belongs to the same part.
    Where a sentence begins with a marker and does not end with one, each covers what follows it.
    """
    edges = [start, *(edge for run in runs for edge in run.span()), end]
    between = [trim(text, a, b, leading=_JOINTS) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    worded = [n for n, span in enumerate(between) if _WORD.search(text, *span)]
    leads = worded[0] > 0 and worded[-1] == len(runs)
    has_tail = not leads and len(worded) > 1 and worded[-1] == len(runs)
    bodies = worded[:-1] if has_tail else worded
    borders = [0, *bodies[:-1], len(runs)] if leads else [0, *bodies[1:], len(runs)]
    for n, (first, last) in zip(bodies, pairwise(borders), strict=True):
        ends = between[-1] if has_tail and n == bodies[-1] else between[n]
        yield _Statement(between[n][0], ends[1], _numbers_of(runs[first:last]))


def _numbers_of(runs: Sequence[re.Match[str]]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(n) for run in runs for n in MARKER.findall(run.group())))
