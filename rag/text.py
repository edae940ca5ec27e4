"""Helpers for text that several layers share: sentences, excerpts, word stems, and what UTF-8 cannot encode.

Pure functions over strings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

Count = Callable[[str], int]  # the number of tokens in a text

# Marks that end a sentence before a space (Latin, Arabic, Devanagari) or anywhere (Chinese, Japanese), with the quotes
# and brackets that they close.
_STOP = re.compile(r"[.!?…؟।]+[\"'”’»)\]]*(?=\s|$)|[。！？]+[\"'”’»)\]」』]*")
_ABBREVIATIONS = (
    r"mr|mrs|ms|dr|prof|st|vs|v|etc|no|nos|fig|figs|eq|vol|p|pp|ed|eds|al|ca|cf|approx|inc|ltd|co|e\.g|i\.e"
)
_LONGEST_ABBREVIATION = len("approx.") + 1
# A single letter is an initial ("J. Goodall"). In documents only a capital is: "a." and "b." label their items.
_ABBREVIATION = re.compile(rf"\b(?:{_ABBREVIATIONS}|[A-Z])\.$", re.I)
_ABBREVIATION_IN_DOCUMENT = re.compile(rf"\b(?:{_ABBREVIATIONS}|(?-i:[A-Z]))\.$", re.I)
_SENTENCE_START = re.compile(r"\s+[\"'“‘(\[]?[^\Wa-z_]")  # a capital or a digit
_LINE = re.compile(r"[^\n]+")
_WORD = re.compile(r"\w+")
_STEM = 4


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the sentences of a text as ``[start, end)``, without the space around them; a line break ends one."""
    for line in _LINE.finditer(text):
        start = line.start()
        for end in [*sentence_ends(text, start, line.end()), line.end()]:
            span = trim(text, start, end)
            if span[0] < span[1]:
                yield span
            start = end


def wrapped_sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences of ``text[start:end]``, a document whose lines may break anywhere.

    There a sentence ends only before a capital or a digit, or at a mark of Chinese or Japanese.
    """
    for cut in sentence_ends(text, start, end, is_wrapped=True):
        yield start, cut
        start = trim(text, cut, end)[0]
    if start < end:
        yield start, end


def sentence_ends(text: str, start: int, end: int, *, is_wrapped: bool = False) -> Iterator[int]:
    """Yield where sentences end within ``text[start:end]``: behind the mark and what it closes.

    Args:
        text: any text.
        start: start of the part to look at.
        end: its end.
        is_wrapped: as in `wrapped_sentences`.
    """
    abbreviation = _ABBREVIATION_IN_DOCUMENT if is_wrapped else _ABBREVIATION
    for stop in _STOP.finditer(text, start, end):
        mark = stop.start() + 1
        if text[stop.start()] == "." and abbreviation.search(text, max(start, mark - _LONGEST_ABBREVIATION), mark):
            continue
        if not is_wrapped or text[stop.start()] in "。！？" or _SENTENCE_START.match(text, stop.end(), end):
            yield stop.end()


def ends_sentence(word: str) -> bool:
    """Return whether a word, with the marks that belong to it, is the last of its sentence."""
    return any(end == len(word) for end in sentence_ends(word, 0, len(word)))


def trim(text: str, start: int, end: int, *, leading: str = "") -> tuple[int, int]:
    """Return ``[start, end)`` without the space at both ends, and without the `leading` characters at its start."""
    while start < end and (text[start].isspace() or text[start] in leading):
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def excerpt(text: str, question: str, count: Count, max_tokens: int, focus: str = "") -> str:
    """Return a run of whole sentences, within `max_tokens`, on a question.

    It is the run around the sentences of `focus`, a part of the text; without one, the run that covers most of the
    question's words, where a word counts less the more sentences hold it. Of equal runs, it is the first.
    """
    pieces = [piece for start, end in sentences(text) for piece in halve(_line(text[start:end]), count, max_tokens)]
    sizes = [count(piece) for piece in pieces]
    if sum(sizes) <= max_tokens:
        return " ".join(pieces)
    wanted = stems(question)
    shared = [stems(piece) & wanted for piece in pieces]
    common = Counter(stem for found in shared for stem in found)
    is_focus = [piece in _line(focus) for piece in pieces]

    def coverage(run: tuple[int, int]) -> tuple[int, float, float]:
        inside = [n for n in range(*run) if is_focus[n]]
        off_centre = abs(sum(run) - 1 - inside[0] - inside[-1]) / 2 if inside else 0.0
        covered = sum(1 / common[stem] for stem in set().union(*shared[run[0] : run[1]]))
        return len(inside), -off_centre, covered

    first, end = max(_longest_runs(sizes, max_tokens), key=coverage)
    return " ".join(pieces[first:end])


def halve(text: str, count: Count, max_tokens: int) -> Iterator[str]:
    """Yield a text in parts of at most `max_tokens`, halved at a space where there is one, until they fit."""
    if len(text) < 2 or count(text) <= max_tokens:
        yield text
        return
    middle = len(text) // 2
    space = text.find(" ", middle)
    cut = space if 0 < space < len(text) - 1 else middle
    yield from halve(text[:cut].strip(), count, max_tokens)
    yield from halve(text[cut:].strip(), count, max_tokens)


def stems(text: str) -> set[str]:
    """Return the first letters of a text's words, by which words are compared: "feeds" matches "feed"."""
    return {word[:_STEM] for word in _WORD.findall(text.lower()) if len(word) > 2 or word.isdigit()}


def new_stems(statement: str, question: str) -> set[str]:
    """Return the stems that a statement adds to its question.

    The words of the question say nothing about where its answer stands. A statement that adds none keeps all its stems.
    """
    return stems(statement) - stems(question) or stems(statement)


def replace_surrogates(text: str) -> str:
    """Return a text that encodes as UTF-8: lone surrogates, as in names of files that are not UTF-8, become ``?``."""
    return text.encode("utf-8", "replace").decode()


def escape_surrogates(text: str) -> str:
    """Return a text that encodes as UTF-8, with lone surrogates spelled out as ``\\udcff``, so names stay apart."""
    return text.encode("utf-8", "backslashreplace").decode()


def _line(text: str) -> str:
    return " ".join(text.split())


def _longest_runs(sizes: list[int], budget: int) -> list[tuple[int, int]]:
    """Return, for each first sentence, the longest run from there that fits; at least one sentence."""
    runs = []
    for first in range(len(sizes)):
        end, total = first + 1, sizes[first]
        while end < len(sizes) and total + sizes[end] <= budget:
            total += sizes[end]
            end += 1
        runs.append((first, end))
    return runs
