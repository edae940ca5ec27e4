"""What somebody likes the look of: one vector, learned from pictures that they chose; pure functions.

It is the mean of what they chose in the joint space. A search for them multiplies the odds of a picture, as the rules
of `rag.retrieval.business_rules` do, by how far it lies from the middle of what else was found towards that mean:
what fits the question badly does not come before what fits it well, and among pictures that are all alike nothing
changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rag.encoders.base import Vectors
from rag.retrieval.business_rules import boost_hit
from rag.segments import segment_id
from rag.types import Hit

# What the picture that fits a taste best has its odds multiplied by, and the one that fits it least divided by.
_MOST = 3.0
# So many likes make a taste count half as much as very many do.
_HALF_SURE = 3
# Likes after which the newest counts as one of so many: tastes change.
_REMEMBERED = 50
_ALIKE = 1e-6  # differences of unit vectors below this are rounding


@dataclass(frozen=True, slots=True, eq=False)
class Preference:
    """What is kept of somebody who agreed to it; which pictures they chose is not.

    Attributes:
        user: as the app calls them.
        since: seconds since 1970 at which they agreed.
        likes: number of pictures that they chose.
        mean: of those pictures' vectors, newer ones counting more; (dimensions,), empty before the first.
    """

    user: str
    since: float
    likes: int
    mean: Vectors = field(repr=False)

    def with_likes(self, chosen: Vectors) -> Preference:
        """The taste with more pictures chosen: their vectors (n, dimensions) of unit length."""
        mean, likes = self.mean if self.likes else np.zeros(chosen.shape[1], np.float32), self.likes
        for vector in chosen:
            likes += 1
            mean = mean + (vector - mean) / min(likes, _REMEMBERED)
        return replace(self, likes=likes, mean=mean)

    def boosts(self, vectors: Vectors) -> list[float]:
        """What the odds of pictures with these vectors (n, dimensions) are multiplied by, from 1/3 to 3."""
        apart = vectors - vectors.mean(0)
        widest = float(np.linalg.norm(apart, axis=1).max())
        towards = self.mean - vectors.mean(0)
        far = float(np.linalg.norm(towards))
        if widest < _ALIKE or far < _ALIKE:
            return [1.0] * len(vectors)
        sure = self.likes / (self.likes + _HALF_SURE)
        return [round(float(_MOST ** (sure * share)), 2) for share in apart @ (towards / far) / widest]


def rank_by_preference(hits: Sequence[Hit], taste: Preference, vectors: Mapping[str, Vectors]) -> list[Hit]:
    """Hits in the order of their scores with a taste, which each picture names among its rules.

    Args:
        hits: in any order; what has no vector keeps its score.
        taste: with one like at least.
        vectors: of pictures, by `rag.segments.segment_id`.
    """
    seen = {n: key for n, hit in enumerate(hits) if hit.seen and (key := segment_id(hit.seen)) in vectors}
    if not seen:
        return list(hits)
    found = taste.boosts(np.stack([vectors[key] for key in seen.values()]))
    boosts = dict(zip(seen, found, strict=True))
    changed = [boost_hit(hit, [("taste", boosts[n])]) if n in boosts else hit for n, hit in enumerate(hits)]
    return sorted(changed, key=lambda hit: -hit.score)
