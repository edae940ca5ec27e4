"""The language of queries: parts in any medium, each with a weight, and negatives.

``[Text("like this, but in blue"), Image("jacket.jpg", weight=0.7), Not(Text("logo"))]``

Callers write `Text`, `Image`, `Audio`, `Video` and `Not`. `rag.answering.open_question` opens the media and makes a
`Query`, which needs no files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import QueryError
from rag.text import replace_surrogates

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
    """A recording: its speech, and how it sounds."""

    source: str | Path | bytes
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Video:
    """A video: some of its frames, and its speech."""

    source: str | Path | bytes
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Not:
    """A negative: hits that fit the part rank lower, the more the higher its weight."""

    part: Text | Image | Audio | Video


@dataclass(frozen=True, slots=True)
class QueryPart:
    """One part of a query, with its media opened.

    Attributes:
        words: written words, or the speech of a recording or video; what UTF-8 cannot encode is replaced.
        pictures: RGB, upright; several are frames of one video, and a hit need only resemble one of them.
        sounds: sounds of a recording other than speech, between the words or under them, each (samples,) as the sound
            encoder takes it; a hit need only resemble one of them.
        weight: weight relative to the other parts.
    """

    words: str = ""
    pictures: tuple[PIL.Image.Image, ...] = ()
    sounds: tuple[NDArray[np.float32], ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", replace_surrogates(self.words))

    @property
    def is_empty(self) -> bool:
        """Whether the part has nothing to search with."""
        return not (self.words.strip() or self.pictures or self.sounds)


@dataclass(frozen=True, slots=True)
class Query:
    """A query with its media opened: give `words` and `picture` for a plain one, or `parts`; each fills the other.

    Attributes:
        words: all wanted words, for the reranker and the answerer.
        picture: the first wanted picture.
        parts: the wanted parts.
        without: the negatives.
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
                "The question is empty. Ask in words, with a picture or with a recording, not with negatives alone."
            )
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "without", tuple(part for part in self.without if not part.is_empty))
        object.__setattr__(self, "words", _join_words(parts))
        object.__setattr__(self, "picture", next(iter(self.pictures), None))

    @property
    def pictures(self) -> tuple[PIL.Image.Image, ...]:
        """All wanted pictures."""
        return tuple(picture for part in self.parts for picture in part.pictures)

    def with_words(self, words: str) -> Query:
        """Return the query with these words in place of all its words."""
        rest = [replace(part, words="") for part in self.parts]
        first = next(n for n, part in enumerate(self.parts) if part.words.strip())
        rest[first] = replace(self.parts[first], words=words)
        return Query(parts=tuple(rest), without=self.without)


def relative_weights(parts: Sequence[QueryPart]) -> list[float]:
    """Return the parts' weights relative to the largest."""
    heaviest = max((part.weight for part in parts), default=1.0)
    return [part.weight / heaviest for part in parts]


def _join_words(parts: Sequence[QueryPart]) -> str:
    return " ".join(part.words.strip() for part in parts if part.words.strip())


def _check_weight(weight: float) -> None:
    if not (math.isfinite(weight) and weight > 0):
        raise QueryError(f"The weight of a part must be above 0: {weight}. Wrap negatives in `Not`.")
