"""The media of a knowledge base: a picture, a clip or a waveform of any place in its files, made on first request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from rag.errors import QueryError, UnsupportedMedia
from rag.media.renderings import Renderings, View
from rag.types import PIXELS, Hit, Locator, PageBox


class MediaLibrary:
    """Thumbnails and renderings of what a knowledge base holds; `KnowledgeBase.media` is one.

    Args:
        renderings: makes and stores the files.
        paths_of: the files that hold each asset.
    """

    def __init__(self, renderings: Renderings, paths_of: Callable[[Collection[str]], Mapping[str, list[str]]]) -> None:
        self._renderings, self._paths_of = renderings, paths_of

    def thumbnail(self, hit: Hit) -> Path | None:
        """Return the path of a small picture of a hit, or None if it has nothing to show.

        Raises:
            MediaError: the hit's file has gone or has changed.
        """
        shown = hit.picture_segment or hit.segment
        if shown.kind not in PIXELS and not isinstance(shown.locator, PageBox):
            return None
        try:
            return self._renderings.get(Path(hit.path), shown.asset_id, shown.locator, "thumbnail")
        except UnsupportedMedia:  # slides cannot be drawn
            return None

    def rendering(self, asset_id: str, locator: Locator, view: View) -> Path:
        """Return the path of a file that shows or plays a place; see `rag.media.Renderings.get` for the views.

        Raises:
            QueryError: the knowledge base has no file of the asset.
            MediaError: the file has gone or has changed, or the place has no such view.
        """
        held = self._paths_of([asset_id]).get(asset_id)
        if not held:
            raise QueryError(f"There is no asset {asset_id} in this knowledge base.")
        return self._renderings.get(Path(held[0]), asset_id, locator, view)
