"""Cited places are read again from real files: speech, scanned pages, pictures and frames."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ingest.formats.identify import identify
from ingest.reading.readers import Hearing
from rag.config import Settings
from rag.demo import HERE
from rag.errors import MediaError, MediaTooLarge, UnsupportedMedia
from rag.types import Box, CharSpan, FrameRegion, ImageRegion, PageBox, Segment, TimeSpan
from rag.verification.narrowing import missing_words, narrow, narrow_box
from rag.verification.rereading import Rereader
from tests.fakes.media import JFK, samples_of, silence, slide, write_audio, write_video

CATALOGUE, GUIDE = HERE / "collection" / "catalogue.pdf", HERE / "collection" / "audio-guide.m4a"

_JFK_END = "asknotwhatyourcountrycandoforyouaskwhatyoucandoforyourcountry"


@pytest.fixture(scope="module")
def rereader() -> Iterator[Rereader]:
    with closing(Rereader(Settings())) as rereader:
        yield rereader


def asset_of(path: Path) -> str:
    return identify(path, Settings()).asset_id


class TestSpeech:
    def test_the_words_of_the_span_on_the_clock_of_the_recording(self, rereader: Rereader, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "late.wav", np.concatenate([silence(20), samples_of(JFK)]))
        words = rereader.hear(path, asset_of(path), TimeSpan(25.0, 27.5), language="en")
        text = " ".join(word.text for word in words)
        assert missing_words("what your country can do", text) == ()
        assert missing_words("fellow Americans", text) == ("fellow", "americans")
        assert all(word.end_s >= 25.0 and word.start_s <= 27.5 for word in words)
        (country,) = (word for word in words if word.text.startswith("country"))
        assert country.start_s == pytest.approx(25.8, abs=0.5)

    def test_a_statement_is_confirmed_where_it_is_said(self, rereader: Rereader) -> None:
        statement = "In 1960 Jane Goodall set up camp on the shore of Lake Tanganyika."
        asset_id = asset_of(GUIDE)
        words = rereader.hear(GUIDE, asset_id, TimeSpan(0.0, 30.0), language="en")
        span = narrow(statement, words)
        assert span is not None
        speech = Segment(asset_id, 0, "audio", "speech", TimeSpan(0.0, 30.0), words=words, meta={"language": "en"})
        found = rereader.confirm(statement, GUIDE, speech, span)
        assert found.heard_share > 0.6
        assert {"1960,", "shore", "Lake"} <= {word.text for word in found.confirmed}
        elsewhere = TimeSpan(span.end_s + 1, span.end_s + 12)
        assert rereader.confirm(statement, GUIDE, speech, elsewhere).heard_share < 0.3

    @pytest.mark.parametrize("language", ["en", ""])
    def test_a_misheard_word(self, rereader: Rereader, language: str) -> None:
        asset_id = asset_of(JFK)
        words = tuple(
            replace(word, text="fury,") if word.text.startswith("country") else word
            for word in rereader.hear(JFK, asset_id, TimeSpan(3.0, 10.5))
        )
        speech = Segment(asset_id, 0, "audio", "speech", TimeSpan(3.0, 10.5), words=words, meta={"language": language})
        found = rereader.confirm("Ask what your fury can do.", JFK, speech, TimeSpan(3.0, 7.5))
        assert [word.text.lower() for word in found.confirmed] == ["ask"]
        assert [word.text for word in found.misheard] == ["fury,"]

    @pytest.mark.parametrize("hearing", ["other model", "no beam"])
    def test_both_hearings(self, rereader: Rereader, hearing: Hearing) -> None:
        words = rereader.hear(JFK, asset_of(JFK), TimeSpan(3.0, 10.5), hearing=hearing)
        assert "".join(filter(str.isalpha, " ".join(word.text for word in words).lower())) == _JFK_END

    def test_silence_has_no_words(self, rereader: Rereader, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "silent.wav", silence(5))
        assert rereader.hear(path, asset_of(path), TimeSpan(1.0, 4.0)) == ()

    def test_a_long_span_is_refused(self, rereader: Rereader) -> None:
        with pytest.raises(MediaTooLarge):
            rereader.hear(JFK, asset_of(JFK), TimeSpan(0.0, 61.0))

    def test_a_span_after_the_end(self, rereader: Rereader) -> None:
        with pytest.raises(MediaError):
            rereader.hear(JFK, asset_of(JFK), TimeSpan(100.0, 104.0))

    def test_a_picture_has_no_sound(self, rereader: Rereader, tmp_path: Path) -> None:
        path = tmp_path / "slide.png"
        slide(["Lamp"]).save(path)
        with pytest.raises(MediaError):
            rereader.hear(path, asset_of(path), TimeSpan(0.0, 4.0))


class TestText:
    def test_a_part_of_a_page_and_the_box_of_a_line(self, rereader: Rereader) -> None:
        place = PageBox(1, Box(0.1, 0.2, 0.8, 0.3))
        lines = rereader.read_lines(CATALOGUE, asset_of(CATALOGUE), place)
        assert missing_words("The Grasping Hand: catalogue of a small exhibition about primates", _text(lines)) == ()
        box = narrow_box("a small exhibition about primates", lines)
        assert box is not None
        assert 0.33 < box.y < box.y + box.h < 0.42  # of the page, not of the part

    def test_small_print_that_is_lost_when_the_whole_picture_is_scaled_down(
        self, rereader: Rereader, tmp_path: Path
    ) -> None:
        path = tmp_path / "poster.png"
        poster = Image.new("RGB", (5000, 4000), "white")
        poster.paste(slide(["Room 417"], (400, 100)), (3000, 2000))
        poster.save(path)
        place = ImageRegion(Box(0.58, 0.48, 0.14, 0.08))
        assert rereader.read(path, asset_of(path), place) == "Room 417"

    def test_blurred_print(self, rereader: Rereader, tmp_path: Path) -> None:
        path = tmp_path / "blurred.png"
        lines = ["Weight 8,638 kg", "Built in 1863", "Parts 362"]
        slide(lines, (640, 240)).filter(ImageFilter.GaussianBlur(3.2)).save(path)
        found = [_text(lines) for lines in rereader.readings(path, asset_of(path), ImageRegion())]
        assert len(found) == 2
        assert missing_words(" ".join(lines), found[0]) == ()

    def test_a_frame(self, rereader: Rereader, tmp_path: Path) -> None:
        frames = [slide([text]) for text in ("Dynamo 1886", "Lamp 1879") for _ in range(20)]
        path = write_video(tmp_path / "slides.mp4", frames, fps=10)
        assert rereader.read(path, asset_of(path), FrameRegion(1.0)) == "Dynamo 1886"
        assert rereader.read(path, asset_of(path), FrameRegion(3.0, Box(0, 0, 0.6, 0.3))) == "Lamp 1879"

    def test_a_place_in_a_text_has_no_picture(self, rereader: Rereader, tmp_path: Path) -> None:
        path = tmp_path / "note.txt"
        path.write_text("The dynamo hums.")
        with pytest.raises(UnsupportedMedia):
            rereader.read(path, asset_of(path), CharSpan(0, 5))


class TestFiles:
    @pytest.fixture
    def sign(self, tmp_path: Path) -> Path:
        path = tmp_path / "sign.png"
        slide(["Platform 7"]).save(path)
        return path

    def test_a_file_that_has_gone(self, rereader: Rereader, sign: Path) -> None:
        asset_id = asset_of(sign)
        assert rereader.read(sign, asset_id, ImageRegion()) == "Platform 7"
        sign.unlink()
        with pytest.raises(MediaError):  # although its reading is kept
            rereader.read(sign, asset_id, ImageRegion())

    def test_a_file_that_has_changed(self, rereader: Rereader, sign: Path) -> None:
        asset_id = asset_of(sign)
        rereader.read(sign, asset_id, ImageRegion())
        slide(["Platform 9"]).save(sign)
        with pytest.raises(MediaError, match="changed"):
            rereader.read(sign, asset_id, ImageRegion())
        assert rereader.read(sign, asset_of(sign), ImageRegion()) == "Platform 9"

    def test_a_copy_has_the_same_readings(self, rereader: Rereader, sign: Path, tmp_path: Path) -> None:
        first = rereader.read_lines(sign, asset_of(sign), ImageRegion())
        copy = Path(shutil.copy(sign, tmp_path / "copy.png"))
        assert rereader.read_lines(copy, asset_of(sign), ImageRegion()) == first

    def test_threads_share_it_and_a_place_is_read_once(self, sign: Path) -> None:
        with closing(Rereader(Settings())) as rereader:
            asset_id = asset_of(sign)
            found: list[str] = []
            threads = [
                threading.Thread(target=lambda: found.append(rereader.read(sign, asset_id, ImageRegion())))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert found == ["Platform 7"] * 4
            started_s = time.monotonic()
            rereader.read(sign, asset_id, ImageRegion())
            assert time.monotonic() - started_s < 0.05

    def test_it_reads_again_after_it_was_closed(self, sign: Path) -> None:
        rereader = Rereader(Settings())
        with closing(rereader):
            assert rereader.read(sign, asset_of(sign), ImageRegion()) == "Platform 7"
        with closing(rereader):
            assert rereader.read(sign, asset_of(sign), ImageRegion(Box(0, 0, 0.9, 0.9))) == "Platform 7"

    def test_its_process_ends_when_it_has_nothing_to_do(self, sign: Path) -> None:
        with closing(Rereader(Settings(), idle_s=0.2)) as rereader:
            rereader.read(sign, asset_of(sign), ImageRegion())
            deadline_s = time.monotonic() + 10
            while rereader._worker is not None and time.monotonic() < deadline_s:
                time.sleep(0.05)
            assert rereader._worker is None
            assert rereader.read(sign, asset_of(sign), ImageRegion(Box(0, 0, 0.9, 0.9))) == "Platform 7"


def _text(lines: tuple[object, ...]) -> str:
    return " ".join(str(getattr(line, "text", "")) for line in lines)
