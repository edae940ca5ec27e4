"""Question to candidates: one ranking for each named vector and what it can see, fused (`rag.fusion`).

==========  =============  ==================================================  ==========
lane        view           compares                                            sees
==========  =============  ==================================================  ==========
text        words          the question's words with a segment's, by meaning   words
bm25        words          the same, word by word                              words
image       looks          the question's words with pixels, in joint space    pictures, figures
video       looks          the same                                            frames
like image  likeness       the question's picture with pixels                  pictures, figures
like video  likeness       the same                                            frames
like text   likeness       the question's picture with words                   passages, speech
==========  =============  ==================================================  ==========
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL.Image import Image

from rag.calibration import UNRELATED_QUESTIONS, Calibrations, unrelated_pictures
from rag.encoders.base import DualEncoder, TextEncoder, Vectors
from rag.errors import QueryError
from rag.fusion import Calibration, Ranking, calibrate, collapse, fuse
from rag.index.base import Dense, Found, LaneQuery, SegmentIndex
from rag.segments import segment_id
from rag.types import CharSpan, Filter, FrameRegion, Hit, Kind, Lane, PageBox, Segment, TimeSpan

_DEPTH = 50  # candidates of each lane
_SAME_STRETCH = 3000  # characters, about a page
_SAME_SCENE_S = 30.0
_MOST_OF_A_PLACE = 3  # hits of one page, scene or stretch of text before others get their turn
# In a collection of three segments all unanswerable questions may have the same best score.
_LEAST_DEVIATION = {"text": 0.03, "joint": 0.03, "bm25": 1.0}


@dataclass(frozen=True, slots=True)
class _Lane:
    """What a lane compares and can see, and how far it is believed.

    Attributes:
        view: lanes of one view look at the same thing.
        vector: the named vectors that it searches.
        kinds: the kinds of segments that it sees; None for all that have words.
        weight: its share of its view.
    """

    view: Literal["words", "looks", "likeness"]
    vector: Dense | Literal["bm25"]
    kinds: frozenset[Kind] | None = None
    weight: float = 1.0


_LANES: Mapping[str, _Lane] = {
    "text": _Lane("words", "text"),
    "bm25": _Lane("words", "bm25", weight=0.5),
    "image": _Lane("looks", "joint", frozenset({"picture", "figure"})),
    "video": _Lane("looks", "joint", frozenset({"frame"})),
    "like image": _Lane("likeness", "joint", frozenset({"picture", "figure"})),
    "like video": _Lane("likeness", "joint", frozenset({"frame"})),
    "like text": _Lane("likeness", "joint", frozenset({"passage", "speech"})),
}


@dataclass(frozen=True, slots=True)
class Query:
    """A question: words, a picture (RGB, upright), or both."""

    words: str = ""
    picture: Image | None = None

    def __post_init__(self) -> None:
        if not self.words.strip() and self.picture is None:
            raise QueryError("The question is empty; ask in words, with a picture or with a recording.")


class Retriever:
    """Finds candidates in an index with a text encoder and an image-text encoder; threads may share it.

    Args:
        index: where it searches.
        text: the encoder of its vectors ``text``.
        dual: the encoder of its vectors ``joint``.
        kept: the file that keeps its calibrations; without one they are measured in each process.
    """

    def __init__(self, index: SegmentIndex, text: TextEncoder, dual: DualEncoder, *, kept: Path | None = None) -> None:
        self._index, self._text, self._dual, self._kept = index, text, dual, kept
        self._calibrated = Calibrations()

    def retrieve(self, query: Query, *, top_k: int, admitted: Filter | None = None) -> list[Hit]:
        """The best `top_k` segments, each with the lanes that found it.

        Raises:
            QueryError: the query is empty or a filter malformed.
            IndexUnavailable: the store failed.
        """
        lanes = self._lanes(query, max(_DEPTH, 2 * top_k), admitted or Filter())
        found = dict(zip(lanes, self._index.search(list(lanes.values())), strict=True))
        calibrations = self.calibrate()
        segments = {segment_id(s): s for ranking in found.values() for s, _ in ranking}
        rankings = {name: _ranking(_LANES[name], ranking, calibrations[name]) for name, ranking in found.items()}
        fused = fuse(rankings, sees=lambda lane, key: _sees(_LANES[lane], segments[key]))
        order = collapse(fused, lambda pair: _place(segments[pair[0]]), most=_MOST_OF_A_PLACE)[:top_k]
        places = _places(rankings)
        # Read again whole, with spoken words; what was deleted since is not there any more.
        whole = {segment_id(s): s for s in self._index.read([key for key, _ in order])}
        return [Hit(whole[key], score, lanes=places[key]) for key, score in order if key in whole]

    async def aretrieve(self, query: Query, *, top_k: int, admitted: Filter | None = None) -> list[Hit]:
        """Async twin of `retrieve`."""
        return await asyncio.to_thread(self.retrieve, query, top_k=top_k, admitted=admitted)

    def _lanes(self, query: Query, depth: int, admitted: Filter) -> dict[str, LaneQuery]:
        """The question as one query for each lane; each encoder is asked once."""
        asked: dict[str, Vectors | str] = {}
        if query.words.strip():
            asked |= self._asked(query.words)
        if query.picture is not None:
            seen = self._dual.embed_images([query.picture])[0]
            asked |= {"like image": seen, "like video": seen, "like text": seen}
        return {
            name: LaneQuery(_LANES[name].vector, what, depth, _only(admitted, _LANES[name].kinds))
            for name, what in asked.items()
        }

    def _asked(self, words: str) -> dict[str, Vectors | str]:
        meant = self._text.embed_query(words)
        same_space = self._text.card.space == self._dual.card.space
        looks = meant if same_space else self._dual.embed_query(words)
        return {"text": meant, "bm25": words, "image": looks, "video": looks}

    def calibrate(self) -> Mapping[str, Calibration]:
        """For each lane, what it gives to queries that the collection does not answer.

        They are read from where they are kept, and measured where those do not fit the collection any more.
        """
        count = self._index.count()
        encoders = self._text.card.revision, self._dual.card.revision
        if not self._calibrated.fit(encoders, count) and self._kept and self._kept.exists():
            self._calibrated = Calibrations.from_json(self._kept.read_text("utf-8"))
        if not self._calibrated.fit(encoders, count):
            self._calibrated = Calibrations(encoders, count, self._measured())
            if self._kept:
                self._kept.write_text(self._calibrated.to_json(), "utf-8")
        return self._calibrated.lanes or {}

    def _measured(self) -> dict[str, Calibration]:
        best: dict[str, list[float]] = {}
        unrelated = [*map(Query, UNRELATED_QUESTIONS), *(Query(picture=p) for p in unrelated_pictures())]
        for query in unrelated:
            lanes = self._lanes(query, 1, Filter())
            for name, found in zip(lanes, self._index.search(list(lanes.values())), strict=True):
                best.setdefault(name, []).append(found[0][1] if found else 0.0)
        return {name: calibrate(scores, _LEAST_DEVIATION[_LANES[name].vector]) for name, scores in best.items()}


def _ranking(lane: _Lane, found: Found, calibration: Calibration) -> Ranking:
    return Ranking(lane.view, [(segment_id(segment), score) for segment, score in found], lane.weight, calibration)


def _places(rankings: Mapping[str, Ranking]) -> dict[str, tuple[Lane, ...]]:
    """The lanes that found each segment."""
    places: dict[str, tuple[Lane, ...]] = {}
    for name, ranking in rankings.items():
        for rank, (key, score) in enumerate(ranking.found, 1):
            places[key] = (*places.get(key, ()), Lane(name, rank, score))
    return places


def _only(admitted: Filter, kinds: frozenset[Kind] | None) -> Filter:
    """The filter, narrowed to these kinds of segments."""
    if kinds is None:
        return admitted
    given = admitted.where.get("kind", sorted(kinds))
    wanted: Sequence[object] = given if isinstance(given, list) else [given]
    return replace(admitted, where={**admitted.where, "kind": sorted(kinds & set(map(str, wanted))) or ["none"]})


def _sees(lane: _Lane, segment: Segment) -> bool:
    """Whether a lane could have found a segment at all."""
    return segment.kind in lane.kinds if lane.kinds is not None else bool(segment.searchable_text.strip())


def _place(segment: Segment) -> Hashable:
    """What counts as the same place: a page, a scene, a stretch of text, or a whole picture."""
    match segment.locator:
        case PageBox(page=page):
            where = page
        case TimeSpan(start_s=start_s) | FrameRegion(at_s=start_s):
            where = int(start_s // _SAME_SCENE_S)
        case CharSpan(start=start):
            where = start // _SAME_STRETCH
        case _:
            where = 0
    return segment.asset_id, segment.kind, where
