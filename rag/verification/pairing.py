"""Values beside the wrong date: "69 percent in 2016, a decrease from 88 percent in 1960".

Where one sentence gives several amounts for several dates, an amount belongs to the date that stands nearest to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from rag.text import sentences
from rag.verification.kinds import DateKey, Value
from rag.verification.values import values

_YEAR = re.compile(r"1\d{3}|20\d{2}")


def mispaired(question: str, statement: str, passage: str) -> str:
    """Return why an amount belongs to another date than the question's, a sentence for people; "" if it may not.

    Args:
        question: in words, with a date.
        statement: with an amount that the passage holds.
        passage: the evidence.
    """
    asked = {year for value in values(question) if (year := _year(value))}
    claimed = [value for value in values(statement) if value.kind == "number" and value.key[1]]
    for start, end in sentences(passage) if asked and claimed else ():
        told = values(passage[start:end])
        dates = [value for value in told if _year(value)]
        for date in (each for each in dates if _year(each) in asked):
            for amount in claimed:
                amounts = [value for value in told if value.kind == "number" and value.key[1] == amount.key[1]]
                own = next((value for value in amounts if value.key == amount.key), None)
                if own is None or len(amounts) < 2:
                    continue
                if _year(_nearest(own, dates)) != _year(date) and (other := _nearest(date, amounts)).key != own.key:
                    return f"For {date.text} the passage says {other.text}, not {amount.text}."
    return ""


def _year(value: Value) -> int | None:
    """Return the year of a date, or of a number that looks like one ("the 2016 census"); else None."""
    if value.is_reference:
        return None
    if value.kind == "date":
        return cast(DateKey, value.key)[0]
    is_year = value.kind == "number" and _YEAR.fullmatch(value.text)
    return int(value.text) if is_year else None


def _nearest(value: Value, others: Sequence[Value]) -> Value:
    """Return the one of the others with the fewest characters between."""
    return min(others, key=lambda other: max(other.start - value.end, value.start - other.end))
