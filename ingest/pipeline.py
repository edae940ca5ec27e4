"""Turn files into segments in the index: scan, read, embed, write; each file whole or not at all.

Child processes read (`ingest.reading.worker`) while this one embeds what they have read. Segments are embedded in
batches across files, and written asset by asset between two marks in the catalog. So a run that is killed at any moment
leaves either a finished asset, or one that the next opening rolls back and the next run reads again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ingest.reading.protocol import BeatEvent, EndEvent, ErrorEvent, ItemEvent
from ingest.reading.worker import WorkerPool
from ingest.scan import Scan, ScannedFile
from ingest.vectors import embed, merge_sounds
from rag.config import Settings
from rag.errors import LLMUnavailable, MediaError, ModelError, QueryError
from rag.index.base import IndexedSegment
from rag.types import Extracted, FileResult, Source

if TYPE_CHECKING:
    from rag.catalog.catalog import Catalog
    from rag.encoders.base import AudioEncoder, DualEncoder, TextEncoder
    from rag.index.base import SegmentIndex
    from rag.media import Renderings

VERSION = 2  # raise it when readers produce other segments from the same file, so that files are read again
_BATCH = 32  # segments embedded together
_WRITE_SEGMENTS, _WRITE_S = 256, 2.0  # finished files are written together, as a write ends in an fsync


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run, reported every second.

    Attributes:
        done: files that are finished.
        total: files to read.
        path: the file whose event came last.
        segments: embedded so far from that file.
    """

    done: int
    total: int
    path: str
    segments: int = 0


@dataclass(frozen=True)
class Stores:
    """The stores that a run writes to, and the encoders it embeds with."""

    settings: Settings
    catalog: Catalog
    index: SegmentIndex
    text: TextEncoder
    dual: DualEncoder
    renderings: Renderings
    audio: AudioEncoder | None = None


@dataclass(eq=False)
class _Job:
    """A file to read, other files with the same content, and the segments so far.

    Attributes:
        source: the file that is read.
        copies: the other files with its content.
        read_s: how long reading took.
        segments: with their vectors.
        reason: why an encoder refused a segment; empty if none did.
    """

    source: Source
    copies: list[Source] = field(default_factory=list)
    read_s: float = 0.0
    segments: list[IndexedSegment] = field(default_factory=list)
    reason: str = ""

    def add_copy(self, copy: Source) -> None:
        """Add another file with this content; its captions and fields describe all copies."""
        captions = dict.fromkeys([*self.source.captions, *copy.captions])
        self.source = replace(self.source, captions=tuple(captions), fields={**copy.fields, **self.source.fields})
        self.copies.append(copy)

    def split_off_copies(self) -> _Job:
        """Return a job that reads the first copy instead of this file."""
        first, *rest = self.copies
        self.copies = []
        return _Job(replace(first, captions=self.source.captions, fields=self.source.fields), rest)


def ingest(
    paths: Sequence[Path], stores: Stores, *, on_progress: Callable[[Progress], None] | None = None
) -> Iterator[FileResult]:
    """Take in files and folders, and yield the result for each file.

    Files that have not changed since they were indexed are not read again. Files that no longer exist in one of these
    folders are removed. Content that is indexed under another name is not indexed twice.

    Raises:
        IndexUnavailable: the store failed. Finished files stay, and the next run continues.
        ModelError: an encoder behind an API cannot be reached. Finished files stay, and the next run continues.
    """
    workers = WorkerPool(stores.settings)
    try:
        scan = Scan(paths, stores.catalog, recipe(stores), workers)
        jobs: dict[str, _Job] = {}
        for scanned in scan.scan_files():
            yield from map(scan.add_missing_pictures, _register(scanned, jobs, stores))
        yield from map(scan.add_missing_pictures, _index(jobs, stores, workers, on_progress or (lambda progress: None)))
        removed = list(scan.removed_files())
        _delete_assets(stores.catalog.forget(removed), stores)
        yield from (FileResult(str(file), "removed", reason="it no longer exists") for file in removed)
    finally:
        workers.close()


def _register(scanned: ScannedFile, jobs: dict[str, _Job], stores: Stores) -> Iterator[FileResult]:
    """Yield the result of a file that needs no reading; otherwise add a job, one for each content."""
    path = str(scanned.path)
    if scanned.source is not None and scanned.state == "new":
        jobs[scanned.source.asset_id] = _Job(scanned.source)
    elif scanned.source is not None and scanned.state == "copy":
        jobs[scanned.source.asset_id].add_copy(scanned.source)
    elif scanned.asset is not None:
        if scanned.source is not None:
            _delete_assets(stores.catalog.attach(scanned.source), stores)
        state = _state(scanned.asset.segments, "unchanged")
        yield FileResult(path, state, scanned.asset.segments, asset_id=scanned.asset.id)
    else:
        if scanned.state == "failed":
            _delete_assets(stores.catalog.fail(scanned.path, scanned.reason), stores)
        yield FileResult(path, "failed", reason=scanned.reason)


def recipe(stores: Stores) -> str:
    """Return a hash of everything but the file that decides its segments; if it changes, the file is read again."""
    settings = stores.settings
    parts = [VERSION, settings.ocr, settings.transcriber, settings.language, settings.frame_every_s]
    parts += [stores.text.card.revision, stores.dual.card.revision]
    parts += [stores.audio.card.revision if stores.audio else "off"]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _index(
    jobs: dict[str, _Job], stores: Stores, workers: WorkerPool, on_progress: Callable[[Progress], None]
) -> Iterator[FileResult]:
    writer, total, again = _Writer(stores), len(jobs), dict[str, _Job]()
    sources = sorted((job.source for job in jobs.values()), key=_longest_first)
    progress = Progress(0, total, str(sources[0].path) if sources else "")
    for event in workers.each("extract", sources):
        if not isinstance(event, BeatEvent):
            source: Source = event.argument
            job = jobs[source.asset_id] if isinstance(event, ItemEvent) else jobs.pop(source.asset_id)
            match event:
                case ItemEvent(_, extracted):
                    writer.add(job, extracted)
                case EndEvent(_, seconds):
                    job.read_s = seconds
                    writer.finish(job)
                case ErrorEvent(_, error):
                    writer.forget(job)
                    if type(error) is MediaError and job.copies:  # the file is gone or changing; a copy may be sound
                        again[source.asset_id] = job.split_off_copies()
                    yield from _record_failure(job, str(error), stores)
            progress = Progress(total - len(jobs), total, str(source.path), len(job.segments))
        on_progress(progress)
        if writer.due:
            yield from writer.write()
    yield from writer.write()
    if again:
        yield from _index(again, stores, workers, on_progress)


def _record_failure(job: _Job, reason: str, stores: Stores) -> Iterator[FileResult]:
    for source in (job.source, *job.copies):
        _delete_assets(stores.catalog.fail(source.path, reason, source), stores)
        yield FileResult(str(source.path), "failed", reason=reason)


def _longest_first(source: Source) -> int:
    """Sort recordings first, long before short, so that no long one is left to a single reader at the end."""
    return -source.size if source.medium in ("audio", "video") else 0


class _Writer:
    """Embeds segments in batches across files, and writes each finished asset whole."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._batch: list[tuple[_Job, Extracted]] = []
        self._finished: list[_Job] = []
        self._written = time.monotonic()

    def add(self, job: _Job, extracted: Extracted) -> None:
        """Add a segment; embed the batch when it is full."""
        if not job.reason:
            self._batch.append((job, extracted))
        if len(self._batch) >= _BATCH:
            self._embed()

    def finish(self, job: _Job) -> None:
        """Note that all segments of this file have been added."""
        self._finished.append(job)

    def forget(self, job: _Job) -> None:
        """Drop the segments of a file that failed half-way."""
        self._batch = [(owner, extracted) for owner, extracted in self._batch if owner is not job]

    @property
    def due(self) -> bool:
        """Whether finished files have waited long enough to be worth a write."""
        waiting = sum(len(job.segments) for job in self._finished)
        return waiting >= _WRITE_SEGMENTS or time.monotonic() - self._written >= _WRITE_S

    def write(self) -> Iterator[FileResult]:
        """Write the finished files, and yield their results when they are safe on disk."""
        self._embed()
        catalog, index, key = self._stores.catalog, self._stores.index, recipe(self._stores)
        written = [job for job in self._finished if not job.reason]
        refused = [job for job in self._finished if job.reason]
        self._finished, self._written = [], time.monotonic()
        for job in written:
            job.segments = merge_sounds(job.segments)
            orphans = catalog.begin(job.source, key)
            for copy in job.copies:
                orphans += catalog.attach(copy)
            index.delete_assets([job.source.asset_id])
            index.upsert(job.segments)
            _delete_assets(orphans, self._stores)
        if written:
            index.flush()
        for job in written:
            catalog.finish(job.source.asset_id, len(job.segments))
            yield from _results_of(job)
        for job in refused:
            yield from _record_failure(job, job.reason, self._stores)

    def _embed(self) -> None:
        """Embed the batch; if that fails, embed file by file, so that no file fails for another."""
        batch, self._batch = self._batch, []
        try:
            self._add_vectors(batch)
        except ModelError as error:
            _raise_outage(error)
            for job in dict.fromkeys(job for job, _ in batch):
                try:
                    self._add_vectors([pair for pair in batch if pair[0] is job])
                except ModelError as refusal:
                    _raise_outage(refusal)
                    job.reason, job.segments = str(refusal), []

    def _add_vectors(self, batch: list[tuple[_Job, Extracted]]) -> None:
        for (job, _), indexed in zip(batch, embed([extracted for _, extracted in batch], self._stores), strict=True):
            job.segments.append(indexed)


def _raise_outage(error: ModelError) -> None:
    """End the run if an encoder cannot be reached: every file would fail, and none of them is at fault."""
    if isinstance(error.__cause__, LLMUnavailable):
        raise error


def _results_of(job: _Job) -> Iterator[FileResult]:
    path, count, asset_id = str(job.source.path), len(job.segments), job.source.asset_id
    reason = "" if count else "no text, picture or sound was found in it"
    yield FileResult(path, _state(count, "indexed"), count, reason, job.read_s, asset_id)
    for copy in job.copies:
        reason = f"same content as {path}"
        yield FileResult(str(copy.path), _state(count, "unchanged"), count, reason, asset_id=asset_id)


def remove(paths: Sequence[Path], stores: Stores) -> Iterator[FileResult]:
    """Remove files, or all files below folders, and yield a result for each.

    Raises:
        QueryError: a path is not in the knowledge base. Then nothing is removed.
    """
    known: dict[Path, None] = {}
    for path in paths:
        files = stores.catalog.files_under(Path(os.path.abspath(path)))
        if not files:
            raise QueryError(f"{path} is not in this knowledge base; `exhibit status --json` lists its files.")
        known |= dict.fromkeys(files)
    _delete_assets(stores.catalog.forget(known), stores)
    yield from (FileResult(str(file), "removed") for file in known)


def roll_back(stores: Stores) -> None:
    """Remove the assets that a killed run left half written or half removed; the next run reads their files again."""
    _delete_assets(stores.catalog.interrupted(), stores)


def _delete_assets(orphans: Sequence[str], stores: Stores) -> None:
    """Delete assets without a file: segments and renderings first, then their rows in the catalog."""
    if orphans:
        stores.index.delete_assets(list(orphans))
        stores.index.flush()
        for asset in orphans:
            stores.renderings.forget(asset)
        stores.catalog.delete(orphans)


def _state(segments: int, state: Literal["indexed", "unchanged"]) -> Literal["indexed", "unchanged", "empty"]:
    return state if segments else "empty"
