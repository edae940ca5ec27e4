"""How sure an answer must be: what counts as evidence, and what counts as supported, for each setting of the dial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rag.config import Settings

Caution = Literal["strict", "balanced", "bold"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What an answer must reach to be given.

    Attributes:
        relevance: log-odds: hits below it are no evidence.
        support: the probability from which a passage supports a statement.
    """

    relevance: float
    support: float


THRESHOLDS: dict[Caution, Thresholds] = {
    "strict": Thresholds(0.6, 0.65),
    "balanced": Thresholds(-0.3, 0.4),
    "bold": Thresholds(-1.0, 0.25),
}


def thresholds(settings: Settings) -> Thresholds:
    """Return the thresholds of the settings."""
    found = THRESHOLDS[settings.caution]
    return found if settings.min_relevance is None else replace(found, relevance=settings.min_relevance)
