"""What a segment index is: one collection for all modalities, with three named vectors and filters in the store.

``joint`` holds pixels, or words where there are none, in the image-text encoder's space; ``text`` holds words in the
text encoder's space; ``bm25`` is sparse. A segment without words has no ``text`` and no ``bm25``, and the lanes over
those do not return it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from rag.encoders.base import ModelCard, Vectors
from rag.errors import EncoderMismatch, ModelError
from rag.types import Filter, Kind, Segment

DENSE: tuple[Literal["joint", "text"], ...] = ("joint", "text")


@dataclass(frozen=True, slots=True)
class IndexedSegment:
    """A segment with its unit vectors; None where it has no such vector."""

    segment: Segment
    joint: Vectors | None = None
    text: Vectors | None = None


@dataclass(frozen=True, slots=True)
class LaneQuery:
    """One ranking to make: by a dense vector, or by words for ``bm25``.

    Attributes:
        vector: the named vector to compare with.
        value: unit vector (dimensions,), or words for ``bm25``.
        depth: number of candidates.
        kinds: kinds of segments to rank, empty for all that have the vector.
    """

    vector: Literal["joint", "text", "bm25"]
    value: Vectors | str
    depth: int
    kinds: frozenset[Kind] = frozenset()


class SegmentIndex(Protocol):
    """Segments with their vectors; threads may share it.

    Every method raises IndexUnavailable when the store cannot be reached or is damaged: an outage is never an empty
    result.
    """

    def upsert(self, segments: Sequence[IndexedSegment]) -> None:
        """Write segments; raises ModelError, before anything is written, where a vector cannot be right."""

    def search(self, lanes: Sequence[LaneQuery], admitted: Filter) -> list[list[tuple[Segment, float]]]:
        """The ranking of each lane, best first, of the segments that the filter admits."""

    def segments_of(self, asset_id: str) -> list[Segment]:
        """All segments of an asset, in order."""

    def count(self, admitted: Filter) -> int:
        """Number of segments that the filter admits."""

    def delete_assets(self, asset_ids: Sequence[str]) -> None:
        """Delete all segments of these assets."""

    def flush(self) -> None:
        """Return once all that was written is safe on disk."""

    def close(self) -> None:
        """Flush, and let go of the store."""


def check_cards(stored: Mapping[str, ModelCard], given: Mapping[str, ModelCard]) -> None:
    """Refuse to open a collection with other encoders than it was built with.

    Raises:
        EncoderMismatch: a card differs; says which, and what to do.
    """
    for vector, built in stored.items():
        card = given[vector]
        if (card.name, card.revision, card.dimensions) != (built.name, built.revision, built.dimensions):
            raise EncoderMismatch(
                f"The `{vector}` vectors of this collection were made by `{built.name}` ({built.dimensions}-d, revision "
                f"{built.revision[:12]}), not by `{card.name}` ({card.dimensions}-d, revision {card.revision[:12]}). "
                f"Open it with `{built.name}`, or ingest into a new folder."
            )


def check_vectors(segments: Sequence[IndexedSegment], cards: Mapping[str, ModelCard]) -> None:
    """Refuse vectors that the store would take without a word and never find.

    Raises:
        ModelError: a vector is not finite, not of unit length (within 1e-3), or of another length than its card says.
    """
    for indexed in segments:
        for name in DENSE:
            vector = getattr(indexed, name)
            if vector is None:
                continue
            if vector.shape != (cards[name].dimensions,):
                raise ModelError(f"A `{name}` vector has shape {vector.shape}, not ({cards[name].dimensions},).")
            length = float(np.linalg.norm(vector.astype(np.float64)))
            if not abs(length - 1) <= 1e-3:  # also false for NaN
                raise ModelError(f"A `{name}` vector has length {length:.4g}, not 1; the encoder must normalise.")
