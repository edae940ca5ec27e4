"""Rankings of different lanes to one ranking; pure functions over plain values.

Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009) sums 1 / (k + rank) over lanes. Across modalities
that is unfair: a frame without words can only be found by one lane, a caption by three. Here a lane that cannot see a
candidate abstains: the sum is divided by the weight of the lanes that could have seen it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

K = 60  # of the paper; a rank of 60 counts half as much as the first
_UNRANKED = 0.0


def fuse(
    rankings: Mapping[str, Sequence[Key]],
    *,
    sees: Callable[[str, Key], bool],
    weights: Mapping[str, float] | None = None,
) -> list[tuple[Key, float]]:
    """Fuse rankings, best first, by the weighted mean of 1 / (K + rank) over the lanes that can see each candidate.

    Args:
        rankings: candidates of each lane, best first, each at most once in a lane.
        sees: whether a lane could have ranked a candidate at all; where it could and did not, it votes 0.
        weights: weight of a lane, 1 where none is given.

    Returns:
        Candidates with scores in (0, 1 / (K + 1)]; equal scores keep the order in which candidates first appear.
    """
    weights = weights or {}
    votes: dict[Key, dict[str, float]] = {}
    for lane, ranking in rankings.items():
        for rank, key in enumerate(ranking, 1):
            votes.setdefault(key, {})[lane] = 1 / (K + rank)
    scored = []
    for key, given in votes.items():
        able = {lane: weights.get(lane, 1.0) for lane in rankings if lane in given or sees(lane, key)}
        total = sum(weight * given.get(lane, _UNRANKED) for lane, weight in able.items())
        scored.append((key, total / sum(able.values())))
    return sorted(scored, key=lambda pair: -pair[1])


def spread(items: Iterable[Item], group: Callable[[Item], Hashable], *, most: int) -> list[Item]:
    """Move what exceeds `most` items of one group behind the others, keeping order: no ten frames of one scene."""
    kept: list[Item] = []
    later: list[Item] = []
    seen: dict[Hashable, int] = {}
    for item in items:
        key = group(item)
        seen[key] = seen.get(key, 0) + 1
        (kept if seen[key] <= most else later).append(item)
    return kept + later
