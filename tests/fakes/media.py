"""Small media files, made where a test needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ingest.audio_video.decode import SAMPLE_RATE

_DATA = Path(__file__).parents[1] / "data"
DOG, JFK, RAIN = _DATA / "dog.ogg", _DATA / "jfk.ogg", _DATA / "rain.ogg"
JFK_TEXT = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


def samples_of(path: Path) -> NDArray[np.float32]:
    """Return all sound of a file, mono at 16 kHz."""
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(str(path)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32) / 32768


def tone(seconds: float, hertz: float = 440.0, level: float = 0.3) -> NDArray[np.float32]:
    """Return a sine."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def noise(seconds: float, level: float = 0.1) -> NDArray[np.float32]:
    """Return white noise."""
    return (level * np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)


def silence(seconds: float) -> NDArray[np.float32]:
    """Return silence."""
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (320, 180)) -> Image.Image:
    """Return a picture of one colour."""
    return Image.new("RGB", size, colour)


def texture(seed: int, size: tuple[int, int] = (320, 180)) -> Image.Image:
    """Return a picture of soft blobs, different for each seed."""
    cells = np.random.default_rng(seed).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def slide(lines: Sequence[str], size: tuple[int, int] = (640, 360)) -> Image.Image:
    """Return a picture with black lines of text on white."""
    image = plain((255, 255, 255), size)
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        draw.text((40, 30 + 60 * i), line, fill=(10, 10, 10), font=ImageFont.load_default(32))
    return image


def write_audio(
    path: Path,
    samples: NDArray[np.float32],
    *,
    codec: str = "pcm_s16le",
    rate: int = SAMPLE_RATE,
    layout: str = "mono",
    tags: dict[str, str] | None = None,
) -> Path:
    """Write sound of shape (n,) or (channels, n); the file's name decides the format."""
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for frame in _audio_frames(samples, rate, layout):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_video(
    path: Path,
    frames: Iterable[Image.Image],
    *,
    fps: int = 10,
    codec: str = "libx264",
    sound: NDArray[np.float32] | None = None,
    sound_at_s: float = 0.0,
    times_s: Sequence[float] | None = None,
    options: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> Path:
    """Write pictures as a video, with sound that begins at `sound_at_s`; `times_s` makes the rate variable."""
    frames = list(frames)
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"} if tags else {}) as container:
        container.metadata.update(tags or {})
        video = container.add_stream(codec, rate=fps, options=options or {})
        video.width, video.height, video.pix_fmt = *frames[0].size, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if sound is not None else None
        packets = []
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_image(image)
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * (times_s[i] if times_s else i / fps))
            packets += video.encode(frame)
        packets += video.encode(None)
        if audio is not None and sound is not None:
            for frame in _audio_frames(sound, SAMPLE_RATE, "mono", round(sound_at_s * SAMPLE_RATE)):
                packets += audio.encode(frame)
            packets += audio.encode(None)
        container.mux(sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)))
    return path


def _audio_frames(samples: NDArray[np.float32], rate: int, layout: str, first: int = 0) -> Iterable[av.AudioFrame]:
    channels = np.atleast_2d(samples)
    for start in range(0, channels.shape[1], 1024):
        block = np.ascontiguousarray(channels[:, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, first + start, Fraction(1, rate)
        yield frame
