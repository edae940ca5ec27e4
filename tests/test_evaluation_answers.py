"""Answers as `exhibit eval --answers` asks, keeps, grades, compares and shows them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.answerer import GroundedAnswerer
from rag.cli.main import main
from rag.config import Settings
from rag.errors import LLMUnavailable, QueryError
from rag.evaluation.answer_metrics import (
    citation_precision,
    citation_recall,
    grade,
    holds,
    overlap_ratio,
    risk_curve,
)
from rag.evaluation.answer_results import JUDGED, evaluate_run
from rag.evaluation.answer_runs import (
    AnswerRecord,
    AnswerRun,
    CitationRecord,
    Judgement,
    RunHeader,
    read_judgements,
    read_run,
)
from rag.evaluation.answer_trials import ask_all, record
from rag.evaluation.graded_answers import ANSWERABLE, CITED, PLACES, SOURCES, TIMES, graded, measures
from rag.evaluation.labelled_questions import Question
from rag.evaluation.report_page import page
from rag.evaluation.results import Evaluation, ScoreRow
from rag.llm.usage import Usage
from rag.types import (
    Answer,
    Box,
    CharSpan,
    Citation,
    Evidence,
    FrameRegion,
    ImageRegion,
    PageBox,
    TimeSpan,
    Verdict,
)
from tests.fakes.hits import passage, picture, speech
from tests.fakes.llms import ScriptedModel

KESTREL = passage("The kestrel hovers before it dives. It feeds mainly on voles and lays four eggs.", relevance=1.0)
HERON = speech("Look at the river, there is a heron standing in the shallow water.", 2, 9)
WHAT = Question(
    "What does the kestrel eat?", ("birds.pdf",), ("#page=1",), "text", ("voles",), kind="what", half="chosen"
)
COUNT = Question("How many eggs does it lay?", ("birds.pdf",), (), "text", ("4",), kind="count", half="untouched")
NONE = Question("How old do kestrels get?", modality="text", answerable=False, about="birds.pdf", half="chosen")
HEADER = RunHeader({"top_k": 10}, "1.0", "abc")


class Birdwatcher:
    """A knowledge base of one passage, whose language model is scripted.

    Args:
        replies: what it writes, by a word of the question; an error is raised.
    """

    def __init__(self, **replies: str | Exception) -> None:
        self.asked: list[str] = []
        self._answerer = GroundedAnswerer(ScriptedModel(lambda prompt: self._reply(prompt, replies)))

    def load(self) -> None:
        """Do nothing: there is no model."""

    def ask(self, question: str) -> Answer:
        self.asked.append(question)
        *_, last = self._answerer.stream(question, [KESTREL])
        return last.answer

    @staticmethod
    def _reply(prompt: str, replies: dict[str, str | Exception]) -> str | Exception:
        return next((reply for word, reply in replies.items() if word in prompt.splitlines()[-1] or word in prompt), "")


REPLIES = {"many": "It lays four eggs [E1].", "old": "NOT FOUND", "kestrel": "It feeds on voles [E1]."}


def answered(
    text: str, *verdicts: str, confidence: float | None = None, seconds: float = 2.0, **others
) -> AnswerRecord:
    """An answer with a citation of the first page of birds.pdf for each verdict, all of one statement."""
    citations = tuple(CitationRecord(0, 9, "/media/birds.pdf", "page=1", verdict) for verdict in verdicts)
    made = AnswerRecord("", text, confidence=confidence, citations=citations, seconds={"total": seconds})
    return replace(made, **others)


def run_of(*pairs: tuple[Question, AnswerRecord]) -> AnswerRun:
    run = AnswerRun(HEADER)
    for question, given_answer in pairs:
        run.keep(replace(given_answer, question=question.question))
    return run


def row(result: Evaluation, direction: str, part: str = "") -> ScoreRow:
    (found,) = [one for one in result.rows if (one.direction, one.slice) == (direction, part)]
    return found


def mean(result: Evaluation, direction: str, metric: str, part: str = "") -> float:
    return row(result, direction, part).metrics[metric].mean


@pytest.mark.parametrize(
    ("text", "phrase", "held"),
    [
        ("He had three hundred keepers.", "300", True),
        ("He had 300 keepers.", "three hundred", True),
        ("There were 1,300 of them.", "300", False),
        ("Over a thousand signs.", "1,000", True),
        ("In the sixteenth century.", "16th century", True),
        ("In the 21st century.", "twenty-first century", True),
        ("It has twenty-two legs.", "two", False),
        ("It grew by 34 per cent.", "34%", True),
        ("It grew by 34%.", "34", True),
        ("A black‑and‑white film.", "black and white", True),
        ("The West–Eastern Divan Orchestra.", "west-eastern divan", True),
        ("Half of them left.", "half", True),
        ("A wrench.", "wren", False),
    ],
)
def test_phrases_and_numbers_are_found_however_they_are_written(text: str, phrase: str, held: bool) -> None:
    assert holds(text, [phrase]) is held


@pytest.mark.parametrize(
    ("labels", "text", "expected"),
    [
        (("yes",), "Yes, it does [E1].", "right"),
        (("yes",), "No, it does not [E1].", "wrong"),
        (("no", "black and white"), "Yes, it is black and white [E1].", "wrong"),
        (("no", "black and white"), "It is black and white [E1].", "right"),
        (("t-rex",), "Yes, a T. rex, or T-Rex, roars [E1].", "right"),
        (("t-rex",), "No T-Rex roars [E1].", "wrong"),
        (("yes",), "Nobody says yes [E1].", "right"),
    ],
)
def test_the_first_word_decides_between_yes_and_no(labels: tuple[str, ...], text: str, expected: str) -> None:
    question = Question("Is it?", ("a",), answer=labels, kind="yes_no")
    assert grade(question, text, is_declined=False) == expected


def test_grades() -> None:
    assert grade(WHAT, "It eats voles [E1].", is_declined=False) == "right"
    assert grade(WHAT, "It eats mice [E1].", is_declined=False) == "wrong"
    assert grade(WHAT, "The nearest: voles.", is_declined=True) == "declined"
    assert grade(WHAT, "It eats voles; how many is open.", is_declined=False, is_partial=True) == "right"
    assert grade(WHAT, "It hunts; what it eats is open.", is_declined=False, is_partial=True) == "partly"
    both = replace(WHAT, kind="several")
    assert grade(both, "It eats voles; where is open.", is_declined=False, is_partial=True) == "partly"
    assert grade(NONE, "Ten years [E1].", is_declined=False) == "wrong"
    assert grade(NONE, "", is_declined=True) == "declined"


@pytest.mark.parametrize(
    ("wanted", "cited", "ratio"),
    [
        (TimeSpan(0, 4), TimeSpan(2, 6), 1 / 3),
        (TimeSpan(0, 4), TimeSpan(4, 6), 0.0),
        (TimeSpan(0, 4), PageBox(1), 0.0),
        (CharSpan(0, 10), CharSpan(5, 10), 0.5),
        (PageBox(2, Box(0, 0, 0.5, 1)), PageBox(2, Box(0, 0, 1, 1)), 0.5),
        (PageBox(2, Box(0, 0, 0.5, 1)), PageBox(2), 0.5),
        (PageBox(2, Box(0, 0, 0.5, 1)), PageBox(3), 0.0),
        (ImageRegion(Box(0, 0, 0.2, 0.2)), ImageRegion(Box(0.1, 0, 0.2, 0.2)), 1 / 3),
        (PageBox(2), PageBox(2, Box(0, 0, 1, 1)), None),
        (ImageRegion(), ImageRegion(), None),
        (FrameRegion(2.0), FrameRegion(2.0), None),
    ],
)
def test_places_are_compared_by_what_they_share(wanted, cited, ratio: float | None) -> None:
    assert overlap_ratio(wanted, cited) == (None if ratio is None else pytest.approx(ratio))


BOXES = st.builds(Box, *[st.floats(0, 0.5)] * 2, *[st.floats(0.01, 0.5)] * 2)


@given(BOXES, BOXES)
def test_box_ratios_are_symmetric_and_one_only_of_equals(a: Box, b: Box) -> None:
    ratio = overlap_ratio(ImageRegion(a), ImageRegion(b))
    assert 0 <= ratio <= 1
    assert ratio == pytest.approx(overlap_ratio(ImageRegion(b), ImageRegion(a)))
    assert overlap_ratio(ImageRegion(a), ImageRegion(a)) == pytest.approx(1)


def test_a_statement_needs_one_citation_that_supports_it_and_each_citation_counts() -> None:
    spans, supported = [(0, 9), (0, 9), (10, 20)], [True, False, False]
    assert citation_recall(spans, supported) == 0.5
    assert citation_precision(supported) == pytest.approx(1 / 3)
    assert citation_recall([], []) == citation_precision([]) == 0.0


ANSWERS = st.lists(
    st.tuples(st.one_of(st.none(), st.sampled_from([0.1, 0.5, 0.9])), st.booleans()), min_size=1, max_size=9
)


@given(ANSWERS, st.randoms(use_true_random=False))
def test_a_risk_curve_ends_where_everything_is_answered_and_ignores_the_order(pairs, random) -> None:
    def curve(answers):
        confidences, wrong = zip(*answers, strict=True)
        return risk_curve("all", 10, confidences, wrong, clusters=[str(n) for n in range(len(answers))])

    made = curve(pairs)
    assert made.coverage[-1] == len(pairs) / 10
    assert made.risk[-1] == pytest.approx(sum(wrong for _, wrong in pairs) / len(pairs))
    assert list(made.coverage) == sorted(made.coverage)
    shuffled = random.sample(pairs, len(pairs))
    assert curve(shuffled).area.mean == pytest.approx(made.area.mean)
    assert curve(shuffled).risk == made.risk


def test_confidence_that_tells_right_from_wrong_lowers_the_area() -> None:
    wrong = [False] * 6 + [True] * 2
    areas = [
        risk_curve("", 10, confidences, wrong, clusters=list("abcdefgh")).area.mean
        for confidences in ([0.9] * 6 + [0.1] * 2, [0.5] * 8, [0.1] * 6 + [0.9] * 2)
    ]
    assert areas == sorted(areas)
    assert areas[1] == pytest.approx(0.25)  # the risk of all answers, if confidence says nothing
    best = risk_curve("", 10, [0.9] * 6 + [0.1] * 2, wrong, clusters=list("abcdefgh"))
    assert best.coverage_within(0.05) == 0.6
    assert best.area.low <= best.area.mean <= best.area.high
    with pytest.raises(ValueError, match="questions"):
        risk_curve("", 0, [1.0], [True], clusters=["a"])


def test_questions_are_asked_graded_and_their_cost_is_counted() -> None:
    run, steps = AnswerRun(HEADER), []
    base = Birdwatcher(**REPLIES)
    ask_all(base, [WHAT, COUNT, NONE], run, lambda *step: steps.append(step))
    assert [steps[0][1:], steps[-1][1:]] == [(0, 3), (3, 3)]
    assert [one.grade for one in graded([WHAT, COUNT, NONE], run)] == ["right", "right", "declined"]
    kept = run.records[WHAT.question]
    (citation,) = kept.citations
    assert (citation.path, citation.place, citation.verdict) == ("/media/birds.pdf", "page=1", "unchecked")
    assert kept.text[citation.start : citation.end].strip(" .") == "It feeds on voles"
    assert kept.tokens["completion"] > 0
    assert "generate" in kept.seconds


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file, questions = tmp_path / "runs" / "run.jsonl", [WHAT, COUNT, NONE]
    failing = Birdwatcher(**{**REPLIES, "many": LLMUnavailable("gone")})
    with pytest.raises(LLMUnavailable):
        ask_all(failing, questions, AnswerRun(HEADER, file), lambda *_: None)
    with file.open("a") as torn:
        torn.write('{"question": "How ma')
    assert set(read_run(file).records) == {WHAT.question}
    base = Birdwatcher(**REPLIES)
    ask_all(base, questions, AnswerRun(HEADER, file), lambda *_: None)
    assert base.asked == [COUNT.question, NONE.question]
    assert list(read_run(file).records) == [one.question for one in questions]
    assert read_run(file).header == HEADER
    with pytest.raises(QueryError, match="top_k 5 instead of 10"):
        AnswerRun(replace(HEADER, settings={"top_k": 5}), file)


def test_a_record_survives_the_file(tmp_path: Path) -> None:
    made = answered(
        "Voles.\u2028Mice.", "supported", confidence=0.5, tokens={"prompt": 3}, warnings=("slow",), question="Q?"
    )
    AnswerRun(HEADER, tmp_path / "run.jsonl").keep(made)
    assert read_run(tmp_path / "run.jsonl").records == {"Q?": made}


@pytest.mark.parametrize("content", ["", "{}\n", '{"format": 0}\n', "[]\n", '{"question": "Who?", "assets": ["a"]}\n'])
def test_another_file_is_no_run(tmp_path: Path, content: str) -> None:
    (tmp_path / "q.jsonl").write_text(content)
    with pytest.raises(QueryError, match=r"q\.jsonl"):
        read_run(tmp_path / "q.jsonl")
    with pytest.raises(QueryError, match=r"none\.jsonl"):
        read_run(tmp_path / "none.jsonl")


def test_a_header_names_what_repeats_its_run() -> None:
    plain, changed = RunHeader.of(Settings()), RunHeader.of(Settings(top_k=7, threads=3))
    assert plain.other_settings(changed) == ["top_k 7 instead of 10"]
    assert changed.variables == "EXHIBIT_TOP_K=7"
    assert RunHeader.of(Settings(ranking=[{"boost": 2}])).variables == """EXHIBIT_RANKING='[{"boost": 2}]'"""
    assert plain.code == changed.code
    assert "home" not in plain.settings


def test_an_answer_is_recorded_with_its_narrowed_places_and_least_support() -> None:
    hits = [KESTREL, HERON, picture("canoe.jpg", "canoe")]
    evidence = tuple(Evidence(n, hit) for n, hit in enumerate(hits, 1))
    verdicts = [Verdict("supported", support=0.9), Verdict("supported", support=0.7, locator=TimeSpan(3, 5)), Verdict()]
    citations = tuple(Citation(n, 0, 4, verdict) for n, verdict in enumerate(verdicts, 1))
    made = record("Q?", Answer("Q?", "Yes.", citations, evidence), Usage(9, 1, 2))
    assert [one.place for one in made.citations] == ["page=1", "t=3.000,5.000", ""]
    assert made.confidence == 0.7
    assert not made.is_partial
    assert record("Q?", Answer("Q?", "Yes.", citations, evidence, open_parts=("why",))).is_partial
    assert made.tokens == {"prompt": 9, "cached": 1, "completion": 2}
    assert record("Q?", Answer("Q?", "", declined=True), Usage(is_known=False)).tokens == {}


def one_measured(question: Question, given_answer: AnswerRecord) -> dict[str, dict[str, float]]:
    (one,) = graded([question], run_of((question, given_answer)))
    return measures(one)


def test_citations_are_measured_by_their_verdicts_and_by_the_labels() -> None:
    found = one_measured(WHAT, answered("Voles.", "supported", "unchecked"))
    assert found[CITED] == {"citation recall": 1.0, "citation precision": 0.5, "unchecked": 0.5}
    assert found[SOURCES] == {"right file": 1.0}
    assert found[PLACES] == {"right place": 1.0}
    assert found[ANSWERABLE]["right and cited"] == 1.0
    elsewhere = (CitationRecord(0, 5, "/media/birds.pdf", "page=2"), CitationRecord(0, 5, "/media/fish.pdf", "page=1"))
    found = one_measured(WHAT, answered("Voles.", citations=elsewhere))
    assert found[SOURCES] == {"right file": 0.5}
    assert found[PLACES] == {"right place": 0.0}
    assert found[ANSWERABLE]["right"] == 1.0
    assert found[ANSWERABLE]["right and cited"] == 0.0
    assert set(one_measured(NONE, answered("Ten.", "supported"))) == {"unanswerable", CITED}


def test_times_are_measured_by_the_best_citation_of_the_right_file() -> None:
    asked = Question("Where?", ("walk.mp3",), ("#t=2,6",), "audio", ("water",))
    citations = tuple(
        CitationRecord(0, 5, path, place)
        for path, place in (
            ("walk.mp3", "t=4.000,6.000"),
            ("walk.mp3", "t=8.000,9.000"),
            ("other.mp3", "t=2.000,6.000"),
        )
    )
    found = one_measured(asked, answered("In water.", citations=citations))
    assert found[TIMES] == {"IoU": 0.5}
    assert found[PLACES] == {"right place": pytest.approx(1 / 3)}


ASKED = [WHAT, COUNT, NONE]


def test_rows_tell_halves_apart_and_refusals_have_precision_and_recall() -> None:
    run = run_of(
        (WHAT, answered("Voles.", "supported", confidence=0.9)),
        (COUNT, answered("", is_declined=True)),
        (NONE, answered("", is_declined=True)),
    )
    result = evaluate_run("birds", ASKED, run)
    assert mean(result, "answerable", "right") == 0.5
    assert mean(result, "answerable", "right", "half chosen") == 1.0
    assert mean(result, "answerable", "declined", "half untouched") == 1.0
    assert mean(result, "answerable", "declined", "kind count") == 1.0
    assert mean(result, "unanswerable", "refusal recall") == 1.0
    assert mean(result, "declined", "refusal precision") == 0.5
    assert row(result, "declined").queries == 2
    assert result.answers.curves[0].coverage == (1 / 3,)
    assert [cost.name for cost in result.answers.costs] == ["total, s"]


def test_a_person_overrides_beside_the_labels(tmp_path: Path) -> None:
    file = tmp_path / "judged.jsonl"
    file.write_text(
        '{"question": "What does the kestrel eat?", "right": true, "supported": false, "note": "field voles"}\n'
        '{"question": "How many eggs does it lay?", "right": true, "text": "Five."}\n'
    )
    run = run_of((WHAT, answered("Microtus.", "supported")), (COUNT, answered("Six.", "unsupported")))
    result = evaluate_run("birds", [WHAT, COUNT], run, read_judgements(file))
    assert mean(result, "answerable", "right") == 0.0
    assert mean(result, f"answerable{JUDGED}", "right") == 0.5
    assert mean(result, CITED, "citation recall") == 0.5
    assert mean(result, f"{CITED}{JUDGED}", "citation recall") == 0.0
    assert result.answers.judged == 1  # the other judgement is of another text
    assert result.notes == ("A person has judged 1 answers; the labels give the same grade for 0 of 1.",)
    assert [curve.name for curve in result.answers.curves][:1] == ["all"]


@pytest.mark.parametrize(
    "line", ['{"right": true}', '{"question": "Q?", "right": "good"}', '{"question": "Q?", "supported": 2}', "[]"]
)
def test_a_malformed_judgement_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "j.jsonl").write_text('{"question": "Q?", "right": "partly"}\n' + line)
    with pytest.raises(QueryError, match=r"Line 2 of .*j\.jsonl"):
        read_judgements(tmp_path / "j.jsonl")


def many(n: int, texts: Sequence[str]) -> list[tuple[Question, AnswerRecord]]:
    asked = [Question(f"Number {i}?", (f"{i}.md",), answer=("right",), half="chosen") for i in range(n)]
    return [
        (q, answered(text, "supported", seconds=float(i % 3)))
        for i, (q, text) in enumerate(zip(asked, texts, strict=True))
    ]


def test_two_runs_are_compared_question_by_question() -> None:
    before, after = many(12, ["wrong"] * 9 + ["right"] * 3), many(12, ["right"] * 12)
    questions = [question for question, _ in after]
    result = evaluate_run("set", questions, run_of(*after), earlier=run_of(*before))
    (found,) = [
        one for one in result.differences if (one.direction, one.metric, one.slice) == ("answerable", "right", "")
    ]
    assert (found.a, found.b, found.gain.mean) == (0.25, 1.0, 0.75)
    assert found.p_value < 0.05
    assert "12 questions are compared" in result.notes[-1]
    same = evaluate_run("set", questions, run_of(*after), earlier=run_of(*after))
    assert {one.p_value for one in same.differences} == {1.0}
    with pytest.raises(QueryError):
        evaluate_run("set", questions, run_of(*after), earlier=run_of((NONE, answered("", is_declined=True))))


def test_the_page_shows_curves_samples_and_verdicts_and_escapes_them() -> None:
    run = run_of(
        (WHAT, answered("<script>mice</script>", "contradicted", confidence=0.3)),
        (COUNT, answered("Four eggs.", "supported", confidence=0.8)),
        (NONE, answered("", is_declined=True)),
    )
    html = page(evaluate_run("birds", ASKED, run, earlier=run))
    assert "<script" not in html
    assert "&lt;script&gt;mice" in html
    assert html.count("<polyline") >= 2
    for words in ("Answered wrongly: 1", "Answered right: 1", "birds.pdf#page=1 · contradicted", "AURC", "total, s"):
        assert words in html
    assert not re.findall(r'(?:src|href)="(?!data:)', html)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with questions and a finished run of the present settings."""
    lines = [
        '{"question": "What does the kestrel eat?", "assets": ["birds.pdf"], "answer": ["voles"], "half": "chosen"}',
        '{"question": "How old do kestrels get?", "answerable": false, "half": "untouched"}',
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    run = AnswerRun(RunHeader.of(Settings()), tmp_path / "run.jsonl")
    run.keep(replace(answered("It eats voles.", "supported", confidence=0.9), question=WHAT.question))
    run.keep(replace(answered("", is_declined=True), question=NONE.question))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_eval(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["exhibit", "eval", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_the_command_reports_a_finished_run_without_a_knowledge_base(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("q.jsonl", "--answers", "--resume", "run.jsonl", "--against", "run.jsonl", "--html", "page.html")
    assert run_eval(monkeypatch, *arguments, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    rows = {(one["direction"], one["slice"]): one for one in result["rows"]}
    assert rows["answerable", ""]["metrics"]["right"]["mean"] == 1.0
    assert result["answers"]["graded"][0]["grade"] == "right"
    assert result["differences"]
    assert "Coverage and risk" in (desk / "page.html").read_text("utf-8")
    monkeypatch.setenv("COLUMNS", "160")
    assert run_eval(monkeypatch, *arguments, "--half", "chosen") == 0
    printed = capsys.readouterr().out
    assert "citation recall" in printed
    assert "unanswerable" not in printed


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["q.jsonl", "--answers"], 1, "--kb"),
        (["q.jsonl", "--answers", "--kb", "nowhere"], 1, "exhibit ingest"),
        (["q.jsonl", "--answers", "--resume", "q.jsonl"], 1, "q.jsonl"),
        (["q.jsonl", "--answers", "--resume", "run.jsonl", "--against", "top_k=5"], 1, "top_k=5"),
        (["q.jsonl", "--answers", "--resume", "run.jsonl", "--judged", "none.jsonl"], 1, "none.jsonl"),
        (["q.jsonl", "--answers", "--half", "best"], 1, "untouched"),
        (["q.jsonl", "--half", "chosen"], 2, "--answers"),
    ],
)
def test_wrong_usage_names_the_mistake(
    desk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    expected: str,
) -> None:
    assert run_eval(monkeypatch, *arguments) == code
    assert expected in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_judgement_can_be_partial() -> None:
    run = run_of((WHAT, answered("Voles, perhaps.", "supported")))
    (one,) = graded([WHAT], run, {WHAT.question: Judgement("partly")})
    assert (one.grade, one.final_grade) == ("right", "partly")


def test_a_question_without_phrases_is_graded_by_a_person_alone() -> None:
    bare = replace(WHAT, answer=())
    run = run_of((bare, answered("Voles.", "supported")), (COUNT, answered("Four.", "supported")))
    result = evaluate_run("birds", [bare, COUNT], run, {bare.question: Judgement("wrong")})
    assert row(result, ANSWERABLE).queries == 1
    assert row(result, f"{ANSWERABLE}{JUDGED}").queries == 2
    assert mean(result, f"{ANSWERABLE}{JUDGED}", "wrong") == 0.5
    assert row(result, CITED).queries == 2
    assert result.answers.curves[0].asked == 1
    assert result.notes[0] == "1 answers to questions without phrases are not graded."
