"""The results of an evaluation as plain values: rankings, rows of estimates, failures and differences."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rag.evaluation.metrics import Estimate, bootstrap, first_rank, gaps, intervals, permutation_test, scores
from rag.evaluation.retrieval_sets import Item

if TYPE_CHECKING:
    from rag.evaluation.answer_results import AnswerFindings
    from rag.evaluation.corrupted_answers import CheckedClaim

PLAIN = ""  # the variant without a perturbation
DECLINED = "share"  # the only metric of rows that count declined questions
_FAILURES = 12  # shown for each direction
SHOWN = 3  # shown of the hits of a query and of its expected items


@dataclass(frozen=True)
class EvalOptions:
    """How to measure.

    Attributes:
        ks: cut-offs of rankings, ascending.
        robust: whether to measure under every variant of `rag.evaluation.perturb`.
        seed: seed of all random choices.
    """

    ks: tuple[int, ...] = (1, 5, 10)
    robust: bool = False
    seed: int = 0


@dataclass(frozen=True)
class JudgedQuery:
    """One query with its ranking, the expected items, its scores, and by id the reasons for some ranks."""

    query: Item
    ranking: Sequence[Item]
    expected: Sequence[Item]
    scores: Mapping[str, float]
    rank: int | None
    why: Mapping[str, str]

    def missed(self, k: int) -> bool:
        """Return whether no expected item is among the first `k`."""
        return self.rank is None or self.rank > k


@dataclass(frozen=True)
class Trial:
    """All queries of one direction under one configuration and variant.

    Attributes:
        direction: its name.
        run: the configuration, A or B; empty if there is only one.
        variant: the perturbation of media or questions; empty for none.
        judged: its queries, in the order of the set.
    """

    direction: str
    run: str
    variant: str
    judged: Sequence[JudgedQuery]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """Estimates over some queries of a trial.

    Attributes:
        slice: their kind; empty for all queries.
        queries: their number.
        metrics: estimates by name.
    """

    direction: str
    run: str
    variant: str
    slice: str
    queries: int
    metrics: Mapping[str, Estimate]

    @property
    def is_declined_share(self) -> bool:
        """Whether the row holds the share of declined questions instead of the scores of rankings."""
        return DECLINED in self.metrics


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A on the same queries, with the p-value of a paired permutation test."""

    direction: str
    variant: str
    slice: str
    metric: str
    a: float
    b: float
    gain: Estimate
    p_value: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A query that failed: the expected items, the first hits, the rank of the first expected item, and the reasons."""

    direction: str
    query: Item
    expected: tuple[Item, ...]
    first: tuple[Item, ...]
    rank: int | None
    why: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ChannelDistributions:
    """The scores of a channel for unrelated queries, and its scores for files that answer.

    Attributes:
        channel: its name.
        unrelated: its best scores for questions and pictures that are unrelated to the collection.
        right: by question, its best score of a file that answers, if it found one.
    """

    channel: str
    unrelated: Sequence[float]
    right: Sequence[float]

    @property
    def middle(self) -> float:
        """The median of the unrelated scores; there, `rag.retrieval.fusion.Calibration` gives a confidence of 0.5."""
        return statistics.median(self.unrelated)

    @property
    def above(self) -> float:
        """The chance that a right score is above an unrelated one: the area under the ROC curve."""
        pairs = [(r, u) for r in self.right for u in self.unrelated]
        return sum(1.0 if r > u else 0.5 * (r == u) for r, u in pairs) / len(pairs)


@dataclass(frozen=True)
class Evaluation:
    """A whole evaluation.

    Attributes:
        name: of the set.
        about: what the set is.
        configuration: the encoders or settings; under A and B if two were compared.
        ks: cut-offs of rankings.
        rows: estimates.
        gaps: by kind, estimates of how much better its queries score than all others.
        differences: between A and B.
        failures: a random sample of each direction.
        channels: the scores of the channels of a knowledge base.
        answers: what was asked and answered, if answers were measured; the rows then hold their measures.
        checked: statements as they were and altered, each with its verdict, if the checks were measured.
        notes: caveats for the reader.
        seconds: its duration.
    """

    name: str
    about: str
    configuration: Mapping[str, str]
    ks: tuple[int, ...]
    rows: tuple[ScoreRow, ...]
    gaps: tuple[ScoreRow, ...] = ()
    differences: tuple[Difference, ...] = ()
    failures: tuple[Failure, ...] = ()
    channels: tuple[ChannelDistributions, ...] = ()
    answers: AnswerFindings | None = None
    checked: tuple[CheckedClaim, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)


def judge(
    query: Item,
    ranking: Sequence[Item],
    expected: Sequence[Item],
    ks: Sequence[int],
    why: Mapping[str, str],
) -> JudgedQuery:
    """Score one ranking; `why` gives the reasons for some ranks by id."""
    ids, relevant = [item.id for item in ranking], {item.id for item in expected}
    return JudgedQuery(query, ranking, expected, scores(ids, relevant, ks), first_rank(ids, relevant), why)


def assemble(name: str, about: str, trials: Sequence[Trial], options: EvalOptions) -> Evaluation:
    """Combine trials to rows, gaps between kinds, differences of A and B, and failures of the last configuration."""
    a, b = ({(t.direction, t.variant): t for t in trials if t.run == run} for run in ("A", "B"))
    shown = list(b.values()) or trials
    return Evaluation(
        name=name,
        about=about,
        configuration={},
        ks=options.ks,
        rows=tuple(row for trial in trials for row in rows(trial, options.seed)),
        gaps=tuple(row for trial in trials for row in kind_gaps(trial, options.seed)),
        differences=tuple(d for key in a if key in b for d in differences(a[key], b[key], options.ks, options.seed)),
        failures=tuple(f for t in shown if t.variant == PLAIN for f in failures(t, options.ks, options.seed)),
    )


def rows(trial: Trial, seed: int) -> list[ScoreRow]:
    """Return the estimates of a trial over all queries, and over each slice if there are several."""
    return [_row(trial, name, part, seed) for name, part in _slices(trial)]


def _slices(trial: Trial) -> Iterator[tuple[str, Sequence[JudgedQuery]]]:
    """Yield all queries of a trial, then those of each slice; queries of unknown kind are in no slice."""
    yield "", trial.judged
    slices = {one.query.slice for one in trial.judged}
    if len(slices) > 1:
        for name in sorted(slices - {""}):
            yield name, [one for one in trial.judged if one.query.slice == name]


def _row(trial: Trial, name: str, part: Sequence[JudgedQuery], seed: int) -> ScoreRow:
    metrics = intervals(_table(part), clusters=_clusters(part), seed=seed)
    return ScoreRow(trial.direction, trial.run, trial.variant, name, len(part), metrics)


def kind_gaps(trial: Trial, seed: int) -> list[ScoreRow]:
    """Return the difference between each slice and all others; of two slices only one, as the other is its negative.

    A side with a single cluster cannot be resampled, so it has no gap.
    """
    made = []
    slices = list(_slices(trial))[1:]
    is_pair = len({one.query.slice for one in trial.judged}) == 2
    for name, part in slices[:1] if is_pair else slices:
        inside = [one.query.slice == name for one in trial.judged]
        rest = [one for one in trial.judged if one.query.slice != name]
        if min(len(set(_clusters(side))) for side in (part, rest)) > 1:
            found = gaps(_table(trial.judged), inside, clusters=_clusters(trial.judged), seed=seed)
            made.append(ScoreRow(trial.direction, trial.run, trial.variant, name, len(part), found))
    return made


def _table(part: Sequence[JudgedQuery]) -> dict[str, list[float]]:
    return {metric: [one.scores[metric] for one in part] for metric in part[0].scores}


def differences(a: Trial, b: Trial, ks: Sequence[int], seed: int) -> list[Difference]:
    """Return B minus A for hit at each k, nDCG at the last k and MRR, over all queries and over each slice.

    Raises:
        ValueError: the trials have different queries.
    """
    if [one.query.id for one in a.judged] != [one.query.id for one in b.judged]:
        raise ValueError(f"the trials of {a.direction} have different queries")
    metrics = (*(f"hit@{k}" for k in ks), f"ndcg@{ks[-1]}", "mrr")
    pairs = zip(_slices(a), _slices(b), strict=True)
    return [_difference(a, name, metric, x, y, seed) for (name, x), (_, y) in pairs for metric in metrics]


def _difference(
    trial: Trial, name: str, metric: str, a: Sequence[JudgedQuery], b: Sequence[JudgedQuery], seed: int
) -> Difference:
    before, after = ([one.scores[metric] for one in side] for side in (a, b))
    one = paired_difference(trial.direction, name, metric, before, after, clusters=_clusters(a), seed=seed)
    return replace(one, variant=trial.variant)


def paired_difference(
    direction: str,
    part: str,
    metric: str,
    before: Sequence[float],
    after: Sequence[float],
    *,
    clusters: Sequence[str],
    seed: int,
) -> Difference:
    """Return the difference of the scores of the same queries, with its interval and the p-value of a paired test."""
    gains = [y - x for x, y in zip(before, after, strict=True)]
    gain = bootstrap(gains, clusters=clusters, seed=seed)
    p_value = permutation_test(gains, clusters=clusters, seed=seed)
    a, b = (sum(side) / len(gains) for side in (before, after))
    return Difference(direction, PLAIN, part, metric, a, b, gain, p_value)


def failures(trial: Trial, ks: Sequence[int], seed: int) -> list[Failure]:
    """Return a random sample of the queries without an expected item among the last k, the worst first."""
    missed = [one for one in trial.judged if one.missed(ks[-1])]
    sample = random.Random(seed).sample(missed, min(len(missed), _FAILURES))
    sample.sort(key=lambda one: -(one.rank or len(one.ranking) + 1))
    return [
        Failure(trial.direction, one.query, tuple(one.expected[:SHOWN]), tuple(one.ranking[:SHOWN]), one.rank, one.why)
        for one in sample
    ]


def _clusters(part: Sequence[JudgedQuery]) -> list[str]:
    return [one.query.cluster or one.query.family or one.query.id for one in part]
