"""The places that the demo's questions expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rag.types import FrameRegion, Hit, ImageRegion, PageBox, TimeSpan


def matches(hit: Hit, place: dict[str, Any]) -> bool:
    if hit.parts:
        return any(matches(part, place) for part in hit.parts)
    segment, locator = hit.segment, hit.segment.locator
    if Path(hit.path).name != place["file"] or segment.kind != place["kind"]:
        return False
    match locator:
        case PageBox(page):
            return page == place["page"]
        case TimeSpan(start_s, end_s):
            return start_s <= place["from_s"] and place["to_s"] <= end_s + 0.5
        case FrameRegion(at_s):
            return bool(place["from_s"] <= at_s < place["to_s"])
    return isinstance(locator, ImageRegion)
