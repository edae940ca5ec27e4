"""Question to candidates: a ranking of each channel that it asks (`rag.retrieval.channels`), fused
(`rag.retrieval.fusion`).

Each part of a question asks its own channels, as views of their own, believed by the part's weight; what several parts
agree on comes first. What is not wanted asks the same channels, and lowers what they find
(`rag.retrieval.fusion.apply_negatives`). Frames and speech of films become moments (`rag.retrieval.moments`).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import get_args

from rag.encoders.base import AudioEncoder, DualEncoder, TextEncoder, Vectors
from rag.errors import QueryError
from rag.explanation import ChannelScore, Explanation
from rag.index import bm25
from rag.index.base import ScoredSegments, SegmentIndex
from rag.query.filters import field_names
from rag.query.language import Query, QueryPart, relative_weights
from rag.retrieval.calibration import (
    UNRELATED_QUESTIONS,
    CollectionCalibration,
    nonsense_questions,
    unrelated_pictures,
    unrelated_sounds,
)
from rag.retrieval.channels import (
    CHANNELS,
    ChannelRequest,
    EncodedPart,
    SearchPlan,
    add_requests,
    joint_vectors,
    subtract_unwanted,
)
from rag.retrieval.fusion import (
    Calibration,
    Ranking,
    apply_negatives,
    calibrate,
    calibrate_best_of,
    combine_vectors,
    defer_repeats,
    fuse,
    merge_best,
    penalize_repeats,
    score_negatives,
)
from rag.retrieval.moments import group_moments, make_moment
from rag.segments import segment_id
from rag.text import sentences
from rag.types import CharSpan, Filter, FrameRegion, Hit, Kind, PageBox, Segment, TimeSpan

_DEPTH = 50  # candidates of each channel
_NONSENSE_DEPTH = 3
_SENTENCES = 16  # of what is said at length, each of which is looked for in pictures
_UNWANTED = 4  # times as many of what is not wanted: what it does not find is not lowered
_SAME_STRETCH = 3000  # characters, about a page
_SAME_SCENE_S = 30.0
_MOST_OF_A_PLACE = 3  # hits of one page, scene, film or stretch of text before others get their turn
# In a collection of three segments all unanswerable questions may have the same best score.
_LEAST_DEVIATION = {"text": 0.03, "joint": 0.03, "sound": 0.05, "bm25": 1.0}


class Retriever:
    """Finds candidates in an index with encoders of words, pictures and, if given, sounds; threads may share it.

    Args:
        index: where it searches.
        text: the encoder of its vectors ``text``.
        dual: the encoder of its vectors ``joint``.
        audio: the encoder of its vectors ``sound``; None where sounds are not heard.
        kept: the file that keeps its calibrations; without one they are measured in each process.
        without: channels that are not asked, to see what each is worth.
    """

    def __init__(
        self,
        index: SegmentIndex,
        text: TextEncoder,
        dual: DualEncoder,
        audio: AudioEncoder | None = None,
        *,
        kept: Path | None = None,
        without: Collection[str] = (),
    ) -> None:
        self._index, self._text, self.dual, self.audio, self._kept = index, text, dual, audio, kept
        self._without = frozenset(without)
        self._calibrated = CollectionCalibration()
        self._counted: int | None = None
        self._measuring = threading.Lock()

    def retrieve(self, query: Query, *, top_k: int, admitted: Filter | None = None) -> list[Hit]:
        """The best `top_k` segments, those of films as moments, each with the channels that found it.

        Where the filter asks for kinds of segments, films give frames and speech as they are.

        Raises:
            QueryError: the question has nothing that a channel compares, or the filter is malformed.
            IndexUnavailable: the store failed.
        """
        admitted = admitted or Filter()
        plan = self._plan(query, max(_DEPTH, 2 * top_k), admitted)
        if not plan:
            raise QueryError("Nothing is said in the recording, and EXHIBIT_AUDIO_ENCODER is off; ask in words.")
        calibrations = self._current()
        hits = self._ranked(plan, self._found(plan), calibrations.channels or {})
        if "kind" not in field_names(admitted.where):
            hits = group_moments(hits)
        hits = penalize_repeats(hits, _film, lambda hit: hit.score, most=_MOST_OF_A_PLACE)
        order = defer_repeats(hits, lambda hit: _place(hit.segment), most=_MOST_OF_A_PLACE)
        return list(self._whole(order[:top_k], query.words, calibrations.noise_floor))

    def _plan(self, query: Query, depth: int, admitted: Filter) -> SearchPlan:
        """The question as channels by name; each part is encoded once.

        In the joint space everything is asked less what is not wanted, and several parts also as one vector.
        """
        plan: SearchPlan = {}
        wanted, unwanted = ([self._encoded(part) for part in parts] for parts in (query.parts, query.without))
        away = joint_vectors(unwanted, [min(part.weight, 1.0) for part in query.without])
        for n, (asked, weight) in enumerate(zip(wanted, relative_weights(query.parts), strict=True)):
            add_requests(plan, subtract_unwanted(asked, away), depth, admitted, part=n, weight=weight)
        joined = joint_vectors(wanted, relative_weights(query.parts))
        if len(joined) > 1 and (blend := combine_vectors(joined, away)) is not None:
            # Vectors of words alone lie where those of words lie, and are calibrated like them.
            name = "blend" if query.pictures else ""
            asked = {f"{name} {medium}".strip(): [blend] for medium in ("image", "video")}
            add_requests(plan, asked, depth, admitted, part=len(wanted))
        for n, (asked, part) in enumerate(zip(unwanted, query.without, strict=True)):
            add_requests(
                plan, asked, _UNWANTED * depth, admitted, part=n, weight=min(part.weight, 1.0), is_unwanted=True
            )
        return plan

    def _encoded(self, part: QueryPart) -> EncodedPart:
        """What each channel is asked with for one part of a question."""
        asked: dict[str, Sequence[Vectors | str]] = {}
        if part.words.strip():
            meant = self._text.embed_query(part.words)
            looks = self._looks(part.words, meant)
            asked |= {"text": [meant], "bm25": [part.words], "image": looks, "video": looks}
            if self.audio:
                asked["sound"] = [self.audio.embed_query(part.words)]
        if part.pictures:
            seen = list(self.dual.embed_images(part.pictures))
            asked |= {"like image": seen, "like video": seen, "like text": seen}
        if part.sounds and self.audio:
            asked["like sound"] = list(self.audio.embed_audio(part.sounds))
        return {channel: what for channel, what in asked.items() if channel not in self._without}

    def _looks(self, words: str, meant: Vectors) -> list[Vectors]:
        """What words ask of pictures: as a whole, and where somebody tells at length, sentence by sentence.

        A picture shows what one sentence is about, seldom what a story is.
        """
        told = [words[start:end] for start, end in sentences(words)][:_SENTENCES]
        lifted = self.dual.from_text_vectors(meant[None], is_query=True)
        whole = self.dual.embed_query(words) if lifted is None else lifted[0]
        return [whole, *(map(self.dual.embed_query, told) if len(told) > 1 else ())]

    def _found(self, plan: SearchPlan) -> dict[str, ScoredSegments]:
        """What each channel found, all in one request."""
        answers = iter(self._index.search([query for asked in plan.values() for query in asked.queries]))
        return {name: merge_best([next(answers) for _ in asked.queries], segment_id) for name, asked in plan.items()}

    def _ranked(
        self, plan: SearchPlan, found: Mapping[str, ScoredSegments], calibrations: Mapping[str, Calibration]
    ) -> list[Hit]:
        """All that was found, best first, without spoken words."""
        segments = {segment_id(segment): segment for ranking in found.values() for segment, _ in ranking}
        rankings = {name: _ranking(asked, found[name], calibrations) for name, asked in plan.items()}

        def sees(name: str, key: str) -> bool:
            return plan[name].channel.sees(segments[key])

        unwanted = {name: ranking for name, ranking in rankings.items() if plan[name].is_unwanted}
        wanted = {name: ranking for name, ranking in rankings.items() if name not in unwanted}
        against, places = score_negatives(unwanted, sees=sees), _places(plan, wanted)
        return [
            Hit(segments[key], Explanation(score, places[key], against=against.get(key, 0.0)))
            for key, score in apply_negatives(fuse(wanted, sees=sees), against)
        ]

    def _whole(self, hits: Sequence[Hit], words: str, noise_floor: float) -> Iterator[Hit]:
        """The hits read again whole, with spoken words; what was deleted since is not there any more."""
        keys = [segment_id(part.segment) for hit in hits for part in hit.parts or (hit,)]
        whole = {segment_id(segment): segment for segment in self._index.read(keys)}
        for hit in hits:
            held = [(part, segment_id(part.segment)) for part in hit.parts or (hit,)]
            parts = [replace(part, segment=whole[key]) for part, key in held if key in whole]
            if parts:
                found = make_moment(parts) if hit.parts else parts[0]
                matched = bm25.matching_words(words, found.segment.searchable_text)
                yield replace(found, why=replace(found.why, matched=matched, noise_floor=noise_floor))

    def calibrate(self) -> CollectionCalibration:
        """What channels and search give to queries that the collection does not answer.

        It is read from where it is kept, and measured where that does not fit the collection any more.
        """
        with self._measuring:
            return self._fitting()

    def _fitting(self) -> CollectionCalibration:
        counts = {kind: self._index.count(Filter(where={"kind": kind})) for kind in get_args(Kind)}
        cards = [encoder.card for encoder in (self._text, self.dual, self.audio) if encoder]
        encoders = tuple(card.revision for card in cards)
        if not self._calibrated.fit(encoders, counts) and self._kept and self._kept.exists():
            self._calibrated = CollectionCalibration.from_json(self._kept.read_text("utf-8"))
        if not self._calibrated.fit(encoders, counts):
            null_scores = self.null_scores().items()
            channels = {
                name: calibrate(scores, _LEAST_DEVIATION[CHANNELS[name].vector]) for name, scores in null_scores
            }
            self._calibrated = CollectionCalibration(encoders, counts, channels, self._measure_noise_floor(channels))
            if self._kept:
                self._kept.write_text(self._calibrated.to_json(), "utf-8")
        self._counted = sum(counts.values())
        return self._calibrated

    def _current(self) -> CollectionCalibration:
        """The calibrations, compared with the collection where its size has changed: that is one count a question.

        While another thread measures them anew, which takes seconds, the old ones are believed.
        """
        if self._counted == self._index.count() or (self._calibrated.channels and self._measuring.locked()):
            return self._calibrated
        return self.calibrate()

    def null_scores(self) -> dict[str, list[float]]:
        """By channel, its best scores for words, pictures and sounds that hardly any collection has to do with."""
        # One null for all words: among 2,337 passages and 749 pictures, 328 of them with captions, the middles are 0.28
        # and 0.23, with deviations of 0.09 and 0.10; those of BM25 7.1 and 6.6, with 1.6 and 2.9.
        best: dict[str, list[float]] = {}
        sounds = unrelated_sounds(self.audio.sample_rate) if self.audio else ()
        for words, picture, sound in zip_longest(UNRELATED_QUESTIONS, unrelated_pictures(), sounds):
            seen, heard = () if picture is None else (picture,), () if sound is None else (sound,)
            asking = Query(
                parts=(QueryPart(words), QueryPart(pictures=seen), QueryPart(sounds=heard))
            )  # asks every channel
            for name, found in self._found(self._plan(asking, 1, Filter())).items():
                best.setdefault(name, []).append(found[0][1] if found else 0.0)
        return best

    def _measure_noise_floor(self, channels: Mapping[str, Calibration]) -> float:
        """The best score that nonsense gets."""
        best = 0.0
        for words in nonsense_questions():
            plan = self._plan(Query(words), _NONSENSE_DEPTH, Filter())
            hits = self._ranked(plan, self._found(plan), channels)
            best = max(best, hits[0].score if hits else 0.0)
        return best


def _ranking(asked: ChannelRequest, found: ScoredSegments, calibrations: Mapping[str, Calibration]) -> Ranking:
    channel, scores = asked.channel, [(segment_id(segment), score) for segment, score in found]
    vectors = [query.query for query in asked.queries if not isinstance(query.query, str)]
    one = calibrations.get(asked.name)
    calibration = calibrate_best_of(one, vectors) if one and vectors else one
    plain = Ranking(channel.view, scores, channel.weight, calibration, part=asked.part)
    return replace(plain, trust=plain.trust * asked.weight)


def _places(plan: SearchPlan, rankings: Mapping[str, Ranking]) -> dict[str, tuple[ChannelScore, ...]]:
    """The channels that found each segment."""
    places: dict[str, tuple[ChannelScore, ...]] = {}
    for name, ranking in rankings.items():
        for rank, (key, score) in enumerate(ranking.scores, 1):
            channel = ChannelScore(name, rank, score, ranking.confidence(score), plan[name].weight)
            places[key] = (*places.get(key, ()), channel)
    return places


def _film(hit: Hit) -> str | None:
    """The film that a frame or a moment is of, which may be one long scene."""
    return hit.segment.asset_id if hit.segment.kind in ("frame", "moment") else None


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
