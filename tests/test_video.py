"""Videos to segments: frames and words on one clock, and every time resolves to what was seen or heard."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ingest.audio_video import video
from ingest.audio_video.decode import SAMPLE_RATE
from ingest.audio_video.shots import changed_share, sample_frame
from ingest.audio_video.transcribers import Transcriber, load_transcriber
from ingest.formats.identify import Measure, identify
from ingest.picture.ocr import Ocr
from rag.config import Settings
from rag.errors import DamagedMedia, MediaTooLarge
from rag.media.opening import frame_rgb
from rag.segments import from_payload, to_payload
from rag.types import Extracted, FrameRegion, Segment, Source, TimeSpan
from tests.fakes.media import JFK, noise, plain, samples_of, silence, slide, texture, tone, write_audio, write_video
from tests.fakes.speech import ScriptedTranscriber

SETTINGS = Settings(threads=2)
BLIND = Settings(threads=2, ocr="off")


def read(
    path: Path, transcriber: Transcriber | None = None, settings: Settings = BLIND, ocr: Ocr | None = None
) -> list[Extracted]:
    source = identify(path, settings)
    return list(video.segments(source, settings, transcriber or ScriptedTranscriber("hello there"), ocr or Ocr(1)))


def of_kind(found: Sequence[Extracted], kind: str) -> list[Segment]:
    return [extracted.segment for extracted in found if extracted.segment.kind == kind]


def scenes(*seeds: int, length: int = 30) -> list[Image.Image]:
    return [texture(seed) for seed in seeds for _ in range(length)]


def frame_at(path: Path, at_s: float) -> Image.Image:
    """What a player shows at that time: it seeks to the key frame before and decodes up to it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = container.start_time or 0
        container.seek(start + int(at_s * 1e6))
        shown = None
        for frame in container.decode(stream):
            if frame.time - start / 1e6 > at_s:
                break
            shown = frame
        assert shown is not None
        return frame_rgb(shown, stream.sample_aspect_ratio, 768)


def cells(image: Image.Image) -> NDArray[np.uint8]:
    return sample_frame(0, np.asarray(image.resize((256, 144), Image.Resampling.BOX)), None).cells


class TestClock:
    @pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
    def test_frames_and_late_speech_share_a_clock(self, tmp_path: Path, name: str) -> None:
        path = write_video(tmp_path / name, scenes(1, 2, length=70), sound=samples_of(JFK), sound_at_s=2.0)
        found = read(path)
        (speech,) = of_kind(found, "speech")
        assert isinstance(speech.locator, TimeSpan)
        assert speech.locator.start_s == pytest.approx(2.3, abs=0.3)
        first, second = of_kind(found, "frame")[:2]
        assert first.meta["start_s"] == pytest.approx(0.0, abs=0.1)
        assert second.meta["start_s"] == pytest.approx(5.0, abs=2.1)
        assert [f for f in of_kind(found, "frame") if abs(float(f.meta["start_s"]) - 7.0) < 0.2]

    def test_words_are_at_their_time_in_the_video(self, tmp_path: Path) -> None:
        whisper = load_transcriber(Settings(threads=2, transcriber="tiny.en"))
        path = write_video(tmp_path / "late.mp4", scenes(1, length=130), sound=samples_of(JFK), sound_at_s=2.0)
        (speech,) = of_kind(read(path, whisper), "speech")
        asks = [word.start_s for word in speech.words if word.text == "ask"]
        assert asks == [pytest.approx(5.3, abs=0.3), pytest.approx(10.15, abs=0.3)]

    @pytest.mark.parametrize(("name", "codec", "fps"), [("a.mp4", "libx264", 30), ("a.webm", "libvpx", 24)])
    def test_a_time_resolves_to_the_frame(self, tmp_path: Path, name: str, codec: str, fps: int) -> None:
        path = write_video(
            tmp_path / name, scenes(1, 2, 3, 4, length=40), codec=codec, fps=fps, options={"cpu-used": "8"}
        )
        found = read(path)
        assert len(found) == 4
        for extracted in found:
            assert isinstance(extracted.segment.locator, FrameRegion)
            assert extracted.picture is not None
            shown = frame_at(path, extracted.segment.locator.at_s)
            assert changed_share(cells(extracted.picture), cells(shown)) == 0.0

    def test_a_variable_rate(self, tmp_path: Path) -> None:
        times = [0.0, 0.2, 0.3, 2.0, 2.1, 2.8, 6.0, 6.3, 6.9]
        frames = [texture(1)] * 3 + [texture(2)] * 3 + [texture(3)] * 3
        path = write_video(tmp_path / "vfr.mkv", frames, times_s=times)
        found = of_kind(read(path), "frame")
        assert [frame.meta["start_s"] for frame in found] == pytest.approx([0.0, 2.0, 6.0], abs=0.01)


class TestFrames:
    def test_words_on_slides_are_read(self, tmp_path: Path, ocr: Ocr) -> None:
        frames = [slide(["Harbour plan"])] * 30 + [slide(["Harbour plan", "Budget: 40 million"])] * 30
        found = read(write_video(tmp_path / "slides.mp4", frames), settings=SETTINGS, ocr=ocr)
        first, second = (extracted.segment for extracted in found)
        assert first.text == "Harbour plan"
        assert second.text == "Harbour plan\nBudget: 40 million"
        assert (second.modality, second.kind, second.title) == ("video", "frame", "slides.mp4")
        assert (second.meta["start_s"], second.meta["end_s"]) == (pytest.approx(3.0), pytest.approx(6.0, abs=0.2))
        assert from_payload(to_payload(second)) == second

    def test_pictures_are_bounded(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "big.mp4", [texture(1, (1920, 1080))] * 5)
        (extracted,) = read(path)
        assert extracted.picture is not None
        assert (extracted.picture.mode, extracted.picture.size) == ("RGB", (768, 432))

    def test_a_turned_telephone(self, tmp_path: Path) -> None:
        upper = plain((0, 0, 0))
        upper.paste((255, 255, 255), (0, 0, 320, 90))
        path = turn(write_video(tmp_path / "phone.mp4", [upper] * 10))
        (extracted,) = read(path)
        assert extracted.picture is not None
        assert extracted.picture.size == (180, 320)
        pixels = np.asarray(extracted.picture.convert("L"))
        # A quarter turn clockwise brings the upper half to the right.
        assert pixels[:, 100:].mean() > 200
        assert pixels[:, :80].mean() < 50

    def test_wide_pixels_are_made_square(self) -> None:
        frame = av.VideoFrame.from_image(texture(1, (320, 240)))
        assert frame_rgb(frame, Fraction(4, 3), 768).size == (427, 240)
        assert frame_rgb(frame, Fraction(4, 3), 200).size == (200, 113)

    def test_a_long_video_is_read_by_its_key_frames(self, tmp_path: Path) -> None:
        frames = [texture(i // 110, (64, 36)) for i in range(660)]
        path = write_video(tmp_path / "long.mp4", frames, fps=1, options={"g": "2", "sc_threshold": "0"})
        found = of_kind(read(path), "frame")
        starts = [float(frame.meta["start_s"]) for frame in found]
        assert all(any(abs(start - cut) <= 2 for start in starts) for cut in range(0, 660, 110))
        assert len(found) <= 12

    def test_black_video_still_has_a_frame(self, tmp_path: Path) -> None:
        assert len(read(write_video(tmp_path / "black.mp4", [plain((0, 0, 0))] * 30))) == 1


class TestSound:
    def test_without_sound(self, tmp_path: Path) -> None:
        found = read(write_video(tmp_path / "mute.mp4", scenes(1)))
        assert [extracted.segment.kind for extracted in found] == ["frame"]

    def test_silence_is_nothing(self, tmp_path: Path) -> None:
        found = read(write_video(tmp_path / "hush.mp4", scenes(1), sound=silence(3)))
        assert [extracted.segment.kind for extracted in found] == ["frame"]

    @pytest.mark.parametrize("sound", [noise(3), tone(3)], ids=["noise", "tone"])
    def test_audio_without_speech_is_a_sound(self, tmp_path: Path, sound: NDArray[np.float32]) -> None:
        path = write_video(tmp_path / "hum.mp4", scenes(1), sound=sound, sound_at_s=1.0)
        _, heard = read(path)
        assert (heard.segment.kind, heard.segment.modality, heard.segment.text) == ("sound", "video", "")
        assert float(heard.segment.meta["start_s"]) == pytest.approx(1.0, abs=0.1)
        assert float(heard.segment.meta["end_s"]) == pytest.approx(4.0, abs=0.2)
        assert heard.sound is not None
        assert len(heard.sound) == pytest.approx(3 * SAMPLE_RATE, rel=0.1)
        (frame,) = read(path, settings=BLIND.model_copy(update={"audio_encoder": "off"}))
        assert frame.segment.kind == "frame"

    def test_ordinals_run_through(self, tmp_path: Path) -> None:
        found = read(write_video(tmp_path / "talk.mp4", scenes(1, 2, length=60), sound=samples_of(JFK)))
        assert [extracted.segment.ordinal for extracted in found] == list(range(len(found)))
        assert [extracted.segment.modality for extracted in found] == ["video"] * len(found)
        (said,) = of_kind(found, "speech")
        assert all(extracted.picture is None for extracted in found[said.ordinal :])

    def test_a_video_file_with_sound_alone_is_a_recording(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "talk.mp4", samples_of(JFK), codec="aac")
        source = Source(path, "ef" * 32, 1, "video/mp4", "video")
        extracted, *_ = video.segments(source, BLIND, ScriptedTranscriber("hello"), Ocr(1))
        assert (extracted.segment.modality, extracted.segment.kind) == ("audio", "speech")

    def test_the_first_segment_has_the_caption(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "talk.mp4", scenes(1, 2, length=60), sound=samples_of(JFK))
        source = Source(path, "ef" * 32, 1, "video/mp4", "video", captions=("The launch",))
        found = [e.segment.caption for e in video.segments(source, BLIND, ScriptedTranscriber("hello"), Ocr(1))]
        assert found == ["The launch"] + [""] * (len(found) - 1)


class TestBounds:
    def test_nothing_is_read_to_measure(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", scenes(1), sound=tone(3))
        length_s = pytest.approx(3.0, abs=0.1)
        assert video.measure(identify(path, SETTINGS), SETTINGS) == Measure(audio_s=length_s, video_s=length_s)
        mute = write_video(tmp_path / "b.mp4", scenes(1))
        assert video.measure(identify(mute, SETTINGS), SETTINGS).audio_s == 0.0

    def test_too_long(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", scenes(1))
        with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_MEDIA_S"):
            read(path, settings=Settings(max_media_s=1))
        with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_MEDIA_S"):
            video.measure(identify(path, SETTINGS), Settings(max_media_s=1))

    def test_too_many_pixels(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", scenes(1))
        with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_PIXELS"):
            read(path, settings=Settings(max_pixels=1000))

    def test_a_tail_that_is_missing(self, tmp_path: Path) -> None:
        whole = write_video(tmp_path / "whole.mkv", scenes(*range(10)), sound=noise(30))
        path = tmp_path / "cut.mkv"
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
        with pytest.raises(DamagedMedia):
            read(path)


def turn(path: Path) -> Path:
    """Write a quarter turn clockwise into the track header of an MP4 file (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[matrix : matrix + 36]) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    quarter = (0, 1 << 16, 0, -(1 << 16), 0, 0, 180 << 16, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", *quarter)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("tags", "known"),
    [
        (
            {"creation_time": "2024-05-01T08:00:00.000000Z", "location": "+48.8577+002.2950+035/"},
            {"taken": "2024-05-01T08:00:00", "taken_s": 1714550400.0, "lat": 48.8577, "lon": 2.295},
        ),
        ({"creation_time": "1904-01-01T00:00:00Z", "location": "+00.0000+000.0000/"}, {}),
        ({"creation_time": "yesterday", "location": "at home"}, {}),
    ],
)
def test_time_and_place_of_a_video(tmp_path: Path, tags: dict[str, str], known: dict[str, object]) -> None:
    path = write_video(tmp_path / "a.mkv", scenes(1), sound=tone(3.0), tags=tags)
    for extracted in read(path):
        fields = extracted.segment.meta
        assert {key: fields[key] for key in ("taken", "taken_s", "lat", "lon") if key in fields} == known
