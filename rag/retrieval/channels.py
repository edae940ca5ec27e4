"""The channels of a search: what each compares, what it can see, and how a query is turned into requests to them.

==========  =============  ==================================================  ==========
channel     view           compares                                            sees
==========  =============  ==================================================  ==========
text        words          the query's words with a segment's, by meaning      words
bm25        words          the same, word by word                              words
image       looks          the query's words, and each sentence of them, with  pictures, figures
                           pixels, in joint space
video       looks          the same                                            frames
sound       sounds         the query's words with kinds of sounds              sounds
like sound  likeness       the query's sound with sounds                       sounds
like image  likeness       the query's picture with pixels                     pictures, figures
like video  likeness       the same                                            frames
like text   likeness       the query's picture with words                      passages, speech
blend …     blend          the weighted sum of the query's parts, likewise     as above
==========  =============  ==================================================  ==========

Pictures and frames are compared with the whole text of a query and, if it has several sentences, with each sentence. A
video as a query is compared by some of its frames. The best score counts, calibrated as the best of several
(`rag.retrieval.fusion.calibrate_best_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rag.encoders.base import Vectors
from rag.index.base import ChannelQuery, Dense
from rag.retrieval.fusion import combine_vectors
from rag.types import Filter, Kind, Segment

_FRAME_DEPTH = 4  # times as many frames: a scene of a quarter of an hour must not hide all other videos


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to find segments: the vectors that are compared, and the kinds of segments that can be found.

    Attributes:
        view: what the channel looks at; channels of one view are averaged.
        vector: the named vectors to search.
        kinds: the kinds of segments that the channel sees; None for all segments with words.
        weight: weight within its view.
    """

    view: Literal["words", "looks", "sounds", "likeness", "blend"]
    vector: Dense | Literal["bm25"]
    kinds: frozenset[Kind] | None = None
    weight: float = 1.0

    def sees(self, segment: Segment) -> bool:
        """Return whether the channel can find a segment at all."""
        return segment.kind in self.kinds if self.kinds is not None else bool(segment.searchable_text.strip())


CHANNELS: Mapping[str, Channel] = {
    "text": Channel("words", "text"),
    "bm25": Channel("words", "bm25", weight=0.5),
    "image": Channel("looks", "joint", frozenset({"picture", "figure"})),
    "video": Channel("looks", "joint", frozenset({"frame"})),
    "sound": Channel("sounds", "sound", frozenset({"sound"})),
    "like sound": Channel("likeness", "sound", frozenset({"sound"})),
    "like image": Channel("likeness", "joint", frozenset({"picture", "figure"})),
    "like video": Channel("likeness", "joint", frozenset({"frame"})),
    "like text": Channel("likeness", "joint", frozenset({"passage", "speech"})),
    "blend image": Channel("blend", "joint", frozenset({"picture", "figure"})),
    "blend video": Channel("blend", "joint", frozenset({"frame"})),
}


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """What one query part asks of one channel.

    Attributes:
        name: name of the channel, without the part's number.
        queries: the queries; if there are several, as for a video's frames, the best score counts.
        part: number of the query part; different parts are different views.
        weight: weight of the part, at most 1.
        is_unwanted: whether the part is a negative.
    """

    name: str
    queries: tuple[ChannelQuery, ...]
    part: int
    weight: float
    is_unwanted: bool

    @property
    def channel(self) -> Channel:
        """The channel to search."""
        return CHANNELS[self.name]


# Requests by channel; where several parts ask the same channel, the later names carry a number.
SearchPlan = dict[str, ChannelRequest]
# The queries of one part by channel.
EncodedPart = Mapping[str, Sequence[Vectors | str]]


def add_requests(
    plan: SearchPlan,
    encoded: EncodedPart,
    depth: int,
    scope: Filter,
    *,
    part: int,
    weight: float = 1.0,
    is_unwanted: bool = False,
) -> None:
    """Add the requests of one part; the name of a channel that another part already asks gets a number."""
    for channel, vectors in encoded.items():
        name = f"not {channel}" if is_unwanted else channel
        namesakes = sum(other == name or other.startswith(f"{name} #") for other in plan)
        narrowed = _restrict(scope, CHANNELS[channel].kinds)
        limit = _FRAME_DEPTH * depth if "frame" in (CHANNELS[channel].kinds or ()) else depth
        queries = tuple(ChannelQuery(CHANNELS[channel].vector, vector, limit, narrowed) for vector in vectors)
        if queries:
            key = f"{name} #{namesakes + 1}" if namesakes else name
            plan[key] = ChannelRequest(channel, queries, part, weight, is_unwanted)


def _joint(encoded: EncodedPart) -> Vectors | None:
    """Return a part as one vector in the joint space: the mean of its whole text and its pictures."""
    queries = (*encoded.get("image", ())[:1], *encoded.get("like image", ()))
    vectors = [(v, 1.0) for v in queries if not isinstance(v, str)]
    return combine_vectors(vectors) if vectors else None


def joint_vectors(parts: Sequence[EncodedPart], shares: Sequence[float]) -> list[tuple[Vectors, float]]:
    """Return the joint vectors of the parts that have one, with their weights."""
    return [(v, share) for part, share in zip(parts, shares, strict=True) if (v := _joint(part)) is not None]


def subtract_unwanted(encoded: EncodedPart, unwanted: Sequence[tuple[Vectors, float]]) -> EncodedPart:
    """Subtract the negatives from a part's queries in the joint space."""
    if not unwanted:
        return encoded
    result: dict[str, Sequence[Vectors | str]] = {}
    for channel, queries in encoded.items():
        if CHANNELS[channel].vector == "joint":
            vectors = [combine_vectors([(v, 1.0)], unwanted) for v in queries if not isinstance(v, str)]
            result[channel] = [v for v in vectors if v is not None]
        else:
            result[channel] = queries
    return result


def _restrict(scope: Filter, kinds: frozenset[Kind] | None) -> Filter:
    """Restrict the filter to these kinds of segments."""
    return scope if kinds is None else replace(scope, where={"and": [scope.where, {"kind": sorted(kinds)}]})
