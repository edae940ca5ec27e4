"""Questions are opened: every way to write a part, films and recordings, pictures in words; with real media."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Pixels

from rag.config import Settings
from rag.errors import DamagedMedia, MediaError, MediaTooLarge, QueryError
from rag.query import Audio, Image, Not, Part, Query, Text, Video, weights
from rag.questions import in_words, opened
from tests.fakes.encoders import HashingEncoder
from tests.fakes.media import JFK, plain, samples_of, slide, texture, write_video

SETTINGS = Settings(transcriber="tiny.en", threads=2)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    plain((220, 30, 30)).save(path)
    return path


def test_words_and_pictures_in_every_form(picture: Path) -> None:
    data = BytesIO()
    plain((220, 30, 30)).save(data, "PNG")
    with Pixels.open(picture) as opened_picture:
        pixels = opened_picture.copy()
    for asked in (picture, Image(picture), Image(str(picture)), Image(data.getvalue()), data.getvalue(), Image(pixels)):
        query = opened(asked, SETTINGS)
        assert query.words == ""
        assert query.picture is not None
        assert query.picture.size == (320, 180)
    assert opened("a barn", SETTINGS) == Query("a barn")
    assert opened(Query("a barn"), SETTINGS) == Query("a barn")


@pytest.mark.parametrize("mode", ["CMYK", "F", "YCbCr", "RGBA", "I;16"])
def test_a_picture_of_any_colours_becomes_rgb(mode: str) -> None:
    (part,) = opened(Pixels.new(mode, (8, 8)), SETTINGS).parts
    assert part.pictures[0].mode == "RGB"


def test_the_limits_of_ingest_hold_for_questions(picture: Path, tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", [texture(1)] * 50)
    for asked, limit in ((picture, {"max_pixels": 100}), (film, {"max_pixels": 100}), (film, {"max_media_s": 0.5})):
        with pytest.raises(MediaTooLarge, match=asked.name):
            opened(asked, SETTINGS.model_copy(update=limit))
    with pytest.raises(DamagedMedia, match="fell silent"):
        opened(Image(picture), SETTINGS.model_copy(update={"file_timeout_s": 0.01}))


def test_parts_keep_their_weights_and_what_is_not_wanted(picture: Path) -> None:
    query = opened([Text("in blue", 2.0), Image(picture, 0.5), "barn", Not(Text("logo"))], SETTINGS)
    assert [part.weight for part in query.parts] == [2.0, 0.5, 1.0]
    assert weights(query.parts) == [1.0, 0.25, 0.5]
    assert (query.words, query.spoken) == ("in blue barn", "in blue barn, but not logo")
    assert query.without == (Part("logo"),)


@pytest.mark.parametrize("asked", [[], [Not(Text("logo"))], "  ", [Text(" ")]])
def test_nothing_wanted_is_refused(asked: object) -> None:
    with pytest.raises(QueryError, match="empty"):
        opened(asked, SETTINGS)  # type: ignore[arg-type]


def test_what_is_no_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A document")
    with pytest.raises(QueryError, match="is a document"):
        opened(tmp_path / "a.md", SETTINGS)
    with pytest.raises(QueryError, match="not of int"):
        opened([3], SETTINGS)  # type: ignore[list-item]
    with pytest.raises(MediaError):
        opened(Image(b"no picture"), SETTINGS)
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(QueryError, match="weight"):
            Text("a", weight)


def test_recordings_and_films_are_heard_and_seen(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", [texture(n // 55) for n in range(110)], sound=samples_of(JFK))
    silent = write_video(tmp_path / "b.mp4", [texture(1)] * 10)
    said = opened(JFK, SETTINGS)
    assert "ask not" in said.words.lower()
    assert (said.parts[0].sounds, said.pictures) == ((), ())
    seen = opened([Video(film, 0.5), Audio(JFK)], SETTINGS)
    assert "ask not" in seen.parts[0].words.lower()
    assert len(seen.parts[0].pictures) == 4
    (part,) = opened(silent, SETTINGS).parts
    assert part.words == ""
    assert part.pictures


def test_a_picture_is_put_into_words_for_a_model_that_is_blind() -> None:
    dual = HashingEncoder()
    tags = in_words(Query(picture=plain((220, 30, 30))), dual, Settings(ocr="off"))
    assert tags == "Which exhibit shows or tells of: red?"
    read = in_words(Query(picture=slide(["HARBOUR OFFICE"])), dual, SETTINGS)
    assert "HARBOUR OFFICE" in read.upper()
    assert in_words(Query("a barn", plain((0, 0, 0))), dual, SETTINGS) == "a barn"
