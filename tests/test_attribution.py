"""Statements whose citation moves to the evidence that holds their words, and those that stay."""

from __future__ import annotations

from functools import partial

from rag.answering.attribution import best_evidence
from rag.answering.citations import cite, without
from rag.explanation import Explanation
from rag.types import Hit, ImageRegion, Segment, TimeSpan

QUESTION = "What must an animal that leaps know?"
SPEECH = Hit(
    Segment("film", 0, "video", "speech", TimeSpan(3, 44), text="Whoever leaps must know how far away the branch is."),
    Explanation(0.8),
)
FRAME = Hit(Segment("film", 1, "video", "frame", TimeSpan(13, 32), tags=("marmoset",)), Explanation(0.9))
BEE = Hit(Segment("bee", 0, "image", "picture", ImageRegion(), tags=("bee", "daisy")), Explanation(0.7))
HITS = [FRAME, SPEECH, BEE]


def moved(written: str) -> str:
    return cite(written, len(HITS), partial(best_evidence, question=QUESTION, hits=HITS)).text


def test_a_citation_moves_to_the_evidence_that_holds_the_words():
    assert moved("It must know how far away the branch is [E1].") == "It must know how far away the branch is [E2]."
    assert moved("A marmoset is seen [E2].") == "A marmoset is seen [E1]."


def test_each_part_of_a_sentence_is_attributed_alone():
    assert moved("The branch is far away [E3] and a bee is on a daisy [E1].") == (
        "The branch is far away [E2] and a bee is on a daisy [E3]."
    )


def test_a_wrong_marker_beside_the_right_one_disappears():
    assert moved("The branch is far away [E2][E1].") == "The branch is far away [E2]."


def test_a_marker_is_attributed_by_the_last_sentence_before_it():
    assert moved("A daisy. The branch is far away. [E1]") == "A daisy. The branch is far away. [E2]"
    assert moved("The branch is far [E2].\nA marmoset [E3].") == "The branch is far [E2].\nA marmoset [E1]."
    assert moved("A marmoset is seen. – [E2]") == "A marmoset is seen. – [E1]"


def test_markers_of_a_line_that_begins_with_one_stay():
    for text in (
        "[E1] A bee on a daisy. [E3] A marmoset.",
        "1. [E1] A bee on a daisy. [E3] A marmoset.",
        "- [E1] A bee on a daisy.\n- [E1] A marmoset.",
    ):
        assert moved(text) == text
    assert moved("A bee on a daisy\n[E1]") == "A bee on a daisy\n[E1]"


def test_markers_after_others_stay():
    assert moved("A marmoset [E1], [E3].") == "A marmoset [E1], [E3]."


def test_markers_that_words_cannot_decide_stay():
    assert moved("Nobody knows [E1].") == "Nobody knows [E1]."
    assert moved("An animal that leaps must know [E1].") == "An animal that leaps must know [E2]."
    assert moved("[E3] A bee sits there.") == "[E3] A bee sits there."
    assert moved("") == ""


def test_statements_keep_their_places_in_the_text():
    cited = cite("The branch is far away [E1]. A bee sits there [E3][E1].", 3, lambda _, n: 2 if n == 1 else n)
    assert [(c.number, cited.text[c.start : c.end]) for c in cited.citations] == [
        (2, "The branch is far away"),
        (3, "A bee sits there"),
        (2, "A bee sits there"),
    ]
    assert cited.moved == 2


def test_dropping_uncited_text_attributes_nothing_again():
    cited = cite("A marmoset [E2]. A lynx is seen.", 3, partial(best_evidence, question=QUESTION, hits=HITS))
    rest = without(cited, cited.uncited, 3)
    assert (rest.text, rest.moved) == ("A marmoset [E1].", 1)
