"""The quality of answers: grades, citations, places, risk by coverage, and time; pure functions."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

from rag.evaluation.labelled_questions import Question
from rag.evaluation.metrics import Estimate
from rag.types import Box, CharSpan, FrameRegion, ImageRegion, Locator, PageBox, TimeSpan
from rag.verification.number_words import SpelledNumber, spelled_numbers

Grade = Literal["right", "partly", "wrong", "declined", "ungraded"]
GRADES: tuple[Grade, ...] = ("right", "partly", "wrong", "declined")  # those that are measured
_OF_SEVERAL_PARTS = ("several", "list")  # kinds of questions; one phrase does not answer them
_RESAMPLES = 500
_WHOLE = Box(0, 0, 1, 1)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—", "-"))
_POLAR = re.compile(r"(yes|no)\b")
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


@dataclass(frozen=True, slots=True)
class RiskCurve:
    """How many of the answers are wrong if only the most confident ones are given.

    Attributes:
        name: of the questions.
        asked: number of questions.
        coverage: shares of the questions that are answered, ascending; the last one is what the system answers.
        risk: the share of wrong ones among those answers.
        area: the mean risk over all coverages that the system reaches (AURC); 0 is best.
    """

    name: str
    asked: int
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: Estimate

    def coverage_within(self, most: float) -> float:
        """Return the largest coverage whose risk is at most `most`; 0 if there is none."""
        return max((c for c, r in zip(self.coverage, self.risk, strict=True) if r <= most), default=0.0)


def grade(question: Question, text: str, *, is_declined: bool, is_partial: bool = False) -> Grade:
    """Grade an answer by the labels of its question.

    An answer is right if it holds one of the right phrases. What begins with yes or no is graded by that word where the
    labels have one of them; "no" is wrong where they have neither. Any answer to an unanswerable question is wrong.
    Where the labels hold no phrase, an answer is left ungraded. One that leaves a part open is partly right if the
    question needs several parts, or else if it does not hold the phrase.

    Args:
        question: with its labels.
        text: of the answer.
        is_declined: whether there is none.
        is_partial: whether the answer says itself that it leaves a part open.
    """
    if is_declined:
        return "declined"
    if not question.answerable:
        return "wrong"
    if not question.answer:
        return "ungraded"
    is_right = _says_what_is_right(question, text)
    if is_partial and (question.kind in _OF_SEVERAL_PARTS or not is_right):
        return "partly"
    return "right" if is_right else "wrong"


def _says_what_is_right(question: Question, text: str) -> bool:
    first = _POLAR.match(normalize(text))
    if question.kind == "yes_no" and first:
        expected = {phrase for phrase in map(normalize, question.answer) if _POLAR.fullmatch(phrase)}
        return first[0] in (expected or {"yes"}) and (bool(expected) or holds(text, question.answer))
    return holds(text, question.answer)


def normalize(text: str) -> str:
    """Return the text in lower case, with plain quotes and single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().replace("’", "'").split())


def holds(text: str, phrases: Iterable[str]) -> bool:
    """Return whether a text holds a phrase as whole words or numbers; markers such as ``[E1]`` do not count.

    Numbers may be in digits or in words, and compound words with hyphens or without.
    """
    words = _comparable(re.sub(r"\[E\d+\]", " ", text))
    found = (re.escape(_comparable(phrase)) for phrase in phrases)
    return any(re.search(rf"(?<!\w)(?<!\d[.,]){phrase}(?!\w|[.,]\d)", words) for phrase in found)


def _comparable(text: str) -> str:
    words = normalize(text).translate(_DASHES)
    for number in reversed(spelled_numbers(words)):
        words = words[: number.start] + _digits(number, words) + words[number.end :]
    words = re.sub(r"(?<=\d),(?=\d{3}\b)", "", words)
    words = re.sub(r"(?<=\d)\s?(?:per ?cent\b|%)", "%", words)
    return re.sub(r"(?<=[^\W\d])-(?=[^\W\d])", " ", words)


def _digits(number: SpelledNumber, text: str) -> str:
    if number.form == "part" or number.number.denominator != 1:
        return text[number.start : number.end]
    n = int(number.number)
    if number.form != "ordinal":
        return str(n)
    return f"{n}{'th' if n // 10 % 10 == 1 else _ENDINGS.get(n % 10, 'th')}"


def citation_recall(spans: Sequence[tuple[int, int]], is_supported: Sequence[bool]) -> float:
    """Return the share of statements that at least one of their citations supports; 0 without any citation.

    ALCE (Gao et al. 2023) asks whether all citations of a statement support it together; here each was judged alone.

    Args:
        spans: of each citation, the characters of its statement.
        is_supported: of each citation, whether its evidence says what the statement says.
    """
    statements: dict[tuple[int, int], bool] = {}
    for span, supported in zip(spans, is_supported, strict=True):
        statements[span] = statements.get(span, False) or supported
    return sum(statements.values()) / len(statements) if statements else 0.0


def citation_precision(is_supported: Sequence[bool]) -> float:
    """Return the share of citations that support their statement, which is when ALCE needs them; 0 without any.

    A citation that does not support its statement alone is of no use in ALCE either if the others support it, and
    counts 0 there as well if nothing supports it.
    """
    return sum(is_supported) / len(is_supported) if is_supported else 0.0


def overlap_ratio(wanted: Locator, cited: Locator) -> float | None:
    """Return the intersection of two places over their union; None if the wanted one has no box, time or span.

    A cited page, picture or frame without a box is the whole one.
    """
    match wanted, cited:
        case TimeSpan(start_a, end_a), TimeSpan(start_b, end_b):
            return _ratio(_shared(start_a, end_a, start_b, end_b), end_a - start_a, end_b - start_b)
        case CharSpan(start_a, end_a), CharSpan(start_b, end_b):
            return _ratio(_shared(start_a, end_a, start_b, end_b), end_a - start_a, end_b - start_b)
        case PageBox(page_a, Box() as a), PageBox(page_b, b):
            return _box_ratio(a, b or _WHOLE) if page_a == page_b else 0.0
        case ImageRegion(Box() as a), ImageRegion(b):
            return _box_ratio(a, b or _WHOLE)
        case FrameRegion(_, Box() as a), FrameRegion(_, b):
            return _box_ratio(a, b or _WHOLE)
        case ((PageBox(box=None) | ImageRegion(None) | FrameRegion(box=None)), _):
            return None
    return 0.0


def _shared(start_a: float, end_a: float, start_b: float, end_b: float) -> float:
    return max(min(end_a, end_b) - max(start_a, start_b), 0.0)


def _box_ratio(a: Box, b: Box) -> float:
    shared = _shared(a.x, a.x + a.w, b.x, b.x + b.w) * _shared(a.y, a.y + a.h, b.y, b.y + b.h)
    return _ratio(shared, a.w * a.h, b.w * b.h)


def _ratio(shared: float, a: float, b: float) -> float:
    return min(shared / (a + b - shared), 1.0) if a + b > shared else 0.0


def risk_curve(
    name: str,
    asked: int,
    confidences: Sequence[float | None],
    is_wrong: Sequence[bool],
    *,
    clusters: Sequence[str],
    seed: int = 0,
) -> RiskCurve:
    """Return the curve of the given answers, most confident first (El-Yaniv and Wiener 2010).

    Answers of equal confidence come together, and those without one come last.

    Args:
        name: of the questions.
        asked: number of questions, with those that were declined.
        confidences: one for each answer.
        is_wrong: one for each answer.
        clusters: as in `rag.evaluation.metrics.bootstrap`.
        seed: of the interval of the area.

    Raises:
        ValueError: there is no answer, or there are more answers than questions.
    """
    if not confidences or len(confidences) > asked:
        raise ValueError(f"{len(confidences)} answers, {asked} questions")
    groups = _by_confidence(confidences, is_wrong)
    coverage, risk, answered, wrong = [], [], 0, 0
    for size, errors in groups:
        answered, wrong = answered + size, wrong + errors
        coverage.append(answered / asked)
        risk.append(wrong / answered)
    by_cluster: dict[str, list[int]] = {}
    for n, cluster in enumerate(clusters):
        by_cluster.setdefault(cluster, []).append(n)
    rng, held = np.random.default_rng(seed), list(by_cluster.values())
    areas = []
    for _ in range(_RESAMPLES):
        drawn = [n for cluster in rng.integers(len(held), size=len(held)) for n in held[cluster]]
        areas.append(_area(_by_confidence([confidences[n] for n in drawn], [is_wrong[n] for n in drawn])))
    low, high = np.percentile(areas, [2.5, 97.5])
    return RiskCurve(name, asked, tuple(coverage), tuple(risk), Estimate(_area(groups), float(low), float(high)))


def _by_confidence(confidences: Sequence[float | None], is_wrong: Sequence[bool]) -> list[tuple[int, int]]:
    """Return the number of answers and of wrong ones at each confidence, the highest first."""
    pairs = [(-math.inf if c is None else c, wrong) for c, wrong in zip(confidences, is_wrong, strict=True)]
    groups = groupby(sorted(pairs, key=lambda pair: -pair[0]), key=lambda pair: pair[0])
    return [(len(tied), sum(wrong for _, wrong in tied)) for tied in (list(group) for _, group in groups)]


def _area(groups: Sequence[tuple[int, int]]) -> float:
    """Return the mean of the risks of the first 1, 2, 3… answers; errors lie evenly among answers that tie."""
    risks = list(_risks(groups))
    return sum(risks) / len(risks)


def _risks(groups: Sequence[tuple[int, int]]) -> Iterator[float]:
    answered, wrong = 0, 0
    for size, errors in groups:
        for n in range(1, size + 1):
            yield (wrong + errors * n / size) / (answered + n)
        answered, wrong = answered + size, wrong + errors


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` per cent of all values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(math.ceil(percent / 100 * len(values)), 1) - 1]


def step_seconds(steps: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the seconds of each step by name; those of repeated steps are added up."""
    total: dict[str, float] = {}
    for name, seconds in steps:
        total[name] = total.get(name, 0.0) + seconds
    return total
