"""Pictures and sound of a place in a recording or video, decoded from the nearest point before it.

Seconds are counted from the container's start time, as players and `ingest` count them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from rag.errors import DamagedMedia, MediaError, MediaTooLarge, UnsupportedMedia
from rag.media.opening import (
    MAX_PIXELS,
    check_pixels,
    frame_rgb,
    open_av,
    picture_stream,
    sound_stream,
    stated_duration_s,
    time_s,
)
from rag.types import TimeSpan

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame
    from av.container import InputContainer

_MOST_FRAMES = 100_000  # decoded on the way to a place: more than an hour without a key frame
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_ROUNDING_S = 0.0006  # of times to milliseconds
_PAST_END_S = 1.0  # lengths in headers are not exact
_FRAME_PX = 4096


class FrameAtTime(NamedTuple):
    """A frame, the second at which it appears, and the aspect of its pixels, width to height (None for square)."""

    at_s: float
    frame: VideoFrame
    aspect: Fraction | None


def frame_at(path: Path, at_s: float) -> Image:
    """Return the frame at this second of a video: RGB, square pixels, upright.

    Raises:
        UnsupportedMedia: it has no moving pictures.
        MediaError: the file has gone, is damaged, or ends before that.
    """
    with open_av(path, path.name) as container:
        if picture_stream(container) is None:
            raise UnsupportedMedia(f"{path.name} has no pictures, only sound.")
        check_within(path, container, at_s)
        states_length = bool(container.duration)
    timed = next(frames(path, at_s), None)
    if timed is None:
        raise DamagedMedia(f"No picture of {path.name} could be decoded at second {at_s:.1f}.")
    if not states_length and at_s - timed.at_s > _PAST_END_S:
        raise _beyond(path, timed.at_s, at_s)
    return frame_rgb(timed.frame, timed.aspect, _FRAME_PX)


@dataclass(frozen=True, slots=True)
class SoundSpan:
    """Sound of exactly the span: float32, channels x samples; silence where the file has none."""

    samples: NDArray[np.float32]
    rate: int

    @property
    def layout(self) -> str:
        """FFmpeg's name for the channels."""
        return "stereo" if len(self.samples) == 2 else "mono"


def sound(path: Path, span: TimeSpan, rate: int | None = None) -> SoundSpan:
    """Decode a span; each piece is placed by its time, so that gaps and late starts are kept.

    Args:
        path: a recording or video.
        span: the caller bounds its length.
        rate: samples a second; those of the file where None, if AAC has them.

    Raises:
        UnsupportedMedia: it has no sound.
        MediaError: the file has gone, is damaged, or ends before the span.
    """
    import av

    with open_av(path, path.name) as container:
        stream: Any = sound_stream(container)
        if stream is None or stream.codec_context is None:
            raise UnsupportedMedia(f"{path.name} has no sound.")
        check_within(path, container, span.start_s)
        rate = rate or (stream.rate if stream.rate in _AAC_RATES else 48_000)
        channels = min(stream.channels or 1, 2)
        samples = np.zeros((channels, max(1, round((span.end_s - span.start_s) * rate))), np.float32)
        resampler = av.AudioResampler("fltp", "stereo" if channels == 2 else "mono", rate)
        for frame in _audio_frames(container, stream, span):
            at_s = time_s(frame, container) or 0.0
            frame.pts = None
            for part in resampler.resample(frame):
                piece = part.to_ndarray()
                _copy_into(samples, piece, round((at_s - span.start_s) * rate))
                at_s += piece.shape[1] / rate
    return SoundSpan(samples, rate)


def frames(path: Path, at_s: float) -> Iterator[FrameAtTime]:
    """Yield the frame that is visible at this second and those after it, in the order in which they appear.

    Raises:
        MediaError: the file has gone or is damaged.
    """
    # If a seek lands behind the place, or nothing can be decoded there, the file is read from its beginning.
    for seek in (True, False) if at_s > 0 else (False,):
        before: FrameAtTime | None = None
        landed = False
        with contextlib.closing(_decoded_frames(path, at_s if seek else None)) as found:
            for timed in found:
                if timed.at_s <= at_s + _ROUNDING_S:
                    before, landed = timed, True
                    continue
                if seek and not landed:
                    break
                if before is not None:
                    yield before
                before, landed = None, True
                yield timed
        if before is not None:
            yield before
        if landed:
            return


def check_within(path: Path, container: InputContainer, at_s: float) -> None:
    """Refuse a second after the end, as far as the headers state the length.

    Raises:
        MediaError: the file ends before it.
    """
    length_s = stated_duration_s(container)
    if 0 < length_s < at_s - _PAST_END_S:
        raise _beyond(path, length_s, at_s)


def _beyond(path: Path, length_s: float, at_s: float) -> MediaError:
    return MediaError(
        f"{path.name} lasts {length_s:.1f} s and has no second {at_s:.1f}; it has changed since, so ingest it again."
    )


def _copy_into(samples: NDArray[np.float32], piece: NDArray[np.float32], at: int) -> None:
    """Copy a piece to its place, as far as it lies within the samples."""
    skip = max(0, -at)
    piece = piece[:, skip : skip + max(0, samples.shape[1] - max(at, 0))]
    samples[:, max(at, 0) : max(at, 0) + piece.shape[1]] = piece


def _audio_frames(container: InputContainer, stream: Any, span: TimeSpan) -> Iterator[AudioFrame]:
    # A second early: coders of sound need what came before.
    _seek(container, span.start_s - 1.0)
    for frame in _decoded(container, stream):
        at_s = time_s(frame, container)
        if at_s is not None and at_s >= span.end_s:
            return
        yield frame


def _decoded_frames(path: Path, from_s: float | None) -> Generator[FrameAtTime]:
    """Yield the frames from the key frame before a second on, or all."""
    with open_av(path, path.name) as container:
        stream: Any = picture_stream(container)
        context = stream.codec_context
        check_pixels((context.width, context.height), MAX_PIXELS, path.name)
        context.options = {"max_pixels": str(MAX_PIXELS)}
        if from_s is not None:
            _seek(container, from_s)
        for frame in _decoded(container, stream):
            at_s = time_s(frame, container)
            if at_s is not None and not frame.is_corrupt:
                yield FrameAtTime(at_s, frame, stream.sample_aspect_ratio)


def _seek(container: InputContainer, at_s: float) -> None:
    import av

    target = round(max(at_s, 0.0) * 1e6) + (container.start_time or 0)
    # Containers without an index may refuse to seek; they are then read from the beginning.
    with contextlib.suppress(av.FFmpegError):
        container.seek(target, backward=True)


def _decoded(container: InputContainer, stream: Any) -> Iterator[Any]:
    """Yield the frames of a stream from here on; broken packets are skipped, as players do."""
    import av

    count = 0
    for packet in container.demux(stream):
        try:
            found = packet.decode()
        except av.FFmpegError:
            continue
        for frame in found:
            count += 1
            if count > _MOST_FRAMES:
                raise MediaTooLarge(f"Too many frames to decode on the way to this place (limit {_MOST_FRAMES:,}).")
            yield frame
