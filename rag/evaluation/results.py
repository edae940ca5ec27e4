"""What an evaluation finds: rankings, rows of estimates, failures, differences; plain values and how they add up."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rag.evaluation.metrics import Estimate, bootstrap, first_rank, gaps, intervals, permutation_test, scores
from rag.evaluation.retrieval_sets import Item

PLAIN = ""  # the name of what was not changed
_FAILURES = 12  # shown of each direction
SHOWN = 3  # of what was found for a query, and of what should have been


@dataclass(frozen=True)
class EvalOptions:
    """How to measure.

    Attributes:
        ks: where rankings are cut, ascending.
        robust: also measure under every variant of `rag.evaluation.perturb`.
        seed: of everything random.
    """

    ks: tuple[int, ...] = (1, 5, 10)
    robust: bool = False
    seed: int = 0


@dataclass(frozen=True)
class JudgedQuery:
    """One query, what was found for it, what should have been, its scores, and by id why some came where they did."""

    query: Item
    ranking: Sequence[Item]
    expected: Sequence[Item]
    scores: Mapping[str, float]
    rank: int | None
    why: Mapping[str, str]

    def missed(self, k: int) -> bool:
        """Whether nothing right is among the first `k`."""
        return self.rank is None or self.rank > k


@dataclass(frozen=True)
class Trial:
    """All queries of one direction under one configuration and variant.

    Attributes:
        direction: its name.
        run: the configuration, A or B; empty where there is but one.
        variant: what was done to the media or questions; empty for nothing.
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
        slice: their kind; empty for all of them.
        queries: how many they are.
        metrics: estimates by name.
    """

    direction: str
    run: str
    variant: str
    slice: str
    queries: int
    metrics: Mapping[str, Estimate]


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
    """A query that missed, what it should have found, what came first, the rank of the first right one, and why."""

    direction: str
    query: Item
    expected: tuple[Item, ...]
    first: tuple[Item, ...]
    rank: int | None
    why: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ChannelDistributions:
    """What a channel of a knowledge base says for nothing, and what it says of files that answer.

    Attributes:
        channel: its name.
        unrelated: its best scores for questions and pictures that the collection has nothing to do with.
        right: by question, its best score of a file that answers, where it found one.
    """

    channel: str
    unrelated: Sequence[float]
    right: Sequence[float]

    @property
    def middle(self) -> float:
        """The middle of what it says for nothing, where `rag.retrieval.fusion.Calibration` believes a score by half."""
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
        configuration: what made the vectors and hits; by A and B where two were compared.
        ks: where rankings were cut.
        rows: estimates.
        gaps: by kind, how much better its queries fare than those of all other kinds: estimates of differences.
        differences: between A and B.
        failures: a random sample of each direction's.
        channels: of a knowledge base, the scores of its channels.
        notes: what a reader must know.
        seconds: that it took.
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
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)


def judge(
    query: Item,
    ranking: Sequence[Item],
    expected: Sequence[Item],
    ks: Sequence[int],
    why: Mapping[str, str],
) -> JudgedQuery:
    """The scores of one ranking; things are told apart by id, by which `why` says why some came where they did."""
    ids, relevant = [thing.id for thing in ranking], {thing.id for thing in expected}
    return JudgedQuery(query, ranking, expected, scores(ids, relevant, ks), first_rank(ids, relevant), why)


def rows(trial: Trial, seed: int) -> list[ScoreRow]:
    """Estimates of a trial over all its queries, and over each slice where there are several."""
    return [_row(trial, name, part, seed) for name, part in _sliced(trial)]


def _sliced(trial: Trial) -> Iterator[tuple[str, Sequence[JudgedQuery]]]:
    """All queries of a trial, and those of each slice; what is of no known kind has none."""
    yield "", trial.judged
    slices = {one.query.slice for one in trial.judged}
    if len(slices) > 1:
        for name in sorted(slices - {""}):
            yield name, [one for one in trial.judged if one.query.slice == name]


def _row(trial: Trial, name: str, part: Sequence[JudgedQuery], seed: int) -> ScoreRow:
    metrics = intervals(_table(part), clusters=_clusters(part), seed=seed)
    return ScoreRow(trial.direction, trial.run, trial.variant, name, len(part), metrics)


def kind_gaps(trial: Trial, seed: int) -> list[ScoreRow]:
    """Each slice less all the others; of two, the first alone, since the other is its negative.

    Where either side is a single cluster there is nothing to resample, and no gap is told.
    """
    made = []
    slices = list(_sliced(trial))[1:]
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
    """B minus A for hit at each k, nDCG at the last, and MRR, over all queries and over each slice.

    Raises:
        ValueError: the trials have other queries.
    """
    if [one.query.id for one in a.judged] != [one.query.id for one in b.judged]:
        raise ValueError(f"the trials of {a.direction} have other queries")
    metrics = (*(f"hit@{k}" for k in ks), f"ndcg@{ks[-1]}", "mrr")
    pairs = zip(_sliced(a), _sliced(b), strict=True)
    return [_difference(a, name, metric, x, y, seed) for (name, x), (_, y) in pairs for metric in metrics]


def _difference(
    trial: Trial, name: str, metric: str, a: Sequence[JudgedQuery], b: Sequence[JudgedQuery], seed: int
) -> Difference:
    pairs = [(x.scores[metric], y.scores[metric]) for x, y in zip(a, b, strict=True)]
    gains, clusters = [y - x for x, y in pairs], _clusters(a)
    gain = bootstrap(gains, clusters=clusters, seed=seed)
    p_value = permutation_test(gains, clusters=clusters, seed=seed)
    before, after = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    return Difference(trial.direction, trial.variant, name, metric, before, after, gain, p_value)


def failures(trial: Trial, ks: Sequence[int], seed: int) -> list[Failure]:
    """A random sample of the queries that found nothing right among the last k, the worst first."""
    missed = [one for one in trial.judged if one.missed(ks[-1])]
    sample = random.Random(seed).sample(missed, min(len(missed), _FAILURES))
    sample.sort(key=lambda one: -(one.rank or len(one.ranking) + 1))
    return [
        Failure(trial.direction, one.query, tuple(one.expected[:SHOWN]), tuple(one.ranking[:SHOWN]), one.rank, one.why)
        for one in sample
    ]


def _clusters(part: Sequence[JudgedQuery]) -> list[str]:
    return [one.query.cluster or one.query.family or one.query.id for one in part]
