"""The bundled sound encoder: how sure YAMNet is of each of the 521 sorts of sounds of AudioSet.

A sound's vector is the square root of the classes' probabilities, so that the cosine of two sounds compares them as
Hellinger's distance does. A question's vector is how near its words come to the classes' names in the text encoder's
space, sharpened by a power; what is not near any name points to a dimension in which no sound lies. No training is
involved. On folds 1 and 2 of ESC-10 (40 sounds, 40 questions), mean average precision:

=====================================================================  ==============  ===============
the vector of a sound                                                  words to sound  sound to sound
=====================================================================  ==============  ===============
chance                                                                 0.17            0.17
YAMNet's 1024 features                                                 none            0.83
probabilities times class names in the text space (ConSE, see `lite`)  0.91            0.84
probabilities, against names to the 8th power                          0.96            0.89
their square roots: this one                                           0.96            0.90
=====================================================================  ==============  ===============

On folds 3 to 5, which played no part in the choice, it is 0.87 and 0.77, by chance 0.15 (`tests/measure/sounds.py`). A
minute of sound takes 0.3 s of one core; transcribing it takes 11 s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.encoders.base import ModelCard, TaggedVectors, TextEncoder, Vectors, normalize, require_query
from rag.encoders.mel import HOP_S, PATCH, SAMPLE_RATE, patches
from rag.encoders.runtime import OnnxModel
from rag.models import bundled_model

DATA = Path(__file__).parent / "data"
# Raise when the same sound gets another vector from the same weights.
_RECIPE = 1
_POWER = 8
# On ESC-10, of the tags above 0.4 nine in ten are right, and 71 of 100 sounds have a right one; above 0.3 84 %, and 77.
_TAG_PROBABILITY = 0.4
_MAX_TAGS = 5
_SILENCE = "Silence"
# Where something sounds is not what sounds.
_NO_TAGS = ("Silence", "Inside,", "Outside,")
# Logits of digital silence go down to -600.
_LEAST_LOGIT = 30.0
_LEAST_WEIGHT = 1e-3


class LiteSounds:
    """YAMNet's class probabilities, and questions by their nearness to the names of the classes."""

    sample_rate = SAMPLE_RATE

    def __init__(self, folder: Path, text: TextEncoder, threads: int = 1) -> None:
        """Load it.

        Args:
            folder: what `rag.models.ensure("yamnet", ...)` gives.
            text: the encoder that compares questions with names of classes; any will do.
            threads: cores that it may use.

        Raises:
            ModelError: a file is missing or damaged.
        """
        backbone = bundled_model("yamnet")
        self._text, self._names = text, classes()
        self._silence = self._names.index(_SILENCE)
        self.card = ModelCard(
            name="lite",
            space="audioset",
            dimensions=len(self._names),
            revision=hashlib.sha256(f"{backbone.revision} {_RECIPE}".encode()).hexdigest()[:12],
            licence=backbone.licence,
            preprocessing={"sample_rate_hz": SAMPLE_RATE, "patch_frames": PATCH[0], "hop_s": HOP_S},
        )
        self._model = OnnxModel(folder / "yamnet.onnx", threads)

    def embed_query(self, text: str) -> Vectors:
        """Vector (521,) of a description of a sound. Raises QueryError where it is blank."""
        near = np.maximum(self._classes @ self._text.embed_query(require_query(text)), 0)
        near[self._silence] = 0
        nearest = min(float(near.max()), 1.0)
        if nearest == 0:
            return self._nowhere(1.0)
        sharp = normalize((near[None] / near.max()) ** _POWER)[0]
        vector: Vectors = nearest * sharp + self._nowhere(float(np.sqrt(1 - nearest**2)))
        return vector

    def embed_audio(self, sounds: Sequence[NDArray[np.float32]]) -> Vectors:
        """Vectors (n, 521) of sounds of any length, in their order."""
        return self.embed_and_tag(sounds).vectors

    def embed_and_tag(self, sounds: Sequence[NDArray[np.float32]]) -> TaggedVectors:
        """Vectors (n, 521) of sounds, and for each at most 5 class names of which the classifier is fairly sure."""
        heard = [self._probabilities(sound) for sound in sounds]
        probabilities = np.reshape(np.array(heard, np.float32), (len(heard), len(self._names)))
        tags = [self._tags(row) for row in probabilities]
        probabilities[:, self._silence] = 0
        return TaggedVectors(normalize(np.sqrt(probabilities)), tags)

    def _probabilities(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Root mean square over what is not silent: a bark in five seconds counts for more than in the mean."""
        (logits,) = self._model.run(["logits"], {"patches": patches(sound)})
        each = 1 / (1 + np.exp(-np.clip(logits, -_LEAST_LOGIT, _LEAST_LOGIT)))
        awake = 1 - each[:, self._silence] + _LEAST_WEIGHT
        together: NDArray[np.float32] = np.sqrt(awake @ each**2 / awake.sum())
        return together

    def _tags(self, probabilities: NDArray[np.float32]) -> tuple[str, ...]:
        best = [i for i in np.argsort(-probabilities, kind="stable") if probabilities[i] > _TAG_PROBABILITY]
        named = [self._names[i] for i in best if not self._names[i].startswith(_NO_TAGS)]
        return tuple(name.lower().replace(", ", " / ") for name in named[:_MAX_TAGS])

    def _nowhere(self, length: float) -> Vectors:
        """A vector in the dimension of silence, in which no sound lies."""
        vector = np.zeros(self.card.dimensions, np.float32)
        vector[self._silence] = length
        return vector

    @cached_property
    def _classes(self) -> Vectors:
        if self._text.card.space != "minilm":
            return class_vectors(self._text)
        shipped: Vectors = np.load(DATA / "audioset_classes.npy").astype(np.float32)
        return shipped


def classes() -> list[str]:
    """The 521 classes in the classifier's order, as AudioSet names them."""
    return (DATA / "audioset_classes.txt").read_text("utf-8").splitlines()


def class_vectors(text: TextEncoder) -> Vectors:
    """Class vectors (521, dimensions), as shipped for MiniLM in ``data/audioset_classes.npy`` at half precision.

    Each is the mean of the vectors of the name alone and of "the sound of" it.
    """
    names = [name.lower() for name in classes()]
    return normalize(text.embed_text(names) + text.embed_text([f"the sound of {name}" for name in names]))
