"""Why a search found a hit: the channels with their scores, the words that matched, the negatives and the verdict."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

_BAR_PX, _ROW_PX, _NAME_PX, _NOTE_PX = 160, 18, 110, 150
_BAR, _VERDICT, _AGAINST = "#3b7ea1", "#4c9a52", "#b5483c"


@dataclass(frozen=True, slots=True)
class ChannelScore:
    """One ranking that found a hit.

    Attributes:
        name: of the ranking; see `rag.retrieval.retriever`.
        rank: of the hit in it, from 1.
        score: as the store gave it: a cosine, or BM25.
        confidence: the same, calibrated: how far it can be believed, in [0, 1].
        weight: how much the part of the question counts that was asked, beside the others.
    """

    name: str
    rank: int
    score: float
    confidence: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Why:
    """What a hit's place among the hits rests on; `str` of it is for people, and notebooks draw it.

    Attributes:
        score: of the search, in [0, 1].
        channels: the rankings that found it.
        matched: its words that are the question's, by their stems.
        against: how far it fits what the question does not want, in [0, 1]; the score has been lowered by that.
        relevance: log-odds that it answers, from search and language model; None where that did not judge.
        noise_floor: the best score that a search for nonsense gets in the same collection.
        rules: the rules of ranking that it meets; the score has been changed by them.
    """

    score: float
    channels: tuple[ChannelScore, ...] = ()
    matched: tuple[str, ...] = ()
    against: float = 0.0
    relevance: float | None = None
    noise_floor: float = 0.0
    rules: tuple[str, ...] = ()

    @property
    def probability(self) -> float | None:
        """The verdict as a probability."""
        if self.relevance is None:
            return None
        return 1 / (1 + math.exp(-min(max(self.relevance, -30.0), 30.0)))

    @property
    def places(self) -> str:
        """Its place in each channel that found it, such as ``text #1, image #3``."""
        return ", ".join(f"{channel.name} #{channel.rank}" for channel in self.channels)

    def __str__(self) -> str:
        lines = [f"score {self.score:.3f}"]
        if self.noise_floor and self.score <= self.noise_floor:
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
        """A bar for each channel, what speaks against it and the verdict, as one picture without scripts."""
        rows = [
            (channel.name, channel.confidence, f"place {channel.rank}, {channel.score:.3f}", _BAR)
            for channel in self.channels
        ]
        if self.against:
            rows.append(("not wanted", self.against, f"{self.against:.2f}", _AGAINST))
        if self.probability is not None:
            rows.append(("verdict", self.probability, f"{self.relevance:+.1f} log-odds", _VERDICT))
        rows.append(("score", self.score, f"{self.score:.3f}", "#555"))
        size = f'width="{_NAME_PX + _BAR_PX + _NOTE_PX}" height="{_ROW_PX * len(rows) + 4}"'
        bars = "".join(_row(number, *row) for number, row in enumerate(rows))
        words = f"<div>words: {html.escape(', '.join(self.matched))}</div>" if self.matched else ""
        words += "".join(f"<div>rule: {html.escape(rule)}</div>" for rule in self.rules)
        return f'<div><svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12">{bars}</svg>{words}</div>'


def _row(number: int, name: str, share: float, note: str, colour: str) -> str:
    top = number * _ROW_PX
    width = round(_BAR_PX * min(max(share, 0.0), 1.0), 1)
    return (
        f'<text x="0" y="{top + 13}" fill="currentColor">{html.escape(name)}</text>'
        f'<rect x="{_NAME_PX}" y="{top + 3}" width="{width}" height="{_ROW_PX - 6}" fill="{colour}"/>'
        f'<text x="{_NAME_PX + _BAR_PX + 6}" y="{top + 13}" fill="currentColor">{html.escape(note)}</text>'
    )
