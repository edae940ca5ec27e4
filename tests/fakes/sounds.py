"""An encoder of sounds without a model: by their pitch, which it also knows by name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rag.encoders.base import Look, ModelCard, Vectors, normalised, queried

_NAMES = {"low hum": 100.0, "whistle": 3000.0}
_EDGES_HZ = (0.0, 200.0, 1000.0, 5000.0)


class PitchEncoder:
    """Shares of a sound's energy in three bands; a name stands for a pure tone."""

    card = ModelCard(name="pitch", space="pitch", dimensions=3, revision="1", licence="CC0-1.0")
    sample_rate = 16_000

    def embed_query(self, text: str) -> Vectors:
        hertz = _NAMES.get(queried(text), 500.0)
        return normalised(np.array([[a <= hertz < b for a, b in pairwise(_EDGES_HZ)]]))[0]

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        return self.listen(sounds).vectors

    def listen(self, sounds: Sequence[NDArray[np.float32]]) -> Look:
        return Look(normalised(np.array([self._bands(sound) for sound in sounds])), [() for _ in sounds])

    def _bands(self, sound: NDArray[np.float32]) -> NDArray[np.float64]:
        power = np.abs(np.fft.rfft(sound)) ** 2
        hertz = np.fft.rfftfreq(len(sound), 1 / self.sample_rate)
        return np.array([power[(hertz >= a) & (hertz < b)].sum() + 1e-9 for a, b in pairwise(_EDGES_HZ)])
