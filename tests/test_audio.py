"""Recordings to segments, with the bundled Whisper where words matter."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ingest.audio_video import audio
from ingest.audio_video.transcribers import Transcriber, load_transcriber
from ingest.formats.identify import Measure, identify
from rag.config import Settings
from rag.errors import DamagedMedia, MediaTooLarge, UnsupportedMedia
from rag.segments import from_payload, segment_id, to_payload
from rag.types import Segment, Source, TimeSpan
from tests.fakes.media import JFK, JFK_TEXT, noise, samples_of, silence, texture, tone, write_audio, write_video
from tests.fakes.speech import ScriptedTranscriber

SETTINGS = Settings(threads=2)


@pytest.fixture(scope="module")
def whisper() -> Transcriber:
    return load_transcriber(SETTINGS)


def read(path: Path, transcriber: Transcriber | None = None, settings: Settings = SETTINGS) -> list[Segment]:
    source = identify(path, settings)
    found = audio.segments(source, settings, transcriber or ScriptedTranscriber("never heard"))
    return [extracted.segment for extracted in found]


class TestSpeech:
    def test_every_word_of_a_speech_at_its_time(self, whisper: Transcriber) -> None:
        (segment,) = read(JFK, whisper)
        assert re.sub(r"[^a-z ]", "", segment.text.lower()) == JFK_TEXT
        assert (segment.kind, segment.modality, segment.title) == ("speech", "audio", "jfk.ogg")
        assert segment.caption == "Inaugural address (excerpt) · John F. Kennedy"
        assert segment.meta["language"] == "en"
        assert float(segment.meta["confidence"]) > 0.9
        # By the envelope of the recording.
        onsets = [(w.text, w.start_s) for w in segment.words if w.text in ("And", "ask")]
        assert onsets == [
            ("And", pytest.approx(0.3, abs=0.3)),
            ("ask", pytest.approx(3.3, abs=0.3)),
            ("ask", pytest.approx(8.15, abs=0.3)),
        ]
        assert segment.words[-1].end_s == pytest.approx(10.4, abs=0.3)

    def test_a_speech_after_silence_keeps_its_time(self, tmp_path: Path, whisper: Transcriber) -> None:
        path = write_audio(tmp_path / "late.wav", np.concatenate([silence(25), samples_of(JFK)]))
        (segment,) = read(path, whisper)
        assert segment.locator.start_s == pytest.approx(25.3, abs=0.3)  # type: ignore[union-attr]

    def test_stereo_at_another_rate_and_codec(self, tmp_path: Path) -> None:
        voice = samples_of(JFK).repeat(3)
        path = write_audio(tmp_path / "stereo.m4a", np.stack([voice, voice]), codec="aac", rate=48_000, layout="stereo")
        segment, *_ = read(path, ScriptedTranscriber("heard it"))
        assert segment.text == "heard it"
        assert 5 < segment.locator.end_s < 11.2  # type: ignore[union-attr]

    def test_segments_survive_the_payload(self) -> None:
        segment, *_ = read(JFK, ScriptedTranscriber("one two"))
        assert from_payload(to_payload(segment)) == segment
        assert segment_id(segment) == segment_id(read(JFK, ScriptedTranscriber("one two"))[0])


class TestWithoutWords:
    @pytest.mark.parametrize("sound", [noise(4), tone(4)], ids=["noise", "tone"])
    def test_a_sound_stays_findable(self, tmp_path: Path, whisper: Transcriber, sound: object) -> None:
        tags = {"title": "Surf", "comment": "Recorded at dawn"}
        path = write_audio(tmp_path / "surf.mp3", sound, codec="libmp3lame", tags=tags)  # type: ignore[arg-type]
        (segment,) = read(path, whisper)
        assert (segment.kind, segment.text, segment.words) == ("sound", "", ())
        assert segment.caption == "Surf · Recorded at dawn"
        assert isinstance(segment.locator, TimeSpan)
        assert (segment.locator.start_s, segment.locator.end_s) == (0.0, pytest.approx(4.0, abs=0.05))
        assert segment.meta["silent"] is False

    def test_silence_is_marked_as_silent(self, tmp_path: Path, whisper: Transcriber) -> None:
        (segment,) = read(write_audio(tmp_path / "quiet.wav", silence(3)), whisper)
        assert (segment.kind, segment.meta["silent"]) == ("sound", True)

    def test_documents_beside_a_recording_give_its_caption(self) -> None:
        source = Source(JFK, "cd" * 32, 1, "audio/ogg", "audio", captions=("A president speaks",))
        found, *_ = audio.segments(source, SETTINGS, ScriptedTranscriber("words"))
        assert found.segment.caption.endswith("John F. Kennedy\nA president speaks")

    def test_an_empty_track_is_damaged(self, tmp_path: Path) -> None:
        whole = write_audio(tmp_path / "whole.wav", tone(1)).read_bytes()
        path = tmp_path / "empty.wav"
        path.write_bytes(whole[: whole.index(b"data") + 8])
        with pytest.raises(DamagedMedia):
            read(path)

    def test_a_file_without_sound_is_refused(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "mute.mp4", [texture(0)] * 3)
        with pytest.raises(UnsupportedMedia):
            read(path)


class TestBounds:
    def test_too_long(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "long.wav", tone(3))
        with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_MEDIA_S"):
            read(path, settings=Settings(max_media_s=2))

    def test_nothing_is_read_to_measure(self) -> None:
        source = identify(JFK, SETTINGS)
        assert audio.measure(source, SETTINGS) == Measure(audio_s=pytest.approx(11.0, abs=0.1))
        with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_MEDIA_S"):
            audio.measure(source, Settings(max_media_s=10))
