"""Clips and waveforms of recordings and videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from rag.errors import UnsupportedMedia
from rag.media.opening import frame_rgb, open_av, picture_stream, sound_stream, stated_duration_s
from rag.media.seeking import SoundSpan, check_within, frames, sound
from rag.types import TimeSpan

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

MAX_CLIP_S = 120.0
CLIP_PX = 640  # longest side of a clip's pictures
MAX_WAVEFORM_S = 1200.0
_CLIP_FPS, _CLOCK = 30, 90_000
_AAC_FRAME = 1024
_MP3_RATE, _MP3_BITS_S = 24_000, 48_000
_WAVE_RATE = 8000
_WAVE_PX = (1200, 120)
_BAR_PX, _BAR_STEP_PX = 5, 8
# Container, codecs of its pictures and of its sound (None for none), and the media type for browsers.
_PLAYED_EVERYWHERE = (
    ("mov,mp4,m4a,3gp,3g2,mj2", {"h264"}, {"aac", "mp3", None}, "video/mp4"),
    ("mov,mp4,m4a,3gp,3g2,mj2", {None}, {"aac", "mp3"}, "audio/mp4"),
    ("matroska,webm", {"vp8", "vp9"}, {"opus", "vorbis", None}, "video/webm"),
    ("mp3", {None}, {"mp3"}, "audio/mpeg"),
    ("wav", {None}, {"pcm_s16le"}, "audio/wav"),
)


@dataclass(frozen=True, slots=True)
class Clip:
    """A file to play.

    Attributes:
        data: the bytes of a file.
        media_type: its IANA media type.
        start_s: the second of the original at which it begins.
        is_whole: whether it is the original file.
    """

    data: bytes
    media_type: str
    start_s: float
    is_whole: bool


def playable(path: Path, span: TimeSpan, *, whole_bytes: int) -> Clip:
    """Return the whole file if it is small and plays in every browser, else the seconds of the span.

    Args:
        path: a recording or video.
        span: the seconds that it must hold.
        whole_bytes: largest size of a file that is returned whole.

    Raises:
        MediaError: as `clip`.
    """
    with open_av(path, path.name) as container:
        media_type = _media_type(container)
        late_start = abs(container.start_time or 0) > 100_000
        has_pictures = picture_stream(container) is not None
        check_within(path, container, span.start_s)
    if media_type and not late_start and path.stat().st_size <= whole_bytes:
        return Clip(path.read_bytes(), media_type, 0.0, True)
    return Clip(clip(path, span), "video/mp4" if has_pictures else "audio/mp4", max(span.start_s, 0.0), False)


def clip(path: Path, span: TimeSpan) -> bytes:
    """Return the seconds of a span as MP4 (H.264 of at most `CLIP_PX`, AAC), which every browser plays.

    The first picture is the one at the start of the span. Longer spans are cut to `MAX_CLIP_S`.

    Raises:
        UnsupportedMedia: it has neither sound nor pictures that can be decoded.
        MediaError: the file has gone, is damaged, or ends before the span.
    """
    import av

    span = _bound(span, MAX_CLIP_S)
    buffer = BytesIO()
    with open_av(path, path.name) as container:
        check_within(path, container, span.start_s)
        has_pictures, has_sound = picture_stream(container) is not None, sound_stream(container) is not None
    pictures = _clip_pictures(path, span) if has_pictures else iter(())
    first = next(pictures, None)
    heard = sound(path, span) if has_sound else None
    if first is None and heard is None:
        raise UnsupportedMedia(f"{path.name} has no sound or pictures that can be played.")
    with av.open(buffer, "w", format="mp4") as out:
        # Both tracks must be there before the first packet is written.
        video = _video_track(out, first[1].size) if first else None
        audio = out.add_stream("aac", rate=heard.rate, layout=heard.layout) if heard else None
        if first is not None:
            _encode_pictures(out, video, chain([first], pictures))
        if heard is not None:
            _encode_sound(out, audio, heard)
    return buffer.getvalue()


def mp3(path: Path, span: TimeSpan) -> bytes:
    """Return the sound of a span as MP3, mono, 6 kB a second, as language models with hearing take it.

    Longer spans are cut to `MAX_CLIP_S`.

    Raises:
        UnsupportedMedia: it has no sound.
        MediaError: the file has gone, is damaged, or ends before the span.
    """
    import av

    heard = sound(path, _bound(span, MAX_CLIP_S), rate=_MP3_RATE)
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=_MP3_RATE, layout="mono")
        stream.bit_rate = _MP3_BITS_S
        _encode_sound(out, stream, SoundSpan(heard.samples.mean(axis=0, keepdims=True), _MP3_RATE))
    return buffer.getvalue()


def length_s(path: Path) -> float:
    """Return the length in seconds that the headers state, or 0.

    Raises:
        MediaError: the file has gone or is damaged.
    """
    with open_av(path, path.name) as container:
        return stated_duration_s(container)


def waveform(path: Path, span: TimeSpan) -> Image.Image:
    """Draw loudness over the span as bars, black on transparent, so that a page can colour it: RGBA, 1200 x 120.

    Raises:
        UnsupportedMedia: it has no sound.
        MediaError: the file has gone, is damaged, or ends before the span.
    """
    heard = sound(path, _bound(span, MAX_WAVEFORM_S), rate=_WAVE_RATE)
    bars = _WAVE_PX[0] // _BAR_STEP_PX
    pieces = np.array_split(np.abs(heard.samples).max(axis=0), bars)
    peaks = np.array([float(np.percentile(piece, 95)) if piece.size else 0.0 for piece in pieces])
    heights = peaks / max(float(peaks.max()), 0.02)
    picture = Image.new("RGBA", _WAVE_PX, (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    for index, height in enumerate(heights):
        half = max(_BAR_PX / 2, height * (_WAVE_PX[1] / 2 - 2))
        left, middle = index * _BAR_STEP_PX, _WAVE_PX[1] / 2
        draw.rounded_rectangle((left, middle - half, left + _BAR_PX, middle + half), _BAR_PX / 2, fill="black")
    return picture


def _bound(span: TimeSpan, longest_s: float) -> TimeSpan:
    """Return the span from second 0 on, at least 0.1 s and at most `longest_s` long."""
    start_s = max(span.start_s, 0.0)
    return TimeSpan(start_s, min(max(span.end_s, start_s + 0.1), start_s + longest_s))


def _clip_pictures(path: Path, span: TimeSpan) -> Iterator[tuple[float, Image.Image]]:
    """Yield the pictures of a clip with their seconds in it: upright, small, at most 30 a second."""
    next_s = 0.0
    for timed in frames(path, span.start_s):
        if timed.at_s >= span.end_s:
            return
        clip_s = max(0.0, timed.at_s - span.start_s)
        if clip_s < next_s:
            continue
        next_s = clip_s + 0.9 / _CLIP_FPS
        picture = frame_rgb(timed.frame, timed.aspect, CLIP_PX)
        # H.264 wants even sides.
        even = picture.width & ~1, picture.height & ~1
        yield clip_s, picture if picture.size == even else picture.resize(even)


def _video_track(out: OutputContainer, size: tuple[int, int]) -> Any:
    stream: Any = out.add_stream("libx264", rate=_CLIP_FPS, options={"crf": "26", "preset": "veryfast"})
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, _CLOCK)
    return stream


def _encode_pictures(out: OutputContainer, stream: Any, pictures: Iterator[tuple[float, Image.Image]]) -> None:
    import av

    for clip_s, picture in pictures:
        if picture.size != (stream.width, stream.height):  # a stream may change its size in the middle
            picture = picture.resize((stream.width, stream.height))
        frame = av.VideoFrame.from_image(picture)
        frame.pts, frame.time_base = round(clip_s * _CLOCK), Fraction(1, _CLOCK)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _encode_sound(out: OutputContainer, stream: Any, heard: SoundSpan) -> None:
    import av

    for start in range(0, heard.samples.shape[1], _AAC_FRAME):
        piece = np.ascontiguousarray(heard.samples[:, start : start + _AAC_FRAME])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=heard.layout)
        frame.sample_rate, frame.pts, frame.time_base = heard.rate, start, Fraction(1, heard.rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _media_type(container: InputContainer) -> str:
    """Return the media type of a file that every browser plays; empty for others."""
    streams = picture_stream(container), sound_stream(container)
    pictures, heard = (s.codec_context.codec.canonical_name if s and s.codec_context else None for s in streams)
    for form, picture_codecs, sound_codecs, media_type in _PLAYED_EVERYWHERE:
        if container.format.name == form and pictures in picture_codecs and heard in sound_codecs:
            return media_type
    return ""
