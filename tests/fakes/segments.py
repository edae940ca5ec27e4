"""Segments with the vectors of the hashing encoders, as ingest would store them."""

from __future__ import annotations

import uuid

from PIL import Image

from rag.index import IndexedSegment
from rag.types import FrameRegion, ImageRegion, PageBox, Segment, TimeSpan, Word
from tests.fakes.encoders import HashingEncoder, HashingTextEncoder

TEXT = HashingTextEncoder()
DUAL = HashingEncoder(TEXT)


def asset(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def passage(name: str, text: str, ordinal: int = 0, page: int = 1) -> Segment:
    return Segment(asset(name), ordinal, "text", "passage", PageBox(page), text=text, title=name, meta={"page": page})


def photo(name: str, caption: str = "") -> Segment:
    return Segment(asset(name), 0, "image", "picture", ImageRegion(), caption=caption, title=name)


def frame(name: str, at_s: float) -> Segment:
    return Segment(asset(name), int(at_s * 10), "video", "frame", FrameRegion(at_s), title=name)


def speech(name: str, text: str) -> Segment:
    words = tuple(Word(word, float(n), n + 0.5) for n, word in enumerate(text.split()))
    return Segment(asset(name), 0, "audio", "speech", TimeSpan(0, 30), text=text, title=name, words=words)


def plain(colour: str) -> Image.Image:
    return Image.new("RGB", (8, 8), colour)


def indexed(segment: Segment, colour: str | None = None, dual: HashingEncoder = DUAL) -> IndexedSegment:
    """Embed a segment as the pipeline does: pixels, else words, in the joint space; words in the text space."""
    words = segment.searchable_text
    text = TEXT.embed_text([words])[0] if words else None
    if colour is not None:
        return IndexedSegment(segment, joint=dual.embed_images([plain(colour)])[0], text=text)
    return IndexedSegment(segment, joint=dual.embed_text([words])[0] if words else None, text=text)
