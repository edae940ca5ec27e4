"""What the checks catch: right statements are altered, and each is checked against the place that it cites.

A corrupted statement is *caught* if its verdict is not ``supported``; the share that is only ``unchecked``, which is
shown with a mark, is counted beside it. A right statement that is not ``supported`` is a *false alarm*. Where they
come from, and what is not told by them, is said in `rag.evaluation.claims`; how they are altered in
`rag.evaluation.corruptions`. Only the check of one statement against one place is measured, the first of several that
an answer goes through (`rag.answering.statement_checks`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.errors import QueryError
from rag.evaluation.claims import MEDIA, Claim, answer_claims, by_file, names_of, own_claims
from rag.evaluation.corruptions import KINDS, Surroundings, corrupt
from rag.evaluation.metrics import share
from rag.evaluation.results import PLAIN, Evaluation, ScoreRow
from rag.segments import to_fragment

if TYPE_CHECKING:
    from rag.evaluation.cached_vectors import OnProgress
    from rag.evaluation.graded_answers import GradedAnswer
    from rag.knowledge_base import KnowledgeBase
    from rag.verification.checker import Checker

MOST = 60  # sentences of a medium
_NAMED_PASSAGES = 300  # passages whose names replace others
_FOUND = 20  # places that a search finds
NOTE = (
    "Sentences are quoted from the collection, and answers in a file have passed the checks once: false alarms on new"
    " answers are more. Nothing is known of photos but their tags. Some corrupted statements are true by chance."
)


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A statement with its verdict.

    Attributes:
        medium: of the place that it was taken from.
        kind: how it was altered; empty if it was not.
        question: that it answers.
        text: the statement.
        path: the cited file.
        place: the cited place, as a media fragment without ``#``.
        verdict: its name (`rag.types.Verdict`).
        reason: for the verdict.
    """

    medium: str
    kind: str
    question: str
    text: str
    path: str
    place: str
    verdict: str
    reason: str


def measure_checks(
    base: KnowledgeBase, answers: Iterable[GradedAnswer], most: int | None, seed: int, on_progress: OnProgress
) -> Evaluation:
    """Measure what the checks of a knowledge base catch.

    Args:
        base: gives sentences, other places, and the checks.
        answers: that it gave; the right ones are altered too.
        most: sentences of a medium; None for 60.
        seed: of all choices.
        on_progress: receives a label, the statements done, and all.

    Raises:
        QueryError: its settings ask for no checks, or nothing in it makes a statement.
    """
    checker = base._checker
    if checker is None:
        raise QueryError("The settings ask for no checks. Set EXHIBIT_VERIFY to medium or words.")
    hits = list(base.contents.segments())
    claims = [*answer_claims(answers, hits), *own_claims(hits, most or MOST, seed)]
    if not claims:
        raise QueryError("No segment of the knowledge base holds a sentence that could be altered.")
    around = Surroundings(
        names_of(hits, _NAMED_PASSAGES, seed), by_file(hits), lambda words: base.search(words, top_k=_FOUND)
    )
    checked: list[CheckedClaim] = []
    for done, claim in enumerate(claims):
        on_progress("checking statements", done, len(claims))
        checked += check_all(claim, around, checker, seed)
    return evaluate_checks(checked)


def check_all(claim: Claim, around: Surroundings, checker: Checker, seed: int) -> Iterator[CheckedClaim]:
    """Yield the verdict of a claim as it is, and of its corruptions."""
    for kind, one in {"": claim, **corrupt(claim, around, seed)}.items():
        verdict = checker.confirmed(one.question, one.text, one.hit)
        place = to_fragment(one.hit.segment.locator)
        yield CheckedClaim(
            claim.medium, kind, one.question, one.text, one.hit.path, place, verdict.name, verdict.reason
        )


def evaluate_checks(checked: Sequence[CheckedClaim]) -> Evaluation:
    """Return the evaluation of checked claims: false alarms by medium, then what was caught by medium and kind."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in checked:
        groups[one.medium, one.kind].append(one.verdict)
        if one.kind:
            groups[one.medium, "all"].append(one.verdict)
    kinds = ["", "all", *KINDS]
    order = sorted(groups, key=lambda group: (group[1] != "", MEDIA.index(group[0]), kinds.index(group[1])))
    right = sum(not one.kind for one in checked)
    return Evaluation(
        name="",
        about=f"{right} right statements, and {len(checked) - right} that were altered",
        configuration={},
        ks=(),
        rows=tuple(_row(medium, kind, groups[medium, kind]) for medium, kind in order),
        checked=tuple(checked),
        notes=(NOTE,),
    )


def _row(medium: str, kind: str, verdicts: Sequence[str]) -> ScoreRow:
    n = len(verdicts)
    counted = "caught" if kind else "false alarms"
    metrics = {
        counted: share(n - verdicts.count("supported"), n),
        "unchecked": share(verdicts.count("unchecked"), n),
    }
    return ScoreRow(medium, "", PLAIN, kind if kind != "all" else "", n, metrics)
