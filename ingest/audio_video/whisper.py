"""Make faster-whisper encode a block of sound once, and not again for its language and for each attempt."""

from __future__ import annotations

from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray


class CachedEncoderModel(WhisperModel):  # type: ignore[misc]  # the library has no types
    """A Whisper model that keeps the last encoding, a quarter of the work on a block, for all uses of the block."""

    _encoded: tuple[NDArray[np.float32], Any] | None = None

    def encode(self, features: NDArray[np.float32]) -> Any:
        """Return the encoder's output for a log-mel spectrogram of shape (mels, 3000)."""
        if self._encoded is None or not np.array_equal(self._encoded[0], features):
            self._encoded = features, super().encode(features)
        return self._encoded[1]
