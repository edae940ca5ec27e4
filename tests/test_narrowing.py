"""Finding a statement in words with times and lines with boxes, and comparing two hearings."""

from __future__ import annotations

import pytest

from ingest.picture.ocr import OcrLine
from rag.types import Box, TimeSpan, Word
from rag.verification.narrowing import agreement, missing_words, narrow, narrow_box

GUIDE = "the mound is tall in 1960 a young woman set up camp on the shore she watched a chimpanzee fish for termites"


def spoken(text: str, *, start_s: float = 0.0) -> list[Word]:
    """Return words that are spoken one after the other, half a second each."""
    return [Word(word, start_s + i / 2, start_s + i / 2 + 0.5) for i, word in enumerate(text.split())]


def printed(*texts: str) -> list[OcrLine]:
    """Return lines below each other, each a tenth of the page high."""
    return [OcrLine(text, Box(0.1, 0.1 * i, 0.5, 0.1), 1.0) for i, text in enumerate(texts)]


class TestNarrow:
    def test_the_words_of_the_statement_and_no_others(self) -> None:
        found = narrow("A young woman set up her camp in 1960.", spoken(GUIDE))
        assert found == TimeSpan(2.0, 6.0)  # from "in" to "camp"

    @pytest.mark.parametrize("heard", ["chimpanzees fishing for termite", "champanzee fish for turmites"])
    def test_inflected_and_misheard_words_count(self, heard: str) -> None:
        words = spoken(f"many years went by and then {heard} was all she saw")
        found = narrow("The chimpanzee fished for termites.", words)
        assert found is not None
        assert found.start_s == pytest.approx(3.0)

    def test_of_two_places_the_one_with_the_rare_word(self) -> None:
        words = spoken("the lamp stood here and the lamp with a dynamo stood there")
        found = narrow("The lamp had a dynamo.", words)
        assert found is not None
        assert found.start_s >= 2.5

    def test_common_words_decide_between_equals(self) -> None:
        words = spoken("ask not what your country can do for you ask what you can do for your country")
        found = narrow("Ask what you can do for your country.", words)
        assert found == TimeSpan(4.5, 8.5)

    @pytest.mark.parametrize("statement", ["The piano was out of tune.", "", "It is."])
    def test_nothing_of_it(self, statement: str) -> None:
        assert narrow(statement, spoken("the mound rises to three metres")) is None

    def test_without_words(self) -> None:
        assert narrow("A young woman set up camp.", []) is None

    def test_numbers_count_by_value(self) -> None:
        found = narrow("It took 25 minutes.", spoken("we left at ten and it took twenty-five minutes then we rested"))
        assert found == TimeSpan(2.5, 4.5)


class TestNarrowBox:
    def test_the_line_with_the_value(self) -> None:
        lines = printed("Price list", "Lamp 12.50", "Dynamo 48.00", "Wire 3.20")
        assert narrow_box("The dynamo costs 48.00.", lines) == lines[2].box

    def test_a_statement_over_two_lines(self) -> None:
        lines = printed("Opening hours", "The museum opens at 10", "and closes at 18 on Sundays", "Tickets at the desk")
        assert narrow_box("The museum opens at 10 and closes at 18 on Sundays.", lines) == Box(0.1, 0.1, 0.5, 0.2)

    def test_nothing_of_it(self) -> None:
        assert narrow_box("The wire is made of copper.", printed("Price list", "Lamp 12.50")) is None


class TestMissingWords:
    @pytest.mark.parametrize(
        ("statement", "missing"),
        [
            ("The entryway has twenty-five stairs.", ()),
            ("The entryway has 24 stairs.", ("24",)),
            ("A blue entryway with stairs.", ("blue",)),
            ("It costs 1,000.", ()),
            ("It costs 10.00.", ("10.00",)),
        ],
    )
    def test_words_and_numbers(self, statement: str, missing: tuple[str, ...]) -> None:
        assert missing_words(statement, "An entry way with 25 stairs, for 1000 visitors, at a cost") == missing

    @pytest.mark.parametrize("text", ["weighs 8,619 kg", "weighs 8.619 kg", "weighs 8,6 19 kg", "weighs 8, 619 kg"])
    def test_separators_that_ocr_mistakes(self, text: str) -> None:
        assert missing_words("It weighs 8,619 kg.", text) == ()
        assert missing_words("It weighs 8,610 kg.", text) == ("8610",)


class TestAgreement:
    statement = "A young woman set up camp in 1960."

    def test_the_same_words_at_the_same_time(self) -> None:
        found = agreement(self.statement, spoken(GUIDE), spoken(GUIDE, start_s=0.3))
        assert {word.text for word in found.confirmed} == {"young", "woman", "set", "camp", "1960"}
        assert (found.misheard, found.absent, found.heard_share, found.weakest) == ((), (), 1.0, 1.0)

    def test_a_word_that_is_heard_only_the_first_time(self) -> None:
        found = agreement(self.statement, spoken(GUIDE), spoken(GUIDE.replace("1960", "1916")))
        assert [word.text for word in found.misheard] == ["1960"]
        assert found.weakest == 0.0

    @pytest.mark.parametrize(("again", "is_misheard"), [("womans", False), ("wizard", True)])
    def test_a_word_that_sounds_alike(self, again: str, is_misheard: bool) -> None:
        found = agreement(self.statement, spoken(GUIDE), spoken(GUIDE.replace("woman", again)))
        assert bool(found.misheard) == is_misheard

    def test_a_word_at_another_time(self) -> None:
        found = agreement(self.statement, spoken(GUIDE), spoken(GUIDE, start_s=20.0))
        assert not found.confirmed
        assert found.weakest == 0.0
        assert found.heard_share == 1.0  # it is said, only not then

    def test_other_seconds(self) -> None:
        elsewhere = spoken("the termites build at night")
        found = agreement(self.statement, elsewhere, elsewhere)
        assert found.heard_share == 0.0
        assert found.absent == ("young", "woman", "set", "camp", "1960")

    def test_a_subject_that_was_said_before_is_not_missed(self) -> None:
        beard = spoken("she called him David Greybeard")
        found = agreement("Jane Goodall gave him the name David Greybeard", beard, beard)
        assert found.heard_share == 1.0

    def test_a_place_that_carries_too_little_of_the_statement_is_not_its_place(self) -> None:
        elsewhere = spoken("the termites build a camp at night")
        found = agreement(self.statement, elsewhere, elsewhere)
        assert found.heard_share < 0.34

    @pytest.mark.parametrize(("joined", "apart"), [("entryway", "entry way"), ("everyone", "every one")])
    def test_compounds_are_the_same_in_one_word_and_in_two(self, joined: str, apart: str) -> None:
        found = agreement(f"It is {joined}.", spoken(joined), spoken(apart))
        assert found.weakest == 1.0
