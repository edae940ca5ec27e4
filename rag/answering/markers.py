"""The markers with which a language model cites evidence, brought to one form while the text is still being written.

Models write markers in many ways: ``[E1]``, ``[E1, E3]``, ``[E1][E2]``, ``[E1-E3]``, ``(E1)``, ``【E1】``, ``[1]``,
``[Exhibit 1]``, ``[E1, page 3]``. All become ``[E1]``. A marker that names no evidence is removed and reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from rag.text import sentences

# Returns the number of the evidence that should be cited, from a statement and the number that it cites.
Attribute = Callable[[str, int], int]

MARKER = re.compile(r"\[E(\d{1,3})\]")
MARKER_RUN = re.compile(r"(?:\s*\[E\d{1,3}\])+")
# The number of an item of a list is not part of its statement. An item with nothing else is the rest of a removed one.
_ITEM = r"[ \t]*(?:[-*•][ \t]*)?(?:\d{1,3}|[a-z])[.)]"
# Where nothing but markers follows it, it is the answer: "57. [E1]".
ITEM_LABEL = re.compile(rf"{_ITEM}(?=\s|$)(?!(?:[ \t]*\[E\d{{1,3}}\])+[ \t]*$)", re.M)
BARE_ITEM_LABEL = re.compile(rf"^{_ITEM}[ \t]*(?:\n|\Z)", re.M)

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
_LOOKALIKE = re.compile(
    rf"[{re.escape(_SQUARE)}](?P<number>\s*[#^]*\s*\d{_REST})[{re.escape(_CLOSERS)}]"
    rf"|[{re.escape(_OPENERS)}]\s*(?P<named>\^?\s*{_NAME}\s*e?\s*[#^]?\s*\d{_REST})[{re.escape(_CLOSERS)}]",
    re.I,
)
_NUMBER = re.compile(r"(?P<to>to|[-–—])|(?P<number>\d+)", re.I)
_WORD = re.compile(r"\w")


def plain_line(text: str) -> str:
    """Return a text on one line, without anything that could pass for a marker or a chat token."""
    return " ".join(neutralize_markers(text).split())


def neutralize_markers(text: str) -> str:
    """Return text from evidence that cannot pass for a marker or for a token of a chat template.

    ``[E7]`` becomes ``E7``, ``[12]`` becomes ``(12)``, ``<|im_start|>`` loses its bars.
    """
    text = re.sub(r"<\s*\|+|\|+\s*>", " ", text)
    while (freed := _LOOKALIKE.sub(lambda match: match["named"] or f"({match['number']})", text)) != text:
        text = freed  # brackets within brackets: the outer ones come free
    return text


@dataclass
class MarkerStream:
    """The markers of a text that arrives in pieces, rewritten; the result does not depend on where it was cut.

    A piece of text that may be the beginning of a marker is held back until that is decided.

    Attributes:
        evidence_n: how many pieces of evidence there are.
        attribute: chooses the evidence that a marker names; None keeps what was written.
        unknown: markers so far that named no evidence, as they were written.
        moved: how many markers `attribute` has changed so far.
    """

    evidence_n: int
    attribute: Attribute | None = None
    unknown: list[str] = field(default_factory=list)
    moved: int = 0
    _held: str = ""
    # What was returned of this line, after the line break before it: what the next marker stands behind.
    _line: str = ""

    def feed(self, piece: str) -> str:
        """Return the text that is certain after this piece."""
        return self._advance(self._held + piece, final=False)

    def end(self) -> str:
        """Return the rest of the text; a marker that was never closed is dropped."""
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
        """Return the text for the space and markers at `start`, and where they end; None while that is open."""
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
            marker = _parse_marker(text, after, final=final) if text[after] in _OPENERS else "prose"
            if marker == "open":
                return None
            if isinstance(marker, str):
                break
            known = [n for n in marker.numbers if 1 <= n <= self.evidence_n]
            unknown += [text[after : marker.end]] if len(known) < len(marker.numbers) else []
            numbers += known
            end = marker.end
        if end == first:  # no marker here
            after += after < len(text) and text[after] in _OPENERS
            return text[start:after], after
        self.unknown += unknown
        seam = "" if numbers else self._seam(text[end : end + 1])
        return self._spell(text[start:first], self._attribute(text[start:first], numbers)) + seam, end

    def _attribute(self, space: str, numbers: list[int]) -> list[int]:
        """Return the evidence to cite for the sentence before the markers, as far as it stands on their line.

        The numbers stay on a line that leads with markers, which cover what is not written yet, and where nothing
        stands between these markers and the last ones.
        """
        if self.attribute is None:
            return numbers
        line = (self._line + space).rpartition("\n")[2]
        label = ITEM_LABEL.match(line)
        pieces = MARKER_RUN.split(line[label.end() :] if label else line)
        statements = [pieces[-1][start:end] for start, end in sentences(pieces[-1])]
        statements = [statement for statement in statements if _WORD.search(statement)]
        if not statements or not _WORD.search(pieces[0]):
            return numbers
        attributed = [self.attribute(statements[-1], n) for n in numbers]
        self.moved += sum(before != now for before, now in zip(numbers, attributed, strict=True))
        return attributed

    def _spell(self, space: str, numbers: list[int]) -> str:
        """Return the space before markers and the markers, as they shall stand in the text."""
        marks = "".join(f"[E{n}]" for n in dict.fromkeys(numbers))
        if "\n" in space:
            return space + marks
        touches = not self._line or self._line[-1] in _OPENERS
        return marks if touches or not marks else " " + marks

    def _seam(self, following: str) -> str:
        """Return what replaces a removed marker, so that its neighbours do not join to a word or a new marker."""
        opener = max(map(self._line.rfind, _OPENERS))
        if opener >= 0 and _parse_marker(self._line, opener, final=False) == "open":
            return "…"
        return " " if self._line and following.isalnum() else ""


@dataclass(frozen=True, slots=True)
class _Marker:
    numbers: tuple[int, ...]
    end: int


def _parse_marker(text: str, at: int, *, final: bool) -> _Marker | Literal["open", "prose"]:
    """Parse the marker in the brackets that open at `at`; ``open`` while it may still become one.

    A marker that is never closed counts as one without numbers, up to what breaks it.
    """
    inside = text[at + 1 : at + _LONGEST_MARKER + 2]
    stop = _STOP.search(inside)
    if stop and stop.group() in _CLOSERS:
        content = inside[: stop.start()]
        match = (_IN_PARENTHESES if text[at] in _ROUND else _IN_BRACKETS).fullmatch(content)
        return _Marker(tuple(_parse_numbers(match["list"])), at + stop.end() + 1) if match else "prose"
    content = inside[: stop.start()] if stop else inside
    if len(content) > _LONGEST_MARKER or not _may_become_marker(text[at], content):
        return "prose"
    if stop or final:
        return _Marker((), at + 1 + len(content)) if content.strip() or final else "prose"
    return "open"


def _may_become_marker(opener: str, content: str) -> bool:
    return (_OPEN_PARENTHESIS if opener in _ROUND else _OPEN_BRACKET).match(content) is not None


def _parse_numbers(marks: str) -> Iterator[int]:
    """Yield the numbers of a list such as ``E1, E3-E5``."""
    first, is_range = 0, False
    for match in _NUMBER.finditer(marks):
        if match["to"]:
            is_range = True
            continue
        number = int(match["number"])
        yield from range(first + 1, min(number, first + _LONGEST_RANGE + 1)) if is_range else ()
        yield number
        first, is_range = number, False


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
