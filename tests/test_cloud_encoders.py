"""Encoders behind an API: the contract, over HTTP, with a server that speaks OpenAI's protocol for embeddings."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rag.encoders import DualEncoder, load_dual_encoder, load_text_encoder
from rag.encoders.cloud import CloudEncoder, CloudTextEncoder
from rag.errors import ModelError
from rag.llm.retries import RETRY_WAITS_S
from tests.contracts.encoders import DualEncoderContract, SenseContract, drawn
from tests.fakes.encoders import HashingEncoder
from tests.fakes.server import Handler, Server, running

SETTING = "EXHIBIT_ENCODER"
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


class _Handler(Handler):
    """How it behaves is told by the name of the model; what it embeds, it embeds by words and colours."""

    encoder = HashingEncoder()

    def answer(self, request: dict[str, Any]) -> None:
        status = {"down": 503, "locked": 401, "missing": 404}.get(request["model"], 200)
        if request["model"] == "busy" and len(self.server.requests) <= len(RETRY_WAITS_S):
            status = 429
        if status != 200:
            return self.send_json(status, {"error": {"message": f"status {status}"}})
        size = request.get("dimensions", 64)
        rows = [
            {"object": "embedding", "index": n, "embedding": self._vector(item)[:size]}
            for n, item in enumerate(request["input"])
        ]
        rows = rows[1:] if request["model"] == "forgetful" else rows[::-1]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return self.send_json(200, {"object": "list", "data": rows, "model": request["model"], "usage": usage})

    def _vector(self, item: str) -> list[float]:
        if item.startswith("data:image/jpeg;base64,"):
            image = Image.open(io.BytesIO(base64.b64decode(item.partition(",")[2])))
            return list(map(float, self.encoder.embed_images([image])[0] * 3))
        return list(map(float, self.encoder.embed_text([item])[0] * 3))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(_Handler) as server:
        yield server


@pytest.fixture(autouse=True)
def _asked(monkeypatch: pytest.MonkeyPatch, server: Server, litellm_closed: None) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_API_BASE", f"{server.url}/v1")
    server.requests.clear()


def named(model: str, dimensions: int | None = None) -> CloudEncoder:
    return CloudEncoder(f"openai/{model}", dimensions, setting=SETTING)


class TestCloud(DualEncoderContract, SenseContract):
    @pytest.fixture
    def encoder(self) -> DualEncoder:
        return named("seeing")

    def test_a_colour_finds_its_picture(self, encoder: DualEncoder) -> None:
        images = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue", "white")]
        assert int(np.argmax(encoder.embed_images(images) @ encoder.embed_query("blue"))) == 1

    def test_the_card_is_of_the_name_and_the_dimensions(self, encoder: DualEncoder) -> None:
        assert encoder.card.name == "litellm:openai/seeing"
        assert encoder.card.space == "openai/seeing@64"
        assert named("other").card.revision != encoder.card.revision


def test_settings_name_them(tmp_path: Any) -> None:
    text = load_text_encoder("litellm:openai/text-embedding-3-small@32", tmp_path, 1)
    assert isinstance(text, CloudTextEncoder)
    assert (text.card.name, text.card.dimensions) == ("litellm:openai/text-embedding-3-small@32", 32)
    assert isinstance(load_dual_encoder("litellm:openai/seeing", tmp_path, 1, text), CloudEncoder)


def test_texts_are_sent_in_batches_and_pictures_one_by_one(server: Server) -> None:
    encoder = named("seeing")
    server.requests.clear()
    encoder.embed_text([f"word{n}" for n in range(150)])
    assert [len(request["input"]) for request in server.requests] == [64, 64, 22]
    server.requests.clear()
    encoder.embed_images([drawn(size=(4000, 300)), drawn()])
    assert [len(request["input"]) for request in server.requests] == [1, 1]
    with Image.open(io.BytesIO(base64.b64decode(server.requests[0]["input"][0].partition(",")[2]))) as sent:
        assert sent.size == (1024, 77)


def test_a_retryable_failure_is_retried(server: Server) -> None:
    assert named("busy").card.dimensions == 64
    assert len(server.requests) == 1 + len(RETRY_WAITS_S)


@pytest.mark.parametrize(
    ("model", "advice", "attempts"),
    [("down", None, 3), ("locked", "OPENAI_API_KEY", 1), ("missing", SETTING, 1)],
)
def test_a_failure_is_a_model_error_with_advice(server: Server, model: str, advice: str, attempts: int) -> None:
    with pytest.raises(ModelError, match=advice):
        named(model)
    assert len(server.requests) == attempts


def test_answers_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ModelError, match=r"\b0\b.*\b1\b"):
        named("forgetful")
    with pytest.raises(ModelError, match=r"\b64\b.*\b80\b"):
        named("text-embedding-3-large", 80)
