"""Recordings to segments: what is said, in passages with times; a recording without words stays findable as a sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ingest.decode import Limits, Sound, description, opened, sound, sound_stream, stated_s
from ingest.listen import transcripts
from ingest.load import Measure, Source
from ingest.passages import speech_segments
from ingest.speech import Transcriber
from rag.config import Settings
from rag.errors import DamagedMedia, UnsupportedMedia
from rag.types import Extracted, Segment, TimeSpan

# -60 dB of full scale; below, a recording is silent to the ear.
_SILENT_PEAK = 1e-3


def measure(source: Source) -> Measure:
    """Seconds of sound, as the container's headers state them.

    Raises:
        MediaError: the headers cannot be read.
    """
    with opened(source.path) as container:
        return Measure(audio_s=stated_s(container))


def segments(source: Source, settings: Settings, transcriber: Transcriber) -> Iterator[Extracted]:
    """Yield the passages of speech or, where nothing is said, one segment for the whole recording.

    Raises:
        MediaError: the file cannot be decoded to its end, or is over a limit.
        ModelError: the transcriber's model is missing or damaged.
        LLMError: a transcription service failed.
    """
    with opened(source.path) as container:
        if sound_stream(container) is None:
            raise UnsupportedMedia("It has no sound that could be heard.")
        caption = "\n".join(part for part in (description(container), *source.captions) if part)
        heard = _Heard(sound(container, Limits(settings.max_media_s, settings.max_pixels, settings.threads)))
        empty = True
        for segment in speech_segments(transcripts(heard, transcriber), source, "audio", first=0, caption=caption):
            empty = False
            yield Extracted(segment)
        if heard.end_s == 0:
            raise DamagedMedia("Its sound track is empty; it is truncated, or nothing was recorded.")
        if empty:
            yield Extracted(_sound_segment(source, heard, caption))


class _Heard:
    """Passes sound on, and remembers how loud and how long it was."""

    def __init__(self, pieces: Iterable[Sound]) -> None:
        self._pieces = pieces
        self.peak = 0.0
        self.end_s = 0.0

    def __iter__(self) -> Iterator[Sound]:
        for piece in self._pieces:
            self.peak = max(self.peak, float(np.abs(piece.samples).max(initial=0.0)))
            self.end_s = piece.end_s
            yield piece


def _sound_segment(source: Source, heard: _Heard, caption: str) -> Segment:
    return Segment(
        asset_id=source.asset_id,
        ordinal=0,
        modality="audio",
        kind="sound",
        locator=TimeSpan(0.0, heard.end_s),
        caption=caption,
        title=source.title,
        meta={"start_s": 0.0, "end_s": round(heard.end_s, 3), "silent": heard.peak < _SILENT_PEAK},
    )
