"""Encoders behind an API, through litellm: ``litellm:openai/text-embedding-3-small``, ``litellm:cohere/embed-v4.0``.

Everything that is embedded is sent to the provider. Its weights are not visible, so the card's revision covers only the
model's name and dimensions: if a provider changes a model under the same name, the change goes unnoticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from rag.encoders.base import (
    CLOUD,
    ModelCard,
    TaggedVectors,
    Vectors,
    clean_text,
    normalize,
    require_query,
    require_texts,
)
from rag.errors import LLMError, ModelError
from rag.llm import litellm_api
from rag.llm.base import data_url
from rag.media.opening import rgb

_BATCH = 64  # texts of a request; the lowest limit of a large provider is 96 (Cohere)
_PICTURE_SIDE_PX = 1024
_TIMEOUT_S = 60.0
_MAX_CHARS = 16_384  # under the 8,192 tokens that most providers take, in most languages


class CloudTextEncoder:
    """A text encoder behind an API."""

    def __init__(self, model: str, dimensions: int | None = None, *, setting: str, api_base: str | None = None) -> None:
        """Request one vector, which shows that the model can be reached and how long its vectors are.

        Args:
            model: litellm's name of the model.
            dimensions: length of the vectors; the model's own by default.
            setting: the setting that names it, for error messages.
            api_base: address of your own server; by default that of litellm's variables, such as OPENAI_API_BASE.

        Raises:
            ModelError: the model cannot be reached, or refuses.
        """
        self._model, self._setting = model, setting
        given = {"timeout": _TIMEOUT_S, "api_base": api_base, "dimensions": dimensions}
        self._options = {key: value for key, value in given.items() if value is not None}
        length = self._embed(["a"], is_query=False).shape[1]
        if dimensions not in (None, length):
            raise ModelError(f"`{model}` gives {length} dimensions, not {dimensions}; set {setting}={CLOUD}{model}.")
        name = CLOUD + model + (f"@{dimensions}" if dimensions else "")
        space = f"{model}@{length}"
        self.card = ModelCard(
            name=name,
            space=space,
            dimensions=length,
            revision=hashlib.sha256(space.encode()).hexdigest()[:12],
            licence="unknown",
            preprocessing={"max_chars": _MAX_CHARS, "picture_side_px": _PICTURE_SIDE_PX},
        )

    def embed_query(self, text: str) -> Vectors:
        """Return the vector (dimensions,) of a question. Raises QueryError if it is blank."""
        vector: Vectors = self._embed([require_query(text)], is_query=True)[0]
        return vector

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors (n, dimensions) of passages, in their order; only 16,384 characters of each are sent.

        Raises:
            ModelError: a text is blank, or the provider failed.
        """
        return self._embed_in_batches(require_texts(texts), lambda batch: self._embed(batch, is_query=False), _BATCH)

    def _embed_in_batches(
        self, items: Sequence[Any], embed: Callable[[Sequence[Any]], Vectors], batch_size: int
    ) -> Vectors:
        rows = [embed(items[start : start + batch_size]) for start in range(0, len(items), batch_size)]
        return np.concatenate(rows) if rows else np.zeros((0, self.card.dimensions), np.float32)

    def _embed(self, texts: Sequence[str], *, is_query: bool) -> Vectors:
        # Cohere's models distinguish questions from passages by a parameter of their own.
        kind = {"input_type": "search_query" if is_query else "search_document"} if "cohere" in self._model else {}
        return self._request([clean_text(text, _MAX_CHARS) for text in texts], kind)

    def _request(self, inputs: list[str], options: Mapping[str, str]) -> Vectors:
        try:
            vectors = litellm_api.embed(self._model, inputs, {**self._options, **options}, setting=self._setting)
        except LLMError as error:
            raise ModelError(f"Encoder {error}") from error
        if len(vectors) != len(inputs):
            raise ModelError(f"Encoder `{self._model}` gave {len(vectors)} vectors for {len(inputs)} inputs.")
        return normalize(np.array(vectors, np.float32))


class CloudEncoder(CloudTextEncoder):
    """An image-text encoder behind an API; pictures are sent one by one, as JPEG of at most 1024 pixels a side."""

    def from_text_vectors(self, vectors: Vectors, *, is_query: bool = False) -> None:
        """Return None: it embeds words itself."""

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Return the vectors (n, dimensions) of pictures of any mode and size, in their order."""
        # Cohere and Vertex take one picture in a request.
        return self._embed_in_batches(images, lambda batch: self._request([_data_url(image) for image in batch], {}), 1)

    def embed_and_tag(self, images: Sequence[Image.Image]) -> TaggedVectors:
        """Return the vectors (n, dimensions) of pictures, without tags."""
        return TaggedVectors(self.embed_images(images), [() for _ in images])


def _data_url(image: Image.Image) -> str:
    return data_url(rgb(image), _PICTURE_SIDE_PX)
