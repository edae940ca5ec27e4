"""A value that a text states, in a form that compares across spellings."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Kind = Literal["number", "date", "name", "quote"]
# A magnitude in its base unit; the unit is "" for a plain number, "ordinal", "time" (minutes after midnight), a label
# such as "figure", or the base of a unit of measure.
NumberKey = tuple[Fraction, str]
# Year (negative before the common era), month, day, and the years that it spans: 1, 10 or 100.
DateKey = tuple[int | None, int | None, int | None, int]
WordsKey = tuple[str, ...]
Key = NumberKey | DateKey | WordsKey


@dataclass(frozen=True, slots=True)
class Value:
    """A number, a date, a name or quoted words, and where a text states them.

    Attributes:
        kind: what it is.
        text: as written, with its unit.
        start: its first character.
        end: behind its last character.
        key: its normalised form; equal keys of one kind are the same value.
        also: other readings of an ambiguous spelling, such as 7 April for 07/04.
        is_reference: a label, a page or the year of a cited work, which tells nothing of the subject.
        reason: why it is missing from a passage, in a sentence for people; empty otherwise.
    """

    kind: Kind
    text: str
    start: int
    end: int
    key: Key
    also: tuple[Key, ...] = ()
    is_reference: bool = False
    reason: str = ""

    @property
    def readings(self) -> tuple[Key, ...]:
        """The key and the other readings."""
        return (self.key, *self.also)


def take(taken: bytearray, found: list[Value]) -> list[Value]:
    """Mark the characters of values as taken, one byte each, and return the values."""
    for value in found:
        taken[value.start : value.end] = b"\1" * (value.end - value.start)
    return found
