"""Which of several amounts belongs to the date of a question."""

from __future__ import annotations

import pytest

from rag.verification.pairing import mispaired

CENSUS = "As of the 2016 census, 69 percent of children lived with two parents, a decrease from 88 percent in 1960."
HERD = "The herd weighed 40 tons in 1990. In 2001 it weighed 55 tons, and 70 tons in 2010."


@pytest.mark.parametrize(
    ("question", "statement", "passage", "reason"),
    [
        ("What share was it in 1960?", "69 percent", CENSUS, "For 1960 the passage says 88 percent, not 69 percent."),
        (
            "What share was it in 2016?",
            "88 percent of children",
            CENSUS,
            "For 2016 the passage says 69 percent, not 88 percent.",
        ),
        ("How heavy was it in 2001?", "It weighed 70 tons", HERD, "For 2001 the passage says 55 tons, not 70 tons."),
    ],
)
def test_an_amount_of_another_date_is_told(question, statement, passage, reason):
    assert mispaired(question, statement, passage) == reason


@pytest.mark.parametrize(
    ("question", "statement", "passage"),
    [
        ("What share was it in 1960?", "88 percent", CENSUS),
        ("What share was it in 2016?", "It was 69 percent", CENSUS),
        ("How heavy was it in 1990?", "40 tons", HERD),
        ("How heavy was it in 2010?", "70 tons", HERD),
        ("What share was it?", "69 percent", CENSUS),
        ("What share was it in 1960?", "12 percent", CENSUS),
        ("Who counted in 1960?", "The census", CENSUS),
    ],
)
def test_an_amount_of_the_same_date_or_without_one_is_not(question, statement, passage):
    assert mispaired(question, statement, passage) == ""
