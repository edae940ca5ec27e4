"""A transcriber that returns scripted words wherever there is sound."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ingest.audio_video.decode import SAMPLE_RATE
from ingest.audio_video.transcribers import Transcript
from rag.types import Word


class ScriptedTranscriber:
    """A transcriber that returns the next text for each block that is not silent, and repeats the last text.

    Args:
        texts: what is heard; words are spread evenly over the block.
        language: what it is said to be in, unless a hint is given.
    """

    block_s = 30.0

    def __init__(self, *texts: str, language: str = "en") -> None:
        self._texts = texts
        self._language = language
        self.blocks_s: list[float] = []

    def transcribe(self, samples: NDArray[np.float32], *, hint: str = "") -> Transcript:
        duration_s = len(samples) / SAMPLE_RATE
        if not len(samples) or float(np.abs(samples).max()) < 1e-3:
            return Transcript((), "", duration_s)
        text = self._texts[min(len(self.blocks_s), len(self._texts) - 1)]
        self.blocks_s.append(duration_s)
        return Transcript(tuple(self._spread(text.split(), duration_s)), hint or self._language, duration_s)

    @staticmethod
    def _spread(texts: list[str], duration_s: float) -> Iterator[Word]:
        step_s = duration_s / max(len(texts), 1)
        for i, text in enumerate(texts):
            yield Word(text, i * step_s, (i + 1) * step_s, 0.9)
