"""The record of a question that `tests.measure.run` keeps, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from rag.evaluation.answer_metrics import grade
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


def outcome(question: Question, record: Record) -> Outcome:
    """Grade an answer: it must hold a right phrase, and cite evidence from a right asset."""
    found = grade(question, record.text, is_declined=record.declined)
    if found == "declined":
        return "declined wrongly" if question.answerable else "declined correctly"
    if found == "wrong":
        return "wrong" if question.answerable else "made up"
    return "correct and cited" if set(record.cited) & set(question.assets) else "correct, cited elsewhere"
