"""Values in a notebook: what is in the HTML, that nothing in it is markup of a file's, and short texts elsewhere."""

import asyncio
import base64
import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import av
import pytest
from PIL import Image

from rag import KnowledgeBase
from rag.explanation import Explanation
from rag.presentation.notebook import MEDIA_BYTES, hit_html, hits_html
from rag.types import Answer, Citation, Evidence, FileResult, Hit, Hits, IngestReport, Segment, TimeSpan, Verdict, Word
from tests.fakes.hits import passage, picture

BAD = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Tags(HTMLParser):
    """The tags of a piece of HTML with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def __getitem__(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


@pytest.fixture(scope="module")
def base(demo_template, tmp_path_factory):
    with KnowledgeBase.open(shutil.copytree(demo_template, tmp_path_factory.mktemp("display") / "kb")) as opened:
        yield opened


def first(base, words, where):
    return base.search(words, modality=where, top_k=1)[0]


def content(uri):
    kind, _, data = uri.partition(";base64,")
    return kind.removeprefix("data:"), io.BytesIO(base64.b64decode(data))


def test_a_photo_comes_with_an_explanation(base):
    shown = Tags(first(base, "an orangutan", "image")._repr_html_())
    (photo,) = shown["img"]
    kind, data = content(photo["src"])
    assert kind == "image/jpeg"
    assert Image.open(data).width <= 560
    assert "orangutan" in photo["alt"]
    assert shown["details"]
    assert shown["rect"]  # the bars of the plot


def test_a_page_has_the_passage_marked(base):
    hit = first(base, "sticks used as spears at Fongoli", "text")
    (page,) = Tags(hit._repr_html_())["img"]
    colours = Image.open(content(page["src"])[1]).convert("RGB").getcolors(1 << 24)
    washed = sum(count for count, (red, green, blue) in colours if red > 240 and green > 225 and blue < 190)
    assert washed > 2000
    assert "<mark>" in hit._repr_html_()


@pytest.mark.parametrize(("words", "where", "tag"), [("a bee", "video", "video"), ("chimpanzee", "audio", "audio")])
def test_a_player_holds_only_the_seconds_of_the_hit(base, words, where, tag):
    hit = first(base, words, where)
    (player,) = Tags(hit._repr_html_())[tag]
    assert "controls" in player
    _, data = content(player["src"])
    with av.open(data) as container:
        span = hit.segment.locator
        assert container.duration / 1e6 == pytest.approx(span.end_s - span.start_s, abs=0.5)


def test_hits_are_cards_and_a_list(base):
    hits = base.search("an orangutan in the forest", top_k=20)
    shown = hits._repr_html_()
    pictures = Tags(shown)["img"]
    assert len(pictures) == sum(hit.segment.modality != "audio" and "md" not in hit.path for hit in hits)
    assert all(Image.open(content(photo["src"])[1]).width <= 160 for photo in pictures)
    assert "by chance" in shown
    assert len(shown) < 300_000
    assert hits == list(hits)
    assert repr(hits) == repr(list(hits))
    many = hits_html([picture("<b>.jpg", "dog")] * 30)
    assert many.count("&lt;b&gt;") >= 24
    assert "6 more" in many
    assert "Nothing was found" in hits_html([])
    assert "Nothing was found" in Hits()._repr_html_()


def test_an_answer_has_numbers_and_the_cited_evidence(base):
    hits = [first(base, "an orangutan", "image"), first(base, "sticks used as spears", "text")]
    evidence = tuple(Evidence(number, hit) for number, hit in enumerate(hits, 1))
    shown = Answer("Who?", f"An orangutan{BAD} [E1].", (Citation(1, 0, 12),), evidence)._repr_html_()
    assert "<sup>[1]</sup>" in shown
    assert "photo-04.jpg" in shown
    assert "catalogue.pdf" not in shown  # shown to the model, and not cited
    assert "<script" not in shown
    declined = Answer("Who?", "Nothing says so.", (), evidence, declined=True)._repr_html_()
    assert "catalogue.pdf" in declined


def test_text_of_files_is_escaped():
    segment = Segment(
        "a", 0, "audio", "speech", TimeSpan(0, 2), BAD, BAD, (BAD,), BAD, (Word(BAD, 0, 1),), {"heading": BAD}
    )
    hit = Hit(segment, Explanation(0.5, matched=(BAD,)), f"/nowhere/{BAD}")
    shown = Tags(hit_html(hit) + hits_html([hit]))
    report = IngestReport((FileResult(f"/x/{BAD}", "failed", reason=BAD),), 1.0)
    names = {tag for tag, _ in shown.found + Tags(report._repr_html_()).found}
    assert not names & {"script", "img"}
    assert not any(name.startswith("on") for _, attributes in shown.found for name in attributes)


def judged(verdict, hit, **more):
    return Answer("Who?", "An orangutan [E1].", (Citation(1, 0, 12, verdict),), (Evidence(1, hit),), **more)


def test_doubts_are_signs_with_their_reasons_in_words():
    hit = picture("ape.jpg", "orangutan")
    shown = judged(Verdict("unchecked", f"No words{BAD}."), hit, open_parts=(f"the year{BAD}",))._repr_html_()
    tags = Tags(shown)
    (sign,) = [mark for mark in tags["sup"] if "title" in mark]
    assert sign["title"] == f"Not checked: No words{BAD}."
    assert "<b>?</b>" in shown
    assert "<b>?</b> Not checked: No words" in shown
    assert "Left open: the year" in shown
    assert not {tag for tag, _ in tags.found} & {"script", "img"}
    supported = judged(Verdict("supported", quote=f"an ape{BAD}"), hit)._repr_html_()
    assert "<b>?</b>" not in supported
    assert Tags(supported)["sup"] == [{"title": f"Supported: “an ape{BAD}”"}]


def test_a_player_begins_where_the_verdict_says(base):
    hit = first(base, "chimpanzee", "audio")
    span = hit.segment.locator
    shown = judged(Verdict("supported", locator=TimeSpan(span.start_s + 1, span.end_s)), hit)._repr_html_()
    (player,) = Tags(shown)["audio"]
    assert player["src"].endswith("#t=1.00")


def test_a_missing_file_is_named_with_its_words(base, tmp_path):
    hit = replace(first(base, "an orangutan", "image"), path=str(tmp_path / "gone.jpg"))
    shown = hit._repr_html_()
    assert not Tags(shown)["img"]
    assert "gone.jpg" in shown


def test_a_cell_is_bounded():
    long = passage("word " * 200_000)
    assert len(hit_html(long)) < 20_000
    assert len(hit_html(replace(long, why=replace(long.why, matched=("word",))))) < 20_000  # all of it is one sentence
    report = IngestReport(tuple(FileResult(f"{n}.md", "indexed", 1) for n in range(5000)), 1.0)
    assert len(report._repr_html_()) < 40_000
    assert "4800 more" in report._repr_html_()
    same = IngestReport(tuple(FileResult(f"{n}.md", "unchanged", 1) for n in range(5000)), 1.0)
    assert same._repr_html_() == "<div>5000 unchanged · 5000 segments · 1.0 s</div>"
    assert len(hits_html([replace(long, path=f"/{'long ' * 40}")] * 50)) < 40_000
    assert MEDIA_BYTES <= 2_000_000


def test_reprs_are_short():
    hit = picture("dog.jpg", "dog")
    assert repr(hit) == "<Hit 1.000 picture of 'dog.jpg' at ImageRegion(box=None)>"
    assert repr(Evidence(2, hit)) == f"<Evidence E2: {hit!r}>"
    assert repr(Answer("Who?", "A dog [E1]. " * 100, (Citation(1, 0, 5),), (Evidence(1, hit),))).endswith(
        "…', 1 cited>"
    )
    report = IngestReport((FileResult("a", "indexed", 3), FileResult("b", "failed")), 1.25)
    assert repr(report) == "<IngestReport 1 indexed, 1 failed · 3 segments · 1.2 s>"
    assert "dog.jpg" in hit._repr_html_()
    assert "Exhibit 2" in Evidence(2, hit)._repr_html_()


@pytest.mark.language_model
async def test_inside_a_running_event_loop_the_plain_methods_work(base, tmp_path):
    assert asyncio.get_running_loop().is_running()
    hits = base.search("an orangutan", top_k=1, rerank=True)
    assert hits[0].path.endswith("photo-04.jpg")
    answer = base.ask("Which photo shows an orangutan?")
    assert re.search(r"photo-04|fourth", answer.text, re.I)
    (tmp_path / "note.md").write_text("The bridge at Arta has four arches.", encoding="utf-8")
    assert base.ingest(tmp_path).counts == {"indexed": 1}
    assert base.remove(tmp_path).counts == {"removed": 1}
