"""Why a search found a hit: the channels with their scores, the words that matched, the negatives and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChannelScore:
    """The place of a hit in one channel's ranking.

    Attributes:
        name: name of the channel's ranking (`rag.retrieval.channels`).
        rank: place of the hit in it, from 1.
        score: raw score from the store: a cosine, or BM25.
        confidence: the calibrated score, in [0, 1].
        weight: weight of the query part that asked, relative to the other parts.
    """

    name: str
    rank: int
    score: float
    confidence: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """The reasons for a hit's place among the hits. `str` gives them in words, and notebooks draw them.

    Attributes:
        score: score of the search, in [0, 1].
        channels: the channels that found the hit.
        matched: words of the hit that share a stem with the question.
        against: how well the hit fits what the question excludes, in [0, 1]; the score is already lowered by it.
        relevance: log-odds that the hit answers, from search and language model; None without a language model's
            verdict.
        noise_floor: the best score of a nonsense query in the same collection.
        rules: the ranking rules that the hit meets; the score already includes them.
    """

    score: float
    channels: tuple[ChannelScore, ...] = ()
    matched: tuple[str, ...] = ()
    against: float = 0.0
    relevance: float | None = None
    noise_floor: float = 0.0
    rules: tuple[str, ...] = ()

    @property
    def is_above_noise(self) -> bool:
        """Whether the score is above the noise floor; if not, the hit is merely among the nearest."""
        return self.score > self.noise_floor

    @property
    def probability(self) -> float | None:
        """The relevance as a probability."""
        if self.relevance is None:
            return None
        return 1 / (1 + math.exp(-min(max(self.relevance, -30.0), 30.0)))

    @property
    def places(self) -> str:
        """The hit's place in each channel that found it, such as ``text #1, image #3``."""
        return ", ".join(f"{channel.name} #{channel.rank}" for channel in self.channels)

    def __str__(self) -> str:
        lines = [f"score {self.score:.3f}"]
        if self.noise_floor and not self.is_above_noise:
            lines[0] += f", and nonsense up to {self.noise_floor:.3f}"
        lines += [
            f"{channel.name}: place {channel.rank}, {channel.score:.3f}, believed {channel.confidence:.2f}"
            + (f", weight {channel.weight:g}" if channel.weight != 1 else "")
            for channel in self.channels
        ]
        if self.matched:
            lines.append(f"words: {', '.join(self.matched)}")
        lines += [f"rule: {rule}" for rule in self.rules]
        if self.against:
            lines.append(f"not wanted: {self.against:.2f}")
        if self.relevance is not None:
            lines.append(f"verdict: {self.relevance:+.1f} log-odds, {self.probability:.0%}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Draw the explanation for a notebook."""
        from rag.presentation.explanation_svg import explanation_html

        return explanation_html(self)
