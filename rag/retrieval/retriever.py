"""Find the candidates for a query: plan it, ask the channels, fuse, group videos into moments, and limit repeats.

Each part of a query asks its own channels (`rag.retrieval.channels`), as separate views, scaled by the part's weight.
Hits that several query parts agree on rank first (`rag.retrieval.fusion`). Negatives ask the same channels and lower
what they find (`rag.retrieval.fusion.apply_negatives`). Frames and speech of videos become moments
(`rag.retrieval.moments`).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rag.encoders.base import AudioEncoder, DualEncoder, TextEncoder
from rag.errors import QueryError
from rag.index import bm25
from rag.index.base import SegmentIndex
from rag.query.filters import field_names
from rag.query.language import Query
from rag.retrieval.calibration import Calibrator
from rag.retrieval.candidates import fuse_channels, search_channels
from rag.retrieval.fusion import defer_repeats, penalize_repeats
from rag.retrieval.moments import group_moments, make_moment
from rag.retrieval.null_queries import NullQueries
from rag.retrieval.planner import QueryPlanner
from rag.segments import segment_id
from rag.types import CharSpan, Filter, FrameRegion, Hit, PageBox, Segment, TimeSpan

_DEPTH = 50  # candidates of each channel
_SAME_STRETCH = 3000  # characters, about a page
_SAME_SCENE_S = 30.0
_MAX_PER_PLACE = 3  # hits of one page, scene, video or stretch of text before others get their turn


class Retriever:
    """Finds candidates in an index; threads may share it.

    Args:
        index: the index to search.
        text: encoder of its vectors ``text``.
        dual: encoder of its vectors ``joint``.
        audio: encoder of its vectors ``sound``; None to skip the channels of sounds.
        calibration_file: where the calibration is stored; None to measure once per process.
        null_queries_folder: where the encoded queries of the calibration are stored; None to encode them each time.
        without: channels to leave out, to measure what each is worth.

    Attributes:
        planner: encodes queries; holds the encoders.
        calibrator: measures what scores mean in this collection.
    """

    def __init__(
        self,
        index: SegmentIndex,
        text: TextEncoder,
        dual: DualEncoder,
        audio: AudioEncoder | None = None,
        *,
        calibration_file: Path | None = None,
        null_queries_folder: Path | None = None,
        without: Collection[str] = (),
    ) -> None:
        self._index = index
        self.planner = QueryPlanner(text, dual, audio, without=without)
        self.calibrator = Calibrator(
            index, self.planner, NullQueries(self.planner, null_queries_folder), calibration_file
        )

    def retrieve(self, query: Query, *, top_k: int, scope: Filter | None = None) -> list[Hit]:
        """Return the best `top_k` segments, those of videos as moments, each with the channels that found it.

        If the filter names kinds of segments, videos give frames and speech as they are.

        Raises:
            QueryError: no channel can search with the query, or the filter is malformed.
            IndexUnavailable: the store failed.
        """
        scope = scope or Filter()
        plan = self.planner.plan(self.planner.encode(query), max(_DEPTH, 2 * top_k), scope)
        if not plan:
            raise QueryError(
                "The recording has no speech, and EXHIBIT_AUDIO_ENCODER=off does not search by sound. Ask in words."
            )
        calibration = self.calibrator.current()
        hits = fuse_channels(plan, search_channels(self._index, plan), calibration.channels or {})
        if "kind" not in field_names(scope.where):
            hits = group_moments(hits)
        hits = penalize_repeats(hits, _video, lambda hit: hit.score, most=_MAX_PER_PLACE)
        order = defer_repeats(hits, lambda hit: _place(hit.segment), most=_MAX_PER_PLACE)
        return list(self._complete(order[:top_k], query.words, calibration.noise_floor))

    def _complete(self, hits: Sequence[Hit], words: str, noise_floor: float) -> Iterator[Hit]:
        """Read the whole segments, with spoken words, and complete the explanations; skip segments deleted since."""
        keys = [segment_id(part.segment) for hit in hits for part in hit.parts or (hit,)]
        whole = {segment_id(segment): segment for segment in self._index.read(keys)}
        for hit in hits:
            stored = [(part, segment_id(part.segment)) for part in hit.parts or (hit,)]
            parts = [replace(part, segment=whole[key]) for part, key in stored if key in whole]
            if parts:
                completed = make_moment(parts) if hit.parts else parts[0]
                matched = bm25.matching_words(words, completed.segment.searchable_text)
                yield replace(completed, why=replace(completed.why, matched=matched, noise_floor=noise_floor))


def _video(hit: Hit) -> str | None:
    """Return the id of the video of a frame or moment; a video may be one long scene."""
    return hit.segment.asset_id if hit.segment.kind in ("frame", "moment") else None


def _place(segment: Segment) -> Hashable:
    """Return what counts as the same place: a page, a scene, a stretch of text, or a whole picture."""
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
