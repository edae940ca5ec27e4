"""A text as the verifier reads it: token vectors, words with their rarity, sentences."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.encoders.minilm import TokenVectors
from rag.text import sentences

DATA = Path(__file__).parent / "data"

WORD = re.compile(r"\w+(?:[.,]\d+)*")
_NUMBER = re.compile(r"\d[\d.,]*")
_NAME = re.compile(r"(?<![.!?:\n] )(?<!^)\b[A-Z][\w-]+")
_STEM = 5
_MOST_SENTENCES = 40


class Rarity:
    """How rare tokens and words are, as log inverse document frequencies over the paragraphs of textbooks."""

    def __init__(self, of_token: NDArray[np.floating]) -> None:
        self._of_token = np.asarray(of_token, np.float32)
        self._most = float(self._of_token.max())

    @classmethod
    def load(cls) -> Rarity:
        """Load the rarities that ship."""
        return cls(np.load(DATA / "rarity.npy"))

    def of_tokens(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the rarity (n,) of each token."""
        found: NDArray[np.float32] = self._of_token[ids]
        return found

    def of_word(self, ids: NDArray[np.integer]) -> float:
        """Return the rarity of a word of these tokens, at most that of the rarest token."""
        return float(min(self._of_token[ids].sum(), self._most))


class EncodedText:
    """A text with its token vectors, words and sentences, each computed once."""

    def __init__(self, tokens: TokenVectors, rarity: Rarity) -> None:
        self.text, self.vectors = tokens.text, tokens.vectors
        self.starts, self.weights = tokens.starts, rarity.of_tokens(tokens.ids)
        self._tokens, self._rarity = tokens, rarity

    @cached_property
    def words(self) -> list[str]:
        """The words, in lower case and cut to five letters."""
        return [stem(word.group().lower()) for word in self._matches]

    @cached_property
    def word_starts(self) -> NDArray[np.int64]:
        """Where each word starts."""
        return np.array([word.start() for word in self._matches], np.int64)

    @cached_property
    def rarities(self) -> dict[str, float]:
        """The rarity of each word."""
        bounds = np.searchsorted(self.starts, [(m.start(), m.end()) for m in self._matches] or np.zeros((0, 2)))
        return {
            word: self._rarity.of_word(self._tokens.ids[first:end])
            for word, (first, end) in zip(self.words, bounds, strict=True)
        }

    @cached_property
    def sentences(self) -> list[tuple[int, int]]:
        """The first sentences, as ``[start, end)``."""
        return list(islice(sentences(self.text), _MOST_SENTENCES)) or [(0, len(self.text))]

    @cached_property
    def windows(self) -> list[tuple[int, int]]:
        """Runs of two sentences, as ``[start, end)``."""
        spans = self.sentences
        return [(a[0], b[1]) for a, b in pairwise(spans)] or spans

    @cached_property
    def word_set(self) -> frozenset[str]:
        """The different words."""
        return frozenset(self.words)

    @cached_property
    def numbers(self) -> frozenset[str]:
        """The numbers in digits."""
        return numbers_in(self.text)

    @cached_property
    def pooled(self) -> NDArray[np.float32]:
        """The mean of the token vectors, at unit length."""
        return pool(self.vectors)

    @cached_property
    def _matches(self) -> list[re.Match[str]]:
        return list(WORD.finditer(self.text))


def pool(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of token vectors (n, width), at unit length."""
    if not len(vectors):
        return np.zeros(vectors.shape[1], np.float32)
    mean = vectors.mean(0)
    pooled: NDArray[np.float32] = mean / max(float(np.linalg.norm(mean)), 1e-6)
    return pooled


def stem(word: str) -> str:
    """Return a word cut to five letters; a number stays whole."""
    return word if word[0].isdigit() else word[:_STEM]


def stems(text: str) -> frozenset[str]:
    """Return the different words, each cut to its stem."""
    return frozenset(stem(word) for word in WORD.findall(text.lower()))


def numbers_in(text: str) -> frozenset[str]:
    """Return the numbers in digits."""
    return frozenset(number.rstrip(".,").replace(",", "") for number in _NUMBER.findall(text))


def names_in(text: str) -> frozenset[str]:
    """Return the stems of words with a capital inside a sentence."""
    return frozenset(stem(name.lower()) for name in _NAME.findall(text))
