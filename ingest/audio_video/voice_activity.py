"""Turn decoded sound into words on the recording's clock, holding at most a few minutes of it.

A voice detector (Silero VAD, which faster-whisper includes) finds the stretches of speech. They are packed into blocks
as long as the transcriber takes, without the silence between them, and times are mapped back. Only speech is
transcribed, so no words are invented elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.audio_video.decode import SAMPLE_RATE, AudioPiece
from ingest.audio_video.transcribers import Transcriber, Transcript
from ingest.reading.heartbeat import beat
from rag.types import Word

# 4 minutes of float32 at 16 kHz are 15 MB.
_WINDOW_S = 240.0
# Speech this close to a window's end may continue in the next one.
_OPEN_S = 1.0
# A shorter gap in the sound does not end a window.
_SEAM_S = 0.01
# Frames of 10 ms; a word is where the sound is above -26 dB of its peak, up to a pause.
_FRAME, _AUDIBLE, _PAUSE_S = 160, 0.0025, 0.2
_MIN_SPEECH_MS, _MIN_SILENCE_MS, _PAD_MS = 150, 2000, 400


@dataclass(frozen=True, slots=True)
class SpeechBlock:
    """Stretches of speech, packed without the silence between them.

    Attributes:
        samples: mono float32 at 16 kHz.
        pieces: for each stretch, its first sample in the block, and that sample's time in the recording.
    """

    samples: NDArray[np.float32]
    pieces: tuple[tuple[int, float], ...]

    def to_recording_time(self, word: Word) -> Word:
        """Return a word with its times in the recording instead of the block.

        A word belongs to the stretch that holds its middle; ends that reach into other stretches are cut.
        """
        middle = (word.start_s + word.end_s) / 2 * SAMPLE_RATE
        index = max(i for i, (first, _) in enumerate(self.pieces) if first <= middle or i == 0)
        first, start_s = self.pieces[index]
        last = self.pieces[index + 1][0] if index + 1 < len(self.pieces) else len(self.samples)
        offset_s = start_s - first / SAMPLE_RATE
        low_s, high_s = start_s, start_s + (last - first) / SAMPLE_RATE
        return Word(
            word.text,
            round(min(max(word.start_s + offset_s, low_s), high_s), 3),
            round(min(max(word.end_s + offset_s, low_s), high_s), 3),
            round(word.probability, 3),
        )


def transcribe_speech(
    pieces: Iterable[AudioPiece], transcriber: Transcriber, *, hint: str = ""
) -> Iterator[Transcript]:
    """Yield the transcript of each block of speech, in order, with times in the recording.

    Args:
        pieces: the sound.
        transcriber: takes its speech.
        hint: the language, until words show it; empty if unknown.

    Raises:
        ModelError: the transcriber's model is missing or damaged.
        LLMError: a transcription service failed.
    """
    spoken_s: defaultdict[str, float] = defaultdict(float)
    for block in speech_blocks(pieces, transcriber.block_s):
        language = max(spoken_s, key=spoken_s.__getitem__, default=hint)
        transcript = transcriber.transcribe(block.samples, hint=language)
        beat()
        if transcript.words:
            spoken_s[transcript.language] += transcript.duration_s
            words = tuple(block.to_recording_time(trim_pause(word, block.samples)) for word in transcript.words)
            yield replace(transcript, words=words)


def speech_blocks(pieces: Iterable[AudioPiece], block_s: float) -> Iterator[SpeechBlock]:
    """Yield the speech in sound, packed into blocks of at most `block_s` seconds."""
    window: AudioPiece | None = None
    for piece in pieces:
        if window is not None and abs(piece.start_s - window.end_s) > _SEAM_S:
            yield from _pack(window, _detect_speech(window, block_s), block_s)
            window = None
        window = (
            piece if window is None else AudioPiece(window.start_s, np.concatenate([window.samples, piece.samples]))
        )
        if window.end_s - window.start_s >= _WINDOW_S:
            regions = _detect_speech(window, block_s)
            cut = _safe_cut(window, regions)
            yield from _pack(window, [region for region in regions if region[1] <= cut], block_s)
            window = AudioPiece(window.start_s + cut / SAMPLE_RATE, window.samples[cut:])
    if window is not None:
        yield from _pack(window, _detect_speech(window, block_s), block_s)


def trim_pause(word: Word, samples: NDArray[np.float32]) -> Word:
    """Return a word without the pause before it, up to 1.3 s long, that Whisper includes in its times.

    Args:
        word: with times from the first sample.
        samples: mono, 16 kHz.
    """
    first = int(word.start_s * SAMPLE_RATE)
    sound = samples[first : int(word.end_s * SAMPLE_RATE)]
    count = len(sound) // _FRAME
    if count < 2:
        return word
    power = (sound[: count * _FRAME].reshape(count, _FRAME) ** 2).mean(axis=1)
    loud = np.flatnonzero(power > _AUDIBLE * power.max())
    if not len(loud):
        return word
    islands = np.split(loud, np.flatnonzero(np.diff(loud) * _FRAME > _PAUSE_S * SAMPLE_RATE) + 1)
    island = max(islands, key=lambda frames: float(power[frames].sum()))
    low, high = max(int(island[0]) - 2, 0), min(int(island[-1]) + 3, count)
    return replace(
        word,
        start_s=(first + low * _FRAME) / SAMPLE_RATE,
        end_s=word.end_s if high == count else (first + high * _FRAME) / SAMPLE_RATE,
    )


def _detect_speech(window: AudioPiece, longest_s: float) -> list[tuple[int, int]]:
    """Return the first sample of each stretch with a voice, and the one after its last."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(
        min_speech_duration_ms=_MIN_SPEECH_MS,
        min_silence_duration_ms=_MIN_SILENCE_MS,
        speech_pad_ms=_PAD_MS,
        max_speech_duration_s=longest_s,
    )
    return [(region["start"], region["end"]) for region in get_speech_timestamps(window.samples, options)]


def _safe_cut(window: AudioPiece, regions: list[tuple[int, int]]) -> int:
    """Return the sample from which the window must be processed again with what follows: speech may continue there."""
    late = len(window.samples) - int(_OPEN_S * SAMPLE_RATE)
    if not regions:
        return late
    start, end = regions[-1]
    return start if end > late else late


def _pack(window: AudioPiece, regions: list[tuple[int, int]], block_s: float) -> Iterator[SpeechBlock]:
    group: list[tuple[int, int]] = []
    length = 0
    for start, end in regions:
        if group and length + end - start > block_s * SAMPLE_RATE:
            yield _join_regions(window, group)
            group, length = [], 0
        group.append((start, end))
        length += end - start
    if group:
        yield _join_regions(window, group)


def _join_regions(window: AudioPiece, regions: list[tuple[int, int]]) -> SpeechBlock:
    pieces: list[tuple[int, float]] = []
    first = 0
    for start, end in regions:
        pieces.append((first, window.start_s + start / SAMPLE_RATE))
        first += end - start
    return SpeechBlock(np.concatenate([window.samples[start:end] for start, end in regions]), tuple(pieces))
