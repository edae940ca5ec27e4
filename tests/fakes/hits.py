"""Hits as a search returns them."""

from __future__ import annotations

from rag.explanation import Explanation
from rag.types import Hit, ImageRegion, PageBox, Segment, TimeSpan
from tests.fakes.segments import asset


def passage(text: str, page: int = 1, name: str = "birds.pdf", relevance: float | None = None) -> Hit:
    """Return a passage on a page."""
    segment = Segment(asset(name), page, "text", "passage", PageBox(page), text=text, title=name)
    return Hit(segment, Explanation(1.0, relevance=relevance), f"/media/{name}")


def speech(text: str, start_s: float, end_s: float, name: str = "walk.mp3") -> Hit:
    """Return words spoken in a recording."""
    return Hit(
        Segment(asset(name), 0, "audio", "speech", TimeSpan(start_s, end_s), text=text),
        Explanation(1.0),
        f"/media/{name}",
    )


def picture(name: str, *tags: str, caption: str = "", text: str = "", relevance: float | None = None) -> Hit:
    """Return a picture with the tags of a classifier."""
    segment = Segment(
        asset(name), 0, "image", "picture", ImageRegion(), text=text, caption=caption, tags=tags, title=name
    )
    return Hit(segment, Explanation(1.0, relevance=relevance), f"/media/{name}")
