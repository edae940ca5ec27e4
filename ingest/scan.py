"""What lies under the given paths, and what a run is to do with each file; nothing is written here."""

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

_MAX_NAMED = 3  # pictures that are named


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """What a look at a file found.

    Attributes:
        path: the file, or a folder that is unreadable.
        state: ``unchanged`` since it was indexed; ``known``, with content that is indexed already; ``new``; ``copy``,
            with the content of a new file before it; ``failed``; ``unreadable``.
        source: of a file that is known, new or a copy.
        asset: of a file that is unchanged or known.
        reason: why it failed or is unreadable, or what it is a copy of.
    """

    path: Path
    state: Literal["unchanged", "known", "new", "copy", "failed", "unreadable"]
    source: Source | None = None
    asset: AssetRecord | None = None
    reason: str = ""


class Scan:
    """The files under the given paths against what the catalog knows.

    Args:
        paths: files and folders.
        catalog: what is indexed.
        recipe: hash of all besides a file that decides its segments.
        workers: readers that look at content.
    """

    def __init__(self, paths: Sequence[Path], catalog: Catalog, recipe: str, workers: WorkerPool) -> None:
        self._catalog, self._recipe, self._workers = catalog, recipe, workers
        self._roots = [Path(os.path.abspath(path)) for path in paths]
        entries = list(walk(paths))
        self._files = [entry for entry in entries if isinstance(entry, Path)]
        self._unreadable = [entry for entry in entries if isinstance(entry, UnreadablePath)]
        self._notes, self._missing = gather_notes(self._files, workers)

    def add_missing_pictures(self, result: FileResult) -> FileResult:
        """A result, and of a catalogue which of its pictures are not there: their rows are in no picture's metadata."""
        missing = self._missing.get(Path(result.path), ())
        if not missing or result.reason:
            return result
        some = ", ".join([*missing[:_MAX_NAMED], *(["…"] if len(missing) > _MAX_NAMED else [])])
        return replace(result, reason=f"its rows name pictures that are not among the files ({len(missing)}): {some}")

    def scan_files(self) -> Iterator[ScannedFile]:
        """Yield what each file is; one that was indexed before is opened only if its size or time has changed."""
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
        """Yield the indexed files that have gone from the given folders, each once though one may lie in several.

        Below an unreadable folder nothing is known to have gone. A hidden file that was given by name once is there
        although folders are taken in without it.
        """
        present = {str(path) for path in self._files}
        hidden = [entry.path for entry in self._unreadable]
        known = (file for root in self._roots if root.is_dir() for file in self._catalog.files_under(root))
        for file in dict.fromkeys(known):
            if str(file) in present or any(file.is_relative_to(folder) for folder in hidden):
                continue
            if not os.path.isfile(file):
                yield file

    def _scan_file(self, path: Path) -> ScannedFile:
        said = self._notes.get(path, PictureNotes())
        asset = self._catalog.find_unchanged(path, self._recipe, *said)
        if asset is not None:
            return ScannedFile(path, "unchanged", asset=asset)
        try:
            (source,) = self._workers.run("identify", path)
        except ExhibitError as error:
            return ScannedFile(path, "failed", reason=str(error))
        source, is_catalogued = self._with_what_is_said(source)
        asset = self._catalog.find_finished(source, self._recipe, is_catalogued=is_catalogued)
        return ScannedFile(path, "new" if asset is None else "known", source, asset)

    def _with_what_is_said(self, source: Source) -> tuple[Source, bool]:
        """With what is said of all copies of the file, so that it does not matter which copy is read.

        And whether a catalogue knows of any of them. Where rows of theirs differ, the first path's counts.
        """
        copies = [Path(path) for path in self._catalog.paths_of([source.asset_id]).get(source.asset_id, ())]
        found = [self._notes[path] for path in sorted({source.path, *copies}) if path in self._notes]
        captions = dict.fromkeys(caption for said in found for caption in said.captions)
        rows = [said.fields for said in found if said.fields is not None]
        fields = {name: value for row in reversed(rows) for name, value in row.items()}
        return replace(source, captions=tuple(captions), fields=fields), bool(rows)
