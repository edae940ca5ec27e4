"""The parts of an evaluation set: queries and items of some medium, and directions from one to the other."""

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
_LONGEST_S = 30.0  # longest sound that is read


@dataclass(frozen=True, slots=True)
class Item:
    """A query or a searched item: words, a picture, a sound, or speech that is searched by its words.

    Attributes:
        id: unique among the items of its medium in its set.
        medium: its medium.
        text: its words; for a picture or sound a name for people, which no encoder sees.
        path: its file; None for words.
        span: its bytes within the file, as start and length; None for the whole file.
        family: its origin, the same for all captions of one photo and all passages of one module.
        slice: the kind under which its scores are also reported.
        cluster: group of dependent items, which intervals resample as a whole; empty for its family.
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
        """The seed of its random perturbations, the same on every machine."""
        return zlib.crc32(replace_surrogates(self.id).encode())


@dataclass(frozen=True)
class Direction:
    """One direction of search: queries and the items among which they search.

    Attributes:
        name: such as ``text>image``.
        space: the encoders of the vectors.
        queries: the queries.
        items: the searched items. An item with the id and medium of the query is left out of its ranking.
        relevant: by query id, the ids of the expected items or families.
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
    """Directions over one collection, with a description and caveats for the reader."""

    name: str
    about: str
    directions: Sequence[Direction]
    notes: Sequence[str] = ()


def picture(thing: Item) -> Image:
    """Return the pixels of a picture, RGB and upright.

    Raises:
        MediaError: the file has gone or is not a picture.
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
    """Return the first 30 s of a sound (n,), mono in [-1, 1].

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
