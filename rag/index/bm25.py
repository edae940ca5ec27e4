"""Words to sparse vectors for BM25, the same for both stores; the store multiplies by inverse document frequency.

Chosen on 2,220 passages and 328 captions of a textbook (mean reciprocal rank; a sentence finds its passage, a
description of a figure finds its caption): English stemming 0.18 and 0.46, without 0.17 and 0.47; mean length set to 50
words 0.19 and 0.50, to 256 (Qdrant's default; these texts have 52) 0.17 and 0.41. Qdrant's multilingual tokenizer does
as well in English as its word tokenizer (0.181 and 0.181), and also parts Chinese and Japanese into words.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from rag.text import replace_surrogates

Sparse = tuple[list[int], list[float]]
_MEAN_WORDS = 50
_WORD = re.compile(r"\w+")


def encode_document(text: str) -> Sparse:
    """Indices and weights of what can be found."""
    vector = _model().embed_document(replace_surrogates(text))
    return vector.indices, vector.values


def encode_query(text: str) -> Sparse:
    """Indices and weights, all 1, of what someone asks for; both empty where only stop words are left."""
    vector = _model().embed_query(replace_surrogates(text))
    return vector.indices, vector.values


def matching_words(question: str, text: str) -> tuple[str, ...]:
    """The words of a text that are a question's, by their stems: lower case, each once, in the order of the text."""
    asked = frozenset(encode_query(question)[0])
    words = dict.fromkeys(_WORD.findall(text.lower()))
    return tuple(word for word in words if asked.intersection(_stems(word))) if asked else ()


@lru_cache(maxsize=50_000)
def _stems(word: str) -> tuple[int, ...]:
    return tuple(encode_query(word)[0])


@cache
def _model() -> Any:
    from qdrant_edge import Bm25, Bm25Config, TokenizerType

    return Bm25(
        Bm25Config(language="english", tokenizer=TokenizerType.Multilingual, ascii_folding=True, avg_len=_MEAN_WORDS)
    )
