"""Encoders behind an API, through litellm: ``litellm:openai/text-embedding-3-small``, ``litellm:cohere/embed-v4.0``.

What is embedded goes to the provider. Its weights cannot be seen, so the card's revision stands for the model's name
and dimensions alone: a provider that changes a model under its name changes it unnoticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from rag.encoders.base import CLOUD, ModelCard, TaggedVectors, Vectors, clean, normalize, require_query, require_texts
from rag.errors import LLMError, ModelError
from rag.llm import litellm_api
from rag.llm.base import data_url
from rag.media.opening import rgb

_BATCH = 64  # texts of a request; the least that a large provider takes is 96 (Cohere)
_PICTURE_SIDE_PX = 1024
_TIMEOUT_S = 60.0
_MAX_CHARS = 16_384  # under the 8,192 tokens that most providers take, in most languages


class CloudTextEncoder:
    """A text encoder behind an API."""

    def __init__(self, model: str, dimensions: int | None = None, *, setting: str, api_base: str | None = None) -> None:
        """Ask for one vector, which shows that the model can be reached and how long its vectors are.

        Args:
            model: litellm's name of the model.
            dimensions: ask for vectors of this length; the model's own by default.
            setting: the setting that names it, for advice.
            api_base: address of an own server; litellm's variables, such as OPENAI_API_BASE, by default.

        Raises:
            ModelError: it cannot be reached, or refuses.
        """
        self._model, self._asked, self._setting, self._api_base = model, dimensions, setting, api_base
        found = self._embedded(["a"], query=False).shape[1]
        if dimensions not in (None, found):
            raise ModelError(f"`{model}` gives {found} dimensions, not {dimensions}; set {setting}={CLOUD}{model}.")
        name = CLOUD + model + (f"@{dimensions}" if dimensions else "")
        space = f"{model}@{found}"
        self.card = ModelCard(
            name=name,
            space=space,
            dimensions=found,
            revision=hashlib.sha256(space.encode()).hexdigest()[:12],
            licence="unknown",
            preprocessing={"max_chars": _MAX_CHARS, "picture_side_px": _PICTURE_SIDE_PX},
        )

    def embed_query(self, text: str) -> Vectors:
        """Vector (dimensions,) of a question. Raises QueryError where it is blank."""
        vector: Vectors = self._embedded([require_query(text)], query=True)[0]
        return vector

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, dimensions) of passages, in their order; what is beyond 16,384 characters is not sent.

        Raises:
            ModelError: a text is blank, or the provider failed.
        """
        return self._batched(require_texts(texts), lambda batch: self._embedded(batch, query=False))

    def _batched(
        self, items: Sequence[Any], embedded: Callable[[Sequence[Any]], Vectors], size: int = _BATCH
    ) -> Vectors:
        rows = [embedded(items[start : start + size]) for start in range(0, len(items), size)]
        return np.concatenate(rows) if rows else np.zeros((0, self.card.dimensions), np.float32)

    def _embedded(self, texts: Sequence[str], *, query: bool) -> Vectors:
        # Cohere's models tell questions from passages by a parameter of their own.
        kind = {"input_type": "search_query" if query else "search_document"} if "cohere" in self._model else {}
        return self._asked_for([clean(text, _MAX_CHARS) for text in texts], kind)

    def _asked_for(self, inputs: list[str], options: dict[str, str]) -> Vectors:
        call: dict[str, Any] = {
            "model": self._model,
            "input": inputs,
            "timeout": _TIMEOUT_S,
            "max_retries": 0,
            **options,
        }
        given = {"api_base": self._api_base, "dimensions": self._asked}
        call |= {key: value for key, value in given.items() if value is not None}
        try:
            answer = litellm_api.retried(
                lambda: litellm_api.litellm().embedding(**call),
                self._model,
                setting=self._setting,
                late="try again later",
            )
        except LLMError as error:
            raise ModelError(f"Encoder {error}") from error
        rows = sorted(answer.data, key=lambda row: int(row["index"]))
        if len(rows) != len(inputs):
            raise ModelError(f"Encoder `{self._model}` gave {len(rows)} vectors for {len(inputs)} inputs.")
        return normalize(np.array([row["embedding"] for row in rows], np.float32))


class CloudEncoder(CloudTextEncoder):
    """An image-text encoder behind an API; pictures are sent as JPEG of at most 1024 pixels a side, one by one."""

    def from_text_vectors(self, vectors: Vectors, *, is_query: bool = False) -> None:
        """None: it has words of its own."""

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Vectors (n, dimensions) of pictures of any mode and size, in their order."""
        # Cohere and Vertex take one picture in a request.
        return self._batched(images, lambda batch: self._asked_for([_data_url(image) for image in batch], {}), 1)

    def embed_and_tag(self, images: Sequence[Image.Image]) -> TaggedVectors:
        """Vectors (n, dimensions) of pictures; it gives no tags."""
        return TaggedVectors(self.embed_images(images), [() for _ in images])


def _data_url(image: Image.Image) -> str:
    return data_url(rgb(image), _PICTURE_SIDE_PX)
