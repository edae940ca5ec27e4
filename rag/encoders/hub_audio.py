"""Audio-text encoders of the transformers library (CLAP and similar), for sounds other than speech.

CLAP takes ten seconds. Its own processor would take a random ten seconds of a longer recording. Here the recording is
cut into windows and its vector is the mean of theirs, so that a recording always has the same vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag.encoders.base import TaggedVectors, Vectors, normalize, require_query
from rag.encoders.hub_dual import TOKENIZER, TextTower, flatten, make_card
from rag.encoders.torch_models import load_model, load_part
from rag.errors import ModelError, SettingsError
from rag.models import Checkpoint

NEEDS = ("config.json", "preprocessor_config.json|processor_config.json", TOKENIZER)
# Increase when the same files give other vectors.
_VERSION = 1
# A last window shorter than this share is left out: repeated to fill ten seconds, a click would weigh as much as all
# before it.
_MIN_REST = 0.25


class HubAudioEncoder:
    """An audio encoder of the transformers library."""

    def __init__(self, checkpoint: Checkpoint, threads: int = 1) -> None:
        """Load the model.

        Args:
            checkpoint: its files.
            threads: cores that it may use.

        Raises:
            SettingsError: it does not encode sounds and text, or needs code of its own.
            ModelError: a file is missing or damaged.
        """
        self._model = load_model(checkpoint, threads)
        if not all(hasattr(self._model.model, method) for method in ("get_text_features", "get_audio_features")):
            raise SettingsError(
                f"`{checkpoint.name}` is a {type(self._model.model).__name__}, which does not encode sounds and text "
                "into one space. Set EXHIBIT_AUDIO_ENCODER to a model like CLAP, such as laion/clap-htsat-unfused."
            )
        self._text_tower = TextTower(self._model, load_part(checkpoint, "AutoTokenizer"))
        self._extractor = load_part(checkpoint, "AutoFeatureExtractor")
        self.sample_rate = int(self._extractor.sampling_rate)
        self._window = int(self._extractor.nb_max_samples)
        dimensions = self._text_tower.features(["a"]).shape[1]
        settings = flatten(self._extractor.to_dict()) | {"max_tokens": self._text_tower.max_tokens}
        self.card = make_card(checkpoint, self._model, _VERSION, (dimensions, dimensions), settings)

    def embed_query(self, text: str) -> Vectors:
        """Return the vector (dimensions,) of a sound's description. Raises QueryError if it is blank."""
        vector: Vectors = normalize(self._text_tower.features([require_query(text)]))[0]
        return vector

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        """Return the vectors (n, dimensions) of sounds of any length, each (samples,) in [-1, 1], in order.

        Raises:
            ModelError: a sound has no samples.
        """
        rows = [self._mean_features(sound, number, len(sounds)) for number, sound in enumerate(sounds, 1)]
        return normalize(np.reshape(np.array(rows, np.float32), (len(rows), self.card.dimensions)))

    def embed_and_tag(self, sounds: Sequence[NDArray[np.float32]]) -> TaggedVectors:
        """Return the vectors (n, dimensions) of sounds, without tags."""
        return TaggedVectors(self.embed_audio(sounds), [() for _ in sounds])

    def _mean_features(self, sound: NDArray[np.float32], number: int, count: int) -> NDArray[np.float32]:
        if not sound.size:
            raise ModelError(f"Sound {number} of {count} has no samples and so no vector; leave it out.")
        rows = normalize(np.stack([self._features(part) for part in self._windows(sound)]))
        mean: NDArray[np.float32] = rows.mean(0)
        return mean

    def _windows(self, sound: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        starts = range(0, max(1, len(sound)), self._window)
        parts = [sound[start : start + self._window] for start in starts]
        return parts[:-1] if len(parts) > 1 and len(parts[-1]) < _MIN_REST * self._window else parts

    def _features(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        # One at a time: a processor for fused features marks a random sound of a batch as longer than it is.
        tensors = self._extractor(part, sampling_rate=self.sample_rate, return_tensors="pt")
        row: NDArray[np.float32] = self._model.run("get_audio_features", tensors)[0]
        return row
