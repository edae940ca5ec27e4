"""Finds a statement in words with times or in lines with boxes, and compares two hearings of the same seconds.

Pure functions over strings and plain values. Words count by their stem, and numbers by their value: "25" is
"twenty-five". Common words count little or nothing, and of the others those count more that are rarer in the place.
Languages that are written without spaces are not split into words, so nothing is found in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

from rag.index.bm25 import encode_query
from rag.types import Box, TimeSpan, Word
from rag.verification.number_words import spelled_numbers

# Share of letters in common from which two words sound alike; in shorter words one letter makes another word.
_ALIKE, _MIN_LETTERS = 0.75, 5
_VALUE_WEIGHT = 2.0  # a number or a name counts as much as two other words
_COMMON_WEIGHT = 0.1  # a common word, or a pair of words in order, only tells apart places that have the others
_LONGEST_RUN = 120  # words or lines in which a statement is looked for
_EXTRA_COST = 0.02  # of the statement's weight, for each item of a run that adds nothing
_LEAST = 0.34  # share of the statement's weight that a run must carry
_SAME_TIME_S = 0.5
# A word was heard again if a word at its time has this share of its letters. On 60 spoken captions heard as in
# `Rereader.confirm`, this flags none of the right ones and 98 % of those with another word put in; on 40 others it is
# 2.5 % and 99 %. After one hearing by the same model it is 6 % and 97 % of the hundred.
_HEARD_AGAIN = 0.8

# Commas and points between groups of three digits: OCR mistakes one for the other, and languages differ.
_GROUPS = re.compile(r"(?<=\d)[.,](?=\d{3}(?!\d))")
_PRONOUNS = re.compile(r"\b(any|every|no|some) one\b")  # this "one" is no number
_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")


class PlacedText(Protocol):
    """A text with a box, such as `ingest.picture.ocr.OcrLine`."""

    @property
    def text(self) -> str:
        """The words."""

    @property
    def box(self) -> Box:
        """The place."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two hearings of the same seconds say about a statement.

    Attributes:
        confirmed: words of the first hearing that matter to the statement and were heard again at the same time.
        misheard: those that were not: numbers that differ, and words that sound otherwise.
        absent: words of the statement that neither hearing has, in lower case.
        heard_share: share of what the first hearing carries of the statement that was heard again, at any time in the
            cited seconds; of the whole statement if the first hearing carries too little of it to be its place.
        weakest: the least share of its letters that a word which matters has in common with what was heard at its
            time again, in [0, 1]; 1 if none matters.
    """

    confirmed: tuple[Word, ...]
    misheard: tuple[Word, ...]
    absent: tuple[str, ...]
    heard_share: float
    weakest: float


def narrow(statement: str, words: Sequence[Word]) -> TimeSpan | None:
    """Return the seconds of the shortest run of words that carries a statement; None if none carries a third of it.

    Words that sound alike count in part, so a statement is also found among misheard words.
    """
    run = _best_run(statement, [word.text for word in words])
    return None if run is None else TimeSpan(words[run[0]].start_s, words[run[1] - 1].end_s)


def narrow_box(statement: str, lines: Sequence[PlacedText]) -> Box | None:
    """Return the box around the fewest successive lines that carry a statement; None if none carry a third of it."""
    from ingest.document.layout import union

    run = _best_run(statement, [line.text for line in lines])
    return None if run is None else union([line.box for line in lines[run[0] : run[1]]])


def missing_words(statement: str, text: str) -> tuple[str, ...]:
    """Return the words and numbers of a statement that a text lacks, in lower case; common words are left out."""
    held = list(_with_compounds(_tokens(text)))
    return tuple(term for term in _terms(statement) if not any(_is_same(term, token) for token in held))


def agreement(statement: str, first: Sequence[Word], again: Sequence[Word]) -> Agreement:
    """Compare two hearings of the same seconds, by the words that matter to a statement.

    Args:
        statement: what is checked.
        first: the words within the cited seconds when the recording was indexed.
        again: the words that were heard there again.
    """
    first_text, again_text = (" ".join(word.text for word in words) for words in (first, again))
    terms = _weigh(statement, [word.text for word in first])
    total, carried = sum(terms.values()), _weight_held(terms, statement, first_text)
    heard = _weight_held(terms, statement, again_text)
    if carried >= _LEAST * total:
        heard, total = _weight_held(terms, statement, first_text, again_text), carried
    likeness = [
        (word, _likeness_then(word, again))
        for word in first
        if any(_is_same(term, token) for token in _tokens(word.text) for term in terms)
    ]
    return Agreement(
        tuple(word for word, share in likeness if share >= _HEARD_AGAIN),
        tuple(word for word, share in likeness if share < _HEARD_AGAIN),
        missing_words(statement, f"{first_text} {again_text}"),
        heard / (total or 1.0),
        min((share for _, share in likeness), default=1.0),
    )


def _weight_held(terms: dict[str, float], statement: str, *texts: str) -> float:
    """Return the weight of those terms of a statement that every one of the texts has."""
    missing = {term for text in texts for term in missing_words(statement, text)}
    return sum(weight for term, weight in terms.items() if term not in missing)


def _likeness_then(word: Word, again: Sequence[Word]) -> float:
    """Return how much of a word was heard at its time again: the least share of letters in common of its parts."""
    forms = list(_with_compounds(_tokens(" ".join(_texts_near(word, again)))))
    return min(max((_shared_letters(token, form) for form in forms), default=0.0) for token in _tokens(word.text))


def _texts_near(word: Word, again: Sequence[Word]) -> Iterator[str]:
    """Yield the words that were heard again while this one was spoken, up to half a second off."""
    for other in again:
        if other.end_s >= word.start_s - _SAME_TIME_S and other.start_s <= word.end_s + _SAME_TIME_S:
            yield other.text


def _best_run(statement: str, texts: Sequence[str]) -> tuple[int, int] | None:
    """Return the run ``[first, end)`` of texts that carries most of a statement with the fewest other texts."""
    terms = dict.fromkeys(_with_compounds(_tokens(statement)), _COMMON_WEIGHT) | _weigh(statement, texts)
    total = sum(terms.values())
    matches = [_matches(terms, text, following) for text, following in zip(texts, [*texts, ""][1:], strict=True)]
    best: tuple[float, int, int, int] | None = None
    for first in range(len(matches)):
        carried: dict[str, float] = {}
        extra = 0
        for end, found in enumerate(matches[first : first + _LONGEST_RUN], start=first + 1):
            gains = {term: value for term, value in found.items() if value > carried.get(term, 0.0)}
            carried |= gains
            extra += not gains
            if gains and sum(carried.values()) >= _LEAST * total:
                score = sum(carried.values()) - _EXTRA_COST * total * extra
                best = max(best or (0.0, 0, 0, 0), (round(score, 6), first - end, -first, end))
    return None if best is None else (-best[2], best[3])


def _matches(terms: dict[str, float], text: str, following: str) -> dict[str, float]:
    """Return the terms that a text carries, with their weights; less for one that merely sounds alike."""
    tokens = _tokens(text)
    pairs = [a + b for a, b in pairwise([*tokens, *_tokens(following)[:1]])]
    likeness = {
        term: 1.0 if term in pairs else max((_likeness(term, token) for token in tokens), default=0.0) for term in terms
    }
    return {term: terms[term] * share for term, share in likeness.items() if share}


def _weigh(statement: str, texts: Sequence[str]) -> dict[str, float]:
    """Return the terms of a statement with their weights: less for what the texts repeat."""
    tokens = [set(_tokens(text)) for text in texts]
    return {
        term: (_VALUE_WEIGHT if is_value else 1.0)
        / max(1, sum(any(_is_same(term, token) for token in found) for found in tokens)) ** 0.5
        for term, is_value in _terms(statement).items()
    }


def _terms(statement: str) -> dict[str, bool]:
    """Return the words and numbers of a statement that are not common, each with whether it is a number or a name."""
    names = {
        match.group().lower() for match in _TOKEN.finditer(statement) if match.start() and match.group()[0].isupper()
    }
    return {
        token: token in names or token[0].isdigit()
        for token in _tokens(statement)
        if token[0].isdigit() or _stems(token)
    }


@lru_cache(maxsize=50_000)
def _tokens(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case, and its numbers in digits: "Twenty-five" is "25", "1,000" "1000"."""
    digits = _PRONOUNS.sub(r"\1one", text.lower())
    for spelled in reversed(spelled_numbers(digits)):
        if spelled.form in ("cardinal", "year") and spelled.number.denominator == 1:
            digits = f"{digits[: spelled.start]}{spelled.number}{digits[spelled.end :]}"
    return tuple(_TOKEN.findall(_GROUPS.sub("", digits)))


def _with_compounds(tokens: Sequence[str]) -> Iterator[str]:
    """Yield the words, and each pair as one: "entry way" is "entryway", and "8,6 19" was printed "8,619"."""
    yield from tokens
    yield from (re.sub(r"[.,]", "", a + b) if a[0].isdigit() else a + b for a, b in pairwise(tokens))


def _likeness(term: str, token: str) -> float:
    """Return 1 for the same word, the share of letters in common for one that sounds alike, else 0."""
    share = _shared_letters(term, token)
    is_alike = share >= _ALIKE and min(len(term), len(token)) >= _MIN_LETTERS
    return share if is_alike or share == 1 else 0.0


@lru_cache(maxsize=50_000)
def _shared_letters(term: str, token: str) -> float:
    """Return the share of letters that two words have in common, 1 for inflections; numbers are the same or differ."""
    if _is_same(term, token):
        return 1.0
    if term[0].isdigit() or token[0].isdigit():
        return 0.0
    return SequenceMatcher(None, term, token).ratio()


def _is_same(term: str, token: str) -> bool:
    if term == token:
        return True
    return not (term[0].isdigit() or token[0].isdigit()) and not _stems(term).isdisjoint(_stems(token))


@lru_cache(maxsize=50_000)
def _stems(token: str) -> frozenset[int]:
    """Return the stem of a word as the number that stands for it in the index; nothing for a common word."""
    return frozenset(encode_query(token)[0])
