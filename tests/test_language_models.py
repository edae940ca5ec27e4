"""Language models: the contract on each implementation, and what is special to one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from rag.config import Settings
from rag.errors import ContextOverflow, LLMError, LLMUnavailable, ModelError
from rag.llm import LanguageModel, create_language_model, gguf, retries
from rag.llm.base import picture_part, yes_no_log_odds
from rag.llm.bundled import MODEL, BundledLanguageModel
from rag.llm.litellm_client import LiteLLMClient
from rag.llm.llama_cpp import shared_engine
from rag.llm.retries import RETRY_WAITS_S
from rag.llm.usage import start_counting
from tests.contracts.language_models import PICTURE, LanguageModelContract, ask
from tests.fakes.chat_server import ChatHandler
from tests.fakes.llms import ScriptedEngine, ScriptedModel, text_chunk
from tests.fakes.server import Server, running


@pytest.mark.asks_anew
class TestBundled(LanguageModelContract):
    @pytest.fixture
    def llm(self, bundled: LanguageModel) -> LanguageModel:
        return bundled

    def test_counts_as_the_model_does(self, llm: LanguageModel) -> None:
        text = "It's 1234 o'clock!\n\n  Émile sees 犬, x=1; [E1] <b>½</b>"
        empty = llm.complete(ask(""), max_tokens=1).prompt_tokens
        assert llm.complete(ask(text), max_tokens=1).prompt_tokens == empty + llm.count_tokens(text)

    def test_stops_when_the_stream_is_closed(self, llm: LanguageModel) -> None:
        stream = llm.stream(ask("Write a long story."), max_tokens=1000)
        next(stream)
        stream.close()
        assert llm.complete(ask("Say Paris."), max_tokens=4).text

    async def test_stops_when_the_async_stream_is_closed(self, llm: LanguageModel) -> None:
        stream = llm.astream(ask("Write a long story."), max_tokens=1000)
        await anext(stream)
        await stream.aclose()
        started = time.monotonic()
        assert (await llm.acomplete(ask("Say Paris."), max_tokens=4)).text
        assert time.monotonic() - started < 10  # the story takes 40 s

    async def test_stops_when_the_task_is_cancelled(self, llm: LanguageModel) -> None:
        task = asyncio.create_task(llm.acomplete(ask("Write a long story."), max_tokens=1000))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await llm.acomplete(ask("Say Paris."), max_tokens=4)).text

    @pytest.mark.language_model
    def test_waits_no_longer_than_the_timeout(self) -> None:
        hasty = BundledLanguageModel(shared_engine(Settings().home, 1), timeout_s=0.001)
        with pytest.raises(LLMUnavailable, match="EXHIBIT_LLM_TIMEOUT_S"):
            hasty.complete(ask("Write a long story."), max_tokens=1000)

    def test_refuses_a_malformed_schema(self, llm: LanguageModel) -> None:
        with pytest.raises(LLMError, match=MODEL) as caught:
            llm.complete(ask("?"), max_tokens=4, schema={"type": "nonsense"})
        assert type(caught.value) is LLMError

    def test_knows_its_properties(self, llm: LanguageModel) -> None:
        assert (llm.sees_images, llm.gives_logprobs, llm.context_tokens) == (False, True, 4096)


class TestBundledWithScriptedEngine:
    """What the bundled model does around llama.cpp: its turn, cancelling, errors, retries."""

    def test_joins_pieces_and_counts_tokens(self) -> None:
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        engine = ScriptedEngine([text_chunk("Par"), text_chunk("is"), {"choices": [], "usage": usage}])
        count = start_counting()
        done = BundledLanguageModel(engine).complete(ask("?"), max_tokens=5000)
        assert (done.text, done.prompt_tokens, done.completion_tokens) == ("Paris", 7, 2)
        assert (count.prompt, count.completion) == (7, 2)
        assert engine.requests[0]["max_tokens"] == 1024

    async def test_one_cancelled_while_it_waits_never_begins(self) -> None:
        engine = ScriptedEngine(None, [text_chunk("second")])
        model = BundledLanguageModel(engine)
        first = model.astream(ask("first"), max_tokens=9)
        await anext(first)
        waiting = asyncio.create_task(model.acomplete(ask("waits"), max_tokens=9))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await first.aclose()
        assert (await model.acomplete(ask("second"), max_tokens=9)).text == "second"
        assert [request["messages"] for request in engine.requests] == [ask("first"), ask("second")]

    async def test_many_may_wait_for_their_turn(self) -> None:
        engine = ScriptedEngine(*[[text_chunk("x")]] * 40)
        done = await asyncio.gather(
            *(BundledLanguageModel(engine).acomplete(ask("?"), max_tokens=1) for _ in range(40))
        )
        assert {one.text for one in done} == {"x"}

    @pytest.mark.parametrize(
        ("failure", "error", "attempts"),
        [
            (RuntimeError("broke"), LLMUnavailable, 3),
            ([{"error": {"message": "broke"}}], LLMUnavailable, 3),
            (ValueError("malformed"), LLMError, 1),
            ([{"error": {"message": "long", "type": "exceed_context_size_error"}}], ContextOverflow, 1),
            (ModelError("missing"), ModelError, 1),
            (None, LLMUnavailable, 1),
        ],
    )
    async def test_errors_are_translated_and_retryable_ones_retried(
        self,
        failure: Exception | list[dict[str, object]] | None,
        error: type[Exception],
        attempts: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(retries, "RETRY_WAITS_S", (0.0, 0.0))

        def model() -> tuple[ScriptedEngine, BundledLanguageModel]:
            engine = ScriptedEngine(failure, failure, failure, failure)
            return engine, BundledLanguageModel(engine, timeout_s=0.3 if failure is None else 20)

        engine, llm = model()
        with pytest.raises(error):
            llm.complete(ask("?"), max_tokens=1)
        assert len(engine.requests) == attempts
        engine, llm = model()
        with pytest.raises(error):
            await llm.ajudge(ask("?"))
        assert len(engine.requests) == attempts
        engine, llm = model()
        with pytest.raises(error):
            list(llm.stream(ask("?"), max_tokens=1))
        assert len(engine.requests) == attempts

    async def test_a_retryable_failure_is_retried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retries, "RETRY_WAITS_S", (0.0, 0.0))
        llm = BundledLanguageModel(ScriptedEngine(*[RuntimeError("broke"), [text_chunk("fine")]] * 3))
        assert llm.complete(ask("?"), max_tokens=1).text == "fine"
        assert list(llm.stream(ask("?"), max_tokens=1)) == ["fine"]
        assert [piece async for piece in llm.astream(ask("?"), max_tokens=1)] == ["fine"]

    def test_one_engine_for_each_folder(self, tmp_path: Path) -> None:
        assert shared_engine(tmp_path, 1) is shared_engine(tmp_path, 2)
        assert shared_engine(tmp_path, 1) is not shared_engine(tmp_path / "other", 1)


class TestScripted(LanguageModelContract):
    @pytest.fixture
    def llm(self) -> ScriptedModel:
        return ScriptedModel(_knows, lambda prompt: 2.0 if "France" in prompt else -2.0)

    def test_without_logprobs(self) -> None:
        mute = ScriptedModel(logit=lambda prompt: None)
        assert mute.judge(ask("?")) is mute.judge(ask("?")) is None
        assert len(mute.requests) == 1


def _knows(prompt: str) -> str:
    return '{"order":[1,2,3]}' if "JSON" in prompt else "Paris is the capital."


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(ChatHandler) as server:
        yield server


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.usefixtures("litellm_closed")
class TestOverHttp(LanguageModelContract):
    @pytest.fixture
    def llm(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        return self.named("blind", server)

    def named(self, model: str, server: Server) -> LanguageModel:
        server.requests.clear()
        return LiteLLMClient(f"openai/{model}", api_base=f"{server.url}/v1", timeout_s=20)

    async def test_streams_from_a_server_that_cannot_count(self, llm: LanguageModel, server: Server) -> None:
        llm, used = self.named("old", server), start_counting()
        assert list(llm.stream(ask("Paris?"), max_tokens=8)) == ["Paris", " is", " it"]
        assert [piece async for piece in llm.astream(ask("Paris?"), max_tokens=8)] == ["Paris", " is", " it"]
        assert not used.is_known

    def test_sends_pictures_to_a_model_that_sees(self, llm: LanguageModel, server: Server) -> None:
        seeing = self.named("gpt-4o", server)
        assert seeing.sees_images
        assert seeing.complete(PICTURE, max_tokens=4).text == "Paris is it"
        assert seeing.context_tokens == 128_000

    def test_retryable_failure_is_retried(self, llm: LanguageModel, server: Server) -> None:
        assert self.named("busy", server).complete(ask("?"), max_tokens=4).text == "Paris is it"

    def test_lasting_outage_is_an_error(self, llm: LanguageModel, server: Server) -> None:
        with pytest.raises(LLMUnavailable):
            self.named("down", server).complete(ask("?"), max_tokens=4)
        assert len(server.requests) == 1 + len(RETRY_WAITS_S)

    @pytest.mark.parametrize(("model", "advice"), [("locked", "locked"), ("missing", "EXHIBIT_LLM")])
    def test_refusal_is_not_retried(self, llm: LanguageModel, server: Server, model: str, advice: str) -> None:
        with pytest.raises(LLMError, match=advice):
            self.named(model, server).complete(ask("?"), max_tokens=4)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("model", ["mute", "strict"])
    async def test_a_server_without_logprobs_is_tried_once(
        self, llm: LanguageModel, server: Server, model: str
    ) -> None:
        mute = self.named(model, server)
        assert mute.gives_logprobs
        assert mute.judge(ask("?")) is None
        assert not mute.gives_logprobs
        asked = len(server.requests)
        assert mute.judge(ask("?")) is await mute.ajudge(ask("?")) is None
        assert len(server.requests) == asked
        assert await self.named(model, server).ajudge(ask("?")) is None

    def test_an_outage_does_not_turn_logprobs_off(self, llm: LanguageModel, server: Server) -> None:
        locked = self.named("locked", server)
        with pytest.raises(LLMError, match="locked"):
            locked.judge(ask("?"))
        assert locked.gives_logprobs


def test_unknown_bundled_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LLMError, match=MODEL):
        create_language_model(Settings(home=tmp_path, llm="bundled/other")).complete(ask("?"), max_tokens=1)


def test_unknown_provider_is_refused() -> None:
    with pytest.raises(LLMError, match="nonsense"):
        LiteLLMClient("nonsense").complete(ask("?"), max_tokens=1)


def test_pictures_are_sent_small() -> None:
    large = Image.effect_noise((3000, 1500), 90).convert("RGBA")
    assert len(picture_part(large)["image_url"]["url"]) < 1_500_000
    assert large.size == (3000, 1500)


@pytest.mark.parametrize(
    "head", [b"", b"GGUF", b"RIFF" + bytes(60), b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(20)]
)
def test_damaged_gguf_is_refused(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "x.gguf").write_bytes(head)
    with pytest.raises(ModelError, match=r"x\.gguf"):
        gguf.read_tokenizer(tmp_path / "x.gguf")


def test_the_settings_pick_the_implementation(tmp_path: Path) -> None:
    assert isinstance(create_language_model(Settings(home=tmp_path)), BundledLanguageModel)
    assert isinstance(create_language_model(Settings(home=tmp_path, llm="openai/gpt-4o")), LiteLLMClient)


@pytest.mark.parametrize(
    ("logprobs", "odds"),
    [
        ({"Yes": -1.0, " yes": -1.0, "No": -1.0}, 0.693),
        ({"Yes": -0.1, "Maybe": -5.0}, 4.9),
        ({"Maybe": -0.1, "Perhaps": -2.0}, 0.0),
    ],
)
def test_log_odds_of_yes(logprobs: dict[str, float], odds: float) -> None:
    assert yes_no_log_odds(logprobs) == pytest.approx(odds, abs=0.001)


def test_the_bundled_model_imports_no_other() -> None:
    program = "import sys, rag.llm.base, rag.llm.bundled; print([m for m in ('litellm', 'openai') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
