"""Estimate what an ingest run would do, from file headers alone: files, segments, model calls, seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ingest.formats.identify import Measure
from ingest.pipeline import Stores, recipe
from ingest.reading.worker import WorkerPool
from ingest.scan import Scan, ScannedFile
from rag.errors import ExhibitError
from rag.types import Source

# Seconds of work for one unit on 2 cores without a GPU, measured with the bundled models on real media.
_PASSAGE_S, _PAGE_S, _PICTURE_S, _AUDIO_S, _VIDEO_S = 0.03, 0.07, 0.22, 0.09, 0.12
_PASSAGE_CHARACTERS = 1000
_SPEECH_PASSAGE_S = 25.0
_WHISPER_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """The planned action for one file; its numbers are estimates."""

    path: str
    action: Literal["index", "unchanged", "fail", "remove"]
    media_type: str = ""
    reason: str = ""
    segments: int = 0
    model_calls: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The planned actions for all files."""

    files: tuple[PlannedFile, ...]

    @property
    def segments(self) -> int:
        """Estimated number of new segments."""
        return sum(file.segments for file in self.files)

    @property
    def model_calls(self) -> int:
        """Estimated number of passes through an encoder, OCR or speech model; ingest never calls the language model."""
        return sum(file.model_calls for file in self.files)

    @property
    def seconds(self) -> float:
        """Estimated seconds on 2 cores without a GPU."""
        return sum(file.seconds for file in self.files)


def plan(paths: Sequence[Path], stores: Stores) -> Plan:
    """Return what `ingest` would do with each of these files and folders."""
    workers = WorkerPool(stores.settings)
    try:
        scan = Scan(paths, stores.catalog, recipe(stores), workers)
        files = [_plan_file(scanned, stores, workers) for scanned in scan.scan_files()]
        return Plan((*files, *(PlannedFile(str(path), "remove") for path in scan.removed_files())))
    finally:
        workers.close()


def _plan_file(scanned: ScannedFile, stores: Stores, workers: WorkerPool) -> PlannedFile:
    if scanned.source is None or scanned.state != "new":
        failed = scanned.state in ("failed", "unreadable")
        return PlannedFile(str(scanned.path), "fail" if failed else "unchanged", reason=scanned.reason)
    try:
        (measure,) = workers.run("measure", scanned.source)
    except ExhibitError as error:
        return PlannedFile(str(scanned.path), "fail", reason=str(error))
    return _estimate(scanned.source, measure, stores.settings.frame_every_s)


def _estimate(source: Source, measure: Measure, frame_every_s: float) -> PlannedFile:
    frames = math.ceil(measure.video_s / frame_every_s)
    passages = max(math.ceil(measure.characters / _PASSAGE_CHARACTERS), measure.pages)
    speech = math.ceil(measure.audio_s / _SPEECH_PASSAGE_S)
    pictures = measure.pictures + frames  # each goes through the image encoder and through OCR
    seconds = (
        passages * _PASSAGE_S
        + measure.pages * _PAGE_S
        + measure.pictures * _PICTURE_S
        + measure.audio_s * _AUDIO_S
        + measure.video_s * _VIDEO_S
    )
    return PlannedFile(
        path=str(source.path),
        action="index",
        media_type=source.media_type,
        segments=passages + speech + pictures,
        model_calls=passages + speech + 2 * pictures + math.ceil(measure.audio_s / _WHISPER_WINDOW_S),
        seconds=round(seconds, 1),
    )
