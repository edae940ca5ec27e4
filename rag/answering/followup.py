"""Follow-up questions: "and how heavy is it?" becomes a question that stands alone, from what was said before.

A model may well make up what it is to repeat. What it writes is not taken where it has a name or a number that nobody
said, or many other new words: then the question is left as it was asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rag.answering.markers import plain_line
from rag.llm.prompts import load
from rag.query.options import Turn
from rag.text import stems

if TYPE_CHECKING:
    from rag.llm import LanguageModel

_TURNS = 3  # the newest; what was asked before them is seldom meant
_MOST_CHARS = 400  # of each question and answer
_TOKENS = 80
_MOST_NEW = 1 / 3  # of the words, by their stems: "which", "does", "called"
_NAME = re.compile(r"(?<=\s)[A-Z]\w*|\w*\d\w*")
_MARKER = re.compile(r"\s*\[E?\d{1,3}\]")


def standalone(question: str, turns: Sequence[Turn], llm: LanguageModel) -> str:
    """The question as it can be understood alone; as it is where nothing was said before.

    Raises:
        LLMError: the model failed.
    """
    said = [(_short(asked), _short(answered)) for asked, answered in turns[-_TURNS:] if asked.strip()]
    if not said:
        return question
    messages = load("followup").messages({"turns": said, "question": _short(question)})
    written = llm.complete(messages, max_tokens=_TOKENS).text.strip()
    known = stems(" ".join([question, *(f"{asked} {answered}" for asked, answered in said)]))
    return written if _is_sound(written, known) else question


def _is_sound(written: str, known: set[str]) -> bool:
    new = stems(written) - known
    names = stems(" ".join(_NAME.findall(written)))
    return bool(written) and "\n" not in written and not new & names and len(new) <= _MOST_NEW * len(stems(written))


def _short(text: str) -> str:
    return plain_line(_MARKER.sub("", text))[:_MOST_CHARS]
