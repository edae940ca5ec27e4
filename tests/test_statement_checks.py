"""What becomes of the statements of an answer: kept, cited anew, or dropped, and what a whole answer must tell."""

from __future__ import annotations

from collections.abc import Sequence

from rag.answering.citations import cite
from rag.answering.statement_checks import CheckedText, check_statements
from rag.types import Hit, Verdict
from rag.verification.checker import Checker
from tests.fakes.hits import passage

BIRDS = passage("Kestrels feed on voles, and herons on fish.", 1)
LAKES = passage("The lake is eleven metres deep.", 1, "lakes.pdf")
HERONS = passage("Herons stand in shallow water.", 2)
WHAT = "What do kestrels and herons do?"


class WordChecker(Checker):
    """Supports a statement that has all its long words in the passage; what has "maybe" stays unchecked."""

    def __init__(self) -> None:
        super().__init__(None)

    def verdict(self, question: str, statement: str, hit: Hit) -> Verdict:
        words = {word.strip(".,").lower() for word in statement.split() if len(word) > 3}
        if "maybe" in words:
            return Verdict(reason="Who knows.")
        held = {word.strip(".,").lower() for word in hit.segment.text.split()}
        return Verdict("supported") if words <= held else Verdict("unsupported", "It does not say this.")

    confirmed = verdict


def check(text: str, evidence: Sequence[Hit], others: Sequence[Hit] = (), **more: object) -> CheckedText:
    question = str(more.pop("question", WHAT))
    return check_statements(question, cite(text, len(evidence)), evidence, others, WordChecker(), **more)  # type: ignore[arg-type]


class TestStatements:
    def test_what_is_supported_stays_as_it_was_written(self) -> None:
        checked = check("Kestrels feed on voles [E1]. Herons stand in water [E2].", [BIRDS, HERONS])
        assert checked.text == "Kestrels feed on voles [E1]. Herons stand in water [E2]."
        assert [each.verdict.name for each in checked.citations] == ["supported", "supported"]
        assert (checked.dropped, checked.moved, checked.hits) == ((), 0, (BIRDS, HERONS))

    def test_a_wrong_citation_is_moved_to_what_says_it(self) -> None:
        checked = check("Kestrels feed on voles [E2].", [BIRDS, LAKES])
        assert checked.text == "Kestrels feed on voles [E1]."
        assert checked.moved == 1
        assert checked.citations[0].verdict.name == "supported"

    def test_other_candidates_are_looked_through_and_join_the_evidence(self) -> None:
        checked = check("Herons stand in water [E1].", [LAKES], [BIRDS, HERONS])
        assert checked.text == "Herons stand in water [E2]."
        assert checked.hits == (LAKES, HERONS)

    def test_what_no_candidate_says_is_searched_for(self) -> None:
        asked: list[str] = []

        def find(statement: str) -> list[Hit]:
            asked.append(statement)
            return [HERONS]

        checked = check("Herons stand in water [E1].", [LAKES], [BIRDS], find=find)
        assert checked.text == "Herons stand in water [E2]."
        assert asked == ["Herons stand in water"]

    def test_what_nothing_says_is_dropped_with_its_reason(self) -> None:
        checked = check("Kestrels feed on voles [E1]. Kestrels sing [E1].", [BIRDS])
        assert checked.text == "Kestrels feed on voles [E1]."
        assert checked.dropped == ("A statement was dropped: Kestrels sing (It does not say this.)",)

    def test_what_cannot_be_checked_stays_and_is_no_support(self) -> None:
        checked = check("Kestrels maybe sing [E1].", [BIRDS])
        assert checked.text == "Kestrels maybe sing [E1]."
        assert checked.citations[0].verdict.name == "unchecked"

    def test_a_statement_with_one_supporting_citation_stays(self) -> None:
        checked = check("Kestrels feed on voles [E1][E2].", [BIRDS, LAKES])
        assert "Kestrels feed on voles [E1]" in checked.text
        assert checked.dropped == ()

    def test_the_rest_of_a_sentence_goes_with_its_beginning(self) -> None:
        checked = check("Singing kestrels [E1] feed on voles [E1]. Herons stand in water [E2].", [BIRDS, HERONS])
        assert checked.text == "Herons stand in water [E2]."


class TestAnswers:
    def test_an_answer_without_the_value_that_is_asked_for_is_dropped(self) -> None:
        checked = check("Kestrels feed on voles [E1].", [BIRDS], question="How many voles do kestrels feed on?")
        assert (checked.text, checked.citations) == ("", ())
        assert "does not tell a number" in checked.dropped[0]

    def test_a_year_or_name_that_stands_nowhere_in_the_file_is_another_subject(self) -> None:
        checked = check("Kestrels feed on voles [E1].", [BIRDS], question="What did kestrels feed on in 1980?")
        assert checked.text == ""
        assert "tells nothing of 1980" in checked.dropped[0]
        elsewhere = passage("All this was seen in 1980.", 3)
        checked = check("Kestrels feed on voles [E1].", [BIRDS], [elsewhere], question="What did kestrels eat in 1980?")
        assert checked.text == "Kestrels feed on voles [E1]."

    def test_what_the_source_speaks_of_is_no_answer(self) -> None:
        states = passage("The passage states that kestrels feed on voles.", 1)
        checked = check("The passage states that kestrels feed on voles [E1].", [states])
        assert checked.text == ""
        assert "speaks of instead" in checked.dropped[0]

    def test_a_choice_needs_every_side(self) -> None:
        question = "Which is deeper, the lake or the Kestrel Pond?"
        checked = check("The lake is eleven metres deep [E1].", [LAKES], question=question)
        assert checked.text == ""
        assert "tells nothing of Kestrel Pond" in checked.dropped[0]

    def test_a_comparison_with_one_side_is_partial(self) -> None:
        question = "What is the difference between kestrels and eagles?"
        checked = check("Kestrels feed on voles [E1].", [BIRDS], question=question)
        assert checked.text == "Kestrels feed on voles [E1]."
        assert checked.open_parts == ("eagles",)

    def test_a_few_places_do_not_count_files(self) -> None:
        checked = check("Kestrels maybe in 3 photos [E1].", [BIRDS], question="How many photos show kestrels?")
        assert checked.text == ""
        assert "how many files" in checked.dropped[0]
