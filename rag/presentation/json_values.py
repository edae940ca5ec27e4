"""Values as JSON: what the command line prints for programs, and what the server sends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag.segments import place, segment_id, to_fragment
from rag.text import escape_surrogates
from rag.types import Hit, Verdict

# Keys of JSON that keep an older name than the attribute has now, by the name of the class.
_KEYS: Mapping[str, Mapping[str, str]] = {
    "Citation": {"number": "exhibit"},
    "ChannelScore": {"confidence": "belief"},
    "Explanation": {"channels": "lanes", "noise_floor": "least_believed"},
    "Evaluation": {"channels": "lanes"},
    "ChannelDistributions": {"channel": "lane"},
}


def jsonable(value: Any) -> Any:
    """Return a value as JSON can hold it; dataclasses become objects, and paths strings."""
    if isinstance(value, Verdict):
        return verdict_json(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        keys = _KEYS.get(type(value).__name__, {})
        fields = ((keys.get(f.name, f.name), getattr(value, f.name)) for f in dataclasses.fields(value))
        return {key: jsonable(item) for key, item in fields}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def name_of(path: str | Path) -> str:
    """Return a file's name as valid text."""
    return escape_surrogates(Path(path).name)


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict for programs; its place is a media fragment, or null."""
    return {
        "name": verdict.name,
        "reason": verdict.reason,
        "support": verdict.support,
        "locator": None if verdict.locator is None else "#" + to_fragment(verdict.locator),
        "quote": verdict.quote,
    }


def hit_json(hit: Hit) -> dict[str, Any]:
    """Return a hit for programs: its segment, place and scores, without the path of its file."""
    segment = hit.segment
    return {
        "id": segment_id(segment),
        "asset_id": segment.asset_id,
        "modality": segment.modality,
        "kind": segment.kind,
        "name": name_of(hit.path) or segment.title,
        "place": place(segment),
        "locator": "#" + to_fragment(segment.locator),
        "title": segment.title,
        "text": segment.text,
        "caption": segment.caption,
        "tags": list(segment.tags),
        "score": hit.score,
        "is_believed": hit.is_above_noise,
        "relevance": hit.relevance,
        "why": jsonable(hit.why),
        "parts": [_part_json(part) for part in hit.parts],
        "words": [[word.text, word.start_s, word.end_s] for word in segment.words],
        "meta": jsonable(segment.meta),
    }


def _part_json(part: Hit) -> dict[str, Any]:
    segment = part.segment
    return {
        "id": segment_id(segment),
        "kind": segment.kind,
        "locator": "#" + to_fragment(segment.locator),
        "text": segment.text,
        "tags": list(segment.tags),
        "score": part.score,
    }
