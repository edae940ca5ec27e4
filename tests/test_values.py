"""The values of a statement: read in their spellings, looked up in a passage, compared with its own."""

from __future__ import annotations

import pytest

from rag.verification.values import conflicts, missing

PASSAGE = (
    "Jane Goodall (Smith 2011) gave the chimpanzees 500 grams of bananas in Gombe on 14 July 1960. About 312 of them "
    "lived there (Goodall 1986, 12). See Figure 2."
)


@pytest.mark.parametrize(
    "statement",
    [
        "They got 500 g.",
        "They got half a kilogram.",
        "It was in July 1960.",
        "It was in the 1960s.",
        "More than 300 chimpanzees lived there.",
        "J. Goodall was there on July 14.",
        "Goodall was there in the 20th century.",
    ],
)
def test_values_that_stand_in_the_passage_in_another_spelling(statement):
    assert missing(statement, PASSAGE) == []


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("They got 50 grams.", "50 grams"),
        ("They got 500 kilograms.", "500 kilograms"),
        ("It was in June 1960.", "June 1960"),
        ("It was in 1961.", "1961"),
        ("There were 2 chimpanzees.", "2"),
        ("John Goodall was there.", "John Goodall"),
        ("It happened in Tanzania.", "Tanzania"),
        ("She was there in 1986.", "1986"),
    ],
)
def test_values_that_the_passage_lacks(statement, value):
    assert [found.text for found in missing(statement, PASSAGE)] == [value]


def test_a_year_that_only_a_citation_has_says_so():
    assert (
        missing("She was there in 1986.", PASSAGE)[0].reason == "The passage has 1986 only as the year of a citation."
    )


def test_a_conflict_names_both_values():
    assert conflicts("The chimpanzees got 50 grams of bananas.", PASSAGE) == [
        "The passage says 500 grams, not 50 grams."
    ]
