"""Decoding: one clock for sound and pictures, bounds, damage, and errors that say what to do."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ingest.audio_video.decode import (
    AudioPiece,
    DecodeLimits,
    decode_frames,
    decode_sound,
    describe_container,
)
from rag.errors import DamagedMedia, MediaError, MediaTooLarge, UnsupportedMedia
from rag.media.opening import open_av, picture_stream, stated_duration_s
from tests.fakes.media import JFK, noise, plain, silence, texture, tone, write_audio, write_video

LIMITS = DecodeLimits(seconds=3600, pixels=10_000_000)


def decode(path: Path, limits: DecodeLimits = LIMITS) -> list[AudioPiece]:
    with open_av(path) as container:
        return list(decode_sound(container, limits))


def frame_times(path: Path, limits: DecodeLimits = LIMITS) -> list[float]:
    with open_av(path) as container:
        return [picture.at_s for picture in decode_frames(container, limits)]


def onset_s(pieces: list[AudioPiece], level: float = 0.05) -> float:
    for piece in pieces:
        loud = np.flatnonzero(np.abs(piece.samples) > level)
        if len(loud):
            return piece.start_s + float(loud[0]) / 16_000
    raise AssertionError("nothing to hear")


class TestClock:
    def test_sound_that_starts_late_is_late(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "late.mp4", [texture(1)] * 50, sound=tone(2), sound_at_s=2.0)
        assert onset_s(decode(path)) == pytest.approx(2.0, abs=0.08)
        assert frame_times(path)[0] == 0.0

    def test_sound_starts_late_in_matroska_too(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "late.mkv", [texture(1)] * 50, sound=tone(2), sound_at_s=2.0)
        assert onset_s(decode(path)) == pytest.approx(2.0, abs=0.08)

    def test_a_start_time_of_the_container_counts_as_zero(self, tmp_path: Path) -> None:
        times = [100 + i / 10 for i in range(30)]
        path = write_video(tmp_path / "cast.ts", [texture(1)] * 30, times_s=times, sound=tone(3), sound_at_s=100)
        with open_av(path) as container:
            assert container.start_time > 90_000_000
        assert onset_s(decode(path)) == pytest.approx(0.0, abs=0.1)
        assert frame_times(path)[0] == pytest.approx(0.0, abs=0.1)

    def test_a_gap_keeps_what_follows_in_its_place(self, tmp_path: Path) -> None:
        first = write_audio(tmp_path / "a.mka", tone(1), codec="flac")
        with av.open(str(first)) as source, av.open(str(tmp_path / "gap.mka"), "w") as target:
            stream = target.add_stream_from_template(source.streams.audio[0])
            packets = [p for p in source.demux(audio=0) if p.dts is not None]
            for shift_s in (0, 5):
                for packet in packets:
                    copy = av.Packet(bytes(packet))
                    offset = int(shift_s / packet.time_base)
                    copy.pts, copy.dts, copy.time_base = packet.pts + offset, packet.dts + offset, packet.time_base
                    copy.stream = stream
                    target.mux(copy)
        pieces = decode(tmp_path / "gap.mka")
        assert [piece.start_s for piece in pieces] == pytest.approx([0.0, 5.0], abs=0.01)
        assert pieces[-1].end_s == pytest.approx(6.0, abs=0.1)

    def test_a_variable_frame_rate_keeps_its_times(self, tmp_path: Path) -> None:
        times = [0.0, 0.1, 0.9, 1.0, 3.5, 3.6]
        path = write_video(tmp_path / "vfr.mkv", [texture(i) for i in range(6)], times_s=times)
        assert frame_times(path) == pytest.approx(times, abs=0.002)


class TestSound:
    @pytest.mark.parametrize(("rate", "codec", "name"), [(8000, "pcm_s16le", "a.wav"), (48000, "libopus", "a.webm")])
    def test_any_rate_becomes_16_khz(self, tmp_path: Path, rate: int, codec: str, name: str) -> None:
        path = write_audio(tmp_path / name, tone(16_000 * 3 / 16_000 * rate / 16_000), codec=codec, rate=rate)
        assert sum(len(piece.samples) for piece in decode(path)) == pytest.approx(3 * 16_000, rel=0.02)

    def test_five_channels_are_mixed_without_clipping(self, tmp_path: Path) -> None:
        channels = np.stack([tone(1, level=0.9)] * 6)
        path = write_audio(tmp_path / "surround.flac", channels, codec="flac", layout="5.1")
        (piece,) = decode(path)
        assert 0.2 < float(np.abs(piece.samples).max()) <= 1.0

    def test_a_change_of_the_sample_rate_is_followed(self, tmp_path: Path) -> None:
        parts = [
            write_audio(tmp_path / f"{rate}.mp3", tone(2 * rate / 16_000), codec="libmp3lame", rate=rate)
            for rate in (44_100, 22_050)
        ]
        both = tmp_path / "both.mp3"
        both.write_bytes(b"".join(part.read_bytes() for part in parts))
        assert sum(len(piece.samples) for piece in decode(both)) / 16_000 == pytest.approx(4.0, abs=0.3)

    def test_a_clip_of_20_ms(self, tmp_path: Path) -> None:
        (piece,) = decode(write_audio(tmp_path / "click.wav", tone(0.02)))
        assert len(piece.samples) == 320

    def test_pieces_are_short_and_without_gaps(self, tmp_path: Path) -> None:
        pieces = decode(write_audio(tmp_path / "long.flac", noise(65), codec="flac"))
        assert all(len(piece.samples) <= 12 * 16_000 for piece in pieces)
        assert all(b.start_s == pytest.approx(a.end_s, abs=1e-6) for a, b in pairwise(pieces))
        assert pieces[-1].end_s == pytest.approx(65, abs=0.01)

    def test_tags_describe_the_recording(self, tmp_path: Path) -> None:
        tags = {"title": "Night birds", "artist": "A. Listener", "encoder": "secret"}
        path = write_audio(tmp_path / "tagged.mp3", tone(1), codec="libmp3lame", tags=tags)
        with open_av(path) as container:
            assert describe_container(container) == "Night birds · A. Listener"
        with open_av(JFK) as container:
            assert "John F. Kennedy" in describe_container(container)


class TestPictures:
    def test_cover_art_is_not_video(self, tmp_path: Path) -> None:
        path = with_cover(tmp_path / "song.m4a")
        with open_av(path) as container:
            assert len(container.streams.video) == 1
            assert picture_stream(container) is None
        assert frame_times(path) == []
        assert decode(path)

    def test_too_many_pixels_are_refused_before_decoding(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "wide.mp4", [texture(1)] * 3)
        with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_PIXELS"):
            frame_times(path, DecodeLimits(3600, 50_000))


class TestBounds:
    def test_too_long_by_its_header(self, tmp_path: Path) -> None:
        path = write_audio(tmp_path / "long.wav", tone(5))
        with pytest.raises(MediaTooLarge, match=r"\b5 s"):
            decode(path, DecodeLimits(4, 1_000_000))

    def test_a_header_that_lies_does_not_help(self, tmp_path: Path) -> None:
        # Without the length in its header, a FLAC file says nothing about how long it is.
        path = write_audio(tmp_path / "long.flac", tone(60), codec="flac")
        data = bytearray(path.read_bytes())
        data[18 + 3] &= 0xF0
        data[18 + 4 : 18 + 8] = bytes(4)
        path.write_bytes(data)
        with open_av(path) as container:
            assert stated_duration_s(container) < 20
        with pytest.raises(MediaTooLarge, match="EXHIBIT_MAX_MEDIA_S"):
            decode(path, DecodeLimits(20, 1_000_000))

    def test_pictures_are_bounded_while_decoding(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "raw.m1v", [texture(1)] * 100, codec="mpeg1video", fps=25)
        with open_av(path) as container:
            assert stated_duration_s(container) < 2
        with pytest.raises(MediaTooLarge):
            frame_times(path, DecodeLimits(2, 1_000_000))


class TestDamage:
    @pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv"])
    def test_a_file_that_breaks_off(self, tmp_path: Path, name: str) -> None:
        options = {"g": "5"}
        frames = [texture(i) for i in range(100)]
        whole = write_video(tmp_path / f"whole{name[3:]}", frames, sound=noise(10), options=options)
        if name.endswith("mp4"):
            whole = faststart(whole)
        path = tmp_path / name
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        for read in (frame_times, decode):
            with pytest.raises(DamagedMedia):
                read(path)

    def test_noise_in_the_middle(self, tmp_path: Path) -> None:
        data = bytearray(write_video(tmp_path / "a.mp4", [texture(i) for i in range(60)]).read_bytes())
        start, length = data.index(b"mdat") + len(data) // 4, len(data) // 4
        data[start : start + length] = np.random.default_rng(1).bytes(length)
        path = tmp_path / "broken.mp4"
        path.write_bytes(data)
        with pytest.raises(DamagedMedia):
            frame_times(path)

    def test_a_few_broken_packets_are_skipped(self, tmp_path: Path) -> None:
        data = bytearray(write_audio(tmp_path / "a.mp3", tone(30), codec="libmp3lame").read_bytes())
        data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
        path = tmp_path / "scratched.mp3"
        path.write_bytes(data)
        assert decode(path)[-1].end_s == pytest.approx(30, abs=0.5)

    @pytest.mark.parametrize(
        "content",
        [
            b"not a media file at all" * 100,
            b"ID3\x04\x00\x00\x00\x00\x00\x00#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
            b"ffconcat version 1.0\nfile /etc/passwd\n",
            b"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHello\n",
        ],
        ids=["text", "playlist", "concat", "subtitles"],
    )
    def test_content_without_media_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "odd.mp3"
        path.write_bytes(content)
        with pytest.raises((DamagedMedia, UnsupportedMedia)):
            decode(path)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(MediaError, match=r"gone\.wav"):
            decode(tmp_path / "gone.wav")

    def test_handles_are_released(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", [plain((0, 0, 99))] * 5, sound=silence(0.5))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with open_av(path) as container:
                next(decode_frames(container, LIMITS))
        assert len(os.listdir("/proc/self/fd")) == before


def faststart(path: Path) -> Path:
    target = path.with_name("faststart.mp4")
    options = {"movflags": "faststart"}
    with av.open(str(path)) as source, av.open(str(target), "w", options=options) as sink:
        streams = {s.index: sink.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                sink.mux(packet)
    return target


def with_cover(path: Path) -> Path:
    from av.stream import Disposition

    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=16_000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = av.VideoFrame.from_image(Image.new("RGB", (64, 64), (200, 30, 30)))
        packets = [*cover.encode(picture), *cover.encode(None)]
        frame = av.AudioFrame.from_ndarray(tone(1)[None, :16_000], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        packets += [*audio.encode(frame), *audio.encode(None)]
        container.mux(packets)
    return path
