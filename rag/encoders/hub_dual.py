"""Image-text encoders of the transformers library (CLIP, SigLIP, SigLIP 2 and similar), from a hub or a folder.

The checkpoint's own processor prepares images, on Pillow, so that an image has the same vector on every machine. Text
is cut at the number of tokens that the text tower was trained with, 77 for CLIP and 64 for SigLIP: only the start of a
long passage is in the joint space. The text channels cover more of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rag.encoders import matryoshka
from rag.encoders.base import ModelCard, TaggedVectors, Vectors, clean_text, normalize, require_query, require_texts
from rag.encoders.torch_models import TorchModel, load_model, load_part
from rag.errors import SettingsError
from rag.media.opening import rgb
from rag.models import Checkpoint
from rag.models.checkpoints import OPEN_CLIP
from rag.types import Scalar

# Files without which a copy in the hub's cache counts as incomplete.
TOKENIZER = "tokenizer.json|vocab.json|vocab.txt|*.model"
NEEDS = (
    "config.json|open_clip_config.json",
    "preprocessor_config.json|processor_config.json|open_clip_config.json",
    TOKENIZER,
)
# Increase when the same files give other vectors.
_VERSION = 1
_SETTING = "EXHIBIT_ENCODER"
_BATCH = 16
# More characters than 77 tokens of any prose; bounds the tokenizer's work on a huge text.
_MAX_CHARS = 4096
# A processor that scales the short side and crops the centre would first scale an image of 3000 by 2 to 336,000 by 224.
# A central part with this aspect ratio contains all that it keeps, with room for the resampling filter.
_MAX_ASPECT = 8
# Trained on lower case, padded on the right to full length, with attention to the padding, too (big_vision; open_clip
# issue 984). Some tokenizers on the hub have other settings.
_SIGLIP = frozenset({"siglip", "siglip2"})
# These models count positions from the padding token's id on.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "clap_text_model", "altclip_text_model", "camembert"})


class TextTower:
    """The text tower of a checkpoint."""

    def __init__(self, model: TorchModel, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        config = model.model.config
        self.is_siglip = config.model_type in _SIGLIP
        if self.is_siglip:
            tokenizer.padding_side, tokenizer.model_input_names = "right", ["input_ids"]
        self.max_tokens = max_tokens(tokenizer, getattr(config, "text_config", config))

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return features (n, dimensions) of texts, not yet of unit length; (0, 0) for no texts."""
        rows = [self._batch(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)

    def _batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        cleaned = [clean_text(text, _MAX_CHARS) for text in texts]
        tokens = self._tokenizer(
            [text.lower() for text in cleaned] if self.is_siglip else cleaned,
            padding="max_length" if self.is_siglip else True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        return self._model.run("get_text_features", tokens)


class HubEncoder:
    """A dual encoder of the transformers library."""

    def __init__(self, checkpoint: Checkpoint, threads: int = 1, dimensions: int | None = None) -> None:
        """Load the model.

        Args:
            checkpoint: its files.
            threads: cores that it may use.
            dimensions: number of dimensions to keep; all by default.

        Raises:
            SettingsError: it does not encode images and text, needs code of its own, or cannot be cut to that length.
            ModelError: a file is missing or damaged.
        """
        self._model, tokenizer, self._processor = _load_parts(checkpoint, threads)
        self._text_tower = TextTower(self._model, tokenizer)
        full = self._text_tower.features(["a"]).shape[1]
        width = matryoshka.choose_dimensions(checkpoint, dimensions, full, _SETTING)
        settings = flatten(self._processor.to_dict())
        self._crops = bool(settings.get("do_center_crop"))
        text_settings = {"max_tokens": self._text_tower.max_tokens, "lower_case": self._text_tower.is_siglip}
        self.card = make_card(checkpoint, self._model, _VERSION, (width, full), settings | text_settings)

    def embed_query(self, text: str) -> Vectors:
        """Return the vector (dimensions,) of an image's description. Raises QueryError if it is blank."""
        vector: Vectors = self.embed_text([require_query(text)])[0]
        return vector

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors (n, dimensions) of captions, in order; tokens beyond the text tower's have no effect.

        Raises:
            ModelError: a text is blank.
        """
        return self._truncate(self._text_tower.features(require_texts(texts)))

    def from_text_vectors(self, vectors: Vectors, *, is_query: bool = False) -> None:
        """Return None: this encoder has a text tower of its own."""

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Return the vectors (n, dimensions) of images of any mode and size, in order."""
        batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
        rows = [self._model.run("get_image_features", self.preprocess(batch)) for batch in batches]
        return self._truncate(np.concatenate(rows) if rows else np.zeros((0, 0), np.float32))

    def embed_and_tag(self, images: Sequence[Image.Image]) -> TaggedVectors:
        """Return the vectors (n, dimensions) of images, without tags."""
        return TaggedVectors(self.embed_images(images), [() for _ in images])

    def preprocess(self, images: Sequence[Image.Image]) -> Mapping[str, Any]:
        """Return the model's input tensors for images."""
        upright = [rgb(image) for image in images]
        cropped = [_crop_centre(image) for image in upright] if self._crops else upright
        tensors: Mapping[str, Any] = self._processor(
            images=cropped, return_tensors="pt", input_data_format="channels_last"
        )
        return tensors

    def _truncate(self, features: NDArray[np.float32]) -> Vectors:
        width = self.card.dimensions
        return normalize(features[:, :width] if len(features) else features.reshape(0, width))


def make_card(
    checkpoint: Checkpoint,
    model: TorchModel,
    version: int,
    dimensions: tuple[int, int],
    preprocessing: Mapping[str, Scalar],
) -> ModelCard:
    """Return the card of a checkpoint's encoder.

    Args:
        checkpoint: its files.
        model: the loaded model.
        version: version of the code that uses the files; it is part of the revision.
        dimensions: number of dimensions kept, and of the model's own.
        preprocessing: flat settings of the preprocessing.
    """
    width, full = dimensions
    revision = hashlib.sha256(f"{version} {checkpoint.revision}".encode()).hexdigest()[:12]
    return ModelCard(
        name=checkpoint.name if width == full else f"{checkpoint.name}@{width}",
        space=f"{model.model.config.model_type}-{revision}@{width}",
        dimensions=width,
        revision=revision,
        licence=checkpoint.licence,
        preprocessing=preprocessing,
    )


def flatten(settings: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return a processor's settings without nesting, such as ``size.height``; lists as text, None left out."""
    return dict(_flat_items(settings, ""))


def _flat_items(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            yield from _flat_items(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield prefix + key, ", ".join(map(str, value))
        elif value is not None:
            yield prefix + key, value if isinstance(value, (bool, int, float)) else str(value)


def _load_parts(checkpoint: Checkpoint, threads: int) -> tuple[TorchModel, Any, Any]:
    """Load the model with both towers, the tokenizer and the image processor."""
    if OPEN_CLIP in checkpoint.files:
        from rag.encoders.open_clip import load

        return load(checkpoint, threads)
    model = load_model(checkpoint, threads)
    if not all(hasattr(model.model, method) for method in ("get_text_features", "get_image_features")):
        raise SettingsError(
            f"`{checkpoint.name}` is a {type(model.model).__name__}, which does not encode images and text into one "
            f"space. Set {_SETTING} to a model like CLIP or SigLIP, such as google/siglip2-base-patch16-224."
        )
    processor = load_part(checkpoint, "AutoImageProcessor", backend="pil")
    return model, load_part(checkpoint, "AutoTokenizer"), processor


def max_tokens(tokenizer: Any, config: Any) -> int:
    """Return the maximum number of tokens of a text; a tokenizer without a limit states 10^30."""
    positions = int(getattr(config, "max_position_embeddings", 0) or 512)
    if config.model_type in _OFFSET_POSITIONS:
        positions -= int(config.pad_token_id) + 1
    return min(positions, int(tokenizer.model_max_length))


def _crop_centre(image: Image.Image) -> Image.Image:
    """Return the centre of a very long image, which contains all that a centre crop keeps."""
    width, height = image.size
    limit = _MAX_ASPECT * min(width, height)
    if max(width, height) <= 2 * limit:
        return image
    left, top = max(0, width - limit) // 2, max(0, height - limit) // 2
    return image.crop((left, top, left + min(width, limit), top + min(height, limit)))
