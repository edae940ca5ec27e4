"""The check by words: the values of a statement must stand in the passage that it cites.

`values` reads the numbers, dates, names and quoted words of a text; `missing` returns those of a statement that its
passage lacks; `conflicts` says where a short passage states another value, the opposite, or a denial. No model judges
here: a value that is missing makes a statement doubtful, a value that is there makes it possible.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import cast

from rag.text import sentences, stems
from rag.verification.contrasts import contrasts
from rag.verification.dates import find_dates
from rag.verification.kinds import DateKey, Kind, NumberKey, Value
from rag.verification.names import Wording, find_names, tokens
from rag.verification.quantities import find_numbers
from rag.verification.references import cited_works, labels
from rag.verification.units import units_of_headings

__all__ = ["Kind", "Value", "conflicts", "missing", "values"]

_QUOTE = re.compile(
    r"[“„]([^“”„]{2,400})[”“]|«\s?([^«»]{2,400}?)\s?»|\"([^\"\n]{2,400})\"|「([^「」]{1,400})」"
    r"|‘([^‘’]{2,200}\s[^‘’]{1,200})’(?!\w)"
)
_MORE = r"(?:more|greater|higher|longer|larger|older) than|over|exceed(?:s|ed|ing)?|at least|above|beyond"
_LESS = r"(?:less|fewer|lower|shorter|smaller|younger) than|under|below|at most|up to|within|nearly|almost|close to"
_NEAR = r"about|around|approximately|roughly|some|circa|ca?\.|estimated(?: at)?"
_HEDGE = re.compile(rf"\b(?:(?P<more>{_MORE})|(?P<less>{_LESS})|{_NEAR})\s(?:the\s|an?\s|of\s)?$|[~≈]\s?$", re.I)
_PUBLISHED = re.compile(r"\b(?:publish|book|paper|study|studies|article|wrote|written|author|edition|cited)", re.I)
_HEDGE_CHARS = 24
_LONGEST_CHOICE = 30  # characters between the two values of "50 or 500 grams"
_BEHIND = re.compile(r"(?:[^\S\n-]?[\s-][^\W\d_]{1,24}){0,3}")
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
    found = [*_take(taken, _quotes(text)), *_take(taken, _references(text))]
    found += _take(taken, [date for date in find_dates(text) if not taken[date.start]])
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
    evidence, asked = _evidence(passage), _evidence(question)
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
    found = [reason for value in missing(statement, window) if (reason := _rivalry(value, statement, window))]
    return [*found, *contrasts(statement, window)]


def _rivalry(value: Value, statement: str, window: str) -> str:
    """Return what the window says instead of a value, in a sentence for people; "" if nothing tells."""
    if value.kind == "name":
        given = _evidence(window).wording.other_given(tuple(map(str, value.key)))
        return f"The passage says {given.title()} {value.text.split()[-1]}, not {value.text}." if given else ""
    about = _sentence_stems(statement, value) - stems(value.text)
    own = {other.key for other in values(statement)}
    rivals = [
        rival
        for rival in _rivals(value, statement, window)
        if rival.key not in own and len(about & _sentence_stems(window, rival)) >= max(2, _LEAST_SHARED * len(about))
    ]
    said = " and ".join(dict.fromkeys(_phrase(window, rival) for rival in rivals[:2]))
    return f"The passage says {said}, not {_phrase(statement, value)}." if rivals else ""


def _rivals(value: Value, statement: str, window: str) -> list[Value]:
    """Return the window's values of the same unit, or of the same thing counted, as a value of the statement."""
    evidence = _evidence(window)
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
    words = stems(behind[0]) - _FUNCTION_STEMS if behind else set()
    return words | ({"%"} if text[value.start : value.end].rstrip().endswith(("%", "percent", "per cent")) else set())


def _sentence_stems(text: str, value: Value) -> set[str]:
    return next((stems(text[a:b]) for a, b in sentences(text) if a <= value.start < b), set())


def _phrase(text: str, value: Value) -> str:
    """Return a value as written, with the words that a plain number counts: "12 cranial nerves"."""
    if value.kind != "number" or value.key[1] not in ("", "ordinal") or value.text.rstrip().endswith(("%", "cent")):
        return value.text
    behind = _BEHIND.match(text, value.end)
    words = behind[0].split() if behind else []
    while words and stems(words[-1]) <= _FUNCTION_STEMS:
        words.pop()
    return " ".join([value.text, *words[:2]])


def _take(taken: bytearray, found: list[Value]) -> list[Value]:
    for value in found:
        taken[value.start : value.end] = b"\1" * (value.end - value.start)
    return found


def _quotes(text: str) -> list[Value]:
    found = []
    for match in _QUOTE.finditer(text):
        group = match.lastindex or 1
        words = tuple(tokens(match[group]))
        if words:
            found.append(Value("quote", match[group], match.start(group), match.end(group), words))
    return found


def _references(text: str) -> list[Value]:
    """Return the labels and the years of cited works that a text names."""
    found = []
    for span in cited_works(text):
        found += [
            replace(date, start=span[0] + date.start, end=span[0] + date.end, is_reference=True)
            for date in find_dates(text[span[0] : span[1]])
        ]
        found.append(Value("quote", text[span[0] : span[1]], *span, (), is_reference=True))
    for (start, end), label in labels(text):
        found.append(Value("number", text[start:end], start, end, (Fraction(0), label), is_reference=True))
    return found


@lru_cache(maxsize=64)
def _evidence(text: str) -> _Evidence:
    taken = bytearray(len(text))
    references = _take(taken, _references(text))
    dates = find_dates(text)
    cited = frozenset(v.key[0] for v in references if v.kind == "date")
    dates = _take(taken, [date for date in dates if not taken[date.start]])
    numbers = find_numbers(text, taken, is_evidence=True)
    return _Evidence(Wording(text), dates, numbers, cited, frozenset(units_of_headings(text)))


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a passage holds, to compare a statement's values with."""

    wording: Wording
    dates: list[Value]
    numbers: list[Value]
    cited_years: frozenset[object]
    heading_units: frozenset[str]

    def holds(self, value: Value, statement: str) -> bool:
        if value.kind == "name":
            letters = value.text.replace(".", "")
            if letters.isupper() and letters.isalpha() and len(letters) < 6:
                return self.wording.holds_acronym(letters)
            return self.wording.holds_name(tuple(map(str, value.key)))
        if value.kind == "quote":
            return self.wording.holds_run(tuple(map(str, value.key)))
        if value.kind == "date":
            return any(self._holds_date(cast(DateKey, key), statement) for key in value.readings)
        return any(self._holds_number(cast(NumberKey, key), value, statement) for key in value.readings)

    def _holds_date(self, key: DateKey, statement: str) -> bool:
        dates = [cast(DateKey, other) for date in self.dates for other in date.readings]
        if any(_within(key, other) for other in dates):
            return True
        year, month, day, span = key
        if year and month and (None, month, day, 1) in dates and (year, None, None, 1) in dates:
            return True
        if year and not month and span == 1 and any(number.key == (Fraction(year), "") for number in self.numbers):
            return True
        return year in self.cited_years and bool(_PUBLISHED.search(statement))

    def _holds_number(self, key: NumberKey, value: Value, statement: str) -> bool:
        hedge = _HEDGE.search(statement, max(0, value.start - _HEDGE_CHARS), value.start)
        for number in self.numbers:
            for amount, unit in cast(tuple[NumberKey, ...], number.readings):
                if self._fits(key[1], unit) and _near_enough(key[0], amount, hedge):
                    return True
        if key[1] == "" and any(date.key[0] == key[0] and date.key[1:] == (None, None, 1) for date in self.dates):
            return True
        return key[1] == "ordinal" and any(number.key == (key[0], "") for number in self.numbers)

    def _fits(self, claimed: str, unit: str) -> bool:
        if claimed == unit:
            return True
        if unit == "" and claimed in self.heading_units:
            return True
        return "°" in (claimed, unit) and claimed[:1] == unit[:1]

    def reason(self, value: Value) -> str:
        if value.kind == "date" and value.key[0] in self.cited_years:
            return f"The passage has {value.text} only as the year of a citation."
        if value.kind == "quote":
            return f"The passage does not contain the words “{value.text}”."
        return f"The passage does not mention {value.text}."


def _within(claimed: DateKey, stated: DateKey) -> bool:
    """Return whether a date of the evidence lies within the claimed one."""
    year, month, day, span = claimed
    other, other_month, other_day, other_span = stated
    if year is None:
        return (month, day) == (other_month, other_day) or (day is None and month == other_month)
    if other is None or other_span > span or not year <= other < year + span:
        return False
    return (month is None or month == other_month) and (day is None or day == other_day)


def _near_enough(claimed: Fraction, stated: Fraction, hedge: re.Match[str] | None) -> bool:
    """Return whether a number is the stated one, or rounds it as far as its hedge ("more than") allows."""
    if claimed == stated or not hedge or stated <= 0:
        return claimed == stated
    ratio = claimed / stated
    if ratio != 1 and _digits(claimed) >= _digits(stated) and not (_digits(claimed) == 1 and hedge["more"]):
        return False  # 72 is no round form of 71
    if hedge["more"]:
        return Fraction(2, 3) <= ratio <= 1
    if hedge["less"]:
        return 1 <= ratio <= Fraction(5, 4)
    return Fraction(9, 10) <= ratio <= Fraction(11, 10)


def _digits(number: Fraction) -> int:
    """Return how many digits a number has before its last zeros: 1 for 300, 2 for 0.25."""
    return len(f"{float(number):.12g}".split("e")[0].replace(".", "").replace("-", "").strip("0")) or 1


def _offered(value: Value, question: str) -> bool:
    """Return whether a question offers a value beside another one of its kind."""
    if " or " not in question:
        return False
    same = [other for other in values(question) if other.kind == value.kind]
    pairs = pairwise(same)
    between = (question[first.end : second.start] for first, second in pairs if value.key in (first.key, second.key))
    return any(" or " in words and len(words) <= _LONGEST_CHOICE for words in between)
