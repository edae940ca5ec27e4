"""What is searched and what is searched for: things in some medium, directions between them, sets of directions."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from rag.evaluation.perturb import Medium
from rag.text import replace_surrogates

if TYPE_CHECKING:
    from PIL.Image import Image

Space = Literal["text", "joint", "audio"]
_LONGEST_S = 30.0  # of a sound


@dataclass(frozen=True, slots=True)
class Item:
    """Words, a picture, a sound, or speech that is heard by its words.

    Attributes:
        id: unique among the things of its medium in its set.
        medium: what it is.
        text: its words; of a picture or sound, what people call it, which no encoder sees.
        path: its file; None for words.
        span: the bytes of the file that hold it, first and how many; None for all.
        family: what it was made from, the same for all captions of one photo and all passages of one module.
        slice: the kind under which its scores are also reported.
        cluster: whatever its wording or looks depend on, which intervals resample as a whole; empty for its family.
    """

    id: str
    medium: Medium
    text: str = ""
    path: Path | None = None
    span: tuple[int, int] | None = None
    family: str = ""
    slice: str = ""
    cluster: str = ""

    @property
    def seed(self) -> int:
        """For what is done to it at random, the same on every machine."""
        return zlib.crc32(replace_surrogates(self.id).encode())


@dataclass(frozen=True)
class Direction:
    """One way of searching: these queries among these items.

    Attributes:
        name: such as ``text>image``.
        space: the encoders that make the vectors.
        queries: what is searched for.
        items: what is searched. An item with the id and medium of the query is left out of its ranking.
        relevant: by query id, what should be found: ids of items, or of families.
        by_family: rank families, each by its best item (Dai and Callan 2019), instead of items.
    """

    name: str
    space: Space
    queries: Sequence[Item]
    items: Sequence[Item]
    relevant: Mapping[str, frozenset[str]]
    by_family: bool = False


@dataclass(frozen=True)
class EvaluationSet:
    """Directions over one collection, with a sentence that says what it is, and what a reader must know."""

    name: str
    about: str
    directions: Sequence[Direction]
    notes: Sequence[str] = ()


def picture(thing: Item) -> Image:
    """The pixels of a picture, RGB and upright.

    Raises:
        MediaError: the file has gone or is no picture.
    """
    from PIL import Image as Pictures

    from rag.media import open_picture
    from rag.media.opening import rgb
    from rag.types import ImageRegion

    assert thing.path is not None
    if thing.span is None:
        return open_picture(thing.path, ImageRegion())
    start, size = thing.span
    with thing.path.open("rb") as file:
        file.seek(start)
        return rgb(Pictures.open(BytesIO(file.read(size))))


def samples(thing: Item, rate: int) -> NDArray[np.float32]:
    """The sound (n,), mono in [-1, 1], its first 30 s.

    Raises:
        MediaError: the file has gone or has no sound.
    """
    from rag.media import length_s
    from rag.media.seeking import sound
    from rag.types import TimeSpan

    assert thing.path is not None
    stated_s = length_s(thing.path) or _LONGEST_S
    heard = sound(thing.path, TimeSpan(0, min(stated_s, _LONGEST_S)), rate)
    mono: NDArray[np.float32] = heard.samples.mean(axis=0, dtype=np.float32)
    return mono
