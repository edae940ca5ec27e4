"""Features of how well a passage answers a question, or supports a statement: alignment of token vectors, and words.

Each token of the question and of the statement looks for its nearest token in the passage, by the cosine of MiniLM's
vectors in context, as in ColBERT (Khattab and Zaharia, 2020). Rare words weigh more. Words that the statement adds to
its question count apart, because the words of the question say nothing about where its answer stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rag.verification.encoded_text import WORD, EncodedText, names_in, numbers_in, pool, stem, stems

SUPPORT_FEATURES = (
    "all aligned",
    "statement aligned",
    "question aligned",
    "worst of the statement aligned",
    "worst of the question aligned",
    "question words held",
    "new words held",
    "statement words held",
    "question words held with the heading",
    "window: all aligned",
    "window: statement aligned",
    "window: question aligned",
    "window: question words held",
    "window: new words held",
    "question near new words",
    "new words near each other",
    "word pairs held",
    "negation differs",
    "numbers missing",
    "window: numbers missing",
    "has numbers",
    "names missing",
    "has names",
    "cosine",
    "cosine of the statement",
    "statement length",
    "passage length",
    "question length",
    "share of new words",
)
RELEVANCE_FEATURES = (
    "question aligned",
    "worst of the question aligned",
    "question words held",
    "question words held with the heading",
    "window: question aligned",
    "window: question words held",
    "question words near each other",
    "word pairs held",
    "rarest word missing",
    "names missing",
    "has names",
    "numbers missing",
    "cosine",
    "cosine of the window",
    "passage length",
    "question length",
    "asks who",
    "asks when",
    "asks where",
    "asks how many",
    "asks why",
    "asks yes or no",
    "who and a new name",
    "when and a new number",
    "how many and a new number",
    "where and a new name",
)

_NEGATIONS = frozenset(
    re.findall(r"\w+", "not no never none without neither nor cannot nobody nothing fails failed lack lacks except")
)
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        a an the of to in on at for and or is are was were be been by with as that this these those it its
        from which what who whom whose when where how why do does did has have had than then into their they
        he she his her you your we our can could would should may might will not no there many much one some
        any also about according
        """,
    )
)
_NEAR = 25  # words to either side
_MOST_CENTRES = 60
_ASKS = {
    "asks who": re.compile(r"\b(who|whom|whose)\b"),
    "asks when": re.compile(r"\b(when|what year|which year|what date|what century|since when|how long ago)\b"),
    "asks where": re.compile(r"\b(where|which (?:country|city|place|site|island|town)|what (?:country|city|place))\b"),
    "asks how many": re.compile(
        r"\b(how (?:many|much|old|long|far|tall|big|large|deep|high|often|fast|heavy)|percent\w*)\b"
    ),
    "asks why": re.compile(r"\b(why|how (?:do|does|did|can|is|are|was|were))\b"),
    "asks yes or no": re.compile(r"^\s*(is|are|was|were|do|does|did|can|could|has|have|had|will|would)\b"),
}


@dataclass(frozen=True, slots=True)
class Window:
    """The run of sentences ``[start, end)`` of a passage that fits best."""

    start: int
    end: int


def support_features(
    claim: EncodedText, question_chars: int, passage: EncodedText, heading: str = ""
) -> tuple[NDArray[np.float32], Window]:
    """Return the features (29,) of a statement and a passage, and the passage's best window.

    Args:
        claim: the question, a space, and the statement.
        question_chars: length of the question.
        passage: what may support it.
        heading: the words above the passage, such as titles, which may name its subject.
    """
    similar = _similarities(claim, passage)
    best = similar.max(1)
    is_statement = claim.starts > question_chars
    weights = claim.weights
    asked, stated = _content(claim, 0, question_chars), _content(claim, question_chars + 1, len(claim.text))
    new = [word for word in stated if word not in set(asked)] or stated
    window, in_window = _best_window(similar, weights, passage)
    window_words = _words_between(passage, window)
    statement, question = claim.text[question_chars + 1 :], claim.text[:question_chars]
    numbers, names = numbers_in(statement) - numbers_in(question), names_in(statement) - names_in(question)
    values = [
        _mean(best, weights),
        _mean(best, weights * is_statement),
        _mean(best, weights * ~is_statement),
        _worst(best[is_statement]),
        _worst(best[~is_statement]),
        _held(asked, passage.word_set, claim),
        _held(new, passage.word_set, claim),
        _held(stated, passage.word_set, claim),
        _held(asked, passage.word_set | stems(heading), claim),
        _mean(in_window, weights),
        _mean(in_window, weights * is_statement),
        _mean(in_window, weights * ~is_statement),
        _held(asked, window_words, claim),
        _held(new, window_words, claim),
        *_nearness(asked, new, passage, claim),
        _pairs_held(statement, passage),
        float(_is_negated(passage.text[window.start : window.end]) != _is_negated(claim.text)),
        float(bool(numbers - passage.numbers)),
        float(bool(numbers - numbers_in(passage.text[window.start : window.end]))),
        float(bool(numbers)),
        _share_missing(names, passage.word_set),
        float(bool(names)),
        float(claim.pooled @ passage.pooled),
        float(pool(claim.vectors[is_statement]) @ passage.pooled) if is_statement.any() else 0.0,
        np.log1p(len(stated)),
        np.log1p(len(passage.words)),
        np.log1p(len(asked)),
        len(new) / max(len(stated), 1),
    ]
    return np.array(values, np.float32), window


def relevance_features(
    question: EncodedText, passage: EncodedText, heading: str = ""
) -> tuple[NDArray[np.float32], Window]:
    """Return the features (26,) of a question and a passage, and the passage's best window."""
    similar = _similarities(question, passage)
    best, weights = similar.max(1), question.weights
    asked = _content(question, 0, len(question.text))
    window, in_window = _best_window(similar, weights, passage)
    shown = passage.text[window.start : window.end]
    in_passage = passage.word_set | stems(heading)
    inside = (passage.starts >= window.start) & (passage.starts < window.end)
    names = names_in(question.text)
    missing = [question.rarities[word] for word in asked if word not in in_passage]
    asks = {name: float(bool(pattern.search(question.text.lower()))) for name, pattern in _ASKS.items()}
    new_name = float(bool(names_in(shown) - names))
    new_number = float(bool(numbers_in(shown) - question.numbers))
    values = [
        _mean(best, weights),
        _worst(best),
        _held(asked, passage.word_set, question),
        _held(asked, in_passage, question),
        _mean(in_window, weights),
        _held(asked, _words_between(passage, window), question),
        _nearness(asked, asked, passage, question)[1],
        _pairs_held(question.text, passage),
        max(missing, default=0.0) / 10,
        _share_missing(names, in_passage),
        float(bool(names)),
        float(bool(question.numbers - passage.numbers)),
        float(question.pooled @ passage.pooled),
        float(question.pooled @ pool(passage.vectors[inside])) if inside.any() else 0.0,
        np.log1p(len(passage.words)),
        np.log1p(len(asked)),
        *asks.values(),
        asks["asks who"] * new_name,
        asks["asks when"] * new_number,
        asks["asks how many"] * new_number,
        asks["asks where"] * new_name,
    ]
    return np.array(values, np.float32), window


def _similarities(claim: EncodedText, passage: EncodedText) -> NDArray[np.float32]:
    """Return the cosines (tokens of the claim, tokens of the passage); at least one column."""
    if not len(passage.vectors) or not len(claim.vectors):
        return np.zeros((len(claim.vectors), max(len(passage.vectors), 1)), np.float32)
    cosines: NDArray[np.float32] = claim.vectors @ passage.vectors.T
    return cosines


def _best_window(
    similar: NDArray[np.float32], weights: NDArray[np.float32], passage: EncodedText
) -> tuple[Window, NDArray[np.float32]]:
    """Return the window whose tokens align best, and the best cosine of each token of the claim in it."""
    found = Window(*passage.windows[0]), np.zeros(len(similar), np.float32)
    highest = -1.0
    if not len(passage.starts):
        return found
    bounds = np.searchsorted(passage.starts, passage.windows)
    for span, (first, end) in zip(passage.windows, bounds, strict=True):
        if first < end and (score := _mean(best := similar[:, first:end].max(1), weights)) > highest:
            highest, found = score, (Window(*span), best)
    return found


def _content(text: EncodedText, start: int, end: int) -> list[str]:
    """Return the different words of ``[start, end)`` that are not common, in order."""
    first, last = np.searchsorted(text.word_starts, (start, end))
    return [word for word in dict.fromkeys(text.words[first:last]) if word not in _COMMON]


def _held(words: Sequence[str], held: frozenset[str], text: EncodedText) -> float:
    """Return the share of words that are held, by rarity; 1 without words."""
    total = sum(text.rarities[word] for word in words)
    return sum(text.rarities[word] for word in words if word in held) / total if total > 0 else 1.0


def _nearness(
    asked: Sequence[str], new: Sequence[str], passage: EncodedText, claim: EncodedText
) -> tuple[float, float]:
    """Return how much of the question stands near how much of the new words, and how many of these near each other."""
    rarity = claim.rarities
    whole_question, whole_new = (sum(rarity[word] for word in words) or 1.0 for words in (asked, new))
    wanted, both, alone = set(new), 0.0, 0.0
    centres = [n for n, word in enumerate(passage.words) if word in wanted][:_MOST_CENTRES]
    for centre in centres:
        around = set(passage.words[max(centre - _NEAR, 0) : centre + _NEAR + 1])
        share_asked = sum(rarity[word] for word in asked if word in around) / whole_question
        share_new = sum(rarity[word] for word in new if word in around) / whole_new
        both, alone = max(both, share_asked * share_new), max(alone, share_new)
    return both, alone


def _pairs_held(statement: str, passage: EncodedText) -> float:
    """Return the share of the statement's pairs of neighbouring words that the passage holds."""
    words = [stem(word) for word in WORD.findall(statement.lower())]
    pairs = set(pairwise(words))
    if not pairs:
        return float(bool(set(words) & passage.word_set))
    return len(pairs & set(pairwise(passage.words))) / len(pairs)


def _words_between(passage: EncodedText, window: Window) -> frozenset[str]:
    first, end = np.searchsorted(passage.word_starts, (window.start, window.end))
    return frozenset(passage.words[first:end])


def _share_missing(names: frozenset[str], held: frozenset[str]) -> float:
    return len(names - held) / len(names) if names else 0.0


def _mean(values: NDArray[np.float32], weights: NDArray[np.floating]) -> float:
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total > 0 else 0.0


def _worst(values: NDArray[np.float32]) -> float:
    """Return the mean of the lowest fifth."""
    if not len(values):
        return 0.0
    return float(np.sort(values)[: max(len(values) // 5, 1)].mean())


def _is_negated(text: str) -> bool:
    lowered = text.lower()
    return "n't" in lowered or bool(_NEGATIONS & set(WORD.findall(lowered)))
