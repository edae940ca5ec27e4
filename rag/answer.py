"""Evidence to an answer in which every statement is cited, or to a refusal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rag.citations import MarkerStream, cite, neutralised, number
from rag.prompts import load
from rag.rerank import Picture, describe
from rag.types import Answer, Evidence, Hit, Step

if TYPE_CHECKING:
    from rag.llms import Llm

_ANSWER_TOKENS = 200
_WORDS = 220


class GroundedAnswerer:
    """Answers from hits with a language model."""

    def __init__(self, llm: Llm, *, evidence_n: int, min_relevance: float, picture: Picture | None = None) -> None:
        self._llm, self._evidence_n, self._min_relevance, self._picture = llm, evidence_n, min_relevance, picture

    def stream(self, question: str, hits: Sequence[Hit]) -> Iterator[str | Answer]:
        """Yield the answer's text in pieces, and last the whole `Answer`."""
        evidence = number(hits[: self._evidence_n])
        judged = [hit.relevance for hit in hits if hit.relevance is not None]
        if not evidence or (judged and max(judged) < self._min_relevance):
            yield from _declined(question, evidence)
            return
        started = time.monotonic()
        shown = "\n".join(f"[E{e.number}] {neutralised(describe(e.segment, _WORDS))}" for e in evidence)
        prompt = load("answer", "exhibits", "question").render(exhibits=shown, question=question)
        stream = MarkerStream(len(evidence))
        written = ""
        for piece in self._llm.stream([{"role": "user", "content": prompt}], max_tokens=_ANSWER_TOKENS):
            if clean := stream.feed(piece):
                written += clean
                yield clean
        if clean := stream.end():
            written += clean
            yield clean
        cited = cite(written, len(evidence))
        warnings = [f"A marker named no exhibit and was removed: {marker}" for marker in stream.unknown]
        warnings += [f"Not cited: {cited.text[start:end]}" for start, end in cited.uncited]
        steps = (Step("generate", time.monotonic() - started),)
        yield Answer(question, cited.text, cited.citations, evidence, warnings=tuple(warnings), trace=steps)


def _declined(question: str, evidence: tuple[Evidence, ...]) -> Iterator[str | Answer]:
    text = "The collection does not say."
    yield text
    yield Answer(question, text, evidence=evidence, declined=True, trace=(Step("decline", 0.0),))
