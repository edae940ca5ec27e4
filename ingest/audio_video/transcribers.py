"""Transcribe speech to words with times: Whisper in three forms behind one protocol.

A transcriber takes a block of sound in which a voice was detected (`ingest.audio_video.voice_activity` finds such
blocks) and returns its words. Without speech, Whisper invents words. So runs of text that repeat themselves,
or that the model itself rates low, are dropped.
"""

from __future__ import annotations

import io
import re
import wave
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.audio_video.decode import SAMPLE_RATE
from ingest.reading.heartbeat import waiting
from rag.errors import LLMError, ModelError, SettingsError
from rag.llm import litellm_api
from rag.types import Word

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

    from rag.config import Settings

_BUNDLED = ("base", "tiny.en")

# Whisper sees 30 s at once. For a service, longer blocks need fewer requests; 120 s of 16-bit WAV are 3.8 MB of the
# 25 MB that OpenAI's service accepts.
_WHISPER_BLOCK_S = 30.0
_API_BLOCK_S = 120.0

# Radford et al. 2022, section 4.5: text that compresses better than this is a loop; with a mean log-probability of
# its tokens below this, decoding has failed.
_MAX_COMPRESSION = 2.4
_MIN_LOG_PROBABILITY = -1.0
_MAX_NO_SPEECH = 0.6
# Mean probability of the words: single words of clear speech reach 0.39, "Okay. What?" in a sneeze 0.15.
_MIN_PROBABILITY = 0.35
_BEAM_SIZE = 5
_DECODING: dict[str, Any] = {
    "temperature": 0.0,  # sampling would give different words on every run
    "condition_on_previous_text": False,
    "word_timestamps": True,
    "compression_ratio_threshold": _MAX_COMPRESSION,
    "no_speech_threshold": _MAX_NO_SPEECH,
    "hallucination_silence_threshold": 2.0,
}
# Whisper's own choice of language counts from here on; below, the two likeliest languages are both tried.
_SURE = 0.5
_POSSIBLE = 0.1
# Within a recording, a change of language needs better evidence.
_SURE_OF_CHANGE = 0.8


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of a stretch of sound.

    Attributes:
        words: in the order of speaking; empty without speech.
        language: ISO 639-1 code such as ``en``; empty without words.
        duration_s: length of the sound.
    """

    words: tuple[Word, ...]
    language: str
    duration_s: float


class Transcriber(Protocol):
    """A converter of speech into words.

    Attributes:
        block_s: the longest sound that it takes at once, in seconds.
    """

    block_s: float

    def transcribe(self, samples: NDArray[np.float32], *, hint: str = "") -> Transcript:
        """Return the words of mono 16 kHz samples in [-1, 1], with times from the first sample.

        Args:
            samples: shape (n,), at most `block_s` long.
            hint: the language so far in this recording; empty if unknown.

        Raises:
            ModelError: the model is missing or cannot be loaded.
            LLMError: a remote service failed.
        """


def load_transcriber(settings: Settings, *, beam_size: int = _BEAM_SIZE) -> Transcriber:
    """Return the transcriber that `settings.transcriber` names; its model is loaded on first use.

    Args:
        settings: name the transcriber.
        beam_size: how many transcripts Whisper follows at once; a service decides for itself.

    Raises:
        SettingsError: the name is not a Whisper size, a model folder, ``openai-whisper:SIZE`` or ``api:MODEL``.
    """
    name = settings.transcriber
    match name.partition(":"):
        case ["openai-whisper", ":", size] if size:
            return OpenAIWhisper(size, settings, beam_size=beam_size)
        case ["api", ":", model] if model:
            return ApiTranscriber(model, settings)
    return FasterWhisper(_faster_whisper_name(name), settings, beam_size=beam_size)


def load_english_transcriber(settings: Settings) -> Transcriber:
    """Return a bundled model for English that is not `settings.transcriber`, to check what that one heard."""
    model = "base" if settings.transcriber == "tiny.en" else "tiny.en"
    return FasterWhisper(model, settings.model_copy(update={"language": "en"}))


class _Whisper(ABC):
    """Whisper in either implementation: which languages to try, and which attempt to return."""

    block_s = _WHISPER_BLOCK_S

    def __init__(self, model: str, settings: Settings, *, beam_size: int = _BEAM_SIZE) -> None:
        self._name = model
        self._settings = settings
        self._decoding = _DECODING | {"beam_size": beam_size}

    def transcribe(self, samples: NDArray[np.float32], *, hint: str = "") -> Transcript:
        """Transcribe; see `Transcriber.transcribe`."""
        attempts = [self._attempt(samples, language) for language in self._languages(samples, hint)]
        return _best_transcript(attempts, len(samples) / SAMPLE_RATE)

    def _languages(self, samples: NDArray[np.float32], hint: str) -> list[str]:
        if self._settings.language or not self._is_multilingual:
            return [self._settings.language or "en"]
        return _candidate_languages(self._rank_languages(samples), hint)

    @property
    @abstractmethod
    def _is_multilingual(self) -> bool:
        """Whether the model knows other languages than English."""

    @abstractmethod
    def _rank_languages(self, samples: NDArray[np.float32]) -> Sequence[tuple[str, float]]:
        """Return languages and their probabilities, the likeliest first."""

    @abstractmethod
    def _attempt(self, samples: NDArray[np.float32], language: str) -> _Attempt:
        """Transcribe as this language."""


class FasterWhisper(_Whisper):
    """Whisper on CTranslate2, in 8-bit integers on the CPU.

    Args:
        model: a bundled model, a size that faster-whisper knows, or the path of a converted model.
        settings: for `language`, `threads` and `home`.
        beam_size: how many transcripts it follows at once.
    """

    @property
    def _is_multilingual(self) -> bool:
        return bool(self._model.model.is_multilingual)

    def _rank_languages(self, samples: NDArray[np.float32]) -> Sequence[tuple[str, float]]:
        _, _, ranked = self._model.detect_language(samples)
        return list(ranked)

    def _attempt(self, samples: NDArray[np.float32], language: str) -> _Attempt:
        segments, _ = self._model.transcribe(
            samples, language=language, log_prob_threshold=_MIN_LOG_PROBABILITY, **self._decoding
        )
        runs = [
            _Run(
                tuple(_plain_word(w.word, w.start, w.end, w.probability) for w in segment.words or ()),
                segment.avg_logprob,
                segment.compression_ratio,
            )
            for segment in segments
        ]
        return _Attempt(language, runs)

    @cached_property
    def _model(self) -> WhisperModel:
        from ingest.audio_video.whisper import CachedEncoderModel
        from rag.models import ensure

        name, threads = self._name, self._settings.threads
        try:
            with waiting():
                if name in _BUNDLED:
                    name = str(ensure(f"whisper-{name}", self._settings.home))
                return CachedEncoderModel(name, device="cpu", compute_type="int8", cpu_threads=threads)
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"The Whisper model `{self._name}` cannot be loaded ({error}). Sizes other than "
                f"{' and '.join(_BUNDLED)} come from the Hugging Face hub; is it reachable, and HF_HUB_OFFLINE unset?"
            ) from error


class OpenAIWhisper(_Whisper):
    """OpenAI's own implementation of Whisper, on PyTorch and a GPU if there is one; the extra ``openai-whisper``.

    Args:
        model: a size of Whisper.
        settings: for `language` and `threads`.
        beam_size: how many transcripts it follows at once.
    """

    @property
    def _is_multilingual(self) -> bool:
        return bool(self._model.is_multilingual)

    def _rank_languages(self, samples: NDArray[np.float32]) -> Sequence[tuple[str, float]]:
        import whisper

        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(samples), n_mels=self._model.dims.n_mels)
        _, likely = self._model.detect_language(mel)
        return sorted(likely.items(), key=lambda pair: -pair[1])

    def _attempt(self, samples: NDArray[np.float32], language: str) -> _Attempt:
        result = self._model.transcribe(
            samples,
            language=language,
            logprob_threshold=_MIN_LOG_PROBABILITY,
            fp16=self._model.device.type == "cuda",
            verbose=None,
            **self._decoding,
        )
        runs = [
            _Run(
                tuple(_plain_word(w["word"], w["start"], w["end"], w["probability"]) for w in segment["words"]),
                segment["avg_logprob"],
                segment["compression_ratio"],
            )
            for segment in result["segments"]
        ]
        return _Attempt(language, runs)

    @cached_property
    def _model(self) -> Any:
        try:
            import whisper
        except ImportError as error:
            raise ModelError(
                "The transcriber `openai-whisper` is not installed; run "
                '`pip install "exhibit-rag[openai-whisper]"`, or use EXHIBIT_TRANSCRIBER=base.'
            ) from error
        import torch

        torch.set_num_threads(self._settings.threads)
        try:
            with waiting():
                return whisper.load_model(self._name)
        except (OSError, RuntimeError) as error:
            raise ModelError(f"The Whisper model `{self._name}` cannot be loaded ({error}).") from error


class ApiTranscriber:
    """A transcription service behind litellm, such as ``openai/whisper-1`` or ``groq/whisper-large-v3``.

    Args:
        model: litellm's name of a model that gives word times.
        settings: for `language` and `llm_timeout_s`.
    """

    block_s = _API_BLOCK_S

    def __init__(self, model: str, settings: Settings) -> None:
        self._name = model
        self._settings = settings

    def transcribe(self, samples: NDArray[np.float32], *, hint: str = "") -> Transcript:
        """Transcribe; see `Transcriber.transcribe`."""
        answer = litellm_api.transcribe(
            self._name, _wav(samples), language=self._settings.language, timeout_s=self._settings.llm_timeout_s
        )
        try:
            words = tuple(_plain_word(w["word"], w["start"], w["end"], 1.0) for w in answer.get("words") or ())
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise LLMError(
                f"`{self._name}` returned a malformed answer ({error!r}); try again or use another."
            ) from error
        if not words and (answer.get("text") or "").strip():
            raise LLMError(
                f"`{self._name}` returned a text without the times of its words, so nothing could be cited; "
                "use a model that returns them, such as api:openai/whisper-1."
            )
        language = self._settings.language or _language_code(answer.get("language") or hint)
        return Transcript(words, language if words else "", len(samples) / SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class _Run:
    """Words that were decoded together, and the model's own rating of them."""

    words: tuple[Word, ...]
    log_probability: float
    compression: float

    @property
    def is_plausible(self) -> bool:
        """Whether the words are probably not invented."""
        return (
            self.compression <= _MAX_COMPRESSION
            and self.log_probability >= _MIN_LOG_PROBABILITY
            and float(np.mean([word.probability for word in self.words] or [0.0])) >= _MIN_PROBABILITY
        )


@dataclass(frozen=True, slots=True)
class _Attempt:
    language: str
    runs: Sequence[_Run]

    @property
    def plausible_runs(self) -> tuple[_Run, ...]:
        """The runs whose words are probably not invented."""
        return tuple(run for run in self.runs if run.is_plausible)


def _plain_word(text: str, start_s: float, end_s: float, probability: float) -> Word:
    """Return a word with plain Python numbers: the engines return NumPy's, which cannot be stored."""
    return Word(text.strip(), float(start_s), float(end_s), float(probability))


def _candidate_languages(ranked: Sequence[tuple[str, float]], hint: str) -> list[str]:
    """Return the languages to try, the likeliest first, from Whisper's own ranking."""
    language, probability = ranked[0]
    if probability >= (_SURE_OF_CHANGE if hint and language != hint else _SURE):
        return [language]
    if hint:
        return [hint]
    return [code for code, likely in ranked[:2] if likely >= _POSSIBLE] or [language]


def _best_transcript(attempts: Iterable[_Attempt], duration_s: float) -> Transcript:
    """Return the attempt whose words the model rates likeliest; silence if none is plausible."""
    plausible = [attempt for attempt in attempts if attempt.plausible_runs]
    if not plausible:
        return Transcript((), "", duration_s)
    best = max(plausible, key=lambda attempt: np.mean([run.log_probability for run in attempt.plausible_runs]))
    words = tuple(word for run in best.plausible_runs for word in run.words if word.text)
    return Transcript(words, best.language if words else "", duration_s)


def _faster_whisper_name(name: str) -> str:
    from faster_whisper import available_models

    if name in available_models() or Path(name, "model.bin").is_file() or name.count("/") == 1:
        return name
    raise SettingsError(
        f"EXHIBIT_TRANSCRIBER names no known transcriber: `{name}`. Use a Whisper size "
        f"({', '.join(available_models())}), the folder of a CTranslate2 model, its name on the Hugging Face hub "
        "(owner/model), openai-whisper:SIZE, or api:MODEL as in api:openai/whisper-1."
    )


def _wav(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def _language_code(name: str) -> str:
    """Return the code for a language's English name, as services give it; other names and codes stay as they are."""
    return _CODES.get(name.lower(), name.lower())


_CODES: dict[str, str] = dict(
    re.findall(
        r"(\w+):(\w+)",
        """
    afrikaans:af arabic:ar bengali:bn bulgarian:bg catalan:ca chinese:zh croatian:hr czech:cs danish:da dutch:nl
    english:en estonian:et finnish:fi french:fr german:de greek:el hebrew:he hindi:hi hungarian:hu icelandic:is
    indonesian:id italian:it japanese:ja korean:ko latvian:lv lithuanian:lt malay:ms norwegian:no persian:fa
    polish:pl portuguese:pt romanian:ro russian:ru serbian:sr slovak:sk slovenian:sl spanish:es swahili:sw
    swedish:sv tagalog:tl tamil:ta telugu:te thai:th turkish:tr ukrainian:uk urdu:ur vietnamese:vi welsh:cy
    """,
    )
)
