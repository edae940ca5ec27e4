"""The page of evidence: self-contained, safe whatever documents say, every kind shown as what it is, bounded."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rag.demo import HERE
from rag.explanation import ChannelScore, Explanation
from rag.presentation.report import page
from rag.presentation.report.album import Album
from rag.types import (
    Answer,
    Box,
    CharSpan,
    Citation,
    Evidence,
    FrameRegion,
    Hit,
    ImageRegion,
    Locator,
    PageBox,
    Segment,
    Source,
    Step,
    TimeSpan,
    Verdict,
    Word,
)
from tests.fakes.media import plain, silence, texture, tone, write_audio, write_video

ATTACK = "\"'><script>alert(1)</script></script><img src=x onerror=alert(2)>&lt;b&gt;{{ 7*7 }}]]>"
VOID = frozenset({"meta", "img", "br", "use", "path", "link", "input"})


@dataclass
class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text inside some of them."""

    source: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    raw: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.raw[len(self.elements) - 1] = self.raw.get(len(self.elements) - 1, "") + data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        wanted = {name.replace("class_", "class"): value for name, value in attributes.items()}
        return [
            found
            for name, found in self.elements
            if name == tag and all(value in found.get(key, "").split() for key, value in wanted.items())
        ]

    @property
    def scripts(self) -> list[tuple[dict[str, str], str]]:
        return [(a, self.raw.get(i, "")) for i, (name, a) in enumerate(self.elements) if name == "script"]

    @property
    def media(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(next(body for a, body in self.scripts if a.get("id") == "media"))
        return found


def evidence(
    path: Path, locator: Locator, kind: Any, *, number: int = 1, modality: Any = "text", **more: Any
) -> Evidence:
    sha = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "0"
    asset = Source(path, sha, 0, "", "document").asset_id
    segment = Segment(asset, 0, modality, kind, locator, title=path.name, **more)
    return Evidence(number, Hit(segment, Explanation(0.5, (ChannelScore("text", 1, 0.7),), relevance=3.2), str(path)))


def answer(*evidence: Evidence, text: str = "It is so [E1].", **more: Any) -> Answer:
    end = text.find(" [E1]")
    citations = (Citation(1, 0, end),) if end > 0 else ()
    return Answer("Is it so?", text, citations, evidence, **more)


def render(*answers: Answer, title: str = "Test", **more: Any) -> Page:
    return Page(page(answers, title=title, **more))


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.md"
    path.write_text("It was late. It is so. Nobody knew.")
    return path


def passage(path: Path, **more: Any) -> Evidence:
    text = more.pop("text", "It was late. It is so. Nobody knew.")
    return evidence(path, CharSpan(0, 35), "passage", text=text, **more)


class TestPage:
    def test_it_is_self_contained(self, note: Path) -> None:
        found = render(answer(passage(note)))
        for tag, attributes in found.elements:
            for name in ("src", "href", "poster", "srcset", "action", "data"):
                value = attributes.get(name, "")
                assert value.startswith(("data:", "#")) or not value, (tag, name, value[:80])
        assert "url(http" not in found.source
        assert found.open == []

    def test_its_policy_admits_its_own_script_alone(self, note: Path) -> None:
        found = render(answer(passage(note)))
        policy = found.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
        (script,) = [body for attributes, body in found.scripts if not attributes]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in policy
        assert policy.startswith("default-src 'none'")

    def test_a_chip_leads_to_its_evidence(self, note: Path) -> None:
        found = render(answer(passage(note)))
        (chip,) = found.all("a", class_="chip")
        assert chip["href"] == "#q1-e1"
        assert chip["aria-label"].startswith("Exhibit 1: note.md")
        assert found.all("li", id="q1-e1")
        assert "[E1]" not in found.text
        (claim,) = found.all("span", class_="claim")
        assert claim["data-exhibits"] == "1"

    def test_a_marker_without_evidence_stays_text(self, note: Path) -> None:
        found = render(answer(passage(note), text="It is so [E7]."))
        assert found.all("a", class_="chip") == []
        assert "It is so [E7]." in found.text

    def test_the_sentence_that_says_it_is_marked(self, note: Path) -> None:
        assert "<mark>It is so.</mark>" in render(answer(passage(note))).source

    def test_uncited_evidence_is_folded(self, note: Path) -> None:
        found = render(answer(passage(note), passage(note, number=2)))
        assert "1 more shown to the model, not cited" in found.text
        assert len(found.all("li", class_="short")) == 1

    def test_a_declined_question_shows_the_nearest_misses(self, note: Path) -> None:
        found = render(answer(passage(note), text="The collection does not say.", declined=True))
        assert "Not answered by this collection" in found.text
        assert "Nearest, but not answering it" in found.text
        assert "1 declined" in found.text

    def test_a_page_has_warnings_and_steps(self, note: Path) -> None:
        steps = (Step("search", 0.25, "3 channels"), Step("answer", 1.5))
        found = render(answer(passage(note), warnings=("The reranker failed.",), trace=steps))
        assert "The reranker failed." in found.text
        assert "1.8 s Steps search 0.25 s 3 channels answer 1.50 s" in found.text

    def test_a_total_is_not_added_to_its_parts(self, note: Path) -> None:
        steps = (Step("search", 0.2), Step("total", 1.2), Step("answer", 1.0))
        assert "1.2 s Steps" in render(answer(passage(note), trace=steps)).text

    def test_the_question_does_not_decide_what_is_marked(self, note: Path) -> None:
        asked = replace(answer(passage(note)), question="Was it late and nobody knew? It was late.")
        assert "<mark>It is so.</mark>" in render(asked).source

    def test_a_page_without_answers_is_valid(self) -> None:
        assert "0 questions" in render().text

    def test_ids_are_unique_over_answers(self, note: Path) -> None:
        found = render(answer(passage(note)), answer(passage(note)))
        ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert {a["href"] for a in found.all("a", class_="chip")} == {"#q1-e1", "#q2-e1"}


class TestUntrustedText:
    def test_every_field_is_escaped(self, tmp_path: Path) -> None:
        sound = write_audio(tmp_path / "a.wav", tone(2))
        photo = tmp_path / "a.png"
        plain((9, 9, 9)).save(photo)
        words = (Word(ATTACK, 0.1, 0.5, 0.3), Word("so", 0.5, 0.9))
        hostile: dict[str, Any] = {"text": ATTACK, "caption": ATTACK, "tags": (ATTACK, "b")}
        cited = (
            evidence(sound, TimeSpan(0, 1), "speech", modality="audio", words=words, **hostile),
            evidence(photo, ImageRegion(), "picture", number=2, modality="image", **hostile),
            evidence(photo, ImageRegion(), "picture", number=3, modality="image", **hostile),
        )
        why = Explanation(0.5, (ChannelScore(ATTACK, 1, 1.0),), relevance=3.2)
        cited = tuple(replace(e, hit=replace(e.hit, segment=replace(e.segment, title=ATTACK), why=why)) for e in cited)
        text = f"{ATTACK} [E1][E2] {ATTACK}"
        citations = (Citation(1, 0, len(ATTACK)), Citation(2, 3, 9))
        found = render(
            Answer(ATTACK, text, citations, cited, warnings=(ATTACK,), trace=(Step(ATTACK, 1.0, ATTACK),)),
            Answer(ATTACK, ATTACK, (), cited, declined=True),
            title=ATTACK,
        )
        assert len(found.scripts) == 2
        assert found.all("img", src="x") == []
        assert not [a for _, a in found.elements if any(name.startswith("on") for name in a)]
        assert "{{ 7*7 }}" in found.text
        assert found.text.count("alert(1)") >= 12
        assert found.media.keys() == {"m1"}

    def test_nothing_can_close_the_json(self, note: Path) -> None:
        found = render(answer(passage(note, text="</script><script>alert(3)</script>")))
        data, code = found.scripts
        assert data[0] == {"type": "application/json", "id": "media"}
        assert json.loads(data[1]) == {}
        assert "alert(3)" not in data[1] + code[1]

    def test_text_that_is_no_utf_8_scalar_is_no_error(self, note: Path) -> None:
        page([answer(passage(note, text="null \0 and bell \a and bidi \u202e end"))], title="x").encode("utf-8")


class TestMedia:
    def test_a_page_is_highlighted_and_has_its_words(self) -> None:
        path = HERE / "collection" / "catalogue.pdf"
        box = Box(0.13, 0.28, 0.74, 0.14)
        found = render(answer(evidence(path, PageBox(3, box), "passage", text="They use spears. It is so.")))
        (picture,) = [a for a in found.all("img") if a.get("src")]
        assert picture["src"].startswith("data:image/jpeg;base64,")
        assert "Passage · page 3" in found.text.replace("Passage ·  page", "Passage · page")
        assert "<mark>It is so.</mark>" in found.source

    def test_a_figure_has_its_page_too(self) -> None:
        path = HERE / "collection" / "catalogue.pdf"
        figure = evidence(
            path, PageBox(4, Box(0.13, 0.28, 0.74, 0.35)), "figure", modality="image", caption="Figure 2."
        )
        found = render(answer(figure))
        assert len([a for a in found.all("img") if a.get("src")]) == 2
        assert found.all("img", class_="page")
        assert found.all("img", alt="Figure")

    def test_sound_starts_at_the_cited_second_and_its_words_have_times(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "a.wav", tone(6))
        words = (Word(" It", 2.1, 2.3), Word("was", 2.3, 2.5, 0.2), Word("so.", 2.5, 2.9))
        found = render(
            answer(evidence(path, TimeSpan(2, 4), "speech", modality="audio", text="It was so.", words=words))
        )
        (player,) = found.all("div", class_="player")
        assert (player["data-start"], player["data-end"]) == ("2.000", "4.000")
        assert len(found.all("audio")) == 1
        spoken = [a for a in found.all("span") if "data-s" in a]
        assert [a["data-s"] for a in spoken] == ["2.100", "2.300", "2.500"]
        assert "unsure" in spoken[1]["class"]
        assert found.media["m1"] == "data:audio/wav;base64," + base64.b64encode(path.read_bytes()).decode()

    def test_times_count_from_the_start_of_a_cut_clip(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "a.flac", tone(6), codec="flac")
        words = (Word("so", 2.5, 2.9),)
        found = render(answer(evidence(path, TimeSpan(2, 4), "speech", modality="audio", words=words)))
        assert found.all("div", class_="player")[0]["data-start"] == "0.000"
        assert [a["data-s"] for a in found.all("span") if "data-s" in a] == ["0.500"]

    @pytest.mark.parametrize(("name", "length_s"), [("a.flac", 2.0), ("a.wav", 6.0)])
    def test_a_wave_is_as_long_as_what_plays(self, tmp_path: Path, name: str, length_s: float) -> None:
        path = write_audio(tmp_path / name, tone(6), codec="flac" if name.endswith("flac") else "pcm_s16le")
        cited = evidence(path, TimeSpan(0, 2), "speech", modality="audio")
        player = Album(10_000_000).view(cited, "a", "", in_full=True).player
        assert player is not None
        assert player.length_s == pytest.approx(length_s, abs=0.01)

    def test_a_video_is_embedded_once(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", [texture(1)] * 40, sound=silence(4))
        frame = evidence(path, FrameRegion(1.0), "frame", modality="video", meta={"end_s": 2.5})
        speech = evidence(path, TimeSpan(2, 3), "speech", modality="video")
        found = render(answer(frame), answer(speech))
        assert len(found.all("video")) == 2
        assert list(found.media) == ["m1"]
        spans = [(a["data-start"], a["data-end"]) for a in found.all("div", class_="player")]
        assert spans == [("1.000", "2.500"), ("2.000", "3.000")]
        assert all(a["poster"].startswith("data:image/jpeg") for a in found.all("video"))

    def test_over_the_budget_the_words_stay(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "a.wav", tone(6))
        found = render(
            answer(evidence(path, TimeSpan(2, 4), "speech", modality="audio", text="It is so.")), media_bytes=1000
        )
        assert found.media == {}
        assert "left out here" in found.text
        assert "It is so." in found.text

    def test_a_large_file_is_cut_to_the_cited_seconds(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "a.wav", tone(200))
        found = render(answer(evidence(path, TimeSpan(100, 102), "speech", modality="audio")))
        assert len(found.media["m1"]) < 100_000
        assert found.media["m1"].startswith("data:audio/mp4")

    @pytest.mark.parametrize(
        ("change", "says"),
        [(lambda path: path.unlink(), "has gone"), (lambda path: path.write_text("another"), "has changed since")],
    )
    def test_a_changed_or_missing_file_is_not_embedded(self, tmp_path: Path, change: Any, says: str) -> None:
        path = tmp_path / "a.png"
        plain((200, 0, 0)).save(path)
        asked = answer(evidence(path, ImageRegion(), "picture", modality="image", text="It is so."))
        change(path)
        found = render(asked)
        assert says in found.text
        assert "It is so." in found.text
        assert [a for a in found.all("img") if a.get("src")] == []

    def test_a_hit_without_a_file(self, note: Path) -> None:
        evidence = passage(note)
        found = render(answer(replace(evidence, hit=replace(evidence.hit, path=""))))
        assert "Its file is not known any more." in found.text
        assert "It is so." in found.text

    def test_a_damaged_recording_keeps_its_words(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mp3"
        path.write_bytes(b"nothing")
        found = render(answer(evidence(path, TimeSpan(0, 1), "speech", modality="audio", text="It is so.")))
        assert "a.mp3" in found.text
        assert found.all("p", class_="note")

    def test_a_slide_is_its_words(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pptx"
        path.write_bytes(b"PK\3\4")
        found = render(answer(evidence(path, PageBox(2), "passage", text="It is so.")))
        assert "It is so." in found.text
        assert found.all("p", class_="note") == []


class TestVerdicts:
    def test_an_unchecked_statement_has_a_sign_and_its_reason_in_words(self, note: Path) -> None:
        found = render(judged(Verdict("unchecked", "It has no words."), passage(note)))
        (sign,) = [a for a in found.all("span", class_="unchecked") if "title" in a]
        assert sign["title"] == "Not checked: It has no words."
        assert "? (Not checked: It has no words.)" in " ".join(found.text.split())  # for screen readers
        assert found.text.count("Not checked: It has no words.") == 2  # behind the chip, and below the evidence

    def test_a_supported_statement_has_no_sign_and_its_quote_on_hover(self, note: Path) -> None:
        found = render(judged(Verdict("supported", quote="Nobody knew."), passage(note)))
        assert found.all("span", class_="doubt") == []
        assert "Supported: “Nobody knew.”" in found.all("a", class_="chip")[0]["title"]
        assert "<mark>Nobody knew.</mark>" in found.source

    @pytest.mark.parametrize("name", ["misattributed", "contradicted", "unsupported"])
    def test_what_should_not_be_shown_is_clear(self, note: Path, name: Any) -> None:
        found = render(judged(Verdict(name, "It was early."), passage(note)))
        (sign,) = [a for a in found.all("span", class_=name) if "title" in a]
        assert sign["title"].endswith(": It was early.")
        assert found.text.count(sign["title"]) == 2

    @pytest.mark.parametrize("name", ["supported", "unchecked", "contradicted"])
    def test_hostile_reasons_and_quotes_are_words(self, note: Path, name: Any) -> None:
        verdict = Verdict(name, ATTACK, quote=ATTACK)
        found = render(judged(verdict, passage(note), open_parts=(ATTACK,)))
        assert len(found.scripts) == 2
        assert not any("onerror" in attributes for _, attributes in found.elements)
        assert [a for a in found.all("img") if a.get("src") == "x"] == []
        assert ATTACK in found.text

    def test_what_is_left_open_is_said(self, note: Path) -> None:
        found = render(answer(passage(note), open_parts=("the year", "the place")))
        assert "Left open: the year; the place" in found.text
        assert "Left open" not in render(answer(passage(note))).text

    def test_a_quote_is_marked_whatever_its_space(self, note: Path) -> None:
        found = render(judged(Verdict("supported", quote="Nobody\n knew."), passage(note)))
        assert "<mark>Nobody knew.</mark>" in found.source

    def test_a_recording_plays_from_the_narrower_second(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "a.wav", tone(6))
        words = (Word("It", 2.1, 2.3), Word("was", 2.3, 2.5), Word("so.", 2.5, 2.9))
        speech = evidence(path, TimeSpan(1, 5), "speech", modality="audio", text="It was so.", words=words)
        found = render(judged(Verdict("supported", locator=TimeSpan(2.2, 2.6)), speech))
        (player,) = found.all("div", class_="player")
        assert (player["data-start"], player["data-end"]) == ("2.200", "2.600")
        near = [a.get("class", "") for a in found.all("span") if "data-s" in a]
        assert ["near" in name for name in near] == [True, True, False]

    def test_the_narrower_box_is_drawn(self) -> None:
        path = HERE / "collection" / "catalogue.pdf"
        page, line = PageBox(3, Box(0.13, 0.28, 0.74, 0.14)), PageBox(3, Box(0.13, 0.30, 0.3, 0.02))
        cited = evidence(path, page, "passage", text="They use spears. It is so.")
        narrow, whole, other = (
            render(judged(Verdict("supported", locator=place), cited)).all("img")[0]["src"]
            for place in (line, None, PageBox(2, line.box))
        )
        assert narrow != whole
        assert other == whole

    def test_a_place_on_a_figure_is_drawn_on_it(self) -> None:
        path = HERE / "collection" / "catalogue.pdf"
        figure = evidence(path, PageBox(4, Box(0.13, 0.28, 0.74, 0.35)), "figure", modality="image")
        label = PageBox(4, Box(0.2, 0.5, 0.1, 0.05))
        shown = [
            render(judged(Verdict("supported", locator=place), figure)).all("img")[0]["src"] for place in (label, None)
        ]
        assert shown[0] != shown[1]


def judged(verdict: Verdict, cited: Evidence, **more: Any) -> Answer:
    return Answer("Is it so?", "It is so [E1].", (Citation(1, 0, 8, verdict),), (cited,), **more)


def test_every_colour_of_text_is_readable_on_its_ground() -> None:
    """WCAG AA, 4.5 to 1, in light and dark."""
    style = (Path(HERE).parent / "presentation" / "report" / "page.css").read_text(encoding="utf-8")
    for scheme in re.findall(r":root \{([^}]*)\}", style):
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", scheme))
        for ink in ("ink", "soft", "accent"):
            for ground in ("paper", "card"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        assert contrast(colours["ink"], colours["wash"]) >= 4.5
        assert contrast(colours["accent"], colours["wash"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
