"""English number words.

A table, since `text2num` gives back a rewritten text without the places of its numbers, and knows neither "a dozen" nor
"half" nor "nineteen eighty-six" as a year.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_SMALL_WORDS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINAL_WORDS = """
first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth
"""
_SMALL = {word: n for n, word in enumerate(_SMALL_WORDS.split())}
_TENS = {word: 10 * n for n, word in enumerate(_TENS_WORDS.split(), start=2)}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_HUNDRED = {"hundred": 100, "dozen": 12}
_ORDINALS = {word: n for n, word in enumerate(_ORDINAL_WORDS.split(), start=1)}
_ORDINALS |= {word[:-1] + "ieth": n for word, n in _TENS.items()}
_SCALE_ORDINALS = {"hundredth": 100} | {word + "th": n for word, n in SCALES.items()}
_PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    word + "s": n for word, n in [*_ORDINALS.items(), *_SCALE_ORDINALS.items()] if n > 2
}
NUMBER_WORDS = frozenset({*_SMALL, *_TENS, *SCALES, *_HUNDRED, *_ORDINALS, *_SCALE_ORDINALS, *_PARTS})
_WORD = f"(?:{'|'.join(sorted(NUMBER_WORDS, key=len, reverse=True))})"
_RUN = re.compile(rf"\b(?:an?\s)?{_WORD}\b(?:(?:[-‐‑]|\s(?:and\s)?(?:an?\s)?){_WORD}\b)*", re.I)
_ARTICLE = re.compile(r"\ban?\s$", re.I)
_PIECE = re.compile(r"[A-Za-z]+")
# Words of a number as plain digits, for names such as "World War Two".
DIGITS = {word: str(n) for word, n in [*_SMALL.items(), *_ORDINALS.items()]}


@dataclass(frozen=True, slots=True)
class SpelledNumber:
    """A number in words at ``[start, end)``; its form says how it is used."""

    number: Fraction
    start: int
    end: int
    form: str  # "cardinal", "ordinal", "year" or "part"


def spelled_numbers(text: str) -> list[SpelledNumber]:
    """Return the numbers of a text that are written in words, in order."""
    found: list[SpelledNumber] = []
    end = 0
    for piece in _PIECE.finditer(text):
        if piece.start() < end or piece[0].lower() not in NUMBER_WORDS:
            continue
        article = _ARTICLE.search(text, max(end, piece.start() - 4), piece.start())
        if run := _RUN.match(text, article.start() if article else piece.start()):
            end = run.end()
            found += _Reader(text, run.start(), end).read()
    return found


class _Reader:
    """Reads the words of one run into numbers."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self._words = [(m[0].lower(), m.start(), m.end()) for m in _PIECE.finditer(text, start, end)]
        self._found: list[SpelledNumber] = []
        self._clear()

    def _clear(self) -> None:
        self._total, self._part, self._start, self._end = 0, -1, -1, -1  # the part is -1 before its first word
        self._last, self._form, self._fraction, self._is_joined = "", "cardinal", Fraction(0), False

    def read(self) -> list[SpelledNumber]:
        for place, (word, start, end) in enumerate(self._words):
            if word in ("a", "an"):
                self._article(place, start)
            elif word == "and":
                self._is_joined = True
                if self._last not in _HUNDRED and self._last not in SCALES and not self._half_follows(place):
                    self._emit()
            else:
                self._add(word, start, end)
        self._emit()
        return self._found

    def _half_follows(self, place: int) -> bool:
        after = [word for word, _, _ in self._words[place + 1 : place + 3]]
        return self._end > 0 and len(after) == 2 and after[0] in ("a", "an", "one") and after[1] in ("half", "quarter")

    def _article(self, place: int, start: int) -> None:
        following = self._words[place + 1][0] if place + 1 < len(self._words) else ""
        if self._part < 0 and following in (*_PARTS, *_HUNDRED, *SCALES):
            self._emit()
            self._start = start

    def _add(self, word: str, start: int, end: int) -> None:
        if word in _PARTS or (word in _ORDINALS and self._last == "one" and self._part == 1 and word != "first"):
            self._add_part(word, start, end)
            return
        value = _SMALL.get(word, _TENS.get(word, _ORDINALS.get(word)))
        if value is not None:
            self._add_small(word, value, start, end)
        else:
            self._multiply(word, start, end)
        if word in _ORDINALS or word in _SCALE_ORDINALS:
            self._form = "ordinal"
            self._emit()

    def _add_small(self, word: str, value: int, start: int, end: int) -> None:
        part = self._part
        if part >= 0 and 10 <= part <= 20 and self._total == 0 and 10 <= value <= 90:  # "nineteen eighty", "twenty ten"
            self._part, self._form = 100 * part + value, "year"
        elif part >= 0 and not _continues(part, value):
            self._emit()
            self._part = value
        else:
            self._part = max(part, 0) + value
        self._mark(word, start, end)

    def _multiply(self, word: str, start: int, end: int) -> None:
        """Multiply what was read so far, or one if nothing was, by a hundred, a dozen or a scale."""
        scale = SCALES.get(word.removesuffix("th"))
        if self._part >= 100 and not scale:
            self._emit()
        factor = self._fraction + (self._part if self._part > 0 else int(not self._fraction))
        self._fraction = Fraction(0)
        if scale:
            self._total, self._part = self._total + int(factor * scale), -1
        else:
            self._part = int(factor * _HUNDRED.get(word, 100))
        self._form = "cardinal"
        self._mark(word, start, end)

    def _add_part(self, word: str, start: int, end: int) -> None:
        share = Fraction(1, _PARTS.get(word, _ORDINALS.get(word, 1)))
        if self._last in _SMALL and not self._is_joined:
            self._fraction, self._part = share * self._part, 0
        else:
            self._fraction += share
            self._part = max(self._part, 0)
        self._form = "part"
        self._mark(word, start, end)

    def _mark(self, word: str, start: int, end: int) -> None:
        if self._start < 0:
            self._start = start
        self._last, self._end = word, end

    def _emit(self) -> None:
        if self._end > 0:
            number = Fraction(self._total + max(self._part, 0)) + self._fraction
            self._found.append(SpelledNumber(number, self._start, self._end, self._form))
        self._clear()


def _continues(part: int, value: int) -> bool:
    """Return whether "twenty" goes on with "one", and "two hundred" with "five"."""
    if value < 10:
        return value > 0 and part % 10 == 0 and part % 100 != 10 and part > 0
    return part % 100 == 0 and part > 0
