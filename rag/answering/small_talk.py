"""Answers what no file answers: greetings, thanks, what one may ask, and what the collection holds.

Such words go through no search: whatever a search found for "hello" would be cited for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rag.query.question_kind import talk_of
from rag.types import Answer, Medium

if TYPE_CHECKING:
    from rag.catalog.catalog import CatalogEntry

_MOST_NAMED = 8
_PLURALS: dict[Medium, str] = {"document": "documents", "image": "images", "audio": "recordings", "video": "videos"}
_SINGULARS: dict[Medium, str] = {"audio": "recording"}
_ASK = "Ask about it in words, with a picture or a recording; every statement of the answer names its source."


def small_talk(question: str, held: Callable[[], Sequence[CatalogEntry]]) -> Answer | None:
    """Return the answer to a greeting or to a question about the collection as a whole; None for any other.

    Args:
        question: in words.
        held: returns the files of the collection; called only where it counts.
    """
    talk = talk_of(question)
    if talk is None:
        return None
    if talk == "thanks":
        return Answer(question, "You are welcome.")
    about = describe_collection(held(), names=talk == "collection")
    greeting = {"greeting": "Hello. ", "abilities": "I answer from this collection alone. "}.get(talk, "")
    return Answer(question, f"{greeting}{about}" if talk == "collection" else f"{greeting}{about} {_ASK}")


def describe_collection(held: Sequence[CatalogEntry], *, names: bool) -> str:
    """Return a sentence on how many files of each medium there are, and their first names if wanted."""
    if not held:
        return "This collection is empty."
    counts = Counter(file.medium for file in held)
    parts = [f"{n} {_PLURALS[m] if n > 1 else _SINGULARS.get(m, m)}" for m in _PLURALS if (n := counts[m])]
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    text = f"This collection holds {listed}."
    if not names:
        return text
    first = sorted({file.path.name for file in held})
    more = f" and {len(first) - _MOST_NAMED} more" if len(first) > _MOST_NAMED else ""
    return f"{text} {'Among them' if more else 'They'} are {', '.join(first[:_MOST_NAMED])}{more}."
