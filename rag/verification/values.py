"""The check by words: the values of a statement must stand in the passage that it cites.

`values` reads the numbers, dates, names and quoted words of a text; `missing` returns those of a statement that its
passage lacks; `conflicts` says where a short passage states another value, the opposite, or a denial. No model judges
here: a value that is missing makes a statement doubtful, a value that is there makes it possible.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise, takewhile
from typing import cast

from rag.text import sentences, stems
from rag.verification.contrasts import contrasts
from rag.verification.dates import find_dates
from rag.verification.evidence import read_evidence
from rag.verification.kinds import DateKey, Key, Kind, Value, take
from rag.verification.names import find_names, tokens
from rag.verification.ordinary_words import FUNCTION_WORDS
from rag.verification.quantities import find_numbers
from rag.verification.references import find_references

__all__ = ["Kind", "Value", "conflicts", "missing", "values"]

_QUOTE = re.compile(
    r"[“„]([^“”„]{2,400})[”“]|«\s?([^«»]{2,400}?)\s?»|\"([^\"\n]{2,400})\"|「([^「」]{1,400})」"
    r"|‘([^‘’]{2,200}\s[^‘’]{1,200})’(?!\w)"
)
_LONGEST_CHOICE = 30  # characters between the two values of "50 or 500 grams"
_BEHIND = re.compile(r"(?:[^\S\n-]?[\s-][^\W\d_]{1,24}){0,3}")
_MOST = 20  # values of a statement, and of a window beside each, that are compared: a bound on time
_ARTICLES = ("a", "an", "one")
_LEAST_SHARED = 0.4  # of a statement's words that the sentence around a rival value must hold
_FUNCTION_STEMS = stems("the and for from with that were was are has have had per after before than who which")


def values(text: str, context: str = "") -> list[Value]:
    """Return the values that a text states, in order.

    Args:
        text: a statement.
        context: the question and the passage, which tell names from other first words of a sentence.
    """
    taken = bytearray(len(text))
    found = [*take(taken, _quotes(text)), *take(taken, find_references(text))]
    found += take(taken, [date for date in find_dates(text) if not taken[date.start]])
    names = find_names(text, taken, context)
    for name in names:
        taken[name.start : name.end] = b"\1" * (name.end - name.start)
    found += [*names, *find_numbers(text, taken)]
    return sorted(found, key=lambda value: value.start)


def missing(statement: str, passage: str, question: str = "") -> list[Value]:
    """Return the values of a statement that its passage lacks, each with a reason.

    A value that stands in the question is left out: the answer repeats it, and claims something of it. Values that a
    question offers for choice ("50 or 500 grams?") are the answer's own claim.
    """
    evidence, asked = read_evidence(passage), read_evidence(question)
    found = []
    for value in values(statement, f"{question}\n{passage}"):
        if (
            value.is_reference
            or evidence.holds(value, statement)
            or (asked.holds(value, statement) and not _offered(value, question))
        ):
            continue
        found.append(replace(value, reason=evidence.reason(value)))
    return found


def conflicts(statement: str, window: str) -> list[str]:
    """Return why a window contradicts a statement, each reason a sentence for people; empty if nothing does.

    Args:
        statement: one statement of an answer.
        window: the few sentences of the passage that speak of the same; a whole page would find other subjects.
    """
    spans, others = _Spans(statement), _Spans(window)
    own = {value.key for value in values(statement)}
    lacking = missing(statement, window)[:_MOST]
    reasons = [_name_rivalry(v, window) if v.kind == "name" else _rivalry(v, spans, others, own) for v in lacking]
    return list(dict.fromkeys(filter(None, reasons))) or contrasts(statement, window)


class _Spans:
    """A text with the word stems of each of its sentences."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._ends = list(sentences(text))
        self._stems = [stems(text[start:end]) for start, end in self._ends]

    def stems_around(self, value: Value) -> set[str]:
        """Return the stems of the sentence in which a value stands."""
        return next(
            (s for s, (start, end) in zip(self._stems, self._ends, strict=True) if start <= value.start < end), set()
        )


def _name_rivalry(name: Value, window: str) -> str:
    given = read_evidence(window).wording.other_given(tuple(map(str, name.key)))
    return f"The passage says {given.title()} {name.text.split()[-1]}, not {name.text}." if given else ""


def _rivalry(value: Value, statement: _Spans, window: _Spans, own: set[Key]) -> str:
    """Return what the window says instead of a value, in a sentence for people; "" if nothing tells.

    Args:
        value: of the statement, missing in the window.
        statement: the statement.
        window: the window.
        own: the keys of all the values of the statement.
    """
    about = statement.stems_around(value) - stems(value.text)
    least = max(2, _LEAST_SHARED * len(about))
    by_key = {rival.key: rival for rival in _rivals(value, statement.text, window.text) if rival.key not in own}
    rivals = [rival for rival in list(by_key.values())[:_MOST] if len(about & window.stems_around(rival)) >= least]
    if not rivals or (value.key[1] == "" and len(rivals) > 1):  # which of them counts the same?
        return ""
    said = " and ".join(_phrase(window.text, rival) for rival in rivals[:2])
    return f"The passage says {said}, not {_phrase(statement.text, value)}."


def _rivals(value: Value, statement: str, window: str) -> list[Value]:
    """Return the window's values of the same unit, or of the same thing counted, as a value of the statement."""
    evidence = read_evidence(window)
    if value.kind == "date":
        return [date for date in evidence.dates if _alike(_date_key(date), _date_key(value))]
    if value.kind != "number":
        return []
    unit = value.key[1]
    same = [number for number in evidence.numbers if number.key[1] == unit and number.text.lower() not in _ARTICLES]
    if unit not in ("", "ordinal"):
        return same
    counted = _counted(statement, value)
    return [number for number in same if counted & _counted(window, number)]


def _date_key(date: Value) -> DateKey:
    return cast(DateKey, date.key)


def _alike(date: DateKey, other: DateKey) -> bool:
    return [part is None for part in date] == [part is None for part in other] and date[3] == other[3]


def _counted(text: str, value: Value) -> set[str]:
    """Return the stems of the words that a number counts: up to three behind it, before any mark."""
    behind = _BEHIND.match(text, value.end)
    return stems(behind[0]) - _FUNCTION_STEMS if behind else set()


def _phrase(text: str, value: Value) -> str:
    """Return a value as written, with the words that a plain number counts: "12 cranial nerves"."""
    if value.kind != "number" or value.key[1] not in ("", "ordinal"):
        return value.text
    behind = _BEHIND.match(text, value.end)
    words = takewhile(lambda word: word.lower() not in FUNCTION_WORDS, behind[0].split() if behind else [])
    return " ".join([value.text, *words])


def _quotes(text: str) -> list[Value]:
    found = []
    for match in _QUOTE.finditer(text):
        group = match.lastindex or 1
        words = tuple(tokens(match[group]))
        if len(words) > 1 or (words and not match[group].islower()):  # one word is the writer's own as often
            found.append(Value("quote", match[group], match.start(group), match.end(group), words))
    return found


def _offered(value: Value, question: str) -> bool:
    """Return whether a question offers a value beside another one of its kind."""
    if " or " not in question:
        return False
    same = [other for other in values(question) if other.kind == value.kind]
    pairs = pairwise(same)
    between = (question[first.end : second.start] for first, second in pairs if value.key in (first.key, second.key))
    return any(" or " in words and len(words) <= _LONGEST_CHOICE for words in between)
