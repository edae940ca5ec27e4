"""Which kind of value a question asks for, and whether a passage holds one."""

from __future__ import annotations

import pytest

from rag.verification.answer_type import expected_value, lacks_value, unanswered

BISHOP = (
    "Bishop Usher dated the creation to 4004 BCE. The tower is 65 metres high, has 3 bells, and took 9 years to build."
)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("In which year was the tower built?", ("year",)),
        ("How much is a bar of soap?", ("money",)),
        ("When did it fall?", ("date",)),
        ("How heavy is an adult gorilla?", ("mass",)),
        ("How much does it weigh?", ("mass",)),
        ("How tall is it?", ("length",)),
        ("How long did it take?", ("duration",)),
        ("How long is the bridge?", ("length", "duration")),
        ("How fast does it run?", ("speed",)),
        ("What percentage of births is meant?", ("share",)),
        ("How many bells hang there?", ("number",)),
        ("Who built it?", ()),
        ("What happens when it rains?", ()),
        ("Why do they hunt?", ()),
    ],
)
def test_a_question_tells_the_kind_of_its_answer(question, expected):
    assert expected_value(question) == expected


@pytest.mark.parametrize(
    "question",
    ["How tall is the tower?", "How long did the tower take?", "How many bells has it?", "When was the creation?"],
)
def test_a_passage_with_such_a_value_lacks_nothing(question):
    assert not lacks_value(question, BISHOP)


@pytest.mark.parametrize(
    "question",
    [
        "How heavy is the tower?",
        "How hot is it in the tower?",
        "How fast does the tower fall?",
        "What percentage of towers is meant?",
    ],
)
def test_a_passage_with_other_values_lacks_it(question):
    assert lacks_value(question, BISHOP)


@pytest.mark.parametrize(
    ("question", "passage"),
    [
        ("How many wives had he?", "He had several wives."),
        ("How many eyes look ahead?", "It looks ahead with both eyes."),
        ("When do they hunt?", "They hunt during the rains."),
        ("What share of them is male?", "Two thirds of them are male."),
        ("How old did she get?", "Mary Douglas (1921–2007) wrote of purity."),
        ("How heavy is it?", "Animal; Weight (kg)\nGorilla; 160"),
        ("How long did it last?", "It lasted six weeks."),
        ("How many came?", "Twenty-one people came."),
    ],
)
def test_a_value_may_be_in_words_or_in_a_column(question, passage):
    assert not lacks_value(question, passage)


def test_values_of_the_question_itself_are_no_answer():
    assert lacks_value("How many of the 5 apes of 1960 came back?", "The 5 apes of 1960 were seen again.")
    assert not lacks_value("How many of the 5 apes of 1960 came back?", "Of the 5 apes of 1960, 3 were seen again.")


def test_a_question_without_a_kind_never_lacks_a_value():
    assert not lacks_value("Who built the tower?", "It stands by the river.")


@pytest.mark.parametrize(
    ("question", "answer", "lacking"),
    [
        ("How many bells hang there?", "There are bells there.", "a number"),
        ("When was it built?", "It was built by monks.", "a date"),
        ("In which year did they give up?", "Many now farm for part of the year.", "a date"),
        ("When do they hunt?", "They hunt during the rains.", ""),
        ("How old did she get?", "She was born in San Remo, Italy.", "a time"),
        ("Which company is behind the logo?", "It is the company behind the logo.", "anything new"),
        ("Who taught Ann David?", "Professor David taught Ann David.", "anything new"),
        ("How many bells hang there?", "3", ""),
        ("How many people do the bones belong to?", "They are 235,000–335,000 years old.", "a number"),
        ("How many years did it take?", "It took 9 years.", ""),
        ("How many million years ago was it?", "18 million years ago.", ""),
        ("In what share of births is it so?", "1.7 percent of births", ""),
        ("Which photo shows an ape?", "photo-04.jpg shows an ape", ""),
        ("Is there a dog?", "There is a dog.", ""),
        ("Which is older, A or B?", "B is older.", ""),
        ("Who came?", "Bo came.", ""),
        ("What is the habit of wearing local cloth called?", "National Friday Wear", ""),
        ("In which city is it?", "It is in the city.", "anything new"),
        ("In which city did Mendel live?", "Gregor Mendel lived in a monastery garden.", "a city"),
        ("In which city did Mendel live?", "Gregor Mendel lived in Brno.", ""),
    ],
)
def test_an_answer_that_tells_nothing_of_what_is_asked_is_told_apart(question, answer, lacking):
    assert unanswered(question, answer) == lacking
