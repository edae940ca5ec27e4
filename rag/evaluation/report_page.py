"""An evaluation as one self-contained HTML page: estimates as bars, channels as histograms, misses as pictures.

Captions, questions and names of files are untrusted: the template escapes all of them, and the page runs no script.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from rag.evaluation.answer_page import answers_shown
from rag.evaluation.metrics import Estimate
from rag.evaluation.report_cards import ReportCard, card
from rag.evaluation.results import DECLINED, PLAIN, ChannelDistributions, Difference, Evaluation, Failure, ScoreRow
from rag.presentation.templates import load_template

_HERE = Path(__file__).parent
_BINS, _PLOT_PX = 24, (320, 120)


@dataclass(frozen=True, slots=True)
class Miss:
    """A failure as the page shows it."""

    query: ReportCard
    expected: tuple[ReportCard, ...]
    first: tuple[ReportCard, ...]
    rank: int | None


@dataclass(frozen=True, slots=True)
class ReportLine:
    """A row of the table: label, number of queries, and an estimate for each column."""

    label: str
    is_part: bool
    queries: int
    estimates: tuple[Estimate | None, ...]


@dataclass(frozen=True, slots=True)
class HistogramPlot:
    """Two histograms of one channel: scores of expected files upwards, null scores downwards.

    Attributes:
        scores: the scores of the channel.
        low, high: ends of the axis.
        bars: left, top, width, height and class of each bar, in a box of 320 by 120.
        middle: position of the score whose confidence is 0.5.
    """

    scores: ChannelDistributions
    low: float
    high: float
    bars: tuple[tuple[float, float, float, float, str], ...]
    middle: float


def columns(evaluation: Evaluation) -> list[str]:
    """Return the metrics of the columns; if queries have several expected items, hits and only the last recall."""
    rows = [row for row in evaluation.rows if not row.is_declined_share]
    recalls, hits = ([f"{name}@{k}" for k in evaluation.ks] for name in ("recall", "hit"))
    differ = any(row.metrics[a].mean != row.metrics[b].mean for row in rows for a, b in zip(recalls, hits, strict=True))
    return [*((*hits, recalls[-1]) if differ else recalls), f"ndcg@{evaluation.ks[-1]}", "mrr"]


def tables(evaluation: Evaluation) -> list[tuple[list[str], list[ScoreRow]]]:
    """Return the columns and rows of each table: one of all rankings, or one of each group of other measures."""
    rows = [row for row in evaluation.rows if not row.is_declined_share]
    if evaluation.ks:
        return [(columns(evaluation), rows)]
    return [(list(names), list(group)) for names, group in groupby(rows, lambda row: tuple(row.metrics))]


def label(row: ScoreRow | Difference) -> str:
    """Return the label of a row."""
    parts = (row.run if isinstance(row, ScoreRow) else "", row.direction, row.variant, row.slice)
    return " · ".join(part for part in parts if part)


def page(evaluation: Evaluation) -> str:
    """Return the page; a file that has gone is shown by its words."""
    names = columns(evaluation) if evaluation.ks else []
    return load_template(_HERE / "report.html").render(
        evaluation=evaluation,
        columns=names,
        tables=[(shown, list(_lines(rows, shown))) for shown, rows in tables(evaluation)],
        answers=None if evaluation.answers is None else answers_shown(evaluation.answers),
        declined=[
            (row.run, row.slice, row.queries, row.metrics[DECLINED]) for row in evaluation.rows if row.is_declined_share
        ],
        gaps=list(_lines(evaluation.gaps, names)),
        differences=[(label(one), one) for one in evaluation.differences],
        plots=[_plot(channel) for channel in evaluation.channels],
        misses=list(_misses(evaluation.failures)),
        style=(_HERE / "report.css").read_text(encoding="utf-8"),
    )


def _lines(rows: Sequence[ScoreRow], names: Sequence[str]) -> Iterator[ReportLine]:
    for row in rows:
        is_part = bool(row.slice) or row.variant != PLAIN
        yield ReportLine(label(row), is_part, row.queries, tuple(row.metrics.get(name) for name in names))


def _plot(channel: ChannelDistributions) -> HistogramPlot:
    low, high = (end(*channel.unrelated, *channel.right) for end in (min, max))
    high = max(high, low + 1e-6)
    shares = [
        [count / len(scores) for count in np.histogram(scores, _BINS, (low, high))[0]]
        for scores in (channel.right, channel.unrelated)
    ]
    scale, width = _PLOT_PX[1] / 2 / max(map(max, shares)), _PLOT_PX[0] / _BINS
    bars = [
        (n * width, _PLOT_PX[1] / 2 - upwards * share * scale, width - 1, share * scale, name)
        for side, upwards, name in zip(shares, (1, 0), ("is-right", "is-null"), strict=True)
        for n, share in enumerate(side)
        if share
    ]
    return HistogramPlot(channel, low, high, tuple(bars), (channel.middle - low) / (high - low) * _PLOT_PX[0])


def _misses(failures: Sequence[Failure]) -> Iterator[tuple[str, list[Miss]]]:
    """Yield the failures by direction, in their order."""
    for direction in dict.fromkeys(failure.direction for failure in failures):
        yield direction, [_miss(failure) for failure in failures if failure.direction == direction]


def _miss(failure: Failure) -> Miss:
    expected, first = (
        tuple(card(thing, failure.why.get(thing.id, "")) for thing in things)
        for things in (failure.expected, failure.first)
    )
    return Miss(card(failure.query), expected, first, failure.rank)
