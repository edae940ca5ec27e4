"""Sets read from a made-up data folder, encoders measured on them, the results as a table's columns and as a page."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rag.cli import output
from rag.config import Settings
from rag.encoders.base import Vectors
from rag.errors import QueryError, SettingsError
from rag.evaluation import cached_vectors, datasets
from rag.evaluation.cached_vectors import Embedder, EncoderSet, load_encoders
from rag.evaluation.datasets import load, to_questions
from rag.evaluation.encoder_trials import evaluate
from rag.evaluation.metrics import Estimate, scores
from rag.evaluation.report_page import columns, page
from rag.evaluation.results import (
    ChannelDistributions,
    EvalOptions,
    Evaluation,
    JudgedQuery,
    ScoreRow,
    Trial,
    kind_gaps,
    rows,
)
from rag.evaluation.retrieval_sets import Direction, EvaluationSet, Item
from tests.fakes.encoders import HashingEncoder, HashingTextEncoder, PitchEncoder
from tests.fakes.media import JFK, noise, tone, write_audio
from tests.fakes.shared_data import SHARED_DATA

COLOURS = ("red", "green", "blue", "yellow")
OPTIONS = EvalOptions(ks=(1, 3))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", data=tmp_path / "data")


@pytest.fixture
def encoders() -> EncoderSet:
    text = HashingTextEncoder()
    return EncoderSet(text, HashingEncoder(text), PitchEncoder(), transcriber="fake")


class Deaf(HashingEncoder):
    """Takes every question for the same one."""

    def embed_query(self, text: str) -> Vectors:
        return super().embed_query("nothing")


def write_flickr(data: Path) -> Path:
    folder = data / "flickr_dev"
    (folder / "images").mkdir(parents=True)
    rows = ["image,caption"]
    for colour in COLOURS:
        Image.new("RGB", (48, 32), colour).save(folder / "images" / f"{colour}.jpg")
        rows += [f"{colour}.jpg,{caption}" for caption in (colour, f'"a {colour}, {colour} picture"')]
    (folder / "captions.csv").write_text("\n".join(rows), "utf-8")
    return folder


def write_spoken(data: Path) -> None:
    folder = write_flickr(data)
    (folder / "spoken").mkdir()
    for n, colour in enumerate(COLOURS, 1):
        write_audio(folder / "spoken" / f"{colour}.mp3", tone(n + 0.5), codec="mp3")
        (folder / "spoken" / f"{colour}.txt").write_text(f"{colour}\n")


def write_openstax(data: Path) -> None:
    folder = data / "openstax_pairs"
    folder.mkdir(parents=True)
    rows = []
    with tarfile.open(folder / "photo-000.tar", "w") as archive:
        for n, colour in enumerate(COLOURS):
            content = io.BytesIO()
            Image.new("RGB", (30, 20), colour).save(content, "PNG")
            member = tarfile.TarInfo(f"images/{colour}.png")
            member.size = content.tell()
            content.seek(0)
            archive.addfile(member, content)
            row = {"id": colour, "path": member.name, "shard": "photo-000.tar", "kind": "map" if n == 1 else "photo"}
            row |= {"alt": colour, "caption": colour * (n > 0)}
            rows.append(row | {"module_id": "m58787" if n == 3 else "m90490"})  # the first is of a training module
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))


def write_esc10(data: Path) -> None:
    for name, hertz in (("001 - Low hum", 100.0), ("002 - High whistle", 3000.0)):
        (data / "esc10" / name).mkdir(parents=True)
        for n in range(3):
            write_audio(data / "esc10" / name / f"{n}.ogg", tone(1, hertz) + noise(1, 0.01), codec="libopus")


def mean(evaluation, direction, metric, variant="", part=""):
    rows = [r for r in evaluation.rows if (r.direction, r.variant, r.slice) == (direction, variant, part)]
    (row,) = rows
    return row.metrics[metric].mean


def test_photos_and_captions_find_each_other(settings, encoders) -> None:
    write_flickr(settings.data)
    chosen = load("flickr_dev", settings)
    sizes = {d.name: (len(d.queries), len(d.items)) for d in chosen.directions}
    assert sizes == {"text>image": (8, 4), "image>text": (4, 8)}
    result = evaluate(chosen, {"": encoders}, OPTIONS)
    assert mean(result, "text>image", "recall@1") == 1.0
    assert mean(result, "image>text", "recall@1") == 0.5  # one of two captions
    assert mean(result, "image>text", "hit@1") == 1.0
    assert mean(result, "image>text", "recall@3") > 0.8
    assert result.configuration["joint"] == "hashing 1"
    assert columns(result) == ["hit@1", "hit@3", "recall@3", "ndcg@3", "mrr"]


def test_a_limit_takes_queries_from_all_parts_and_leaves_the_items(settings) -> None:
    write_flickr(settings.data)
    direction = load("flickr_dev", settings, limit=4).directions[0]
    assert [query.text for query in direction.queries] == list(COLOURS)
    assert len(direction.items) == 4


def test_figures_are_read_out_of_tar_files_and_counted_by_kind(settings, encoders) -> None:
    write_openstax(settings.data)
    result = evaluate(load("openstax", settings), {"": encoders}, OPTIONS)
    sizes = {(row.direction, row.slice): row.queries for row in result.rows}
    assert sizes[("alt>figure", "")] == 3  # the fourth is of a module for training
    assert sizes[("alt>figure", "map")] == 1
    assert sizes[("caption>figure", "")] == 2
    assert mean(result, "figure>alt", "recall@1") == mean(result, "alt>figure", "mrr", part="photo") == 1.0
    assert columns(result) == ["recall@1", "recall@3", "ndcg@3", "mrr"]
    poor = evaluate(load("openstax", settings), {"": replace(encoders, dual=Deaf())}, OPTIONS).rows[0].metrics["mrr"]
    assert poor.low == poor.high < 1.0  # all figures are of one module, which leaves nothing to resample


def test_sounds_by_name_and_by_their_like_but_never_by_themselves(settings, encoders) -> None:
    write_esc10(settings.data)
    chosen = load("esc10", settings)
    result = evaluate(chosen, {"": encoders}, replace(OPTIONS, robust=True))
    assert mean(result, "name>sound", "hit@1") == 1.0
    assert mean(result, "sound>sound", "recall@3") == 1.0  # two others of the class, the sound itself left out
    variants = {(row.direction, row.variant) for row in result.rows}
    assert {name for direction, name in variants if direction == "sound>sound"} == {"", "noise, 10 dB"}
    assert {name for direction, name in variants if direction == "name>sound"} == {
        "", "typos", "vague wording", "ambiguous wording", "noise, 10 dB",
    }  # fmt: skip


def test_sounds_need_an_audio_encoder(settings, encoders) -> None:
    write_esc10(settings.data)
    with pytest.raises(SettingsError):
        evaluate(load("esc10", settings), {"": replace(encoders, audio=None)}, OPTIONS)


def test_speech_is_transcribed_once_and_found_by_its_words(settings, encoders) -> None:
    write_spoken(settings.data)
    heard = []

    def hear(samples: np.ndarray) -> str:
        heard.append(len(samples))
        return COLOURS[len(samples) // 16_000 - 1]

    listening = replace(encoders, transcribe=hear)
    chosen = load("speech", settings)
    assert [len(direction.queries) for direction in chosen.directions] == [4, 4]
    for _ in range(2):
        result = evaluate(chosen, {"": listening}, OPTIONS, cache=settings.home)
        assert mean(result, "words>speech", "recall@1") == mean(result, "paraphrase>speech", "recall@1") == 1.0
    assert len(heard) == 4
    spoken = load("flickr_spoken", settings)
    assert mean(evaluate(spoken, {"": listening}, OPTIONS, cache=settings.home), "speech>image", "recall@1") == 1.0
    assert len(heard) == 4  # what was heard is kept for other sets too


def test_robustness_changes_one_medium_at_a_time(settings, encoders) -> None:
    write_flickr(settings.data)
    result = evaluate(load("flickr_dev", settings), {"": encoders}, replace(OPTIONS, robust=True))
    variants = {(row.direction, row.variant) for row in result.rows}
    assert {name for direction, name in variants if direction == "text>image"} == {
        "", "typos", "vague wording", "ambiguous wording", "blur", "occlusion",
    }  # fmt: skip
    assert {name for direction, name in variants if direction == "image>text"} == {"", "blur", "occlusion"}
    assert mean(result, "text>image", "recall@1", "vague wording") < 1.0  # without colours nothing is left
    assert mean(result, "text>image", "recall@1", "blur") == 1.0


def test_vectors_are_cached_until_words_encoder_or_recipe_change(settings, encoders, monkeypatch) -> None:
    asked = []
    things = [Item("a", "text", "red"), Item("b", "text", "blue")]

    def embedded(these, encoders=encoders):
        return Embedder(encoders, settings.home, lambda *_: asked.append(1)).vectors(these, "joint", "query")

    first = embedded(things)
    steps = len(asked)
    assert np.array_equal(embedded(things), first)
    assert len(asked) == steps
    embedded([things[0], replace(things[1], text="green")])
    other = HashingTextEncoder(name="other")
    embedded(things, EncoderSet(other, HashingEncoder(other)))
    assert len(asked) == 3 * steps
    monkeypatch.setattr(cached_vectors, "_RECIPE", "another")
    embedded(things)
    assert len(asked) == 4 * steps
    assert not [path for path in settings.home.iterdir() if path.suffix != ".npy"]


def test_a_module_counts_once_at_its_best_passage(encoders) -> None:
    items = [Item(f"{m}:{n}", "text", text, family=m) for m, n, text in (
        ("a", 0, "red red"), ("a", 1, "red green"), ("b", 0, "blue"), ("c", 0, "green yellow"),
    )]  # fmt: skip
    direction = Direction(
        "question>passage", "text", [Item("q", "text", "green")], items, {"q": frozenset({"a"})}, by_family=True
    )
    result = evaluate(EvaluationSet("x", "", [direction]), {"": encoders}, OPTIONS)
    (row,) = result.rows
    assert row.metrics["recall@3"].mean == 1.0
    assert row.metrics["ndcg@3"].mean > 0.5


def test_right_items_count_at_any_depth(encoders) -> None:
    items = [Item(f"{n:04}", "text", "red") for n in range(1200)]
    direction = Direction("words>words", "text", [Item("q", "text", "red")], items, {"q": frozenset({"1150"})})
    result = evaluate(EvaluationSet("x", "", [direction]), {"": encoders}, EvalOptions(ks=(1, 1200)))
    assert mean(result, "words>words", "recall@1200") == 1.0


def test_a_comparison_pairs_the_same_queries(settings, encoders) -> None:
    write_flickr(settings.data)
    result = evaluate(load("flickr_dev", settings), {"A": replace(encoders, dual=Deaf()), "B": encoders}, OPTIONS)
    (gain,) = [d for d in result.differences if (d.direction, d.metric) == ("text>image", "hit@1")]
    assert (gain.b, gain.gain.mean) == (1.0, 1.0 - gain.a)
    assert gain.gain.low > 0
    assert {row.run for row in result.rows} == {"A", "B"}
    same = evaluate(load("flickr_dev", settings), {"A": encoders, "B": encoders}, OPTIONS)
    assert {d.p_value for d in same.differences} == {1.0}


def test_a_comparison_is_also_made_for_each_kind(settings, encoders) -> None:
    write_openstax(settings.data)
    result = evaluate(load("openstax", settings), {"A": replace(encoders, dual=Deaf()), "B": encoders}, OPTIONS)
    gains = {d.slice: d.gain.mean for d in result.differences if (d.direction, d.metric) == ("alt>figure", "mrr")}
    assert set(gains) == {"", "map", "photo"}
    assert gains[""] == pytest.approx((gains["map"] + 2 * gains["photo"]) / 3)


def judged(kind: str, book: int, score: float) -> JudgedQuery:
    query = Item(f"{kind} {book} {score}", "text", slice=kind, cluster=f"book {book}")
    return JudgedQuery(query, (), (), {"mrr": score}, None, {})


def test_kinds_are_set_against_the_rest_under_every_variant() -> None:
    maps, photos = ([judged(kind, n, score) for n in range(4)] for kind, score in (("map", 0.25), ("photo", 1.0)))
    for variant in ("", "blur"):
        (gap,) = kind_gaps(Trial("alt>figure", "", variant, maps + photos), 0)
        assert (gap.slice, gap.variant, gap.queries) == ("map", variant, 4)
        assert gap.metrics["mrr"] == Estimate(-0.75, -0.75, -0.75)
        parts = [row.slice for row in rows(Trial("alt>figure", "", variant, maps + photos), 0)]
        assert parts == ["", "map", "photo"]
    charts = [judged("chart", 1, 0.5), judged("chart", 1, 0.6)]
    apart = kind_gaps(Trial("alt>figure", "", "", maps + photos + charts), 0)
    assert [gap.slice for gap in apart] == ["map", "photo"]  # all charts are of one book
    unknown = [judged("", 7, 0.5), judged("", 8, 0.5)]
    assert [row.slice for row in rows(Trial("question>file", "", "", maps + unknown), 0)] == ["", "map"]


def test_gaps_are_shown_with_their_sign(capsys) -> None:
    found = {name: Estimate(0.5, 0.4, 0.6) for name in scores(["a"], {"a"}, (1,))}
    apart = {name: Estimate(-0.125, -0.25, 0.031) for name in found}
    row = ScoreRow("alt>figure", "", "", "", 9, found)
    result = Evaluation("mine", "", {}, (1,), (row,), (replace(row, slice="map", metrics=apart),))
    assert '-12.5 <span class="interval">-25.0 to +3.1</span>' in page(result)
    output.print_evaluation(result)
    assert "-12.5 -25.0 to +3.1" in capsys.readouterr().out


def test_channels_are_drawn_with_their_null_scores() -> None:
    channel = ChannelDistributions("text", unrelated=[0.1, 0.2, 0.3], right=[0.2, 0.9])
    assert channel.middle == 0.2
    assert channel.above == pytest.approx((1.5 + 3) / 6)
    row = ScoreRow("question>file", "", "", "", 1, {name: Estimate(1, 1, 1) for name in scores(["a"], {"a"}, (1,))})
    html = page(
        Evaluation("mine", "", {}, (1,), (row,), channels=(channel, replace(channel, unrelated=[0.5], right=[0.5])))
    )
    assert html.count("<figure>") == 2
    assert html.count('class="is-right"') == 2 + 1
    assert html.count('class="is-null"') == 3 + 1
    assert "in 75.0 % of all pairs" in html


def test_misses_are_shown_as_pictures_and_untrusted_words_are_escaped(settings, encoders) -> None:
    folder = write_flickr(settings.data)
    captions = folder / "captions.csv"
    captions.write_text(captions.read_text("utf-8") + '\nred.jpg,"<script>alert(1)</script> grey & white"', "utf-8")
    result = evaluate(load("flickr_dev", settings), {"": encoders}, EvalOptions(ks=(1,)))
    html = page(result)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; grey &amp; white" in html
    assert html.count("data:image/jpeg;base64,") >= 2  # what should have come, and what came
    assert html.count('<small dir="auto">cosine ') >= 2
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert "prefers-color-scheme: dark" in html
    shutil.rmtree(folder / "images")
    assert "the picture has gone · cosine" in page(result)


def test_a_set_with_text_queries_for_whole_files_runs_on_a_knowledge_base(settings) -> None:
    write_spoken(settings.data)
    first, *_ = to_questions(load("flickr_dev", settings), settings.data)
    assert (first.question, first.modality) == ("red", "image")
    assert first.names("/a/copy/of/flickr_dev/images/red.jpg")
    assert {question.modality for question in to_questions(load("speech", settings), settings.data)} == {"audio"}
    with pytest.raises(QueryError, match="--kb"):
        to_questions(load("flickr_spoken", settings), settings.data)


def test_a_class_with_one_sound_is_still_queried_by_name(settings) -> None:
    for name in ("001 - Low hum", "002 - High whistle"):
        (settings.data / "esc10" / name).mkdir(parents=True)
        write_audio(settings.data / "esc10" / name / "0.ogg", tone(1, 200.0), codec="libopus")
    assert [question.assets for question in to_questions(load("esc10", settings), settings.data)] == [
        ("esc10/001 - Low hum/0.ogg",),
        ("esc10/002 - High whistle/0.ogg",),
    ]


def test_a_missing_set_or_file_is_named(settings) -> None:
    with pytest.raises(QueryError, match=r"`flickr`.* flickr_dev"):
        load("flickr", settings)
    with pytest.raises(QueryError, match="EXHIBIT_DATA"):
        load("flickr_dev", settings)
    folder = write_flickr(settings.data)
    (folder / "images" / "red.jpg").unlink()
    with pytest.raises(QueryError, match=r"red\.jpg"):
        load("flickr_dev", settings)
    with pytest.raises(QueryError, match="spoken"):
        load("speech", settings)


def test_the_bundled_encoders_find_photos_by_words(demo_folder) -> None:
    settings = Settings()
    shown = {"photo-04.jpg": "an orangutan", "photo-06.jpg": "a guenon monkey", "photo-07.jpg": "a tabby cat"}
    photos = [Item(path.name, "image", path=path) for path in sorted(demo_folder.glob("photo-*.jpg"))]
    words = [Item(text, "text", text, family=name) for name, text in shown.items()]
    direction = Direction("text>image", "joint", words, photos, {w.id: frozenset({w.family}) for w in words})
    encoders = load_encoders(settings, frozenset({"joint"}))
    result = evaluate(EvaluationSet("demo", "", [direction]), {"": encoders}, OPTIONS)
    (row,) = result.rows
    assert row.metrics["hit@1"].mean == 1.0  # of eight photos; `lite` was trained on all of them but the monkey's
    assert result.configuration["joint"].startswith(settings.encoder)


def test_real_speech_is_transcribed() -> None:
    encoders = load_encoders(Settings(transcriber="tiny.en"), frozenset({"text"}))
    spoken = Item("jfk", "speech", path=JFK)
    other = Item("other", "text", "a recipe for lemon cake")
    items = Embedder(encoders, None, lambda *_: None)
    asked = items.vectors([Item("q", "text", "ask what you can do for your country"), other], "text", "query")
    cosines = asked @ items.vectors([spoken], "text", "item").T
    assert cosines[0, 0] > 0.6 > 0.3 > cosines[1, 0]


@pytest.mark.skipif(not (SHARED_DATA / "anthropology").is_dir(), reason="EXHIBIT_DATA's folder is not there")
def test_figures_that_were_trained_on_are_marked() -> None:
    chosen = load("anthropology", Settings(data=SHARED_DATA))
    trained = datasets.trained_on(SHARED_DATA)
    figures = [item for item in chosen.directions[1].items if item.slice == "trained on"]
    assert {item.id for item in figures} == trained & {item.id for item in chosen.directions[1].items}
    assert f"{len(figures)} of the {len(chosen.directions[1].items)} figures" in chosen.notes[0]
    assert {query.slice for query in chosen.directions[1].queries} == {"trained on", "not trained on"}
    assert {query.slice for query in chosen.directions[0].queries} == {""}


@pytest.mark.skipif(not (SHARED_DATA / "flickr_dev").is_dir(), reason="EXHIBIT_DATA's folder is not there")
@pytest.mark.parametrize("name", [known.name for known in datasets.SETS])
def test_every_set_of_the_real_data_can_be_read(name: str) -> None:
    for direction in load(name, Settings(data=SHARED_DATA)).directions:
        items = {item.family if direction.by_family else item.id for item in direction.items}
        assert len(direction.queries) >= 10
        for query in direction.queries:
            assert direction.relevant[query.id]
            assert direction.relevant[query.id] <= items
