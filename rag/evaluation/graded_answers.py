"""Graded answers, and what each of them contributes to the measures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rag.evaluation.answer_metrics import (
    GRADES,
    Grade,
    citation_precision,
    citation_recall,
    grade,
    overlap_ratio,
)
from rag.evaluation.answer_runs import AnswerRecord, AnswerRun, Judgement
from rag.evaluation.labelled_questions import Question
from rag.evaluation.question_trials import overlap
from rag.segments import from_fragment
from rag.types import CharSpan, Locator, TimeSpan

# What one question contributes to: groups of measures that share their number of questions.
ANSWERABLE, UNANSWERABLE, DECLINED_ONES, CITED, SOURCES, PLACES, TIMES, SPANS, BOXES = (
    "answerable",
    "unanswerable",
    "declined",
    "answered: citations",
    "answered: right files",
    "answered: right places",
    "answered: times",
    "answered: spans",
    "answered: boxes",
)
GROUPS = (ANSWERABLE, UNANSWERABLE, DECLINED_ONES, CITED, SOURCES, PLACES, TIMES, SPANS, BOXES)


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """An answer with its question and its grade.

    Attributes:
        question: with its labels.
        record: the answer.
        grade: by the labels.
        judgement: of a person, if there is one.
    """

    question: Question
    record: AnswerRecord
    grade: Grade
    judgement: Judgement | None = None

    @property
    def cluster(self) -> str:
        """What the questions that depend on each other share: the first file, or what an unanswerable one is about."""
        question = self.question
        return question.about or (*question.assets, question.question)[0]

    @property
    def is_graded(self) -> bool:
        """Whether its grade counts: not without phrases, where only refusals would."""
        question = self.question
        return not question.answerable or bool(question.answer or (self.judgement and self.judgement.right))

    @property
    def final_grade(self) -> Grade:
        """The person's grade, or else that by the labels."""
        return (self.judgement and self.judgement.right) or self.grade


def graded(
    questions: Iterable[Question], run: AnswerRun, judgements: Mapping[str, Judgement] | None = None
) -> list[GradedAnswer]:
    """Return the answers of a run to these questions; a judgement of another text is left out."""
    made = []
    for question in questions:
        if record := run.records.get(question.question):
            found = (judgements or {}).get(question.question)
            holds = found if found and found.text in ("", record.text) else None
            by_labels = grade(question, record.text, is_declined=record.is_declined, is_partial=record.is_partial)
            made.append(GradedAnswer(question, record, by_labels, holds))
    return made


def measures(one: GradedAnswer) -> dict[str, dict[str, float]]:
    """Return what an answer contributes to each group of measures, each in [0, 1]."""
    question, record = one.question, one.record
    found: dict[str, dict[str, float]] = {}
    if question.answerable and one.is_graded:
        found[ANSWERABLE] = {name: float(one.grade == name) for name in GRADES}
        found[ANSWERABLE]["right and cited"] = float(one.grade == "right" and _is_sourced(one))
    elif not question.answerable:
        found[UNANSWERABLE] = {"refusal recall": float(record.is_declined)}
    if record.is_declined:
        return found | {DECLINED_ONES: {"refusal precision": float(not question.answerable)}}
    found[CITED] = _by_verdicts(one)
    if question.answerable and record.citations:
        return found | _by_labels(one)
    return found


def _is_sourced(one: GradedAnswer) -> bool:
    """Return whether cited evidence in a right file says what the answer says."""
    cited = [each for each in one.record.citations if one.question.names(each.path) is not None]
    by_person = one.judgement.supported if one.judgement else None
    return bool(cited) and (any(each.verdict == "supported" for each in cited) if by_person is None else by_person)


def _by_verdicts(one: GradedAnswer) -> dict[str, float]:
    citations = one.record.citations
    supported = [citation.verdict == "supported" for citation in citations]
    recall = citation_recall([(each.start, each.end) for each in citations], supported)
    unchecked = sum(citation.verdict == "unchecked" for citation in citations) / max(len(citations), 1)
    if one.judgement and one.judgement.supported is not None:
        recall = precision = float(one.judgement.supported)
        unchecked = 0.0
    else:
        precision = citation_precision(supported)
    return {"citation recall": recall, "citation precision": precision, "unchecked": unchecked}


def _by_labels(one: GradedAnswer) -> dict[str, dict[str, float]]:
    question, citations = one.question, one.record.citations
    places = [from_fragment(wanted.removeprefix("#")) for wanted in question.locators]
    in_file = [question.names(citation.path) is not None for citation in citations]
    found = {SOURCES: {"right file": sum(in_file) / len(citations)}}
    if places:
        cited = [
            from_fragment(citation.place) if right else None for citation, right in zip(citations, in_file, strict=True)
        ]
        meets = [place is not None and any(overlap(wanted, place) for wanted in places) for place in cited]
        found[PLACES] = {"right place": sum(meets) / len(citations)}
        ratios = [ratio for wanted in places if (ratio := _best_ratio(wanted, cited)) is not None]
        if ratios:
            found[_extent(places[0])] = {"IoU": max(ratios)}
    return found


def _best_ratio(wanted: Locator, cited: Sequence[Locator | None]) -> float | None:
    ratios = [overlap_ratio(wanted, place) if place else 0.0 for place in cited]
    return None if None in ratios else max(ratio or 0.0 for ratio in ratios)


def _extent(place: Locator) -> str:
    return TIMES if isinstance(place, TimeSpan) else SPANS if isinstance(place, CharSpan) else BOXES
