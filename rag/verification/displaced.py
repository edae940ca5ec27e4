"""Values from another sentence: a passage that says "found by Ann Lee" does not say so of Bob Ray, whom it also names.

A value of a statement must stand in a sentence that has about as many of the statement's other words as any. Where one
that has far more of them gives another value of the kind in its place, that is what the passage says.
"""

from __future__ import annotations

from rag.text import sentences, stems
from rag.verification.evidence import read_evidence
from rag.verification.kinds import Value
from rag.verification.ordinary_words import FUNCTION_WORDS
from rag.verification.values import values

# Shares of the other words of a statement's sentence and its question: the least that the sentence with the other value
# must have, and by how much it must exceed the best sentence with the statement's own value.
_LEAST, _GAP = 0.6, 0.3
_FEWEST = 2  # other words; fewer tell nothing
_COMMON = stems(" ".join(FUNCTION_WORDS))


def displaced(question: str, statement: str, passage: str) -> str:
    """Return what a passage says where a statement puts a value from elsewhere in it, for people; "" if it does not.

    Args:
        question: in words; what it says is no claim of the statement.
        statement: whose values the passage holds.
        passage: the evidence.
    """
    parts = [passage[start:end] for start, end in sentences(passage)]
    asked = read_evidence(question)
    for value in values(statement, f"{question}\n{passage}") if len(parts) > 1 else ():
        if value.kind == "quote" or value.is_reference or asked.holds(value, statement):
            continue
        about = stems(f"{_sentence_of(value, statement)} {question}") - stems(value.text) - _COMMON
        best = _better_sentence(value, statement, about, parts) if len(about) >= _FEWEST else ""
        if rival := best and _rival(value, best, passage, f"{statement}\n{question}"):
            return f"The passage says {rival}, not {value.text}."
    return ""


def _sentence_of(value: Value, statement: str) -> str:
    return next((statement[start:end] for start, end in sentences(statement) if start <= value.start < end), statement)


def _better_sentence(value: Value, statement: str, about: set[str], parts: list[str]) -> str:
    """Return the sentence without a value that has far more of the words around it than any with it; "" if none has."""
    shares = {part: len(about & stems(part)) / len(about) for part in parts}
    held = [part for part in shares if read_evidence(part).holds(value, statement)]
    if not held:
        return ""
    best = max(shares.keys() - set(held), key=lambda part: (shares[part], part), default="")
    is_better = best and shares[best] >= max(_LEAST, max(shares[part] for part in held) + _GAP)
    return best if is_better else ""


def _rival(value: Value, sentence: str, passage: str, told: str) -> str:
    """Return the first value of a sentence that may stand in the place of another and that nothing told names."""
    claimed, words = read_evidence(told), stems(told)
    for other in values(sentence, passage):
        is_first_word = other.kind == "name" and other.start == 0 and len(other.key) == 1  # any word may begin so
        if other.is_reference or is_first_word or not _is_alike(other, value):
            continue
        if not claimed.holds(other, "") and not (other.kind == "name" and stems(other.text) & words):
            return other.text
    return ""


def _is_alike(value: Value, other: Value) -> bool:
    if value.kind == "number":
        return other.kind == "number" and value.key[1] == other.key[1]
    if value.kind == "date":  # a year for a year, a day for a day
        return other.kind == "date" and [part is None for part in value.key] == [part is None for part in other.key]
    return value.kind == other.kind
