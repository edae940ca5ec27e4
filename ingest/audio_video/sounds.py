"""Find the sounds other than speech in a recording: windows of at most 10 s for a sound encoder.

Windows lie on a fixed grid and are kept while the recording is transcribed, so nothing is decoded twice. At most 60 are
kept of a recording. In a longer one every second window is used, or every fourth; each then represents its neighbours
too. Quiet stretches between words are only background noise and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.audio_video.decode import SAMPLE_RATE, AudioPiece
from ingest.reading.heartbeat import beat
from rag.types import Extracted, Modality, Segment, Source, TimeSpan

WINDOW_S = 10.0
MAX_WINDOWS = 60  # of float32: 38 MB
# A shorter pause in speech is not searched for sounds; less than a second of a window is too short to recognise.
_MIN_PAUSE_S, _MIN_HEARD_S = 2.0, 1.0
# A shorter gap in the sound is ignored.
_SEAM_S = 0.01
# Words extend a little beyond their recorded times.
_MARGIN_S = 0.25
# -60 dB of full scale; a recording below that is inaudible.
SILENT_PEAK = 1e-3
# Next to speech, anything more than 20 dB below it is background noise.
_QUIET = 0.1


@dataclass(frozen=True, slots=True)
class SoundStretch:
    """Seconds ``[start_s, end_s)`` without words, and the sound at their beginning."""

    start_s: float
    end_s: float
    samples: NDArray[np.float32]


class SoundMonitor:
    """A pass-through for sound that records its peak and length and, with `keeps_windows`, windows of it."""

    def __init__(self, pieces: Iterable[AudioPiece], *, keeps_windows: bool = True) -> None:
        self.peak = 0.0
        self.end_s = 0.0
        self._pieces, self._keeps_windows = pieces, keeps_windows
        self._windows: dict[int, list[AudioPiece]] = {}
        self._every = 1

    def __iter__(self) -> Iterator[AudioPiece]:
        for piece in self._pieces:
            beat()
            self.peak = max(self.peak, float(np.abs(piece.samples).max(initial=0.0)))
            self.end_s = piece.end_s
            if self._keeps_windows:
                self._keep_windows(piece)
            yield piece

    @property
    def is_silent(self) -> bool:
        """Whether the sound is inaudible."""
        return self.peak < SILENT_PEAK

    def unspoken_stretches(self, spoken: Sequence[tuple[float, float]]) -> list[SoundStretch]:
        """Return the stretches of sound other than speech, in order.

        Args:
            spoken: start and end of each word in seconds, in order.
        """
        free = _find_pauses(spoken, self.end_s)
        quiet = _QUIET * self._speech_level(free)
        found: list[SoundStretch] = []
        for number in sorted(self._windows):
            pieces = self._windows[number]
            parts = [(part, pause) for piece in pieces for pause in free if (part := _clip(piece, pause))]
            part, pause = max(parts, key=lambda pair: len(pair[0].samples), default=(None, (0.0, 0.0)))
            if part is None or _is_silent(part.samples) or _level(part.samples) < quiet:
                continue
            end_s = min(pause[1], (number + self._every) * WINDOW_S)
            if len(part.samples) >= _MIN_HEARD_S * SAMPLE_RATE or not found:
                found.append(SoundStretch(part.start_s, end_s, part.samples))
            elif found[-1].end_s == part.start_s:  # a short rest at the end joins the stretch before it
                found[-1] = replace(found[-1], end_s=end_s)
        return found

    def _keep_windows(self, piece: AudioPiece) -> None:
        first = int(piece.start_s / WINDOW_S)
        for number in range(first, int(piece.end_s / WINDOW_S) + 1):
            if number % self._every == 0:
                part = _clip(piece, (number * WINDOW_S, (number + 1) * WINDOW_S))
                if part is not None:
                    _append_joined(self._windows.setdefault(number, []), part)
        while len(self._windows) > MAX_WINDOWS:
            self._every *= 2
            self._windows = {n: parts for n, parts in self._windows.items() if n % self._every == 0}

    def _speech_level(self, free: Sequence[tuple[float, float]]) -> float:
        """Return the root mean square of the parts with words; 0 if there are none."""
        edges = [0.0, *(at_s for pause in free for at_s in pause), self.end_s]
        pieces = [piece for pieces in self._windows.values() for piece in pieces]
        spans = zip(edges[::2], edges[1::2], strict=True)
        parts = [part.samples for span in spans for piece in pieces if (part := _clip(piece, span))]
        return _level(np.concatenate(parts)) if parts else 0.0


def sound_segments(
    monitor: SoundMonitor,
    spoken: Sequence[tuple[float, float]],
    source: Source,
    modality: Modality,
    *,
    first: int,
    caption: str,
) -> Iterator[Extracted]:
    """Yield the sounds other than speech as segments, numbered from `first`."""
    for ordinal, stretch in enumerate(monitor.unspoken_stretches(spoken), start=first):
        span = TimeSpan(stretch.start_s, stretch.end_s)
        segment = sound_segment(source, span, modality, ordinal, caption="" if ordinal else caption)
        yield Extracted(segment, sound=stretch.samples)


def sound_segment(
    source: Source, span: TimeSpan, modality: Modality, ordinal: int, *, caption: str, silent: bool = False
) -> Segment:
    """Return the segment for the sound in a span of a recording."""
    return Segment(
        asset_id=source.asset_id,
        ordinal=ordinal,
        modality=modality,
        kind="sound",
        locator=span,
        caption=caption,
        title=source.title,
        meta={"start_s": span.start_s, "end_s": span.end_s, "silent": silent},
    )


def _append_joined(parts: list[AudioPiece], part: AudioPiece) -> None:
    """Append a part, joined with the last one if it follows without a gap."""
    if parts and part.start_s - parts[-1].end_s < _SEAM_S:
        parts[-1] = AudioPiece(parts[-1].start_s, np.concatenate([parts[-1].samples, part.samples]))
    else:
        parts.append(part)


def _find_pauses(spoken: Sequence[tuple[float, float]], end_s: float) -> list[tuple[float, float]]:
    """Return start and end of each long enough stretch without words; the whole recording if there are no words."""
    if not spoken:
        return [(0.0, end_s)]
    pauses, now_s = [], 0.0
    for start_s, stop_s in [*spoken, (end_s + _MARGIN_S, end_s)]:
        if start_s - _MARGIN_S - now_s >= _MIN_PAUSE_S:
            pauses.append((now_s, start_s - _MARGIN_S))
        now_s = max(now_s, stop_s + _MARGIN_S)
    return pauses


def _clip(piece: AudioPiece, span_s: tuple[float, float]) -> AudioPiece | None:
    """Return the part of a piece that lies in a span; None if it is empty."""
    low, high = (round((at_s - piece.start_s) * SAMPLE_RATE) for at_s in span_s)
    low, high = max(low, 0), min(high, len(piece.samples))
    return AudioPiece(piece.start_s + low / SAMPLE_RATE, piece.samples[low:high]) if low < high else None


def _level(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _is_silent(samples: NDArray[np.float32]) -> bool:
    return float(np.abs(samples).max(initial=0.0)) < SILENT_PEAK
