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
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from rag.encoders.base import AudioEncoder, DualEncoder, TextEncoder, Vectors
from rag.errors import QueryError
from rag.fusion import Calibration, Ranking, calibrate, collapse, fuse
from rag.index.base import Dense, Found, LaneQuery, SegmentIndex
from rag.segments import segment_id
from rag.types import CharSpan, Filter, FrameRegion, Hit, Kind, Lane, PageBox, Segment, TimeSpan

_DEPTH = 50  # candidates of each lane
_SAME_STRETCH = 3000  # characters, about a page
_SAME_SCENE_S = 30.0
_MOST_OF_A_PLACE = 3  # hits of one page, scene or stretch of text before others get their turn
# A collection is asked these again when it has grown or shrunk by half.
_GROWTH = 1.5
# In a collection of three segments all unanswerable questions may have the same best score.
_LEAST_DEVIATION = {"text": 0.03, "joint": 0.03, "sound": 0.05, "bm25": 1.0}
# Questions of all sorts that hardly any one collection answers; their best scores say what a lane gives for nothing.
_UNANSWERABLE = (
    *("how do I reset my password", "the recipe for lemon cake", "a red car parked beside a house"),
    *("who won the final last night", "how to repair a bicycle tyre", "a cup of coffee on a wooden table"),
    *("interest rates and the price of bonds", "a cat asleep on a sofa", "the capital of Australia"),
    *("symptoms of a broken ankle", "a bridge over a river at night", "installing a printer driver"),
    *("two people playing chess", "the boiling point of water at altitude", "a bowl of fruit"),
    *("how does a diesel engine work", "train times from London to Leeds", "a mountain covered in snow"),
    *("what is a black hole", "a page of handwritten notes", "the rules of offside in football"),
    *("a plane landing at an airport", "how to plant tomatoes", "a child holding a balloon"),
    *("the third movement of the symphony", "a crowded street market", "terms of the rental agreement"),
    *("a diagram of an electric circuit", "when is the meeting on Thursday", "a man wearing a blue hat"),
    *("how vaccines are tested", "a field of yellow flowers"),
)


@dataclass(frozen=True, slots=True)
class _Lane:
    """What a lane compares and can see, and how far it is believed.

    Attributes:
        view: lanes of one view look at the same thing.
        vector: the named vectors that it searches.
        kinds: the kinds of segments that it sees; None for all that have words.
        weight: its share of its view.
        calibrated_as: the lane whose calibration it takes; empty where its cosines speak for themselves.
    """

    view: Literal["words", "looks", "sounds", "likeness"]
    vector: Dense | Literal["bm25"]
    kinds: frozenset[Kind] | None = None
    weight: float = 1.0
    calibrated_as: str = ""


_LANES: Mapping[str, _Lane] = {
    "text": _Lane("words", "text", calibrated_as="text"),
    "bm25": _Lane("words", "bm25", weight=0.5, calibrated_as="bm25"),
    "image": _Lane("looks", "joint", frozenset({"picture", "figure"}), calibrated_as="image"),
    "video": _Lane("looks", "joint", frozenset({"frame"}), calibrated_as="video"),
    "sound": _Lane("sounds", "sound", frozenset({"sound"}), calibrated_as="sound"),
    "like sound": _Lane("likeness", "sound", frozenset({"sound"})),
    "like image": _Lane("likeness", "joint", frozenset({"picture", "figure"})),
    "like video": _Lane("likeness", "joint", frozenset({"frame"})),
    # Words and pictures lie apart in a joint space, the same way round whichever of them is the question.
    "like text": _Lane("likeness", "joint", frozenset({"passage", "speech"}), calibrated_as="image"),
}


@dataclass(frozen=True, slots=True)
class Query:
    """A question: words, a picture (RGB, upright), a sound (mono, at the sound encoder's rate), or several of them."""

    words: str = ""
    picture: Image | None = None
    sound: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not self.words.strip() and self.picture is None and self.sound is None:
            raise QueryError("The question is empty; ask in words, with a picture or with a recording.")


class Retriever:
    """Finds candidates in an index with encoders of words, pictures and, if given, sounds; threads may share it."""

    def __init__(
        self, index: SegmentIndex, text: TextEncoder, dual: DualEncoder, audio: AudioEncoder | None = None
    ) -> None:
        self._index, self._text, self._dual, self._audio = index, text, dual, audio
        self._calibrated: tuple[int, dict[str, Calibration]] = (0, {})

    def retrieve(self, query: Query, *, top_k: int, admitted: Filter | None = None) -> list[Hit]:
        """The best `top_k` segments, each with the lanes that found it.

        Raises:
            QueryError: the query is empty or a filter malformed.
            IndexUnavailable: the store failed.
        """
        lanes = self._lanes(query, max(_DEPTH, 2 * top_k), admitted or Filter())
        found = dict(zip(lanes, self._index.search(list(lanes.values())), strict=True))
        calibrations = self._calibrations()
        segments = {segment_id(s): s for ranking in found.values() for s, _ in ranking}
        rankings = {name: _ranking(_LANES[name], ranking, calibrations) for name, ranking in found.items()}
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
        if query.sound is not None:
            asked |= {"like sound": self._heard(query.sound)}
        return {
            name: LaneQuery(_LANES[name].vector, what, depth, _only(admitted, _LANES[name].kinds))
            for name, what in asked.items()
        }

    def _asked(self, words: str) -> dict[str, Vectors | str]:
        meant = self._text.embed_query(words)
        same_space = self._text.card.space == self._dual.card.space
        looks = meant if same_space else self._dual.embed_query(words)
        heard = {"sound": self._audio.embed_query(words)} if self._audio else {}
        return {"text": meant, "bm25": words, "image": looks, "video": looks, **heard}

    def _heard(self, sound: NDArray[np.float32]) -> Vectors:
        if self._audio is None:
            raise QueryError("Sounds are not heard here: EXHIBIT_AUDIO_ENCODER is off.")
        vector: Vectors = self._audio.embed_audio([sound])[0]
        return vector

    def _calibrations(self) -> dict[str, Calibration]:
        """For each lane of a question in words, what it gives to questions that the collection does not answer."""
        size, calibrations = self._calibrated
        count = self._index.count()
        if not size / _GROWTH <= count <= size * _GROWTH:
            calibrations = self._measured()
            self._calibrated = count, calibrations
        return calibrations

    def _measured(self) -> dict[str, Calibration]:
        best: dict[str, list[float]] = {}
        for words in _UNANSWERABLE:
            lanes = self._lanes(Query(words), 1, Filter())
            for name, found in zip(lanes, self._index.search(list(lanes.values())), strict=True):
                best.setdefault(name, []).append(found[0][1] if found else 0.0)
        return {name: calibrate(scores, _LEAST_DEVIATION[_LANES[name].vector]) for name, scores in best.items()}


def _ranking(lane: _Lane, found: Found, calibrations: Mapping[str, Calibration]) -> Ranking:
    scores = [(segment_id(segment), score) for segment, score in found]
    return Ranking(lane.view, scores, lane.weight, calibrations.get(lane.calibrated_as))


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
