"""Orders the candidates of a search by whether they answer: the verifier's judgement of their words, and the score.

Words without the kind of value that is asked for ("how many") are moved down. The verifier reads words. A photo without
words is ordered by the score of the search, and answers only a question that asks for something to see or hear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag.query.question_kind import asks_for_medium
from rag.types import Hit
from rag.verification.answer_type import lacks_value
from rag.verification.passages import passage_of
from rag.verification.verifier import EvidencePassage, Verifier

VERIFIED_N = 30  # candidates that the verifier reads
# Log-odds from which a verdict is clear, so that no language model is asked.
_CLEARLY_YES, _CLEARLY_NO = 0.5, -1.5
# A clear hit was among the first of the search, too.
_AGREED_PLACES = 5
_LEAST_CHANCE = 0.001  # the score of the search counts as no surer than this
_WORDS = (-0.2, 0.7, 0.4)  # constant, verifier, score
_LACKS_VALUE = -3.0  # words without the kind of value that is asked for
_LOOKS = (-0.5, 0.6)  # constant, score
_NOT_ASKED_FOR = -2.5  # a picture without words, of a question that asks for none


@dataclass(frozen=True, slots=True)
class Ranking:
    """Hits with their relevance, best first.

    Attributes:
        hits: the hits.
        is_clear: whether verifier and search agree on a hit that answers, or on that there is none.
    """

    hits: tuple[Hit, ...]
    is_clear: bool


def rank(question: str, hits: Sequence[Hit], verifier: Verifier) -> Ranking:
    """Return the first hits ordered by relevance, given in the order of the search; the others follow."""
    hits, rest = hits[:VERIFIED_N], hits[VERIFIED_N:]
    passages = [passage_of(hit) for hit in hits]
    worded = [n for n, passage in enumerate(passages) if passage.text.strip()]
    judged = dict(zip(worded, verifier.relevance(question, [passages[n] for n in worded]), strict=True))
    asks = asks_for_medium(question)
    relevance = [
        _of_words(question, passages[n], judged[n].log_odds, hit.score)
        if n in judged
        else _of_looks(hit.score, asks=asks)
        for n, hit in enumerate(hits)
    ]
    order = sorted(range(len(hits)), key=lambda n: -relevance[n])
    best = order[0] if order else 0
    found = bool(order) and best in judged and best < _AGREED_PLACES and relevance[best] >= _CLEARLY_YES
    nothing = all(log_odds <= _CLEARLY_NO for log_odds in relevance)
    ranked = [replace(hits[n], why=replace(hits[n].why, relevance=relevance[n])) for n in order]
    return Ranking((*ranked, *rest), found or nothing)


def _of_words(question: str, passage: EvidencePassage, judged: float, score: float) -> float:
    constant, of_verifier, of_score = _WORDS
    lacks = lacks_value(question, f"{passage.heading}\n{passage.text}")
    return constant + of_verifier * judged + of_score * log_odds(score) + (_LACKS_VALUE if lacks else 0.0)


def _of_looks(score: float, *, asks: bool) -> float:
    constant, of_score = _LOOKS
    return constant + of_score * log_odds(score) + (0.0 if asks else _NOT_ASKED_FOR)


def log_odds(score: float) -> float:
    """Return a score in [0, 1] as log-odds, bounded."""
    chance = min(max(score, _LEAST_CHANCE), 1 - _LEAST_CHANCE)
    return math.log(chance / (1 - chance))
