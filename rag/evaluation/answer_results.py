"""From recorded answers to an evaluation: rows of measures, coverage-risk curves, seconds, and paired comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rag.errors import QueryError
from rag.evaluation.answer_metrics import RiskCurve, percentile, risk_curve
from rag.evaluation.answer_runs import AnswerRun, Judgement
from rag.evaluation.graded_answers import ANSWERABLE, CITED, GROUPS, UNANSWERABLE, GradedAnswer, graded, measures
from rag.evaluation.labelled_questions import Question
from rag.evaluation.metrics import intervals
from rag.evaluation.results import PLAIN, Difference, Evaluation, ScoreRow, paired_difference

_BY_KIND = (ANSWERABLE, UNANSWERABLE, CITED)
JUDGED = ", with a person's judgements"


@dataclass(frozen=True, slots=True)
class CostRow:
    """Seconds of a step, or tokens of a kind, over the questions that took it."""

    name: str
    queries: int
    mean: float
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class AnswerFindings:
    """What a run of answers shows beside its rows.

    Attributes:
        curves: coverage and risk of all questions, and of each half.
        costs: seconds by step, then tokens by kind.
        graded: all answers.
        judged: how many of them a person has judged.
    """

    curves: tuple[RiskCurve, ...]
    costs: tuple[CostRow, ...]
    graded: tuple[GradedAnswer, ...]
    judged: int


def evaluate_answers(name: str, about: str, answers: Sequence[GradedAnswer], seed: int) -> Evaluation:
    """Return the evaluation of some answers; what a person has judged adds rows of its own.

    Raises:
        ValueError: there are no answers.
    """
    if not answers:
        raise ValueError("no answers")
    judged = [one for one in answers if one.judgement]
    # Judgements are left out of the first rows and curves, and stand in for the labels in the second ones.
    made: list[ScoreRow] = []
    curves: list[RiskCurve] = []
    for suffix, chosen in (("", [replace(one, judgement=None) for one in answers]), (JUDGED, _as_judged(answers))):
        if suffix == "" or judged:
            made += _rows(chosen, suffix, seed)
            curves += _curves(chosen, suffix, seed)
    return Evaluation(
        name=name,
        about=about,
        configuration={},
        ks=(),
        rows=tuple(made),
        answers=AnswerFindings(tuple(curves), tuple(_costs(answers)), tuple(answers), len(judged)),
        notes=tuple(_grading_notes(answers, judged)),
    )


def evaluate_run(
    name: str,
    questions: Sequence[Question],
    run: AnswerRun,
    judgements: Mapping[str, Judgement] | None = None,
    earlier: AnswerRun | None = None,
    *,
    seed: int = 0,
) -> Evaluation:
    """Return the evaluation of a run, compared with an earlier one if there is one.

    Raises:
        QueryError: the earlier run answered none of these questions.
    """
    result = evaluate_answers(name, f"answers to {len(questions)} questions", graded(questions, run, judgements), seed)
    if earlier is None:
        return replace(result, configuration={"": run.header.variables})
    before = {one.question.question: one for one in graded(questions, earlier)}
    pairs = [(before[key], one) for one in graded(questions, run) if (key := one.question.question) in before]
    if not pairs:
        raise QueryError("The earlier run answers none of these questions.")
    note = f"{len(pairs)} questions are compared. {_time_compared(pairs, seed)}"
    curves = _curves([one for one, _ in pairs], ", first", seed)
    answers = result.answers and replace(result.answers, curves=(*result.answers.curves, *curves))
    return replace(
        result,
        answers=answers,
        configuration={"first": earlier.header.variables, "second": run.header.variables},
        differences=tuple(compare(pairs, seed)),
        notes=(*result.notes, note),
    )


def compare(pairs: Sequence[tuple[GradedAnswer, GradedAnswer]], seed: int) -> Iterator[Difference]:
    """Yield the differences of two answers to each question, in the measures that both have."""
    later = {one.question.question: (old, one) for old, one in pairs}
    for group in GROUPS:
        for part, chosen in _slices([one for _, one in pairs], with_kinds=False):
            both = [
                (old, new, one.cluster)
                for a, one in (later[each.question.question] for each in chosen)
                if (old := measures(a).get(group)) and (new := measures(one).get(group))
            ]
            for metric in both[0][0] if both else ():
                before, after = [old[metric] for old, _, _ in both], [new[metric] for _, new, _ in both]
                clusters = [cluster for _, _, cluster in both]
                yield paired_difference(group, part, metric, before, after, clusters=clusters, seed=seed)


def _time_compared(pairs: Sequence[tuple[GradedAnswer, GradedAnswer]], seed: int) -> str:
    """Return in words how much longer or shorter a question takes now."""
    before, after = ([one.record.seconds.get("total", 0.0) for one in side] for side in zip(*pairs, strict=True))
    clusters = [one.cluster for _, one in pairs]
    found = paired_difference("", "", "seconds", before, after, clusters=clusters, seed=seed)
    gain = found.gain
    return (
        f"A question took {found.a:.1f} s before and {found.b:.1f} s now on the mean"
        f" ({gain.mean:+.1f} s, {gain.low:+.1f} to {gain.high:+.1f}; p {found.p_value:.4f})."
    )


def _as_judged(answers: Sequence[GradedAnswer]) -> list[GradedAnswer]:
    return [replace(one, grade=one.final_grade) for one in answers]


def _rows(answers: Sequence[GradedAnswer], suffix: str, seed: int) -> Iterator[ScoreRow]:
    for group in GROUPS:
        for part, chosen in _slices(answers, with_kinds=group in _BY_KIND):
            held = [(found, one.cluster) for one in chosen if (found := measures(one).get(group))]
            if held:
                table = {metric: [found[metric] for found, _ in held] for metric in held[0][0]}
                estimates = intervals(table, clusters=[cluster for _, cluster in held], seed=seed)
                yield ScoreRow(f"{group}{suffix}", "", PLAIN, part, len(held), estimates)


def _slices(answers: Sequence[GradedAnswer], *, with_kinds: bool) -> Iterator[tuple[str, Sequence[GradedAnswer]]]:
    """Yield all answers, then those of each half, medium and kind if there are several."""
    yield "", answers
    for title, key in (("half ", "half"), ("", "modality"), *([("kind ", "kind")] if with_kinds else [])):
        values = {getattr(one.question, key) for one in answers}
        for value in sorted(values - {""}) if len(values) > 1 else ():
            yield f"{title}{value}", [one for one in answers if getattr(one.question, key) == value]


def _curves(answers: Sequence[GradedAnswer], suffix: str, seed: int) -> Iterator[RiskCurve]:
    """Yield the curve of all answers, and that of each half if there are two."""
    for part, chosen in _slices([one for one in answers if one.is_graded], with_kinds=False):
        given = [one for one in chosen if not one.record.is_declined]
        if given and (part == "" or part.startswith("half ")):
            yield risk_curve(
                (part or "all") + suffix,
                len(chosen),
                [one.record.confidence for one in given],
                [one.grade == "wrong" for one in given],
                clusters=[one.cluster for one in given],
                seed=seed,
            )


def _costs(answers: Sequence[GradedAnswer]) -> Iterator[CostRow]:
    for kind, unit in (("seconds", "s"), ("tokens", "tokens")):
        taken: dict[str, list[float]] = {}
        for one in answers:
            for name, value in getattr(one.record, kind).items():
                taken.setdefault(name, []).append(value)
        for name, values in taken.items():
            mean = sum(values) / len(values)
            yield CostRow(f"{name}, {unit}", len(values), mean, percentile(values, 50), percentile(values, 95))


def _grading_notes(answers: Sequence[GradedAnswer], judged: Sequence[GradedAnswer]) -> Iterator[str]:
    bare = sum(one.question.answerable and not one.question.answer for one in answers)
    if bare:
        yield f"{bare} answers to questions without phrases are not graded."
    if judged:
        both = [one for one in judged if one.judgement and one.judgement.right and one.grade != "ungraded"]
        same = sum(one.grade == one.final_grade for one in both)
        yield f"A person has judged {len(judged)} answers; the labels give the same grade for {same} of {len(both)}."
