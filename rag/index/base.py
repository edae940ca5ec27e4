"""The protocol of a vector store of segments, and what both stores share.

A segment is a point with up to four named vectors: ``joint`` (words and pictures in one space), ``text`` (words),
``sound`` (sounds other than speech; only with a sound encoder) and ``bm25`` (sparse, from its searchable text). A
segment without a vector is not found by that vector's channels. The payload is `rag.segments.to_payload`: the store
never holds the media themselves. The words lie under ``text``, where llama-index's `QdrantVectorStore` reads them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np

from rag.encoders.base import ModelCard, Vectors
from rag.errors import EncoderMismatch, IndexUnavailable, ModelError, QueryError
from rag.index import bm25
from rag.index.bm25 import Sparse
from rag.segments import from_payload, segment_id, to_payload
from rag.text import escape_surrogates
from rag.types import Filter, Segment

Dense = Literal["joint", "text", "sound"]
_NEEDED: tuple[Dense, ...] = ("joint", "text")
# Fields that most filters name, and that are therefore indexed.
KEYWORDS = ("asset_id", "modality", "kind")
# Spoken words are half of the payload of speech, and a search of three channels takes twice as long with them.
EXCLUDED = "words"
# Increase it when the meaning of stored points changes: how words become BM25 vectors, or what a payload holds.
FORMAT = 1
_SETTINGS = {"joint": "EXHIBIT_ENCODER", "text": "EXHIBIT_TEXT_ENCODER", "sound": "EXHIBIT_AUDIO_ENCODER"}
_LENGTH_TOLERANCE = 1e-3  # float32 and float16 encoders stay well within; 0.0005 of length changes no ranking


@dataclass(frozen=True, slots=True)
class IndexedSegment:
    """A segment with its vectors: each float32 (dimensions,) at unit length, or None."""

    segment: Segment
    joint: Vectors | None = None
    text: Vectors | None = None
    sound: Vectors | None = None


@dataclass(frozen=True, slots=True)
class ChannelQuery:
    """A request for one ranking.

    Attributes:
        vector: the named vectors to compare with.
        query: a unit vector (dimensions,) for ``joint``, ``text`` and ``sound``; words for ``bm25``.
        limit: maximum number of segments.
        filter: the segments that may be returned.
    """

    vector: Dense | Literal["bm25"]
    query: Vectors | str
    limit: int
    filter: Filter = field(default_factory=Filter)


ScoredSegments = list[tuple[Segment, float]]


class SegmentIndex(Protocol):
    """Segments that can be found by their vectors; threads may share it.

    Every method raises IndexUnavailable if the store fails; a failure is never an empty result.
    """

    def upsert(self, batch: Sequence[IndexedSegment]) -> None:
        """Write segments; an existing one is replaced with all its vectors.

        Raises:
            ModelError: a vector is not finite, not of unit length or of the wrong size. Nothing is written then.
        """

    def search(self, queries: Sequence[ChannelQuery]) -> list[ScoredSegments]:
        """Find segments and scores for each query, best first: cosine in [-1, 1], or BM25 above 0.

        The segments come without their spoken words, which `read` returns.

        Raises:
            QueryError: a filter is malformed.
            ModelError: a query vector is not finite, not of unit length or of the wrong size.
        """

    def read(self, segment_ids: Sequence[str]) -> list[Segment]:
        """Return whole segments by `rag.segments.segment_id`, in this order; deleted ones are left out."""

    def vectors(self, segment_ids: Sequence[str], name: Dense) -> dict[str, Vectors]:
        """Return the vectors (dimensions,) of this name by segment; segments without one are left out."""

    def segments_of(self, asset_id: str) -> list[Segment]:
        """Return all segments of an asset, by ordinal."""

    def count(self, scope: Filter | None = None) -> int:
        """Return the number of segments that match a filter. Raises QueryError if it is malformed."""

    def delete_assets(self, asset_ids: Sequence[str]) -> None:
        """Delete all segments of some assets; unknown assets are ignored."""

    def flush(self) -> None:
        """Return once everything written is on disk."""

    def close(self) -> None:
        """Close the store; closing it twice is allowed."""

    def __enter__(self) -> Self:
        """Return the index itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the index."""


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A segment as both stores write it."""

    id: str
    vectors: dict[str, Vectors | Sparse]
    payload: dict[str, Any]


def to_points(batch: Sequence[IndexedSegment], cards: Mapping[Dense, ModelCard]) -> list[StoredPoint]:
    """Return the points to write for some segments.

    Raises:
        ModelError: a vector is not finite, not of unit length or of the wrong size.
    """
    return [_to_point(item, cards) for item in batch]


def check_vector(vector: Vectors, card: ModelCard) -> Vectors:
    """Return the vector if it is valid. Qdrant would silently accept NaN and any length.

    Raises:
        ModelError: it is not finite, not of unit length, or not of the card's size.
    """
    if vector.shape != (card.dimensions,):
        raise ModelError(f"Encoder `{card.name}` gave a vector of shape {vector.shape}, not ({card.dimensions},).")
    length = float(np.linalg.norm(vector))
    if not math.isfinite(length) or abs(length - 1) > _LENGTH_TOLERANCE:
        raise ModelError(f"Encoder `{card.name}` gave a vector of length {length:.4g}, not 1.")
    return vector


def query_vector(query: ChannelQuery, cards: Mapping[Dense, ModelCard]) -> Vectors | Sparse:
    """Return the vector to search with.

    Raises:
        ModelError: a dense vector is not finite, not of unit length or of the wrong size.
    """
    if isinstance(query.query, str):
        return bm25.encode_query(query.query)
    assert query.vector != "bm25", "BM25 searches with words"
    return check_vector(query.query, cards[query.vector])


def to_segment(payload: Mapping[str, Any] | None) -> Segment:
    """Return the segment of a stored payload.

    Raises:
        IndexUnavailable: another application wrote this point.
    """
    try:
        return from_payload(payload or {})
    except (KeyError, TypeError, ValueError, QueryError) as error:
        raise IndexUnavailable(
            f"The collection holds a point that Exhibit did not write ({error!r}). Give Exhibit its own collection: "
            "EXHIBIT_QDRANT_URL=http://host:6333?collection=NAME."
        ) from error


def dense_vector(vectors: Any, name: Dense) -> Vectors | None:
    """Return the vector of this name among those that a store returned for a segment."""
    vector = vectors.get(name) if isinstance(vectors, Mapping) else None
    return None if vector is None else np.asarray(vector, np.float32)


def collection_metadata(cards: Mapping[Dense, ModelCard]) -> dict[str, Any]:
    """Return what a collection stores about its encoders, as JSON values."""
    return {"format": FORMAT, "encoders": {name: json.loads(cards[name].to_json()) for name in sorted(cards)}}


def check_cards(stored: Mapping[str, Any], cards: Mapping[Dense, ModelCard], place: str) -> None:
    """Check that a collection was built with these encoders.

    Raises:
        EncoderMismatch: it was built with other encoders.
        IndexUnavailable: a newer version wrote it, or its metadata is damaged.
    """
    try:
        version = int(stored["format"])
        built = {name: ModelCard.from_json(json.dumps(card)) for name, card in stored["encoders"].items()}
        if missing := [name for name in _NEEDED if name not in built]:
            raise KeyError(*missing)
    except (AttributeError, KeyError, TypeError, ValueError, ModelError) as error:
        raise IndexUnavailable(f"{place} is damaged: it does not name its encoders ({error!r}).") from error
    if version > FORMAT:
        raise IndexUnavailable(f"{place} was written by a newer Exhibit. Upgrade: pip install -U exhibit-rag.")
    for name, card in cards.items():
        if name not in built:
            raise EncoderMismatch(
                f"{place} was built without {name} vectors, which `{card.name}` needs. Open it with "
                f"{_SETTINGS[name]}=off, or ingest into a new knowledge base."
            )
        _check_same(built[name], card, name, place)


def _check_same(built: ModelCard, given: ModelCard, name: Dense, place: str) -> None:
    if (built.space, built.dimensions, built.revision) == (given.space, given.dimensions, given.revision):
        return
    setting = _SETTINGS[name]
    if built.name == given.name:
        remedy = f"Open it with the model files and the version of Exhibit that built it ({setting}={built.name})"
    else:
        remedy = f"Open it with {setting}={built.name} and the version of Exhibit that built it"
    raise EncoderMismatch(
        f"{place} was built with `{built.name}` ({built.dimensions}-d, revision {built.revision}) for its {name} "
        f"vectors; `{given.name}` ({given.dimensions}-d, revision {given.revision}) cannot read them. {remedy}, or "
        "ingest into a new knowledge base."
    )


def _to_point(item: IndexedSegment, cards: Mapping[Dense, ModelCard]) -> StoredPoint:
    dense: dict[Dense, Vectors | None] = {"joint": item.joint, "text": item.text, "sound": item.sound}
    vectors: dict[str, Vectors | Sparse] = {
        name: check_vector(vector, cards[name]) for name, vector in dense.items() if vector is not None
    }
    words = bm25.encode_document(item.segment.searchable_text)
    if words[0]:
        vectors["bm25"] = words
    payload = {key: _storable(key, value) for key, value in to_payload(item.segment).items()}
    return StoredPoint(segment_id(item.segment), vectors, payload)


def _storable(key: str, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ModelError(f"Segment field `{key}` is {value}; only finite numbers can be stored.")
    if isinstance(value, str):  # file names that are not UTF-8 carry lone surrogates
        return escape_surrogates(value)
    return value
