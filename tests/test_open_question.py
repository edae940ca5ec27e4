"""Questions are opened: every way to write a part, films and recordings, pictures in words; with real media."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pixels

from rag import KnowledgeBase
from rag.answering.open_question import open_question, put_into_words
from rag.config import Settings
from rag.errors import DamagedMedia, MediaTooLarge, QueryError, UnsupportedMedia
from rag.query.language import Audio, Image, Not, Query, QueryPart, Text, Video, relative_weights
from tests.fakes.encoders import HashingEncoder, PitchEncoder
from tests.fakes.media import DOG, JFK, RAIN, plain, samples_of, slide, texture, tone, write_audio, write_video

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
        query = open_question(asked, SETTINGS)
        assert query.words == ""
        assert query.picture is not None
        assert query.picture.size == (320, 180)
    assert open_question("a barn", SETTINGS) == Query("a barn")
    assert open_question(Query("a barn"), SETTINGS) == Query("a barn")


@pytest.mark.parametrize("mode", ["CMYK", "F", "YCbCr", "RGBA", "I;16"])
def test_a_picture_of_any_colours_becomes_rgb(mode: str) -> None:
    (part,) = open_question(Pixels.new(mode, (8, 8)), SETTINGS).parts
    assert part.pictures[0].mode == "RGB"


def test_the_limits_of_ingest_hold_for_questions(picture: Path, tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", [texture(1)] * 50)
    for asked, limit in ((picture, {"max_pixels": 100}), (film, {"max_pixels": 100}), (film, {"max_media_s": 0.5})):
        with pytest.raises(MediaTooLarge, match=asked.name):
            open_question(asked, SETTINGS.model_copy(update=limit))
    with pytest.raises(DamagedMedia):
        open_question(Image(picture), SETTINGS.model_copy(update={"file_timeout_s": 0.01}))


def test_parts_keep_their_weights_and_what_is_not_wanted(picture: Path) -> None:
    query = open_question([Text("in blue", 2.0), Image(picture, 0.5), "barn", Not(Text("logo"))], SETTINGS)
    assert [part.weight for part in query.parts] == [2.0, 0.5, 1.0]
    assert relative_weights(query.parts) == [1.0, 0.25, 0.5]
    assert query.words == "in blue barn"
    assert query.without == (QueryPart("logo"),)


@pytest.mark.parametrize("asked", [[], [Not(Text("logo"))], "  ", [Text(" ")]])
def test_an_empty_question_is_refused(asked: object) -> None:
    with pytest.raises(QueryError):
        open_question(asked, SETTINGS)  # type: ignore[arg-type]


def test_malformed_parts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A document")
    with pytest.raises(QueryError, match=r"a\.md"):
        open_question(tmp_path / "a.md", SETTINGS)
    with pytest.raises(QueryError, match=r"\bint\b"):
        open_question([3], SETTINGS)  # type: ignore[list-item]
    with pytest.raises(UnsupportedMedia, match="text/plain"):
        open_question(Image(b"no picture"), SETTINGS)
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(QueryError, match="weight"):
            Text("a", weight)


def test_recordings_and_videos_become_words_and_pictures(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", [texture(n // 55) for n in range(110)], sound=samples_of(JFK))
    silent = write_video(tmp_path / "b.mp4", [texture(1)] * 10)
    said = open_question(JFK, SETTINGS)
    assert "ask not" in said.words.lower()
    assert (said.parts[0].sounds, said.pictures) == ((), ())
    seen = open_question([Video(film, 0.5), Audio(JFK)], SETTINGS)
    assert "ask not" in seen.parts[0].words.lower()
    assert len(seen.parts[0].pictures) == 4
    (part,) = open_question(silent, SETTINGS).parts
    assert part.words == ""
    assert part.pictures


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    """A knowledge base of a speech and two sounds without words."""
    folder = tmp_path_factory.mktemp("sounds")
    with KnowledgeBase.open(folder / "base", Settings(transcriber="tiny.en")) as base:
        assert not base.ingest([JFK, DOG, RAIN]).failed
        yield base


def test_a_sound_under_the_words_of_a_question_is_searched_too(sounds: KnowledgeBase, tmp_path: Path) -> None:
    speech, barks = samples_of(JFK), np.resize(samples_of(DOG), samples_of(JFK).size)
    barks *= np.std(speech) / np.std(barks)
    over_barks = open_question(
        write_audio(tmp_path / "over.wav", 0.5 * (speech + barks)), SETTINGS, audio=sounds._audio
    )
    assert "country" in over_barks.words.lower()
    assert over_barks.parts[0].sounds
    names = [Path(hit.path).name for hit in sounds.search(over_barks)]
    assert set(names[:2]) == {"jfk.ogg", "dog.ogg"}
    heard = put_into_words(over_barks, HashingEncoder(), sounds._audio, SETTINGS)
    assert "(heard: " in heard
    assert "dog" in heard
    assert "speech" not in heard


def test_a_question_that_is_only_spoken_asks_for_no_sounds(sounds: KnowledgeBase) -> None:
    said = open_question(JFK, SETTINGS, audio=sounds._audio)
    assert said.parts[0].sounds == ()
    assert all(channel.name != "like sound" for hit in sounds.search(said) for channel in hit.channels)


def test_a_question_has_all_its_sounds_up_to_a_limit(tmp_path: Path) -> None:
    both = np.concatenate([tone(10, 200), tone(10, 2000)])
    (part,) = open_question(write_audio(tmp_path / "both.wav", both), SETTINGS, audio=PitchEncoder()).parts
    assert PitchEncoder().embed_and_tag(part.sounds).tags == [("low",), ("high",)]
    (part,) = open_question(write_audio(tmp_path / "long.wav", np.tile(both, 6)), SETTINGS, audio=PitchEncoder()).parts
    assert len(part.sounds) <= 8


RED, GREEN = QueryPart(pictures=(plain((220, 30, 30)),)), QueryPart(pictures=(plain((30, 160, 30)),))
HIGH, LOW = QueryPart(sounds=(tone(1, 2000),)), QueryPart(sounds=(tone(1, 200),))
DULL = Settings(ocr="off")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query("a barn"), "a barn"),
        (Query(parts=(RED,)), "Which exhibit shows or tells of: red?"),
        (Query(parts=(RED, HIGH), without=(GREEN,)), "Which exhibit shows or tells of: red, high, but not green?"),
        (Query(parts=(HIGH,)), "Which exhibit shows or tells of: high?"),
        (Query(parts=(QueryPart("in blue"), RED, HIGH)), "in blue (shown: red; heard: high)"),
        (
            Query(parts=(QueryPart("in blue"),), without=(QueryPart("a logo"), GREEN, LOW)),
            "in blue, but not a logo, green, low",
        ),
    ],
)
def test_a_question_is_put_into_words_with_its_pictures_and_sounds(query: Query, expected: str) -> None:
    assert put_into_words(query, HashingEncoder(), PitchEncoder(), DULL) == expected


def test_pictures_are_not_described_to_a_model_that_sees() -> None:
    dual, same = HashingEncoder(), "Which exhibit shows or tells of the same as the picture of this question"
    assert put_into_words(Query(parts=(RED,)), dual, None, DULL, sees=True) == f"{same}?"
    assert (
        put_into_words(Query(parts=(RED,), without=(GREEN,)), dual, None, DULL, sees=True) == f"{same}, but not green?"
    )
    assert put_into_words(Query(parts=(QueryPart("a barn"), RED)), dual, None, DULL, sees=True) == "a barn"


def test_the_text_in_a_picture_is_read_for_a_model_that_is_blind() -> None:
    read = put_into_words(Query("Where is it?", slide(["HARBOUR OFFICE"])), HashingEncoder(), None, SETTINGS)
    assert read.startswith("Where is it? (shown: ")
    assert "the words “HARBOUR OFFICE”" in read.upper().replace("THE WORDS", "the words")
