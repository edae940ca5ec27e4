"""Rewrites follow-up questions: "and how heavy is it?" becomes a question that stands alone.

A model may invent what it should repeat. Its rewriting is rejected if it has a new name or number, or many other new
words; the question then stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rag.answering.markers import plain_line
from rag.llm.prompts import load
from rag.query.options import Turn
from rag.text import replace_surrogates, stems

if TYPE_CHECKING:
    from rag.llm import LanguageModel

_TURNS = 3  # the newest; earlier ones are seldom meant
_MOST_CHARS = 400  # of each question and answer
_TOKENS = 80
_MOST_NEW = 1 / 3  # of the words, by their stems: "which", "does", "called"
_NAME = re.compile(r"(?<=\s)[A-Z]\w*|\w*\d\w*")
_MARKER = re.compile(r"\s*\[E?\d{1,3}\]")


def standalone(question: str, turns: Sequence[Turn], llm: LanguageModel) -> str:
    """Rewrite a question so that it can be understood alone; without earlier turns it stays as it is.

    Raises:
        LLMError: the model failed.
    """
    recent = [(_shorten(before), _shorten(answer)) for before, answer in turns[-_TURNS:] if before.strip()]
    if not recent:
        return question
    messages = load("followup").messages({"turns": recent, "question": _shorten(question)})
    written = llm.complete(messages, max_tokens=_TOKENS).text.strip()
    known = stems(" ".join([question, *(f"{before} {answer}" for before, answer in recent)]))
    return written if _is_sound(written, known) else question


def _is_sound(written: str, known: set[str]) -> bool:
    new = stems(written) - known
    names = stems(" ".join(_NAME.findall(written)))
    return bool(written) and "\n" not in written and not new & names and len(new) <= _MOST_NEW * len(stems(written))


def _shorten(text: str) -> str:
    return plain_line(_MARKER.sub("", replace_surrogates(text)))[:_MOST_CHARS]
