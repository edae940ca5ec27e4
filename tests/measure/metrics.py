"""What is counted: pure functions over rankings, answers and times."""

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
    """What the knowledge base made of one question.

    Attributes:
        before: assets in the order in which the search found them, each once.
        after: the same after reranking.
        text: the answer's text.
        cited: assets of the exhibits that the answer cites.
        shown: assets of the exhibits that the language model was shown, or of the nearest misses.
        declined: whether no answer was given.
        relevance: of the exhibit that was judged best; None where none was judged.
        seconds: of each step of `ask`.
        warnings: what went wrong on the way.
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
        """Plain values, as kept in the report."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()})


def normalised(text: str) -> str:
    """Lower case, plain quotes, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().replace("’", "'").split())


def holds(text: str, phrases: Iterable[str]) -> bool:
    """Whether a text holds one of some phrases as whole words or numbers; markers such as ``[E1]`` do not count."""
    words = normalised(re.sub(r"\[E\d+\]", " ", text))
    found = (re.escape(normalised(phrase)) for phrase in phrases)
    return any(re.search(rf"(?<!\w)(?<!\d[.,]){phrase}(?!\w|[.,]\d)", words) for phrase in found)


def outcome(question: Question, record: Record) -> Outcome:
    """What an answer is worth: it must hold a right phrase, and cite an exhibit of an asset that says so."""
    if record.declined:
        return "declined wrongly" if question.answerable else "declined correctly"
    if not question.answerable:
        return "made up"
    if not holds(record.text, question.answer):
        return "wrong"
    return "correct and cited" if set(record.cited) & set(question.assets) else "correct, cited elsewhere"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` per cent of all values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(math.ceil(percent / 100 * len(values)), 1) - 1]


def step_seconds(steps: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Seconds by name of step; those of a step that was taken more than once are added up."""
    total: dict[str, float] = {}
    for name, seconds in steps:
        total[name] = total.get(name, 0.0) + seconds
    return total
