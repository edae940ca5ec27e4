"""What a knowledge base holds: its assets, their files, segments and vectors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rag.explanation import Explanation
from rag.segments import segment_id
from rag.types import FileResult, Hit

if TYPE_CHECKING:
    from rag.catalog.catalog import Catalog, CatalogEntry
    from rag.encoders.base import Vectors
    from rag.index.base import Dense, SegmentIndex


@dataclass(frozen=True)
class Status:
    """What a knowledge base holds, in numbers.

    Attributes:
        path: its folder.
        assets: number of assets by state.
        segments: number of segments by modality.
        failed: the files that are not indexed, each with the reason.
        encoders: names of the encoders that made its vectors.
        disk_bytes: size of its folder; the media files themselves lie elsewhere.
    """

    path: str
    assets: Mapping[str, int]
    segments: Mapping[str, int]
    failed: tuple[FileResult, ...]
    encoders: Mapping[str, str]
    disk_bytes: int


class Contents:
    """The assets and segments of a knowledge base, for listings, maps and exports; `KnowledgeBase.contents` is one.

    Args:
        catalog: knows the assets and their files.
        index: holds the segments.
        locate: adds the paths of their files to hits.

    Raises:
        IndexUnavailable: from any method, when the store or the catalog failed.
    """

    def __init__(self, catalog: Catalog, index: SegmentIndex, locate: Callable[[Sequence[Hit]], list[Hit]]) -> None:
        self._catalog, self._index, self._locate = catalog, index, locate

    def assets(self) -> list[CatalogEntry]:
        """Return all indexed assets, in no particular order."""
        return self._catalog.entries()

    def asset(self, asset_id: str) -> CatalogEntry | None:
        """Return the indexed asset with this id, or None."""
        return next(iter(self._catalog.entries(asset_id)), None)

    def files(self, asset_id: str) -> list[Path]:
        """Return the files that hold an asset, sorted; an unknown asset has none."""
        return [Path(path) for path in self._catalog.paths_of([asset_id]).get(asset_id, ())]

    def segments(self) -> Iterator[Hit]:
        """Yield every segment, file by file, as a hit with a score of 0."""
        for asset_id in self._catalog.asset_ids():
            yield from self.segments_of(asset_id)

    def segments_of(self, asset_id: str) -> list[Hit]:
        """Return the segments of one asset in their order, as hits with a score of 0; an unknown asset has none."""
        return self._locate([Hit(segment, Explanation(0.0)) for segment in self._index.segments_of(asset_id)])

    def count(self) -> int:
        """Return the number of segments."""
        return self._index.count()

    def vectors(self, hits: Sequence[Hit], space: Dense = "joint") -> dict[str, Vectors]:
        """Return vectors (dimensions,) of unit length by `rag.segments.segment_id`; hits without one are left out.

        Args:
            hits: stored segments; moments of videos are not stored, but their `parts` are.
            space: ``joint`` for words and pictures, ``text`` for words, ``sound`` for sounds.
        """
        return self._index.vectors([segment_id(hit.segment) for hit in hits], space)


def disk_bytes(folder: Path) -> int:
    """Return the bytes that a folder takes on disk.

    The vector store reserves space in sparse files, so blocks are counted and not file lengths.
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # it has just been deleted
                stat = os.stat(os.path.join(parent, name))
                total += stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size
    return total
