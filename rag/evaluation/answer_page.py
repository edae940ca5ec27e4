"""Answers as the page of an evaluation shows them: coverage-risk curves as plots, and samples with their citations."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag.evaluation.answer_metrics import RiskCurve
from rag.evaluation.answer_results import AnswerFindings, CostRow
from rag.evaluation.answer_runs import CitationRecord
from rag.evaluation.graded_answers import GradedAnswer
from rag.evaluation.report_cards import ReportCard, place_card
from rag.segments import from_fragment

_SHOWN = 12  # answers of each kind
_PLOT_PX = (320, 120)
_TARGET = 0.05  # share of wrong answers that the plot marks


@dataclass(frozen=True, slots=True)
class RiskPlot:
    """A coverage-risk curve in a box of 320 by 120.

    Attributes:
        curve: its values.
        points: of the line, for SVG.
        top: the risk at the upper end of the axis.
        target: height of the line of 5 % wrong answers.
        within: the share of questions that can be answered below it.
    """

    curve: RiskCurve
    points: str
    top: float
    target: float
    within: float


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """An answer as the page shows it: the question, what is expected, and each citation with its verdict."""

    answer: GradedAnswer
    expected: str
    cited: tuple[tuple[CitationRecord, str, ReportCard], ...]


@dataclass(frozen=True, slots=True)
class ShownAnswers:
    """What the page shows of answers."""

    plots: tuple[RiskPlot, ...]
    costs: tuple[CostRow, ...]
    samples: tuple[tuple[str, int, tuple[ShownAnswer, ...]], ...]


def answers_shown(findings: AnswerFindings, seed: int = 0) -> ShownAnswers:
    """Return what the page shows: a random sample of each kind of outcome."""
    samples = [
        (title, len(held), tuple(_shown(one) for one in random.Random(seed).sample(held, min(len(held), _SHOWN))))
        for title, held in _by_outcome(findings.graded)
    ]
    return ShownAnswers(tuple(_plot(curve) for curve in findings.curves), findings.costs, tuple(samples))


def _by_outcome(graded: Sequence[GradedAnswer]) -> Iterator[tuple[str, list[GradedAnswer]]]:
    outcomes = (
        ("Answered wrongly", True, "wrong"),
        ("Answered, though nothing answers it", False, "wrong"),
        ("Declined, though something answers it", True, "declined"),
        ("Answered in part", True, "partly"),
        ("Answered right", True, "right"),
        ("Declined rightly", False, "declined"),
    )
    for title, answerable, grade in outcomes:
        if held := [one for one in graded if (one.question.answerable, one.final_grade) == (answerable, grade)]:
            yield title, held


def _shown(one: GradedAnswer) -> ShownAnswer:
    question = one.question
    files = ", ".join(f"{asset}{place}" for asset in question.assets for place in (question.locators or ("",)))
    expected = " · ".join(filter(None, ("; ".join(question.answer), files))) if question.answerable else "no answer"
    cited = tuple((each, _title(each), _card(each)) for each in one.record.citations)
    return ShownAnswer(one, expected, cited)


def _title(citation: CitationRecord) -> str:
    name = "/".join(Path(citation.path).parts[-2:])  # the files of a book may all have one name
    return f"{name}#{citation.place}".removesuffix("#")


def _card(citation: CitationRecord) -> ReportCard:
    return place_card(Path(citation.path), from_fragment(citation.place), citation.quote, citation.reason)


def _plot(curve: RiskCurve) -> RiskPlot:
    width, height = _PLOT_PX
    top = max(*curve.risk, 2 * _TARGET)
    pairs = zip(curve.coverage, curve.risk, strict=True)
    points = " ".join(f"{width * coverage:.1f},{height * (1 - risk / top):.1f}" for coverage, risk in pairs)
    return RiskPlot(curve, points, top, height * (1 - _TARGET / top), curve.coverage_within(_TARGET))
