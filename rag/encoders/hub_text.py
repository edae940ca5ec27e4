"""Any text encoder in the layout of sentence-transformers, or a plain one of the transformers library.

What its ``modules.json`` says is done: a transformer, then the pooling that ``1_Pooling/config.json`` names, at unit
length. Without that file it is the mean over the tokens; a copy in the hub's cache without it is used only if the hub
has said that there is none.
Prompts are those of its card; E5 wants its two in any case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.encoders import matryoshka
from rag.encoders.base import Vectors, clean, normalize, require_query, require_texts
from rag.encoders.hub_dual import TOKENIZER, card, max_tokens
from rag.encoders.minilm import BATCH_TOKENS, batches
from rag.encoders.torch_models import load_model, load_part
from rag.errors import ModelError, SettingsError
from rag.models import Checkpoint
from rag.types import Scalar

NEEDS = ("config.json", TOKENIZER, "modules.json")
# Raise when this module makes other vectors of the same files.
_VERSION = 1
_SETTING = "EXHIBIT_TEXT_ENCODER"
_MAX_CHARS = 32_768  # bounds the tokenizer's work on a huge text
_POOLINGS = ("cls", "mean", "lasttoken")
_E5 = re.compile(r"(multilingual-)?e5-(small|base|large)(-v2)?")


class HubTextEncoder:
    """A text encoder of the transformers library."""

    def __init__(self, found: Checkpoint, threads: int = 1, dimensions: int | None = None) -> None:
        """Load it.

        Args:
            found: its files.
            threads: cores that it may use.
            dimensions: keep so many of its dimensions; all by default.

        Raises:
            SettingsError: it is built in a way that is not known here, or it cannot be cut so.
            ModelError: a file is missing or damaged.
        """
        self._pooling = _pooling(found)
        self._query_prompt, self._text_prompt = _prompts(found)
        self._model = load_model(found, threads, unused=r"(^|\.)pooler\.")
        self._tokenizer = load_part(found, "AutoTokenizer")
        self._tokenizer.padding_side = "right"
        most = max_tokens(self._tokenizer, self._model.model.config)
        self._max_tokens = min(most, int(found.json("sentence_bert_config.json").get("max_seq_length") or most))
        full = self._features(["a"]).shape[1]
        kept = matryoshka.chosen(found, dimensions, full, _SETTING)
        told: dict[str, Scalar] = {
            "max_tokens": self._max_tokens,
            "pooling": self._pooling,
            "query_prompt": self._query_prompt,
            "text_prompt": self._text_prompt,
        }
        self.card = card(found, self._model, _VERSION, (kept, full), told)

    def embed_query(self, text: str) -> Vectors:
        """Vector (dimensions,) of a question. Raises QueryError where it is blank."""
        vector: Vectors = self._vectors([self._query_prompt + clean(require_query(text), _MAX_CHARS)])[0]
        return vector

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, dimensions) of passages, in their order; what is beyond the model's tokens is not seen.

        Raises:
            ModelError: a text is blank.
        """
        return self._vectors([self._text_prompt + clean(text, _MAX_CHARS) for text in require_texts(texts)])

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        features = np.zeros((len(texts), self.card.dimensions), np.float32)
        lengths = [min(self._max_tokens, len(text) // 4 + 2) for text in texts]
        for batch in batches(lengths, BATCH_TOKENS):
            features[batch] = self._features([texts[i] for i in batch])[:, : self.card.dimensions]
        return normalize(features)

    def _features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        hidden = self._model.run("forward", tokens, "last_hidden_state")
        return pooled(hidden, tokens["attention_mask"].numpy(), self._pooling)


def pooled(hidden: NDArray[np.float32], mask: NDArray[Any], way: str) -> NDArray[np.float32]:
    """Features (n, dimensions) of token states (n, tokens, dimensions), padded on the right."""
    if way == "cls":
        return hidden[:, 0]
    if way == "lasttoken":
        last: NDArray[np.float32] = hidden[np.arange(len(hidden)), mask.sum(1) - 1]
        return last
    mean: NDArray[np.float32] = np.einsum("nld,nl->nd", hidden, mask.astype(np.float32)) / mask.sum(1)[:, None]
    return mean


def _pooling(found: Checkpoint) -> str:
    """How token states become one vector.

    Raises:
        SettingsError: the model has parts that are not known here.
    """
    modules = found.value("modules.json") or []
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    strange = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if strange or any(module["path"] for module in modules[:1]):
        what = strange[0] if strange else "transformer in a folder of its own"
        raise SettingsError(f"`{found.name}` has a {what}, which is not known here; choose another {_SETTING}.")
    path = next((module["path"] for module, kind in zip(modules, kinds, strict=True) if kind == "Pooling"), None)
    settings = found.json(f"{path}/config.json") if path else {}
    modes = [
        key.removeprefix("pooling_mode_") for key, on in settings.items() if key.startswith("pooling_mode_") and on
    ]
    modes = [mode.removesuffix("_token").removesuffix("_tokens") for mode in modes] or [
        settings.get("pooling_mode", "mean")
    ]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise SettingsError(f"`{found.name}` pools by {', '.join(map(str, modes))}; known are {', '.join(_POOLINGS)}.")
    return str(modes[0])


def _prompts(found: Checkpoint) -> tuple[str, str]:
    """What is put before a query and before a passage."""
    prompts = found.json("config_sentence_transformers.json").get("prompts") or {}
    if not isinstance(prompts, dict):
        raise ModelError(f"The prompts of `{found.name}` are no JSON object; get the checkpoint again.")
    if not prompts and _E5.fullmatch(found.name.rstrip("/").rpartition("/")[2].lower()):
        prompts = {"query": "query: ", "passage": "passage: "}
    text = next((prompts[key] for key in ("passage", "document", "corpus") if key in prompts), "")
    return str(prompts.get("query", "")), str(text)
