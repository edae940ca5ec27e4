"""Candidates are ordered by whether they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag.explanation import Explanation
from rag.types import Hit
from rag.verification.features import Window
from rag.verification.relevance import VERIFIED_N, log_odds, rank
from rag.verification.verifier import EvidencePassage, Judgement
from tests.fakes.hits import passage, picture

QUESTION = "What do kestrels eat?"


class WordVerifier:
    """Finds a passage relevant by the questions' words in it."""

    def relevance(self, question: str, passages: Sequence[EvidencePassage]) -> list[Judgement]:
        words = set(question.lower().strip("?").split())
        shares = [len(words & set(each.text.lower().split())) / len(words) for each in passages]
        return [
            Judgement(0.02 + 0.96 * share, Window(0, len(each.text)))
            for share, each in zip(shares, passages, strict=True)
        ]


def scored(hit: Hit, score: float) -> Hit:
    return replace(hit, why=Explanation(score))


RIGHT = scored(passage("what do kestrels eat ? they eat voles"), 0.6)
LAKE = scored(passage("the lake is deep", name="lakes.pdf"), 0.7)
PHOTO = scored(picture("bird.jpg", "kite"), 0.95)


def ranked(question: str, hits: Sequence[Hit]) -> list[Hit]:
    return [replace(hit, why=replace(hit.why, relevance=None)) for hit in rank(question, hits, WordVerifier()).hits]  # type: ignore[arg-type]


def test_what_answers_goes_first() -> None:
    assert ranked(QUESTION, [LAKE, RIGHT]) == [RIGHT, LAKE]


def test_a_photo_does_not_outrank_words_that_answer() -> None:
    assert ranked(QUESTION, [PHOTO, LAKE, RIGHT])[0] == RIGHT


def test_a_photo_goes_first_for_a_question_to_photos() -> None:
    assert ranked("Which photo shows a kestrel?", [LAKE, PHOTO]) == [PHOTO, LAKE]


def test_words_without_the_value_that_is_asked_for_go_behind() -> None:
    counted = scored(passage("they eat 12 voles", name="counts.pdf"), 0.6)
    assert ranked("How many voles do kestrels eat?", [RIGHT, counted])[0] == counted


def test_every_verified_hit_has_its_relevance_and_the_others_follow() -> None:
    hits = [scored(passage(f"text {n}", n), 0.5) for n in range(VERIFIED_N + 5)]
    found = rank(QUESTION, hits, WordVerifier()).hits  # type: ignore[arg-type]
    assert len(found) == len(hits)
    assert all(hit.relevance is not None for hit in found[:VERIFIED_N])
    assert list(found[VERIFIED_N:]) == hits[VERIFIED_N:]


def test_it_is_clear_where_one_of_the_first_answers_and_where_nothing_does() -> None:
    assert rank(QUESTION, [LAKE, RIGHT], WordVerifier()).is_clear  # type: ignore[arg-type]
    unrelated = [replace(LAKE, why=Explanation(0.05))]
    assert rank(QUESTION, unrelated, WordVerifier()).is_clear  # type: ignore[arg-type]
    late = [scored(passage(f"text {n}", n), 0.5) for n in range(6)]
    assert not rank(QUESTION, [*late, RIGHT], WordVerifier()).is_clear  # type: ignore[arg-type]


def test_nothing_is_ranked_without_hits() -> None:
    assert rank(QUESTION, [], WordVerifier()).hits == ()  # type: ignore[arg-type]


def test_the_odds_of_a_score_are_bounded() -> None:
    assert log_odds(0.5) == 0.0
    assert -7 < log_odds(0.0) < 0 < log_odds(1.0) < 7
