"""Items to vectors with the configured encoders; vectors are cached on disk, so that a second run only compares."""

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
# A label, the number done, and the total.
OnProgress = Callable[[str, int, int], None]
Transcribe = Callable[[NDArray[np.float32]], str]
SPEECH_RATE = 16_000
# Raise it when the preparation, transcription or perturbation of items changes: cached vectors are then stale.
_RECIPE = "1"
_BATCH = 32  # pictures or sounds in memory at a time
_SILENCE = "silence"  # the transcript of a recording without speech, because blank text has no vector


@dataclass
class EncoderSet:
    """One configuration: an encoder for each space, and a transcriber of recordings (samples at 16 kHz).

    Attributes:
        text: encodes words.
        dual: encodes words and pictures.
        audio: encodes words and sounds; None if no direction needs it.
        transcribe: returns the words of a recording.
        transcriber: its name in the settings.
    """

    text: TextEncoder
    dual: DualEncoder
    audio: AudioEncoder | None = None
    transcribe: Transcribe = lambda samples: ""
    transcriber: str = ""

    def of(self, space: Space) -> TextEncoder | DualEncoder | AudioEncoder:
        """Return the encoder of a space.

        Raises:
            SettingsError: it was not loaded.
        """
        encoder = {"text": self.text, "joint": self.dual, "audio": self.audio}[space]
        if encoder is None:
            raise SettingsError("Searching for sounds needs an encoder of sounds.")
        return encoder

    def cards(self) -> dict[str, ModelCard]:
        """Return the cards of the loaded encoders by space."""
        loaded = {"text": self.text, "joint": self.dual, "audio": self.audio}
        return {space: encoder.card for space, encoder in loaded.items() if encoder is not None}


def load_encoders(settings: Settings, spaces: frozenset[Space]) -> EncoderSet:
    """Load the encoders that the settings name; that of sounds only if a direction needs it.

    Raises:
        SettingsError: an encoder is unknown.
        ModelError: its files are missing.
    """
    text = load_text_encoder(settings.text_encoder, settings.home, settings.threads)
    dual = load_dual_encoder(settings.encoder, settings.home, settings.threads, text)
    audio = _audio_encoder(settings, text) if "audio" in spaces else None
    return EncoderSet(
        text, dual, audio, _load_transcriber(settings), f"{settings.transcriber} {settings.language or ''}"
    )


class Embedder:
    """Makes vectors with one configuration; `cache` is the folder that stores them, None to store none."""

    def __init__(self, encoders: EncoderSet, cache: Path | None, on_progress: OnProgress) -> None:
        self.encoders = encoders
        self._cache, self._on_progress = cache, on_progress

    def vectors(self, items: Sequence[Item], space: Space, role: Role, variant: Variant | None = None) -> Vectors:
        """Return vectors (n, dimensions) of items of one medium, perturbed first if a variant is given.

        Raises:
            MediaError: a file cannot be read.
            ModelError, SettingsError: the encoder cannot encode them.
        """
        medium = items[0].medium
        file = self._cache_file(items, space, role if medium == "text" else "item", variant)
        if file is not None and file.exists():
            found: Vectors = np.load(file)
            return found
        label = f"{variant.name if variant else medium} · {self.encoders.of(space).card.name}"
        made = self._encode(items, space, role, variant, label)
        if file is not None:
            _save(file, lambda path: np.save(path, made))
        return made

    def _encode(self, items: Sequence[Item], space: Space, role: Role, variant: Variant | None, label: str) -> Vectors:
        rows: list[Vectors] = []
        for start in range(0, len(items), _BATCH):
            self._on_progress(label, start, len(items))
            rows.append(self._batch(items[start : start + _BATCH], space, role, variant))
        self._on_progress(label, len(items), len(items))
        return np.concatenate(rows)

    def _batch(self, items: Sequence[Item], space: Space, role: Role, variant: Variant | None) -> Vectors:
        match items[0].medium:
            case "image":
                pictures = [_perturb(picture(item), item, variant) for item in items]
                return self.encoders.dual.embed_images(pictures)
            case "sound":
                encoder = self.encoders.audio
                assert encoder is not None
                rate = encoder.sample_rate
                return encoder.embed_audio([_perturb(samples(item, rate), item, variant) for item in items])
            case "speech":
                return self._words([self._transcript(item, variant) for item in items], space, role)
        return self._words([_perturb(item.text, item, variant) for item in items], space, role)

    def _words(self, texts: Sequence[str], space: Space, role: Role) -> Vectors:
        encoder = self.encoders.of(space)
        if role == "item" and space != "audio":
            passages = self.encoders.text if space == "text" else self.encoders.dual
            return passages.embed_text(texts)
        return np.stack([encoder.embed_query(text) for text in texts])

    def _transcript(self, item: Item, variant: Variant | None) -> str:
        """Return the speech of a recording; each transcript is cached, because transcription takes seconds."""
        name = variant.name if variant else ""
        made_by = (_RECIPE, self.encoders.transcriber, name, *_identity(item))
        key = hashlib.sha256(replace_surrogates("\0".join(made_by)).encode())
        file = self._cache / f"heard-{key.hexdigest()[:32]}.json" if self._cache else None
        if file is not None and file.exists():
            return str(json.loads(file.read_text("utf-8"))["words"])
        words = self.encoders.transcribe(_perturb(samples(item, SPEECH_RATE), item, variant)).strip() or _SILENCE
        if file is not None:
            text = json.dumps({"recording": item.id, "words": words}, ensure_ascii=False)
            _save(file, lambda path: path.write_text(text, "utf-8"))
        return words

    def _cache_file(self, items: Sequence[Item], space: Space, role: Role, variant: Variant | None) -> Path | None:
        """Return the cache file of these vectors, named by encoder, files, texts and variant."""
        if self._cache is None:
            return None
        ear = self.encoders.transcriber if items[0].medium == "speech" else ""
        made_by = (_RECIPE, self.encoders.of(space).card.to_json(), ear, role, variant.name if variant else "")
        digest = hashlib.sha256("\0".join(made_by).encode())
        for item in items:
            digest.update(replace_surrogates("\0".join(_identity(item))).encode())
        return self._cache / f"{digest.hexdigest()[:32]}.npy"


def _perturb(value: Any, item: Item, variant: Variant | None) -> Any:
    """Return the value of an item under a variant: random, but the same in every run."""
    return value if variant is None else variant.change(value, item.seed)


def _identity(item: Item) -> Iterator[str]:
    yield from (item.id, item.medium)
    if item.path is None:
        yield item.text
    else:
        stat = item.path.stat()
        yield f"{item.path} {item.span} {stat.st_size} {stat.st_mtime_ns}"


def _save(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{os.getpid()}-{path.name}")
    write(part)
    part.replace(path)


def _load_transcriber(settings: Settings) -> Transcribe:
    from ingest.audio_video.transcribers import load_transcriber

    transcriber = load_transcriber(settings)

    def transcribe(heard: NDArray[np.float32]) -> str:
        from ingest.audio_video.decode import AudioPiece
        from ingest.audio_video.voice_activity import transcribe_speech

        transcripts = transcribe_speech([AudioPiece(0.0, heard)], transcriber)
        return " ".join(word.text.strip() for transcript in transcripts for word in transcript.words)

    return transcribe


def _audio_encoder(settings: Settings, text: TextEncoder) -> AudioEncoder:
    """Load the encoder of sounds, or raise SettingsError if the settings switch it off."""
    encoder = load_audio_encoder(settings.audio_encoder, settings.home, settings.threads, text)
    if encoder is None:
        raise SettingsError("EXHIBIT_AUDIO_ENCODER is off, so sets of sounds cannot be measured.")
    return encoder
