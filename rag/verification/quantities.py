"""Numbers with their units, in digits and in words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from rag.verification.kinds import NumberKey, Value
from rag.verification.number_words import SCALES, SpelledNumber, spelled_numbers
from rag.verification.units import CURRENCY, Unit, find_unit, unit_after

_LETTER = r"A-Za-z\u00aa-\u00ba\u00c0-\u052f"
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_THIN = "\u00a0\u202f\u2009"
_NUMBER = re.compile(
    rf"(?<![\d_{_LETTER}])(?<!\d[.,:])"
    rf"(?P<digits>\d{{1,3}}(?:[ {_THIN}'’]\d{{3}})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)*|(?<![\d.])\.\d+)"
    r"(?:(?:\s?[×x·*]\s?10(?:\^(?P<e1>[-−]?\d{1,3})|(?P<e2>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3})))"
    r"|[eE](?P<e3>[+-]?\d{1,3})(?![\w])|\^(?P<e4>[-−]?\d{1,3})|(?P<e5>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}))?"
    r"(?:\s?(?P<vulgar>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])|(?:(?P<mixed>\s\d{1,2})?/(?P<below>\d{1,3})(?![\d/])))?"
    rf"(?P<ordinal>(?:st|nd|rd|th)\b)?|(?<![\d_{_LETTER}])(?P<alone>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])"
)
_FIRST_DIGIT = re.compile(r"\d+|\.\d|[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]")
_SIGN = re.compile(r"(?:^|(?<=[\s(\[=<>~≈:]))([-−–]|minus\s)(?:[$€£¥₹])?$", re.I)
_PRICE = re.compile(r"(?:\b(?:US|AU|A|C|CA|NZ|HK))?([$€£¥₹])\s?$|\b(USD|EUR|GBP)\s?$")
_SCALE = re.compile(
    r"[\s-]?(?P<word>thousand|million|billion|trillion|mn|mio|bn|tn|millionen|milliarden?|millions?|milliards?|millones"
    r"|millón|miljoen|milioni|milhões|hundred|dozen)\b|(?P<letter>[kKMB])(?![^\W_])|(?P<cjk>[万億亿])",
    re.I,
)
_SCALES = {
    **SCALES, "mn": 10**6, "mio": 10**6, "bn": 10**9, "tn": 10**12, "millionen": 10**6, "milliarde": 10**9,
    "milliarden": 10**9, "millions": 10**6, "milliard": 10**9, "milliards": 10**9, "millones": 10**6, "millón": 10**6,
    "miljoen": 10**6, "milioni": 10**6, "milhões": 10**6, "hundred": 100, "dozen": 12, "k": 1000, "m": 10**6,
    "b": 10**9, "万": 10**4, "億": 10**8, "亿": 10**8,
}  # fmt: skip
_RANGE = re.compile(r"(?:\s?[-–—]\s?|\s(?:to|and|or|bis|und|à|y|e)\s|,\s)[$€£¥₹]?")
_SHARE = re.compile(r"\s(?:in|out of)(?:\s(?:every|each))?\s")
_HALF = re.compile(r"\sand\s(?:a|one)(?:\s|-)(half|quarter)\b", re.I)
_BEFORE_SECOND = re.compile(r"\b(?:the|a|his|her|its|their|our|my|every|this)\s$", re.I)
_NOT_PARTS = re.compile(
    r"-(?!hour|mile|dozen|million|century|year|day|inch|pound|cup|billion|minute|litre|liter)\w|\sof\sfame", re.I
)
_ARTICLE = re.compile(r"\s(?:of\s)?an?(?=\s)")
_ONE = re.compile(r"\b(?:an?|per|each|every)(?=\s[a-z])", re.I)
_LISTING = re.compile(r"(?:^|[.;:!?]\s)(?:The\s|A\s|And\s)?$|\b[Aa]\s$")
_A = re.compile(r"[Aa]\s$")
_OF = re.compile(r"\s(?:of|as)\b")
_TIMES = re.compile(r"\b(?:twice|thrice)\b", re.I)
_MOST_DIGITS = 40
_SPACES = re.compile(rf"[ {_THIN}'’]")
_PARTED = re.compile(r"\d \d")
_DIGITS = re.compile(r"\d+")
# Words that mean a number only behind another: "quarters" are also rooms.
_NEVER_ALONE = frozenset({"quarter", "quarters", "halves", "thirds", "fourths", "fifths", "tenths", "hundredths"})


@dataclass(frozen=True, slots=True)
class _Found:
    """A number at ``[start, end)``, what it may mean with the scale behind it, and its unit once that is known."""

    start: int
    end: int
    readings: tuple[Fraction, ...]
    scale: int = 1
    form: str = "digits"  # or that of a `SpelledNumber`
    unit: Unit | None = None


def find_numbers(text: str, taken: bytearray, *, is_evidence: bool = False) -> list[Value]:
    """Return the numbers that start outside the characters that are `taken`.

    Evidence gives more readings than a statement: "one" and "first" count, "a kilometre" is one, the parts of
    "20 out of 100" and of "120 340" count as well, and so does what a unit divides ("5 km per day").
    """
    found = [*_digits(text, taken), *_words(text, taken)]
    found = [_with_unit(text, number) for number in sorted(found, key=lambda number: number.start)]
    values: list[Value] = []
    for place, number in enumerate(found):
        before, after = found[place - 1] if place else None, found[place + 1] if place + 1 < len(found) else None
        share = _share(text, number, after)
        if share:
            values.append(share)
        if is_evidence:
            values += _evidence_readings(text, number)
            values += [] if share else _spread(text, before, number, after)[1:]
        elif (share or (values and number.end <= values[-1].end)) or not _counts(text, number):
            continue
        values.append(_spread(text, before, number, after)[0])
    return [*values, *_articles(text)] if is_evidence else values


def _digits(text: str, taken: bytearray) -> Iterator[_Found]:
    for match in _numbers(text):
        if taken[match.start()] or len(match[0]) > _MOST_DIGITS:
            continue
        if match["alone"]:
            yield _Found(match.start(), match.end(), (_vulgar(match["alone"]),), form="part")
        elif readings := _readings(match["digits"]):
            form = "ordinal" if match["ordinal"] else "digits"
            readings = tuple(_with_fraction(match, _raised(match, number)) for number in readings)
            end = match.end()
            if half := _HALF.match(text, end):
                readings = (readings[0] + Fraction(1, 2 if half[1].lower() == "half" else 4),)
                end = half.end()
            yield _scaled(text, _Found(match.start(), end, readings, form=form))


def _numbers(text: str) -> Iterator[re.Match[str]]:
    """Yield the numbers, each tried only where a digit stands: that is five times as fast as a search."""
    end = 0
    for start in _FIRST_DIGIT.finditer(text):
        if start.start() >= end and (match := _NUMBER.match(text, start.start())):
            end = match.end()
            yield match


def _readings(digits: str) -> tuple[Fraction, ...]:
    """Return what digits with separators may mean, the likeliest reading first; nothing for "1.2.3"."""
    digits = _SPACES.sub("", digits)
    marks = [c for c in digits if c in ".,"]
    groups = re.split(r"[.,]", digits)
    whole = Fraction(int("".join(groups)))
    if not marks:
        return (whole,)
    if len(set(marks)) == 2:  # the last mark is the decimal one
        return (whole / 10 ** len(groups[-1]),) if marks.count(marks[-1]) == 1 else ()
    is_grouped = all(len(group) == 3 for group in groups[1:]) and 1 <= len(groups[0]) <= 3 and groups[0][0] != "0"
    if len(marks) > 1:
        return (whole,) if is_grouped else ()
    decimal = whole / 10 ** len(groups[1])
    if not is_grouped:
        return (decimal,)
    return (whole,) if marks[0] == "," else (decimal, whole)


def _raised(match: re.Match[str], number: Fraction) -> Fraction:
    if power := match["e1"] or match["e2"] or match["e3"]:
        return number * Fraction(10) ** _exponent(power)
    power = match["e4"] or match["e5"]
    return number ** _exponent(power) if power and number == 10 else number  # other raised digits mark notes


def _exponent(power: str) -> int:
    return int(power.translate(_SUPERSCRIPTS).replace("−", "-"))


def _with_fraction(match: re.Match[str], number: Fraction) -> Fraction:
    if match["vulgar"]:
        return number + _vulgar(match["vulgar"])
    below = int(match["below"] or 0)
    if not below:
        return number
    return number + Fraction(int(match["mixed"]), below) if match["mixed"] else number / below


def _vulgar(mark: str) -> Fraction:
    return Fraction(unicodedata.numeric(mark)).limit_denominator(10)


def _words(text: str, taken: bytearray) -> Iterator[_Found]:
    for match in _TIMES.finditer(text):
        yield _Found(*match.span(), (Fraction(2 if match[0].lower() == "twice" else 3),), unit=("times", Fraction(1)))
    for number in spelled_numbers(text):
        word = text[number.start : number.end].lower()
        if (
            taken[number.start]
            or word in _NEVER_ALONE
            or (number.form == "part" and _NOT_PARTS.match(text, number.end))
        ):
            continue
        if article := _article_of_share(text, number):
            number = replace(number, number=1 / number.number, start=article.start(), form="part")
        if word == "second" and not _BEFORE_SECOND.search(text, max(0, number.start - 6), number.start):
            continue
        yield _scaled(text, _Found(number.start, number.end, (number.number,), form=number.form))


def _article_of_share(text: str, number: SpelledNumber) -> re.Match[str] | None:
    """Return the article of "a third of", which is no third in a row; None otherwise."""
    is_share = number.form == "ordinal" and number.number > 2 and _OF.match(text, number.end)
    return _A.search(text, max(0, number.start - 2), number.start) if is_share else None


def _scaled(text: str, number: _Found) -> _Found:
    """Return a number with its sign and its currency, times the "million" or "k" behind it."""
    sign = _SIGN.search(text, max(0, number.start - 7), number.start)
    start = sign.start(1) if sign else number.start
    price = _PRICE.search(text, max(0, start - 5), start)
    unit = find_unit(price[1] or price[2]) if price else None
    scale, end = 1, number.end
    match = _SCALE.match(text, end) if number.form != "ordinal" else None
    if match and (not match["letter"] or price or match["letter"] == "k"):
        scale, end = _SCALES[match[0].strip(" -.\u00a0").lower()], match.end()
    factor = -scale if sign else scale
    readings = tuple(reading * factor for reading in number.readings)
    return replace(number, start=price.start() if price else start, end=end, readings=readings, scale=scale, unit=unit)


def _articles(text: str) -> Iterator[Value]:
    """Yield "a kilometre" as one."""
    for match in _ONE.finditer(text):
        if after := unit_after(text, match.end()):
            yield _value(text, _Found(match.start(), after[1], (Fraction(1),)), after[0])


def _with_unit(text: str, number: _Found) -> _Found:
    if number.form == "ordinal":
        return replace(number, unit=("ordinal", Fraction(1)))
    if number.unit:
        return number
    article = _ARTICLE.match(text, number.end) if number.form == "part" else None
    after = unit_after(text, article.end() if article else number.end)
    return replace(number, unit=after[0], end=after[1]) if after else number


def _spread(text: str, before: _Found | None, number: _Found, after: _Found | None) -> list[Value]:
    """Return the value of a number, which may share unit and scale with its range, and of the number by itself."""
    alone = _value(text, number, number.unit)
    if number.unit:
        if (
            after
            and after.scale > 1 == number.scale
            and text[number.start] in CURRENCY
            and _joined(text, number, after)
        ):
            return [_value(text, _rescaled(number, after.scale), number.unit), alone]
        return [alone]
    if after and after.form != "ordinal" and (after.unit or after.scale > 1) and _joined(text, number, after):
        scaled = _rescaled(number, after.scale)
        is_less = number.scale == 1 and scaled.readings[0] < after.readings[0]  # "2 to 3 million"
        return [_value(text, scaled if is_less else number, after.unit), alone]
    if before and before.unit and text[before.start] in CURRENCY and _joined(text, before, number):
        return [_value(text, number, before.unit), alone]
    return [alone]


def _joined(text: str, first: _Found, second: _Found) -> bool:
    return _RANGE.fullmatch(text, first.end, second.start) is not None


def _rescaled(number: _Found, scale: int) -> _Found:
    return replace(number, readings=tuple(reading * scale for reading in number.readings))


def _value(text: str, number: _Found, unit: Unit | None) -> Value:
    base, factor = unit or ("", Fraction(1))
    keys: list[NumberKey] = [(reading * factor, base) for reading in number.readings]
    return Value("number", text[number.start : number.end], number.start, number.end, keys[0], tuple(keys[1:]))


def _share(text: str, number: _Found, after: _Found | None) -> Value | None:
    """Return "one in five" and "3 out of 10" as a fraction, None if the two numbers are no share."""
    if not after or number.unit or after.unit or not _SHARE.fullmatch(text, number.end, after.start):
        return None
    above, below = number.readings[0], after.readings[0]
    if not 0 < above < below:
        return None
    return Value("number", text[number.start : after.end], number.start, after.end, (above / below, ""))


def _counts(text: str, number: _Found) -> bool:
    """Return whether a number of a statement claims something.

    "One" and "first" are mostly ways of speaking; "A second theory holds" and "Third, ..." go on with a list.
    """
    word = text[number.start : number.end].lower()
    if number.form == "ordinal" and word.isalpha():
        return word != "first" and not _LISTING.search(text, max(0, number.start - 8), number.start)
    return word != "one" or number.unit is not None


def _evidence_readings(text: str, number: _Found) -> Iterator[Value]:
    """Yield the numbers that space may part, as in a row of a table."""
    if number.form == "digits" and number.scale == 1:
        written = text[number.start : number.end]
        for match in _DIGITS.finditer(written) if _PARTED.search(written) else ():
            start = number.start + match.start()
            yield _value(text, _Found(start, start + len(match[0]), (Fraction(int(match[0])),)), None)
