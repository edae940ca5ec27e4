"""The language of questions: parts in any medium, each with a weight, and what is not wanted.

``[Text("like this, but in blue"), Image("jacket.jpg", weight=0.7), Not(Text("logo"))]``

`Text`, `Image`, `Audio`, `Video` and `Not` are what is written; `Query` is the same with its media opened, which
`rag.answering.open_question` does: all that the rest of the way needs, without files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import QueryError

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Text:
    """Words: a question, a description, a name."""

    words: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: its path, its bytes, or a `PIL.Image`."""

    source: str | Path | bytes | PIL.Image.Image
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording: what is said in it, and how it sounds."""

    source: str | Path | bytes
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Video:
    """A film: some of its frames, and what is said in it."""

    source: str | Path | bytes
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Not:
    """What is not wanted; the part's weight says how much it is minded."""

    part: Text | Image | Audio | Video


@dataclass(frozen=True, slots=True)
class QueryPart:
    """One part of a question, opened.

    Attributes:
        words: written, or said in a recording or film.
        pictures: RGB, upright; several are frames of one film, and a hit need only be like one of them.
        sounds: what is heard in a recording besides speech, between the words or under them, each (samples,) as the
            sound encoder takes it; a hit need only be like one of them.
        weight: beside the other parts.
    """

    words: str = ""
    pictures: tuple[PIL.Image.Image, ...] = ()
    sounds: tuple[NDArray[np.float32], ...] = ()
    weight: float = 1.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it to search with."""
        return not (self.words.strip() or self.pictures or self.sounds)


@dataclass(frozen=True, slots=True)
class Query:
    """A question, opened: `words` and `picture` for a plain one, or `parts`; each is filled from the other.

    Attributes:
        words: all words that are wanted, for those who judge and answer.
        picture: the first picture.
        parts: what is wanted.
        without: what is not.
    """

    words: str = ""
    picture: PIL.Image.Image | None = None
    parts: tuple[QueryPart, ...] = ()
    without: tuple[QueryPart, ...] = ()

    def __post_init__(self) -> None:
        plain = (QueryPart(self.words), QueryPart(pictures=(self.picture,) if self.picture is not None else ()))
        parts = tuple(part for part in self.parts or plain if not part.is_empty)
        if not parts:
            raise QueryError(
                "The question is empty; ask in words, with a picture or with a recording, and say what is wanted "
                "beside what is not."
            )
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "without", tuple(part for part in self.without if not part.is_empty))
        object.__setattr__(self, "words", _joined(parts))
        object.__setattr__(self, "picture", next(iter(self.pictures), None))

    @property
    def pictures(self) -> tuple[PIL.Image.Image, ...]:
        """All pictures that are wanted."""
        return tuple(picture for part in self.parts for picture in part.pictures)

    def with_words(self, words: str) -> Query:
        """Return the query with these words in place of all its words."""
        rest = [replace(part, words="") for part in self.parts]
        first = next(n for n, part in enumerate(self.parts) if part.words.strip())
        rest[first] = replace(self.parts[first], words=words)
        return Query(parts=tuple(rest), without=self.without)


def relative_weights(parts: Sequence[QueryPart]) -> list[float]:
    """The parts' weights as shares of the heaviest."""
    heaviest = max((part.weight for part in parts), default=1.0)
    return [part.weight / heaviest for part in parts]


def _joined(parts: Sequence[QueryPart]) -> str:
    return " ".join(part.words.strip() for part in parts if part.words.strip())


def _check_weight(weight: float) -> None:
    if not (math.isfinite(weight) and weight > 0):
        raise QueryError(f"A part's weight is a number above 0, not {weight}; wrap in Not what is not wanted.")
