import pytest

from rag.answering.followup import standalone
from tests.fakes.llms import ScriptedModel, text_of

TURNS = [("Who painted the ceiling?", "Michelangelo painted the ceiling [E1]."), ("Where is it?", "In Rome [1].")]


def test_a_follow_up_is_rewritten_to_stand_alone():
    llm = ScriptedModel(lambda prompt: "When did Michelangelo paint the ceiling?")
    assert standalone("When did he paint it?", TURNS, llm) == "When did Michelangelo paint the ceiling?"
    shown = text_of(llm.requests[0][-1])
    assert "In Rome." in shown
    assert "[" not in shown


def test_a_rewritten_question_with_invented_words_is_dropped():
    invented = ScriptedModel(lambda prompt: "When did Leonardo paint the ceiling?")
    assert standalone("When did he paint it?", TURNS, invented) == "When did he paint it?"


@pytest.mark.parametrize("written", ["", "When did Michelangelo paint it?\nMichelangelo painted it."])
def test_a_reply_that_is_no_question_is_dropped(written):
    assert standalone("When did he paint it?", TURNS, ScriptedModel(lambda prompt: written)) == "When did he paint it?"


def test_a_first_question_stays_as_it_is():
    llm = ScriptedModel()
    assert standalone("Who painted the ceiling?", [], llm) == "Who painted the ceiling?"
    assert llm.requests == []


def test_the_prompt_has_only_the_newest_turns_and_cuts_long_ones():
    llm = ScriptedModel(lambda prompt: "x")
    standalone("And then?", [(f"question {n}?", "long " * 1000) for n in range(9)], llm)
    shown = text_of(llm.requests[0][-1])
    assert "question 5?" not in shown
    assert "question 8?" in shown
    assert len(shown) < 2000


def test_a_rewritten_question_may_add_question_words():
    llm = ScriptedModel(lambda prompt: "Which city is the ceiling in that Michelangelo painted?")
    assert standalone("Which city?", TURNS, llm) == "Which city is the ceiling in that Michelangelo painted?"
