"""Decode sound and pictures from media containers, on one clock and within limits.

The clock counts seconds from the container's start time, as players and ``ffmpeg -ss`` do. Every frame is placed by its
own presentation time, so late starts, gaps, edit lists and variable rates are respected.

A few broken packets are skipped, as in every player. A file with more than one broken packet in fifty, or one that ends
well before the length in its header, is damaged as a whole: half a file is never indexed silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rag.config import Settings
from rag.errors import DamagedMedia, MediaTooLarge, UnsupportedMedia
from rag.media.opening import check_pixels, picture_stream, sound_stream, stated_duration_s, time_s

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet, VideoFrame, VideoStream
    from av.container import InputContainer

SAMPLE_RATE = 16_000

# Formats whose header states the full length; the others estimate it from bytes or from the last page.
_STATED_LENGTH = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flac"})
_TAGS = ("title", "artist", "album", "composer", "genre", "description", "comment")
_TAG_CHARACTERS = 400

_PIECE_S = 10.0
# A smaller difference between presentation time and counted samples is jitter of the container.
_JITTER_S = 0.2
# A clock that jumps back further was reset; players go on counting.
_RESET_S = 1.0


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """A piece of gapless sound: mono float32 samples in [-1, 1] at 16 kHz, and the time of the first."""

    start_s: float
    samples: NDArray[np.float32]

    @property
    def end_s(self) -> float:
        """The time after the last sample."""
        return self.start_s + len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded frame and its time."""

    at_s: float
    frame: VideoFrame


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The limits of decoding: seconds of the recording, pixels of a frame, and threads."""

    seconds: float
    pixels: int
    threads: int = 1


def limits_of(settings: Settings) -> DecodeLimits:
    """Return the limits in the settings."""
    return DecodeLimits(settings.max_media_s, settings.max_pixels, settings.threads)


def describe_container(container: InputContainer) -> str:
    """Return the container's own tags as a text: title, artist, album, comment and the like; empty without tags."""
    found: dict[str, None] = {}
    for track in (container, sound_stream(container)):  # Ogg keeps them in the stream
        metadata = track.metadata if track is not None else {}
        lowered = {key.lower(): value.strip()[:_TAG_CHARACTERS] for key, value in metadata.items()}
        found |= {lowered[tag]: None for tag in _TAGS if lowered.get(tag)}
    return " · ".join(found)


def check_length(container: InputContainer, limits: DecodeLimits) -> None:
    """Refuse, before decoding, a file that is too long by its own header.

    Raises:
        MediaTooLarge: it is longer than `limits.seconds`.
    """
    if stated_duration_s(container) > limits.seconds:
        raise _too_long(stated_duration_s(container), limits)


def decode_sound(container: InputContainer, limits: DecodeLimits) -> Iterator[AudioPiece]:
    """Decode the sound track to gapless pieces of at most 10 s, in order; yield nothing without a sound track.

    Raises:
        MediaTooLarge: it is longer than `limits.seconds`.
        DamagedMedia: the file breaks off or is broken.
    """
    stream = sound_stream(container)
    if stream is None:
        return
    check_length(container, limits)
    mono = _MonoResampler()
    for frame in _decode_packets(container, stream):
        at_s = time_s(frame, container)
        if at_s is not None and _is_discontinuous(at_s, mono.now_s):
            yield from mono.finish()
            mono.now_s = at_s
        mono.add(frame)
        if max(mono.now_s, mono.total_s) > limits.seconds:
            raise _too_long(max(mono.now_s, mono.total_s), limits)
        if mono.waiting_s >= _PIECE_S:
            yield mono.take()
    yield from mono.finish()


def resample(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    """Convert mono samples (n,) to another rate."""
    if rate == wanted:
        return samples
    from av import AudioFrame, AudioResampler

    resampler = AudioResampler("flt", "mono", wanted)
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="flt", layout="mono")
    frame.sample_rate = rate
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([np.zeros(0, np.float32), *(part.to_ndarray()[0] for part in frames)])


def decode_frames(
    container: InputContainer, limits: DecodeLimits, *, keyframes_only: bool = False
) -> Iterator[DecodedFrame]:
    """Decode the moving pictures, in the order of presentation.

    Raises:
        MediaTooLarge: it is longer than `limits.seconds`, or its frames have more than `limits.pixels`.
        DamagedMedia: the file breaks off or is broken.
    """
    stream = picture_stream(container)
    if stream is None:
        return
    check_length(container, limits)
    context = stream.codec_context
    check_pixels((context.width, context.height), limits.pixels)
    context.options = {"max_pixels": str(limits.pixels)}
    context.thread_count, stream.thread_type = limits.threads, "AUTO"
    if keyframes_only:
        context.skip_frame = "NONKEY"
    step_s = float(1 / (stream.average_rate or 25))
    next_s = 0.0
    for frame in _decode_packets(container, stream):
        at_s = time_s(frame, container)
        at_s = next_s if at_s is None else at_s
        next_s = at_s + step_s
        if at_s > limits.seconds:
            raise _too_long(at_s, limits)
        check_pixels((frame.width, frame.height), limits.pixels)
        yield DecodedFrame(at_s, frame)


class _MonoResampler:
    """A converter of frames of any rate and layout to gapless 16 kHz mono, which tracks their end on the clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.total_s = 0.0
        self.waiting_s = 0.0
        self._waiting: list[NDArray[np.int16]] = []
        self._resampler: Any = None
        self._setup: tuple[str, str, int] | None = None

    def add(self, frame: AudioFrame) -> None:
        """Convert a frame and append it."""
        from av import AudioResampler

        setup = (frame.format.name, frame.layout.name, frame.sample_rate)
        if setup != self._setup:
            self._flush()
            # 16-bit, because libswresample then scales a downmix so that it cannot clip.
            self._resampler, self._setup = AudioResampler("s16", "mono", SAMPLE_RATE), setup
        frame.pts = None
        self._keep(self._resampler.resample(frame))

    def take(self) -> AudioPiece:
        """Return everything converted so far as one piece, and start a new one."""
        samples = np.concatenate(self._waiting).astype(np.float32) / 32768.0
        piece = AudioPiece(self.now_s - self.waiting_s, samples)
        self._waiting, self.waiting_s = [], 0.0
        return piece

    def finish(self) -> Iterator[AudioPiece]:
        """Yield what is left of the gapless stretch."""
        self._flush()
        if self._waiting:
            yield self.take()

    def _flush(self) -> None:
        if self._resampler is not None:
            self._keep(self._resampler.resample(None))
            self._resampler = self._setup = None

    def _keep(self, frames: Iterable[AudioFrame]) -> None:
        for frame in frames:
            self._waiting.append(frame.to_ndarray()[0])
            seconds = frame.samples / SAMPLE_RATE
            self.waiting_s += seconds
            self.now_s += seconds
            self.total_s += seconds


def _is_discontinuous(at_s: float, now_s: float) -> bool:
    return at_s - now_s > _JITTER_S or -_RESET_S < at_s - now_s < -_JITTER_S


def _decode_packets(container: InputContainer, stream: AudioStream | VideoStream) -> Iterator[Any]:
    """Yield the frames of one stream; packets of the others only show how far the file reaches."""
    import av

    if stream.codec_context is None:
        raise UnsupportedMedia("Its codec is not supported; convert it to MP4 (H.264, AAC), WebM or WAV.")
    packets = broken = 0
    reached_s = 0.0
    for packet in _demux(container):
        reached_s = max(reached_s, _end_s(packet))
        # An empty packet with a time repeats the frame before (Theora); one without a time ends the stream.
        if packet.stream is not stream or (packet.size == 0 and packet.pts is not None):
            continue
        packets += 1
        try:
            frames: list[Any] = packet.decode()
        except av.FFmpegError:
            broken += 1
            continue
        broken += sum(frame.is_corrupt for frame in frames)
        yield from (frame for frame in frames if not frame.is_corrupt)
    _check_complete(container, reached_s, packets, broken)


def _demux(container: InputContainer) -> Iterator[Packet]:
    packets = container.demux()
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            # PyAV 18.1 ends with this error if a track appears late; the known ones are flushed by then.
            return
        if packet is None:
            return
        yield packet


def _end_s(packet: Packet) -> float:
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _check_complete(container: InputContainer, reached_s: float, packets: int, broken: int) -> None:
    if broken > max(3, packets / 50):
        raise DamagedMedia(f"{broken} of its {packets} packets are broken; copy it again from the original.")
    length_s = stated_duration_s(container)
    reached_s -= (container.start_time or 0) / 1e6
    if container.format.name in _STATED_LENGTH and length_s - reached_s > max(1.0, length_s / 20):
        raise DamagedMedia(
            f"It breaks off after {reached_s:.1f} s, but its header states {length_s:.1f} s; "
            "copy it again from the original."
        )


def _too_long(seconds: float, limits: DecodeLimits) -> MediaTooLarge:
    return MediaTooLarge(
        f"It is {seconds:,.0f} s long or longer, more than the limit of {limits.seconds:,.0f} s; "
        "split it, or raise EXHIBIT_MAX_MEDIA_S."
    )
