"""What an encoder is: its card, its verbs, and the one rule for its vectors (float32, finite, unit length).

A text encoder gives vectors for words. A dual encoder gives vectors for words and for pictures in one space, so that
either finds the other. A query and a document are different verbs, even where a model treats them alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from rag.errors import EncoderMismatch, ModelError, QueryError
from rag.text import replace_surrogates
from rag.types import Scalar

Vectors = NDArray[np.float32]

CLOUD = "litellm:"  # before the name of a model behind an API


@dataclass(frozen=True)
class ModelCard:
    """What a collection remembers of the encoder that built it, to compare on open.

    Attributes:
        name: name of the encoder in the settings.
        space: name of its vector space; vectors of encoders with the same space can be compared.
        dimensions: length of a vector.
        revision: hash that changes with the weights or with anything else that changes vectors.
        preprocessing: flat description of what is done to the input first.
        licence: SPDX identifier of the weights.
    """

    name: str
    space: str
    dimensions: int
    revision: str
    licence: str
    preprocessing: Mapping[str, Scalar] = field(default_factory=dict)

    def to_json(self) -> str:
        """The card as one JSON object with sorted keys; `from_json` reads it back to an equal card."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The card that `to_json` wrote.

        Raises:
            ModelError: the text is not such a card.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ModelError(f"This is not the card of an encoder: {text[:80]!r} ({error}).") from error


@dataclass(frozen=True)
class TaggedVectors:
    """What an encoder sees or hears in some media: vectors (n, dimensions), and tags, most probable first."""

    vectors: Vectors
    tags: list[tuple[str, ...]]


class TextEncoder(Protocol):
    """Words to vectors. Blank text has no vector and is refused."""

    @property
    def card(self) -> ModelCard:
        """What it is."""

    def embed_query(self, text: str) -> Vectors:
        """Vector (dimensions,) of what someone asks for. Raises QueryError where it is blank."""

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, dimensions) of passages, in their order. Raises ModelError where one is blank."""


class DualEncoder(TextEncoder, Protocol):
    """Words and pictures to vectors in one space."""

    def embed_and_tag(self, images: Sequence[Image]) -> TaggedVectors:
        """Vectors and tags of pictures, in their order."""

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Vectors (n, dimensions) of pictures, in their order."""

    def from_text_vectors(self, vectors: Vectors, *, is_query: bool = False) -> Vectors | None:
        """Vectors (n, dimensions) from those of the text encoder, so that words are encoded once.

        What `embed_text` gives for passages, or where `asked` what `embed_query` gives; None where the text encoder
        has nothing to do with this one.
        """


class AudioEncoder(Protocol):
    """Sounds to vectors, and words to the same space: for what is heard and is no speech."""

    @property
    def card(self) -> ModelCard:
        """What it is."""

    @property
    def sample_rate(self) -> int:
        """Samples a second that it takes, mono."""

    def embed_query(self, text: str) -> Vectors:
        """Vector (dimensions,) of what someone asks for. Raises QueryError where it is blank."""

    def embed_and_tag(self, sounds: Sequence[NDArray[np.float32]]) -> TaggedVectors:
        """Vectors and tags of sounds, each (samples,) in [-1, 1], in their order."""

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        """Vectors (n, dimensions) of sounds, in their order."""


def normalize(matrix: NDArray[np.floating]) -> Vectors:
    """Rows (n, dimensions) at unit length as float32.

    Raises:
        ModelError: a row is zero or not finite; Qdrant would take it without a word and never find it.
    """
    rows = np.asarray(matrix, dtype=np.float32)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0))
    if bad.size:
        raise ModelError(f"The encoder gave a zero or non-finite vector for item {bad[0] + 1} of {len(rows)}.")
    unit: Vectors = (rows / lengths).astype(np.float32)
    return unit


def cross_modal_similarity(a: Vectors, b: Vectors, *, cards: tuple[ModelCard, ModelCard]) -> Vectors:
    """Cosines (n, m) of vectors (n, dimensions) and (m, dimensions), as of words and pictures in one space.

    Args:
        a: unit vectors.
        b: unit vectors.
        cards: cards of the encoders that made `a` and `b`.

    Raises:
        EncoderMismatch: the encoders work in different spaces, where a cosine means nothing.
        ModelError: a vector is not finite, not of unit length or of the wrong length.
    """
    first, second = cards
    if (first.space, first.dimensions) != (second.space, second.dimensions):
        raise EncoderMismatch(
            f"`{first.name}` works in the space {first.space} ({first.dimensions}-d) and `{second.name}` in "
            f"{second.space} ({second.dimensions}-d): their vectors cannot be compared. Embed both with one encoder."
        )
    for vectors, card in ((a, first), (b, second)):
        lengths = np.linalg.norm(vectors, axis=-1)
        if vectors.ndim != 2 or vectors.shape[1] != card.dimensions or not np.allclose(lengths, 1.0, atol=1e-3):
            raise ModelError(f"These are no unit vectors of `{card.name}`: their shape is {vectors.shape}.")
    cosines: Vectors = np.clip(a @ b.T, -1.0, 1.0)
    return cosines


def require_query(text: str) -> str:
    """The query as it is.

    Raises:
        QueryError: it has no words.
    """
    if not text.strip():
        raise QueryError("The query is blank; ask for something in words, or with a picture or a recording.")
    return text


def require_texts(texts: Sequence[str]) -> Sequence[str]:
    """The texts as they are.

    Raises:
        ModelError: one of them has no words.
    """
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ModelError(f"Text {number} of {len(texts)} is blank and has no vector; leave it out.")
    return texts


def clean(text: str, most: int) -> str:
    """At most so many characters of a text, as a tokenizer takes it.

    The bound is on the tokenizer's work. Lone surrogates, as in names of files that are not UTF-8, are no text to it.
    """
    return replace_surrogates(text.strip()[:most])
