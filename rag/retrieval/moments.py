"""Moments of films: frames and speech that a search found near each other, as one hit with a start and an end.

A moment begins with the best hit that no moment holds yet, and grows while it finds neighbours of the same kind that
the same channel likes nearly as well. What lies within it by then is taken in, however weak, since it shows or says the
same seconds; a long speech beside one fitting frame is a moment of its own, and does not blur the frame's second.
Compared are the channels' own scores: fused ones are much alike among the first ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag.explanation import ChannelScore
from rag.types import FrameRegion, Hit, Kind, Scalar, Segment, TimeSpan

KINDS: frozenset[Kind] = frozenset({"frame", "speech"})
GAP_S = 2.0  # between neighbours
LONGEST_S = 60.0
_SHORTEST_S = 1.0  # a frame whose shot is not known is on screen for so long
_NEARLY = 0.8  # share of the first hit's score in a channel from which a neighbour lengthens the moment
_WITHIN = 0.5  # share of a hit's length that makes it part of a moment


def group_moments(hits: Sequence[Hit]) -> list[Hit]:
    """The hits, those of films as moments, each in the place of its best hit; nothing is lost."""
    films: dict[str, list[int]] = {}
    for n, hit in enumerate(hits):
        if is_video_part(hit):
            films.setdefault(hit.segment.asset_id, []).append(n)
    first: dict[int, Hit] = {}
    taken = {n for found in films.values() for n in found}
    for found in films.values():
        while found:
            members = _members([hits[n] for n in found])
            first[found[0]] = make_moment([hits[found[m]] for m in members])
            found = [n for m, n in enumerate(found) if m not in members]
    return [first.get(n, hit) for n, hit in enumerate(hits) if n in first or n not in taken]


def is_video_part(hit: Hit) -> bool:
    """Whether a hit is a frame or speech of a film, and no moment yet."""
    return hit.segment.modality == "video" and hit.segment.kind in KINDS


def make_moment(parts: Sequence[Hit]) -> Hit:
    """One hit of frames and speech, the best first: words in the order of time, tags in that of the hits."""
    best = parts[0].segment
    span = _joined([time_span(part.segment) for part in parts])
    timely = sorted(parts, key=lambda part: (time_span(part.segment).start_s, part.segment.ordinal))
    meta: dict[str, Scalar] = {**best.meta, "start_s": span.start_s, "end_s": span.end_s}
    segment = Segment(
        asset_id=best.asset_id,
        ordinal=best.ordinal,
        modality="video",
        kind="moment",
        locator=span,
        text="\n".join(dict.fromkeys(part.segment.text for part in timely if part.segment.text)),
        caption="\n".join(dict.fromkeys(part.segment.caption for part in timely if part.segment.caption)),
        tags=tuple(dict.fromkeys(tag for part in parts for tag in part.segment.tags)),
        title=best.title,
        words=tuple(word for part in timely for word in part.segment.words),
        meta=meta,
    )
    why = replace(parts[0].why, channels=_best_channels(parts))
    return replace(parts[0], segment=segment, why=why, parts=tuple(parts))


def time_span(segment: Segment) -> TimeSpan:
    """The seconds of a frame's shot, or of speech."""
    if isinstance(segment.locator, TimeSpan):
        return segment.locator
    at_s = segment.locator.at_s if isinstance(segment.locator, FrameRegion) else 0.0
    start_s, end_s = (segment.meta.get(name) for name in ("start_s", "end_s"))
    known_end_s = float(end_s) if isinstance(end_s, (int, float)) else at_s
    known_start_s = min(float(start_s), at_s) if isinstance(start_s, (int, float)) else at_s
    return TimeSpan(known_start_s, known_end_s if known_end_s > at_s else at_s + _SHORTEST_S)


def _members(hits: Sequence[Hit]) -> list[int]:
    """Which of the hits of one film, best first, make a moment with the first."""
    spans = [time_span(hit.segment) for hit in hits]
    seed, span, members = hits[0], spans[0], [0]
    growing = True
    while growing:
        growing = False
        for n in range(1, len(hits)):
            wider = _joined([span, spans[n]])
            if (
                n not in members
                and _is_like(seed, hits[n])
                and _gap_s(span, spans[n]) <= GAP_S
                and _length_s(wider) <= LONGEST_S
            ):
                span, growing = wider, True
                members.append(n)
    grown = span
    for n in range(len(hits)):
        wider = _joined([grown, spans[n]])
        if n not in members and _shared_s(span, spans[n]) >= _WITHIN and _length_s(wider) <= LONGEST_S:
            grown = wider
            members.append(n)
    return sorted(members)


def _is_like(seed: Hit, other: Hit) -> bool:
    """Whether the same channel likes a hit of the same kind nearly as well."""
    scores = {channel.name: channel.score for channel in seed.channels if channel.score > 0}
    liked = any(channel.score >= _NEARLY * scores[channel.name] for channel in other.channels if channel.name in scores)
    return liked and other.segment.kind == seed.segment.kind


def _best_channels(parts: Sequence[Hit]) -> tuple[ChannelScore, ...]:
    """The best place in each channel."""
    best: dict[str, ChannelScore] = {}
    for channel in sorted((channel for part in parts for channel in part.channels), key=lambda channel: channel.rank):
        best.setdefault(channel.name, channel)
    order = dict.fromkeys(channel.name for part in parts for channel in part.channels)
    return tuple(best[name] for name in order)


def _joined(spans: Sequence[TimeSpan]) -> TimeSpan:
    return TimeSpan(min(span.start_s for span in spans), max(span.end_s for span in spans))


def _length_s(span: TimeSpan) -> float:
    return span.end_s - span.start_s


def _gap_s(one: TimeSpan, other: TimeSpan) -> float:
    return max(one.start_s, other.start_s) - min(one.end_s, other.end_s)


def _shared_s(span: TimeSpan, inner: TimeSpan) -> float:
    """Share of the inner span's length that lies in the other."""
    return -_gap_s(span, inner) / max(_length_s(inner), 1e-3)
