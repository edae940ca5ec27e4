"""From a question and hits to an answer in which every statement is cited, or to a refusal with the nearest misses.

The way there is one generator, `GroundedAnswerer._talk`, that asks for what it needs from the language model; the
drivers below it, sync, async and streaming, only pass that on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rag.answering.attribution import holder
from rag.answering.citations import Cited, cite, number_hits, without_uncited
from rag.answering.evidence_text import LoadPicture, PromptPictures, add_pictures, describe, free_tokens, split_budget
from rag.answering.markers import Attribute, MarkerStream, plain_line
from rag.errors import QueryError
from rag.llm.prompts import load
from rag.segments import describe_place
from rag.types import Answer, AnswerChunk, Evidence, Hit, Step

if TYPE_CHECKING:
    from PIL.Image import Image

    from rag.llm import LanguageModel

_ANSWER_TOKENS = 200
# Twice the answer, and what asks for it: asked to cite again, the model is shown its first.
_REPLY_TOKENS = 2 * _ANSWER_TOKENS + 96
# An exhibit may fill so much of the context: 128 tokens of the bundled model's, 1.3 s of reading on 2 cores.
_EXHIBIT_SHARE = 32
_QUESTION_SHARE = 4
_NEAREST_NAMED = 3
# Log-odds behind the best at which a hit only distracts. On the questions of `tests/measure` no right one is lost.
_FAR_BEHIND = 1.0
_REFUSAL = "NOT FOUND"


@dataclass(frozen=True, slots=True)
class _Write:
    messages: list[dict[str, Any]]
    exhibits: int
    attribute: Attribute | None


@dataclass(frozen=True, slots=True)
class _Judge:
    messages: list[dict[str, Any]]


class _Stream:
    """What the model writes, as it may be shown: markers whole, and nothing of a refusal, which is said otherwise.

    Attributes:
        written: all that it wrote.
        is_shown: whether any of it was shown.
    """

    def __init__(self, asked: _Write) -> None:
        self.written, self.is_shown = "", False
        self._markers, self._fed = MarkerStream(asked.exhibits, asked.attribute), 0

    def feed(self, piece: str) -> str:
        """What may be shown now."""
        self.written += piece
        if _REFUSAL.startswith(self.written.lstrip().upper()[: len(_REFUSAL)]):
            return ""
        self._fed, fresh = len(self.written), self.written[self._fed :]
        return self._told(self._markers.feed(fresh))

    def end(self) -> str:
        """The rest."""
        rest = "" if _is_refusal(self.written) else self.written[self._fed :]
        return self._told(self._markers.feed(rest) + self._markers.end())

    def _told(self, text: str) -> str:
        self.is_shown = self.is_shown or bool(text)
        return text


_Talk = Generator[_Write | _Judge, Any, Answer]


class GroundedAnswerer:
    """Answers questions from hits.

    Args:
        llm: the language model.
        evidence_n: most exhibits that it is shown.
        min_relevance: log-odds: hits judged below it are not shown, and when all are, it declines.
        min_support: logit of Yes minus No to whether the exhibits state the answer, asked after it is written.
        picture: gives the pixels of a hit, or None, to a model that sees.

    Every method raises `LLMError` when the model fails and `QueryError` when the question is too long.
    """

    def __init__(
        self,
        llm: LanguageModel,
        *,
        evidence_n: int = 4,
        min_relevance: float = 0.0,
        min_support: float = 0.0,
        picture: LoadPicture | None = None,
    ) -> None:
        self._llm = llm
        self._evidence_n = evidence_n
        self._min_relevance = min_relevance
        self._min_support = min_support
        self._picture = picture

    def stream(self, question: str, hits: Sequence[Hit], *, asked_with: Sequence[Image] = ()) -> Iterator[AnswerChunk]:
        """An answer from these hits, best first, with each statement cited; or declined.

        Args:
            question: in words.
            hits: what may be cited.
            asked_with: the pictures of the question, for a model that sees.

        Yields:
            The text while it is written, and last the whole answer.
        """
        return self._driven(self._talk(question, hits, asked_with))

    def astream(
        self, question: str, hits: Sequence[Hit], *, asked_with: Sequence[Image] = ()
    ) -> AsyncGenerator[AnswerChunk]:
        """`stream` without blocking; closing it stops the model."""
        return self._adriven(self._talk(question, hits, asked_with))

    def _talk(self, question: str, hits: Sequence[Hit], asked_with: Sequence[Image]) -> _Talk:
        if not question.strip():
            return self._declined(question, hits, ["Nothing in the question could be put into words."])
        evidence = number_hits(self._worth_showing(hits))
        if not evidence:
            return self._declined(question, hits)
        messages = self._messages(question, evidence, asked_with)
        started = time.monotonic()
        cited, warnings = yield from self._cited(question, messages, [exhibit.hit for exhibit in evidence])
        note = ", citations moved to the words" if cited.moved else ""
        steps = [Step("generate", time.monotonic() - started, f"{len(evidence)} exhibits{note}")]
        if not cited.citations:
            return self._declined(question, hits, warnings, steps)
        started = time.monotonic()
        asked = load("support").messages({"question": plain_line(question)})
        support = yield _Judge([*messages, _said(cited.text), *asked])
        if support is not None:
            steps.append(Step("check", time.monotonic() - started, f"support {support:+.1f}"))
            if support < self._min_support:
                reason = f"An answer was dropped because the exhibits do not state it: {cited.text}"
                return self._declined(question, hits, [*warnings, reason], steps)
        return Answer(question, cited.text, cited.citations, evidence, warnings=tuple(warnings), trace=tuple(steps))

    def _cited(
        self, question: str, messages: list[dict[str, Any]], hits: Sequence[Hit]
    ) -> Generator[_Write, str, tuple[Cited, list[str]]]:
        """What the model wrote, cited to the hits that hold it; without statements that it did not cite asked twice."""
        exhibits = len(hits)
        # What a model saw in pixels cannot be told by words.
        attribute = None if self._llm.sees_images else partial(holder, question=question, hits=hits)
        written = yield _Write(messages, exhibits, attribute)
        if _is_refusal(written):
            return Cited(""), []
        cited = cite(written, exhibits, attribute)
        if cited.uncited or not cited.citations:
            marks = " or ".join(f"[E{n}]" for n in range(1, exhibits + 1))
            again = load("cite_again").messages({"marks": marks})
            written_again = yield _Write([*messages, _said(written), *again], exhibits, attribute)
            second = cite(written_again, exhibits, attribute)
            if second.citations and not (cited.citations and second.uncited):
                cited = second
        warnings = [f"A marker that names no exhibit was removed: {marker}" for marker in cited.unknown]
        warnings += [f"A statement without a citation was dropped: {cited.text[a:b]}" for a, b in cited.uncited]
        return without_uncited(cited, exhibits) if cited.uncited else cited, warnings

    def _worth_showing(self, hits: Sequence[Hit]) -> list[Hit]:
        """The best hits; where some were judged, only those relevant enough, in themselves and beside the best."""
        judged = [hit.relevance for hit in hits if hit.relevance is not None]
        if judged:
            least = max(self._min_relevance, max(judged) - _FAR_BEHIND)
            hits = [hit for hit in hits if hit.relevance is not None and hit.relevance >= least]
        return list(hits[: self._evidence_n])

    def _messages(
        self, question: str, evidence: Sequence[Evidence], asked_with: Sequence[Image]
    ) -> list[dict[str, Any]]:
        llm = self._llm
        if llm.count_tokens(question) > llm.context_tokens // _QUESTION_SHARE:
            raise QueryError("The question is too long for the language model; ask for one thing at a time.")
        prompt = load("answer")
        values = {"question": plain_line(question), "may_decline": not llm.gives_logprobs}
        left = free_tokens(prompt.messages(values | {"exhibits": []}), llm, _REPLY_TOKENS)
        most = llm.context_tokens // _EXHIBIT_SHARE
        hits = [exhibit.hit for exhibit in evidence]
        needs = [llm.count_tokens(describe(hit, question, llm.count_tokens, most)) for hit in hits]
        given = split_budget(needs, max(left, 0))
        shown = [describe(hit, question, llm.count_tokens, share) for hit, share in zip(hits, given, strict=True)]
        messages = prompt.messages(values | {"exhibits": shown})
        return add_pictures(messages, hits, llm, PromptPictures(self._picture, asked_with), reply_tokens=_REPLY_TOKENS)

    def _declined(
        self, question: str, hits: Sequence[Hit], warnings: Sequence[str] = (), steps: Sequence[Step] = ()
    ) -> Answer:
        misses = number_hits(hits[: self._evidence_n])
        names = dict.fromkeys(describe_place(exhibit.hit) for exhibit in misses[:_NEAREST_NAMED])
        nearest = f" The nearest that it holds: {'; '.join(names)}." if names else ""
        text = f"The collection does not answer this.{nearest}"
        return Answer(question, text, (), misses, declined=True, warnings=tuple(warnings), trace=tuple(steps))

    def _driven(self, talk: _Talk) -> Iterator[AnswerChunk]:
        step, stream = _advanced(talk, None), None
        while not isinstance(step, Answer):
            if isinstance(step, _Judge):
                step = _advanced(talk, self._llm.judge(step.messages))
            elif stream:
                step = _advanced(talk, self._llm.complete(step.messages, max_tokens=_ANSWER_TOKENS).text)
            else:
                stream = _Stream(step)
                for piece in self._llm.stream(step.messages, max_tokens=_ANSWER_TOKENS):
                    yield from _chunks(stream.feed(piece))
                yield from _chunks(stream.end())
                step = _advanced(talk, stream.written)
        if stream is None or not stream.is_shown:
            yield AnswerChunk(step.text)
        yield AnswerChunk(answer=step)

    async def _adriven(self, talk: _Talk) -> AsyncGenerator[AnswerChunk]:
        # Counting tokens and opening pictures is work for a thread.
        step, stream = await asyncio.to_thread(_advanced, talk, None), None
        while not isinstance(step, Answer):
            if isinstance(step, _Judge):
                heard: str | float | None = await self._llm.ajudge(step.messages)
            elif stream:
                heard = (await self._llm.acomplete(step.messages, max_tokens=_ANSWER_TOKENS)).text
            else:
                stream = _Stream(step)
                async with aclosing(self._llm.astream(step.messages, max_tokens=_ANSWER_TOKENS)) as pieces:
                    async for piece in pieces:
                        for chunk in _chunks(stream.feed(piece)):
                            yield chunk
                for chunk in _chunks(stream.end()):
                    yield chunk
                heard = stream.written
            step = await asyncio.to_thread(_advanced, talk, heard)
        if stream is None or not stream.is_shown:
            yield AnswerChunk(step.text)
        yield AnswerChunk(answer=step)


def _advanced(talk: _Talk, heard: str | float | None) -> _Write | _Judge | Answer:
    """What the talk asks for next, or what it ended with."""
    try:
        return talk.send(heard)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


def _is_refusal(written: str) -> bool:
    return written.strip().upper().startswith(_REFUSAL)


def _chunks(text: str) -> Iterator[AnswerChunk]:
    if text:
        yield AnswerChunk(text)


def _said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}
