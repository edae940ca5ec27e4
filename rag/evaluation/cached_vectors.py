"""Things to vectors with the configured encoders, kept on disk, so that a second run only compares."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rag.config import Settings
from rag.encoders import DualEncoder, TextEncoder, load_audio_encoder, load_dual_encoder, load_text_encoder
from rag.encoders.base import AudioEncoder, ModelCard, Vectors
from rag.errors import SettingsError
from rag.evaluation.perturb import Variant
from rag.evaluation.retrieval_sets import Item, Space, picture, samples
from rag.text import replace_surrogates

Role = Literal["query", "item"]
# What is done, how much of it, of how much.
OnProgress = Callable[[str, int, int], None]
Hear = Callable[[NDArray[np.float32]], str]
SPEECH_RATE = 16_000
# Raise it when pictures, sounds or words are made ready, heard or changed in another way: what was kept is then stale.
_RECIPE = "1"
_BATCH = 32  # pictures or sounds in memory at a time
_SILENCE = "silence"  # what stands for a recording in which nothing is heard: blank text has no vector


@dataclass
class EncoderSet:
    """One configuration: the encoders of each space, and what hears words (samples at 16 kHz) in recordings.

    Attributes:
        text: of words.
        dual: of words and pictures.
        audio: of words and sounds; None where no direction needs it.
        hear: words of a recording.
        ear: what hears, as the settings name it.
    """

    text: TextEncoder
    dual: DualEncoder
    audio: AudioEncoder | None = None
    hear: Hear = lambda samples: ""
    ear: str = ""

    def of(self, space: Space) -> TextEncoder | DualEncoder | AudioEncoder:
        """The encoder of a space.

        Raises:
            SettingsError: it was not loaded.
        """
        encoder = {"text": self.text, "joint": self.dual, "audio": self.audio}[space]
        if encoder is None:
            raise SettingsError("Searching for sounds needs an encoder of sounds.")
        return encoder

    def cards(self) -> dict[str, ModelCard]:
        """The cards of what was loaded, by space."""
        loaded = {"text": self.text, "joint": self.dual, "audio": self.audio}
        return {space: encoder.card for space, encoder in loaded.items() if encoder is not None}


def load_encoders(settings: Settings, spaces: frozenset[Space]) -> EncoderSet:
    """The encoders that the settings name, and of sounds only where a direction needs them.

    Raises:
        SettingsError: there is no such encoder.
        ModelError: its files are missing.
    """
    text = load_text_encoder(settings.text_encoder, settings.home, settings.threads)
    dual = load_dual_encoder(settings.encoder, settings.home, settings.threads, text)
    audio = _audio_encoder(settings, text) if "audio" in spaces else None
    return EncoderSet(text, dual, audio, _ear(settings), f"{settings.transcriber} {settings.language or ''}")


class Embedder:
    """Vectors of things with one configuration; `cache` is the folder where they are kept, None for nowhere."""

    def __init__(self, encoders: EncoderSet, cache: Path | None, on_progress: OnProgress) -> None:
        self.encoders = encoders
        self._cache, self._on_progress = cache, on_progress

    def vectors(self, things: Sequence[Item], space: Space, role: Role, variant: Variant | None = None) -> Vectors:
        """Vectors (n, dimensions) of things of one medium, changed first where a variant is given.

        Raises:
            MediaError: a file cannot be read.
            ModelError, SettingsError: the encoder cannot do it.
        """
        medium = things[0].medium
        kept = self._kept(things, space, role if medium == "text" else "item", variant)
        if kept is not None and kept.exists():
            found: Vectors = np.load(kept)
            return found
        label = f"{variant.name if variant else medium} · {self.encoders.of(space).card.name}"
        made = self._made(things, space, role, variant, label)
        if kept is not None:
            _save(kept, lambda path: np.save(path, made))
        return made

    def _made(self, things: Sequence[Item], space: Space, role: Role, variant: Variant | None, label: str) -> Vectors:
        rows: list[Vectors] = []
        for start in range(0, len(things), _BATCH):
            self._on_progress(label, start, len(things))
            rows.append(self._batch(things[start : start + _BATCH], space, role, variant))
        self._on_progress(label, len(things), len(things))
        return np.concatenate(rows)

    def _batch(self, things: Sequence[Item], space: Space, role: Role, variant: Variant | None) -> Vectors:
        match things[0].medium:
            case "image":
                pictures = [_changed(picture(thing), thing, variant) for thing in things]
                return self.encoders.dual.embed_images(pictures)
            case "sound":
                encoder = self.encoders.audio
                assert encoder is not None
                rate = encoder.sample_rate
                return encoder.embed_audio([_changed(samples(thing, rate), thing, variant) for thing in things])
            case "speech":
                return self._words([self._heard(thing, variant) for thing in things], space, role)
        return self._words([_changed(thing.text, thing, variant) for thing in things], space, role)

    def _words(self, texts: Sequence[str], space: Space, role: Role) -> Vectors:
        encoder = self.encoders.of(space)
        if role == "item" and space != "audio":
            passages = self.encoders.text if space == "text" else self.encoders.dual
            return passages.embed_text(texts)
        return np.stack([encoder.embed_query(text) for text in texts])

    def _heard(self, thing: Item, variant: Variant | None) -> str:
        """What is said in a recording; each is kept, because hearing it takes seconds."""
        name = variant.name if variant else ""
        made_by = (_RECIPE, self.encoders.ear, name, *_identity(thing))
        key = hashlib.sha256(replace_surrogates("\0".join(made_by)).encode())
        kept = self._cache / f"heard-{key.hexdigest()[:32]}.json" if self._cache else None
        if kept is not None and kept.exists():
            return str(json.loads(kept.read_text("utf-8"))["words"])
        words = self.encoders.hear(_changed(samples(thing, SPEECH_RATE), thing, variant)).strip() or _SILENCE
        if kept is not None:
            text = json.dumps({"recording": thing.id, "words": words}, ensure_ascii=False)
            _save(kept, lambda path: path.write_text(text, "utf-8"))
        return words

    def _kept(self, things: Sequence[Item], space: Space, role: Role, variant: Variant | None) -> Path | None:
        """Where these vectors are kept: another card, file, wording or change has another name."""
        if self._cache is None:
            return None
        ear = self.encoders.ear if things[0].medium == "speech" else ""
        made_by = (_RECIPE, self.encoders.of(space).card.to_json(), ear, role, variant.name if variant else "")
        digest = hashlib.sha256("\0".join(made_by).encode())
        for thing in things:
            digest.update(replace_surrogates("\0".join(_identity(thing))).encode())
        return self._cache / f"{digest.hexdigest()[:32]}.npy"


def _changed(value: Any, thing: Item, variant: Variant | None) -> Any:
    """The value of a thing under a variant, at random but the same in every run."""
    return value if variant is None else variant.change(value, thing.seed)


def _identity(thing: Item) -> Iterator[str]:
    yield from (thing.id, thing.medium)
    if thing.path is None:
        yield thing.text
    else:
        stat = thing.path.stat()
        yield f"{thing.path} {thing.span} {stat.st_size} {stat.st_mtime_ns}"


def _save(path: Path, write: Callable[[Path], object]) -> None:
    """Written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{os.getpid()}-{path.name}")
    write(part)
    part.replace(path)


def _ear(settings: Settings) -> Hear:
    from ingest.audio_video.transcribers import load_transcriber

    transcriber = load_transcriber(settings)

    def hear(heard: NDArray[np.float32]) -> str:
        from ingest.audio_video.decode import AudioPiece
        from ingest.audio_video.voice_activity import transcribe_speech

        transcripts = transcribe_speech([AudioPiece(0.0, heard)], transcriber)
        return " ".join(word.text.strip() for transcript in transcripts for word in transcript.words)

    return hear


def _audio_encoder(settings: Settings, text: TextEncoder) -> AudioEncoder:
    """The encoder of sounds; raises SettingsError where they are left unheard."""
    encoder = load_audio_encoder(settings.audio_encoder, settings.home, settings.threads, text)
    if encoder is None:
        raise SettingsError("EXHIBIT_AUDIO_ENCODER is off, so sets of sounds cannot be measured.")
    return encoder
