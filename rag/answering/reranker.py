"""The language model judges the best candidates of a search: does this exhibit state the answer?

Pointwise, by the logit of Yes minus No, where the model gives log-probabilities (monoT5, Nogueira et al. 2020): the
examples and the question come first, so that a model with a prompt cache reads them once. Half the log-odds of the
search's score are added, for a small model's Yes to what the search hardly believes is no answer. On the questions of
`tests/measure`, where the five that have nothing to do with the collection are declined, what answers is among the
exhibits for 53, 54 and 50 of 57 with none, half and all of them; judging three candidates instead of four loses none.
Listwise, as JSON, where the model gives no log-probabilities. What is not judged follows in the order of the search.

A hit that the model can neither read nor see, such as a photo without words or tags before a blind model, keeps its
place, and the others are put in order around it: of such photos the bundled model says Yes to right and wrong ones
alike (log-odds of -0.9 in the middle of either). Among 500 photos, of which some have tags, the right one is first for
45 of 262 captions as searched, for 38 when all are put in order (13 gained, 20 lost), and for 45 with this rule. What
is said of it still counts where an answer is declined.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rag.answering.evidence_text import PromptPictures, add_pictures, describe, free_tokens, has_text
from rag.answering.markers import plain_line
from rag.errors import LLMError
from rag.llm.prompts import load
from rag.types import Hit

if TYPE_CHECKING:
    from rag.llm import LanguageModel

# Of each candidate; each token read costs 10 ms with the bundled model.
_SHOWN_TOKENS = 64
_LIST_REPLY_TOKENS = 400
# Of a list: one candidate with its number, and its number written in the reply, at most twice.
_LISTED_TOKENS, _NUMBERS_TOKENS = _SHOWN_TOKENS + 16, 10
_NO_PICTURES = PromptPictures()
# Requests to a server at a time.
_AT_ONCE = 8
_PRIOR = 0.5  # of the log-odds of the search's score
# The search is never surer than this of a hit, for or against.
_LEAST_CHANCE = 0.001
# A listed verdict counts as a probability of 99 %: its logit.
_CERTAIN = 4.6


@dataclass(frozen=True, slots=True)
class Reranked:
    """A permutation of the hits that were given, those judged first, and what went wrong on the way."""

    hits: tuple[Hit, ...]
    warnings: tuple[str, ...] = ()


def rerank(
    question: str, hits: Sequence[Hit], llm: LanguageModel, *, top_n: int, pictures: PromptPictures = _NO_PICTURES
) -> Reranked:
    """Judges the first `top_n` hits, and puts them in the order of their relevance, which is set on them.

    Those that the model can neither read nor see keep their place, and the others are put in order around them.

    Where the model fails, the order stays and a warning says so. Without words to judge by, nothing is judged.

    Args:
        question: what is asked, in words.
        hits: candidates, best first.
        llm: the language model.
        top_n: how many to judge, in one list as many as the context holds; the others keep their order behind them.
        pictures: for a model that sees.
    """
    judged = hits[:top_n] if question.strip() else ()
    if not judged:
        return Reranked(tuple(hits))
    try:
        if llm.gives_logprobs:
            logits = [llm.judge(_pointwise(question, hit, llm, pictures)) for hit in judged]
            if (ranked := _by_logits(hits, logits, llm)) is not None:
                return ranked
        prompt, judges = _listwise(question, judged, llm, pictures)
        return _by_list(hits, llm.complete(prompt, **_list_reply(judges)).text, judges, llm)
    except LLMError as error:
        return _failed(hits, error)


async def arerank(
    question: str, hits: Sequence[Hit], llm: LanguageModel, *, top_n: int, pictures: PromptPictures = _NO_PICTURES
) -> Reranked:
    """`rerank` without blocking; a server is asked about several hits at once."""
    judged = hits[:top_n] if question.strip() else ()
    if not judged:
        return Reranked(tuple(hits))
    slots = asyncio.Semaphore(_AT_ONCE)

    async def judge(hit: Hit) -> float | None:
        async with slots:
            return await llm.ajudge(await asyncio.to_thread(_pointwise, question, hit, llm, pictures))

    try:
        if await asyncio.to_thread(lambda: llm.gives_logprobs):  # litellm is imported for that
            ranked = _by_logits(hits, await asyncio.gather(*map(judge, judged)), llm)
            if ranked is not None:
                return ranked
        prompt, judges = await asyncio.to_thread(_listwise, question, judged, llm, pictures)
        return _by_list(hits, (await llm.acomplete(prompt, **_list_reply(judges))).text, judges, llm)
    except LLMError as error:
        return _failed(hits, error)


_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "array", "items": {"type": "integer"}} for name in ("order", "answering")},
    "required": ["order", "answering"],
    "additionalProperties": False,
}


def _pointwise(question: str, hit: Hit, llm: LanguageModel, pictures: PromptPictures) -> list[dict[str, Any]]:
    exhibit = describe(hit, question, llm.count_tokens, _SHOWN_TOKENS)
    values = {"question": plain_line(question), "exhibit": exhibit}
    return add_pictures(load("rerank").messages(values), [hit], llm, pictures, reply_tokens=1)


def _listwise(
    question: str, hits: Sequence[Hit], llm: LanguageModel, pictures: PromptPictures
) -> tuple[list[dict[str, Any]], int]:
    """The prompt, and how many of the hits are in it."""
    prompt, values = load("rerank_list"), {"question": plain_line(question)}
    left = free_tokens(prompt.messages(values | {"exhibits": []}), llm, _LIST_REPLY_TOKENS)
    listed = hits[: max(left // _LISTED_TOKENS, 1)]
    exhibits = [describe(hit, question, llm.count_tokens, _SHOWN_TOKENS) for hit in listed]
    messages = prompt.messages(values | {"exhibits": exhibits})
    reply_tokens = _list_reply(len(listed))["max_tokens"]
    return add_pictures(messages, listed, llm, pictures, reply_tokens=reply_tokens), len(listed)


def _list_reply(listed: int) -> dict[str, Any]:
    return {"max_tokens": max(_LIST_REPLY_TOKENS, listed * _NUMBERS_TOKENS), "schema": _SCHEMA}


def _by_logits(hits: Sequence[Hit], logits: Sequence[float | None], llm: LanguageModel) -> Reranked | None:
    known = [logit for logit in logits if logit is not None]
    if len(known) < len(logits):
        return None
    relevance = [logit + _PRIOR * _log_odds(hit.score) for hit, logit in zip(hits, known, strict=False)]
    order = sorted(range(len(known)), key=lambda n: -relevance[n])
    ranked = [_judged(hits[n], relevance[n]) for n in _placed(order, hits, llm)]
    return Reranked((*ranked, *hits[len(known) :]))


def _judged(hit: Hit, relevance: float) -> Hit:
    return replace(hit, why=replace(hit.why, relevance=relevance))


def _placed(order: Sequence[int], hits: Sequence[Hit], llm: LanguageModel) -> list[int]:
    """An order of the first hits in which those that the model can neither read nor see stay where they were."""
    unread = {n for n in order if not has_text(hits[n]) and not (llm.sees_images and hits[n].seen)}
    read = iter([n for n in order if n not in unread])
    return [n if n in unread else next(read) for n in range(len(order))]


def _log_odds(score: float) -> float:
    chance = min(max(score, _LEAST_CHANCE), 1 - _LEAST_CHANCE)
    return math.log(chance / (1 - chance))


def _by_list(hits: Sequence[Hit], reply: str, judged: int, llm: LanguageModel) -> Reranked:
    """The order that the model wrote; what it forgot follows, what it made up or said twice is left out.

    What it can neither read nor see keeps its place.
    """
    try:
        said = json.loads(reply)
        order, answering = ([int(n) - 1 for n in said[name]] for name in ("order", "answering"))
    except (ValueError, KeyError, TypeError):
        return _failed(hits, LLMError(f"its ranking cannot be read: {reply[:80]!r}"))
    kept = list(dict.fromkeys(n for n in [*answering, *order, *range(judged)] if 0 <= n < judged))
    ranked = [_judged(hits[n], _CERTAIN if n in answering else -_CERTAIN) for n in _placed(kept, hits, llm)]
    return Reranked((*ranked, *hits[judged:]))


def _failed(hits: Sequence[Hit], error: LLMError) -> Reranked:
    return Reranked(
        tuple(hits), (f"The language model could not judge the hits, so their order is the search's. {error}",)
    )
