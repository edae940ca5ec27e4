"""From what a language model wrote to statements with checked citations; pure functions over text.

Models write markers in many ways: ``[E1]``, ``[E1, E3]``, ``[E1][E2]``, ``[E1-E3]``, ``(E1)``, ``【E1】``, ``[1]``,
``[Exhibit 1]``, ``[E1, page 3]``. All become ``[E1]``. A marker that names no exhibit is removed and reported.
`MarkerStream` does this on a text that is still being written, and `cite` on a whole one, through the same code. Both
may be told which exhibit holds the words of a statement (`rag.answering.attribution`); its marker then names that one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from rag.types import Citation, Evidence, Hit

# Which exhibit should be cited, from a statement and the one that it cites.
Attribute = Callable[[str, int], int]

# Longest text between the brackets of a marker; more is prose in brackets.
_LONGEST_MARKER = 60
_SQUARE, _ROUND = "[【［〔", "(（"
_OPENERS, _CLOSERS = _SQUARE + _ROUND, "]】］〕)）"
_LONGEST_RANGE = 20
_NAME = r"(?:exhibits?|e)"
_UNFINISHED = r"e(?:x(?:h(?:i(?:b(?:i(?:t?)?)?)?)?)?)?"
_SINGLE = rf"(?:{_NAME}\s*)?e?\s*[#^]?\s*\d{{1,3}}"
_JOIN = r"\s*(?:[,;&/+、，；]\s*(?:and|or)?|and|or|to|[-–—])\s*|\s+(?=e)"
_LIST = rf"\s*\^?{_SINGLE}(?:(?:{_JOIN}){_SINGLE})*"
_IN_BRACKETS = re.compile(rf"(?P<list>{_LIST})\s*\.?(?:[,:;|†][^\n]*)?", re.I)
_IN_PARENTHESES = re.compile(rf"(?=\s*e)(?P<list>{_LIST})\s*", re.I)
_OPEN_BRACKET = re.compile(rf"\s*\^?(?:(?:{_NAME}\s*)?e?\s*[#^]?\s*(?:\d|$)|{_UNFINISHED}$)", re.I)
_OPEN_PARENTHESIS = re.compile(rf"\s*(?:$|{_NAME}\s*e?\s*[#^]?\s*(?:\d|$)|{_UNFINISHED}$)", re.I)
_STOP = re.compile(rf"[{re.escape(_OPENERS + _CLOSERS)}{{}}\n]")
_START = re.compile(rf"\s|[{re.escape(_OPENERS)}]")
_REST = rf"[^{re.escape(_OPENERS + _CLOSERS)}]{{0,{_LONGEST_MARKER}}}"
_OF_OTHERS = re.compile(
    rf"[{re.escape(_SQUARE)}](?P<number>\s*[#^]*\s*\d{_REST})[{re.escape(_CLOSERS)}]"
    rf"|[{re.escape(_OPENERS)}]\s*(?P<named>\^?\s*{_NAME}\s*e?\s*[#^]?\s*\d{_REST})[{re.escape(_CLOSERS)}]",
    re.I,
)
_NUMBER = re.compile(r"(?P<to>to|[-–—])|(?P<number>\d+)", re.I)
_MARKER = re.compile(r"\[E(\d{1,3})\]")
_RUN = re.compile(r"(?:\s*\[E\d{1,3}\])+")
# What may stand between a marker and the next part of the sentence.
_JOINTS = ",;:.–-•*"
_WORD = re.compile(r"\w")
_END = re.compile(r"(?P<stop>[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？]+[”’」』]*)(?:[ \t]*\[E\d{1,3}\])*")
# Words before a full stop that ends no sentence; single capitals (initials, as in "J. Goodall") are another such case.
_ABBREVIATION = re.compile(
    r"(?:\b(?:dr|mr|mrs|ms|prof|st|vs|approx|ca|cf|fig|figs|no|vol|pp|ed|eds|al|inc|e\.g|i\.e)|\b[A-Z])\.$", re.I
)


# The number of an item of a list is no part of what is said; an item of nothing else is what was left of one.
_ITEM = r"[ \t]*(?:[-*•][ \t]*)?(?:\d{1,3}|[a-z])[.)]"
# Where nothing but markers follows it, it is the answer: "57. [E1]".
_LABEL = re.compile(rf"{_ITEM}(?=\s|$)(?!(?:[ \t]*\[E\d{{1,3}}\])+[ \t]*$)", re.M)
_BARE_LABEL = re.compile(rf"^{_ITEM}[ \t]*(?:\n|\Z)", re.M)


@dataclass(frozen=True, slots=True)
class Cited:
    """A text whose markers are all of the form ``[E1]`` and name an exhibit.

    Attributes:
        text: the text.
        citations: the statements, or parts of statements, that markers cover; never the markers themselves.
        unknown: markers that named no exhibit, as they were written.
        uncited: statements without a marker, as ``[start, end)`` of the text.
        moved: how many markers named another exhibit when they were written.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    unknown: tuple[str, ...] = ()
    uncited: tuple[tuple[int, int], ...] = ()
    moved: int = 0


def number(hits: Sequence[Hit]) -> tuple[Evidence, ...]:
    """The hits as exhibits, numbered from 1 in their order."""
    return tuple(Evidence(n, hit) for n, hit in enumerate(hits, 1))


def cite(text: str, exhibits: int, attribute: Attribute | None = None) -> Cited:
    """Checks the markers of a whole text against the number of exhibits that its writer was shown."""
    stream = MarkerStream(exhibits, attribute)
    clean = (stream.feed(text) + stream.end()).rstrip()
    statements = _statements(clean)
    citations = tuple(Citation(n, found.start, found.end) for found in statements for n in found.numbers)
    uncited = tuple((found.start, found.end) for found in statements if not found.numbers)
    return Cited(clean, citations, tuple(stream.unknown), uncited, stream.moved)


def without_uncited(cited: Cited, exhibits: int) -> Cited:
    """The same text without its uncited statements; no marker is moved."""
    keep, position = [], 0
    for start, end in cited.uncited:
        keep.append(cited.text[position:start])
        position = end
    kept = _BARE_LABEL.sub("", "".join([*keep, cited.text[position:]]))
    rest = cite(kept.strip(), exhibits)
    return replace(rest, unknown=cited.unknown, moved=cited.moved)


def sentences(text: str, label_of_item: re.Pattern[str] | None = None) -> Iterator[tuple[int, int]]:
    """Sentences as ``[start, end)``, each with its markers; a line break ends one.

    Markers are behind a sentence, or before it on a line that begins with one and does not end with one.

    Args:
        text: any text.
        label_of_item: what is in no sentence where a line begins with it.
    """
    for line in re.finditer(r"[^\n]+", text):
        label = label_of_item.match(text, *line.span()) if label_of_item else None
        start = label.end() if label else line.start()
        for end in [*_sentence_ends(text, start, line.end()), line.end()]:
            span = _trimmed(text, start, end)
            if span[0] < span[1]:
                yield span
            start = end


def neutralised(text: str) -> str:
    """Text from evidence that can pass for neither a marker nor a token of a chat template.

    ``[E7]`` becomes ``E7``, ``[12]`` becomes ``(12)``, ``<|im_start|>`` loses its bars.
    """
    text = re.sub(r"<\s*\|+|\|+\s*>", " ", text)
    while (freed := _OF_OTHERS.sub(lambda found: found["named"] or f"({found['number']})", text)) != text:
        text = freed  # of brackets in brackets, the outer ones
    return text


@dataclass
class MarkerStream:
    """Rewrites the markers of a text that arrives in pieces; what it returns does not depend on where they were cut.

    A piece of text that may be the beginning of a marker is held back until that is decided.

    Attributes:
        exhibits: how many exhibits there are.
        attribute: says which exhibit a marker shall name; None to keep what was written.
        unknown: markers so far that named none of them, as they were written.
        moved: how many markers `attribute` has changed so far.
    """

    exhibits: int
    attribute: Attribute | None = None
    unknown: list[str] = field(default_factory=list)
    moved: int = 0
    _held: str = ""
    # What was returned of this line, after the line break before it: what the next marker stands behind.
    _line: str = ""

    def feed(self, piece: str) -> str:
        """The text that is certain after this piece."""
        return self._advance(self._held + piece, final=False)

    def end(self) -> str:
        """The rest of the text; a marker that was never closed is dropped."""
        return self._advance(self._held, final=True)

    def _advance(self, text: str, *, final: bool) -> str:
        out: list[str] = []
        position = 0
        while start := _START.search(text, position):
            out.append(self._emit(text[position : start.start()]))
            position = start.start()
            step = self._settle(text, position, final=final)
            if step is None:
                break
            settled, position = step
            out.append(self._emit(settled))
        else:
            out.append(self._emit(text[position:]))
            position = len(text)
        self._held = text[position:]
        return "".join(out)

    def _emit(self, text: str) -> str:
        text = text if self._line else text.lstrip()
        line = self._line + text
        self._line = line[max(line.rfind("\n"), 0) :]
        return text

    def _settle(self, text: str, start: int, *, final: bool) -> tuple[str, int] | None:
        """What stands for the space and the markers at `start`, and where they end; None while that is open."""
        numbers: list[int] = []
        unknown: list[str] = []
        first = end = _skip_space(text, start)
        while True:
            after = _skip_space(text, end)
            if end > first and "\n" in text[end:after]:  # markers on the next line may lead it
                break
            if after == len(text):
                if not final:
                    return None
                break
            found = _marker(text, after, final=final) if text[after] in _OPENERS else "prose"
            if found == "open":
                return None
            if isinstance(found, str):
                break
            known = [n for n in found.numbers if 1 <= n <= self.exhibits]
            unknown += [text[after : found.end]] if len(known) < len(found.numbers) else []
            numbers += known
            end = found.end
        if end == first:  # no marker here
            after += after < len(text) and text[after] in _OPENERS
            return text[start:after], after
        self.unknown += unknown
        seam = "" if numbers else self._seam(text[end : end + 1])
        return self._written(text[start:first], self._attributed(text[start:first], numbers)) + seam, end

    def _attributed(self, space: str, numbers: list[int]) -> list[int]:
        """The exhibits to cite for the sentence before the markers, as far as it stands on their line behind others.

        The numbers stay on a line that leads with markers, which cover what is not written yet, and where there is
        nothing between these and the last.
        """
        if self.attribute is None:
            return numbers
        line = (self._line + space).rpartition("\n")[2]
        label = _LABEL.match(line)
        pieces = _RUN.split(line[label.end() :] if label else line)
        said = [pieces[-1][start:end] for start, end in sentences(pieces[-1])]
        said = [statement for statement in said if _WORD.search(statement)]
        if not said or not _WORD.search(pieces[0]):
            return numbers
        held = [self.attribute(said[-1], n) for n in numbers]
        self.moved += sum(before != now for before, now in zip(numbers, held, strict=True))
        return held

    def _written(self, space: str, numbers: list[int]) -> str:
        """The space before markers and the markers, as they shall stand in the text."""
        marks = "".join(f"[E{n}]" for n in dict.fromkeys(numbers))
        if "\n" in space:
            return space + marks
        touching = not self._line or self._line[-1] in _OPENERS
        return marks if touching or not marks else " " + marks

    def _seam(self, following: str) -> str:
        """What stands for a removed marker, so that the text on its sides grows together to no word and no marker."""
        opener = max(map(self._line.rfind, _OPENERS))
        if opener >= 0 and _marker(self._line, opener, final=False) == "open":
            return "…"
        return " " if self._line and following.isalnum() else ""


@dataclass(frozen=True, slots=True)
class _Found:
    numbers: tuple[int, ...]
    end: int


def _marker(text: str, at: int, *, final: bool) -> _Found | Literal["open", "prose"]:
    """The marker in the brackets that open at `at`; ``open`` while it may still become one.

    One that is never closed counts as a marker without numbers, up to what breaks it.
    """
    inside = text[at + 1 : at + _LONGEST_MARKER + 2]
    stop = _STOP.search(inside)
    if stop and stop.group() in _CLOSERS:
        content = inside[: stop.start()]
        found = (_IN_PARENTHESES if text[at] in _ROUND else _IN_BRACKETS).fullmatch(content)
        return _Found(tuple(_numbers(found["list"])), at + stop.end() + 1) if found else "prose"
    content = inside[: stop.start()] if stop else inside
    if len(content) > _LONGEST_MARKER or not _may_become_marker(text[at], content):
        return "prose"
    if stop or final:
        return _Found((), at + 1 + len(content)) if content.strip() or final else "prose"
    return "open"


def _may_become_marker(opener: str, content: str) -> bool:
    return (_OPEN_PARENTHESIS if opener in _ROUND else _OPEN_BRACKET).match(content) is not None


def _numbers(marks: str) -> Iterator[int]:
    """Numbers of a list such as ``E1, E3-E5``."""
    first, is_range = 0, False
    for found in _NUMBER.finditer(marks):
        if found["to"]:
            is_range = True
            continue
        number = int(found["number"])
        yield from range(first + 1, min(number, first + _LONGEST_RANGE + 1)) if is_range else ()
        yield number
        first, is_range = number, False


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement, or a part of one, as ``[start, end)``, and the numbers of its markers; none if uncited."""

    start: int
    end: int
    numbers: tuple[int, ...] = ()


def _statements(text: str) -> list[_Statement]:
    found: list[_Statement] = []
    for start, end in sentences(text, _LABEL):
        runs = tuple(_RUN.finditer(text, start, end))
        if not _WORD.search(_RUN.sub("", text[start:end])):
            if runs and found:  # markers alone on a line belong to the line above
                both = dict.fromkeys((*found[-1].numbers, *_numbers_of(runs)))
                found[-1] = replace(found[-1], numbers=tuple(both))
        elif runs:
            found += _parts(text, start, end, runs)
        elif text[end - 1] != ":":
            found.append(_Statement(start, end))
    return found


def _parts(text: str, start: int, end: int, runs: tuple[re.Match[str], ...]) -> Iterator[_Statement]:
    """A sentence with markers as parts, of which each marker covers one.

    A marker covers its sentence as far back as the marker before it; what follows the last belongs to the same part.
    Where a sentence begins with a marker and does not end with one, each covers what follows it.
    """
    edges = [start, *(edge for run in runs for edge in run.span()), end]
    between = [_trimmed(text, a, b, lead=_JOINTS) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    worded = [n for n, span in enumerate(between) if _WORD.search(text, *span)]
    leads = worded[0] > 0 and worded[-1] == len(runs)
    has_tail = not leads and len(worded) > 1 and worded[-1] == len(runs)
    bodies = worded[:-1] if has_tail else worded
    borders = [0, *bodies[:-1], len(runs)] if leads else [0, *bodies[1:], len(runs)]
    for n, (first, last) in zip(bodies, pairwise(borders), strict=True):
        ends = between[-1] if has_tail and n == bodies[-1] else between[n]
        yield _Statement(between[n][0], ends[1], _numbers_of(runs[first:last]))


def _numbers_of(runs: Sequence[re.Match[str]]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(int(n) for run in runs for n in _MARKER.findall(run.group())))


def _leads(text: str, start: int, end: int) -> bool:
    """Whether a line begins with a marker and does not end with one."""
    runs = list(_RUN.finditer(text, start, end))
    return bool(runs and not _WORD.search(text, start, runs[0].start()) and _WORD.search(text, runs[-1].end(), end))


def _sentence_ends(text: str, start: int, end: int) -> Iterator[int]:
    leads = _leads(text, start, end)
    for stop in _END.finditer(text, start, end):
        if not _ABBREVIATION.search(text[max(start, stop.start() - 8) : stop.start() + 1]):
            yield stop.end("stop") if leads else stop.end()


def _trimmed(text: str, start: int, end: int, lead: str = "") -> tuple[int, int]:
    while start < end and (text[start].isspace() or text[start] in lead):
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
