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
    found = []
    about = stems(statement)
    for value in missing(statement, window):
        rivals = [rival for rival in _rivals(value, statement, window) if _speaks_of(about, window, rival)]
        if rivals:
            found.append(f"The passage says {_listed(rivals)}, not {value.text}.")
    return [*found, *contrasts(statement, window)]


def _rivals(value: Value, statement: str, window: str) -> list[Value]:
    """Return the window's values of the same unit, or of the same thing counted, as a value of the statement."""
    evidence = _evidence(window)
    if value.kind == "date":
        return [date for date in evidence.dates if _alike(_date_key(date), _date_key(value))]
    if value.kind != "number":
        return []
    unit = value.key[1]
    if unit not in ("", "ordinal"):
        return [number for number in evidence.numbers if number.key[1] == unit]
    counted = _counted(statement, value)
    return [number for number in evidence.numbers if number.key[1] == unit and counted & _counted(window, number)]


def _date_key(date: Value) -> DateKey:
    return cast(DateKey, date.key)


def _alike(date: DateKey, other: DateKey) -> bool:
    return [part is None for part in date] == [part is None for part in other] and date[3] == other[3]


def _counted(text: str, value: Value) -> set[str]:
    """Return the stems of the words that a number counts: up to three behind it, before any mark."""
    behind = re.match(r"(?:[\s-][^\W\d_]+){0,3}", text[value.end : value.end + 60])
    words = stems(behind[0]) - _FUNCTION_STEMS if behind else set()
    return words | ({"%"} if text[value.start : value.end].rstrip().endswith(("%", "percent", "per cent")) else set())


def _speaks_of(about: set[str], window: str, value: Value) -> bool:
    """Return whether the sentence around a value shares words with the statement."""
    for start, end in sentences(window):
        if start <= value.start < end:
            return len(about & stems(window[start:end])) >= 2
    return False


def _listed(rivals: list[Value]) -> str:
    return " and ".join(dict.fromkeys(rival.text.strip() for rival in rivals[:3]))


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
            return self.wording.holds_name(tuple(map(str, value.key)))
        if value.kind == "quote":
            return self.wording.holds_run(tuple(map(str, value.key)))
        if value.kind == "date":
            return any(self._holds_date(cast(DateKey, key), statement) for key in value.readings)
        return any(self._holds_number(cast(NumberKey, key), value, statement) for key in value.readings)

    def _holds_date(self, key: DateKey, statement: str) -> bool:
        if any(_within(key, cast(DateKey, other)) for date in self.dates for other in date.readings):
            return True
        year, month, day, span = key
        if (
            year
            and month
            and self._holds_date((year, None, None, span), statement)
            and self._holds_date((None, month, day, 1), statement)
        ):
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
    if hedge["more"]:
        return Fraction(2, 3) <= ratio <= 1
    if hedge["less"]:
        return 1 <= ratio <= Fraction(5, 4)
    return Fraction(9, 10) <= ratio <= Fraction(11, 10)


def _offered(value: Value, question: str) -> bool:
    """Return whether a question offers a value beside another one of its kind."""
    return " or " in question and sum(other.kind == value.kind for other in values(question)) > 1
