"""Any audio-text encoder of the transformers library: CLAP and its kin, for sounds without words.

CLAP hears ten seconds. Of a longer recording its own processor would take ten at random; here it is cut into windows,
and its vector is the mean of theirs, so that the same recording has the same vector each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag.encoders.base import TaggedVectors, Vectors, normalize, require_query
from rag.encoders.hub_dual import TOKENIZER, Words, card, flat
from rag.encoders.torch_models import load_model, load_part
from rag.errors import ModelError, SettingsError
from rag.models import Checkpoint

NEEDS = ("config.json", "preprocessor_config.json|processor_config.json", TOKENIZER)
# Raise when this module makes other vectors of the same files.
_VERSION = 1
# A rest shorter than this part of a window is left out: repeated to fill ten seconds, a click would weigh as much as
# all before it.
_LEAST_REST = 0.25


class HubAudioEncoder:
    """An audio-text encoder of the transformers library."""

    def __init__(self, found: Checkpoint, threads: int = 1) -> None:
        """Load it.

        Args:
            found: its files.
            threads: cores that it may use.

        Raises:
            SettingsError: it does not hear and read, or it needs code of its own.
            ModelError: a file is missing or damaged.
        """
        self._model = load_model(found, threads)
        if not all(hasattr(self._model.model, method) for method in ("get_text_features", "get_audio_features")):
            raise SettingsError(
                f"`{found.name}` is a {type(self._model.model).__name__}, which does not give sounds and words one "
                "space. EXHIBIT_AUDIO_ENCODER takes the likes of CLAP, such as laion/clap-htsat-unfused."
            )
        self._words = Words(self._model, load_part(found, "AutoTokenizer"))
        self._extractor = load_part(found, "AutoFeatureExtractor")
        self.sample_rate = int(self._extractor.sampling_rate)
        self._window = int(self._extractor.nb_max_samples)
        dimensions = self._words.features(["a"]).shape[1]
        told = flat(self._extractor.to_dict()) | {"max_tokens": self._words.max_tokens}
        self.card = card(found, self._model, _VERSION, (dimensions, dimensions), told)

    def embed_query(self, text: str) -> Vectors:
        """Vector (dimensions,) of a description of a sound. Raises QueryError where it is blank."""
        vector: Vectors = normalize(self._words.features([require_query(text)]))[0]
        return vector

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        """Vectors (n, dimensions) of sounds of any length, each (samples,) in [-1, 1], in their order.

        Raises:
            ModelError: a sound has no samples.
        """
        rows = [self._heard(sound, number, len(sounds)) for number, sound in enumerate(sounds, 1)]
        return normalize(np.reshape(np.array(rows, np.float32), (len(rows), self.card.dimensions)))

    def embed_and_tag(self, sounds: Sequence[NDArray[np.float32]]) -> TaggedVectors:
        """Vectors (n, dimensions) of sounds; it gives no tags."""
        return TaggedVectors(self.embed_audio(sounds), [() for _ in sounds])

    def _heard(self, sound: NDArray[np.float32], number: int, count: int) -> NDArray[np.float32]:
        if not sound.size:
            raise ModelError(f"Sound {number} of {count} has no samples and so no vector; leave it out.")
        mean: NDArray[np.float32] = normalize(np.stack([self._features(part) for part in self._windows(sound)])).mean(0)
        return mean

    def _windows(self, sound: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        starts = range(0, max(1, len(sound)), self._window)
        parts = [sound[start : start + self._window] for start in starts]
        return parts[:-1] if len(parts) > 1 and len(parts[-1]) < _LEAST_REST * self._window else parts

    def _features(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        # One by one: of a batch, a processor for fused features marks a random one as longer than it is.
        tensors = self._extractor(part, sampling_rate=self.sample_rate, return_tensors="pt")
        row: NDArray[np.float32] = self._model.run("get_audio_features", tensors)[0]
        return row
