"""Which verdict a statement gets from the place that it cites, with the real verifier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rag.config import Settings
from rag.encoders.minilm import MiniLM
from rag.models import ensure
from rag.types import CharSpan, Hit, Word
from rag.verification.checker import Checker
from rag.verification.rereading import Rereader
from rag.verification.verifier import EvidencePassage, Verifier
from tests.fakes.hits import passage, picture, speech

VOLES = (
    "The kestrel hovers in the wind before it dives. It feeds on 12 voles a day. Its nest was found by Ann Lee in 1984."
)
EATS = "How many voles does the kestrel eat a day?"


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier(MiniLM(ensure("minilm", Settings().home), threads=2))


@pytest.fixture(scope="module")
def checker(verifier: Verifier) -> Checker:
    return Checker(verifier)


class TestWords:
    def test_what_a_passage_says_is_supported_by_its_sentence(self, checker: Checker) -> None:
        verdict = checker.verdict(EATS, "The kestrel feeds on 12 voles a day", passage(VOLES))
        assert verdict.name == "supported"
        assert "12 voles" in verdict.quote
        assert verdict.support > 0.4

    @pytest.mark.parametrize(
        ("question", "statement"),
        [
            (EATS, "The kestrel feeds on 120 voles a day"),
            (EATS, "It eats 21 voles"),
            ("When was the nest found?", "The nest was found in 1948"),
            ("Who found the nest?", "The nest was found by Ann Mee"),
            ("Who found the nest?", "The nest was found by Bob Lee"),
            (EATS, "The kestrel does not feed on 12 voles a day"),
        ],
    )
    def test_an_altered_value_or_denial_is_not(self, checker: Checker, question: str, statement: str) -> None:
        verdict = checker.verdict(question, statement, passage(VOLES))
        assert verdict.name in ("unsupported", "contradicted")
        assert verdict.reason

    def test_another_subject_is_not(self, checker: Checker) -> None:
        lakes = passage("The lake is eleven metres deep. Boats cross it every hour in summer.", name="lakes.pdf")
        assert checker.verdict("What does the kestrel eat?", "The kestrel eats voles", lakes).name == "unsupported"

    @pytest.mark.parametrize(
        ("statement", "words"),
        [
            ("The weight of the heron is 1500 g", "bird: heron; weight: 9 g\nbird: wren; weight: 1500 g"),
            (
                "The nest was found in the tower by Ann Lee",
                "The nest was found in the tower by Bob Ray. Ann Lee wrote a book on herons.",
            ),
        ],
    )
    def test_a_value_from_elsewhere_in_the_passage_contradicts(
        self, checker: Checker, statement: str, words: str
    ) -> None:
        assert checker.verdict("", statement, passage(words)).name == "contradicted"

    def test_a_bare_value_is_supported_where_it_answers(self, checker: Checker) -> None:
        assert checker.verdict(EATS, "12", passage(VOLES)).name == "supported"
        assert checker.verdict("When was the nest found?", "1984", passage(VOLES)).name == "supported"

    def test_characters_are_narrowed_to_the_sentences(self, checker: Checker) -> None:
        text = "It rains. " * 5 + VOLES
        hit = passage(text)
        hit = replace(hit, segment=replace(hit.segment, locator=CharSpan(100, 100 + len(text))))
        verdict = checker.verdict(EATS, "The kestrel feeds on 12 voles a day", hit)
        assert isinstance(verdict.locator, CharSpan)
        assert "12 voles" in text[verdict.locator.start - 100 : verdict.locator.end - 100]
        assert verdict.locator.end - verdict.locator.start < len(text)

    def test_without_a_verifier_nothing_is_supported(self) -> None:
        verdict = Checker(None).verdict(EATS, "12 voles", passage(VOLES))
        assert (verdict.name, verdict.reason) == ("unchecked", "The verifier is not installed.")

    def test_the_dial_moves_what_counts_as_supported(self, verifier: Verifier) -> None:
        strict, bold = Checker(verifier, least_support=1.0), Checker(verifier, least_support=0.0)
        statement = "The kestrel, which hovers in the wind before it dives, feeds on 12 voles a day"
        assert strict.verdict(EATS, statement, passage(VOLES)).name == "unsupported"
        assert bold.verdict(EATS, statement, passage(VOLES)).name == "supported"


class TestPictures:
    APE = picture("ape.jpg", "orangutan", "tree")

    def test_tags_support_what_they_name(self, checker: Checker) -> None:
        verdict = checker.verdict("Which photo shows an orangutan?", "ape.jpg shows an orangutan", self.APE)
        assert (verdict.name, verdict.reason) == ("supported", "Tagged orangutan.")

    @pytest.mark.parametrize(
        ("question", "statement", "name"),
        [
            ("Which photo shows an old orangutan?", "ape.jpg shows an old orangutan", "unchecked"),
            ("Which photo shows a tiger?", "ape.jpg shows a tiger", "unchecked"),
            ("What colour is the ape in the photo?", "The ape in the photo is red", "unsupported"),
            ("Which photo shows a tiger?", "IMG_311.jpg shows a tiger", "unsupported"),
            ("What do orangutans eat?", "They eat fruit", "unsupported"),
            ("Is there a photo of a tiger?", "No, ape.jpg shows a tree", "unsupported"),
        ],
    )
    def test_pixels_support_nothing_else(self, checker: Checker, question: str, statement: str, name: str) -> None:
        verdict = checker.verdict(question, statement, self.APE)
        assert verdict.name == name
        assert verdict.reason

    def test_seconds_of_a_film_are_no_claim_about_what_it_shows(self, checker: Checker) -> None:
        verdict = checker.verdict("Where in the film is a bee?", "The bee is on screen at 0:32", picture("film.mp4"))
        assert verdict.name == "unchecked"

    def test_text_in_a_picture_is_read(self, checker: Checker) -> None:
        sign = picture("sign.jpg", text="Please keep 6 feet apart")
        asked = "How far apart should visitors keep, says the sign?"
        assert checker.verdict(asked, "They should keep 6 feet apart", sign).name == "supported"
        assert checker.verdict(asked, "They should keep 8 feet apart", sign).name != "supported"


class ScriptedReader(Rereader):
    """Hears and reads again what it was given."""

    def __init__(self, *, words: str = "", lines: str = "") -> None:
        super().__init__(Settings())
        self._words, self._lines = words, lines

    def hear(self, path, asset_id, span, *, language="", hearing="no beam"):  # type: ignore[no-untyped-def]
        texts = self._words.split()
        step = (span.end_s - span.start_s) / max(len(texts), 1)
        return tuple(Word(t, span.start_s + n * step, span.start_s + (n + 1) * step) for n, t in enumerate(texts))


@contextmanager
def reading(verifier: Verifier, **script: str) -> Iterator[Checker]:
    checker = Checker(verifier, ScriptedReader(**script))
    yield checker
    checker.close()


class TestSecondReading:
    SAID = "The kestrel feeds on twelve voles a day"

    def said(self) -> Hit:
        hit = speech(self.SAID, 0.0, 8.0)
        words = tuple(Word(word, float(n), n + 1.0) for n, word in enumerate(self.SAID.split()))
        return replace(hit, segment=replace(hit.segment, words=words, meta={"language": "en"}))

    def test_what_is_heard_again_stays_supported(self, verifier: Verifier) -> None:
        with reading(verifier, words=self.SAID) as checker:
            assert checker.confirmed(EATS, "It feeds on twelve voles", self.said()).name == "supported"

    def test_a_number_that_sounds_otherwise_is_doubtful(self, verifier: Verifier) -> None:
        with reading(verifier, words=self.SAID.replace("twelve", "eleven")) as checker:
            verdict = checker.confirmed(EATS, "It feeds on twelve voles", self.said())
        assert verdict.name in ("unchecked", "unsupported")
        assert "twelve" in verdict.reason or "does not say" in verdict.reason

    def test_a_place_that_says_something_else_supports_nothing(self, verifier: Verifier) -> None:
        with reading(verifier, words="look at the river over there") as checker:
            assert checker.confirmed(EATS, "It feeds on twelve voles", self.said()).name == "unsupported"

    def test_a_file_that_has_gone_confirms_nothing(self, verifier: Verifier, tmp_path: Path) -> None:
        checker = Checker(verifier, Rereader(Settings()))
        gone = replace(self.said(), path=str(tmp_path / "gone.mp3"))
        verdict = checker.confirmed(EATS, "It feeds on twelve voles", gone)
        checker.close()
        assert verdict.name == "unchecked"
        assert "could not be read again" in verdict.reason


class TestVerifier:
    RIGHT = EvidencePassage(VOLES, "Birds")
    WRONG = EvidencePassage("The lake is eleven metres deep. Boats cross it every hour.", "Lakes")

    def test_what_answers_is_above_what_does_not(self, verifier: Verifier) -> None:
        right, wrong = verifier.relevance("What does the kestrel eat?", [self.RIGHT, self.WRONG])
        assert right.log_odds > wrong.log_odds + 2
        right, wrong = verifier.support("What does the kestrel eat?", "It eats voles", [self.RIGHT, self.WRONG])
        assert right.probability > wrong.probability

    @pytest.mark.parametrize("text", ["", " ", "a", "?!", "日本語のテキスト", "word " * 3000, "x" * 5000])
    def test_any_text_is_judged(self, verifier: Verifier, text: str) -> None:
        for judged in (
            *verifier.relevance(text, [EvidencePassage(text), self.RIGHT]),
            *verifier.support(text, text, [EvidencePassage(text), self.RIGHT]),
        ):
            assert 0.0 <= judged.probability <= 1.0
            assert 0 <= judged.window.start <= judged.window.end

    def test_no_passages_give_no_judgements(self, verifier: Verifier) -> None:
        assert verifier.relevance("What?", []) == []
        assert verifier.support("What?", "That.", []) == []

    def test_judging_again_gives_the_same(self, verifier: Verifier) -> None:
        first = verifier.relevance(EATS, [self.RIGHT, self.WRONG])
        assert verifier.relevance(EATS, [self.WRONG, self.RIGHT]) == first[::-1]
