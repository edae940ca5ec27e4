"""Items as the page of an evaluation shows them: pictures and words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import MediaError
from rag.evaluation.retrieval_sets import Item, picture
from rag.media import crop, data_uri
from rag.types import Locator

if TYPE_CHECKING:
    from PIL.Image import Image

_THUMBNAIL_PX = 168
_MOST_CHARS = 220  # of a text in a card


@dataclass(frozen=True, slots=True)
class ReportCard:
    """An item as the page shows it: a picture as a data URI, or its words; `note` says what it is and why it came."""

    words: str
    source: str = ""
    note: str = ""


def card(thing: Item, why: str = "") -> ReportCard:
    """Return the card of an item; `why` says why it came."""
    source, notes = "", [str(thing.medium)] if thing.medium in ("sound", "speech") else []
    if thing.medium == "image":
        try:
            source = _thumbnail(picture(thing))
        except MediaError:
            notes = ["the picture has gone"]
    return ReportCard(shorten(thing.text or thing.id), source, " · ".join(filter(None, (*notes, why))))


def place_card(path: Path, place: Locator, words: str, note: str) -> ReportCard:
    """Return the card of a place in a file: its part of a page, picture or film, or else its words."""
    try:
        source = _thumbnail(crop(path, place))
    except MediaError:  # words, sound, or a file that has gone
        source = ""
    return ReportCard(shorten(words or path.name), source, note)


def shorten(text: str) -> str:
    """Return the words of a text, cut off where a card is full."""
    words = " ".join(text.split())
    return words if len(words) <= _MOST_CHARS else words[: _MOST_CHARS - 1] + "…"


def _thumbnail(pixels: Image) -> str:
    pixels.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    return data_uri(pixels)
