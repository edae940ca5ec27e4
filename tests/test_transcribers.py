"""Transcribers: one contract for the real ones and the fake, then what is particular to each."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.audio_video.transcribers import (
    ApiTranscriber,
    FasterWhisper,
    OpenAIWhisper,
    Transcriber,
    _Attempt,
    _best_transcript,
    _Run,
    load_transcriber,
)
from rag.config import Settings
from rag.errors import LLMError, LLMUnavailable, ModelError, SettingsError
from rag.llm import litellm_api, retries
from rag.types import Word
from tests.contracts.transcribers import TranscriberContract, spoken
from tests.fakes.media import JFK_TEXT, noise, silence, tone
from tests.fakes.speech import ScriptedTranscriber

NO_RETRY = {"x-should-retry": "false"}
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def whisper(home: Path) -> FasterWhisper:
    return FasterWhisper("base", Settings(home=home, threads=2))


@pytest.fixture
def service() -> Iterator[list[Handler]]:
    """A transcription service in this process: the last handler of the list answers litellm's requests."""
    handlers: list[Handler] = [hears_jfk]
    litellm = litellm_api.import_litellm()
    litellm.client_session = httpx.Client(transport=httpx.MockTransport(lambda request: handlers[-1](request)))
    yield handlers
    litellm.client_session.close()
    litellm.client_session = None
    litellm.in_memory_llm_clients_cache.flush_cache()


@pytest.fixture
def api(service: list[Handler], monkeypatch: pytest.MonkeyPatch) -> ApiTranscriber:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    monkeypatch.setattr(retries, "RETRY_WAITS_S", (0.0, 0.0))
    return ApiTranscriber("openai/whisper-1", Settings(llm_timeout_s=5))


def hears_jfk(request: httpx.Request) -> httpx.Response:
    seconds = seconds_of(request)
    if seconds < 5:
        return httpx.Response(200, json={"text": "", "language": "english", "duration": seconds, "words": []})
    words = JFK_TEXT.split()
    times = np.linspace(0.3, 10.4, len(words) + 1)
    found = [{"word": w, "start": a, "end": b} for w, a, b in zip(words, times[:-1], times[1:], strict=True)]
    return httpx.Response(200, json={"text": JFK_TEXT, "language": "english", "duration": seconds, "words": found})


def seconds_of(request: httpx.Request) -> float:
    body = request.read()
    start = body.index(b"RIFF")
    with wave.open(io.BytesIO(body[start:])) as reader:
        return reader.getnframes() / reader.getframerate()


class TestFasterWhisper(TranscriberContract):
    @pytest.fixture
    def transcriber(self, whisper: FasterWhisper) -> Transcriber:
        return whisper

    def test_the_language_can_be_set(self, home: Path, jfk: NDArray[np.float32]) -> None:
        tiny = FasterWhisper("tiny.en", Settings(home=home, threads=2, language="en"))
        assert spoken(tiny.transcribe(jfk)) == JFK_TEXT

    @pytest.mark.parametrize("sound", [noise(3), tone(3), tone(3, 3000)], ids=["noise", "tone", "whistle"])
    def test_invents_nothing(self, whisper: FasterWhisper, sound: NDArray[np.float32]) -> None:
        assert whisper.transcribe(sound).words == ()

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_bytes(b"nothing")
        broken = load_transcriber(Settings(transcriber=str(tmp_path)))
        with pytest.raises(ModelError, match=re.escape(str(tmp_path))):
            broken.transcribe(silence(1))

    def test_a_model_that_cannot_be_fetched_says_so(self) -> None:
        # In a process of its own, because huggingface_hub reads its variables when it is imported.
        code = (
            "from ingest.audio_video.transcribers import load_transcriber\n"
            "from rag.config import Settings; import numpy as np\n"
            "load_transcriber(Settings(transcriber='no-such-owner/none')).transcribe(np.zeros(16000, np.float32))"
        )
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert re.search("^rag.errors.ModelError: .*`no-such-owner/none`", done.stderr, re.MULTILINE)


class TestScripted(TranscriberContract):
    @pytest.fixture
    def transcriber(self) -> Transcriber:
        return ScriptedTranscriber(JFK_TEXT)


class TestApi(TranscriberContract):
    @pytest.fixture
    def transcriber(self, api: ApiTranscriber) -> Transcriber:
        return api

    def test_asks_for_word_times(self, api: ApiTranscriber, service: list[Handler], jfk: NDArray[np.float32]) -> None:
        bodies: list[bytes] = []

        def record(request: httpx.Request) -> httpx.Response:
            bodies.append(request.read())
            return hears_jfk(request)

        service.append(record)
        api.transcribe(jfk)
        assert b"timestamp_granularities" in bodies[0]
        assert b"verbose_json" in bodies[0]

    @pytest.mark.parametrize(
        ("status", "error"),
        [(401, LLMError), (429, LLMUnavailable), (500, LLMUnavailable), (503, LLMUnavailable), (400, LLMError)],
    )
    def test_errors_are_ours(
        self, api: ApiTranscriber, service: list[Handler], status: int, error: type[LLMError]
    ) -> None:
        service.append(lambda request: httpx.Response(status, headers=NO_RETRY, json={"error": {"message": "no"}}))
        with pytest.raises(error, match="openai/whisper-1") as caught:
            api.transcribe(silence(1))
        assert type(caught.value) is error

    def test_a_passing_failure_is_tried_again(
        self, api: ApiTranscriber, service: list[Handler], jfk: NDArray[np.float32]
    ) -> None:
        busy = [httpx.Response(429, json={"error": {"message": "wait"}}) for _ in range(2)]
        service.append(lambda request: busy.pop() if busy else hears_jfk(request))
        assert spoken(api.transcribe(jfk)) == JFK_TEXT
        assert busy == []

    def test_no_connection(self, api: ApiTranscriber, service: list[Handler]) -> None:
        def refuse(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

        service.append(refuse)
        with pytest.raises(LLMUnavailable, match="openai/whisper-1"):
            api.transcribe(silence(1))

    def test_a_text_without_times_cannot_be_cited(self, api: ApiTranscriber, service: list[Handler]) -> None:
        service.append(lambda request: httpx.Response(200, json={"text": "Hello there."}))
        with pytest.raises(LLMError, match="openai/whisper-1"):
            api.transcribe(silence(1))

    def test_a_malformed_answer(self, api: ApiTranscriber, service: list[Handler]) -> None:
        service.append(lambda request: httpx.Response(200, json={"text": "hello", "words": [{"word": "hello"}]}))
        with pytest.raises(LLMError, match="openai/whisper-1"):
            api.transcribe(silence(1))


class TestOpenAIWhisper:
    def test_the_error_names_the_extra_to_install(self) -> None:
        transcriber = load_transcriber(Settings(transcriber="openai-whisper:small"))
        assert isinstance(transcriber, OpenAIWhisper)
        with pytest.raises(ModelError, match=r"exhibit-rag\[openai-whisper\]"):
            transcriber.transcribe(silence(1))


class TestPlausibility:
    def run(self, text: str = "hello", log_probability: float = -0.3, compression: float = 1.0) -> _Run:
        return _Run((Word(text, 0, 1, 0.9),), log_probability, compression)

    def test_loops_and_guesses_are_dropped(self) -> None:
        runs = [self.run(compression=9.0), self.run("kept"), self.run(log_probability=-1.4)]
        assert spoken(_best_transcript([_Attempt("en", runs)], 3.0)) == "kept"

    def test_the_likelier_language_wins(self) -> None:
        italian = _Attempt("it", [self.run("alla", -0.8)])
        english = _Attempt("en", [self.run("hello", -0.6)])
        assert _best_transcript([italian, english], 3.0).language == "en"


class TestLoading:
    @pytest.mark.parametrize("name", ["base", "tiny.en", "large-v3", "owner/model"])
    def test_nothing_is_loaded_before_it_is_used(self, name: str) -> None:
        assert isinstance(load_transcriber(Settings(transcriber=name)), FasterWhisper)

    def test_a_service(self) -> None:
        assert isinstance(load_transcriber(Settings(transcriber="api:openai/whisper-1")), ApiTranscriber)

    @pytest.mark.parametrize("name", ["bass", "api:", "openai-whisper:", "", "/no/such/folder"])
    def test_an_unknown_name_lists_the_choices(self, name: str) -> None:
        with pytest.raises(SettingsError, match=r"EXHIBIT_TRANSCRIBER.*tiny\.en.*api:openai/whisper-1"):
            load_transcriber(Settings(transcriber=name))
