"""Always a permutation; judged by logits or by list; failures keep the order and are told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rag.answering.evidence_text import PromptPictures
from rag.answering.reranker import Reranked, arerank, rerank
from rag.errors import DamagedMedia, LLMError, LLMUnavailable
from rag.explanation import Explanation
from rag.llm import LanguageModel
from rag.types import Hit
from tests.fakes.hits import passage, picture, speech
from tests.fakes.llms import ScriptedModel, pictures_of, text_of

HITS = [passage(f"Fact number {n}.", n) for n in range(1, 7)]


def pages(reranked: Reranked) -> list[int]:
    return [hit.segment.ordinal for hit in reranked.hits]


def prefers(*facts: int) -> Callable[[str], float]:
    """A logit that is larger the earlier the fact in the prompt is named here."""
    return lambda prompt: next((9.0 - n for n, fact in enumerate(facts) if f"Fact number {fact}." in prompt), -5.0)


def test_judged_hits_come_first_and_the_rest_keep_their_order() -> None:
    reranked = rerank("Which fact?", HITS, ScriptedModel(logit=prefers(3, 2)), top_n=4)
    assert pages(reranked) == [3, 2, 1, 4, 5, 6]
    assert [hit.relevance is None for hit in reranked.hits] == [False] * 4 + [True] * 2


def test_relevance_is_half_the_log_odds_of_the_search_and_those_of_the_model() -> None:
    scores = (0.8, 0.2, 1.0)
    hits = [replace(hit, why=Explanation(score)) for hit, score in zip(HITS, scores, strict=False)]
    reranked = rerank("Which fact?", hits, ScriptedModel(logit=lambda _: 1.0), top_n=3)
    expected = [4.45, 1 + math.log(4) / 2, 1 - math.log(4) / 2]
    assert [hit.relevance for hit in reranked.hits] == pytest.approx(expected, abs=0.01)
    assert reranked.warnings == ()


def test_question_comes_before_what_differs() -> None:
    llm = ScriptedModel()
    rerank("Which fact?", HITS, llm, top_n=2)
    first, second = (text_of(messages[-1]) for messages in llm.requests)
    assert llm.requests[0][:-1] == llm.requests[1][:-1]
    assert first.partition("Fact number")[0].startswith("Question: Which fact?")
    assert first != second


def test_without_a_question_or_hits_no_model_is_called() -> None:
    for question, top_n, hits in (("  ", 3, HITS), ("Which?", 0, HITS), ("Which?", 3, [])):
        llm = ScriptedModel()
        assert rerank(question, hits, llm, top_n=top_n) == Reranked(tuple(hits))
        assert not llm.requests


@pytest.mark.parametrize("gives_logprobs", [True, False])
def test_a_failure_keeps_the_order_with_a_warning(gives_logprobs: bool) -> None:
    def fails(prompt: str) -> LLMError:
        return LLMUnavailable("The server is down.")

    reranked = rerank("Which?", HITS, ScriptedModel(fails, fails, gives_logprobs=gives_logprobs), top_n=3)
    assert reranked.hits == tuple(HITS)
    assert "The server is down." in reranked.warnings[0]


def test_lists_where_there_are_no_logprobs() -> None:
    llm = ScriptedModel(lambda prompt: '{"order":[2,3,1],"answering":[3]}', gives_logprobs=False)
    reranked = rerank("Which?", HITS, llm, top_n=3)
    assert pages(reranked) == [3, 2, 1, 4, 5, 6]
    relevance = [hit.relevance for hit in reranked.hits]
    assert relevance[0] is not None
    assert relevance[0] > 0
    assert relevance[1] == relevance[2] == -relevance[0]
    assert relevance[3:] == [None, None, None]


def test_lists_where_log_probabilities_turn_out_to_be_refused() -> None:
    llm = ScriptedModel(lambda prompt: '{"order":[2,3,1],"answering":[3]}', lambda prompt: None)
    assert pages(rerank("Which?", HITS, llm, top_n=3)) == [3, 2, 1, 4, 5, 6]
    assert len(llm.requests) == 2


@pytest.mark.parametrize(("context_tokens", "listed"), [(4096, 34), (100_000, 100)])
def test_a_list_and_its_reply_keep_to_the_context(context_tokens: int, listed: int) -> None:
    numbers = list(range(listed, 0, -1))
    reply = json.dumps({"order": numbers, "answering": numbers})
    hits = [passage(f"Fact number {n}. " + "More words on it. " * 40, n) for n in range(1, 101)]
    llm = ScriptedModel(lambda prompt: reply, gives_logprobs=False, context_tokens=context_tokens)
    reranked = rerank("Which fact?", hits, llm, top_n=100)
    assert reranked.warnings == ()
    assert pages(reranked) == [*numbers, *range(listed + 1, 101)]


@pytest.mark.parametrize("reply", ["", "Doc: 2", "[2, 1]", '{"order": 2}', '{"order": ["x"], "answering": []}', "null"])
def test_an_unreadable_list_keeps_the_order_with_a_warning(reply: str) -> None:
    reranked = rerank("Which?", HITS, ScriptedModel(lambda prompt: reply, gives_logprobs=False), top_n=3)
    assert reranked.hits == tuple(HITS)
    assert reranked.warnings


@pytest.mark.parametrize("gives_logprobs", [True, False])
def test_a_photo_without_words_keeps_its_place_before_a_model_that_is_blind(gives_logprobs: bool) -> None:
    hits = [picture("IMG_1.jpg"), passage("Fact number 2.", 2), picture("IMG_3.jpg"), passage("Fact number 4.", 4)]
    reply = '{"order":[4,2,3,1],"answering":[4]}'
    blind, seeing = (
        ScriptedModel(lambda prompt: reply, prefers(4, 2), gives_logprobs=gives_logprobs, sees_images=sees)
        for sees in (False, True)
    )
    ranked = rerank("Which fact?", hits, blind, top_n=4)
    assert [hit.segment for hit in ranked.hits] == [hits[n].segment for n in (0, 3, 2, 1)]
    assert all(hit.relevance is not None and hit.relevance < 0 for hit in ranked.hits[::2])  # it is not answered from
    seen = rerank("Which fact?", hits, seeing, top_n=4)
    assert [hit.segment for hit in seen.hits[:2]] == [hits[3].segment, hits[1].segment]


@given(st.lists(st.integers(-3, 12), max_size=12), st.lists(st.integers(-3, 12), max_size=4), st.integers(0, 8))
def test_any_list_gives_a_permutation(order: list[int], answering: list[int], top_n: int) -> None:
    reply = json.dumps({"order": order, "answering": answering}, separators=(",", ":"))
    llm = ScriptedModel(lambda prompt: reply, gives_logprobs=False)
    reranked = rerank("Which?", HITS, llm, top_n=top_n)
    assert sorted(pages(reranked)) == [1, 2, 3, 4, 5, 6]
    assert pages(reranked)[top_n:] == [1, 2, 3, 4, 5, 6][top_n:]


def test_pictures_go_to_models_that_see() -> None:
    def pixels(hit: Hit) -> Image.Image | None:
        if hit.path.endswith("gone.jpg"):
            raise DamagedMedia("gone.jpg is truncated.")
        return Image.new("RGB", (8, 8)) if hit.segment.kind == "picture" else None

    hits = [picture("a.jpg", "goldfinch"), picture("gone.jpg", "teapot"), passage("Birds.")]
    seeing, blind = ScriptedModel(sees_images=True), ScriptedModel()
    rerank("Which picture shows a bird?", hits, seeing, top_n=3, pictures=PromptPictures(pixels))
    rerank("Which picture shows a bird?", hits, blind, top_n=3, pictures=PromptPictures(pixels))
    assert [len(pictures_of(messages[-1])) for messages in seeing.requests] == [1, 0, 0]
    assert ["Looks like: goldfinch" in text_of(messages[-1]) for messages in blind.requests] == [True, False, False]
    listing = ScriptedModel(lambda prompt: '{"order":[],"answering":[]}', sees_images=True, gives_logprobs=False)
    rerank("Which picture shows a bird?", hits, listing, top_n=3, pictures=PromptPictures(pixels))
    assert len(pictures_of(listing.requests[0][-1])) == 1


def test_the_pictures_of_a_question_go_to_models_that_see() -> None:
    asked_with = [Image.new("RGB", (8, 8))]
    for llm, expected in ((ScriptedModel(sees_images=True), 1), (ScriptedModel(), 0)):
        rerank(
            "Which is the same?",
            [picture("a.jpg", "goldfinch")],
            llm,
            top_n=1,
            pictures=PromptPictures(of_question=asked_with),
        )
        assert [len(pictures_of(messages[-1])) for messages in llm.requests] == [expected]


@pytest.mark.parametrize("gives_logprobs", [True, False])
async def test_async_twin_does_the_same(gives_logprobs: bool) -> None:
    def reply(prompt: str) -> str:
        return '{"order":[2,3,1],"answering":[3]}'

    llm = ScriptedModel(reply, prefers(3, 2), gives_logprobs=gives_logprobs)
    assert await arerank("Which?", HITS, llm, top_n=4) == rerank("Which?", HITS, llm, top_n=4)
    refused = ScriptedModel(reply, lambda prompt: None)
    assert await arerank("Which?", HITS, refused, top_n=4) == rerank(
        "Which?", HITS, ScriptedModel(reply, gives_logprobs=False), top_n=4
    )
    assert await arerank(" ", HITS, llm, top_n=4) == Reranked(tuple(HITS))
    failing = ScriptedModel(lambda _: LLMError("no"), lambda _: LLMError("no"), gives_logprobs=gives_logprobs)
    assert (await arerank("Which?", HITS, failing, top_n=4)).warnings


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("What do kestrels eat?", 1),
        ("Which picture shows a bird?", 3),
        ("Who stood in the water?", 2),
    ],
)
def test_bundled_model_finds_what_answers(bundled: LanguageModel, question: str, best: int) -> None:
    hits: Sequence[Hit] = [
        passage("The kestrel is a bird of prey. It hovers in the wind.", 1),
        passage("Kestrels feed mainly on voles, and in summer on insects.", 2),
        speech("We came to the river. There was a heron, quite still, in the shallow water.", 4, 12),
        picture("IMG_1.jpg", "goldfinch", "brambling", "house finch"),
        picture("IMG_2.jpg", "teapot", "cup", "tray"),
    ]
    found = rerank(question, hits, bundled, top_n=5).hits[0]
    assert found.segment == hits[best].segment
