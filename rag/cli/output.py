"""What the command prints: progress, tables and answers for people, JSON values for programs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape as markup_escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from rag.errors import MediaError
from rag.presentation import json_values
from rag.presentation.verdicts import doubts_about, left_open, narrowed
from rag.segments import place
from rag.text import excerpt, new_stems
from rag.types import Answer

if TYPE_CHECKING:
    from ingest.pipeline import Progress as IngestProgress
    from ingest.plan import Plan
    from rag.answering.open_question import QueryInput
    from rag.catalog.contents import Status
    from rag.cli.doctor import Check
    from rag.evaluation.labelled_questions import Question
    from rag.evaluation.metrics import Estimate
    from rag.evaluation.results import Evaluation
    from rag.knowledge_base import KnowledgeBase
    from rag.models import ModelState
    from rag.query.options import Modalities
    from rag.types import Hit, IngestReport, Where

_MARKS = {
    "indexed": "green",
    "unchanged": "dim",
    "empty": "yellow",
    "failed": "red",
    "removed": "yellow",
}
# All control characters but the line feed, and those that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
out = Console()
err = Console(stderr=True)


def clean(text: str) -> str:
    """Return text from a file, a model or a path without markup and without control codes for terminals."""
    return markup_escape(_CONTROL.sub(" ", text))


def _write(line: str, *, end: str = "\n") -> None:
    """Print a line of markup as it is: numbers and paths without colours, long lines without breaks."""
    out.print(line, end=end, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(first: str = "Getting ready", *, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar on standard error; the yielded function takes a label, the number done and the total."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal, transient=True) as bar:
        task = bar.add_task(first, total=None)
        yield lambda label, done, total: bar.update(task, description=clean(label[:60]), completed=done, total=total)


def run_ingest(base: KnowledgeBase, paths: Sequence[Path], *, quiet: bool) -> IngestReport:
    """Run `ingest` with a progress bar on standard error."""
    with progress_bar("Scanning the files", quiet=quiet) as update:

        def show(progress: IngestProgress) -> None:
            segments = f" · {progress.segments} segments" if progress.segments else ""
            update(Path(progress.path).name[-40:] + segments, progress.done, progress.total)

        return base.ingest(paths, on_progress=show)


def print_answer(
    base: KnowledgeBase,
    query: QueryInput,
    *,
    modality: Modalities = None,
    where: Where | None = None,
    quiet: bool = False,
) -> Answer:
    """Ask a question; print the answer while it is written and then its evidence, unless `quiet`."""
    if quiet:
        return base.ask(query, modality=modality, where=where)
    written = ""
    for chunk in base.ask_stream(query, modality=modality, where=where):
        if answer := chunk.answer:
            if answer.text != written.strip():  # statements without evidence were rewritten or dropped
                _write(f"\n[dim]Checked:[/dim] {clean(answer.text)}", end="")
            out.print("\n")
            print_evidence(answer)
            return answer
        written += chunk.text
        _write(clean(chunk.text), end="")
    raise AssertionError("a stream ends with its answer")


def print_evidence(answer: Answer) -> None:
    """Print the evidence of an answer: what it cites, or the nearest misses of a declined question.

    Statements that the evidence does not support, or that nothing could check, stand below it with the reason.
    """
    if answer.open_parts:
        _write(f"[yellow]{clean(left_open(answer))}[/yellow]")
    if answer.declined and answer.evidence:
        out.print("[dim]Nearest, but not answering it:[/dim]")
    for evidence in answer.evidence if answer.declined else answer.cited:
        statements = (answer.text[c.start : c.end] for c in answer.citations if c.number == evidence.number)
        about = answer.question if answer.declined else " ".join(new_stems(" ".join(statements), answer.question))
        quote = narrowed(answer, evidence.number).quote
        _write(f"  [bold cyan]E{evidence.number}[/bold cyan] {clean(_name(evidence.hit))}")
        _write(f"     [dim]{clean(_glimpse(evidence.hit, quote or about))}[/dim]")
        for doubt in doubts_about(answer, evidence.number):
            _write(f"     [yellow]{doubt.sign} {clean(doubt.words)}[/yellow]")
    for warning in answer.warnings:
        err.print(f"[yellow]{clean(warning)}[/yellow]", highlight=False, soft_wrap=True)


def print_hits(found: Sequence[Hit], question: str, *, noise_floor: float = 0.0, explain: bool = False) -> None:
    """Print hits, best first, with a remark if even the first one is not above the noise floor."""
    if not found:
        out.print("Nothing found.")
    elif found[0].score <= noise_floor:
        out.print("[yellow]Nothing matches well; these are the nearest.[/yellow]")
    for number, hit in enumerate(found, 1):
        judged = "" if hit.relevance is None else f" · relevance {hit.relevance:+.1f}"
        _write(
            f"[bold]{number:>2}[/bold] [cyan]{hit.segment.modality:<5}[/cyan] {clean(_name(hit))}"
            f" [dim]{hit.score:.3f} ({hit.why.places}){judged}[/dim]"
        )
        _write(f"   [dim]{clean(_glimpse(hit, question))}[/dim]")
        for line in str(hit.why).splitlines() if explain else ():
            _write(f"     {clean(line)}")


def print_report(result: IngestReport, folder: Path | None = None) -> None:
    """Print an ingest report: a line for each changed or failed file, relative to `folder`, and a summary."""
    for file in sorted(result, key=lambda file: file.path):
        if file.state != "unchanged":
            color = _MARKS[file.state]
            detail = clean(file.reason or file.summary)
            _write(f"[{color}]{file.state:>9}[/{color}] {clean(_short(file.path, folder))} [dim]{detail}[/dim]")
    _write(result.summary)


def print_plan(planned: Plan) -> None:
    """Print the plan of an ingest run."""
    table = Table(
        "to do", "segments", "model calls", "seconds", Column("file", overflow="fold"), box=None, header_style="bold"
    )
    for file in planned.files:
        row = (
            file.action,
            f"~{file.segments}",
            f"~{file.model_calls}",
            f"~{file.seconds:.0f}",
            f"{_short(file.path)} ({file.reason or file.media_type})",
        )
        table.add_row(*(clean(cell) for cell in row))
    out.print(table)
    out.print(
        f"{len(planned.files)} files · about {planned.segments} segments, {planned.model_calls} model calls, "
        f"{planned.seconds:.0f} s on this machine",
        highlight=False,
    )


def print_status(state: Status) -> None:
    """Print what a knowledge base holds."""
    _write(f"[bold]{clean(state.path)}[/bold] · {state.disk_bytes / 1e6:.1f} MB")
    _write("assets    " + ", ".join(f"{n} {name}" for name, n in state.assets.items()))
    _write("segments  " + ", ".join(f"{n} {name}" for name, n in state.segments.items()))
    _write("encoders  " + ", ".join(f"{role}: {name}" for role, name in state.encoders.items()))
    for file in state.failed:
        _write(f"[red]failed[/red] {clean(_short(file.path))} [dim]{clean(file.reason)}[/dim]")


def print_models(states: Sequence[ModelState]) -> None:
    """Print the bundled models and the state of each."""
    table = Table("model", "role", "size", "licence", "state", "where", box=None, header_style="bold")
    for model in states:
        row = (model.name, model.role, f"{model.bytes / 1e6:,.0f} MB", model.licence, model.state, str(model.source))
        table.add_row(*(clean(cell) for cell in row))
    out.print(table)


def make_ready(name: str, home: Path) -> None:
    """Prepare the files of a bundled model, with a progress bar if that takes time."""
    from rag.models import ensure

    columns = (TextColumn(f"Preparing {clean(name)}"), BarColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task(name, visible=False)
        ensure(name, home, progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True))


def print_checks(found: Sequence[Check]) -> None:
    """Print the checks of `exhibit doctor`."""
    colors = {"good": "green", "weak": "yellow", "bad": "red"}
    for check in found:
        color = colors[check.state]
        _write(f"[{color}]{check.state:>4}[/{color}]  {clean(check.name)}: {clean(check.detail)}")


def print_sets(known: Sequence[Mapping[str, str]]) -> None:
    """Print the evaluation sets."""
    table = Table("set", "state", "what it is", box=None, header_style="bold")
    for one in known:
        table.add_row(one["name"], one["state"], clean(one["about"]))
    out.print(table)


def print_questions(made: Sequence[Question]) -> None:
    """Print newly written questions."""
    for one in made:
        state = (
            "[green]answer[/green] " + clean("; ".join(one.answer)) if one.answerable else "[yellow]no answer[/yellow]"
        )
        _write(f"{clean(one.question)} {state} [dim]{clean(one.about)}[/dim]")
    out.print(f'{len(made)} questions written. Review and correct them, then set "reviewed" to true.', highlight=False)


def print_evaluation(result: Evaluation) -> None:
    """Print an evaluation: percentages with 95 % intervals, and differences with their p-values."""
    from rag.evaluation.report_page import columns, label, tables
    from rag.evaluation.results import DECLINED

    for names, rows in tables(result):
        table = Table(Column("", no_wrap=True), "n", *names, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            part = " · ".join(filter(None, (row.variant, row.slice)))
            name = " ".join(word for word in (" ", row.run, part) if word) if part else label(row)
            table.add_row(clean(name), str(row.queries), *(_estimate(row.metrics[metric]) for metric in names))
        out.print(table)
    _print_risks(result)
    for row in result.rows:
        if row.is_declined_share:
            out.print(f"{clean(label(row))}: {_estimate(row.metrics[DECLINED])} % of {row.queries}", highlight=False)
    if result.gaps:
        names = columns(result)
        table = Table("against the rest", "n", *names, box=None, header_style="bold", pad_edge=False)
        for row in result.gaps:
            table.add_row(clean(label(row)), str(row.queries), *(_points(row.metrics[metric]) for metric in names))
        out.print(table)
    if result.differences:
        table = Table(
            Column("", no_wrap=True), "metric", "first", "second", "difference", "p", box=None, header_style="bold"
        )
        for one in result.differences:
            first, second = (f"{100 * value:.1f}" for value in (one.a, one.b))
            table.add_row(clean(label(one)), one.metric, first, second, _points(one.gain), f"{one.p_value:.4f}")
        out.print(table)
    made_with = ", ".join(f"{name}: {value}".removeprefix(": ") for name, value in result.configuration.items())
    notes = "".join(f" {note}" for note in result.notes)
    _write(f"[dim]{clean(made_with)} · {result.seconds:.0f} s.{clean(notes)}[/dim]")


def _print_risks(result: Evaluation) -> None:
    """Print what confidence is worth and what answers cost."""
    if result.answers is None:
        return
    table = Table("risk by confidence", "n", "answered", "wrong", "AURC", "at most 5 % wrong", box=None, pad_edge=False)
    for curve in result.answers.curves:
        last = f"{100 * curve.coverage[-1]:.1f}", f"{100 * curve.risk[-1]:.1f}"
        most = f"{100 * curve.coverage_within(0.05):.1f} answered"
        table.add_row(clean(curve.name), str(curve.asked), *last, _estimate(curve.area), most)
    out.print(table)
    table = Table("cost", "n", "mean", "median", "95 %", box=None, header_style="bold", pad_edge=False)
    for cost in result.answers.costs:
        table.add_row(cost.name, str(cost.queries), *(f"{one:,.1f}" for one in (cost.mean, cost.median, cost.p95)))
    out.print(table)


def _points(value: Estimate) -> str:
    return f"{100 * value.mean:+.1f} [dim]{100 * value.low:+.1f} to {100 * value.high:+.1f}[/dim]"


def _estimate(value: Estimate) -> str:
    return f"{100 * value.mean:.1f} [dim]{100 * value.low:.0f}–{100 * value.high:.0f}[/dim]"


def hit_json(base: KnowledgeBase, hit: Hit) -> dict[str, Any]:
    """Return a hit for programs on this machine, with the paths of its file and of its thumbnail, if it has one."""
    return {**json_values.hit_json(hit), "path": hit.path, "thumbnail": _thumbnail(base, hit)}


def _thumbnail(base: KnowledgeBase, hit: Hit) -> str | None:
    """Return the path of its thumbnail; None also if its file has gone, so that the rest of the hit is still shown."""
    try:
        path = base.media.thumbnail(hit)
    except MediaError:
        return None
    return None if path is None else str(path)


def answer_json(base: KnowledgeBase, answer: Answer) -> dict[str, Any]:
    """Return an answer for programs: text, citations and the evidence they name."""
    exhibit_rows = [{"number": e.number, **hit_json(base, e.hit)} for e in answer.evidence]
    return {
        **json_values.jsonable(dataclasses.replace(answer, evidence=())),
        "renderer": None,  # has always been there, and null
        "evidence": exhibit_rows,
    }


def _short(path: str, folder: Path | None = None) -> str:
    """Return the path relative to a folder, by default the current one, if it lies below."""
    folder = folder or Path.cwd()
    return str(Path(path).relative_to(folder)) if Path(path).is_relative_to(folder) else path


def _name(hit: Hit) -> str:
    """Return file, place and heading."""
    heading = hit.segment.meta.get("heading", "")
    parts = (Path(hit.path).name or hit.segment.title, place(hit.segment), f"“{heading}”" if heading else "")
    return ", ".join(part for part in parts if part)


def _glimpse(hit: Hit, about: str, width: int = 160) -> str:
    """Return the sentences of a hit that fit `about` best, or else its tags."""
    segment = hit.segment
    words = " ".join(segment.searchable_text.split())
    shown = excerpt(segment.searchable_text, about, len, width)
    if not shown:
        return ", ".join(segment.tags) or "(no words)"
    return f"{'' if words.startswith(shown) else '… '}{shown}{'' if words.endswith(shown) else ' …'}"
