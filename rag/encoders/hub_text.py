"""Text encoders in the layout of sentence-transformers, or plain ones of the transformers library.

``modules.json`` determines the steps: a transformer, then the pooling that ``1_Pooling/config.json`` names, then unit
length. Without that file, the vector is the mean over the tokens; a copy in the hub's cache without the file is used
only if the hub is known to have none. Prompts come from the checkpoint; E5 always gets its two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.encoders import matryoshka
from rag.encoders.base import Vectors, clean_text, normalize, require_query, require_texts
from rag.encoders.hub_dual import TOKENIZER, make_card, max_tokens
from rag.encoders.minilm import BATCH_TOKENS, group_by_length, mean_pool
from rag.encoders.torch_models import load_model, load_part
from rag.errors import ModelError, SettingsError
from rag.models import Checkpoint
from rag.types import Scalar

NEEDS = ("config.json", TOKENIZER, "modules.json")
# Increase when the same files give other vectors.
_VERSION = 1
_SETTING = "EXHIBIT_TEXT_ENCODER"
_MAX_CHARS = 32_768  # bounds the tokenizer's work on a huge text
_POOLINGS = ("cls", "mean", "lasttoken")
_E5 = re.compile(r"(multilingual-)?e5-(small|base|large)(-v2)?")


class HubTextEncoder:
    """A text encoder of the transformers library."""

    def __init__(self, checkpoint: Checkpoint, threads: int = 1, dimensions: int | None = None) -> None:
        """Load the model.

        Args:
            checkpoint: its files.
            threads: cores that it may use.
            dimensions: number of dimensions to keep; all by default.

        Raises:
            SettingsError: its architecture is not supported, or it cannot be cut to that length.
            ModelError: a file is missing or damaged.
        """
        self._pooling = _read_pooling(checkpoint)
        self._query_prompt, self._text_prompt = _read_prompts(checkpoint)
        self._model = load_model(checkpoint, threads, unused=r"(^|\.)pooler\.")
        self._tokenizer = load_part(checkpoint, "AutoTokenizer")
        self._tokenizer.padding_side = "right"
        limit = max_tokens(self._tokenizer, self._model.model.config)
        self._max_tokens = min(limit, int(checkpoint.json("sentence_bert_config.json").get("max_seq_length") or limit))
        full = self._features(["a"]).shape[1]
        width = matryoshka.choose_dimensions(checkpoint, dimensions, full, _SETTING)
        settings: dict[str, Scalar] = {
            "max_tokens": self._max_tokens,
            "pooling": self._pooling,
            "query_prompt": self._query_prompt,
            "text_prompt": self._text_prompt,
        }
        self.card = make_card(checkpoint, self._model, _VERSION, (width, full), settings)

    def embed_query(self, text: str) -> Vectors:
        """Return the vector (dimensions,) of a query. Raises QueryError if it is blank."""
        vector: Vectors = self._vectors([self._query_prompt + clean_text(require_query(text), _MAX_CHARS)])[0]
        return vector

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors (n, dimensions) of passages, in order; tokens beyond the model's limit have no effect.

        Raises:
            ModelError: a text is blank.
        """
        return self._vectors([self._text_prompt + clean_text(text, _MAX_CHARS) for text in require_texts(texts)])

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        features = np.zeros((len(texts), self.card.dimensions), np.float32)
        lengths = [min(self._max_tokens, len(text) // 4 + 2) for text in texts]
        for batch in group_by_length(lengths, BATCH_TOKENS):
            features[batch] = self._features([texts[i] for i in batch])[:, : self.card.dimensions]
        return normalize(features)

    def _features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        hidden = self._model.run("forward", tokens, "last_hidden_state")
        return pool(hidden, tokens["attention_mask"].numpy(), self._pooling)


def pool(hidden: NDArray[np.float32], mask: NDArray[Any], mode: str) -> NDArray[np.float32]:
    """Return features (n, dimensions) of token states (n, tokens, dimensions), padded on the right."""
    if mode == "cls":
        return hidden[:, 0]
    if mode == "lasttoken":
        last: NDArray[np.float32] = hidden[np.arange(len(hidden)), mask.sum(1) - 1]
        return last
    return mean_pool(hidden, mask)


def _read_pooling(checkpoint: Checkpoint) -> str:
    """Return the way in which token states become one vector.

    Raises:
        SettingsError: the model has unsupported parts.
    """
    modules = checkpoint.value("modules.json") or []
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    unsupported = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if unsupported or any(module["path"] for module in modules[:1]):
        part = unsupported[0] if unsupported else "transformer in a folder of its own"
        raise SettingsError(f"`{checkpoint.name}` has a {part}, which is not supported; choose another {_SETTING}.")
    path = next((module["path"] for module, kind in zip(modules, kinds, strict=True) if kind == "Pooling"), None)
    settings = checkpoint.json(f"{path}/config.json") if path else {}
    modes = [
        key.removeprefix("pooling_mode_") for key, on in settings.items() if key.startswith("pooling_mode_") and on
    ]
    modes = [mode.removesuffix("_token").removesuffix("_tokens") for mode in modes] or [
        settings.get("pooling_mode", "mean")
    ]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise SettingsError(
            f"`{checkpoint.name}` pools by {', '.join(map(str, modes))}; supported are {', '.join(_POOLINGS)}."
        )
    return str(modes[0])


def _read_prompts(checkpoint: Checkpoint) -> tuple[str, str]:
    """Return the prompts that precede a query and a passage."""
    prompts = checkpoint.json("config_sentence_transformers.json").get("prompts") or {}
    if not isinstance(prompts, dict):
        raise ModelError(f"The prompts of `{checkpoint.name}` are not a JSON object; get the checkpoint again.")
    if not prompts and _E5.fullmatch(checkpoint.name.rstrip("/").rpartition("/")[2].lower()):
        prompts = {"query": "query: ", "passage": "passage: "}
    text = next((prompts[key] for key in ("passage", "document", "corpus") if key in prompts), "")
    return str(prompts.get("query", "")), str(text)
