"""The measures of `tests.measure.run`: pure functions over rankings, answers and times."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from rag.evaluation.labelled_questions import Question

Outcome = Literal[
    "correct and cited", "correct, cited elsewhere", "wrong", "declined wrongly", "declined correctly", "made up"
]


@dataclass(frozen=True)
class Record:
    """The rankings and the answer of one question.

    Attributes:
        before: assets in the order of the search, each once.
        after: the same after reranking.
        text: the answer's text.
        cited: assets of the evidence that the answer cites.
        shown: assets of the evidence that the language model read, or of the nearest misses.
        declined: whether the question was declined.
        relevance: the best of the evidence; None if none was judged.
        seconds: of each step of `ask`.
        warnings: failures of steps.
    """

    question: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    text: str
    cited: tuple[str, ...]
    shown: tuple[str, ...]
    declined: bool
    relevance: float | None
    seconds: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the report."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the record that `to_json` wrote."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()})


def normalize(text: str) -> str:
    """Return the text in lower case, with plain quotes and single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().replace("’", "'").split())


def holds(text: str, phrases: Iterable[str]) -> bool:
    """Return whether a text holds a phrase as whole words or numbers; markers such as ``[E1]`` do not count."""
    words = normalize(re.sub(r"\[E\d+\]", " ", text))
    found = (re.escape(normalize(phrase)) for phrase in phrases)
    return any(re.search(rf"(?<!\w)(?<!\d[.,]){phrase}(?!\w|[.,]\d)", words) for phrase in found)


def outcome(question: Question, record: Record) -> Outcome:
    """Grade an answer: it must hold a right phrase, and cite evidence from a right asset."""
    if record.declined:
        return "declined wrongly" if question.answerable else "declined correctly"
    if not question.answerable:
        return "made up"
    if not holds(record.text, question.answer):
        return "wrong"
    return "correct and cited" if set(record.cited) & set(question.assets) else "correct, cited elsewhere"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` per cent of all values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(math.ceil(percent / 100 * len(values)), 1) - 1]


def step_seconds(steps: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the seconds of each step by name; those of repeated steps are added up."""
    total: dict[str, float] = {}
    for name, seconds in steps:
        total[name] = total.get(name, 0.0) + seconds
    return total
