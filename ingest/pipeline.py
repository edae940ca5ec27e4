"""Files to segments in the index: look, read, embed, write; each file whole or not at all.

Reading runs in processes of its own (`ingest.worker`) while this one embeds what was read before. Segments are embedded
in batches across files, and written asset by asset between two marks in the catalog, so that a run which is killed at
any moment leaves either a finished asset or one that the next opening rolls back and the next run reads again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ingest.captions import gather
from ingest.decode import SAMPLE_RATE, resampled
from ingest.load import Source, Unreadable, walk
from ingest.sounds import merged
from ingest.worker import Workers
from rag.config import Settings
from rag.errors import ExhibitError, QueryError
from rag.index.base import IndexedSegment
from rag.types import Extracted, FileResult

if TYPE_CHECKING:
    from rag.catalog import Catalog
    from rag.encoders.base import AudioEncoder, DualEncoder, TextEncoder
    from rag.index.base import SegmentIndex

VERSION = 2  # raise when readers produce other segments from the same file, so that files are read again
_BATCH = 32  # segments embedded together
_WRITE_SEGMENTS, _WRITE_S = 256, 2.0  # finished files wait for company at most this long: a write ends in an fsync


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: files done of all, and the segments read so far from the one in work."""

    done: int
    total: int
    path: str
    segments: int = 0


@dataclass(frozen=True)
class Stores:
    """What a run writes to and embeds with."""

    settings: Settings
    catalog: Catalog
    index: SegmentIndex
    text: TextEncoder
    dual: DualEncoder
    thumbnails: Path
    audio: AudioEncoder | None = None


@dataclass
class _Job:
    source: Source
    read_s: float = 0.0
    segments: list[IndexedSegment] = field(default_factory=list)


def ingest(
    paths: Sequence[Path], stores: Stores, *, on_progress: Callable[[Progress], None] | None = None
) -> Iterator[FileResult]:
    """Take in files and folders, and yield what became of each file.

    Files that are unchanged since they were indexed are not read again; files that have gone from a folder named here
    are removed; content that is indexed under another name is not indexed twice.

    Raises:
        IndexUnavailable: the store failed; what is finished stays, and the next run goes on.
    """
    workers = Workers(stores.settings)
    try:
        scan = _Scan(paths, stores, workers)
        yield from scan.results()
        yield from _index(scan.sources, stores, workers, on_progress or (lambda progress: None))
        yield from _remove_missing(paths, scan, stores)
    finally:
        workers.close()


class _Scan:
    """What lies under the given paths, and which of it has to be read."""

    def __init__(self, paths: Sequence[Path], stores: Stores, workers: Workers) -> None:
        self._stores, self._workers = stores, workers
        entries = list(walk(paths))
        self.files = [entry for entry in entries if isinstance(entry, Path)]
        self.unreadable = [entry for entry in entries if isinstance(entry, Unreadable)]
        self.sources: list[Source] = []
        self._captions = gather(self.files)

    def results(self) -> Iterator[FileResult]:
        """Yield a result for each file that needs no reading; the others are left in `sources`, each content once."""
        for entry in self.unreadable:
            yield FileResult(str(entry.path), "failed", reason=entry.reason)
        first: dict[str, Path] = {}
        for path in self.files:
            found = self._look(path)
            if isinstance(found, FileResult):
                yield found
            elif found.asset_id in first:
                _drop(self._stores.catalog.attach(found), self._stores)
                yield FileResult(str(path), "unchanged", reason=f"same content as {first[found.asset_id]}")
            else:
                first[found.asset_id] = path
                self.sources.append(found)

    def _look(self, path: Path) -> FileResult | Source:
        catalog = self._stores.catalog
        captions = self._captions.get(path, ())
        known = catalog.unchanged(path, recipe(self._stores), captions)
        if known is not None:
            return FileResult(str(path), _state(known.segments, "unchanged"), known.segments, asset_id=known.id)
        try:
            (source,) = self._workers.run("identify", path, captions)
        except ExhibitError as error:
            _drop(catalog.fail(path, str(error)), self._stores)
            return FileResult(str(path), "failed", reason=str(error))
        source = self._with_all_captions(source)
        known = catalog.finished(source, recipe(self._stores))
        if known is None:
            return source
        _drop(catalog.attach(source), self._stores)
        return FileResult(str(path), _state(known.segments, "unchanged"), known.segments, asset_id=known.id)

    def _with_all_captions(self, source: Source) -> Source:
        """The captions of all copies of the file, so that it does not matter which copy is read."""
        copies = [Path(path) for path in self._stores.catalog.paths_of([source.asset_id]).get(source.asset_id, ())]
        found = [caption for path in (source.path, *copies) for caption in self._captions.get(path, ())]
        return replace(source, captions=tuple(dict.fromkeys(found)))


def recipe(stores: Stores) -> str:
    """Hash of all besides a file that decides its segments; when it changes, the file is read again."""
    settings = stores.settings
    parts = [VERSION, settings.ocr, settings.transcriber, settings.language, settings.frame_every_s]
    parts += [stores.text.card.revision, stores.dual.card.revision]
    parts += [stores.audio.card.revision if stores.audio else "off"]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _index(
    sources: list[Source], stores: Stores, workers: Workers, on_progress: Callable[[Progress], None]
) -> Iterator[FileResult]:
    writer, jobs, done = _Writer(stores), {source.asset_id: _Job(source) for source in sources}, 0
    for source, what, value in workers.each("extract", sorted(sources, key=_longest_first)):
        job = jobs[source.asset_id]
        if what == "item":
            writer.add(job, value)
        elif what == "end":
            job.read_s = value
            writer.finish(job)
        else:
            writer.forget(job)
            _drop(stores.catalog.fail(source.path, str(value), source), stores)
            yield FileResult(str(source.path), "failed", reason=str(value))
        done += what != "item"
        on_progress(Progress(done, len(sources), str(source.path), len(job.segments)))
        if writer.due:
            yield from writer.write()
    yield from writer.write()


def _longest_first(source: Source) -> int:
    """Recordings before all else, long ones first, so that none is left to one reader at the end."""
    return -source.size if source.medium in ("audio", "video") else 0


class _Writer:
    """Embeds segments in batches across files, and writes each finished asset whole."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._batch: list[tuple[_Job, Extracted]] = []
        self._finished: list[_Job] = []
        self._written = time.monotonic()

    def add(self, job: _Job, extracted: Extracted) -> None:
        """Take a segment; a full batch is embedded."""
        self._batch.append((job, extracted))
        if len(self._batch) >= _BATCH:
            self._embed()

    def finish(self, job: _Job) -> None:
        """All segments of this file have been added."""
        self._finished.append(job)

    def forget(self, job: _Job) -> None:
        """Drop what was read of a file that failed half-way."""
        self._batch = [(owner, extracted) for owner, extracted in self._batch if owner is not job]

    @property
    def due(self) -> bool:
        """Whether finished files have waited long enough to be worth a write."""
        waiting = sum(len(job.segments) for job in self._finished)
        return waiting >= _WRITE_SEGMENTS or time.monotonic() - self._written >= _WRITE_S

    def write(self) -> Iterator[FileResult]:
        """Write the finished files, and yield their results once they are safe on disk."""
        self._embed()
        catalog, index, key = self._stores.catalog, self._stores.index, recipe(self._stores)
        for job in self._finished:
            job.segments = merged(job.segments)
            orphans = catalog.begin(job.source, key)
            index.delete_assets([job.source.asset_id])
            index.upsert(job.segments)
            _drop(orphans, self._stores)
        if self._finished:
            index.flush()
        for job in self._finished:
            count = len(job.segments)
            reason = "" if count else "nothing in it to read, see or hear"
            catalog.finish(job.source.asset_id, count)
            path, state = str(job.source.path), _state(count, "indexed")
            yield FileResult(path, state, count, reason, job.read_s, job.source.asset_id)
        self._finished, self._written = [], time.monotonic()

    def _embed(self) -> None:
        batch, self._batch = self._batch, []
        for (job, _), indexed in zip(batch, embed([extracted for _, extracted in batch], self._stores), strict=True):
            job.segments.append(indexed)


def embed(batch: Sequence[Extracted], stores: Stores) -> list[IndexedSegment]:
    """Segments with their vectors: pixels in the joint space, words in the text space, words without pixels in both.

    What is heard and is no speech has a vector in the space of sounds.
    """
    segments = [extracted.segment for extracted in batch]
    joint: list[NDArray[np.float32] | None] = [None] * len(batch)
    text: list[NDArray[np.float32] | None] = [None] * len(batch)
    seen = [n for n, extracted in enumerate(batch) if extracted.picture is not None]
    if seen:
        look = stores.dual.look([picture for extracted in batch if (picture := extracted.picture) is not None])
        for n, vector, tags in zip(seen, look.vectors, look.tags, strict=True):
            joint[n], segments[n] = vector, segments[n].tagged(tags)
    worded = [n for n, segment in enumerate(segments) if segment.searchable_text.strip()]
    if worded:
        words = [segments[n].searchable_text for n in worded]
        vectors = stores.text.embed_text(words)
        lifted = stores.dual.of_text(vectors)
        for n, vector, other in zip(
            worded, vectors, stores.dual.embed_text(words) if lifted is None else lifted, strict=True
        ):
            text[n] = vector
            joint[n] = other if joint[n] is None else joint[n]
    return _with_sounds([IndexedSegment(*each) for each in zip(segments, joint, text, strict=True)], batch, stores)


def _with_sounds(indexed: list[IndexedSegment], batch: Sequence[Extracted], stores: Stores) -> list[IndexedSegment]:
    heard = [(n, extracted.sound) for n, extracted in enumerate(batch) if extracted.sound is not None]
    if stores.audio is None or not heard:
        return indexed
    look = stores.audio.listen([resampled(sound, SAMPLE_RATE, stores.audio.sample_rate) for _, sound in heard])
    for (n, _), vector, tags in zip(heard, look.vectors, look.tags, strict=True):
        indexed[n] = replace(indexed[n], segment=indexed[n].segment.tagged(tags), sound=vector)
    return indexed


def remove(paths: Sequence[Path], stores: Stores) -> Iterator[FileResult]:
    """Forget files, or all files below folders, and yield a result for each.

    Raises:
        QueryError: a path is not in the knowledge base.
    """
    for path in paths:
        known = stores.catalog.files_under(Path(os.path.abspath(path)))
        if not known:
            raise QueryError(f"{path} is not in this knowledge base; `exhibit status --json` lists what is.")
        for file in known:
            _drop(stores.catalog.forget(file), stores)
            yield FileResult(str(file), "removed")


def roll_back(stores: Stores) -> None:
    """Take out what a killed run left half written or half removed; its files are read again by the next run."""
    _drop(stores.catalog.interrupted(), stores)


def _remove_missing(paths: Sequence[Path], scan: _Scan, stores: Stores) -> Iterator[FileResult]:
    """Forget files that have gone from the given folders; below an unreadable folder nothing is known to have gone."""
    present = {str(path) for path in scan.files}
    hidden = [entry.path for entry in scan.unreadable if entry.is_folder]
    for root in (Path(os.path.abspath(path)) for path in paths):
        for file in stores.catalog.files_under(root) if root.is_dir() else ():
            if str(file) not in present and not any(file.is_relative_to(folder) for folder in hidden):
                _drop(stores.catalog.forget(file), stores)
                yield FileResult(str(file), "removed", reason="it has gone from its folder")


def _drop(orphans: Sequence[str], stores: Stores) -> None:
    """Delete assets that no file stands for any more: segments and thumbnails first, then their rows."""
    if orphans:
        stores.index.delete_assets(list(orphans))
        stores.index.flush()
        for asset in orphans:
            shutil.rmtree(stores.thumbnails / asset, ignore_errors=True)
        stores.catalog.delete(orphans)


def _state(segments: int, state: Literal["indexed", "unchanged"]) -> Literal["indexed", "unchanged", "empty"]:
    return state if segments else "empty"
