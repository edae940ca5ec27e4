"""Values that a passage holds elsewhere: in another sentence, or in another row of a table."""

from __future__ import annotations

import pytest

from rag.verification.displaced import displaced
from rag.verification.rows import misrowed

NEST = (
    "The kestrel's nest was found in the old tower by Ann Lee in 1984. Bob Ray wrote a book on herons in 1990."
    " Its eggs weigh 20 grams. A young kestrel weighs 150 grams when it leaves the nest."
)
BIRDS = "bird: kestrel; weight: 200 g\nbird: heron; weight: 1500 g\nbird: wren; weight: 9 g"
PHOTOS = (
    "no: 1; photo: a.jpg; caption: A dog leaps for a ball.\nno: 2; photo: b.jpg; caption: Two girls sit on a bench."
)


class TestSentences:
    @pytest.mark.parametrize(
        ("question", "statement", "reason"),
        [
            ("Who found the nest?", "The nest was found in the old tower by Bob Ray", "The passage says Ann Lee"),
            ("", "The kestrel's nest was found in the old tower in 1990", "The passage says 1984, not 1990."),
            ("When was the nest of the kestrel found in the tower?", "1990", "The passage says 1984, not 1990."),
            (
                "",
                "A young kestrel weighs 20 grams when it leaves the nest",
                "The passage says 150 grams, not 20 grams.",
            ),
        ],
    )
    def test_a_value_of_another_sentence_is_told(self, question: str, statement: str, reason: str) -> None:
        assert displaced(question, statement, NEST).startswith(reason)

    @pytest.mark.parametrize(
        ("question", "statement"),
        [
            ("Who found the nest?", "The nest was found in the old tower by Ann Lee"),
            ("When was the nest found?", "1984"),
            ("Who wrote on herons?", "Bob Ray wrote a book on herons in 1990"),
            ("What did Bob Ray write?", "Bob Ray wrote of the nest in the old tower"),  # the name is the question's
            ("", "Ann Lee found it in 1984, and Bob Ray wrote a book on herons in 1990"),
            ("", "The nest was found by Eve Moss"),  # nowhere: others say so
            ("What do they weigh?", "20 grams"),  # too few words to tell
        ],
    )
    def test_what_the_passage_may_say_is_left(self, question: str, statement: str) -> None:
        assert displaced(question, statement, NEST) == ""

    def test_a_first_word_or_the_subject_itself_is_no_rival(self) -> None:
        text = "Remarkably, the kestrel's nest was found in the old tower. It was Ann Lee who climbed up."
        assert displaced("Who found the nest of the kestrel in the tower?", "Ann Lee", text) == ""
        text = "The Civil Service Commission was created by the new act. The Pendleton Act passed in May."
        assert displaced("The Civil Service Commission was created by which new act?", "Pendleton Act", text) == ""

    def test_a_sentence_without_such_a_value_is_no_rival(self) -> None:
        text = "The kestrel's nest was found in the old tower. That was in 1984."
        assert displaced("When was the nest of the kestrel found in the tower?", "1984", text) == ""

    def test_one_sentence_has_no_other(self) -> None:
        assert displaced("Who found it?", "Bob Ray found it", "Ann Lee found it, says Bob Ray.") == ""


class TestRows:
    @pytest.mark.parametrize(
        ("table", "question", "statement"),
        [
            (BIRDS, "What is the weight of the heron?", "The weight of the heron is 9 g"),
            (BIRDS, "What does a heron weigh?", "200 g"),
            (BIRDS, "Which bird weighs 9 g?", "The heron"),
            (PHOTOS, "What does b.jpg show?", "A dog leaps for a ball"),
        ],
    )
    def test_a_cell_of_another_row_is_told(self, table: str, question: str, statement: str) -> None:
        assert "another row" in misrowed(question, statement, table)

    @pytest.mark.parametrize(
        ("table", "question", "statement"),
        [
            (BIRDS, "What is the weight of the heron?", "The weight of the heron is 1500 g"),
            (BIRDS, "Which bird weighs 9 g?", "The wren"),
            (BIRDS, "Is the heron heavier than the wren?", "Yes, it weighs 1500 g and the wren 9 g"),
            (BIRDS, "Which weigh most?", "1500 g"),  # no row is named
            (BIRDS, "What does a heron eat?", "A heron eats frogs"),  # no row says so
            (PHOTOS, "What does b.jpg show?", "Two girls on a bench"),
            (PHOTOS, "What do 2 photos show?", "A dog leaps for a ball"),  # a number names no row
            ("The heron weighs 1500 g. The wren weighs 9 g.", "What does a heron weigh?", "9 g"),  # no table
        ],
    )
    def test_what_the_rows_may_say_is_left(self, table: str, question: str, statement: str) -> None:
        assert misrowed(question, statement, table) == ""
