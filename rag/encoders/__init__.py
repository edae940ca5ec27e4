"""Encoders: words, pictures and sounds to vectors. Settings name them; these three functions load them."""

from __future__ import annotations

from pathlib import Path

from rag.encoders.base import AudioEncoder, DualEncoder, Look, ModelCard, TextEncoder
from rag.errors import SettingsError
from rag.models import ensure

__all__ = [
    "AudioEncoder",
    "DualEncoder",
    "Look",
    "ModelCard",
    "TextEncoder",
    "load_audio_encoder",
    "load_dual_encoder",
    "load_text_encoder",
]


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

    return LiteEncoder(ensure("efficientnet-lite2", home), text, threads)


def load_audio_encoder(name: str, home: Path, threads: int, text: TextEncoder) -> AudioEncoder | None:
    """The sound encoder of this name, its files made on first use; None where it is ``off``.

    Args:
        name: ``lite`` or ``off``.
        home: folder for Exhibit's own files.
        threads: cores that it may use.
        text: the text encoder, with which ``lite`` compares questions and names of sounds.

    Raises:
        SettingsError: there is no such encoder.
        ModelError: its files are missing or damaged.
    """
    if name == "off":
        return None
    if name != "lite":
        raise SettingsError(f"There is no sound encoder `{name}`; EXHIBIT_AUDIO_ENCODER can be lite or off.")
    from rag.encoders.sounds import LiteSounds

    return LiteSounds(ensure("yamnet", home), text, threads)
