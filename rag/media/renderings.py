"""Renderings of places, stored as files: each is made on the first request and served from then on."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Literal, get_args

from PIL.Image import Image

from rag.errors import UnsupportedMedia
from rag.media.clips import clip, waveform
from rag.media.files import check_same
from rag.media.pictures import crop, highlight, thumbnail
from rag.segments import to_fragment
from rag.types import Locator, TimeSpan

View = Literal["marked", "crop", "thumbnail", "clip", "waveform"]
VIEWS: tuple[View, ...] = get_args(View)
THUMBNAIL_PX = 320


class Renderings:
    """The renderings of one knowledge base, below a folder; threads and processes may share it.

    Attributes:
        folder: holds a folder for each asset.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, file: Path, asset_id: str, locator: Locator, view: View) -> Path:
        """Return the path of a rendering of a place, made from the asset's file unless it exists already.

        Args:
            file: of the asset.
            asset_id: id of the content that was indexed.
            locator: the place.
            view: ``marked`` is the page, picture or frame with the place marked, ``crop`` the place alone as sharp as
                the medium allows, ``thumbnail`` the same within 320 px, all as JPEG; ``clip`` the seconds as MP4,
                ``waveform`` a picture of them as PNG.

        Raises:
            UnsupportedMedia: the place has no such view.
            MediaError: the file has gone, has changed since it was indexed, or cannot be read.
        """
        name = f"{view}-{hashlib.sha256(to_fragment(locator).encode()).hexdigest()[:16]}"
        make, suffix = _MAKERS[view]
        rendering = self.folder / asset_id / f"{name}{suffix}"
        if not rendering.exists():
            check_same(file, asset_id)
            unfinished = rendering.with_suffix(f".{threading.get_ident()}")
            content = make(file, locator)
            rendering.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(content)
            unfinished.replace(rendering)
        return rendering

    def forget(self, asset_id: str) -> None:
        """Delete the renderings of an asset."""
        shutil.rmtree(self.folder / asset_id, ignore_errors=True)


def _marked(file: Path, locator: Locator) -> bytes:
    return _encode(highlight(file, locator))


def _crop(file: Path, locator: Locator) -> bytes:
    return _encode(crop(file, locator))


def _thumbnail(file: Path, locator: Locator) -> bytes:
    return _encode(thumbnail(file, locator, THUMBNAIL_PX))


def _clip(file: Path, locator: Locator) -> bytes:
    return clip(file, _span(file, locator))


def _waveform(file: Path, locator: Locator) -> bytes:
    return _encode(waveform(file, _span(file, locator)), "PNG")


def _span(file: Path, locator: Locator) -> TimeSpan:
    if not isinstance(locator, TimeSpan):
        raise UnsupportedMedia(f"This place in {file.name} has no seconds that could be played.")
    return locator


def _encode(picture: Image, form: str = "JPEG") -> bytes:
    buffer = BytesIO()
    picture.save(buffer, form, quality=85)
    return buffer.getvalue()


_MAKERS: Mapping[View, tuple[Callable[[Path, Locator], bytes], str]] = {
    "marked": (_marked, ".jpg"),
    "crop": (_crop, ".jpg"),
    "thumbnail": (_thumbnail, ".jpg"),
    "clip": (_clip, ".mp4"),
    "waveform": (_waveform, ".png"),
}
