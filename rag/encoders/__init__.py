"""Encoders: words and pictures to vectors. Settings name them; these two functions load them."""

from __future__ import annotations

from pathlib import Path

from rag.encoders.base import DualEncoder, Look, ModelCard, TextEncoder
from rag.errors import SettingsError
from rag.models import ensure

__all__ = ["DualEncoder", "Look", "ModelCard", "TextEncoder", "load_dual_encoder", "load_text_encoder"]


def load_text_encoder(name: str, home: Path, threads: int) -> TextEncoder:
    """The text encoder of this name, its files made on first use.

    Args:
        name: ``minilm``.
        home: folder for Exhibit's own files.
        threads: cores that it may use.

    Raises:
        SettingsError: there is no such text encoder.
        ModelError: its files are missing or damaged.
    """
    if name != "minilm":
        raise SettingsError(f"There is no text encoder `{name}`; EXHIBIT_TEXT_ENCODER can be minilm.")
    from rag.encoders.text import MiniLM

    return MiniLM(ensure(name, home), threads)


def load_dual_encoder(name: str, home: Path, threads: int, text: TextEncoder) -> DualEncoder:
    """The image-text encoder of this name, its files made on first use.

    Args:
        name: ``lite``.
        home: folder for Exhibit's own files.
        threads: cores that it may use.
        text: the text encoder, whose space ``lite`` shares.

    Raises:
        SettingsError: there is no such encoder, or it does not go with the text encoder.
        ModelError: its files are missing or damaged.
    """
    if name != "lite":
        raise SettingsError(f"There is no image encoder `{name}`; EXHIBIT_ENCODER can be lite.")
    from rag.encoders.lite import LiteEncoder

    return LiteEncoder(ensure("lite", home), text, threads)
