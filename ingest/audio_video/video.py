"""Turn videos into segments on one clock: selected frames with the words in them, speech, and other sounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from PIL.Image import Resampling

from ingest.audio_video import audio
from ingest.audio_video.decode import check_length, decode_frames, limits_of
from ingest.audio_video.shots import SAMPLE_PX, SAMPLES_PER_S, FrameSample, Shot, sample_frame, select_shots
from ingest.audio_video.transcribers import Transcriber
from ingest.formats.identify import Measure
from ingest.picture.metadata import capture_time_fields, parse_position
from ingest.picture.ocr import PICTURE_PX, Ocr
from ingest.picture.pixels import SEGMENT_PX
from rag.config import Settings
from rag.errors import DamagedMedia, MediaError, MediaTooLarge
from rag.media import open_picture
from rag.media.opening import frame_rgb, open_av, picture_stream, sound_stream, stated_duration_s
from rag.types import Extracted, FrameRegion, Scalar, Segment, Source

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer
    from PIL.Image import Image

# Up to this length every frame is decoded, at 200 to 2,000 a second; in a longer video key frames are, if dense.
_DECODE_ALL_S = 600.0
_TIMES = ("com.apple.quicktime.creationdate", "creation_time")  # the first by the phone's own clock, the second in UTC
_PLACES = ("com.apple.quicktime.location.iso6709", "location")
_TAG_CHARACTERS = 100
_SECONDS = len("2024-05-01T12:30:00")  # of a time, without fractions and zone


def measure(source: Source, settings: Settings) -> Measure:
    """Return the seconds of moving pictures and of sound that the container's headers state.

    Raises:
        MediaError: the headers cannot be read, or state more than the settings allow.
    """
    with open_av(source.path) as container:
        check_length(container, limits_of(settings))
        length_s = stated_duration_s(container)
        has_sound, has_pictures = sound_stream(container) is not None, picture_stream(container) is not None
        return Measure(audio_s=length_s if has_sound else 0.0, video_s=length_s if has_pictures else 0.0)


def segments(source: Source, settings: Settings, transcriber: Transcriber, ocr: Ocr) -> Iterator[Extracted]:
    """Yield the selected frames with the words in them, then the passages of speech, then the other sounds.

    Raises:
        MediaError: the file cannot be decoded to its end, or exceeds a limit.
        ModelError: the transcriber's model is missing or damaged.
        LLMError: a transcription service failed.
    """
    with open_av(source.path) as container:
        stream = picture_stream(container)
        if stream is None:
            yield from audio.segments(source, settings, transcriber)
            return
        caption = audio.first_caption(container, source)
        known = _capture_fields(container)
        count = 0
        for shot in select_shots(_sample_frames(container, stream, settings), settings.frame_every_s):
            picture = frame_rgb(shot.sample.frame, stream.sample_aspect_ratio, PICTURE_PX)
            lines = ocr.read(picture) if settings.ocr == "auto" else []
            segment = _frame_segment(source, count, shot, "\n".join(line.text for line in lines))
            segment = replace(segment, caption=caption if count == 0 else "", meta={**segment.meta, **known})
            picture.thumbnail((SEGMENT_PX, SEGMENT_PX), Resampling.BICUBIC)
            yield Extracted(segment, picture)
            count += 1
    if not count:
        raise DamagedMedia("None of its frames could be decoded; it is truncated or malformed.")
    with open_av(source.path) as container:
        monitor = audio.monitor_sound(container, settings)
        for extracted in audio.speech_and_sounds(monitor, transcriber, source, "video", first=count, caption=caption):
            segment = extracted.segment
            yield replace(extracted, segment=replace(segment, meta={**segment.meta, **known}))


def spread_frames(source: Source, settings: Settings, count: int) -> Iterator[Image]:
    """Yield frames spread evenly over a video, without damaged ones and those past its real end.

    Raises:
        MediaTooLarge: it exceeds a limit.
        MediaError: no frame could be decoded.
    """
    with open_av(source.path) as container:
        next(decode_frames(container, limits_of(settings)), None)  # refuses a video that exceeds a limit
        length_s = stated_duration_s(container)
    is_any_decoded = False
    for n in range(count):
        try:
            frame = open_picture(source.path, FrameRegion((n + 0.5) * length_s / count))
        except MediaTooLarge:
            raise
        except MediaError:
            continue
        is_any_decoded = True
        yield frame
    if not is_any_decoded:
        yield open_picture(source.path, FrameRegion(0.0))


def _capture_fields(container: InputContainer) -> dict[str, Scalar]:
    """Return when and where the video was taken, if the container says so: the same fields as a photo's."""
    tags = {key.lower(): value[:_TAG_CHARACTERS] for key, value in container.metadata.items()}
    known = capture_time_fields(next((tags[tag] for tag in _TIMES if tag in tags), "")[:_SECONDS])
    place = parse_position(next((tags[tag] for tag in _PLACES if tag in tags), ""))
    if place:
        known["lat"], known["lon"] = place
    return known


def _sample_frames(
    container: InputContainer, stream: VideoStream, settings: Settings
) -> Iterator[FrameSample[VideoFrame]]:
    """Yield frames at 8 a second, or only key frames if the video is long and they are dense enough."""
    keyframes_only = (
        stated_duration_s(container) > _DECODE_ALL_S
        and _longest_keyframe_gap_s(container, stream) <= settings.frame_every_s / 2
    )
    next_s = 0.0
    for picture in decode_frames(container, limits_of(settings), keyframes_only=keyframes_only):
        if picture.at_s < next_s:
            continue
        # Slightly early, so that rounding does not halve a rate that is a multiple of this one.
        next_s = picture.at_s + 0.99 / SAMPLES_PER_S
        small = picture.frame.reformat(width=SAMPLE_PX[0], height=SAMPLE_PX[1], format="rgb24", interpolation="AREA")
        yield sample_frame(picture.at_s, small.to_ndarray(), picture.frame)


def _longest_keyframe_gap_s(container: InputContainer, stream: VideoStream) -> float:
    """Return the longest stretch without a key frame by the container's index; the whole length without an index."""
    scale = stream.time_base or Fraction(1)
    start_s = (container.start_time or 0) / 1e6
    keys_s = (float(entry.timestamp * scale) for entry in stream.index_entries if entry.is_keyframe)
    times = [start_s, *keys_s, start_s + stated_duration_s(container)]
    return max(b - a for a, b in pairwise(sorted(times)))


def _frame_segment(source: Source, ordinal: int, shot: Shot[VideoFrame], text: str) -> Segment:
    # Rounded up, so that the frame is already visible at that time.
    at_s = math.ceil(shot.sample.at_s * 1000 - 0.01) / 1000
    return Segment(
        asset_id=source.asset_id,
        ordinal=ordinal,
        modality="video",
        kind="frame",
        locator=FrameRegion(at_s),
        text=text,
        title=source.title,
        meta={"at_s": at_s, "start_s": round(shot.start_s, 3), "end_s": round(shot.end_s, 3)},
    )
