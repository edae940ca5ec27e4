"""Checks each statement of a written answer, moves its citation to what says it, and drops what nothing says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from rag.answering.citations import Cited, cite, cited_sentences, without, words_of
from rag.answering.markers import MARKER_RUN
from rag.segments import describe_place, segment_id
from rag.types import Citation, Hit, Verdict
from rag.verification.answer_type import unanswered, unnamed
from rag.verification.passages import passage_of
from rag.verification.several_looks import counts_files, is_choice, untold

if TYPE_CHECKING:
    from rag.verification.checker import Checker

# Other candidates that a statement is looked up in, best first.
_MOST_OTHERS = 12
# So the bundled model begins where it has no answer: 6 times for questions without one, once for one with.
_EVASION = re.compile(r"\W*the (?:passage|text|exhibit|caption) (?:states|says|mentions|describes|does not)\b", re.I)
_KEPT = ("supported", "unchecked")


@dataclass(frozen=True, slots=True)
class CheckedText:
    """An answer after its statements were checked.

    Attributes:
        text: the statements that were kept.
        citations: each with its verdict.
        hits: the evidence: that which the model read, then what was found for its statements.
        dropped: what was dropped, and why, in words.
        moved: how many citations name other evidence now.
        open_parts: the sides of a comparison of which nothing that is cited tells.
    """

    text: str
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    dropped: tuple[str, ...] = ()
    moved: int = 0
    open_parts: tuple[str, ...] = ()


def check_statements(
    question: str,
    cited: Cited,
    evidence: Sequence[Hit],
    others: Sequence[Hit],
    checker: Checker,
    find: Callable[[str], Sequence[Hit]] | None = None,
) -> CheckedText:
    """Check the statements of an answer.

    Args:
        question: in words.
        cited: the answer with its citations.
        evidence: what the citations number.
        others: candidates that the language model did not read.
        checker: gives the verdicts.
        find: searches for a statement that no candidate supports; None for no search.
    """
    hits = list(evidence)
    numbers: dict[tuple[str, int], int] = {}
    for citation in cited.citations:
        statement = words_of(cited.text, citation)
        if statement_is_kept(checker.verdict(question, statement, hits[citation.number - 1])):
            continue
        place = _find_support(question, statement, hits, others, checker, find)
        if place is not None:
            numbers[_key(statement), citation.number] = place + 1
    moved = cite(cited.text, len(hits), lambda statement, n: numbers.get((_key(statement), n), n))
    citations = _with_verdicts(question, moved, hits, checker)
    failed = [each for each in citations if not statement_is_kept(each.verdict)]
    kept_spans = {(each.start, each.end) for each in citations if statement_is_kept(each.verdict)}
    spans = _with_what_leans_on_them({(each.start, each.end) for each in failed} - kept_spans, moved)
    dropped = tuple(
        f"A statement was dropped: {moved.text[each.start : each.end]} ({each.verdict.reason})"
        for each in failed
        if (each.start, each.end) in spans
    )
    if spans:
        moved = without(moved, spans, len(hits))
        citations = _with_verdicts(question, moved, hits, checker)
    told = _told(citations, hits, others)
    if moved.text and (reason := _unfit(question, MARKER_RUN.sub("", moved.text), told)):
        dropped = (*dropped, f"An answer was dropped, because {reason}: {moved.text}")
        return CheckedText("", (), tuple(hits), dropped, moved.moved)
    return CheckedText(moved.text, citations, tuple(hits), dropped, moved.moved, untold(question, told))


def _with_what_leans_on_them(spans: set[tuple[int, int]], cited: Cited) -> list[tuple[int, int]]:
    """Return the spans, and those of their sentences that follow a first part which is among them."""
    parts = {(each.start, each.end) for each in cited.citations}
    found = set(spans)
    for start, end in cited_sentences(cited.text):
        inside = sorted(part for part in parts if start <= part[0] < end)
        if inside and inside[0] in spans:
            found |= set(inside)
    return sorted(found)


def _unfit(question: str, answer: str, told: str) -> str:
    """Return why supported statements do not answer their question; "" if they may."""
    if lacking := unanswered(question, answer):
        return f"it does not tell {lacking}"
    if _EVASION.match(answer):
        return "it tells what its source speaks of instead"
    if counts_files(question):
        return "a few places cannot tell how many files there are"
    if sides := untold(question, told) if is_choice(question) else unnamed(question, told):
        return f"what it cites tells nothing of {' and '.join(sides)}"
    return ""


def _told(citations: Sequence[Citation], hits: Sequence[Hit], others: Sequence[Hit]) -> str:
    """Return the words of what is cited, and of what else was found in the same files, which may name the subject."""
    cited = [hits[number - 1] for number in {each.number for each in citations}]
    assets = {hit.segment.asset_id for hit in cited}
    return "\n".join(_evidence_words(hit) for hit in (*cited, *others) if hit.segment.asset_id in assets)


def _evidence_words(hit: Hit) -> str:
    passage = passage_of(hit)
    return f"{passage.heading} {passage.text} {' '.join(hit.segment.tags)}"


def statement_is_kept(verdict: Verdict) -> bool:
    """Return whether a statement may be shown: it is supported, or could not be checked, which is marked."""
    return verdict.name in _KEPT


def _find_support(
    question: str,
    statement: str,
    hits: list[Hit],
    others: Sequence[Hit],
    checker: Checker,
    find: Callable[[str], Sequence[Hit]] | None,
) -> int | None:
    """Return the index of evidence that supports a statement; what is found elsewhere joins the hits."""
    for place, hit in enumerate(hits):
        if checker.verdict(question, statement, hit).name == "supported":
            return place
    known = {segment_id(hit.segment) for hit in hits}
    for hit in chain(others[:_MOST_OTHERS], _found(statement, find)):
        if segment_id(hit.segment) in known:
            continue
        known.add(segment_id(hit.segment))
        if checker.verdict(question, statement, hit).name == "supported":
            hits.append(hit)
            return len(hits) - 1
    return None


def _found(statement: str, find: Callable[[str], Sequence[Hit]] | None) -> Iterator[Hit]:
    """Yield what a search for a statement finds; it is searched when the first is asked for."""
    yield from find(statement) if find else ()


def _with_verdicts(question: str, cited: Cited, hits: Sequence[Hit], checker: Checker) -> tuple[Citation, ...]:
    return tuple(
        replace(each, verdict=_verdict(question, words_of(cited.text, each), hits, each.number - 1, checker))
        for each in cited.citations
    )


def _verdict(question: str, statement: str, hits: Sequence[Hit], cited: int, checker: Checker) -> Verdict:
    verdict = checker.confirmed(question, statement, hits[cited])
    if verdict.name in ("unsupported", "contradicted"):
        for n, hit in enumerate(hits):
            if n != cited and checker.verdict(question, statement, hit).name == "supported":
                reason = f"{describe_place(hits[cited])} does not say this; {describe_place(hit)} does."
                return replace(verdict, name="misattributed", reason=reason)
    return verdict


def _key(statement: str) -> str:
    return " ".join(statement.split()).strip(" .,;:")
