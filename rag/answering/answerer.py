"""From a question and hits to an answer in which every statement is cited, or to a refusal with the nearest misses.

The logic is one generator, `GroundedAnswerer._conversation`, which yields each request to the language model and
receives the reply. `stream` and `astream` only pass these on.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rag.answering.attribution import best_evidence
from rag.answering.citations import Cited, cite, number_hits, with_markers, without
from rag.answering.evidence_text import LoadPicture, PromptPictures, add_pictures, describe, free_tokens, split_budget
from rag.answering.markers import Attribute, MarkerStream, plain_line
from rag.answering.statement_checks import CheckedText, check_statements
from rag.errors import QueryError
from rag.llm.prompts import load
from rag.segments import describe_place
from rag.types import Answer, AnswerChunk, Evidence, Hit, Step

if TYPE_CHECKING:
    from PIL.Image import Image

    from rag.llm import LanguageModel
    from rag.verification.checker import Checker

_ANSWER_TOKENS = 200
# Twice the answer and the request for it: when asked to cite again, the model reads its first answer.
_REPLY_TOKENS = 2 * _ANSWER_TOKENS + 96
# One piece of evidence may fill this part of the context: 128 tokens with the bundled model. More distracts it: of 37
# answers in texts that were found it reads 35 in 128 tokens around the sentences that the verifier chooses.
_EVIDENCE_SHARE = 32
_QUESTION_SHARE = 4
_NEAREST_NAMED = 3
# A hit this many log-odds behind the best only distracts. On the questions of `tests/measure` no right one is lost.
_FAR_BEHIND = 1.5
_REFUSAL = "NOT FOUND"


@dataclass(frozen=True, slots=True)
class _WriteRequest:
    messages: list[dict[str, Any]]
    evidence_n: int
    attribute: Attribute | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is answered.

    Attributes:
        words: the question in words.
        pictures: those of the question, for a model that sees.
        find: searches for a statement that the candidates do not support; None for no search.
    """

    words: str
    pictures: Sequence[Image] = ()
    find: Callable[[str], Sequence[Hit]] | None = None


class _VisibleText:
    """The visible part of what the model writes: whole markers, and nothing of a refusal, which gets its own words.

    Attributes:
        written: all that the model wrote.
        has_text: whether any of it was visible.
    """

    def __init__(self, request: _WriteRequest) -> None:
        self.written, self.has_text = "", False
        self._markers, self._fed = MarkerStream(request.evidence_n, request.attribute), 0

    def feed(self, piece: str) -> str:
        """Return the text that becomes visible with this piece."""
        self.written += piece
        if _REFUSAL.startswith(self.written.lstrip().upper()[: len(_REFUSAL)]):
            return ""
        self._fed, fresh = len(self.written), self.written[self._fed :]
        return self._note(self._markers.feed(fresh))

    def end(self) -> str:
        """Return the rest."""
        rest = "" if _is_refusal(self.written) else self.written[self._fed :]
        return self._note(self._markers.feed(rest) + self._markers.end())

    def _note(self, text: str) -> str:
        self.has_text = self.has_text or bool(text)
        return text


_Conversation = Generator[_WriteRequest, Any, Answer]


class GroundedAnswerer:
    """An answerer that writes from hits alone.

    Args:
        llm: the language model.
        evidence_n: most pieces of evidence in a prompt.
        min_relevance: log-odds: hits judged below it are no evidence; without any evidence, the answer is declined.
        checker: checks the statements; None leaves them unchecked.
        load_picture: loads the pixels of a hit, or None, for a model that sees.

    Every method raises `LLMError` when the model fails and `QueryError` when the question is too long.
    """

    def __init__(
        self,
        llm: LanguageModel,
        *,
        evidence_n: int = 4,
        min_relevance: float = 0.0,
        checker: Checker | None = None,
        load_picture: LoadPicture | None = None,
    ) -> None:
        self._llm = llm
        self._evidence_n = evidence_n
        self._min_relevance = min_relevance
        self._checker = checker
        self._load_picture = load_picture

    def stream(self, asked: Asked | str, hits: Sequence[Hit]) -> Iterator[AnswerChunk]:
        """Answer from these hits, best first, with each statement cited and checked; or decline.

        Args:
            asked: the question; words alone will do.
            hits: the candidates for evidence.

        Yields:
            The text while it is written, and last the whole answer.
        """
        conversation = self._conversation(_as_asked(asked), hits)
        step, visible = _advance(conversation, None), None
        while not isinstance(step, Answer):
            if visible:
                step = _advance(conversation, self._llm.complete(step.messages, max_tokens=_ANSWER_TOKENS).text)
            else:
                visible = _VisibleText(step)
                for piece in self._llm.stream(step.messages, max_tokens=_ANSWER_TOKENS):
                    yield from _chunks(visible.feed(piece))
                yield from _chunks(visible.end())
                step = _advance(conversation, visible.written)
        if visible is None or not visible.has_text:
            yield AnswerChunk(step.text)
        yield AnswerChunk(answer=step)

    async def astream(self, asked: Asked | str, hits: Sequence[Hit]) -> AsyncGenerator[AnswerChunk]:
        """Async twin of `stream`; closing it stops the model."""
        conversation = self._conversation(_as_asked(asked), hits)
        # Counting tokens and opening pictures is work for a thread.
        step, visible = await asyncio.to_thread(_advance, conversation, None), None
        while not isinstance(step, Answer):
            if visible:
                reply = (await self._llm.acomplete(step.messages, max_tokens=_ANSWER_TOKENS)).text
            else:
                visible = _VisibleText(step)
                async with aclosing(self._llm.astream(step.messages, max_tokens=_ANSWER_TOKENS)) as pieces:
                    async for piece in pieces:
                        for chunk in _chunks(visible.feed(piece)):
                            yield chunk
                for chunk in _chunks(visible.end()):
                    yield chunk
                reply = visible.written
            step = await asyncio.to_thread(_advance, conversation, reply)
        if visible is None or not visible.has_text:
            yield AnswerChunk(step.text)
        yield AnswerChunk(answer=step)

    def _conversation(self, asked: Asked, hits: Sequence[Hit]) -> _Conversation:
        question = asked.words
        if not question.strip():
            return self._decline(question, hits, ["The question could not be put into words."])
        evidence = number_hits(self._select(hits))
        if not evidence:
            return self._decline(question, hits)
        messages = self._messages(question, evidence, asked.pictures)
        started = time.monotonic()
        cited, warnings = yield from self._write_cited(question, messages, [each.hit for each in evidence])
        note = ", citations moved to the words" if cited.moved else ""
        steps = [Step("generate", time.monotonic() - started, f"{len(evidence)} exhibits{note}")]
        if not cited.citations:
            return self._decline(question, hits, warnings, steps)
        checked = self._check(asked, cited, evidence, hits, steps)
        warnings += checked.dropped
        if not checked.citations:
            return self._decline(question, hits, warnings, steps)
        evidence = number_hits(checked.hits)
        return Answer(
            question,
            checked.text,
            checked.citations,
            evidence,
            warnings=tuple(warnings),
            trace=tuple(steps),
            open_parts=checked.open_parts,
        )

    def _check(
        self, asked: Asked, cited: Cited, evidence: Sequence[Evidence], hits: Sequence[Hit], steps: list[Step]
    ) -> CheckedText:
        """Check the statements, and note the step."""
        read = [each.hit for each in evidence]
        if self._checker is None:
            return CheckedText(cited.text, cited.citations, tuple(read))
        started = time.monotonic()
        checked = check_statements(asked.words, cited, read, hits, self._checker, asked.find)
        names = Counter(each.verdict.name for each in checked.citations)
        notes = [f"{number} {name}" for name, number in names.items()]
        notes += [f"{len(checked.dropped)} dropped"] if checked.dropped else []
        steps.append(Step("check", time.monotonic() - started, ", ".join(notes)))
        return checked

    def _write_cited(
        self, question: str, messages: list[dict[str, Any]], hits: Sequence[Hit]
    ) -> Generator[_WriteRequest, str, tuple[Cited, list[str]]]:
        """Have the model write with citations.

        What it leaves uncited gets a citation where statements are checked. Where they are not, the model is asked once
        more, and statements that are still uncited are dropped.
        """
        evidence_n = len(hits)
        # Words cannot tell what a model saw in pixels.
        attribute = None if self._llm.sees_images else partial(best_evidence, question=question, hits=hits)
        written = yield _WriteRequest(messages, evidence_n, attribute)
        if _is_refusal(written):
            return Cited(""), []
        cited = cite(written, evidence_n, attribute)
        if cited.uncited and attribute is not None and self._checks_words:
            # Each gets a marker, which the check moves to what says it, or drops.
            cited = replace(cite(with_markers(cited, 1), evidence_n, attribute), unknown=cited.unknown)
        elif cited.uncited or not cited.citations:
            marks = " or ".join(f"[E{n}]" for n in range(1, evidence_n + 1))
            again = load("cite_again").messages({"marks": marks})
            written_again = yield _WriteRequest([*messages, _assistant_message(written), *again], evidence_n, attribute)
            second = cite(written_again, evidence_n, attribute)
            if second.citations and not (cited.citations and second.uncited):
                cited = second
        warnings = [f"A marker that names no evidence was removed: {marker}" for marker in cited.unknown]
        warnings += [f"A statement without a citation was dropped: {cited.text[a:b]}" for a, b in cited.uncited]
        return without(cited, cited.uncited, evidence_n) if cited.uncited else cited, warnings

    @property
    def _checks_words(self) -> bool:
        """Whether statements are compared with the words of evidence."""
        return self._checker is not None and self._checker.verifier is not None

    def _select(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return the best hits; if some were judged, only those relevant enough by themselves and beside the best."""
        judged = [hit.relevance for hit in hits if hit.relevance is not None]
        if judged:
            least = max(self._min_relevance, max(judged) - _FAR_BEHIND)
            hits = [hit for hit in hits if hit.relevance is not None and hit.relevance >= least]
        return list(hits[: self._evidence_n])

    def _messages(self, question: str, evidence: Sequence[Evidence], pictures: Sequence[Image]) -> list[dict[str, Any]]:
        llm = self._llm
        if llm.count_tokens(question) > llm.context_tokens // _QUESTION_SHARE:
            raise QueryError("The question is too long for the language model; ask about one thing at a time.")
        prompt = load("answer")
        values = {"question": plain_line(question), "may_decline": not llm.gives_logprobs}
        left = free_tokens(prompt.messages(values | {"exhibits": []}), llm, _REPLY_TOKENS)
        most = llm.context_tokens // _EVIDENCE_SHARE
        hits = [each.hit for each in evidence]
        focuses = [self._checker.best_words(question, hit) if self._checker else "" for hit in hits]
        described = partial(describe, question=question, count=llm.count_tokens)
        needs = [
            llm.count_tokens(described(hit, max_tokens=most, focus=focus))
            for hit, focus in zip(hits, focuses, strict=True)
        ]
        shares = split_budget(needs, max(left, 0))
        texts = [
            described(hit, max_tokens=share, focus=focus)
            for hit, share, focus in zip(hits, shares, focuses, strict=True)
        ]
        messages = prompt.messages(values | {"exhibits": texts})
        return add_pictures(
            messages, hits, llm, PromptPictures(self._load_picture, pictures), reply_tokens=_REPLY_TOKENS
        )

    def _decline(
        self, question: str, hits: Sequence[Hit], warnings: Sequence[str] = (), steps: Sequence[Step] = ()
    ) -> Answer:
        misses = number_hits(hits[: self._evidence_n])
        names = dict.fromkeys(describe_place(miss.hit) for miss in misses[:_NEAREST_NAMED])
        nearest = f" The nearest that it holds: {'; '.join(names)}." if names else ""
        text = f"The collection does not answer this.{nearest}"
        return Answer(question, text, (), misses, declined=True, warnings=tuple(warnings), trace=tuple(steps))


def _as_asked(asked: Asked | str) -> Asked:
    return asked if isinstance(asked, Asked) else Asked(asked)


def _advance(conversation: _Conversation, reply: str | None) -> _WriteRequest | Answer:
    """Return the next request of the conversation, or its answer."""
    try:
        return conversation.send(reply)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


def _is_refusal(written: str) -> bool:
    return written.strip().upper().startswith(_REFUSAL)


def _chunks(text: str) -> Iterator[AnswerChunk]:
    if text:
        yield AnswerChunk(text)


def _assistant_message(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}
