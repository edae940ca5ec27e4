"""What a language model is asked of a question in several media, and what its verdicts do; on a real index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag import Hit, Image, Not, Text
from rag.answering.query_engine import QueryEngine
from rag.catalog.catalog import Catalog
from rag.config import Settings
from rag.index.edge import EdgeIndex
from rag.query.options import QueryOptions
from rag.retrieval.retriever import Retriever
from tests.fakes.llms import ScriptedModel, pictures_of, text_of
from tests.fakes.media import plain
from tests.fakes.segments import DUAL, TEXT, indexed, photo

RED, GREEN = plain((220, 30, 30)), plain((30, 160, 30))
LIKE_THIS = [Text("like this, but in blue"), Image(RED), Not(Image(GREEN))]


@pytest.fixture
def retriever(tmp_path: Path) -> Iterator[Retriever]:
    with EdgeIndex(tmp_path, {"joint": DUAL.card, "text": TEXT.card}) as index:
        tagged = {colour: replace(photo(f"{colour}.jpg"), tags=(colour,)) for colour in ("red", "blue", "yellow")}
        index.upsert([indexed(segment, colour) for colour, segment in tagged.items()])
        yield Retriever(index, TEXT, DUAL)


def engine(retriever: Retriever, llm: ScriptedModel) -> QueryEngine:
    return QueryEngine(Settings(ocr="off"), retriever, Catalog("sqlite://"), llm)  # type: ignore[arg-type]


def titles(hits: list[Hit]) -> list[str]:
    return [hit.segment.title for hit in hits]


def test_a_model_that_sees_gets_the_picture_of_the_question_beside_its_words(retriever: Retriever) -> None:
    llm = ScriptedModel(sees_images=True, context_tokens=16_000)
    engine(retriever, llm).search(LIKE_THIS, QueryOptions(rerank=True))
    assert len(llm.requests) == 3
    for messages in llm.requests:
        assert len(pictures_of(messages[-1])) == 1
        assert "The picture of the question:" in text_of(messages[-1])
        assert "Question: like this, but in blue, but not green\n" in text_of(messages[-1])


def test_a_blind_model_gets_tags_of_the_picture_and_its_verdict_changes_the_order(retriever: Retriever) -> None:
    def logit(prompt: str) -> float:
        told = "Question: like this, but in blue, but not green (shown: red)\n" in prompt
        return 5.0 if told and "Looks like: yellow" in prompt else -5.0

    asked = engine(retriever, ScriptedModel(logit=logit))
    searched = titles(asked.search(LIKE_THIS))
    assert sorted(searched) == ["blue.jpg", "red.jpg", "yellow.jpg"]
    assert searched[0] != "yellow.jpg"
    ranked = asked.search(LIKE_THIS, QueryOptions(rerank=True))
    assert titles(ranked)[0] == "yellow.jpg"
    assert all(hit.relevance is not None for hit in ranked)


def test_a_picture_alone_is_judged_too(retriever: Retriever) -> None:
    for sees, question in (
        (False, "Which exhibit shows or tells of: red?"),
        (True, "Which exhibit shows or tells of the same as the picture of this question?"),
    ):
        llm = ScriptedModel(logit=lambda prompt: 5.0 if "Looks like: blue" in prompt else -5.0, sees_images=sees)
        ranked = engine(retriever, llm).search(RED, QueryOptions(rerank=True))
        assert titles(ranked)[:2] == ["blue.jpg", "red.jpg"]
        assert f"Question: {question}" in text_of(llm.requests[0][-1])


def test_a_model_gets_only_what_utf8_can_encode(retriever: Retriever) -> None:
    llm = ScriptedModel(reply=lambda prompt: "blue")
    turns = [("Which are red\udce9?", "That one \ud83d.")]
    for question in ("and the blue\udce9?", [Text("blue\udce9"), Not(Text("red\ud83d"))]):
        list(engine(retriever, llm).stream(question, QueryOptions(turns=turns)))
    asked = [text_of(message) for messages in llm.requests for message in messages]
    assert any("and the blue??" in text for text in asked)
    assert any("Which are red??" in text for text in asked)
    "".join(asked).encode()
