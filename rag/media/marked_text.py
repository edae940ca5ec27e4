"""Passages of text for a page of HTML, with the relevant part marked."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from rag.text import sentences
from rag.types import CharSpan

_CONTEXT_CHARS = 400
_WORD = re.compile(r"\w{2,}")


def excerpt(text: str, span: CharSpan, *, context_chars: int = _CONTEXT_CHARS) -> Markup:
    """Return the span in ``<mark>`` with some characters around it, cut at spaces; safe HTML for any text."""
    start = min(max(span.start, 0), len(text))
    end = min(max(span.end, start), len(text))
    first, last = max(0, start - context_chars), min(len(text), end + context_chars)
    if first > 0:
        first = text.find(" ", first, start) + 1 or first
    if last < len(text):
        found = text.rfind(" ", end, last)
        last = found if found > 0 else last
    before = ("… " if first > 0 else "") + text[first:start]
    after = text[end:last] + (" …" if last < len(text) else "")
    marked = Markup("<mark>{}</mark>").format(text[start:end]) if end > start else Markup("")
    return escape(before) + marked + escape(after)


def closest_sentence(text: str, statement: str) -> CharSpan:
    """Return the sentence of a text that shares most words with a statement, by the F1 of the two sets of words.

    If no sentence shares a word, return an empty span at the start.
    """
    wanted = _words(statement)
    best, best_score = CharSpan(0, 0), 0.0
    for start, end in sentences(text):
        words = _words(text[start:end])
        shared = len(wanted & words)
        score = 2 * shared / (len(wanted) + len(words)) if shared else 0.0
        if score > best_score:
            best, best_score = CharSpan(start, end), score
    return best


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}
