"""Textbook questions as features: each question with right and wrong statements, and passages that may hold the answer.

Which paragraph answers is not marked. The passages of the right module are therefore kept together, and training takes
the best of them (`train`).
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.encoders.minilm import MiniLM
from rag.text import stems
from rag.verification.encoded_text import EncodedText, Rarity
from rag.verification.features import RELEVANCE_FEATURES, SUPPORT_FEATURES, relevance_features, support_features

CLAIMS = 5  # the right answer, up to three wrong options, the right answer to another question of the module
# Passages of the module; of other modules those that share most words, some of which answer all the same; any others of
# the book; and of the module with the answer cut out.
OWN, NEAR, FAR, CUT = slice(0, 9), slice(9, 11), slice(11, 14), slice(14, 15)
PASSAGES = CUT.stop
_POOL = 150  # passages of a book from which the others are drawn
_PASSAGE_CHARS = 900
_LEAST_CHARS = 60
_LONGEST_ANSWER = 240
_SPOKEN_SHARE = 0.15  # of the questions have passages as a transcript has them: lower case, no punctuation
# Questions and options whose truth depends on other options.
_OPTIONS_ASIDE = re.compile(r"\b(all|none|both|neither|either|two) of (the|these)\b|\b[a-d] and [a-d]\b", re.I)
_INVERTED = re.compile(r"\b(not|except|least|false|incorrect)\b", re.I)
_BLANK = re.compile(r"_{2,}")


@dataclass(frozen=True, slots=True)
class Passage:
    """Some paragraphs of a module, with its title."""

    module: str
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class Example:
    """A question with statements and passages.

    Attributes:
        book: that it is from.
        question: in words.
        claims: the right answer first; "" where there are fewer.
        support: features (CLAIMS, PASSAGES, support features).
        relevance: features (PASSAGES, relevance features).
        is_there: whether each passage is there (PASSAGES,); where they stand is in OWN, NEAR, FAR and CUT.
    """

    book: str
    question: str
    claims: tuple[str, ...]
    support: NDArray[np.float32]
    relevance: NDArray[np.float32]
    is_there: NDArray[np.bool_]


def read_modules(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the modules of each book; those that another book has already are left out."""
    books: dict[str, list[dict[str, Any]]] = defaultdict(list)
    seen: set[str] = set()
    with gzip.open(folder / "modules.jsonl.gz", "rt", encoding="utf-8") as lines:
        for module in map(json.loads, lines):
            if (key := f"{module['title']}{module['paragraphs'][:1]}") not in seen:
                seen.add(key)
                books[module["book"]].append(module)
    return dict(books)


def measure_rarity(encoder: MiniLM, books: dict[str, list[dict[str, Any]]]) -> NDArray[np.float16]:
    """Return the log inverse document frequency (vocabulary,) of each token over the paragraphs of textbooks."""
    counts: Counter[int] = Counter()
    number = 0
    for module in (module for modules in books.values() for module in modules):
        for paragraph in module["paragraphs"]:
            counts.update(set(encoder.tokenizer.encode(paragraph).ids))
            number += 1
    found = np.full(encoder.tokenizer.get_vocab_size(), np.log(number + 1), np.float32)
    for token, count in counts.items():
        found[token] = np.log((number + 1) / (count + 1))
    return found.astype(np.float16)


def make_examples(folder: Path, encoder: MiniLM, rarity: Rarity, most: int | None = None) -> Iterator[Example]:
    """Yield the questions with their features, in order; at most some of each book."""
    chosen = random.Random(0)
    books = read_modules(folder)
    reader = _Reader(encoder, rarity)
    lines = (folder / "questions.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["book"] in books and _is_usable(row)]
    of_module = defaultdict(list)
    for row in rows:
        of_module[row["module_id"]].append(row)
    shelves = {book: _Book(_pack(modules)) for book, modules in books.items()}
    taken: Counter[str] = Counter()
    for row in rows:
        if most and taken[row["book"]] >= most:
            continue
        taken[row["book"]] += 1
        others = [other for other in of_module[row["module_id"]] if other["answer"] != row["answer"]]
        yield _example(row, others, shelves[row["book"]], reader, chosen)


class _Book:
    """The passages of a book, found by the words that they share with a text."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._pool = random.Random(0).sample(list(passages), min(_POOL, len(passages)))
        self._stems = [stems(passage.text) for passage in passages]
        self._count = Counter(stem for found in self._stems for stem in found)

    def nearest(self, text: str, module: str) -> tuple[list[Passage], list[Passage]]:
        """Return the passages of a module, and of the other modules, that share most with a text; rare words count."""
        sought = stems(text)
        shared = [sum(1 / self._count[stem] for stem in sought & held) for held in self._stems]
        order = [self._passages[n] for n in sorted(range(len(shared)), key=lambda n: -shared[n])]
        own = [passage for passage in order if passage.module == module]
        return own[: OWN.stop], [passage for passage in order if passage.module != module][: NEAR.stop - NEAR.start]

    def others(self, module: str, chosen: random.Random) -> list[Passage]:
        """Return passages of other modules, drawn from a pool."""
        pool = [passage for passage in self._pool if passage.module != module]
        return chosen.sample(pool, FAR.stop - FAR.start)


class _Reader:
    """Gives texts with their vectors; those of passages are kept."""

    def __init__(self, encoder: MiniLM, rarity: Rarity) -> None:
        self._encoder, self._rarity = encoder, rarity
        self._kept: dict[str, EncodedText] = {}

    def passages(self, texts: Sequence[str]) -> list[EncodedText]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        self._kept |= dict(zip(fresh, self.once(fresh), strict=True))
        return [self._kept[text] for text in texts]

    def once(self, texts: Sequence[str]) -> list[EncodedText]:
        return [EncodedText(tokens, self._rarity) for tokens in self._encoder.embed_tokens(texts)]


def _example(
    row: dict[str, Any],
    others: Sequence[dict[str, Any]],
    book: _Book,
    reader: _Reader,
    chosen: random.Random,
) -> Example:
    question = _BLANK.sub("…", row["question"])
    claims = _claims(row, others, chosen)
    is_spoken = chosen.random() < _SPOKEN_SHARE
    own, near = book.nearest(" ".join((question, *claims)), row["module_id"])  # favours none of the claims
    far = book.others(row["module_id"], chosen)
    support = np.zeros((CLAIMS, PASSAGES, len(SUPPORT_FEATURES)), np.float32)
    relevance = np.zeros((PASSAGES, len(RELEVANCE_FEATURES)), np.float32)
    is_there = np.zeros(PASSAGES, bool)
    asked, *read = reader.once([question, *(f"{question} {claim}" for claim in claims)])

    def fill(place: int, text: EncodedText, title: str) -> None:
        is_there[place] = True
        relevance[place], _ = relevance_features(asked, text, title)
        for n, claim in enumerate(claims):
            if claim:
                support[n, place], _ = support_features(read[n], len(question), text, title)

    passages = [*own, *near, *far]
    texts = reader.passages([_as_spoken(each.text) if is_spoken else each.text for each in passages])
    places = [*range(len(own)), *range(NEAR.start, NEAR.start + len(near)), *range(FAR.start, FAR.stop)]
    for place, text, passage in zip(places, texts, passages, strict=True):
        fill(place, text, passage.title)
    if own:
        _, window = support_features(read[0], len(question), texts[0], own[0].title)
        if len(rest := f"{texts[0].text[: window.start]}{texts[0].text[window.end :]}".strip()) >= _LEAST_CHARS:
            fill(CUT.start, reader.once([rest])[0], own[0].title)
    return Example(row["book"], question, claims, support, relevance, is_there)


def _is_usable(row: dict[str, Any]) -> bool:
    answer = row["answer"]
    return (
        0 < len(answer) <= _LONGEST_ANSWER
        and not _OPTIONS_ASIDE.search(answer)
        and not _INVERTED.search(row["question"])
        and answer.lower() not in ("true", "false")
    )


def _claims(row: dict[str, Any], others: Sequence[dict[str, Any]], chosen: random.Random) -> tuple[str, ...]:
    wrong = [option for option in row["options"] if option != row["answer"] and not _OPTIONS_ASIDE.search(option)]
    other = [chosen.choice(others)["answer"]] if others else [""]
    return (row["answer"], *[*wrong[:3], "", "", ""][:3], *other)


def _pack(modules: Sequence[dict[str, Any]]) -> list[Passage]:
    """Return the paragraphs of modules as passages of about the length that ingest makes."""
    found = []
    for module in modules:
        text = ""
        for paragraph in module["paragraphs"]:
            if text and len(text) + len(paragraph) > _PASSAGE_CHARS:
                found.append(Passage(module["module_id"], text, module["title"]))
                text = ""
            text = f"{text}\n{paragraph}".strip()[: 2 * _PASSAGE_CHARS]
        if len(text) >= _LEAST_CHARS:
            found.append(Passage(module["module_id"], text, module["title"]))
    return found


def _as_spoken(text: str) -> str:
    """Return a text as a transcript has it."""
    return re.sub(r"[^\w\s'’.%]|\.(?!\d)", "", text).lower()
