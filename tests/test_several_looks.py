"""Comparisons and counts, which one look does not answer."""

from __future__ import annotations

import pytest

from rag.verification.several_looks import compared, counts_files, is_choice, untold


@pytest.mark.parametrize(
    ("question", "sides"),
    [
        ("Who got the award first: Armelagos, Lamphere or Yolanda Moses?", ("Armelagos", "Lamphere", "Yolanda Moses")),
        ("Which site is older, Monte Verde or the Friedkin site?", ("Monte Verde", "Friedkin site")),
        ("Who had the bigger brain, Homo ergaster or Homo naledi?", ("Homo ergaster", "Homo naledi")),
        ("What is the difference between Gombe and Fongoli?", ("Gombe", "Fongoli")),
        ("How do chimpanzees and bonobos differ?", ("chimpanzees", "bonobos")),
        ("Compare Gombe with Fongoli.", ("Gombe", "Fongoli")),
        ("Did it weigh 50 or 500 grams?", ()),
        ("Who discovered oxygen first?", ()),
        ("Which is the oldest zoo?", ()),
        ("What lies between Ghana and Togo?", ()),
    ],
)
def test_the_sides_of_a_comparison(question, sides):
    assert compared(question) == sides


def test_a_side_that_the_evidence_does_not_name_is_untold():
    question = "Which site is older, Monte Verde or the Friedkin site?"
    assert untold(question, "The Friedkin site is 15,500 years old.") == ("Monte Verde",)
    assert untold(question, "Monte Verde is 14,500, the Friedkin site 15,500 years old.") == ()
    assert untold("Who found Lucy?", "Nobody.") == ()


@pytest.mark.parametrize(
    ("question", "counts"),
    [
        ("How many photos show apes?", True),
        ("How many of the recordings are in German?", True),
        ("How many apes are in the photo?", False),
        ("Which photos show apes?", False),
        ("How many pages of documents did the project bring home?", False),
        ("How many documents did Columbus sign?", False),
    ],
)
def test_a_count_of_files(question, counts):
    assert counts_files(question) == counts


def test_a_choice_is_no_other_comparison():
    assert is_choice("Which is older, the flute or the drum?")
    assert not is_choice("How do the flute and the drum differ?")
