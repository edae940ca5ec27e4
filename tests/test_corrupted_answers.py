"""How right statements are made wrong, and how it is counted what the checks catch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from rag import KnowledgeBase
from rag.cli.main import main
from rag.config import Settings
from rag.encoders.minilm import MiniLM
from rag.evaluation.answer_runs import AnswerRecord, CitationRecord
from rag.evaluation.claims import Claim, answer_claims, by_file, medium_of, names_of, own_claims, table_rows
from rag.evaluation.corrupted_answers import CheckedClaim, check_all, evaluate_checks, measure_checks
from rag.evaluation.corruptions import (
    KINDS,
    Surroundings,
    alter_date,
    alter_number,
    alter_unit,
    cite_other_file,
    cite_other_page,
    cite_other_picture,
    cite_same_file,
    corrupt,
    negate,
    replace_name,
    replace_tag,
    shift_time,
    swap_within,
    take_other_row,
)
from rag.evaluation.graded_answers import GradedAnswer
from rag.evaluation.labelled_questions import Question
from rag.evaluation.metrics import share
from rag.evaluation.report_page import page
from rag.models import ensure
from rag.types import Hit, TimeSpan, Word
from rag.verification.checker import Checker
from rag.verification.verifier import Verifier
from tests.fakes.hits import passage, picture, speech

KESTREL = passage("The kestrel eats 12 voles a day. Ann Lee found its nest in 1984. Bob Ray counted 15 nests in 1990.")
TABLE = passage("bird: kestrel; weight: 200 g\nbird: heron; weight: 1500 g\nbird: wren; weight: 9 g", name="birds.csv")
SEEDS = range(20)


def claim(text: str, hit: Hit = KESTREL, question: str = "What is said of it?", cell: str = "") -> Claim:
    return Claim(question, text, hit, medium_of(hit), cell)


def around(*hits: Hit, names: Sequence[str] = ()) -> Surroundings:
    """Return surroundings in which a search finds all hits, in their order."""
    return Surroundings(names, by_file(hits), lambda _: hits)


NOWHERE = around()


def spoken(words: str, start_s: float = 0.0, name: str = "walk.mp3") -> Hit:
    """Return speech with one word a second."""
    timed = tuple(Word(word, start_s + n, start_s + n + 1) for n, word in enumerate(words.split()))
    hit = speech(words, start_s, start_s + len(timed), name)
    return replace(hit, segment=replace(hit.segment, words=timed))


class TestAlteredWords:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_number_becomes_another_number(self, seed: int) -> None:
        altered = alter_number(claim("It eats 12 voles a day."), NOWHERE, Random(seed))
        number = altered.text.removeprefix("It eats ").removesuffix(" voles a day.")
        assert number.isdigit()
        assert number != "12"
        assert not number.startswith("0")

    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_time_of_day_stays_one(self, seed: int) -> None:
        altered = alter_number(claim("It is open until 17:30 on most days."), NOWHERE, Random(seed))
        hours, minutes = altered.text.split()[4].split(":")
        assert (int(hours) < 24, int(minutes) < 60) == (True, True)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("It weighs 5 kg.", "It weighs 5 g."),
            ("It lives 20 years.", "It lives 20 months."),
            ("It covers 5.3 million people.", "It covers 5.3 billion people."),
            ("Of all, 30 percent leave.", "Of all, 30 per mille leave."),
        ],
    )
    def test_an_amount_gets_another_unit(self, text: str, expected: str) -> None:
        assert alter_unit(claim(text), NOWHERE, Random(0)).text == expected

    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_year_moves_by_at_most_thirty(self, seed: int) -> None:
        altered = alter_date(claim("The nest was found in 1984."), NOWHERE, Random(seed))
        year = int(altered.text.removeprefix("The nest was found in ").rstrip("."))
        assert 0 < abs(year - 1984) <= 30

    def test_a_month_is_altered_where_no_year_stands(self) -> None:
        altered = alter_date(claim("It left on 14 March."), NOWHERE, Random(0))
        assert altered.text.startswith("It left on 14 ")
        assert "March" not in altered.text

    def test_a_name_becomes_one_that_the_passage_lacks(self) -> None:
        names = around(names=("Bob Ray", "Eve Moss"))
        altered = replace_name(claim("The nest was found by Ann Lee."), names, Random(0))
        assert altered.text == "The nest was found by Eve Moss."
        assert replace_name(claim("The nest was found by Ann Lee."), around(names=("Bob Ray",)), Random(0)) is None

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("The nest was found by Ann Lee.", "The nest was found by Bob Ray."),
            ("It was found in 1984.", "It was found in 1990."),
            ("It has 12 of them.", "It has 15 of them."),
        ],
    )
    def test_a_value_is_swapped_with_its_like_in_the_passage(self, text: str, expected: str) -> None:
        assert swap_within(claim(text), NOWHERE, Random(0)).text == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("The bird is large.", "The bird is not large."),
            ("The bird was not seen here.", "The bird was seen here."),
            ("It has no feathers.", "It has feathers."),
            ("It never sleeps.", "It sleeps."),
        ],
    )
    def test_a_denial_is_put_in_or_taken_out(self, text: str, expected: str) -> None:
        assert negate(claim(text), NOWHERE, Random(0)).text == expected

    @pytest.mark.parametrize(
        "text",
        [
            "Not only voles are eaten.",  # without "not" it says much the same
            "It does not mean that it is not insignificant.",  # two denials: one less may be as true
            "The bird may return.",  # "may not" is as true
            "It shows a steel can, and a bottle.",  # no verb
        ],
    )
    def test_what_a_denial_would_not_turn_is_left(self, text: str) -> None:
        assert negate(claim(text), NOWHERE, Random(0)) is None

    @pytest.mark.parametrize("change", [alter_number, alter_date, replace_name, swap_within])
    def test_what_the_question_says_is_not_altered(self, change) -> None:
        asked = claim("12, in 1984, by Ann Lee", question="Are there 12, in 1984, by Ann Lee?")
        assert change(asked, around(names=("Eve Moss",)), Random(0)) is None


class TestOtherPlaces:
    def test_the_nearest_passage_of_the_page_or_of_another_that_does_not_say_it(self) -> None:
        same = replace(
            passage("Kestrels eat voles."), segment=replace(passage("Kestrels eat voles.").segment, ordinal=9)
        )
        other = passage("A kestrel eats many voles a day.", page=2)
        says_it = passage("It eats 12 voles.", page=3)
        far = passage("Rain falls.", page=4)
        places = around(KESTREL, same, far, says_it, other)
        right = claim("The kestrel eats 12 voles a day.")
        assert cite_same_file(right, places, Random(0)).hit == same
        assert cite_other_page(right, places, Random(0)).hit == other
        assert cite_other_page(right, around(KESTREL, says_it), Random(0)) is None

    def test_the_first_place_in_another_file_that_lacks_a_value(self) -> None:
        says_it = passage("A kestrel eats 12 voles a day.", name="copy.pdf")
        lacks_it = passage("A heron eats 3 frogs a day.", name="heron.pdf")
        found = cite_other_file(claim("It eats 12 voles."), around(KESTREL, says_it, lacks_it), Random(0))
        assert found.hit == lacks_it

    def test_words_without_a_value_count_by_their_share(self) -> None:
        right = claim("kestrels hover above meadows before diving")
        says_it = passage("Before diving, kestrels hover above meadows.", name="copy.pdf")
        lacks_it = passage("Kestrels nest in towers.", name="towers.pdf")
        assert cite_other_file(right, around(says_it), Random(0)) is None
        assert cite_other_file(right, around(lacks_it), Random(0)).hit == lacks_it

    def test_a_photo_is_mistaken_for_one_without_its_tag(self) -> None:
        one, same, other = picture("a.jpg", "dog"), picture("b.jpg", "dog"), picture("c.jpg", "cat")
        right = claim("a.jpg shows a dog", one, "What does a.jpg show?", "dog")
        wrong = cite_other_picture(right, around(one, same, other), Random(0))
        assert (wrong.text, wrong.question, wrong.hit) == ("c.jpg shows a dog", "What does c.jpg show?", other)
        assert replace_tag(right, around(one, same, other), Random(0)).text == "a.jpg shows a cat"

    def test_a_picture_with_a_caption_is_mistaken_for_another(self) -> None:
        one, other = picture("a.jpg", caption="A map of 12 lakes"), picture("b.jpg", caption="A map of 9 lakes")
        assert cite_other_picture(claim("A map of 12 lakes", one), around(one, other), Random(0)).hit == other
        assert cite_other_file(claim("A map of 12 lakes", one), around(one, other), Random(0)) is None

    def test_a_cell_comes_from_another_row_of_its_column(self) -> None:
        right = claim("The weight of heron is 1500 g", TABLE, "What is the weight of heron?", "1500 g")
        found = {take_other_row(right, NOWHERE, Random(seed)).text for seed in SEEDS}
        assert found == {"The weight of heron is 200 g", "The weight of heron is 9 g"}


class TestShiftedTime:
    WORDS = " ".join(f"{n}lpha {n}ravo {n}harlie" for n in "abcdefghijklmnopqrst")

    @pytest.mark.parametrize("seed", SEEDS)
    def test_words_move_by_10_to_60_s_and_stay_in_the_recording(self, seed: int) -> None:
        hit = spoken(self.WORDS)
        moved = shift_time(claim("hlpha hravo hharlie", hit), around(hit), Random(seed)).hit.segment
        before, after = (next(w for w in words if w.text == "hravo") for words in (hit.segment.words, moved.words))
        assert 10 <= abs(after.start_s - before.start_s) <= 60
        assert moved.words[0].start_s >= 0
        assert moved.words[-1].end_s <= 60
        assert moved.locator == TimeSpan(moved.words[0].start_s, moved.words[-1].end_s)

    def test_a_short_recording_is_left(self) -> None:
        hit = spoken("one red kestrel hovers")
        assert shift_time(claim("one red kestrel hovers", hit), around(hit), Random(0)) is None

    def test_so_is_what_is_said_at_the_other_time_too(self) -> None:
        hit = spoken("kestrel hovers above meadow " * 20)
        assert shift_time(claim("kestrel hovers above meadow", hit), around(hit), Random(0)) is None


class TestClaims:
    def test_each_medium_gives_what_it_holds(self) -> None:
        hits = [
            passage("The kestrel eats 12 voles a day. Is it hungry for 12 more voles?"),
            TABLE,
            spoken("On Monday we saw seven kestrels hover.", name="a.mp3"),
            picture("sign.png", text="Kestrel Way 12\nxx ~~ ##", caption="A sign in the town of Ely with an arrow."),
            picture("dog.jpg", "dog"),
            picture("bare.jpg"),
        ]
        found = {(one.medium, one.text) for one in own_claims(hits, 5, seed=0)}
        cells = {text for medium, text in found if medium == "table"}
        assert len(cells) == 1
        assert cells <= {
            f"The weight of {bird} is {g} g" for bird, g in (("kestrel", 200), ("heron", 1500), ("wren", 9))
        }
        assert found - {("table", text) for text in cells} == {
            ("text", "The kestrel eats 12 voles a day."),
            ("speech", "On Monday we saw seven kestrels hover."),
            ("picture with text", "Kestrel Way 12"),
            ("captioned picture", "A sign in the town of Ely with an arrow."),
            ("photo", "dog.jpg shows a dog"),
        }

    def test_files_take_turns_and_the_seed_decides(self) -> None:
        hits = [passage(f"The bird number {n} eats {n} voles a day.", n, f"{n % 2}.pdf") for n in range(1, 21)]
        found = list(own_claims(hits, 4, seed=1))
        assert sorted(one.hit.path for one in found) == ["/media/0.pdf"] * 2 + ["/media/1.pdf"] * 2
        assert found == list(own_claims(hits, 4, seed=1))
        assert found != list(own_claims(hits, 4, seed=2))

    def test_rows_are_read_as_ingest_writes_them(self) -> None:
        assert table_rows("Birds\nname: Ann; at: 10: 30\nno row") == [{"name": "Ann", "at": "10: 30"}]

    def test_names_are_those_of_several_plain_words(self) -> None:
        assert names_of([KESTREL, passage("NASA and Mr X met Eve Moss at sea.")], 9, 0) == [
            "Ann Lee",
            "Bob Ray",
            "Eve Moss",
        ]

    @pytest.mark.parametrize(
        ("grade", "path", "expected"),
        [
            ("right", "/media/birds.pdf", ["It eats 12 voles"]),
            ("wrong", "/media/birds.pdf", []),
            ("right", "/media/x.pdf", []),
        ],
    )
    def test_answers_give_the_statements_that_hold_the_phrase(self, grade: str, path: str, expected: list[str]) -> None:
        text = "It eats 12 voles [E1]. It is a bird [E1]."
        cited = tuple(CitationRecord(*span, path, "page=1") for span in ((0, 21), (23, 40)))
        question = Question("What does it eat?", ("birds.pdf",), answer=("12 voles",))
        answer = GradedAnswer(question, AnswerRecord(question.question, text, citations=cited), grade)
        elsewhere = replace(KESTREL, path="/media/x.pdf")
        found = list(answer_claims([answer], [KESTREL, elsewhere]))
        assert [(one.question, one.text) for one in found] == [(question.question, one) for one in expected]


def test_the_same_seed_corrupts_alike() -> None:
    places = around(KESTREL, passage("A heron eats frogs.", page=2), names=("Eve Moss",))
    right = claim("The nest was found by Ann Lee in 1984.")
    assert corrupt(right, places, 3) == corrupt(right, places, 3)
    assert {"date altered", "name replaced", "negation", "another page"} <= corrupt(right, places, 3).keys()
    assert all(one.text != right.text or one.hit != right.hit for one in corrupt(right, places, 3).values())


def checked(kind: str, verdict: str, medium: str = "text") -> CheckedClaim:
    return CheckedClaim(medium, kind, "Why?", "<b>So</b>", "/media/a.pdf", "page=1", verdict, "")


def test_shares_are_counted_by_medium_and_kind() -> None:
    result = evaluate_checks(
        [
            *(checked("", name) for name in ("supported", "supported", "supported", "unchecked")),
            checked("negation", "supported"),
            checked("negation", "contradicted"),
            checked("another file", "unchecked"),
            checked("negation", "unsupported", "speech"),
        ]
    )
    rows = {(one.direction, one.slice, *one.metrics): one for one in result.rows}
    assert rows["text", "", "false alarms", "unchecked"].metrics["false alarms"].mean == 0.25
    assert rows["text", "negation", "caught", "unchecked"].metrics["caught"].mean == 0.5
    whole = rows["text", "", "caught", "unchecked"]
    assert (whole.queries, whole.metrics["caught"].mean, whole.metrics["unchecked"].mean) == (3, 2 / 3, 1 / 3)
    assert rows["speech", "negation", "caught", "unchecked"].metrics["caught"] == share(1, 1)
    html = page(result)
    assert "false alarms" in html
    assert "<b>So" not in html


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(40, 40, 0.912, 1.0), (0, 40, 0.0, 0.088), (81, 263, 0.255, 0.366)]
)
def test_the_interval_of_a_share_is_wilsons(hits: int, of: int, low: float, high: float) -> None:
    found = share(hits, of)  # 81 of 263: Newcombe 1998, table I
    assert (found.mean, round(found.low, 3), round(found.high, 3)) == (hits / of, low, high)


@pytest.mark.slow
def test_the_verifier_catches_what_is_altered_and_keeps_what_is_right() -> None:
    checker = Checker(Verifier(MiniLM(ensure("minilm", Settings().home), threads=2)))
    right = claim("The kestrel eats 12 voles a day.", question="What does the kestrel eat?")
    places = around(KESTREL, passage("A heron eats frogs in spring.", page=2), names=("Eve Moss",))
    verdicts = {one.kind: one.verdict for one in check_all(right, places, checker, 0)}
    assert verdicts.pop("") == "supported"
    assert {"number altered", "another page"} <= verdicts.keys()
    assert "supported" not in verdicts.values()


def test_a_knowledge_base_is_measured(demo_base: KnowledgeBase) -> None:
    done: list[tuple[str, int, int | None]] = []
    result = measure_checks(demo_base, [], 2, 0, lambda *step: done.append(step))
    media = {one.direction for one in result.rows}
    assert {"text", "speech", "captioned picture", "photo"} <= media
    right = [one for one in result.checked if not one.kind]
    assert len(done) == len(right) <= 2 * len(media)
    assert {one.kind for one in result.checked} <= {"", *KINDS}
    caught = [one.verdict != "supported" for one in result.checked if one.kind.startswith("another")]
    assert sum(caught) > 0.8 * len(caught)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["questions", "--corrupt"], 1, "--kb"),
        (["questions", "--corrupt", "--kb", "nowhere"], 1, "exhibit ingest"),
        (["questions", "--corrupt", "--answers"], 2, "--answers"),
        (["questions", "--corrupt", "--resume", "none.jsonl"], 1, "none.jsonl"),
    ],
)
def test_wrong_usage_names_the_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, expected: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["exhibit", "eval", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert expected in " ".join(capsys.readouterr().err.replace("│", " ").split())
