"""Turn recordings into segments: speech in passages with times, and other sounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ingest.audio_video.decode import (
    SAMPLE_RATE,
    AudioPiece,
    check_length,
    decode_sound,
    describe_container,
    limits_of,
)
from ingest.audio_video.sounds import SoundMonitor, sound_segment, sound_segments
from ingest.audio_video.speech_passages import speech_segments
from ingest.audio_video.transcribers import Transcriber
from ingest.audio_video.voice_activity import transcribe_speech
from ingest.formats.identify import Measure
from rag.config import Settings
from rag.errors import DamagedMedia, UnsupportedMedia
from rag.media.opening import open_av, sound_stream, stated_duration_s
from rag.media.seeking import sound
from rag.types import Extracted, Modality, Source, TimeSpan, Word

if TYPE_CHECKING:
    from av.container import InputContainer

# Sound at each end of a span, so that its first and last words are whole.
_EDGE_S = 1.0
# Shorter stretches of a noisy film have no plausible words: 3.4 s of "Friday" none, 4.4 s all. They take no less time.
_SHORTEST_S = 6.0


def measure(source: Source, settings: Settings) -> Measure:
    """Return the seconds of sound that the container's headers state.

    Raises:
        MediaError: the headers cannot be read, or state more than the settings allow.
    """
    with open_av(source.path) as container:
        check_length(container, limits_of(settings))
        return Measure(audio_s=stated_duration_s(container))


def segments(source: Source, settings: Settings, transcriber: Transcriber) -> Iterator[Extracted]:
    """Yield the passages of speech, then the other sounds; if there is neither, one segment for the whole recording.

    Raises:
        MediaError: the file cannot be decoded to its end, or exceeds a limit.
        ModelError: the transcriber's model is missing or damaged.
        LLMError: a transcription service failed.
    """
    with open_av(source.path) as container:
        if sound_stream(container) is None:
            raise UnsupportedMedia("It has no sound track.")
        caption = first_caption(container, source)
        monitor = monitor_sound(container, settings)
        empty = True
        for extracted in speech_and_sounds(monitor, transcriber, source, "audio", first=0, caption=caption):
            empty = False
            yield extracted
        if monitor.end_s == 0:
            raise DamagedMedia("Its sound track is empty: it is truncated, or nothing was recorded.")
        if empty:
            whole = TimeSpan(0.0, monitor.end_s)
            yield Extracted(sound_segment(source, whole, "audio", 0, caption=caption, silent=monitor.is_silent))


def sound_windows(source: Source, settings: Settings) -> Iterator[NDArray[np.float32]]:
    """Yield the sound of a recording, speech included, in windows of at most 10 s.

    The windows have shape (n,) at 16 kHz; see `ingest.audio_video.sounds`.

    Raises:
        MediaError: the file cannot be decoded to its end, or exceeds a limit.
    """
    with open_av(source.path) as container:
        monitor = SoundMonitor(decode_sound(container, limits_of(settings)))
        deque(monitor, maxlen=0)
    yield from (stretch.samples for stretch in monitor.unspoken_stretches([]))


def words_within(path: Path, span: TimeSpan, transcriber: Transcriber, *, language: str = "") -> tuple[Word, ...]:
    """Return the words that are spoken in a span of a recording or video, transcribed without what comes before.

    Args:
        path: of the file.
        span: the caller bounds its length.
        transcriber: any.
        language: that was found there before; empty if unknown.

    Raises:
        UnsupportedMedia: it has no sound.
        MediaError: the file has gone, is damaged, or ends before the span.
        ModelError: the transcriber's model is missing or damaged.
        LLMError: a transcription service failed.
    """
    edge_s = max(_EDGE_S, (_SHORTEST_S - span.end_s + span.start_s) / 2)
    window = TimeSpan(max(span.start_s - edge_s, 0.0), span.end_s + edge_s)
    samples = sound(path, window, SAMPLE_RATE).samples.mean(axis=0)
    transcripts = transcribe_speech([AudioPiece(window.start_s, samples)], transcriber, hint=language)
    words = (word for transcript in transcripts for word in transcript.words)
    return tuple(word for word in words if word.end_s > span.start_s and word.start_s < span.end_s)


def first_caption(container: InputContainer, source: Source) -> str:
    """Return the caption of an asset's first segment: the container's own tags, then what other files say."""
    return "\n".join(part for part in (describe_container(container), *source.captions) if part)


def monitor_sound(container: InputContainer, settings: Settings) -> SoundMonitor:
    """Return the sound of a container; windows of it are kept if there is an encoder for them."""
    return SoundMonitor(decode_sound(container, limits_of(settings)), keeps_windows=settings.audio_encoder != "off")


def speech_and_sounds(
    monitor: SoundMonitor, transcriber: Transcriber, source: Source, modality: Modality, *, first: int, caption: str
) -> Iterator[Extracted]:
    """Yield the passages of speech, then the other sounds, numbered from `first`; number 0 gets the caption."""
    words: list[tuple[float, float]] = []
    count = first
    for segment in speech_segments(
        transcribe_speech(monitor, transcriber), source, modality, first=first, caption=caption
    ):
        words += [(word.start_s, word.end_s) for word in segment.words]
        count += 1
        yield Extracted(segment)
    yield from sound_segments(monitor, words, source, modality, first=count, caption=caption)
