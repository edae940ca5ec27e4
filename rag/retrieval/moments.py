"""Moments of videos: frames and speech that were found near each other, merged into one hit with a start and an end.

A moment begins with the best hit that is in no moment yet. It grows by neighbours of the same kind that the same
channel scores nearly as high. Hits within its span then join it, however weak, since they show or say the same seconds.
A long speech beside one fitting frame stays a moment of its own, so that it does not blur the frame's second. The
channels' own scores are compared, because fused scores are much alike among the first ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag.explanation import ChannelScore
from rag.types import FrameRegion, Hit, Kind, Scalar, Segment, TimeSpan

_KINDS: frozenset[Kind] = frozenset({"frame", "speech"})
_GAP_S = 2.0  # between neighbours
LONGEST_S = 60.0
_SHORTEST_S = 1.0  # assumed length of a frame whose shot is unknown
_NEARLY = 0.8  # of the first hit's score in a channel: the least with which a neighbour extends the moment
_WITHIN = 0.5  # least share of a hit that lies within the moment for the hit to join it


def group_moments(hits: Sequence[Hit]) -> list[Hit]:
    """Merge the hits of videos into moments, each in the place of its best hit; no hit is lost."""
    videos: dict[str, list[int]] = {}
    for n, hit in enumerate(hits):
        if _is_video_part(hit):
            videos.setdefault(hit.segment.asset_id, []).append(n)
    merged: dict[int, Hit] = {}
    positions_of_parts = {n for positions in videos.values() for n in positions}
    for positions in videos.values():
        rest = positions
        while rest:
            members = _members([hits[n] for n in rest])
            merged[rest[0]] = make_moment([hits[rest[m]] for m in members])
            rest = [n for m, n in enumerate(rest) if m not in members]
    return [merged.get(n, hit) for n, hit in enumerate(hits) if n in merged or n not in positions_of_parts]


def make_moment(parts: Sequence[Hit]) -> Hit:
    """Merge frames and speech, given best first, into one hit: words in order of time, tags in order of the hits."""
    best = parts[0].segment
    span = _union([time_span(part.segment) for part in parts])
    by_time = sorted(parts, key=lambda part: (time_span(part.segment).start_s, part.segment.ordinal))
    meta: dict[str, Scalar] = {**best.meta, "start_s": span.start_s, "end_s": span.end_s}
    segment = Segment(
        asset_id=best.asset_id,
        ordinal=best.ordinal,
        modality="video",
        kind="moment",
        locator=span,
        text="\n".join(dict.fromkeys(part.segment.text for part in by_time if part.segment.text)),
        caption="\n".join(dict.fromkeys(part.segment.caption for part in by_time if part.segment.caption)),
        tags=tuple(dict.fromkeys(tag for part in parts for tag in part.segment.tags)),
        title=best.title,
        words=tuple(word for part in by_time for word in part.segment.words),
        meta=meta,
    )
    why = replace(parts[0].why, channels=_best_channels(parts))
    return replace(parts[0], segment=segment, why=why, parts=tuple(parts))


def time_span(segment: Segment) -> TimeSpan:
    """Return the time span of speech, or of a frame's shot."""
    if isinstance(segment.locator, TimeSpan):
        return segment.locator
    at_s = segment.locator.at_s if isinstance(segment.locator, FrameRegion) else 0.0
    start_s, end_s = (segment.meta.get(name) for name in ("start_s", "end_s"))
    known_end_s = float(end_s) if isinstance(end_s, (int, float)) else at_s
    known_start_s = min(float(start_s), at_s) if isinstance(start_s, (int, float)) else at_s
    return TimeSpan(known_start_s, known_end_s if known_end_s > at_s else at_s + _SHORTEST_S)


def _is_video_part(hit: Hit) -> bool:
    """Return whether a hit is a frame or speech of a video, and not yet a moment."""
    return hit.segment.modality == "video" and hit.segment.kind in _KINDS


def _members(hits: Sequence[Hit]) -> list[int]:
    """Return the positions of the hits of one video, best first, that form a moment with the first."""
    spans = [time_span(hit.segment) for hit in hits]
    seed, span, members = hits[0], spans[0], [0]
    growing = True
    while growing:
        growing = False
        for n in range(1, len(hits)):
            wider = _union([span, spans[n]])
            if (
                n not in members
                and _is_like(seed, hits[n])
                and _gap_s(span, spans[n]) <= _GAP_S
                and _length_s(wider) <= LONGEST_S
            ):
                span, growing = wider, True
                members.append(n)
    grown = span
    for n in range(len(hits)):
        wider = _union([grown, spans[n]])
        if n not in members and _overlap_share(span, spans[n]) >= _WITHIN and _length_s(wider) <= LONGEST_S:
            grown = wider
            members.append(n)
    return sorted(members)


def _is_like(seed: Hit, other: Hit) -> bool:
    """Return whether a hit is of the same kind and scores nearly as high in a channel of the seed."""
    scores = {channel.name: channel.score for channel in seed.channels if channel.score > 0}
    is_near = any(
        channel.score >= _NEARLY * scores[channel.name] for channel in other.channels if channel.name in scores
    )
    return is_near and other.segment.kind == seed.segment.kind


def _best_channels(parts: Sequence[Hit]) -> tuple[ChannelScore, ...]:
    """Return the best place in each channel."""
    best: dict[str, ChannelScore] = {}
    for channel in sorted((channel for part in parts for channel in part.channels), key=lambda channel: channel.rank):
        best.setdefault(channel.name, channel)
    order = dict.fromkeys(channel.name for part in parts for channel in part.channels)
    return tuple(best[name] for name in order)


def _union(spans: Sequence[TimeSpan]) -> TimeSpan:
    return TimeSpan(min(span.start_s for span in spans), max(span.end_s for span in spans))


def _length_s(span: TimeSpan) -> float:
    return span.end_s - span.start_s


def _gap_s(one: TimeSpan, other: TimeSpan) -> float:
    return max(one.start_s, other.start_s) - min(one.end_s, other.end_s)


def _overlap_share(span: TimeSpan, inner: TimeSpan) -> float:
    """Return the share of the inner span that lies within the other."""
    return -_gap_s(span, inner) / max(_length_s(inner), 1e-3)
