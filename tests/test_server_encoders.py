"""Embeddings and transcriptions, asked for by the stock clients over a real connection."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from rag.answering.transcribe import LANGUAGES, Transcription, atranscribe, transcribe
from rag.config import Settings
from rag.errors import QueryError
from rag.server.app import create_app
from rag.server.openai.transcriptions import group_cues
from rag.server.state import ServerOptions
from rag.types import Segment, TimeSpan, Word
from tests.fakes.media import DOG, JFK, RAIN
from tests.fakes.uvicorn_server import running

SPOKEN = "ask not what your country can do for you"
APES = ["a chimpanzee with a spear", "an orangutan in a tree", "the price of copper"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An empty knowledge base, whose language model nobody needs."""
    folder = tmp_path_factory.mktemp("served")
    options = ServerOptions(folder / "state", is_open=True, waiting=0, questions_per_minute=0)
    app = create_app([folder / "museum"], options, settings=Settings(llm="openai/none"))
    with running(app, folder) as server:
        yield server


@pytest.fixture(scope="module")
def base(server):
    return server.app.state.exhibit.access.bases["museum"]


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def at_once(create: Callable[..., Any], sent: dict[str, Any]) -> list[Any]:
    """What comes of a request that takes long and is sent three times at once."""

    def outcome(_: int) -> Any:
        try:
            return create(**sent)
        except openai.RateLimitError as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(outcome, range(3)))


class TestEmbeddings:
    def test_they_are_named_by_the_knowledge_base_and_offered_to_no_chat(self, server):
        (museum,) = server.openai().models.list()
        assert museum.id == "museum"
        assert museum.exhibit == {"embeddings": ["museum/text", "museum/joint"]}

    @pytest.mark.parametrize(("space", "dimensions"), [("text", 384), ("joint", 386)])
    def test_the_stock_client_gets_the_encoders_own_vectors(self, server, base, space, dimensions):
        made = server.openai().embeddings.create(model=f"museum/{space}", input=APES)
        assert [each.index for each in made.data] == [0, 1, 2]
        vectors = np.array([each.embedding for each in made.data], np.float32)
        assert vectors.shape == (3, dimensions)
        assert np.array_equal(vectors, base.embed(APES, space=space))
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
        assert made.usage is None

    async def test_as_numbers_they_are_the_same(self, server):
        async with server.async_openai() as client:
            coded = await client.embeddings.create(model="museum/text", input=APES[0])
            plain = await client.embeddings.create(model="museum/text", input=[APES[0]], encoding_format="float")
            own = await client.embeddings.create(model="museum/text", input=APES[0], dimensions=384)
        assert plain.data[0].embedding == pytest.approx(coded.data[0].embedding, abs=1e-7)
        assert own.data[0].embedding == coded.data[0].embedding

    def test_queries_are_embedded_as_queries(self, server, base):
        asked = {"input_type": "query"}
        made = server.openai().embeddings.create(model="museum/joint", input=APES, extra_body=asked)
        vectors = np.array([each.embedding for each in made.data], np.float32)
        assert np.array_equal(vectors, base.embed(APES, space="joint", is_query=True))
        assert not np.allclose(vectors, base.embed(APES, space="joint"), atol=0.01)

    def test_many_keep_their_order(self, server, base):
        texts = [f"{number} apes" for number in range(130)]
        made = server.openai().embeddings.create(model="museum/text", input=texts)
        vectors = np.array([each.embedding for each in made.data], np.float32)
        assert (vectors @ base.embed(texts).T).argmax(axis=1).tolist() == list(range(130))

    @pytest.mark.parametrize(
        ("changes", "error", "expected"),
        [
            ({"model": "museum"}, openai.NotFoundError, "`museum/text`, `museum/joint`"),
            ({"model": "zoo/text"}, openai.NotFoundError, "`zoo/text`"),
            ({"model": "museum/sound"}, openai.NotFoundError, "`museum/sound`"),
            ({"input": []}, openai.BadRequestError, "2048"),
            ({"input": ["a"] * 2049}, openai.BadRequestError, "2048"),
            ({"input": [[1, 2, 3]]}, openai.BadRequestError, None),
            ({"input": ["a", "  "]}, openai.BadRequestError, None),
            ({"input": "a" * 32_769}, openai.BadRequestError, "32768"),
            ({"dimensions": 256}, openai.BadRequestError, "256"),
            ({"encoding_format": "int8"}, openai.BadRequestError, "encoding_format"),
            ({"extra_body": {"input_type": "image"}}, openai.BadRequestError, "input_type"),
        ],
    )
    def test_a_malformed_embedding_request_is_refused(self, server, changes, error, expected):
        with pytest.raises(error, match=expected and re.escape(expected)):
            server.openai().embeddings.create(**({"model": "museum/text", "input": "apes"} | changes))

    def test_in_python_a_blank_text_is_refused(self, base):
        with pytest.raises(QueryError):
            base.embed(["apes", " "])

    def test_requests_are_refused_where_none_may_wait(self, server):
        many = {"model": "museum/text", "input": ["an ape " * 300] * 64}
        found = at_once(server.openai().embeddings.create, many)
        (answered,) = [made for made in found if not isinstance(made, openai.RateLimitError)]
        assert len(answered.data) == 64
        refused = next(error for error in found if isinstance(error, openai.RateLimitError))
        assert int(refused.response.headers["Retry-After"]) >= 1


class TestTranscriptions:
    def test_the_stock_client_gets_a_transcript(self, server):
        with JFK.open("rb") as file:
            made = server.openai().audio.transcriptions.create(model="museum", file=file, prompt="JFK", temperature=0)
        assert SPOKEN in plain(made.text)
        assert made.usage.seconds == pytest.approx(11, abs=0.1)
        assert made.exhibit == {"ignored": ["prompt", "temperature"]}

    async def test_with_the_times_of_words_and_of_sentences(self, server):
        async with server.async_openai() as client:
            made = await client.audio.transcriptions.create(
                model="museum",
                file=("speech.ogg", JFK.read_bytes()),
                response_format="verbose_json",
                timestamp_granularities=["word", "segment"],
                language="en",
            )
        assert made.language == "en"
        assert made.duration == pytest.approx(11, abs=0.1)
        assert plain(" ".join(word.word for word in made.words)) == plain(made.text)
        assert plain(" ".join(segment.text for segment in made.segments)) == plain(made.text)
        assert len(made.segments) > 1
        times = [time for word in made.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= made.duration
        (ask,) = [word for word in made.words if word.word.strip(",. ").lower() == "not"][:1]
        assert 3 < ask.start < 6  # "ask not" comes after four seconds

    @pytest.mark.parametrize(
        ("form", "kind", "first"),
        [
            ("text", "text/plain", r"And so"),
            ("srt", "application/x-subrip", r"1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\nAnd so"),
            ("vtt", "text/vtt", r"WEBVTT\n\n00:00:00\.\d{3} --> 00:00:0\d\.\d{3}\nAnd so"),
        ],
    )
    def test_as_text_and_as_subtitles(self, server, form, kind, first):
        raw = server.openai().audio.transcriptions.with_raw_response
        made = raw.create(model="museum", file=JFK, response_format=form)
        assert made.headers["Content-Type"].startswith(kind)
        assert re.match(first, made.text)
        assert isinstance(made.parse(), str)

    def test_the_language_can_be_set(self, server):
        made = server.openai().audio.transcriptions.create(
            model="museum", file=JFK, language="de", response_format="verbose_json"
        )
        assert made.language == "de"
        assert plain(made.text).startswith("und so")
        assert made.words is None

    def test_a_recording_without_speech_has_no_words(self, server):
        made = server.openai().audio.transcriptions.create(model="museum", file=RAIN, response_format="verbose_json")
        assert (made.text, made.segments, made.language) == ("", [], "")
        assert made.duration == pytest.approx(5, abs=0.1)

    @pytest.mark.parametrize(
        ("changes", "error", "expected"),
        [
            ({"model": "whisper-1"}, openai.NotFoundError, "`museum`"),
            ({"language": "xx"}, openai.BadRequestError, "`xx`"),
            ({"language": "english"}, openai.BadRequestError, "`en`"),
            ({"response_format": "diarized_json"}, openai.BadRequestError, "response_format"),
            ({"timestamp_granularities": ["word"]}, openai.BadRequestError, "verbose_json"),
            ({"timestamp_granularities": ["phone"]}, openai.BadRequestError, "timestamp_granularities"),
            ({"stream": True}, openai.BadRequestError, "`stream`"),
            ({"file": b""}, openai.APIStatusError, None),
            ({"file": b"hello"}, openai.APIStatusError, None),
            ({"file": b"x" * 33_000_000}, openai.APIStatusError, "32 MB"),
        ],
    )
    def test_a_malformed_transcription_request_is_refused(self, server, changes, error, expected):
        sent = {"model": "museum", "file": DOG.read_bytes()} | changes
        with pytest.raises(error, match=expected and re.escape(expected)) as caught:
            server.openai().audio.transcriptions.create(**sent)
        assert 400 <= caught.value.status_code < 500

    def test_requests_are_refused_where_none_may_wait(self, server):
        sent = {"model": "museum", "file": JFK.read_bytes()}
        found = at_once(server.openai().audio.transcriptions.create, sent)
        (answered,) = [made for made in found if not isinstance(made, openai.RateLimitError)]
        assert SPOKEN in plain(answered.text)

    def test_a_model_of_one_language_refuses_the_others(self):
        with pytest.raises(QueryError, match=r"tiny\.en"):
            transcribe(b"", Settings(transcriber="tiny.en"), "de")

    def test_the_languages_are_those_of_whisper(self):
        from faster_whisper.tokenizer import _LANGUAGE_CODES

        assert frozenset(_LANGUAGE_CODES) == LANGUAGES

    @pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the reader in /proc")
    async def test_cancelling_a_transcription_ends_its_reader(self):
        before = children()
        working = asyncio.create_task(atranscribe(JFK, Settings()))
        while not (readers := children() - before):
            await asyncio.sleep(0.01)
        os.kill(min(readers), signal.SIGSTOP)  # it would never end
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(working), 60)
        assert not children() & readers


def children() -> set[int]:
    """The processes that this one started."""
    found = Path("/proc/self/task").glob("*/children")
    return {int(pid) for file in found for pid in file.read_text().split()}


def words(text: str, *, pause_after: str = "") -> list[Word]:
    """Words of half a second each, with two seconds of silence after one of them."""
    found, at = [], 0.0
    for word in text.split():
        found.append(Word(word, at, at + 0.5))
        at += 2.5 if word == pause_after else 0.5
    return found


class TestSubtitles:
    def cut(self, found: list[Word]) -> list[str]:
        return [" ".join(word.text for word in cue) for cue in group_cues(found)]

    def test_a_sentence_is_one(self):
        assert self.cut(words("Ask not. Ask what? Do it")) == ["Ask not.", "Ask what?", "Do it"]

    def test_they_end_at_a_pause(self):
        assert self.cut(words("my fellow Americans ask", pause_after="fellow")) == ["my fellow", "Americans ask"]

    def test_none_is_longer_than_seven_seconds_or_two_lines(self):
        slow, wide = self.cut(words("a " * 40)), self.cut(words("abcdefghijklmnopqrst " * 8))
        assert [len(cue.split()) for cue in slow] == [14, 14, 12]
        assert [len(cue) for cue in wide] == [83, 83]

    def test_no_words_give_no_cues(self):
        assert self.cut([]) == []

    def test_words_of_a_language_without_spaces_are_joined_without_them(self):
        heard = tuple(words("日 本 語"))
        passage = Segment("a", 0, "audio", "speech", TimeSpan(0, 2), "日本語", words=heard, meta={"language": "ja"})
        found = Transcription((passage, passage), 3.0)
        assert found.text == "日本語日本語"
        assert found.join(heard[:2]) == "日本"
        assert found.language == "ja"
