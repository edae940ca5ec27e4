"""`exhibit eval` without the printing: from arguments to an evaluation or a file of questions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.config import Settings
from rag.errors import QueryError, SettingsError
from rag.evaluation import datasets
from rag.evaluation.labelled_questions import SHIPPED, Question, half, read_questions, shipped_questions
from rag.evaluation.results import (
    PLAIN,
    ChannelDistributions,
    Difference,
    EvalOptions,
    Evaluation,
    ScoreRow,
    Trial,
    assemble,
    differences,
)

if TYPE_CHECKING:
    from rag.evaluation.cached_vectors import OnProgress
    from rag.knowledge_base import KnowledgeBase

__all__ = ["AnswerOptions", "EvalOptions", "EvalRequest", "generate", "list_sets", "measure"]

QUESTIONS = "questions"  # name of the set of all shipped questions
_PREFIXES = {"anthropology": "anthropology/"}  # sets whose questions also suit a knowledge base


@dataclass(frozen=True)
class AnswerOptions:
    """What to ask, and what to compare the answers with.

    Attributes:
        half: ask only this half of the questions; empty for all.
        resume: the file of the run: what it holds is not asked again, and each new answer is added at once.
        against: the file of an earlier run to compare with.
        judged: a file of a person's judgements.
        corrupt: alter right statements and count what the checks catch, instead of asking; `resume` then only brings
            answers.
    """

    half: str = ""
    resume: Path | None = None
    against: Path | None = None
    judged: Path | None = None
    corrupt: bool = False


@dataclass(frozen=True)
class EvalRequest:
    """The arguments of a measurement.

    Attributes:
        name: name of a set, or the path of a JSON Lines file of questions.
        options: how to measure.
        limit: largest number of queries in a direction, of questions, or of altered sentences of a medium.
        kb: folder of the knowledge base to ask; None to measure encoders.
        against: changes to the settings that make configuration B, such as ``encoder=siglip``; None for no comparison.
        answers: ask and grade the answers, instead of measuring the search.
    """

    name: str
    options: EvalOptions
    limit: int | None = None
    kb: Path | None = None
    against: str | None = None
    answers: AnswerOptions | None = None


def list_sets(settings: Settings) -> list[dict[str, str]]:
    """Return the sets: name, description, and whether the files are there."""
    rows = [
        {
            "name": one.name,
            "about": one.about,
            "state": "ready" if settings.data and (settings.data / one.folder).is_dir() else "missing",
        }
        for one in datasets.SETS
    ]
    about = f"{len(read_questions(SHIPPED))} questions to all media of the data; give their --kb"
    return [*rows, {"name": QUESTIONS, "about": about, "state": "ready"}]


def measure(request: EvalRequest, on_progress: OnProgress) -> Evaluation:
    """Measure encoders on a set, or a knowledge base on questions.

    Raises:
        QueryError: the set is unknown, or it needs a knowledge base.
        SettingsError: the configuration to compare with is invalid.
        ModelError, LLMError: the language model that shall answer is missing or failed.
    """
    if request.answers is not None and request.answers.corrupt:
        return _measure_checks(request, request.answers, on_progress)
    if request.answers is not None:
        return _measure_answers(request, request.answers, on_progress)
    changes = changed_settings(request.against) if request.against else None
    is_file = Path(request.name).suffix in (".jsonl", ".json")
    if not is_file and request.name != QUESTIONS and request.kb is None:
        return _measure_encoders(request, changes, on_progress)
    return _measure_base(request, changes, on_progress)


def generate(kb: Path, out: Path, wanted: int, on_progress: OnProgress) -> list[Question]:
    """Write questions about a knowledge base to a file until it holds as many as wanted; return the new ones.

    Raises:
        QueryError: the knowledge base does not exist, or the file holds something else.
        LLMError: the language model failed.
    """
    from rag.answering.query_engine import load_picture
    from rag.evaluation.question_writer import QuestionWriter, write_questions
    from rag.llm import create_language_model

    with _open(kb, {}) as base:
        llm = create_language_model(base.settings)
        made: list[Question] = []
        on_progress("writing questions", 0, wanted)
        before = len(read_questions(out)) if out.exists() and out.stat().st_size else 0
        writer = QuestionWriter(llm, base.search, load_picture)
        for question in write_questions(base.contents.segments(), writer, out, wanted):
            made.append(question)
            on_progress(question.question, before + len(made), wanted)
    return made


def changed_settings(text: str) -> dict[str, Any]:
    """Parse settings such as ``EXHIBIT_ENCODER=x,text_encoder=y``; a name alone is an image-text encoder.

    Raises:
        SettingsError: a part has no value, or its setting is unknown.
    """
    changes: dict[str, Any] = {}
    for part in text.split(","):
        key, sign, value = part.strip().partition("=")
        name = key.strip().lower().removeprefix("exhibit_") if sign else "encoder"
        changes[name] = value.strip() if sign else key
        if name not in Settings.model_fields or not changes[name]:
            raise SettingsError(f"`{part.strip()}` is not a setting. Write NAME=VALUE, or the name of an encoder.")
    return changes


def _measure_encoders(request: EvalRequest, changes: Mapping[str, Any] | None, on_progress: OnProgress) -> Evaluation:
    from rag.evaluation.cached_vectors import load_encoders
    from rag.evaluation.encoder_trials import evaluate

    settings = Settings()
    chosen = datasets.load(request.name, settings, limit=request.limit)
    spaces = frozenset(direction.space for direction in chosen.directions)
    runs = {"": load_encoders(settings, spaces)}
    if changes is not None:
        runs = {"A": runs[""], "B": load_encoders(Settings(**changes), spaces)}
    return evaluate(chosen, runs, request.options, cache=settings.home / "evaluation", on_progress=on_progress)


def _measure_base(request: EvalRequest, changes: Mapping[str, Any] | None, on_progress: OnProgress) -> Evaluation:
    from rag.evaluation.question_trials import RERANKED, run_trials

    kb = _needed_base(request)
    started = time.monotonic()
    questions = datasets.sample_evenly(_load_questions(request.name), request.limit)
    made: list[Trial] = []
    declined: list[ScoreRow] = []
    channels: list[ChannelDistributions] = []
    for run, changed in ({"": {}} if changes is None else {"A": {}, "B": changes}).items():
        with _open(kb, changed) as base:
            found, rows, channels = run_trials(base, questions, run, request.options, on_progress)
        made, declined = [*made, *found], [*declined, *rows]
    result = assemble(request.name, f"{len(questions)} questions to {kb}", made, request.options)
    return replace(
        result,
        rows=(*result.rows, *declined),
        channels=tuple(channels),
        differences=(*_gains_by_reranking(made, request.options, RERANKED), *result.differences),
        configuration={"": "the settings"} if changes is None else {"A": "the settings", "B": str(request.against)},
        notes=tuple(_notes(questions)),
        seconds=time.monotonic() - started,
    )


def _measure_answers(request: EvalRequest, options: AnswerOptions, on_progress: OnProgress) -> Evaluation:
    """Ask what the file of the run does not answer yet, and grade all answers."""
    from rag.evaluation import answer_results
    from rag.evaluation.answer_runs import AnswerRun, RunHeader, read_judgements, read_run
    from rag.evaluation.answer_trials import ask_all

    started = time.monotonic()
    questions = _chosen_questions(request, options.half)
    judgements = read_judgements(options.judged) if options.judged else {}
    earlier = read_run(options.against) if options.against else None
    now = RunHeader.of(Settings())
    run = AnswerRun(now, options.resume)
    is_complete = all(question.question in run.records for question in questions)
    if not is_complete:
        with _open(_needed_base(request), {}) as base:
            ask_all(base, questions, run, on_progress)
    result = answer_results.evaluate_run(request.name, questions, run, judgements, earlier, seed=request.options.seed)
    notes = [*result.notes, *_notes(questions)]
    if not is_complete and run.header.code != now.code:
        notes.append(f"Some answers of {options.resume} were made by an earlier state of the code.")
    return replace(result, notes=tuple(notes), seconds=time.monotonic() - started)


def _measure_checks(request: EvalRequest, options: AnswerOptions, on_progress: OnProgress) -> Evaluation:
    """Alter the right answers of a run and sentences of a knowledge base, and count what the checks catch."""
    from rag.evaluation.answer_runs import read_run
    from rag.evaluation.corrupted_answers import measure_checks
    from rag.evaluation.graded_answers import graded

    started = time.monotonic()
    questions = _chosen_questions(replace(request, limit=None), options.half)
    answers = graded(questions, read_run(options.resume)) if options.resume else []
    with _open(_needed_base(request), {}) as base:
        result = measure_checks(base, answers, request.limit, request.options.seed, on_progress)
    return replace(result, name=request.name, seconds=time.monotonic() - started)


def _chosen_questions(request: EvalRequest, part: str) -> Sequence[Question]:
    questions: Sequence[Question] = _load_questions(request.name)
    questions = half(questions, part) if part else questions
    if not questions:
        raise QueryError(f"No question of `{request.name}` is in the half `{part}`.")
    return datasets.sample_evenly(questions, request.limit)


def _needed_base(request: EvalRequest) -> Path:
    if request.kb is None:
        raise QueryError(f"The questions of `{request.name}` need a knowledge base. Name its folder with --kb.")
    return request.kb


def _gains_by_reranking(made: Sequence[Trial], options: EvalOptions, suffix: str) -> Iterator[Difference]:
    """Yield the gains by reranking in one configuration."""
    plain = {trial.direction: trial for trial in made if trial.variant == PLAIN and trial.run == ""}
    for name, trial in plain.items():
        if f"{name}{suffix}" in plain:
            after = replace(plain[f"{name}{suffix}"], direction=f"{name}, by reranking")
            yield from differences(replace(trial, direction=after.direction), after, options.ks, options.seed)


def _load_questions(name: str) -> list[Question]:
    if name == QUESTIONS:
        return read_questions(SHIPPED)
    if name in _PREFIXES:
        return list(shipped_questions(_PREFIXES[name]))
    if name in {one.name for one in datasets.SETS}:
        settings = Settings()
        return datasets.to_questions(datasets.load(name, settings), datasets.data_folder(settings))
    return read_questions(Path(name))


def _notes(questions: Sequence[Question]) -> Iterator[str]:
    if unseen := sum(not question.reviewed for question in questions):
        yield f"{unseen} of {len(questions)} questions have not been reviewed by a person."
    if any(asset.startswith(datasets.FIGURES) for question in questions for asset in question.assets):
        yield datasets.FIGURES_NOTE


@contextmanager
def _open(kb: Path, changes: Mapping[str, Any]) -> Iterator[KnowledgeBase]:
    from rag.knowledge_base import KnowledgeBase

    if not kb.is_dir():
        raise QueryError(f"No knowledge base at {kb}. Make one with `exhibit ingest FOLDER --kb {kb}`.")
    with KnowledgeBase.open(kb, Settings(**changes)) as base:
        yield base
