"""Make scores comparable: measure what each channel of a collection gives to queries that it cannot answer.

A cosine of 0.3 means little between two sentences, and much between a sentence and a photo. So every channel is queried
with questions, pictures and sounds that hardly any collection answers (`rag.retrieval.null_queries`). The best scores
that come back are the channel's null scores, for this encoder, this kind of query and this medium;
`rag.retrieval.fusion.Calibration` reads a score against them. They are measured when a collection is ingested, stored
beside it, and measured again when its segments of any kind have grown or shrunk by half.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import get_args

from rag.index.base import SegmentIndex
from rag.retrieval.candidates import fuse_channels, search_channels
from rag.retrieval.channels import CHANNELS
from rag.retrieval.fusion import Calibration, calibrate
from rag.retrieval.null_queries import NullQueries
from rag.retrieval.planner import QueryPlanner
from rag.types import Filter, Kind

_GROWTH = 1.5
_NONSENSE_DEPTH = 3
# In a collection of three segments all unanswerable questions may have the same best score.
_LEAST_DEVIATION = {"text": 0.03, "joint": 0.03, "sound": 0.05, "bm25": 1.0}


@dataclass(frozen=True)
class CollectionCalibration:
    """The calibrations of a collection's channels.

    Attributes:
        encoders: revisions of the encoders' cards at the time of the measurement.
        segments: number of segments of each kind at that time.
        channels: calibration by channel; None before the first measurement.
        noise_floor: the best score of a nonsense query; hits below it mean nothing.
    """

    encoders: tuple[str, ...] = ()
    segments: Mapping[Kind, int] = field(default_factory=dict)
    channels: Mapping[str, Calibration] | None = None
    noise_floor: float = 0.0

    def fits(self, encoders: tuple[str, ...], segments: Mapping[Kind, int]) -> bool:
        """Return whether it holds for these encoders and this many segments of each kind; never if a kind is new."""
        if self.channels is None or self.encoders != encoders:
            return False
        sizes = ((self.segments.get(kind, 0), segments.get(kind, 0)) for kind in {*self.segments, *segments})
        return all(then / _GROWTH <= now <= then * _GROWTH for then, now in sizes)

    def to_json(self) -> str:
        """Return one JSON object; `from_json` reads it back to an equal calibration.

        The keys `lanes` and `least_believed` are older than the attributes' names, so that files of earlier versions
        stay readable.
        """
        values = {
            "encoders": self.encoders,
            "segments": dict(self.segments),
            "lanes": None if self.channels is None else {name: asdict(one) for name, one in self.channels.items()},
            "least_believed": self.noise_floor,
        }
        return json.dumps(values, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CollectionCalibration:
        """Read what `to_json` wrote; return an empty calibration, which fits nothing, for anything else."""
        try:
            values = json.loads(text)
            channels = {name: Calibration(**one) for name, one in values["lanes"].items()}
            return cls(tuple(values["encoders"]), dict(values["segments"]), channels, float(values["least_believed"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()


class Calibrator:
    """Measures a collection's calibration, stores it in a file and renews it as the collection changes.

    Threads may share it.

    Args:
        index: the collection.
        planner: plans the queries.
        null_queries: what to ask.
        file: where the calibration is stored; None to measure once per process.
    """

    def __init__(
        self, index: SegmentIndex, planner: QueryPlanner, null_queries: NullQueries, file: Path | None = None
    ) -> None:
        self._index, self._planner, self._null_queries, self._file = index, planner, null_queries, file
        self._calibration = CollectionCalibration()
        self._segment_count: int | None = None
        self._lock = threading.Lock()

    @property
    def is_measuring(self) -> bool:
        """Whether a thread is measuring, or reading the stored calibration, at the moment."""
        return self._lock.locked()

    @property
    def noise_floor(self) -> float:
        """The best score that a search for nonsense gets; a hit below it matches no better than by chance."""
        return self.calibrate().noise_floor

    def current(self) -> CollectionCalibration:
        """Return the calibration, renewed if the number of segments has changed: one count per question.

        While another thread measures, which takes seconds, the old calibration is returned.
        """
        if self._segment_count == self._index.count() or (self._calibration.channels and self.is_measuring):
            return self._calibration
        return self.calibrate()

    def calibrate(self) -> CollectionCalibration:
        """Return a calibration that fits the collection: the present one, the stored one, or else a new one.

        Raises:
            IndexUnavailable: the store failed.
        """
        with self._lock:
            segments = {kind: self._index.count(Filter(where={"kind": kind})) for kind in get_args(Kind)}
            encoders = tuple(card.revision for card in self._planner.cards)
            if not self._calibration.fits(encoders, segments) and self._file and self._file.exists():
                self._calibration = CollectionCalibration.from_json(self._file.read_text("utf-8"))
            if not self._calibration.fits(encoders, segments):
                self._calibration = self._measure(encoders, segments)
                if self._file:
                    self._file.write_text(self._calibration.to_json(), "utf-8")
            self._segment_count = sum(segments.values())
            return self._calibration

    def null_scores(self) -> dict[str, list[float]]:
        """Return the best scores of each channel for words, pictures and sounds that hardly any collection answers."""
        # One distribution serves all words: among 2,337 passages and 749 pictures, 328 of them with captions, the
        # medians are 0.28 and 0.23, with deviations of 0.09 and 0.10; those of BM25 are 7.1 and 6.6, with 1.6 and 2.9.
        best: dict[str, list[float]] = {}
        for query in self._null_queries.unrelated():
            for name, found in search_channels(self._index, self._planner.plan(query, 1, Filter())).items():
                best.setdefault(name, []).append(found[0][1] if found else 0.0)
        return best

    def _measure(self, encoders: tuple[str, ...], segments: Mapping[Kind, int]) -> CollectionCalibration:
        channels = {
            name: calibrate(scores, _LEAST_DEVIATION[CHANNELS[name].vector])
            for name, scores in self.null_scores().items()
        }
        return CollectionCalibration(encoders, segments, channels, self._measure_noise_floor(channels))

    def _measure_noise_floor(self, channels: Mapping[str, Calibration]) -> float:
        best = 0.0
        for query in self._null_queries.nonsense():
            plan = self._planner.plan(query, _NONSENSE_DEPTH, Filter())
            hits = fuse_channels(plan, search_channels(self._index, plan), channels)
            best = max(best, hits[0].score if hits else 0.0)
        return best
