"""Rankings of different lanes to one ranking; pure functions over plain values.

Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009) sums 1 / (K + rank) over lanes, which is unfair where
media differ: a frame without words can be found by one lane, a passage by two. And ranks alone say nothing about fit: a
collection's nearest photo has rank 1 for a question that no photo answers. Hence three changes. A lane that cannot see
a candidate abstains. A rank counts by how far its score stands above what the same lane gives to questions that the
collection cannot answer. Lanes that look at the same thing are averaged to a view, and a candidate needs only one view.

On a textbook with its figures and 500 photos without captions (2,220, 328 and 500 segments; the bundled encoders), one
ranking over everything, recall at 1/5/10 in per cent:

=========================================  ==================  ===================  =======================
fusion                                     sentence > passage  alt text > figure    caption > photo
=========================================  ==================  ===================  =======================
each lane alone: text                      20 / 40 / 49        50 / 69 / 75         blind
each lane alone: joint                     blind               12 / 27 / 34         10 / 23 / 35
reciprocal ranks, summed                   18 / 45 / 54        50 / 77 / 81         0 / 0 / 5
mean over the lanes that see, K 60         15 / 37 / 48        12 / 32 / 55         11 / 26 / 35
this one                                   21 / 45 / 55        56 / 77 / 83         8 / 22 / 32
=========================================  ==================  ===================  =======================
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

K = 60  # of the paper
_QUARTILES_PER_DEVIATION = 1.349  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a lane's best score is for questions that the collection cannot answer: the middle, and the deviation."""

    middle: float
    deviation: float

    def trust(self, score: float) -> float:
        """How far a score can be believed, in [0, 1]: half at the middle, 0.88 four deviations above it."""
        steps = (score - self.middle) / (2 * self.deviation)
        return 1 / (1 + math.exp(-min(max(steps, -30.0), 30.0)))


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one lane found.

    Attributes:
        view: what it looks at; lanes of the same view are averaged.
        found: ids and scores, best first, each id at most once.
        weight: its share of its view.
        calibration: how to read its scores; None where a score in [0, 1] itself says how far it can be believed.
        trust: the most that this lane is believed; below 1, so that what two views agree on comes before what one is
            sure of.
    """

    view: str
    found: Sequence[tuple[str, float]]
    weight: float = 1.0
    calibration: Calibration | None = None
    trust: float = 0.9


def calibrate(best_scores: Sequence[float], least_deviation: float) -> Calibration:
    """Calibration from the best scores of at least two unanswerable questions; robust to some that were answerable."""
    lower, middle, upper = statistics.quantiles(best_scores, n=4)
    return Calibration(middle, max((upper - lower) / _QUARTILES_PER_DEVIATION, least_deviation))


def fuse(rankings: Mapping[str, Ranking], *, sees: Callable[[str, str], bool]) -> list[tuple[str, float]]:
    """Fuse the rankings of lanes.

    A view's score is the mean, by weight, over its lanes that can see the candidate: trust * (K + 1) / (K + rank), and
    0 for a lane that could see it and did not find it. Views add up as chances do: 1 - (1 - a)(1 - b).

    Args:
        rankings: what each lane found.
        sees: whether a lane could have found an id at all.

    Returns:
        Ids and scores in [0, 1], best first; equal scores in the order of their ids.
    """
    votes: dict[str, dict[str, float]] = {}
    for lane, ranking in rankings.items():
        for rank, (key, score) in enumerate(ranking.found, 1):
            believed = ranking.calibration.trust(score) if ranking.calibration else min(max(score, 0.0), 1.0)
            votes.setdefault(key, {})[lane] = ranking.trust * believed * (K + 1) / (K + rank)
    scored = [(key, _score(key, given, rankings, sees)) for key, given in votes.items()]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))


def collapse(items: Iterable[Item], place: Callable[[Item], Hashable], *, most: int) -> list[Item]:
    """Move what exceeds `most` items of one place behind the others, keeping order: no ten frames of one scene."""
    kept: list[Item] = []
    later: list[Item] = []
    seen: dict[Hashable, int] = {}
    for item in items:
        key = place(item)
        seen[key] = seen.get(key, 0) + 1
        (kept if seen[key] <= most else later).append(item)
    return kept + later


def _score(
    key: str, given: Mapping[str, float], rankings: Mapping[str, Ranking], sees: Callable[[str, str], bool]
) -> float:
    views: dict[str, list[tuple[float, float]]] = {}
    for lane in sorted(rankings):
        if lane in given or sees(lane, key):
            ranking = rankings[lane]
            views.setdefault(ranking.view, []).append((ranking.weight, given.get(lane, 0.0)))
    means = [sum(w * vote for w, vote in lanes) / sum(w for w, _ in lanes) for _, lanes in sorted(views.items())]
    return 1 - math.prod(1 - mean for mean in means)
