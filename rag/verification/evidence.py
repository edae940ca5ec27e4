"""What a passage holds, and whether the value of a statement is among it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import cast

from rag.verification.dates import find_dates
from rag.verification.kinds import DateKey, NumberKey, Value, take
from rag.verification.names import Wording
from rag.verification.quantities import find_numbers
from rag.verification.references import find_references
from rag.verification.units import units_of_headings

_MORE = r"(?:more|greater|higher|longer|larger|older) than|over|exceed(?:s|ed|ing)?|at least|above|beyond"
_LESS = r"(?:less|fewer|lower|shorter|smaller|younger) than|under|below|at most|up to|within|nearly|almost|close to"
_NEAR = r"about|around|approximately|roughly|some|circa|ca?\.|estimated(?: at)?"
_HEDGE = re.compile(rf"\b(?:(?P<more>{_MORE})|(?P<less>{_LESS})|{_NEAR})\s(?:the\s|an?\s|of\s)?$|[~≈]\s?$", re.I)
_PUBLISHED = re.compile(r"\b(?:publish|book|paper|study|studies|article|wrote|written|author|edition|cited)", re.I)
_HEDGE_CHARS = 24
_BARE = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


@lru_cache(maxsize=64)
def read_evidence(text: str) -> Evidence:
    """Return what a text holds."""
    taken = bytearray(len(text))
    references = take(taken, find_references(text))
    dates = find_dates(text)
    cited = frozenset(v.key[0] for v in references if v.kind == "date")
    dates = take(taken, [date for date in dates if not taken[date.start]])
    times = [time for time in dates if time.kind == "number"]
    dates = [date for date in dates if date.kind == "date"]
    numbers = [*times, *find_numbers(text, taken, is_evidence=True)]
    return Evidence(Wording(text), dates, numbers, cited, units_of_headings(text))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a passage holds, to compare a statement's values with."""

    wording: Wording
    dates: list[Value]
    numbers: list[Value]
    cited_years: frozenset[object]
    heading_units: dict[str, Fraction]

    def holds(self, value: Value, statement: str) -> bool:
        """Return whether a value of the statement stands here, in another spelling or rounded as its hedge says."""
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
        factor = self.heading_units.get(key[1])
        for amount, unit in (cast(NumberKey, reading) for number in self.numbers for reading in number.readings):
            if _fits(key, amount, unit) and _near_enough(key[0], amount, hedge):
                return True
            if factor and unit == "" and _near_enough(key[0], amount * factor, hedge):  # a cell of a column with a unit
                return True
        if value.text == statement.strip(" .") and (bare := _bare(value.text)):  # "88" alone, for 88 percent
            return any(_bare(number.text) == bare for number in (*self.numbers, *self.dates))
        if key[1] == "" and any(date.key[0] == key[0] and date.key[1:] == (None, None, 1) for date in self.dates):
            return True
        return key[1] == "ordinal" and any(number.key == (key[0], "") for number in self.numbers)

    def reason(self, value: Value) -> str:
        """Return why a value that does not stand here is missing, in a sentence for people."""
        if value.kind == "date" and value.key[0] in self.cited_years:
            return f"The passage has {value.text} only as the year of a citation."
        if value.kind == "quote":
            return f"The passage does not contain the words “{value.text}”."
        return f"The passage does not mention {value.text}."


def _bare(text: str) -> str:
    """Return the digits with which a value begins; "" for one in words."""
    found = _BARE.match(text)
    return found[0].replace(",", "") if found else ""


def _fits(key: NumberKey, amount: Fraction, unit: str) -> bool:
    """Return whether an amount of the evidence may be in the unit of a claimed one."""
    claimed = key[1]
    if claimed == unit:
        return True
    if {claimed, unit} == {"%", ""} and amount.denominator > 1:  # 50 % is one half, but 100 % is not "1"
        return True
    return "°" in (claimed, unit) and claimed[:1] == unit[:1]


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
