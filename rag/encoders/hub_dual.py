"""Any image-text encoder of the transformers library: CLIP, SigLIP, SigLIP 2 and their kin, from a hub or a folder.

Pictures are prepared by the checkpoint's own processor, on Pillow, so that the same picture has the same vector on
every machine. Words are cut at the tokens that the text tower was trained with, 77 for CLIP and 64 for SigLIP: of a
long passage only the start is in the joint space. The text channels see more of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rag.encoders import matryoshka
from rag.encoders.base import ModelCard, TaggedVectors, Vectors, clean, normalize, require_query, require_texts
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
# Raise when this module makes other vectors of the same files.
_VERSION = 1
_SETTING = "EXHIBIT_ENCODER"
_BATCH = 16
# More characters than 77 tokens of any prose; bounds the tokenizer's work on a huge text.
_MAX_CHARS = 4096
# A processor that scales the short side and cuts out the middle would first make a picture of 3000 by 2 one of
# 336,000 by 224. The middle of this shape is all that it can keep, with room for the resampling filter.
_WIDEST = 8
# Trained on lower case, padded on the right to full length, with attention to the padding too (big_vision; open_clip
# issue 984). Some tokenizers on the hub say otherwise.
_SIGLIP = frozenset({"siglip", "siglip2"})
# These count positions from the padding token's number on.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "clap_text_model", "altclip_text_model", "camembert"})


@dataclass(frozen=True)
class Parts:
    """What a checkpoint is made of: the model with both towers, its tokenizer and its image processor."""

    model: TorchModel
    tokenizer: Any
    processor: Any


class Words:
    """The text tower of a checkpoint: texts to features."""

    def __init__(self, model: TorchModel, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        config = model.model.config
        self.lower_case = config.model_type in _SIGLIP
        if self.lower_case:
            tokenizer.padding_side, tokenizer.model_input_names = "right", ["input_ids"]
        self.max_tokens = max_tokens(tokenizer, getattr(config, "text_config", config))

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Features (n, dimensions) of texts, not yet of unit length; none of no texts."""
        rows = [self._batch(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)

    def _batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        words = [clean(text, _MAX_CHARS) for text in texts]
        tokens = self._tokenizer(
            [text.lower() for text in words] if self.lower_case else words,
            padding="max_length" if self.lower_case else True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        return self._model.run("get_text_features", tokens)


class HubEncoder:
    """An image-text encoder of the transformers library."""

    def __init__(self, found: Checkpoint, threads: int = 1, dimensions: int | None = None) -> None:
        """Load it.

        Args:
            found: its files.
            threads: cores that it may use.
            dimensions: keep so many of its dimensions; all by default.

        Raises:
            SettingsError: it does not see and read, it needs code of its own, or it cannot be cut so.
            ModelError: a file is missing or damaged.
        """
        parts = _parts(found, threads)
        self._model, self._processor = parts.model, parts.processor
        self._words = Words(parts.model, parts.tokenizer)
        full = self._words.features(["a"]).shape[1]
        kept = matryoshka.chosen(found, dimensions, full, _SETTING)
        settings = flat(self._processor.to_dict())
        self._crops = bool(settings.get("do_center_crop"))
        told = {"max_tokens": self._words.max_tokens, "lower_case": self._words.lower_case}
        self.card = card(found, self._model, _VERSION, (kept, full), settings | told)

    def embed_query(self, text: str) -> Vectors:
        """Vector (dimensions,) of a description of a picture. Raises QueryError where it is blank."""
        vector: Vectors = self.embed_text([require_query(text)])[0]
        return vector

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, dimensions) of captions, in their order; what is beyond the text tower's tokens is not seen.

        Raises:
            ModelError: a text is blank.
        """
        return self._cut(self._words.features(require_texts(texts)))

    def from_text_vectors(self, vectors: Vectors, *, is_query: bool = False) -> None:
        """None: it has words of its own."""

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Vectors (n, dimensions) of pictures of any mode and size, in their order."""
        batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
        rows = [self._model.run("get_image_features", self.prepared(batch)) for batch in batches]
        return self._cut(np.concatenate(rows) if rows else np.zeros((0, 0), np.float32))

    def embed_and_tag(self, images: Sequence[Image.Image]) -> TaggedVectors:
        """Vectors (n, dimensions) of pictures; it gives no tags."""
        return TaggedVectors(self.embed_images(images), [() for _ in images])

    def prepared(self, images: Sequence[Image.Image]) -> Mapping[str, Any]:
        """Tensors of pictures as the model takes them."""
        upright = [rgb(image) for image in images]
        middle = [_middle(image) for image in upright] if self._crops else upright
        tensors: Mapping[str, Any] = self._processor(
            images=middle, return_tensors="pt", input_data_format="channels_last"
        )
        return tensors

    def _cut(self, features: NDArray[np.float32]) -> Vectors:
        width = self.card.dimensions
        return normalize(features[:, :width] if len(features) else features.reshape(0, width))


def card(
    found: Checkpoint, model: TorchModel, version: int, dimensions: tuple[int, int], preprocessing: Mapping[str, Scalar]
) -> ModelCard:
    """The card of a checkpoint's encoder.

    Args:
        found: its files.
        model: what they are.
        version: raised with every other use of the same files.
        dimensions: how many are kept, of how many.
        preprocessing: what is done to the input.
    """
    kept, full = dimensions
    revision = hashlib.sha256(f"{version} {found.revision}".encode()).hexdigest()[:12]
    return ModelCard(
        name=found.name if kept == full else f"{found.name}@{kept}",
        space=f"{model.model.config.model_type}-{revision}@{kept}",
        dimensions=kept,
        revision=revision,
        licence=found.licence,
        preprocessing=preprocessing,
    )


def flat(settings: Mapping[str, Any]) -> dict[str, Scalar]:
    """Settings of a processor without nesting: ``size.height``; lists as text; what is None is left out."""
    return dict(_flat(settings, ""))


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield prefix + key, ", ".join(map(str, value))
        elif value is not None:
            yield prefix + key, value if isinstance(value, (bool, int, float)) else str(value)


def _parts(found: Checkpoint, threads: int) -> Parts:
    if OPEN_CLIP in found.files:
        from rag.encoders.open_clip import load

        return Parts(*load(found, threads))
    model = load_model(found, threads)
    if not all(hasattr(model.model, method) for method in ("get_text_features", "get_image_features")):
        raise SettingsError(
            f"`{found.name}` is a {type(model.model).__name__}, which does not give pictures and words one space. "
            f"{_SETTING} takes the likes of CLIP and SigLIP, such as google/siglip2-base-patch16-224."
        )
    processor = load_part(found, "AutoImageProcessor", backend="pil")
    return Parts(model, load_part(found, "AutoTokenizer"), processor)


def max_tokens(tokenizer: Any, config: Any) -> int:
    """The most tokens of a text; a tokenizer that does not know says 10^30."""
    positions = int(getattr(config, "max_position_embeddings", 0) or 512)
    if config.model_type in _OFFSET_POSITIONS:
        positions -= int(config.pad_token_id) + 1
    return min(positions, int(tokenizer.model_max_length))


def _middle(image: Image.Image) -> Image.Image:
    """The middle of a very long picture, which is all that a centre crop keeps of it."""
    width, height = image.size
    most = _WIDEST * min(width, height)
    if max(width, height) <= 2 * most:
        return image
    left, top = max(0, width - most) // 2, max(0, height - most) // 2
    return image.crop((left, top, left + min(width, most), top + min(height, most)))
