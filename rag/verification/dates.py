"""Dates, years, decades and centuries in their spellings; times of day."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from rag.verification.kinds import DateKey, Key, Value
from rag.verification.number_words import spelled_numbers

_MONTH_WORDS = """
january jan januar janvier enero gennaio janeiro januari
february feb februar février febrero febbraio fevereiro februari
march mar märz mars marzo março maart
april apr avril abril aprile
may mai mayo maggio maio mei
june jun juni juin junio giugno junho
july jul juli juillet julio luglio julho
august aug août agosto augustus
september sep sept septembre septiembre settembre setembro
october oct oktober octobre octubre ottobre outubro okt
november nov novembre noviembre novembro
december dec dezember décembre diciembre dicembre dezembro dez
"""
_MONTHS = {word: n for n, line in enumerate(_MONTH_WORDS.strip().splitlines(), start=1) for word in line.split()}
_MONTH = f"(?:{'|'.join(sorted(_MONTHS, key=len, reverse=True))})"
_ERA = r"(?:\s?(?P<era>B\.?C\.?E?\b\.?|C\.E\.|CE\b|A\.D\.|AD\b|v\.\s?Chr\.))"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|º|\.)?"
_DAY_FIRST = re.compile(
    rf"(?<![\w.,]){_DAY}\s(?:of\s|de\s)?(?P<month>{_MONTH})\b\.?(?:,?\s(?:de\s|del\s)?(?P<year>\d{{4}})\b)?", re.I
)
_MONTH_FIRST = re.compile(
    rf"(?P<month>{_MONTH})\b\.?(?:\s(?:the\s)?{_DAY}(?!\d|[:.]\d))?(?:,?\s(?:of\s|de\s)?(?P<year>\d{{4}})\b)?", re.I
)
_ISO = re.compile(r"(?<![\w-])(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})(?![\d-])")
_NUMERIC = re.compile(
    r"(?<![\w./-])(?P<a>\d{1,2})(?P<mark>[./-])(?P<b>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})(?![\d/-])"
)
_IDEOGRAPHIC = re.compile(
    r"(?P<year>\d{4})\s?[年년]\s?(?:(?P<month>\d{1,2})\s?[月월]\s?(?:(?P<day>\d{1,2})\s?[日일])?)?"
)
_DECADE = re.compile(r"(?<![\w.,])(?P<year>\d{3}0)['’]?s\b|(?<=['’])(?P<short>\d0)s\b")
_SIXTIES = re.compile(
    r"\b(?P<hundred>nineteen|eighteen|the)[\s-](?P<ten>twen|thir|for|fif|six|seven|eigh|nine)ties\b", re.I
)
_TENS = {word: n for n, word in enumerate(["twen", "thir", "for", "fif", "six", "seven", "eigh", "nine"], start=2)}
_CENTURY = re.compile(
    rf"(?:(?P<n>\d{{1,2}})(?:st|nd|rd|th|e|\.)|\b(?P<word>[a-z]+(?:[-\s][a-z]+)?))[-\s](?:century|centuries|siècle"
    rf"|jahrhunderts?)\b{_ERA}?",
    re.I,
)
_OF_ERA = re.compile(rf"(?<![\w.,])(?P<year>\d{{1,3}},\d{{3}}|\d{{1,4}}){_ERA}?")
_ANNO_DOMINI = re.compile(r"\b(?:AD|A\.D\.)\s$")
_YEAR_RANGE = re.compile(r"(?<![\w.,])(?P<from>1[0-9]\d\d|20\d\d)\s?[-–—/]\s?(?P<to>\d{4}|\d\d)(?![\w]|[.,]\d|\s?[%°])")
_YEAR = re.compile(r"(?<![\w.,/$€£-])(?P<year>1\d\d\d|20\d\d)(?![\w%°]|[.,:/]\d|\s?[%°])")
_CLOCK = re.compile(
    r"(?<![\w.:,])(?P<hour>\d{1,2})(?:[:.](?P<minute>[0-5]\d))?\s?(?P<half>[ap]m\b|[ap]\.m\.?|o['’]clock)"
    r"|(?<![\w.:,])(?P<hour24>[01]?\d|2[0-3]):(?P<minute24>[0-5]\d)(?![\d:])",
    re.I,
)
_NOON = re.compile(r"\b(?:noon|midnight)\b", re.I)
_DIGITS = re.compile(r"\d+")
_LETTERS = re.compile(r"[^\W\d_]+")
_CENTURY_WORDS = ("century", "centuries", "siècle", "jahrhundert", "jahrhunderts")
_Read = Callable[[re.Match[str]], Iterator[Value]]
_Readers = tuple[tuple[re.Pattern[str], _Read], ...]
# "may" and "march" in lower case are months only beside a day or a year.
_BEFORE_MONTH = re.compile(
    r"\b(?:in|of|since|until|till|by|from|to|last|next|early|late|mid|during|every|each)[\s-]$", re.I
)
_COUNTED = re.compile(
    r"\s(?:of\s|[a-z]+\s)?(?!(?:was|is|has|this|its|as|does|series|across|ones)\b)"
    r"(?:[a-z]+[^s\W\d]s|people|men|women|children)\b"
)
_BEFORE_YEAR = re.compile(
    r"\b(?:in|since|of|by|until|from|year|during|before|after|circa|ca?\.|around|early|late|mid)[\s-]$", re.I
)


def find_dates(text: str) -> list[Value]:
    """Return the dates and the times of day that a text writes in digits or names, without overlap."""
    found: list[Value] = []
    taken = bytearray(len(text))
    for match, read in _candidates(text):
        if not any(taken[match.start() : match.end()]):
            for value in read(match):
                found.append(value)
                taken[value.start : value.end] = b"\1" * (value.end - value.start)
    return sorted(found, key=lambda value: value.start)


def _candidates(text: str) -> Iterator[tuple[re.Match[str], _Read]]:
    """Yield what may be dates, the surest forms first.

    Each form is tried only where a number starts, or where its words stand at all: that takes a tenth of the time.
    """
    starts = [match.start() for match in _DIGITS.finditer(text)]
    words = frozenset(_LETTERS.findall(text.lower()))
    yield from _at(text, starts, _SUREST)
    if not words.isdisjoint(_MONTHS):
        months = [word.start() for word in _LETTERS.finditer(text) if word[0].lower() in _MONTHS]
        yield from _at(text, months, ((_MONTH_FIRST, _named),))
    yield from _at(text, starts, _OTHERS)
    if not words.isdisjoint(_CENTURY_WORDS):
        yield from ((match, _century) for match in _CENTURY.finditer(text))
    if any(word.endswith("ties") for word in words):
        yield from ((match, _sixties) for match in _SIXTIES.finditer(text))
    if not words.isdisjoint(("noon", "midnight")):
        yield from ((match, _noon) for match in _NOON.finditer(text))


def _at(text: str, starts: list[int], readers: _Readers) -> Iterator[tuple[re.Match[str], _Read]]:
    for start in starts:
        for pattern, read in readers:
            if match := pattern.match(text, start):
                yield match, read


def _value(match: re.Match[str], readings: list[DateKey]) -> Iterator[Value]:
    if readings:
        keys: tuple[Key, ...] = tuple(readings)
        written = match[0].rstrip(" ,") if match[0].endswith(("C.", "D.", "E.")) else match[0].rstrip(" ,.")
        yield Value("date", written, match.start(), match.start() + len(written), keys[0], keys[1:])


def _named(match: re.Match[str]) -> Iterator[Value]:
    day, year = match["day"], match["year"]
    word = match["month"]
    if not day and not year:
        if len(word) < 4 and word.lower() not in ("may", "mai"):
            return
        if not word[0].isupper() and word.lower() in ("may", "mai", "march", "mars", "mayo", "sept"):
            return
        if word.lower() in ("may", "march", "august", "mars", "april") and not _BEFORE_MONTH.search(
            match.string, max(0, match.start() - 9), match.start()
        ):
            return
    elif not year and word.lower() in ("may", "march", "mar", "mars", "sep", "jun") and not word[0].isupper():
        return
    if day and not 1 <= int(day) <= 31:
        return
    yield from _value(match, [(int(year) if year else None, _MONTHS[word.lower()], int(day) if day else None, 1)])


def _iso(match: re.Match[str]) -> Iterator[Value]:
    month, day = match["month"], match["day"]
    if (month and not 1 <= int(month) <= 12) or (day and not 1 <= int(day) <= 31):
        return
    yield from _value(match, [(int(match["year"]), int(month) if month else None, int(day) if day else None, 1)])


def _numeric(match: re.Match[str]) -> Iterator[Value]:
    first, second, year = int(match["a"]), int(match["b"]), int(match["year"])
    years = [year] if year > 99 else [2000 + year, 1900 + year]
    pairs = dict.fromkeys(
        [(first, second), (second, first)] if match["mark"] == "/" else [(second, first), (first, second)]
    )
    readings: list[DateKey] = [(y, m, d, 1) for y in years for m, d in pairs if 1 <= m <= 12 and 1 <= d <= 31]
    yield from _value(match, readings)


def _decade(match: re.Match[str]) -> Iterator[Value]:
    if match["short"]:
        yield from _value(match, [(1900 + int(match["short"]), None, None, 10)])
        return
    year = int(match["year"])
    readings: list[DateKey] = [(year, None, None, 10)]
    if year % 100 == 0:  # "the 1800s" are the century more often than its first ten years
        readings.insert(0, (year, None, None, 100))
    yield from _value(match, readings)


def _sixties(match: re.Match[str]) -> Iterator[Value]:
    hundred = 1800 if match["hundred"].lower() == "eighteen" else 1900
    yield from _value(match, [(hundred + 10 * _TENS[match["ten"].lower()], None, None, 10)])


def _century(match: re.Match[str]) -> Iterator[Value]:
    ordinal = int(match["n"]) if match["n"] else 0
    start = match.start()
    if not ordinal:
        numbers = [n for n in spelled_numbers(match["word"]) if n.form == "ordinal" and n.end == len(match["word"])]
        if not numbers:
            return
        ordinal, start = int(numbers[0].number), match.start() + numbers[0].start
    if not 1 <= ordinal <= 40:
        return
    is_before = (match["era"] or "").upper().startswith(("B", "V"))
    first = -100 * ordinal if is_before else 100 * (ordinal - 1)
    yield Value("date", match.string[start : match.end()], start, match.end(), (first, None, None, 100))


def _of_era(match: re.Match[str]) -> Iterator[Value]:
    era = (match["era"] or "").upper()
    if not era and not _ANNO_DOMINI.search(match.string, max(0, match.start() - 6), match.start()):
        return
    year = int(match["year"].replace(",", ""))
    yield from _value(match, [(-year if era.startswith(("B", "V")) else year, None, None, 1)])


def _year_range(match: re.Match[str]) -> Iterator[Value]:
    first, last = match["from"], match["to"]
    year = int(last if len(last) == 4 else first[:2] + last)
    if year > int(first):
        yield Value("date", first, match.start("from"), match.end("from"), (int(first), None, None, 1))
        yield Value("date", last, match.start("to"), match.end("to"), (year, None, None, 1))


def _year(match: re.Match[str]) -> Iterator[Value]:
    """Take four digits for a year, unless they count something ("1500 people")."""
    text, year = match.string, int(match["year"])
    is_led = _BEFORE_YEAR.search(text, max(0, match.start() - 8), match.start())
    if _COUNTED.match(text, match.end()) and not (is_led and is_led[0].strip().lower() in ("in", "since", "year")):
        return
    yield Value("date", match[0], match.start(), match.end(), (year, None, None, 1))


def _clock(match: re.Match[str]) -> Iterator[Value]:
    if match["hour24"]:
        minutes = [60 * int(match["hour24"]) + int(match["minute24"])]
    else:
        hour, minute = int(match["hour"]), int(match["minute"] or 0)
        if not 1 <= hour <= 12:
            return
        half = match["half"].lower()[0]
        minutes = [60 * (hour % 12 + shift) + minute for shift in {"a": (0,), "p": (12,)}.get(half, (0, 12))]
    keys = tuple((Fraction(m), "time") for m in minutes)
    yield Value("number", match[0], match.start(), match.end(), keys[0], keys[1:])


def _noon(match: re.Match[str]) -> Iterator[Value]:
    minutes = 720 if match[0].lower() == "noon" else 0
    yield Value("number", match[0], match.start(), match.end(), (Fraction(minutes), "time"))


_SUREST: _Readers = ((_ISO, _iso), (_IDEOGRAPHIC, _iso), (_NUMERIC, _numeric), (_DAY_FIRST, _named))
_OTHERS: _Readers = (
    (_DECADE, _decade),
    (_CENTURY, _century),
    (_OF_ERA, _of_era),
    (_CLOCK, _clock),
    (_YEAR_RANGE, _year_range),
    (_YEAR, _year),
)
