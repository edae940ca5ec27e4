"""Deterministic encoders without models: text by hashed words, images by colours, sounds by pitch."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rag.encoders.base import ModelCard, TaggedVectors, Vectors, normalize, require_query, require_texts
from rag.media.opening import rgb

_COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (220, 30, 30),
    "green": (30, 160, 30),
    "blue": (30, 30, 220),
    "yellow": (240, 220, 30),
}


class HashingTextEncoder:
    """A text encoder on a bag of hashed words: texts that share words are near."""

    def __init__(self, dimensions: int = 64, name: str = "hashing") -> None:
        self.card = ModelCard(name=name, space=name, dimensions=dimensions, revision="1", licence="CC0-1.0")

    def embed_query(self, text: str) -> Vectors:
        return self.embed_text([require_query(text)])[0]

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        rows = [self._bag(text) for text in require_texts(texts)]
        return normalize(np.reshape(rows, (len(rows), self.card.dimensions)))

    def _bag(self, text: str) -> Vectors:
        words = re.findall(r"\w+", text.lower()) or [text]
        seeds = [zlib.crc32(word.encode("utf-8", "replace")) for word in words]
        return np.sum([np.random.default_rng(s).standard_normal(self.card.dimensions) for s in seeds], axis=0)


class CountingTextEncoder(HashingTextEncoder):
    """Records its queries."""

    def __init__(self, dimensions: int = 64, name: str = "hashing") -> None:
        super().__init__(dimensions, name)
        self.queries: list[str] = []

    def embed_query(self, text: str) -> Vectors:
        self.queries.append(text)
        return super().embed_query(text)


class HashingEncoder:
    """A dual encoder on the names of the colours in an image's quarters: the query "red" finds a red image."""

    def __init__(self, text: HashingTextEncoder | None = None) -> None:
        self._text = text or HashingTextEncoder()
        self.card = self._text.card

    def embed_query(self, text: str) -> Vectors:
        return self._text.embed_query(text)

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        return self._text.embed_text(texts)

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        return self.embed_and_tag(images).vectors

    def embed_and_tag(self, images: Sequence[Image.Image]) -> TaggedVectors:
        colours = [self._colours(image) for image in images]
        return TaggedVectors(
            self._text.embed_text([" ".join(names) for names in colours]), [tuple(dict.fromkeys(n)) for n in colours]
        )

    def from_text_vectors(self, vectors: Vectors, *, is_query: bool = False) -> Vectors | None:
        return vectors if vectors.shape[1] == self.card.dimensions else None

    def _colours(self, image: Image.Image) -> list[str]:
        quarters = np.asarray(rgb(image).resize((2, 2), Image.Resampling.BOX), float).reshape(4, 1, 3)
        nearest = np.abs(quarters - np.array(list(_COLOURS.values()))).sum(2).argmin(1)
        names = list(_COLOURS)
        return [names[n] for n in nearest]


class PitchEncoder:
    """An audio encoder on the name of a sound's pitch: the query "high" finds a high tone."""

    sample_rate = 16_000

    def __init__(self, text: HashingTextEncoder | None = None) -> None:
        self._text = text or HashingTextEncoder(48, name="pitch")
        self.card = self._text.card

    def embed_query(self, text: str) -> Vectors:
        return self._text.embed_query(text)

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        return self.embed_and_tag(sounds).vectors

    def embed_and_tag(self, sounds: Sequence[NDArray[np.float32]]) -> TaggedVectors:
        names = [self._pitch(sound) for sound in sounds]
        return TaggedVectors(self._text.embed_text(names), [(name,) for name in names])

    def _pitch(self, sound: NDArray[np.float32]) -> str:
        if not np.any(sound):
            return "silence"
        strengths = np.abs(np.fft.rfft(sound))
        hertz = float(np.argmax(strengths)) * self.sample_rate / len(sound)
        return "low" if hertz < 500 else "high"
