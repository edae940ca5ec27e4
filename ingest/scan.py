"""Find the files under the given paths and decide what a run has to do with each; nothing is written here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ingest.captions import PictureNotes, gather_notes
from ingest.formats.identify import UnreadablePath, walk
from rag.errors import ExhibitError
from rag.types import FileResult, Source

if TYPE_CHECKING:
    from ingest.reading.worker import WorkerPool
    from rag.catalog.catalog import AssetRecord, Catalog

_MAX_NAMED = 3  # missing pictures that a result lists by name


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file that was found, compared with the catalog.

    Attributes:
        path: the file, or a folder that is unreadable.
        state: ``unchanged`` since it was indexed; ``known``, with content that is indexed already; ``new``; ``copy``,
            with the content of a new file before it; ``failed``; ``unreadable``.
        source: set for a file that is known, new or a copy.
        asset: set for a file that is unchanged or known.
        reason: why it failed or is unreadable, or what it is a copy of.
    """

    path: Path
    state: Literal["unchanged", "known", "new", "copy", "failed", "unreadable"]
    source: Source | None = None
    asset: AssetRecord | None = None
    reason: str = ""


class Scan:
    """A comparison of the files under the given paths with the catalog.

    Args:
        paths: files and folders.
        catalog: what is indexed.
        recipe: hash of everything but the file that decides its segments; see `ingest.pipeline.recipe`.
        workers: readers that identify content.
    """

    def __init__(self, paths: Sequence[Path], catalog: Catalog, recipe: str, workers: WorkerPool) -> None:
        self._catalog, self._recipe, self._workers = catalog, recipe, workers
        self._roots = [Path(os.path.abspath(path)) for path in paths]
        entries = list(walk(paths))
        self._files = [entry for entry in entries if isinstance(entry, Path)]
        self._unreadable = [entry for entry in entries if isinstance(entry, UnreadablePath)]
        self._notes, self._missing = gather_notes(self._files, workers)

    def add_missing_pictures(self, result: FileResult) -> FileResult:
        """Add to a product table's result the pictures that it names but that are missing; their rows are unused."""
        missing = self._missing.get(Path(result.path), ())
        if not missing or result.reason:
            return result
        some = ", ".join([*missing[:_MAX_NAMED], *(["…"] if len(missing) > _MAX_NAMED else [])])
        return replace(result, reason=f"its rows name pictures that are not among the files ({len(missing)}): {some}")

    def scan_files(self) -> Iterator[ScannedFile]:
        """Yield the state of each file; one that was indexed before is opened only if its size or time has changed."""
        for entry in self._unreadable:
            yield ScannedFile(entry.path, "unreadable", reason=entry.reason)
        first: dict[str, Path] = {}
        for path in self._files:
            scanned = self._scan_file(path)
            if scanned.source is not None and scanned.state == "new":
                asset_id = scanned.source.asset_id
                if asset_id in first:
                    scanned = replace(scanned, state="copy", reason=f"same content as {first[asset_id]}")
                first.setdefault(asset_id, path)
            yield scanned

    def removed_files(self) -> Iterator[Path]:
        """Yield the indexed files that no longer exist in the given folders, each once even if several hold it.

        Nothing below an unreadable folder counts as removed. Nor does a hidden file that was once given by name: it
        still exists, although ingesting its folder skips it.
        """
        present = {str(path) for path in self._files}
        unreadable = [entry.path for entry in self._unreadable]
        known = (file for root in self._roots if root.is_dir() for file in self._catalog.files_under(root))
        for file in dict.fromkeys(known):
            if str(file) in present or any(file.is_relative_to(folder) for folder in unreadable):
                continue
            if not os.path.isfile(file):
                yield file

    def _scan_file(self, path: Path) -> ScannedFile:
        notes = self._notes.get(path, PictureNotes())
        asset = self._catalog.find_unchanged(path, self._recipe, *notes)
        if asset is not None:
            return ScannedFile(path, "unchanged", asset=asset)
        try:
            (source,) = self._workers.run("identify", path)
        except ExhibitError as error:
            return ScannedFile(path, "failed", reason=str(error))
        source, is_catalogued = self._add_notes(source)
        asset = self._catalog.find_finished(source, self._recipe, is_catalogued=is_catalogued)
        return ScannedFile(path, "new" if asset is None else "known", source, asset)

    def _add_notes(self, source: Source) -> tuple[Source, bool]:
        """Return the source with the notes on all its copies, and whether a product table covers any of them.

        With the notes of all copies it does not matter which copy is read. If their rows differ, the first path's wins.
        """
        copies = [Path(path) for path in self._catalog.paths_of([source.asset_id]).get(source.asset_id, ())]
        notes = [self._notes[path] for path in sorted({source.path, *copies}) if path in self._notes]
        captions = dict.fromkeys(caption for note in notes for caption in note.captions)
        rows = [note.fields for note in notes if note.fields is not None]
        fields = {name: value for row in reversed(rows) for name, value in row.items()}
        return replace(source, captions=tuple(captions), fields=fields), bool(rows)
