"""An answer as the templates take it: its text cut into claims and chips, its evidence, its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rag.presentation.report.album import Album, EvidenceView
from rag.presentation.verdicts import (
    MARKER,
    Doubt,
    describe,
    doubt,
    doubts_about,
    left_open,
    narrowed,
    verdicts_by_marker,
)
from rag.types import Answer, Evidence, Step, Verdict


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """A piece of an answer's text: words with the numbers of their evidence, or a chip that points at evidence.

    A chip has the verdict on its statement: a doubt, or for a supported statement the words that support it.
    """

    text: str
    exhibits: tuple[int, ...] = ()
    chip: EvidenceView | None = None
    doubt: Doubt | None = None
    support: str = ""


@dataclass(frozen=True, slots=True)
class AnswerView:
    """One answer, ready for a template.

    Attributes:
        anchor: its id on the page.
        question: the question in words.
        pieces: its text.
        declined: the collection does not hold the answer.
        cited: the evidence that the text cites.
        others: evidence that the model read and did not cite; the nearest misses of a declined question.
        left_open: what a partial answer leaves open, in words.
        warnings: failures on the way.
        steps: name, seconds and note of each step.
        seconds: in total.
    """

    anchor: str
    question: str
    pieces: tuple[AnswerPiece, ...]
    declined: bool
    cited: tuple[EvidenceView, ...]
    others: tuple[EvidenceView, ...]
    left_open: str
    warnings: tuple[str, ...]
    steps: tuple[tuple[str, float, str], ...]
    seconds: float


def answer_view(answer: Answer, number: int, album: Album) -> AnswerView:
    """Return an answer as the templates take it; `number` counts the answers of the page from 1."""
    anchor = f"q{number}"
    used = {evidence.number for evidence in answer.cited}
    views = {
        evidence.number: _evidence_view(answer, evidence, anchor, album, in_full=evidence.number in used)
        for evidence in answer.evidence
    }
    return AnswerView(
        anchor=anchor,
        question=answer.question,
        pieces=tuple(_pieces(answer, views)),
        declined=answer.declined,
        cited=tuple(view for n, view in views.items() if n in used),
        others=tuple(view for n, view in views.items() if n not in used),
        left_open=left_open(answer),
        warnings=answer.warnings,
        steps=tuple((step.name, step.seconds, step.note) for step in answer.trace),
        seconds=_seconds(answer.trace),
    )


def _evidence_view(answer: Answer, evidence: Evidence, anchor: str, album: Album, *, in_full: bool) -> EvidenceView:
    statement, verdict = _statement(answer, evidence), narrowed(answer, evidence.number)
    view = album.view(evidence, anchor, statement, in_full=in_full, verdict=verdict)
    return replace(view, doubts=doubts_about(answer, evidence.number))


def _seconds(trace: Sequence[Step]) -> float:
    """Return the seconds of the step "total", or else the sum of all steps."""
    total = [step.seconds for step in trace if step.name == "total"]
    return total[0] if total else sum(step.seconds for step in trace)


def _statement(answer: Answer, evidence: Evidence) -> str:
    """Return the words of the answer that cite this evidence, or the question if none do."""
    statements = [answer.text[c.start : c.end] for c in answer.citations if c.number == evidence.number]
    return MARKER.sub(" ", " ".join(statements)) or answer.question


def _pieces(answer: Answer, views: Mapping[int, EvidenceView]) -> Iterator[AnswerPiece]:
    position, verdicts = 0, verdicts_by_marker(answer)
    for marker in MARKER.finditer(answer.text):
        chip = views.get(int(marker[1]))
        if chip is not None:
            yield from _claims(answer, position, marker.start())
            verdict = verdicts.get(marker.start(), Verdict())
            doubted = doubt(verdict)
            support = describe(verdict) if verdict.name == "supported" and verdict.quote else ""
            yield AnswerPiece(marker[0], chip=chip, doubt=doubted, support=support)
            position = marker.end()
    yield from _claims(answer, position, len(answer.text))


def _claims(answer: Answer, start: int, end: int) -> Iterator[AnswerPiece]:
    """Yield the words between two markers, cut where citations begin and end."""
    inside = {cut for c in answer.citations for cut in (c.start, c.end) if start < cut < end}
    cuts = [start, *sorted(inside), end]
    for first, last in pairwise(cuts):
        if first < last:
            numbers = sorted({c.number for c in answer.citations if c.start <= first and last <= c.end})
            yield AnswerPiece(answer.text[first:last], tuple(numbers))
