"""A user's preference in pictures: one vector, learned from the pictures that the user chose. Pure functions.

The vector is the mean of the chosen pictures in the joint space. A search for the user multiplies the odds of each
picture, as the rules of `rag.retrieval.business_rules` do, by how far it lies from the mean of all pictures found
towards the user's mean. So a poor hit does not overtake a good one, and pictures that are all alike keep their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rag.encoders.base import Vectors
from rag.retrieval.business_rules import boost_hit
from rag.segments import segment_id
from rag.types import Hit

_MAX_BOOST = 3.0  # factor for the odds of the best fitting picture; the worst fitting one is divided by it
_HALF_WEIGHT_LIKES = 3  # likes with which a preference counts half as much as with very many
_MEMORY = 50  # likes in the moving average: preferences change
_ROUNDING = 1e-6  # differences of unit vectors below this are rounding errors


@dataclass(frozen=True, slots=True, eq=False)
class Preference:
    """What is stored of a user who consented; the chosen pictures themselves are not stored.

    Attributes:
        user: the app's id of the user.
        since: time of the consent, in seconds since 1970.
        likes: number of chosen pictures.
        mean: mean of their vectors, with newer ones counting more; (dimensions,), empty before the first.
    """

    user: str
    since: float
    likes: int
    mean: Vectors = field(repr=False)

    def with_likes(self, vectors: Vectors) -> Preference:
        """Return the preference after more likes: unit vectors (n, dimensions) of the chosen pictures."""
        mean, likes = self.mean if self.likes else np.zeros(vectors.shape[1], np.float32), self.likes
        for vector in vectors:
            likes += 1
            mean = mean + (vector - mean) / min(likes, _MEMORY)
        return replace(self, likes=likes, mean=mean)

    def boosts(self, vectors: Vectors) -> list[float]:
        """Return the factors, from 1/3 to 3, for the odds of pictures with these vectors (n, dimensions)."""
        offsets = vectors - vectors.mean(0)
        radius = float(np.linalg.norm(offsets, axis=1).max())
        direction = self.mean - vectors.mean(0)
        distance = float(np.linalg.norm(direction))
        if radius < _ROUNDING or distance < _ROUNDING:
            return [1.0] * len(vectors)
        weight = self.likes / (self.likes + _HALF_WEIGHT_LIKES)
        return [round(float(_MAX_BOOST ** (weight * share)), 2) for share in offsets @ (direction / distance) / radius]


def rank_by_preference(hits: Sequence[Hit], preference: Preference, vectors: Mapping[str, Vectors]) -> list[Hit]:
    """Boost the pictures that fit a preference and sort the hits by their new scores.

    Each boosted hit names the boost among its rules, under the label `taste`.

    Args:
        hits: the hits, in any order; hits without a vector keep their scores.
        preference: a preference with at least one like.
        vectors: vectors of pictures, by `rag.segments.segment_id`.
    """
    pictures = {
        n: key
        for n, hit in enumerate(hits)
        if hit.picture_segment and (key := segment_id(hit.picture_segment)) in vectors
    }
    if not pictures:
        return list(hits)
    factors = preference.boosts(np.stack([vectors[key] for key in pictures.values()]))
    boosts = dict(zip(pictures, factors, strict=True))
    changed = [boost_hit(hit, [("taste", boosts[n])]) if n in boosts else hit for n, hit in enumerate(hits)]
    return sorted(changed, key=lambda hit: -hit.score)
