"""The verifier: does this passage answer this question, and does it support this statement.

Two small networks over the features of `rag.verification.features`, trained on textbook questions
(`rag/verification/training`). It takes 0.1 s a passage on one core, nearly all of it for MiniLM's token vectors, which
are kept for passages seen lately.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from rag.encoders.minilm import MiniLM
from rag.verification.encoded_text import DATA, EncodedText, Rarity
from rag.verification.features import Window, relevance_features, support_features

NETWORKS = DATA / "verifier.safetensors"
_MOST_CHARS = 2000  # of a passage; more than the 256 tokens that MiniLM reads
_TEXTS_KEPT = 256  # 0.3 MB each
_MOST_LOGIT = 30.0
# The networks learned from paragraphs. In a shorter text fewer tokens can be near to those of a question, so that a
# label or a caption that says everything seems to say little. Fewer words than these add so much log-odds per halving.
_PARAGRAPH_WORDS = 60
_SHORT_RELEVANCE, _SHORT_SUPPORT = 0.55, 0.35


@dataclass(frozen=True, slots=True)
class EvidencePassage:
    """What may answer or support: a text, and the words above it, which may name its subject."""

    text: str
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the verifier says of a passage.

    Attributes:
        probability: that it answers, or supports.
        window: the sentences that fit best.
    """

    probability: float
    window: Window

    @property
    def log_odds(self) -> float:
        """The probability as log-odds."""
        chance = min(max(self.probability, 1e-6), 1 - 1e-6)
        return float(np.log(chance / (1 - chance)))


class Network:
    """One hidden layer over standardised features, with a calibrated logit."""

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self._weights = weights

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-odds (n,) of rows of features (n, features)."""
        w = self._weights
        hidden = np.tanh((features - w["mean"]) / w["scale"] @ w["hidden"] + w["hidden_bias"])
        logits: NDArray[np.float32] = np.clip(hidden @ w["output"] + w["output_bias"], -_MOST_LOGIT, _MOST_LOGIT)
        return logits


class Verifier:
    """Judges passages; threads may share it.

    Args:
        encoder: gives the token vectors.
        networks: file with the trained networks.
    """

    def __init__(self, encoder: MiniLM, networks: Path = NETWORKS) -> None:
        self._encoder, self._rarity = encoder, Rarity.load()
        stored: dict[str, NDArray[np.float32]] = load_file(networks)
        self._relevance, self._support = (
            Network({key.partition(".")[2]: array for key, array in stored.items() if key.startswith(f"{name}.")})
            for name in ("relevance", "support")
        )
        self._kept: OrderedDict[str, EncodedText] = OrderedDict()
        self._lock = threading.Lock()

    def relevance(self, question: str, passages: Sequence[EvidencePassage]) -> list[Judgement]:
        """Judge whether each passage answers a question."""
        if not passages:
            return []
        (asked,) = self._texts([question])
        texts = self._texts([each.text for each in passages])
        found = [
            relevance_features(asked, text, passage.heading) for text, passage in zip(texts, passages, strict=True)
        ]
        return _judged(self._relevance, found, [_SHORT_RELEVANCE * _halvings(text) for text in texts])

    def support(self, question: str, statement: str, passages: Sequence[EvidencePassage]) -> list[Judgement]:
        """Judge whether each passage supports a statement that answers a question."""
        if not passages:
            return []
        (claim,) = self._texts([f"{question} {statement}"])
        texts = self._texts([each.text for each in passages])
        found = [
            support_features(claim, len(question), text, passage.heading)
            for text, passage in zip(texts, passages, strict=True)
        ]
        return _judged(self._support, found, [_SHORT_SUPPORT * _halvings(text) for text in texts])

    def _texts(self, texts: Sequence[str]) -> list[EncodedText]:
        """Return texts with their token vectors; those seen lately are not encoded again."""
        cut = [text[:_MOST_CHARS] for text in texts]
        with self._lock:
            known = {text: self._kept[text] for text in cut if text in self._kept}
        fresh = [text for text in dict.fromkeys(cut) if text not in known]
        known |= {
            text: EncodedText(tokens, self._rarity)
            for text, tokens in zip(fresh, self._encoder.embed_tokens(fresh), strict=True)
        }
        with self._lock:
            for text in cut:
                self._kept[text] = known[text]
                self._kept.move_to_end(text)
            while len(self._kept) > _TEXTS_KEPT:
                self._kept.popitem(last=False)
        return [known[text] for text in cut]


def _halvings(text: EncodedText) -> float:
    """Return how often a paragraph is halved to get a text of this many words; 0 for a longer one."""
    return float(max(np.log2(_PARAGRAPH_WORDS / max(len(text.words), 1)), 0.0))


def _judged(
    network: Network, found: Sequence[tuple[NDArray[np.float32], Window]], added: Sequence[float]
) -> list[Judgement]:
    logits = network(np.stack([features for features, _ in found])) + np.array(added)
    return [
        Judgement(float(1 / (1 + np.exp(-logit))), window) for logit, (_, window) in zip(logits, found, strict=True)
    ]
