"""The main path with the real models, store and media: the demo's collection, searched and asked."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import threading
import time
from pathlib import Path

import pptx
import pytest
from PIL import Image

import rag
from rag import Audio, Hit, KnowledgeBase, Not, Text, Video
from rag.answering.query_engine import load_picture as picture_of
from rag.config import Settings
from rag.demo import questions
from rag.errors import (
    EncoderMismatch,
    ExhibitWarning,
    IndexUnavailable,
    KnowledgeBaseBusy,
    MediaError,
    QueryError,
    SettingsError,
)
from rag.segments import segment_id
from rag.types import FrameRegion, PageBox
from tests.fakes.command import run_exhibit
from tests.fakes.demo import matches
from tests.fakes.media import JFK

ANSWERABLE = [question for question in questions() if question["expect"]]
UNANSWERABLE = [question for question in questions() if not question["expect"]]


def names(hits: list[Hit]) -> list[str]:
    return [Path(hit.path).name for hit in hits]


def test_the_public_names_are_few_and_importable():
    assert len(rag.__all__) <= 12
    assert all(getattr(rag, name) for name in rag.__all__)
    with pytest.raises(AttributeError):
        rag.nonsense  # noqa: B018


@pytest.mark.language_model
@pytest.mark.parametrize("question", ANSWERABLE, ids=lambda q: q["needs"])
def test_an_answer_has_the_phrase_and_cites_the_place(demo_base, demo_answer, question):
    answer = demo_answer[1] if question is ANSWERABLE[0] else demo_base.ask(question["question"])
    assert not answer.declined, answer
    assert question["phrase"].lower() in answer.text.lower()
    assert any(matches(e.hit, expected) for e in answer.cited for expected in question["expect"]), answer
    for citation in answer.citations:
        assert 0 <= citation.start < citation.end <= len(answer.text)
    assert {"retrieve", "rerank", "answer", "total"} <= {step.name for step in answer.trace}


@pytest.mark.language_model
@pytest.mark.parametrize("question", UNANSWERABLE, ids=lambda q: q["needs"])
def test_an_unanswerable_question_is_declined(demo_base, question):
    answer = demo_base.ask(question["question"])
    assert answer.declined, answer
    assert answer.citations == ()
    assert answer.evidence  # the nearest misses


def test_an_answer_arrives_in_pieces_that_add_up(demo_answer):
    pieces, answer = demo_answer
    assert len(pieces) > 1
    assert "".join(pieces).strip() == answer.text


def test_async_twins_give_the_same(demo_base):
    async def both():
        return await asyncio.gather(demo_base.asearch("orangutan"), demo_base.asearch("bee", modality="video"))

    apes, bees = asyncio.run(both())
    assert [segment_id(h.segment) for h in apes] == [segment_id(h.segment) for h in demo_base.search("orangutan")]
    assert {h.segment.modality for h in bees} == {"video"}


@pytest.mark.language_model
@pytest.mark.asks_anew
async def test_cancelling_a_question_stops_the_model(demo_base):
    def is_at_work() -> bool:
        return any(thread.name == "exhibit-llm" for thread in threading.enumerate())

    asking = asyncio.create_task(demo_base.aask(ANSWERABLE[0]["question"]))
    while not is_at_work():
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    until = time.monotonic() + 10
    while is_at_work() and time.monotonic() < until:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # nor does it begin with the next candidate
    assert not is_at_work()


def test_modality_and_metadata_filters(demo_base):
    seen_or_heard = demo_base.search("an ape", modality=["image", "audio"], top_k=20)
    assert {h.segment.modality for h in seen_or_heard} == {"image", "audio"}
    pages = demo_base.search("an ape", where={"page": {"gte": 2, "lt": 4}})
    assert pages
    assert {h.segment.meta["page"] for h in pages} <= {2, 3}
    with pytest.raises(QueryError, match="smell"):
        demo_base.search("an ape", modality="smell")
    with pytest.raises(QueryError):
        demo_base.search("  ")


def test_a_picture_finds_itself_and_its_kind(demo_base, demo_folder):
    hits = demo_base.search(demo_folder / "photo-04.jpg", top_k=3)
    assert names(hits)[0] == "photo-04.jpg"
    turned = Image.open(demo_folder / "photo-04.jpg").convert("L").resize((200, 150))
    assert "photo-04.jpg" in names(demo_base.search(turned, modality="image", top_k=3))


def test_a_recording_is_a_question(demo_base, demo_folder):
    hits = demo_base.search(demo_folder / "audio-guide.m4a", top_k=2)
    assert "audio-guide.m4a" in names(hits)


def test_parts_with_weights_and_negatives(demo_base, demo_folder):
    cat = rag.Image(demo_folder / "photo-07.jpg", weight=0.7)
    assert names(demo_base.search([Text("an animal"), cat], modality={"image", "video"}, top_k=1)) == ["photo-07.jpg"]
    photos = {"modality": "image", "where": {"kind": "picture"}, "top_k": 20}
    first = names(demo_base.search("an ape", **photos))[0]
    others = demo_base.search(["an ape", Not(rag.Image(demo_folder / first))], **photos)
    assert names(others)[0] != first
    assert "not wanted" in str(next(hit for hit in others if Path(hit.path).name == first).why)


def test_one_question_of_every_medium_says_where_to_look(demo_base, demo_folder):
    path, clip = demo_folder / "photo-07.jpg", JFK
    asked = [Text("like this, but in blue"), rag.Image(path, weight=0.7), Audio(clip), Not(Text("logo"))]
    hits = demo_base.search(asked, modality={"image", "video"}, where={"not": {"page": {"gt": 1}}})
    assert names(hits)[0] == "photo-07.jpg"
    assert {hit.segment.modality for hit in hits} == {"image", "video"}
    assert all(hit.segment.meta.get("page", 1) == 1 for hit in hits)
    assert any("not wanted" in str(hit.why) for hit in hits)


@pytest.mark.parametrize("name", ["search", "ask", "ask_stream", "ingest", "embed", "transcribe", "remove"])
def test_a_method_and_its_twin_name_the_same_options(name):
    method, twin = (inspect.signature(getattr(KnowledgeBase, prefix + name)).parameters for prefix in ("", "a"))
    assert {key: str(one) for key, one in method.items()} == {key: str(one) for key, one in twin.items()}
    assert not any(one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL) for one in method.values())


def test_videos_give_moments_or_frames_by_filter(demo_base):
    moment = demo_base.search("a bee", modality="video", top_k=1)[0]
    assert moment.segment.kind == "moment"
    assert 30 < moment.segment.locator.start_s < moment.segment.locator.end_s < 45
    assert {Path(part.path).name for part in moment.parts} == {"film.mp4"}
    with Image.open(demo_base.media.thumbnail(moment)) as small:
        assert max(small.size) <= 320
    frame = demo_base.search("a bee", where={"kind": "frame"}, top_k=1)[0]
    assert isinstance(frame.segment.locator, FrameRegion)
    assert frame.parts == ()


def test_a_video_is_a_question(demo_base, demo_folder):
    hits = demo_base.search(Video(demo_folder / "film.mp4"), top_k=3)
    assert "film.mp4" in names(hits)


def test_quotas_reserve_places(demo_base):
    hits = demo_base.search("an ape", quotas={"audio": 1, "image": 2}, top_k=4)
    assert sorted(hit.segment.modality for hit in hits if hit.segment.modality in ("audio", "image")) == [
        "audio",
        "image",
        "image",
    ]
    assert len(hits) == 4
    with pytest.raises(QueryError, match="smell"):
        demo_base.search("an ape", quotas={"smell": 1})


@pytest.mark.language_model
def test_a_picture_question_is_reranked_by_its_tags(demo_base, demo_folder):
    hits = demo_base.search(demo_folder / "photo-07.jpg", top_k=4, rerank=True)
    assert names(hits)[0] == "photo-07.jpg"
    assert hits[0].relevance is not None
    answer = demo_base.ask(demo_folder / "photo-07.jpg")
    assert answer.question == "Which exhibit shows or tells of: tabby cat?"


def test_a_document_is_no_question(demo_base, demo_folder):
    with pytest.raises(QueryError, match=r"catalogue\.pdf"):
        demo_base.search(demo_folder / "catalogue.pdf")


def test_thumbnails_are_files_and_words_have_none(demo_base):
    picture = demo_base.search("orangutan", modality="image")[0]
    with Image.open(demo_base.media.thumbnail(picture)) as small:
        assert max(small.size) <= 320
    spoken = demo_base.search("Jane Goodall", modality="audio")[0]
    assert demo_base.media.thumbnail(spoken) is None


def test_the_page_of_an_answer_holds_its_evidence(demo_answer):
    page = demo_answer[1].render()
    assert "data:image/" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_process_learns_which_one_has_it_open(demo_base):
    with pytest.raises(KnowledgeBaseBusy, match=rf"\b{os.getpid()}\b"):
        KnowledgeBase.open(demo_base.path)
    done = run_exhibit("status", "--kb", str(demo_base.path))
    assert done.returncode == 1
    assert str(os.getpid()) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("name", "value"), [("colour", "blue"), ("top_k", "0"), ("ranking", "no JSON")])
def test_settings_that_are_unknown_or_invalid_are_refused(name, value, monkeypatch):
    with pytest.raises(SettingsError, match=name):
        Settings(**{name: value})
    monkeypatch.setenv(f"EXHIBIT_{name.upper()}", value)
    with pytest.raises(SettingsError, match=f"(?i){name}"):
        Settings()


def test_a_setting_given_as_an_argument_takes_precedence_over_the_environment(monkeypatch):
    monkeypatch.setenv("EXHIBIT_TOP_K", "3")
    assert (Settings().top_k, Settings(top_k=5).top_k) == (3, 5)


def write_media(folder: Path) -> Path:
    folder.mkdir()
    (folder / "lamp.md").write_text("# The lamp\n\nThe lamp on the north pier burns whale oil.\n")
    (folder / "gate.md").write_text("# The gate\n\nThe gate of the harbour closes at nine.\n")
    Image.new("RGB", (64, 64), "teal").save(folder / "teal.png")
    return folder


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    """Of the small collection, measured once: that takes longer than taking it in."""
    folder = tmp_path_factory.mktemp("small")
    with KnowledgeBase.open(folder / "base", Settings(ocr="off")) as base:
        base.ingest(write_media(folder / "media"))
    return folder / "base" / "calibration.json"


@pytest.fixture
def small(tmp_path, calibration):
    folder = write_media(tmp_path / "media")
    with KnowledgeBase.open(tmp_path / "base", Settings(ocr="off")) as base:
        shutil.copy(calibration, base.path)
        yield base, folder


def states(report) -> dict[str, str]:
    return {Path(result.path).name: result.state for result in report}


def test_the_same_folder_again_does_nothing(small):
    base, folder = small
    assert states(base.ingest(folder)) == {"lamp.md": "indexed", "gate.md": "indexed", "teal.png": "indexed"}
    before = base.status()
    assert set(states(base.ingest(folder)).values()) == {"unchanged"}
    assert base.status().segments == before.segments


def test_a_changed_file_replaces_its_segments_and_a_removed_one_goes(small):
    base, folder = small
    base.ingest(folder)
    (folder / "lamp.md").write_text("The lamp was moved to the south tower and burns gas.\n")
    (folder / "gate.md").unlink()
    assert states(base.ingest(folder)) == {"lamp.md": "indexed", "teal.png": "unchanged", "gate.md": "removed"}
    texts = [hit.segment.text for hit in base.search("lamp or gate", modality="text")]
    assert len(texts) == 1
    assert "south tower" in texts[0]


def test_the_same_content_under_two_names_is_one_asset(small):
    base, folder = small
    shutil.copy(folder / "lamp.md", folder / "copy of lamp.md")
    report = base.ingest(folder)
    assert states(report)["lamp.md"] == "unchanged"  # the copy sorts first
    assert base.status().segments["text"] == 2
    (folder / "copy of lamp.md").unlink()
    base.ingest(folder)
    assert names(base.search("whale oil", modality="text"))[0] == "lamp.md"


def test_a_moved_file_has_its_new_path(small):
    base, folder = small
    base.ingest(folder)
    (folder / "old").mkdir()
    (folder / "lamp.md").rename(folder / "old" / "beacon.md")
    assert states(base.ingest(folder))["beacon.md"] == "unchanged"
    assert names(base.search("whale oil", modality="text"))[0] == "beacon.md"


def test_a_slide_has_no_thumbnail_and_a_changed_picture_is_an_error(small):
    base, folder = small
    slides = pptx.Presentation()
    slides.slides.add_slide(slides.slide_layouts[0]).shapes.title.text = "Gears of the orrery"
    slides.save(folder / "orrery.pptx")
    base.ingest(folder)
    slide = base.search("gears of the orrery", modality="text")[0]
    assert isinstance(slide.segment.locator, PageBox)
    assert base.media.thumbnail(slide) is None
    Image.new("RGB", (64, 64), "red").save(folder / "teal.png")
    with pytest.raises(MediaError, match=r"teal\.png"):
        base.media.thumbnail(base.search("teal", modality="image")[0])


def test_remove_forgets_and_leaves_the_file(small):
    base, folder = small
    base.ingest(folder)
    thumbnail = base.media.thumbnail(base.search("teal", modality="image")[0])
    assert states(base.remove(folder / "teal.png")) == {"teal.png": "removed"}
    assert (folder / "teal.png").exists()
    assert not thumbnail.exists()
    assert base.search("teal", modality="image") == []
    with pytest.raises(QueryError, match=r"teal\.png"):
        base.remove(folder / "teal.png")


def test_as_many_hits_are_judged_as_may_be_evidence(small):
    base, folder = small
    base.ingest(folder)
    base.close()
    with KnowledgeBase.open(base.path, Settings(rerank_top_n=1, evidence_n=3)) as other:
        hits = other.search("whale oil", rerank=True)
    assert len(hits) == 3
    assert all(hit.relevance is not None for hit in hits)


def test_a_failing_reranker_is_a_warning(small):
    base, folder = small
    base.ingest(folder)
    base.close()
    with KnowledgeBase.open(base.path, Settings(llm="nonsense")) as other:
        nodes = other.llama_index.retriever().retrieve("whale oil")
        for rerank in (
            lambda: other.search("whale oil", rerank=True),
            lambda: asyncio.run(other.asearch("whale oil", rerank=True)),
            lambda: other.llama_index.postprocessor().postprocess_nodes(nodes, query_str="whale oil"),
        ):
            with pytest.warns(ExhibitWarning):
                assert len(rerank()) == 3


def test_a_changed_picture_is_not_sent_to_a_model(small):
    base, folder = small
    base.ingest(folder)
    hit = base.search("teal", modality="image")[0]
    assert picture_of(hit) is not None
    Image.new("RGB", (64, 64), "red").save(folder / "teal.png")
    with pytest.raises(MediaError, match=r"teal\.png"):
        picture_of(hit)


def test_broken_files_are_listed_and_never_stop_the_run(small):
    base, folder = small
    (folder / "empty.txt").touch()
    (folder / "blank.txt").write_text("  \n\n ")
    (folder / "truncated.png").write_bytes((folder / "teal.png").read_bytes()[:60])
    (folder / "mislabelled.pdf").write_bytes((folder / "teal.png").read_bytes())
    (folder / "noise.bin").write_bytes(bytes(range(256)) * 40)
    report = base.ingest(folder)
    found = states(report)
    assert found["lamp.md"] == found["gate.md"] == found["mislabelled.pdf"] == "indexed"  # a picture is a picture
    assert found["teal.png"] == "unchanged"  # the same one
    assert found["empty.txt"] == found["truncated.png"] == found["noise.bin"] == "failed"
    assert found["blank.txt"] == "empty"
    assert all(result.reason for result in report if result.state in ("failed", "empty"))
    assert {Path(f.path).name for f in base.status().failed} == {"empty.txt", "truncated.png", "noise.bin"}
    (folder / "empty.txt").write_text("no longer empty\n")
    assert states(base.ingest(folder))["empty.txt"] == "indexed"


def test_a_new_caption_beside_a_picture_is_indexed(small):
    base, folder = small
    base.ingest(folder)
    (folder / "page.md").write_text("![The colour of the old harbour office](teal.png)\n")
    assert states(base.ingest(folder))["teal.png"] == "indexed"
    hit = base.search("harbour office colour", modality="image")[0]
    assert hit.segment.caption == "The colour of the old harbour office"
    assert "unchanged" in states(base.ingest(folder))["teal.png"]


def test_a_plan_does_nothing_and_says_what_would_be_done(small):
    base, folder = small
    plan = base.plan(folder)
    assert {Path(file.path).name: file.action for file in plan.files} == {
        "gate.md": "index",
        "lamp.md": "index",
        "teal.png": "index",
    }
    assert plan.segments >= 3
    assert plan.model_calls > 0
    assert base.status().assets["indexed"] == 0
    base.ingest(folder)
    assert {file.action for file in base.plan(folder).files} == {"unchanged"}


def test_a_collection_of_another_encoder_is_refused(small):
    base, folder = small
    base.ingest(folder)
    base.close()
    (cards,) = [path for path in base.path.rglob("*.json") if "minilm" in path.read_text()]
    cards.write_text(cards.read_text().replace("minilm", "other-encoder"))
    with pytest.raises(EncoderMismatch, match="other-encoder"):
        KnowledgeBase.open(base.path)


def test_a_failed_opening_releases_the_lock(tmp_path):
    with pytest.raises(IndexUnavailable, match="EXHIBIT_CATALOG_URL"):
        KnowledgeBase.open(tmp_path / "kb", Settings(catalog_url=f"sqlite:///{tmp_path}"))
    KnowledgeBase.open(tmp_path / "kb").close()


def test_the_number_of_hits_is_bounded(demo_base):
    for refused in (-1, 0, 10**9):
        with pytest.raises(QueryError, match=r"\b1000\b"):
            demo_base.search("ape", top_k=refused)


def test_files_may_go_while_their_size_is_counted(tmp_path):
    gone, counted = tmp_path / "base" / "uploads" / "job", threading.Event()

    def come_and_go():
        while not counted.is_set():
            gone.mkdir(parents=True)
            for number in range(20):
                (gone / str(number)).touch()
            shutil.rmtree(gone)

    with KnowledgeBase.open(tmp_path / "base") as base:
        going = threading.Thread(target=come_and_go)
        going.start()
        try:
            assert all(base.status().disk_bytes > 0 for _ in range(50))
        finally:
            counted.set()
            going.join()
