"""The written forms of a segment, the unit of evidence, and its name and place for people.

A segment is a value (`rag.types.Segment`) or the payload of a point in the vector store (flat JSON); its locator is a
value or a W3C media fragment (``#page=3&xywh=percent:10,20,30,40``, ``#t=12.400,19.000``, ``#char=100,240``). Writing
and reading back gives the same value.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag.errors import QueryError
from rag.types import Box, CharSpan, FrameRegion, Hit, ImageRegion, Kind, Locator, PageBox, Segment, TimeSpan, Word

_LONGEST_SHOT_S = 8.0  # of a shot that is played for its frame
# What people call each kind of segment.
KIND_NAMES: dict[Kind, str] = {
    "passage": "Passage",
    "speech": "Speech",
    "sound": "Sound",
    "picture": "Picture",
    "figure": "Figure",
    "frame": "Video frame",
    "moment": "Video",
}
# Names of a payload's own fields, which metadata may not use.
RESERVED = frozenset(
    {"asset_id", "modality", "kind", "ordinal", "fragment", "text", "caption", "tags", "title", "words", "geo"}
)


def segment_id(segment: Segment) -> str:
    """Return a UUID that is the same whenever the same asset is segmented in the same way."""
    place = f"{segment.ordinal}:{segment.kind}:{to_fragment(segment.locator)}"
    return str(uuid.uuid5(uuid.UUID(segment.asset_id), place))


def to_payload(segment: Segment) -> dict[str, Any]:
    """Return a segment as flat JSON, as stored with its vectors; it never holds media.

    Only the location of a picture is nested: ``geo`` repeats its ``lat`` and ``lon``.
    """
    payload: dict[str, Any] = dict(segment.meta)
    clash = RESERVED & set(payload)
    if clash:
        raise ValueError(f"Metadata may not use the reserved names {sorted(clash)}.")
    payload |= {
        "asset_id": segment.asset_id,
        "ordinal": segment.ordinal,
        "modality": segment.modality,
        "kind": segment.kind,
        "fragment": to_fragment(segment.locator),
        "text": segment.text,
        "caption": segment.caption,
        "tags": list(segment.tags),
        "title": segment.title,
    }
    if "lat" in segment.meta and "lon" in segment.meta:  # the form of Qdrant
        payload["geo"] = {"lat": segment.meta["lat"], "lon": segment.meta["lon"]}
    if segment.words:
        payload["words"] = [[w.text, w.start_s, w.end_s, w.probability] for w in segment.words]
    return payload


def from_payload(payload: Mapping[str, Any]) -> Segment:
    """Return the segment that `to_payload` wrote."""
    return Segment(
        asset_id=payload["asset_id"],
        ordinal=payload["ordinal"],
        modality=payload["modality"],
        kind=payload["kind"],
        locator=from_fragment(payload["fragment"]),
        text=payload["text"],
        caption=payload["caption"],
        tags=tuple(payload["tags"]),
        title=payload["title"],
        words=tuple(Word(*w) for w in payload.get("words", ())),
        meta={k: v for k, v in payload.items() if k not in RESERVED},
    )


def to_fragment(locator: Locator) -> str:
    """Return the locator as the part of a URI after ``#`` (W3C Media Fragments 1.0; RFC 5147 for ``char``)."""
    match locator:
        case CharSpan(start, end):
            return f"char={start},{end}"
        case PageBox(page, box):
            return f"page={page}" + (f"&{_xywh(box)}" if box else "")
        case ImageRegion(box):
            return _xywh(box) if box else ""
        case TimeSpan(start_s, end_s):
            return f"t={start_s:.3f},{end_s:.3f}"
        case FrameRegion(at_s, box):
            return f"t={at_s:.3f}" + (f"&{_xywh(box)}" if box else "")


def from_fragment(fragment: str) -> Locator:
    """Return the locator that `to_fragment` wrote.

    Raises:
        QueryError: the fragment is malformed.
    """
    try:
        fields = dict(part.split("=", 1) for part in fragment.split("&")) if fragment else {}
        box = _box(fields["xywh"]) if "xywh" in fields else None
        if "char" in fields:
            start, end = fields["char"].split(",")
            return CharSpan(int(start), int(end))
        if "page" in fields:
            return PageBox(int(fields["page"]), box)
        if "t" in fields:
            times = [_finite(t) for t in fields["t"].split(",")]
            return TimeSpan(times[0], times[1]) if len(times) == 2 else FrameRegion(times[0], box)
        if fields and "xywh" not in fields:
            raise ValueError(fragment)
        return ImageRegion(box)
    except (ValueError, IndexError) as error:
        raise QueryError(f"`#{fragment}` is not a place in a medium; write it like #t=12.4,19.") from error


def place(segment: Segment) -> str:
    """Return the segment's place in words: ``page 3``, ``0:12–0:31``, ``frame at 0:14``; empty for a whole picture."""
    match segment.locator:
        case CharSpan(start, end):
            return f"characters {start}–{end}"
        case PageBox(page):
            return f"page {page}"
        case ImageRegion(box):
            return "part of the picture" if box else ""
        case TimeSpan(start_s, end_s):
            return f"{_clock(start_s)}–{_clock(end_s)}"
        case FrameRegion(at_s):
            return f"frame at {_clock(at_s)}"


def describe_place(hit: Hit) -> str:
    """Describe a hit's place for people: ``page 3 of x.pdf``, ``0:12–0:31 of y.mp3``, ``photo.jpg``."""
    spot = place(hit.segment)
    return f"{spot} of {file_name(hit)}" if spot else file_name(hit)


def file_name(hit: Hit) -> str:
    """Return the name of a hit's file, or its title where the file is not known."""
    return Path(hit.path).name or hit.segment.title or "an unnamed file"


def playable_span(segment: Segment) -> TimeSpan | None:
    """Return the seconds to play: its own, or at most 8 s of a shot from its frame on; None if nothing plays."""
    match segment.locator:
        case TimeSpan() as span:
            return span
        case FrameRegion(at_s) if segment.modality == "video":
            end_s, latest_s = segment.meta.get("end_s"), at_s + _LONGEST_SHOT_S
            if isinstance(end_s, (int, float)) and end_s > at_s:
                return TimeSpan(at_s, min(end_s, latest_s))
            return TimeSpan(at_s, latest_s)
    return None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _xywh(box: Box) -> str:
    return "xywh=percent:" + ",".join(f"{100 * side:.2f}" for side in (box.x, box.y, box.w, box.h))


def _box(text: str) -> Box:
    x, y, w, h = (_finite(side) / 100 for side in text.removeprefix("percent:").split(","))
    return Box(x, y, w, h)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
