"""Fuse the rankings of several channels into one: pure functions over plain values.

Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009) sums 1 / (60 + rank) over the channels. That is
unfair across media: one channel can find a frame without words, two can find a passage. Ranks also say nothing about
fit: the nearest photo has rank 1 even when no photo answers the question, and an outstanding first hit is as far from
the second as any other. Hence four changes:

- A channel that cannot see a candidate abstains.
- A score is read against what the same channel gives to questions that the collection cannot answer.
- A score also counts by how near it comes to the best score of its channel.
- Channels that look at the same thing are averaged to a view. One view is enough for a candidate; further views that
  agree count half.

Measured on a textbook, its captioned figures, and 421 photos without words that the image encoder was not trained on
(2,220, 328 and 421 segments; bundled encoders), in one ranking over everything: recall at 1/5/10 in per cent. Queries
are half the words of a sentence, half the words of a caption, and the first sentence of a photo's alternative text
(`python -m tests.measure.fusion`):

=================  ============  ============  ============
ranking            passage       figure        photo
=================  ============  ============  ============
text channel       34 / 61 / 70  43 / 66 / 73   0 /  0 /  0
joint channel       0 /  0 /  0  13 / 26 / 36  26 / 57 / 69
reciprocal ranks   31 / 73 / 84  65 / 84 / 88   0 /  0 /  0
this one           56 / 76 / 82  65 / 82 / 85  18 / 48 / 61
without bm25       32 / 57 / 65  50 / 66 / 70  13 / 42 / 57
=================  ============  ============  ============
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
Group = TypeVar("Group", bound=Hashable)
Vector = NDArray[np.float32]

# Deviations below the median null score at which a score counts as zero.
_ZERO_BELOW = 2.0
_UNWANTED_SHARE = 0.5  # of an unwanted vector; with all of it, the other sides of a picture would go, too
_MIN_LENGTH = 0.05  # of a difference of unit vectors; a shorter one is meaningless
_AGREEMENT = 0.5  # share that further views count; at 1, photos without words fall behind photos with words
_REPEAT_FACTOR = 0.8  # of the score, for each further item of a group
_QUARTILES_PER_DEVIATION = 1.349  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Calibration:
    """The median and deviation of a channel's best scores for questions that the collection cannot answer."""

    middle: float
    deviation: float

    def confidence(self, score: float) -> float:
        """Return the confidence in a score, in [0, 1]: 0.5 at the median, 0.88 four deviations above it."""
        steps = (score - self.middle) / (2 * self.deviation)
        return 1 / (1 + math.exp(-min(max(steps, -30.0), 30.0)))


@dataclass(frozen=True, slots=True)
class Ranking:
    """The results of one channel.

    Attributes:
        view: what the channel looks at; channels of the same view are averaged.
        scores: ids and scores, best first, each id at most once.
        weight: weight of the channel within its view.
        calibration: how to read the scores; None if the scores are confidences in [0, 1] already.
        trust: upper limit of the confidence; below 1, so that hits that two views agree on rank before hits that one
            view is sure of.
        part: the query part that it answers; agreement of several parts counts in full.
    """

    view: str
    scores: Sequence[tuple[str, float]]
    weight: float = 1.0
    calibration: Calibration | None = None
    trust: float = 0.9
    part: int = 0

    def confidence(self, score: float) -> float:
        """Return the confidence in one of its scores, in [0, 1]."""
        return self.calibration.confidence(score) if self.calibration else min(max(score, 0.0), 1.0)

    def share(self, score: float) -> float:
        """Return how near one of its scores comes to its best, in [0, 1]."""
        zero = self.calibration.middle - _ZERO_BELOW * self.calibration.deviation if self.calibration else 0.0
        best = self.scores[0][1] - zero
        return min(max((score - zero) / best, 0.0), 1.0) if best > 0 else 1.0


def calibrate(best_scores: Sequence[float], least_deviation: float) -> Calibration:
    """Estimate a calibration from the best scores of at least two unanswerable questions; robust to answerable ones."""
    lower, middle, upper = statistics.quantiles(best_scores, n=4)
    return Calibration(middle, max((upper - lower) / _QUARTILES_PER_DEVIATION, least_deviation))


def calibrate_best_of(calibration: Calibration, queries: Sequence[Vector]) -> Calibration:
    """Adjust a channel's calibration for several queries of which the best score counts.

    The best of n normal scores with correlation r lies sqrt(1 - r) E[max of n] deviations above the median of one. The
    mean cosine of the queries stands for r; E[max of n] is about the quantile of (n - 3/8) / (n + 1/4) (Blom 1958).
    Predicted and measured on the demo's pictures, in deviations: 0.6 and 0.9 for two unrelated sentences and their
    whole, 1.1 and 1.5 for four and theirs, 0.1 and 0.1 for four crops of one photo.

    Args:
        calibration: the channel's calibration for a single query.
        queries: unit vectors (dimensions,), at least one.
    """
    n, matrix = len(queries), np.stack(queries)
    alike = float((matrix @ matrix.T).sum() - n) / max(n * (n - 1), 1)
    best = statistics.NormalDist().inv_cdf((n - 3 / 8) / (n + 1 / 4))
    raised = math.sqrt(1 - min(max(alike, 0.0), 1.0)) * best * calibration.deviation
    return replace(calibration, middle=calibration.middle + raised)


def fuse(rankings: Mapping[str, Ranking], *, sees: Callable[[str, str], bool]) -> list[tuple[str, float]]:
    """Fuse the rankings of all channels.

    A view's score is the weighted mean over its channels that can see the candidate: trust * confidence * share, and 0
    for a channel that could see it and did not find it. Views add up as probabilities do, but all views after the best
    one of a part count half, because they often err together: 1 - (1 - a) sqrt(1 - b).

    Args:
        rankings: ranking by channel.
        sees: whether a channel can find an id at all.

    Returns:
        Ids and scores in [0, 1], best first; ties in the order of the ids.
    """
    scored = [(key, _score(key, votes, rankings, sees)) for key, votes in _votes(rankings, compared=True).items()]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))


def score_negatives(rankings: Mapping[str, Ranking], *, sees: Callable[[str, str], bool]) -> dict[str, float]:
    """Score how well each id fits the negatives, in [0, 1]: like `fuse`, but not compared with the channel's best.

    Args:
        rankings: ranking of the negatives by channel.
        sees: whether a channel can find an id at all.
    """
    votes_by_id = _votes(rankings, compared=False)
    return {key: _score(key, votes, rankings, sees) for key, votes in votes_by_id.items()}


def apply_negatives(fused: Iterable[tuple[str, float]], against: Mapping[str, float]) -> list[tuple[str, float]]:
    """Multiply each score by the probability that the id is not unwanted, score * (1 - against); best first.

    An id that fits the negatives better than the query falls below 1/4: s (1 - a) < s (1 - s) where a > s.
    """
    scored = [(key, score * (1 - against.get(key, 0.0))) for key, score in fused]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))


def combine_vectors(
    wanted: Sequence[tuple[Vector, float]], unwanted: Sequence[tuple[Vector, float]] = ()
) -> Vector | None:
    """Combine several vectors into one to search with: the weighted sum of the wanted less half of the unwanted.

    Args:
        wanted: unit vectors (dimensions,) of one space with weights above 0.
        unwanted: the same.

    Returns:
        A unit vector; None if nothing is left, as of a picture less itself.
    """
    total = np.sum([weight * vector for vector, weight in wanted], axis=0) / sum(weight for _, weight in wanted)
    for vector, weight in unwanted:
        total = total - _UNWANTED_SHARE * weight * vector
    length = float(np.linalg.norm(total))
    if length < _MIN_LENGTH:
        return None
    direction: Vector = (total / length).astype(np.float32)
    return direction


def merge_best(
    rankings: Sequence[Sequence[tuple[Item, float]]], key: Callable[[Item], Hashable]
) -> list[tuple[Item, float]]:
    """Merge several rankings of one channel, as of a video's frames; each item keeps its best score."""
    best: dict[Hashable, tuple[Item, float]] = {}
    for item, score in (pair for ranking in rankings for pair in ranking):
        name = key(item)
        if name not in best or score > best[name][1]:
            best[name] = (item, score)
    return sorted(best.values(), key=lambda pair: -pair[1])


def apply_quotas(
    items: Sequence[Item], group: Callable[[Item], Group], quotas: Mapping[Group, int], most: int
) -> list[Item]:
    """Return the best `most` items, filling each group's quota as far as possible and never exceeding it.

    Args:
        items: best first; their order is kept.
        group: returns the group of an item.
        quotas: places per group; groups without a quota share the rest.
        most: places in all; if the quotas exceed it, the better items get them.
    """
    counts: dict[Group, int] = {}
    chosen: list[int] = []
    for n, item in enumerate(items):
        name = group(item)
        if counts.get(name, 0) < quotas.get(name, 0):
            counts[name] = counts.get(name, 0) + 1
            chosen.append(n)
    free = [n for n, item in enumerate(items) if group(item) not in quotas][: max(most - len(chosen), 0)]
    return [items[n] for n in sorted([*chosen, *free])[:most]]


def defer_repeats(items: Iterable[Item], place: Callable[[Item], Hashable], *, most: int) -> list[Item]:
    """Move items beyond `most` of one place behind all others, keeping the order: no ten frames of one scene."""
    first: list[Item] = []
    later: list[Item] = []
    counts: dict[Hashable, int] = {}
    for item in items:
        key = place(item)
        counts[key] = counts.get(key, 0) + 1
        (first if counts[key] <= most else later).append(item)
    return first + later


def penalize_repeats(
    items: Iterable[Item], group: Callable[[Item], Hashable | None], score: Callable[[Item], float], *, most: int
) -> list[Item]:
    """Rerank so that items of one group, after the first `most`, count a fifth less each.

    A long scene gives fifty frames that fit equally well. Without the penalty they are the first ten hits. With it,
    anything else that fits a quarter as well ranks among them, and a single video among poor hits still fills the list.

    Args:
        items: best first.
        group: returns the group of an item; None for an item without a group.
        score: returns the score of an item, at least 0.
        most: items of one group that keep their whole score.
    """
    counts: dict[Hashable, int] = {}
    scored: list[tuple[float, Item]] = []
    for item in items:
        key = group(item)
        counts[key] = counts.get(key, 0) + 1
        further = 0 if key is None else max(counts[key] - most, 0)
        scored.append((score(item) * _REPEAT_FACTOR**further, item))
    return [item for _, item in sorted(scored, key=lambda pair: -pair[0])]


def _votes(rankings: Mapping[str, Ranking], *, compared: bool) -> dict[str, dict[str, float]]:
    """Return the votes of the channels for each id, in [0, 1]; `compared` scales them by the channel's best score."""
    votes: dict[str, dict[str, float]] = {}
    for channel, ranking in rankings.items():
        for key, score in ranking.scores:
            share = ranking.share(score) if compared else 1.0
            votes.setdefault(key, {})[channel] = ranking.trust * ranking.confidence(score) * share
    return votes


def _score(
    key: str, votes: Mapping[str, float], rankings: Mapping[str, Ranking], sees: Callable[[str, str], bool]
) -> float:
    parts: dict[int, dict[str, list[tuple[float, float]]]] = {}
    for channel in sorted(rankings):
        if channel in votes or sees(channel, key):
            ranking = rankings[channel]
            views = parts.setdefault(ranking.part, {})
            views.setdefault(ranking.view, []).append((ranking.weight, votes.get(channel, 0.0)))
    return 1 - math.prod(1 - _combine_views(views.values()) for views in parts.values())


def _combine_views(views: Iterable[Sequence[tuple[float, float]]]) -> float:
    """Combine the views of one query part; a view is the weights and votes of its channels."""
    means = [sum(w * vote for w, vote in channels) / sum(w for w, _ in channels) for channels in views]
    first, *others = sorted(means, reverse=True)
    return 1 - (1 - first) * math.prod(1 - mean for mean in others) ** _AGREEMENT
