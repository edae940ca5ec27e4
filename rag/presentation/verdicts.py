"""How the verdicts on an answer's statements are shown: a sign and words, never colour alone. Pure functions.

A supported statement is quiet. Every other verdict has a sign for the eye, which stands behind the marker of the
statement, and words with the reason. Reasons and quotes repeat what documents say, so each surface escapes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import shorten

from rag.types import Answer, FrameRegion, ImageRegion, Locator, PageBox, TimeSpan, Verdict, VerdictName

# What stands for each verdict; nothing for a supported statement.
SIGNS: Mapping[VerdictName, str] = {
    "supported": "",
    "unchecked": "?",
    "misattributed": "⇄",
    "contradicted": "≠",
    "unsupported": "✗",
}
_WORDS: Mapping[VerdictName, str] = {
    "supported": "Supported",
    "unchecked": "Not checked",
    "misattributed": "Only other evidence says this",
    "contradicted": "The evidence says otherwise",
    "unsupported": "The evidence does not say this",
}
MARKER = re.compile(r"\[E(\d{1,3})\]")
_MOST_CHARS = 300  # of a reason or a quote


@dataclass(frozen=True, slots=True)
class Doubt:
    """A verdict other than supported, as it is shown: its name, its sign, and words with the reason."""

    name: VerdictName
    sign: str
    words: str


@dataclass(frozen=True, slots=True)
class MarkedDoubt:
    """A doubt about a statement: where its marker ends, and the number that it cites."""

    end: int
    number: int
    doubt: Doubt


def doubt(verdict: Verdict) -> Doubt | None:
    """Return how a verdict is shown; None for a supported statement."""
    return None if verdict.name == "supported" else Doubt(verdict.name, SIGNS[verdict.name], describe(verdict))


def describe(verdict: Verdict) -> str:
    """Return a verdict in words, on one line: ``Not checked: a photo has no words.``, ``Supported: “It was late.”``."""
    because = _line(verdict.reason)
    if verdict.name == "supported" and verdict.quote:
        because = f"“{_line(verdict.quote)}”"
    return f"{_WORDS[verdict.name]}: {because}" if because else _WORDS[verdict.name]


def doubts_about(answer: Answer, number: int) -> tuple[Doubt, ...]:
    """Return the doubts about statements that cite a piece of evidence, each once."""
    found = (doubt(cited.verdict) for cited in answer.citations if cited.number == number)
    return tuple(dict.fromkeys(each for each in found if each))


def narrowed(answer: Answer, number: int) -> Verdict:
    """Return the verdict that shows where in a piece of evidence its statement stands: that of the first such citation.

    Supported statements come first. Without any place or words, return a verdict that names neither.
    """
    verdicts = [cited.verdict for cited in answer.citations if cited.number == number]
    placed = [verdict for verdict in verdicts if verdict.locator is not None or verdict.quote]
    return min(placed, key=lambda verdict: verdict.name != "supported", default=Verdict())


def visible_place(place: Locator, narrower: Locator | None) -> Locator:
    """Return the place to mark on a page, picture or frame: the narrower one if it is one of the same kind."""
    if narrower is None or type(narrower) is not type(place):
        return place
    is_elsewhere = isinstance(narrower, PageBox) and isinstance(place, PageBox) and narrower.page != place.page
    return narrower if isinstance(narrower, (PageBox, ImageRegion, FrameRegion)) and not is_elsewhere else place


def audible_span(span: TimeSpan, narrower: Locator | None) -> TimeSpan:
    """Return the seconds to play: the narrower ones if they lie within the others."""
    if isinstance(narrower, TimeSpan) and span.start_s <= narrower.start_s < narrower.end_s <= span.end_s:
        return narrower
    return span


def verdicts_by_marker(answer: Answer) -> dict[int, Verdict]:
    """Return the verdict of each marker's statement, by the position at which the marker begins.

    The markers of a number and the statements that cite it come in the same order. Where one statement has a marker
    twice, a marker belongs to the nearest.
    """
    found: dict[int, Verdict] = {}
    for evidence in answer.cited:
        own = sorted((c for c in answer.citations if c.number == evidence.number), key=lambda c: c.start)
        starts = [m.start() for m in MARKER.finditer(answer.text) if int(m[1]) == evidence.number]
        if len(own) != len(starts):
            own = [min(own, key=lambda c: max(c.start - at, at - c.end, 0)) for at in starts]
        found |= {at: cited.verdict for at, cited in zip(starts, own, strict=True)}
    return found


def marked_doubts(answer: Answer) -> Iterator[MarkedDoubt]:
    """Yield the doubts of a text, in its order."""
    verdicts = verdicts_by_marker(answer)
    for marker in MARKER.finditer(answer.text):
        found = doubt(verdicts[marker.start()]) if marker.start() in verdicts else None
        if found:
            yield MarkedDoubt(marker.end(), int(marker[1]), found)


def with_doubts(answer: Answer) -> str:
    """Return the answer's text with each doubt in a few words behind its marker: ``It is so [E1] (not checked).``"""
    parts, position = [], 0
    for marked in marked_doubts(answer):
        words = _WORDS[marked.doubt.name]
        parts.append(f"{answer.text[position : marked.end]} ({words[0].lower()}{words[1:]})")
        position = marked.end
    return "".join([*parts, answer.text[position:]])


def left_open(answer: Answer) -> str:
    """Return what a partial answer leaves open, in words on one line; empty if nothing."""
    return f"Left open: {'; '.join(map(_line, answer.open_parts))}" if answer.open_parts else ""


def _line(text: str) -> str:
    return shorten(text, _MOST_CHARS, placeholder=" …")
