"""The interface of encoders: model card, verbs, and the one rule for vectors (float32, finite, unit length).

A text encoder turns text into vectors. A dual encoder turns text and images into vectors of one space, so that either
finds the other; an audio encoder does the same for text and sounds. Queries and documents have different verbs, even
where a model treats them alike.
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

CLOUD = "litellm:"  # prefix of a model behind an API


@dataclass(frozen=True)
class ModelCard:
    """A description of an encoder; collections store it and compare it when they are opened.

    Attributes:
        name: name of the encoder in the settings.
        space: name of its vector space; vectors of encoders with the same space can be compared.
        dimensions: length of a vector.
        revision: hash that changes with the weights and with anything else that changes vectors.
        preprocessing: flat description of how the input is prepared.
        licence: SPDX identifier of the weights.
    """

    name: str
    space: str
    dimensions: int
    revision: str
    licence: str
    preprocessing: Mapping[str, Scalar] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as one JSON object with sorted keys; `from_json` reads an equal card back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the card that `to_json` wrote.

        Raises:
            ModelError: the text is not a card.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ModelError(f"This is not the card of an encoder: {text[:80]!r} ({error}).") from error


@dataclass(frozen=True)
class TaggedVectors:
    """Vectors (n, dimensions) of images or sounds, and the tags of each, most probable first."""

    vectors: Vectors
    tags: list[tuple[str, ...]]


class TextEncoder(Protocol):
    """An encoder of text. Blank text has no vector and is refused."""

    @property
    def card(self) -> ModelCard:
        """The description to store with a collection."""

    def embed_query(self, text: str) -> Vectors:
        """Return the vector (dimensions,) of a query. Raises QueryError if it is blank."""

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors (n, dimensions) of passages, in order. Raises ModelError if one is blank."""


class DualEncoder(TextEncoder, Protocol):
    """An encoder of text and images into one space."""

    def embed_and_tag(self, images: Sequence[Image]) -> TaggedVectors:
        """Return vectors and tags of images, in order."""

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Return the vectors (n, dimensions) of images, in order."""

    def from_text_vectors(self, vectors: Vectors, *, is_query: bool = False) -> Vectors | None:
        """Return vectors (n, dimensions) computed from the text encoder's, so that texts are encoded once.

        They equal those of `embed_text`, or with `is_query` those of `embed_query`. Return None if this encoder does
        not build on the text encoder.
        """


class AudioEncoder(Protocol):
    """An encoder of sounds and text into one space, for sounds other than speech."""

    @property
    def card(self) -> ModelCard:
        """The description to store with a collection."""

    @property
    def sample_rate(self) -> int:
        """Samples per second of its input, mono."""

    def embed_query(self, text: str) -> Vectors:
        """Return the vector (dimensions,) of a query. Raises QueryError if it is blank."""

    def embed_and_tag(self, sounds: Sequence[NDArray[np.float32]]) -> TaggedVectors:
        """Return vectors and tags of sounds, each (samples,) in [-1, 1], in order."""

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        """Return the vectors (n, dimensions) of sounds, in order."""


def normalize(matrix: NDArray[np.floating]) -> Vectors:
    """Return rows (n, dimensions) scaled to unit length, as float32.

    Raises:
        ModelError: a row is zero or not finite; Qdrant would accept it silently and never find it.
    """
    rows = np.asarray(matrix, dtype=np.float32)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0))
    if bad.size:
        raise ModelError(f"The encoder gave a zero or non-finite vector for item {bad[0] + 1} of {len(rows)}.")
    unit: Vectors = (rows / lengths).astype(np.float32)
    return unit


def cross_modal_similarity(a: Vectors, b: Vectors, *, cards: tuple[ModelCard, ModelCard]) -> Vectors:
    """Return the cosines (n, m) of vectors (n, dimensions) and (m, dimensions), such as those of texts and images.

    Args:
        a: unit vectors.
        b: unit vectors.
        cards: cards of the encoders that made `a` and `b`.

    Raises:
        EncoderMismatch: the encoders work in different spaces, between which a cosine means nothing.
        ModelError: a vector is not finite, does not have unit length, or has the wrong number of dimensions.
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
    """Return the query unchanged.

    Raises:
        QueryError: it is blank.
    """
    if not text.strip():
        raise QueryError("The query is blank; ask for something in words, or with a picture or a recording.")
    return text


def require_texts(texts: Sequence[str]) -> Sequence[str]:
    """Return the texts unchanged.

    Raises:
        ModelError: one of them is blank.
    """
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ModelError(f"Text {number} of {len(texts)} is blank and has no vector; leave it out.")
    return texts


def clean_text(text: str, max_chars: int) -> str:
    """Return the start of a text as a tokenizer accepts it.

    The limit bounds the tokenizer's work. Lone surrogates, as in file names that are not UTF-8, become question marks.
    """
    return replace_surrogates(text.strip()[:max_chars])
