"""Questions: read, put to a knowledge base, written by a language model; and `exhibit eval` as people run it."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
from PIL import Image

from rag.cli.main import main
from rag.config import Settings
from rag.demo import questions
from rag.errors import DamagedMedia, LLMUnavailable, QueryError, SettingsError
from rag.evaluation.command import changed_settings
from rag.evaluation.labelled_questions import (
    CHOSEN,
    HALVES,
    SHIPPED,
    UNTOUCHED,
    Question,
    half,
    half_of,
    read_questions,
    shipped_questions,
)
from rag.evaluation.question_trials import channel_distributions, overlap, run_trials
from rag.evaluation.question_writer import QuestionWriter, by_turns, write_questions
from rag.evaluation.results import ChannelDistributions, EvalOptions, Trial
from rag.explanation import ChannelScore, Explanation
from rag.llm import LanguageModel
from rag.types import MODALITIES, Box, CharSpan, FrameRegion, Hit, ImageRegion, PageBox, TimeSpan
from tests.fakes.command import run_exhibit
from tests.fakes.hits import passage, picture, speech
from tests.fakes.llms import ScriptedModel, pictures_of

KESTREL = passage(
    "The kestrel hovers in the wind before it dives. It feeds mainly on voles, and nests in cliffs and on ledges of"
    " tall buildings, where it lays four eggs in spring."
)
HERON = speech("Look at the river, there is a heron standing in the shallow water near the bank.", 2, 9)
CANOE = picture("IMG_311.jpg", "canoe", "paddle")
FOLDER = {"KESTREL": KESTREL, "HERON": HERON, "CANOE": CANOE}


def test_a_question_is_read_and_a_malformed_one_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "Who?", "assets": ["a/b.pdf"]}\n\n{"question": "What?", "answerable": false}\n')
    assert [question.answerable for question in read_questions(file)] == [True, False]
    for line, expected in (
        ("nonsense", "JSON"),
        ('{"question": "Who?"}', "answerable"),
        ('{"question": " ", "assets": ["a"]}', "question"),
        ('{"question": "Who?", "asset": "a"}', "`question`"),
        ('{"question": "Who?", "assets": "a"}', "assets"),
        ('{"question": "Who?", "assets": ["a"], "reviewed": 1}', "reviewed"),
        ('{"question": "Who?", "assets": ["a"], "modality": "smell"}', "modality"),
        ('{"question": "Who?", "assets": ["a"], "half": "best"}', "half"),
    ):
        file.write_text('{"question": "Who?", "assets": ["a"]}\n' + line)
        with pytest.raises(QueryError, match=rf"\b2 of .*{expected}"):
            read_questions(file)
    file.write_text("\n")
    with pytest.raises(QueryError, match=r"q\.jsonl"):
        read_questions(file)


def test_the_shipped_questions_are_well_formed() -> None:
    asked = read_questions(SHIPPED)
    counts = Counter(question.answerable for question in asked)
    assert min(counts[True], counts[False]) >= 100
    assert all(question.kind and question.modality for question in asked)
    assert {asset.split("/")[0] for question in shipped_questions("anthropology/") for asset in question.assets} == {
        "anthropology"
    }


def test_no_file_is_asked_about_in_both_halves() -> None:
    asked = read_questions(SHIPPED)
    assert all(
        question.half == half_of(question.about or (*question.assets, question.question)[0]) for question in asked
    )
    named = {name: {part for q in half(asked, name) for part in (*q.assets, q.about) if part} for name in HALVES}
    assert named[CHOSEN] & named[UNTOUCHED] == set()
    with pytest.raises(QueryError):
        half(asked, "best")


@pytest.mark.parametrize("answerable", [True, False])
@pytest.mark.parametrize("modality", ["", *MODALITIES])
def test_each_half_holds_two_to_three_fifths(modality: str, answerable: bool) -> None:
    asked = [q for q in read_questions(SHIPPED) if q.answerable == answerable and modality in ("", q.modality)]
    smaller = min(len(half(asked, name)) for name in HALVES)
    assert 2 * len(asked) <= 5 * smaller + 4  # two questions more or less in a small group


def test_assets_are_whole_paths_or_their_ends() -> None:
    question = Question("Who?", ("b/c.pdf", "/x/y.jpg"))
    assert question.names("/a/b/c.pdf") == "b/c.pdf"
    assert question.names("/x/y.jpg") == "/x/y.jpg"
    assert question.names("/a/bb/c.pdf") is None
    assert question.names("") is None


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (CharSpan(0, 10), CharSpan(9, 20), True),
        (CharSpan(0, 10), CharSpan(10, 20), False),
        (PageBox(3), PageBox(3, Box(0, 0, 1, 0.1)), True),
        (PageBox(3), PageBox(4), False),
        (ImageRegion(Box(0, 0, 0.2, 0.2)), ImageRegion(Box(0.5, 0.5, 0.2, 0.2)), False),
        (TimeSpan(1, 4), FrameRegion(3.5), True),
        (TimeSpan(1, 4), FrameRegion(4), True),
        (TimeSpan(1, 4), FrameRegion(4.5), False),
        (FrameRegion(3), FrameRegion(3), True),
        (TimeSpan(1, 4), TimeSpan(3.9, 6), True),
        (TimeSpan(1, 4), TimeSpan(4, 6), False),
        (TimeSpan(1, 4), PageBox(1), False),
    ],
)
def test_places_overlap(a, b, same: bool) -> None:
    assert overlap(a, b) is overlap(b, a) is same


def of_the_demo(row: dict[str, Any]) -> Question:
    if not row["expect"]:
        return Question(row["question"], answerable=False)
    ((file, page),) = [(one["file"], one.get("page")) for one in row["expect"]]
    modality = {".pdf": "text", ".jpg": "image", ".m4a": "audio", ".mp4": "video"}[Path(file).suffix]
    return Question(row["question"], (file,), (f"#page={page}",) if page else (), modality)


def firsts(trial: Trial) -> dict[str, float]:
    """By medium, how many of its questions had a right file first."""
    found = Counter[str]()
    for one in trial.judged:
        found[one.query.slice] += one.scores["hit@1"]
    return dict(found)


@pytest.mark.language_model
def test_a_knowledge_base_is_measured_before_and_after_reranking_which_lowers_no_medium(demo_base) -> None:
    asked = [of_the_demo(row) for row in questions()]
    steps = []
    made, declined, channels = run_trials(
        demo_base, asked, "", EvalOptions(ks=(1, 3)), lambda *step: steps.append(step)
    )
    assert [(t.direction, len(t.judged)) for t in made] == [
        ("question>file", 5),
        ("question>place", 1),
        ("question>file, reranked", 5),
        ("question>place, reranked", 1),
    ]
    before, after = firsts(made[0]), firsts(made[2])
    assert set(before) == set(MODALITIES)
    assert all(after[medium] >= before[medium] for medium in before)
    assert sum(after.values()) >= 4
    assert [(row.slice, row.queries) for row in declined] == [("answerable", 5), ("unanswerable", 1)]
    assert declined[1].metrics["share"].mean == 1.0
    assert steps[-1] == ("reranking", 6, 6)
    (image,) = [channel for channel in channels if channel.channel == "image"]
    calibrated = demo_base._engine.retriever.calibrator.calibrate().channels
    assert image.middle == pytest.approx(calibrated["image"].middle)
    assert image.right


def test_channels_are_measured_by_their_best_score_of_a_right_file() -> None:
    first, again, other = (
        replace(hit, why=Explanation(1.0, (ChannelScore("text", 1, score), ChannelScore("bm25", 1, 10 * score))))
        for hit, score in ((KESTREL, 0.4), (KESTREL, 0.6), (HERON, 0.9))
    )
    asked = [Question("What hovers?", ("birds.pdf",)), Question("Who sings?", ("song.mp3",))]
    scores = channel_distributions(asked, [[first, other, again], [other]], {"text": [0.1, 0.2], "image": [0.3]})
    assert scores == [ChannelDistributions("text", [0.1, 0.2], [0.6])]


def test_a_search_is_as_deep_as_the_cut() -> None:
    class Wide:
        """Holds as many files as one asks for."""

        settings = Settings(rerank_top_n=0)

        @property
        def calibration(self) -> Self:
            return self

        def search(self, words: str, *, top_k: int) -> list[Hit]:
            return [replace(KESTREL, path=f"/media/{n}.md") for n in range(top_k)]

        def null_scores(self) -> dict[str, list[float]]:
            return {"text": [0.1]}

    made, _, _ = run_trials(Wide(), [Question("Who?", ("60.md",))], "", EvalOptions(ks=(1, 80)), lambda *_: None)
    assert made[0].judged[0].rank == 61


def test_only_misses_are_drawn_and_explained(tmp_path: Path) -> None:
    drawn = []

    class Album:
        """Finds the same photos for every question."""

        settings = Settings(rerank_top_n=0, data=tmp_path)

        @property
        def calibration(self) -> Self:
            return self

        @property
        def media(self) -> Self:
            return self

        def search(self, words: str, *, top_k: int) -> list[Hit]:
            ranked = [Explanation(1.0, (ChannelScore("image", n + 1, 0.5),)) for n in range(6)]
            return [replace(picture(f"{n}.jpg", "canoe"), why=why) for n, why in enumerate(ranked)]

        def null_scores(self) -> dict[str, list[float]]:
            return {}

        def thumbnail(self, hit: Hit) -> Path:
            drawn.append(hit.path)
            return Path(f"/small{hit.path}")

    asked = [Question("Who?", ("1.jpg",)), Question("Where?", ("4.jpg",))]
    (trial,), _, _ = run_trials(Album(), asked, "", EvalOptions(ks=(1, 2)), lambda *_: None)
    found, missed = trial.judged
    assert (found.rank, found.why, {one.path for one in found.ranking}) == (2, {}, {None})
    assert sorted(drawn) == [f"/media/{n}.jpg" for n in (0, 1, 2, 4)]
    assert [one.path for one in missed.expected] == [Path("/small/media/4.jpg")]
    assert missed.why["4.jpg"] == "image #5"
    assert len(missed.ranking) == 6


def test_unanswerable_questions_alone_measure_nothing(demo_base) -> None:
    with pytest.raises(QueryError):
        run_trials(demo_base, [Question("Who?", answerable=False)], "", EvalOptions(), lambda *_: None)


def test_changed_settings_are_parsed() -> None:
    assert changed_settings("siglip") == {"encoder": "siglip"}
    assert changed_settings("EXHIBIT_ENCODER=a/b, rerank_top_n=8") == {"encoder": "a/b", "rerank_top_n": "8"}
    for wrong in ("colour=blue", "encoder=", ""):
        with pytest.raises(SettingsError, match=re.escape(f"`{wrong}`")):
            changed_settings(wrong)


def wrote(prompt: str) -> str:
    """A question about whatever is shown, as a model that does its work would write it."""
    shown = prompt.rpartition("Exhibit: ")[2]
    question, answer = {
        "Passage": ("What does the kestrel mainly feed on?", "voles"),
        "Speech": ("Which bird stands in the shallow water?", "a heron"),
        "Picture": ("Which photo shows a canoe?", "canoe"),
    }[shown.split(",")[0]]
    return json.dumps({"question": question, "answer": answer})


def pixels(hit: Hit) -> Image.Image | None:
    if hit.path.endswith("gone.jpg"):
        raise DamagedMedia("gone.jpg has gone.")
    return Image.new("RGB", (8, 8)) if hit.picture_segment else None


def written(llm: ScriptedModel, out: Path, wanted: int = 3, hits: Iterable[Hit] = FOLDER.values()) -> list[Question]:
    return list(write_questions(hits, QuestionWriter(llm, lambda words: [KESTREL], pixels), out, wanted))


def test_questions_are_written_for_each_medium_by_turns(tmp_path: Path) -> None:
    out = tmp_path / "sets" / "q.jsonl"
    made = written(ScriptedModel(wrote, lambda prompt: 2.0), out)
    assert sorted(question.modality for question in made) == ["audio", "image", "text"]
    assert read_questions(out) == made
    (of_speech,) = [question for question in made if question.modality == "audio"]
    assert of_speech.assets == ("/media/walk.mp3",)
    assert of_speech.locators == ("#t=2.000,9.000",)
    assert not any(question.reviewed for question in made)


def test_segments_without_content_get_no_turn() -> None:
    hits = [passage(f"{KESTREL.segment.text} {n}", n) for n in range(5)]
    order = list(by_turns([*hits, HERON, CANOE, passage("Index", 99), picture("blank.jpg")]))
    assert {hit.segment.modality for hit in order[:3]} == {"text", "audio", "image"}
    assert len(order) == 7
    assert order == list(by_turns([CANOE, *reversed(hits), HERON]))


def test_a_model_that_sees_gets_pictures_without_words(tmp_path: Path) -> None:
    reply = '{"question": "Which photo shows a red kite?", "answer": "a red kite"}'
    hits = [picture("IMG_1.jpg"), picture("gone.jpg")]
    blind, seeing = (ScriptedModel(lambda _: reply, lambda _: 2.0, sees_images=sees) for sees in (False, True))
    assert written(blind, tmp_path / "none.jsonl", 2, hits) == []
    assert not blind.requests
    (made,) = written(seeing, tmp_path / "q.jsonl", 2, hits)
    assert (made.assets, made.answer) == (("/media/IMG_1.jpg",), ("a red kite",))
    assert [len(pictures_of(messages[-1])) for messages in seeing.requests] == [1, 1]  # to write, and to judge
    doubting = ScriptedModel(lambda _: reply, lambda _: -2.0, sees_images=True)
    assert written(doubting, tmp_path / "doubted.jsonl", 2, hits) == []


@pytest.mark.parametrize(
    "reply",
    [
        "no JSON",
        '{"question": "What does the kestrel eat?"}',
        '{"question": "The kestrel eats voles.", "answer": "voles"}',
        '{"question": "What does this passage say?", "answer": "voles"}',
        '{"question": "What does the kestrel eat?", "answer": "elephants and giraffes"}',
        '{"question": "What does the kestrel eat?", "answer": ""}',
    ],
)
def test_a_bad_reply_makes_no_question(tmp_path: Path, reply: str) -> None:
    assert written(ScriptedModel(lambda prompt: reply, lambda prompt: 2.0), tmp_path / "q.jsonl") == []


def test_a_question_that_its_evidence_does_not_answer_is_left_out(tmp_path: Path) -> None:
    assert written(ScriptedModel(wrote, lambda prompt: -2.0), tmp_path / "q.jsonl") == []


@pytest.mark.parametrize("gives_logprobs", [True, False])
def test_every_fifth_question_has_no_answer_in_the_collection(tmp_path: Path, gives_logprobs: bool) -> None:
    out = tmp_path / "q.jsonl"
    hits = [passage(f"{KESTREL.segment.text} {n}", n) for n in range(9)]

    def model(verdict: bool) -> ScriptedModel:
        def reply(prompt: str) -> str:
            asked = '{"question": "How old do kestrels get?", "answer": "not stated"}'
            return ("Yes" if verdict else "No") if prompt.endswith("Reply:") else asked

        return ScriptedModel(reply, lambda prompt: 1.0 if verdict else -1.0, gives_logprobs=gives_logprobs)

    assert written(model(True), out, 9, hits) == []
    (made,) = written(model(False), out, 9, hits)
    assert (made.answerable, made.assets, made.about != "") == (False, (), True)


def test_an_interrupted_run_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    out = tmp_path / "q.jsonl"
    replies = iter([True, False])

    def failing(prompt: str) -> str | Exception:
        return wrote(prompt) if next(replies) else LLMUnavailable("gone")

    with pytest.raises(LLMUnavailable):
        written(ScriptedModel(failing, lambda prompt: 2.0), out)
    assert len(read_questions(out)) == 1
    assert len(written(ScriptedModel(wrote, lambda prompt: 2.0), out)) == 2
    assert len({question.question for question in read_questions(out)}) == 3
    assert written(ScriptedModel(wrote, lambda prompt: 2.0), out) == []


def test_the_bundled_model_writes_questions_about_the_demo(demo_base, bundled: LanguageModel, tmp_path: Path) -> None:
    suborders = [hit for hit in demo_base.contents.segments() if "Strepsirrhini" in hit.segment.text]
    made = list(write_questions(suborders, QuestionWriter(bundled, demo_base.search), tmp_path / "q.jsonl", 1))
    assert made
    assert Path(*made[0].assets).is_file()
    assert made[0].answer[0]


def test_all_segments_of_a_knowledge_base_come_file_by_file(demo_base) -> None:
    hits = list(demo_base.contents.segments())
    assert len(hits) == sum(demo_base.status().segments.values())
    assert len({hit.path for hit in hits}) == 12
    assert [hit.path for hit in hits] == sorted(hit.path for hit in hits)


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with a knowledge base, questions to it, and data for a set."""
    desk = tmp_path_factory.mktemp("desk")
    (desk / "media").mkdir()
    (desk / "media" / "lamp.md").write_text("# The lamp\n\nThe lamp on the north pier burns whale oil.\n")
    (desk / "media" / "bread.md").write_text("# Bread\n\nKnead the dough, and let it rise for an hour.\n")
    done = run_exhibit("ingest", "media", cwd=desk)
    assert done.returncode == 0, done.stderr
    (desk / "q.jsonl").write_text(
        '{"question": "What does the lamp burn?", "assets": ["media/lamp.md"], "modality": "text", "reviewed": false}\n'
        '{"question": "How long does the dough rise?", "assets": ["bread.md"], "modality": "text"}\n'
    )
    images = desk / "data" / "flickr_dev" / "images"
    images.mkdir(parents=True)
    for name in ("red", "green"):
        Image.new("RGB", (40, 40), name).save(images / f"{name}.jpg")
    (images.parent / "captions.csv").write_text("image,caption\nred.jpg,a red wall\ngreen.jpg,a green lawn\n")
    return desk


def test_the_command_measures_encoders(desk: Path) -> None:
    done = run_exhibit(
        "eval", "flickr_dev", "--json", "--html", "page.html", "--k", "1,2", cwd=desk, EXHIBIT_DATA="data"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {row["direction"] for row in result["rows"]} == {"text>image", "image>text"}
    assert result["rows"][0]["metrics"]["recall@2"]["mean"] == 1.0
    assert "<h1><bdi>flickr_dev</bdi></h1>" in (desk / "page.html").read_text("utf-8")
    against = run_exhibit("eval", "flickr_dev", "--against", "threads=1", cwd=desk, EXHIBIT_DATA="data", COLUMNS="160")
    assert against.returncode == 0, against.stderr
    assert "text>image" in against.stdout
    assert "1.0000" in against.stdout  # the same encoder under two names does not differ


def test_the_command_measures_a_knowledge_base(desk: Path) -> None:
    done = run_exhibit("eval", "q.jsonl", "--kb", ".exhibit", "--json", cwd=desk, EXHIBIT_RERANK_TOP_N="0")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [(row["direction"], row["metrics"]["hit@1"]["mean"]) for row in result["rows"]] == [("question>file", 1.0)]
    assert result["notes"] == ["1 of 2 questions have not been reviewed by a person."]


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ([], 2, "SET"),
        (["flickr_dev", "--k", "5,1"], 2, "5,1"),
        (["flickr"], 1, "flickr_dev"),
        (["openstax"], 1, "EXHIBIT_DATA"),
        (["q.jsonl"], 1, "--kb"),
        (["missing.jsonl", "--kb", ".exhibit"], 1, "missing.jsonl"),
        (["--generate", "nowhere"], 1, "exhibit ingest"),
        (["flickr_dev", "--against", "encoder=nope"], 1, "nope"),
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
    monkeypatch.chdir(desk)
    monkeypatch.setenv("EXHIBIT_DATA", "data")
    monkeypatch.setattr(sys, "argv", ["exhibit", "eval", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert expected in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_the_sets_need_a_folder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("EXHIBIT_DATA", raising=False)
    for arguments, code in ((["--list"], 0), (["esc10"], 1)):
        monkeypatch.setattr(sys, "argv", ["exhibit", "eval", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        assert "EXHIBIT_DATA" in capsys.readouterr().err


def test_the_command_lists_the_sets(desk: Path) -> None:
    rows = json.loads(run_exhibit("eval", "--list", "--json", cwd=desk, EXHIBIT_DATA="data").stdout)
    states = {row["name"]: row["state"] for row in rows}
    assert states["flickr_dev"] == "ready"
    assert states["esc10"] == "missing"
