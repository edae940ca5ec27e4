"""An answer as the page's template takes it: its text cut into claims and chips, its exhibits, its steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rag.presentation.report.evidence_view import Album, Exhibit
from rag.types import Answer, Evidence, Step

_MARKER = re.compile(r"\[E(\d{1,3})\]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer's text: words, with the exhibits that they rest on, or a chip that points at one."""

    text: str
    exhibits: tuple[int, ...] = ()
    chip: Exhibit | None = None


@dataclass(frozen=True, slots=True)
class AnswerView:
    """One answer, ready to be shown.

    Attributes:
        anchor: its id on the page.
        question: what was asked.
        pieces: its text.
        declined: the collection does not hold the answer.
        cited: the exhibits that the text cites.
        others: the exhibits that the model was shown and did not cite; the nearest misses of a declined question.
        warnings: what went wrong on the way.
        steps: name, seconds and note of each step.
        seconds: of the whole way.
    """

    anchor: str
    question: str
    pieces: tuple[Piece, ...]
    declined: bool
    cited: tuple[Exhibit, ...]
    others: tuple[Exhibit, ...]
    warnings: tuple[str, ...]
    steps: tuple[tuple[str, float, str], ...]
    seconds: float


def answer_view(answer: Answer, number: int, album: Album) -> AnswerView:
    """What the template needs of an answer; `number` counts the answers of the page from 1."""
    anchor = f"q{number}"
    used = {evidence.number for evidence in answer.cited}
    exhibits = {
        evidence.number: album.exhibit(evidence, anchor, _statement(answer, evidence), in_full=evidence.number in used)
        for evidence in answer.evidence
    }
    return AnswerView(
        anchor=anchor,
        question=answer.question,
        pieces=tuple(_pieces(answer, exhibits)),
        declined=answer.declined,
        cited=tuple(shown for n, shown in exhibits.items() if n in used),
        others=tuple(shown for n, shown in exhibits.items() if n not in used),
        warnings=answer.warnings,
        steps=tuple((step.name, step.seconds, step.note) for step in answer.trace),
        seconds=_seconds(answer.trace),
    )


def _seconds(trace: Sequence[Step]) -> float:
    """Of the whole way: the step that says so, or else all of them together."""
    total = [step.seconds for step in trace if step.name == "total"]
    return total[0] if total else sum(step.seconds for step in trace)


def _statement(answer: Answer, evidence: Evidence) -> str:
    """The words of the answer that rest on an exhibit; the question where none do."""
    said = [answer.text[c.start : c.end] for c in answer.citations if c.number == evidence.number]
    return _MARKER.sub(" ", " ".join(said)) or answer.question


def _pieces(answer: Answer, exhibits: Mapping[int, Exhibit]) -> Iterator[Piece]:
    position = 0
    for marker in _MARKER.finditer(answer.text):
        chip = exhibits.get(int(marker[1]))
        if chip is not None:
            yield from _claims(answer, position, marker.start())
            yield Piece(marker[0], chip=chip)
            position = marker.end()
    yield from _claims(answer, position, len(answer.text))


def _claims(answer: Answer, start: int, end: int) -> Iterator[Piece]:
    """Words between two markers, cut where citations begin and end."""
    inside = {cut for c in answer.citations for cut in (c.start, c.end) if start < cut < end}
    cuts = [start, *sorted(inside), end]
    for first, last in pairwise(cuts):
        if first < last:
            resting = sorted({c.number for c in answer.citations if c.start <= first and last <= c.end})
            yield Piece(answer.text[first:last], tuple(resting))
