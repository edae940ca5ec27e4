"""The channels of a search: what each compares and can see, and what a question asks them.

==========  =============  ==================================================  ==========
channel     view           compares                                            sees
==========  =============  ==================================================  ==========
text        words          the question's words with a segment's, by meaning   words
bm25        words          the same, word by word                              words
image       looks          the question's words, and each sentence of them,    pictures, figures
                           with pixels, in joint space
video       looks          the same                                            frames
sound       sounds         the question's words with sorts of sounds           sounds
like sound  likeness       the question's sound with sounds                    sounds
like image  likeness       the question's picture with pixels                  pictures, figures
like video  likeness       the same                                            frames
like text   likeness       the question's picture with words                   passages, speech
blend …     blend          the weighted sum of the question's parts, likewise  as above
==========  =============  ==================================================  ==========

Words ask pictures and frames as a whole and, where they are several sentences, by each of these; a film asks by some of
its frames. The best score counts, calibrated as the best of so many (`rag.retrieval.fusion.calibrate_best_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rag.encoders.base import Vectors
from rag.index.base import ChannelQuery, Dense
from rag.retrieval.fusion import combine_vectors
from rag.types import Filter, Kind, Segment

_FRAMES = 4  # times as many frames: a quarter of an hour of one scene must not hide all other films


@dataclass(frozen=True, slots=True)
class Channel:
    """What a channel compares and can see, and how far it is believed.

    Attributes:
        view: channels of one view look at the same thing.
        vector: the named vectors that it searches.
        kinds: the kinds of segments that it sees; None for all that have words.
        weight: its share of its view.
    """

    view: Literal["words", "looks", "sounds", "likeness", "blend"]
    vector: Dense | Literal["bm25"]
    kinds: frozenset[Kind] | None = None
    weight: float = 1.0

    def sees(self, segment: Segment) -> bool:
        """Whether the channel could have found a segment at all."""
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
    """A channel as one part of a question asks it.

    Attributes:
        name: of the channel, without the part's number.
        queries: what it is asked; where there are several, as of a film's frames, the best score counts.
        part: which part of the question asks; what different parts ask are different views.
        weight: of the part, at most 1.
        is_unwanted: whether it asks for what is not wanted.
    """

    name: str
    queries: tuple[ChannelQuery, ...]
    part: int
    weight: float
    is_unwanted: bool

    @property
    def channel(self) -> Channel:
        """What the channel is."""
        return CHANNELS[self.name]


SearchPlan = dict[str, ChannelRequest]
# What each channel is asked with.
EncodedPart = Mapping[str, Sequence[Vectors | str]]


def add_requests(
    plan: SearchPlan,
    encoded: EncodedPart,
    depth: int,
    admitted: Filter,
    *,
    part: int,
    weight: float = 1.0,
    is_unwanted: bool = False,
) -> None:
    """Add what one part asks; a channel that another part asks already gets a number."""
    for channel, asked in encoded.items():
        name = f"not {channel}" if is_unwanted else channel
        taken = sum(other == name or other.startswith(f"{name} #") for other in plan)
        only = _only(admitted, CHANNELS[channel].kinds)
        deep = _FRAMES * depth if "frame" in (CHANNELS[channel].kinds or ()) else depth
        queries = tuple(ChannelQuery(CHANNELS[channel].vector, what, deep, only) for what in asked)
        if queries:
            key = f"{name} #{taken + 1}" if taken else name
            plan[key] = ChannelRequest(channel, queries, part, weight, is_unwanted)


def _joint(encoded: EncodedPart) -> Vectors | None:
    """A part as one vector in the joint space: the middle of its words, as a whole, and its pictures."""
    asked = (*encoded.get("image", ())[:1], *encoded.get("like image", ()))
    vectors = [(v, 1.0) for v in asked if not isinstance(v, str)]
    return combine_vectors(vectors) if vectors else None


def joint_vectors(parts: Sequence[EncodedPart], shares: Sequence[float]) -> list[tuple[Vectors, float]]:
    """The parts that have a vector in the joint space, with their weights."""
    return [(v, share) for part, share in zip(parts, shares, strict=True) if (v := _joint(part)) is not None]


def subtract_unwanted(encoded: EncodedPart, away: Sequence[tuple[Vectors, float]]) -> EncodedPart:
    """What is asked, in the joint space less what is not wanted."""
    if not away:
        return encoded
    less: dict[str, Sequence[Vectors | str]] = {}
    for channel, asked in encoded.items():
        if CHANNELS[channel].vector == "joint":
            vectors = [combine_vectors([(v, 1.0)], away) for v in asked if not isinstance(v, str)]
            less[channel] = [v for v in vectors if v is not None]
        else:
            less[channel] = asked
    return less


def _only(admitted: Filter, kinds: frozenset[Kind] | None) -> Filter:
    """The filter, narrowed to these kinds of segments."""
    return admitted if kinds is None else replace(admitted, where={"and": [admitted.where, {"kind": sorted(kinds)}]})
