"""The kind of value that a question asks for, and whether a passage holds such a value at all.

"How much does it weigh?" asks for a mass, "in which year" for a date, "how many" for a number. A passage on the very
subject that holds no such value does not answer: this tells apart what similarity cannot. Questions of other kinds, and
those whose value may come in many forms ("who", "where"), expect nothing here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from rag.verification.evidence import read_evidence
from rag.verification.kinds import Value
from rag.verification.ordinary_words import word_set
from rag.verification.units import find_unit
from rag.verification.values import missing, values

Expected = Literal["number", "date", "year", "mass", "length", "duration", "temperature", "speed", "money", "share"]

_MASS = frozenset({"g", "ton", "pound", "ounce", "stone"})
_LENGTH = frozenset({"m", "inch", "mile", "nautical mile", "light year"})
_TIME = frozenset({"min", "month", "time"})
_DEGREES = frozenset({"°C", "°F", "kelvin", "°"})
_MONEY = frozenset({"dollar", "euro", "pound", "yen", "rupee", "yuan"})
# By what is asked for: the units that answer. A plain number counts where speakers leave the unit out.
_UNITS: dict[Expected, frozenset[str]] = {
    "mass": _MASS,
    "length": _LENGTH,
    "duration": _TIME,
    "temperature": _DEGREES,
    "money": _MONEY,
    "share": frozenset({"%", "‰"}),
}
_IN_WORDS: dict[Expected, str] = {
    "number": "a number",
    "date": "a date",
    "year": "a date",
    "mass": "a weight",
    "length": "a length",
    "duration": "a time",
    "temperature": "a temperature",
    "speed": "a speed",
    "money": "a sum",
    "share": "a share",
}
# The first pattern that fits tells what is asked for.
_ASKS: tuple[tuple[str, tuple[Expected, ...]], ...] = (
    (r"\b(?:what|which) (?:year|decade|century|date|month|day)\b|\bsince when\b", ("year",)),
    (r"\b(?:at )?what time\b", ("duration",)),
    (r"\bhow (?:much|many (?:kilos|kilograms|grams|pounds|tons|tonnes))\b.*\bweigh|\bhow heavy\b", ("mass",)),
    (r"\b(?:what|how much) is the (?:average |mean |typical )?weight\b", ("mass",)),
    (r"\bhow (?:tall|wide|deep|high|far|thick)\b|\bwhat is the (?:length|height|width|depth|distance|diameter)\b",
     ("length",)),
    (r"\bhow long (?:is|are|was|were) (?:the|a|an|its|their|his|her)\b", ("length", "duration")),
    (r"\bhow long (?:do|does|did|has|have|had|will|would|can|could|ago)\b", ("duration",)),
    (r"\bhow old\b|\b(?:what|which) age\b", ("duration", "number", "date")),
    (r"\bhow (?:hot|cold|warm)\b|\b(?:what|which) temperature\b|\bwhat is the temperature\b", ("temperature",)),
    (r"\bhow fast\b|\b(?:at )?what speed\b", ("speed",)),
    (r"\bhow much (?:money|did .* (?:cost|pay|earn)|do(?:es)? .* (?:cost|pay|earn)|is .* paid)\b"
     r"|\bhow much (?:is|are|was|were) (?:an?|the|one)\s|\bwhat (?:is|was) the price\b"
     r"|\bwhat (?:did|does|do) .* cost\b",
     ("money",)),
    (r"\b(?:what|which) (?:percentage|percent|share|proportion)\b|\bhow many percent\b|\bwhat fraction\b", ("share",)),
    (r"\bhow many\b", ("number",)),
    (r"^\W*when\b", ("date",)),
)  # fmt: skip
# Words that answer without a value: "both", "dozens", "a third", "during the war".
_VAGUE: dict[Expected, re.Pattern[str]] = {
    "number": re.compile(
        r"\b(?:both|none|no|single|pairs?|couple|few|several|dozens?|hundreds|thousands|millions|billions|twins?)\b",
        re.I,
    ),
    "date": re.compile(
        r"\b(?:during|after|before|until|once|as soon as|centur(?:y|ies)|decades?|age|era|period|war|ago|mornings?"
        r"|evenings?|nights?|noon|spring|summer|autumn|winter|birth|childhood|puberty|adolescence|today|now|first|when|if)\b",
        re.I,
    ),
    "share": re.compile(
        r"\b(?:half|halves|third|thirds|quarters?|fifths?|most|majority|minority|all|out of|in)\b", re.I
    ),
    "length": re.compile(r"\b(?:steps?|miles|hands?)\b", re.I),
    "duration": re.compile(r"\b(?:lifetime|life|generations?|overnight|forever)\b", re.I),
}

_RANGE = re.compile(r"\s?(?:[-–—]|to)\s?\d")  # the unit of a range stands behind its end
_COUNTED = re.compile(r"\bhow many ([^\W\d_]+)(?: ([^\W\d_]+))?", re.I)
_COUNTS = ("", "ordinal", "%", "times")  # units of what is counted
_PLACE = re.compile(
    r"\b(?:what|which) (city|country|town|village|park|university|museum|island|river|company|state|school|monastery"
    r"|continent|province|region)\b",
    re.I,
)
_POLAR = re.compile(r"\W*(?:yes|no)\b", re.I)
_CHOICE = re.compile(r"\bor\b", re.I)
_IS_THERE = re.compile(r"\W*(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would)\b", re.I)
_WORD = re.compile(r"\w+")
_STEM = 4
# Words that tell nothing of a subject which the question names already.
_EMPTY = frozenset(
    word[:_STEM]
    for word in word_set(
        """called named known titled title name professor doctor they them their there that this these those with from
        been were have which what about into also some such the and was for are his her its him she has had not you your
        our who whom is a an of in on at to by as it he herself himself itself themselves own"""
    )
)


def expected_value(question: str) -> tuple[Expected, ...]:
    """Return the kinds of value that answer a question, any one of them; empty if it may be answered otherwise."""
    return next((expected for pattern, expected in _ASKS if re.search(pattern, question, re.I)), ())


@lru_cache(maxsize=256)
def lacks_value(question: str, passage: str) -> bool:
    """Return whether a question asks for a kind of value of which a passage holds none but those of the question."""
    expected = expected_value(question)
    return bool(expected) and not any(_holds(kind, question, passage) for kind in expected)


def unanswered(question: str, answer: str) -> str:
    """Return what an answer fails to tell, such as "a date" or "anything new"; "" if it may answer the question.

    Args:
        question: in words.
        answer: in words, without markers.
    """
    if lacks_value(question, answer) and not _is_bare_number(question, answer):
        return _IN_WORDS[expected_value(question)[0]]
    is_polar = _POLAR.match(answer) or _CHOICE.search(question) or _IS_THERE.match(question)
    added = _content(answer) - _content(question) - _EMPTY - _words_of_known_names(question, answer)
    if not added and not is_polar:
        return "anything new"
    asked = _PLACE.search(question)
    return f"a {asked[1].lower()}" if asked and not _new_names(question, answer) else ""


def _is_bare_number(question: str, answer: str) -> bool:
    """Return whether a quantity is asked for, and the answer gives it without its unit."""
    return not {"date", "year"} & set(expected_value(question)) and _holds("number", question, answer)


def unnamed(question: str, evidence: str) -> tuple[str, ...]:
    """Return the dates, names and numbers of a question that its evidence does not mention.

    A value beside another subject is the commonest wrong answer: a share in 1960 for one in 1980. Small numbers count
    what is asked for, and a first word may be no name, so these are left out.
    """
    lacking = [value for value in missing(question, evidence) if value.kind != "quote"]
    return tuple(value.text for value in lacking if not _is_loose(value, question))


def _is_loose(value: Value, question: str) -> bool:
    if value.kind == "number":
        return not value.text[0].isdigit()
    return value.kind == "name" and not question[: value.start].strip("\"'“ ") and " " not in value.text


def _words_of_known_names(question: str, answer: str) -> set[str]:
    """Return the stems of the names of an answer that its question names in part: "Charles Darwin" for "Darwin"."""
    asked = set().union(*_names(question))
    return set().union(*(words for words in _names(answer, question) if words & asked))


def _new_names(question: str, answer: str) -> bool:
    """Return whether an answer has a name of which its question names no part."""
    asked = set().union(*_names(question))
    return any(not words & asked for words in _names(answer, question))


def _names(text: str, context: str = "") -> list[set[str]]:
    """Return the stems of each name, and of quoted words, in a text."""
    return [_content(value.text) - _EMPTY for value in values(text, context) if value.kind in ("name", "quote")]


def _content(text: str) -> set[str]:
    """Return the stems of a text's words; of short ones only names and numbers."""
    words = _WORD.findall(text)
    return {word.lower()[:_STEM] for word in words if len(word) > 2 or word.isdigit() or word[0].isupper()}


def _holds(kind: Expected, question: str, passage: str) -> bool:
    if (vague := _VAGUE.get(kind)) and vague.search(passage):
        return True
    evidence, asked = read_evidence(passage), read_evidence(question)
    known = {value.key for value in (*asked.numbers, *asked.dates)}
    if kind in ("date", "year"):
        return any(date.key not in known for date in evidence.dates)
    numbers = [n for n in evidence.numbers if n.key not in known and not _RANGE.match(passage, n.end)]
    if kind == "number":
        counted = _COUNTED.search(question)
        of_unit = counted is None or any(find_unit(word) for word in counted.groups() if word)
        return any((of_unit or number.key[1] in _COUNTS) and not _is_article(number) for number in numbers)
    if kind == "speed":
        return any("/" in str(number.key[1]) for number in numbers)
    return any(number.key[1] in _UNITS[kind] for number in numbers) or bool(
        evidence.heading_units.keys() & _UNITS[kind]
    )


def _is_article(number: Value) -> bool:
    """Return whether a number is only "a" or "one", which counts nothing that is asked for."""
    return number.text.lower() in ("a", "an", "one", "first")
