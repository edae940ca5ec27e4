"""Ask a knowledge base the labelled questions, and record each answer as a plain value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rag.evaluation.answer_metrics import step_seconds
from rag.evaluation.answer_runs import AnswerRecord, AnswerRun, CitationRecord
from rag.evaluation.labelled_questions import Question
from rag.llm.usage import Usage, start_counting
from rag.segments import file_name, playable_span, to_fragment
from rag.types import Answer, Citation, Evidence

if TYPE_CHECKING:
    from rag.evaluation.cached_vectors import OnProgress
    from rag.knowledge_base import KnowledgeBase

_MOST_QUOTE = 300


def ask_all(base: KnowledgeBase, questions: Sequence[Question], run: AnswerRun, on_progress: OnProgress) -> None:
    """Ask all questions that a run has no answer to, and keep each answer at once.

    Raises:
        ModelError: a model is missing.
        IndexUnavailable, LLMError: the store or the language model failed; the answers so far are kept.
    """
    done = sum(question.question in run.records for question in questions)
    on_progress("loading the language model", done, len(questions))
    base.load()
    for question in questions:
        if question.question not in run.records:
            on_progress(question.question, done, len(questions))
            used = start_counting()
            run.keep(record(question.question, base.ask(question.question), used))
            done += 1
    on_progress("asking", done, len(questions))


def record(question: str, answer: Answer, used: Usage | None = None) -> AnswerRecord:
    """Return an answer as it is recorded.

    Args:
        question: as it was asked; its standalone wording may differ.
        answer: to the question.
        used: the tokens that it took.
    """
    by_number = {evidence.number: evidence for evidence in answer.evidence}
    counts = used and used.is_known and {"prompt": used.prompt, "cached": used.cached, "completion": used.completion}
    return AnswerRecord(
        question=question,
        text=answer.text,
        is_declined=answer.declined,
        is_partial=bool(answer.open_parts),
        confidence=_confidence(answer),
        citations=tuple(_citation(one, by_number[one.number]) for one in answer.citations),
        nearest=tuple(dict.fromkeys(evidence.hit.path or file_name(evidence.hit) for evidence in answer.evidence)),
        seconds=step_seconds((step.name, round(step.seconds, 3)) for step in answer.trace),
        tokens=counts or {},
        warnings=answer.warnings,
    )


def _confidence(answer: Answer) -> float | None:
    """Return the confidence that the answer names, or else the least support of its citations, if any is known."""
    named = getattr(answer, "confidence", None)
    if named is not None:
        return float(named)
    return min((one.verdict.support for one in answer.citations if one.verdict.support is not None), default=None)


def _citation(citation: Citation, evidence: Evidence) -> CitationRecord:
    verdict, segment = citation.verdict, evidence.segment
    return CitationRecord(
        start=citation.start,
        end=citation.end,
        path=evidence.hit.path or file_name(evidence.hit),
        place=to_fragment(verdict.locator or playable_span(segment) or segment.locator),
        verdict=verdict.name,
        support=verdict.support,
        reason=verdict.reason,
        quote=(verdict.quote or segment.searchable_text)[:_MOST_QUOTE],
    )
