"""Question to candidates: one ranking for each named vector and what it can see, fused by rank.

=======  ==================================  ===========================================
lane     compares                            sees
=======  ==================================  ===========================================
text     meaning of words                    segments with words
bm25     words                               segments with words
image    the joint space                     pictures and figures
video    the joint space                     frames
joint    the joint space (picture queries)   segments with words but no pixels
=======  ==================================  ===========================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, replace

from PIL.Image import Image

from rag.encoders.base import DualEncoder, TextEncoder, Vectors
from rag.errors import QueryError
from rag.fusion import fuse, spread
from rag.index.base import LaneQuery, SegmentIndex
from rag.segments import segment_id
from rag.types import CharSpan, Filter, Hit, Kind, Lane, Segment, TimeSpan

_PIXELS: dict[str, frozenset[Kind]] = {"image": frozenset({"picture", "figure"}), "video": frozenset({"frame"})}
_WORDS: frozenset[Kind] = frozenset({"passage", "speech"})
_DEPTH = 50  # candidates of each lane
_SAME_STRETCH = 3000  # characters, about a page
_SAME_SCENE_S = 10.0  # frames and speech this near belong together
_MOST_OF_A_PLACE = 2  # hits of one page, scene or text neighbourhood before others get their turn
_WEIGHTS = {"text": 1.0, "bm25": 1.0, "image": 1.0, "video": 1.0, "joint": 1.0}


@dataclass(frozen=True, slots=True)
class Query:
    """A question: words, a picture (RGB, upright), or both."""

    words: str = ""
    picture: Image | None = None

    def __post_init__(self) -> None:
        if not self.words.strip() and self.picture is None:
            raise QueryError("The question is empty; ask in words, with a picture or with a recording.")


class Retriever:
    """Finds candidates in an index with a text encoder and an image-text encoder."""

    def __init__(self, index: SegmentIndex, text: TextEncoder, dual: DualEncoder) -> None:
        self._index, self._text, self._dual = index, text, dual

    def retrieve(self, query: Query, *, top_k: int, admitted: Filter | None = None) -> list[Hit]:
        """The best `top_k` segments, each with the lanes that found it.

        Raises:
            QueryError: the query is empty or a filter malformed.
            IndexUnavailable: the store failed.
        """
        lanes = self._lanes(query, max(_DEPTH, 2 * top_k), admitted or Filter())
        found = dict(zip(lanes, self._index.search(list(lanes.values())), strict=True))
        segments = {segment_id(s): s for ranking in found.values() for s, _ in ranking}
        rankings = {lane: [segment_id(s) for s, _ in ranking] for lane, ranking in found.items()}
        fused = fuse(rankings, sees=lambda lane, key: _sees(lane, segments[key]), weights=_WEIGHTS)
        places = _lanes_of(found)
        hits = [Hit(segments[key], score, lanes=tuple(places[key])) for key, score in fused]
        return spread(hits, lambda hit: _place(hit.segment), most=_MOST_OF_A_PLACE)[:top_k]

    async def aretrieve(self, query: Query, *, top_k: int, admitted: Filter | None = None) -> list[Hit]:
        """Async twin of `retrieve`."""
        return await asyncio.to_thread(self.retrieve, query, top_k=top_k, admitted=admitted)

    def _lanes(self, query: Query, depth: int, admitted: Filter) -> dict[str, LaneQuery]:
        """The question as one query for each lane; each encoder is asked once."""
        lanes: dict[str, LaneQuery] = {}
        joint: Vectors | None = None
        if query.words.strip():
            words = self._text.embed_query(query.words)
            same_space = self._text.card.space == self._dual.card.space
            joint = words if same_space else self._dual.embed_query(query.words)
            lanes["text"] = LaneQuery("text", words, depth, admitted)
            lanes["bm25"] = LaneQuery("bm25", query.words, depth, admitted)
        if query.picture is not None:
            joint = self._dual.embed_images([query.picture])[0]
            lanes["joint"] = LaneQuery("joint", joint, depth, _only(admitted, _WORDS))
        if joint is not None:
            for lane, kinds in _PIXELS.items():
                lanes[lane] = LaneQuery("joint", joint, depth, _only(admitted, kinds))
        return lanes


def _only(admitted: Filter, kinds: frozenset[Kind]) -> Filter:
    """The filter, narrowed to these kinds of segments."""
    asked = admitted.where.get("kind", sorted(kinds))
    wanted = {str(kind) for kind in asked} if isinstance(asked, list) else {str(asked)}
    return replace(admitted, where={**admitted.where, "kind": sorted(wanted & kinds) or ["none"]})


def _sees(lane: str, segment: Segment) -> bool:
    """Whether a lane could rank a segment at all."""
    if lane in _PIXELS:
        return segment.kind in _PIXELS[lane]
    worded = bool(segment.searchable_text.strip())
    return worded and segment.kind in _WORDS if lane == "joint" else worded


def _lanes_of(found: dict[str, list[tuple[Segment, float]]]) -> dict[str, list[Lane]]:
    places: dict[str, list[Lane]] = {}
    for name, ranking in found.items():
        for rank, (segment, score) in enumerate(ranking, 1):
            places.setdefault(segment_id(segment), []).append(Lane(name, rank, score))
    return places


def _place(segment: Segment) -> Hashable:
    """What counts as the same place: the page, the scene or stretch of text, or the asset where none is known."""
    page, start = segment.meta.get("page"), segment.meta.get("start_s")
    if page is not None:
        return segment.asset_id, segment.kind, page
    if isinstance(segment.locator, TimeSpan) or start is not None:
        return segment.asset_id, segment.kind, int(float(start or 0) // _SAME_SCENE_S)
    if isinstance(segment.locator, CharSpan):
        return segment.asset_id, segment.kind, segment.locator.start // _SAME_STRETCH
    return segment.asset_id, segment.kind
