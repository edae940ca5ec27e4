"""Measure the main job: ingest the media of `EXHIBIT_DATA`, find the right asset, answer, cite, decline.

Run it as ``python -m tests.measure.run --data FOLDER --out report.json``. The knowledge base stays, so a second run
only asks. The report is written after every question, and ``--resume`` continues it. The seconds hold for the machine
that the report names, with nothing else running on it.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
import os
import platform
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from rag import KnowledgeBase
from rag.evaluation.answer_metrics import percentile, step_seconds
from rag.evaluation.datasets import sample_evenly, trained_on
from rag.evaluation.labelled_questions import SHIPPED, Question, read_questions
from rag.evaluation.metrics import hit
from rag.types import MODALITIES, Answer, FileResult, Hit
from tests.measure.metrics import Outcome, Record, outcome

# Without `anthropology/figures.json`, which repeats the captions of the book. Some questions name recordings elsewhere.
COLLECTION = ("anthropology/modules", "anthropology/media", "mdn_media", "speech", "documents")
_DEPTH = 20  # hits of a search; several may be of one asset
_STAGES = ("retrieve", "rerank", "answer", "total")


@dataclass
class Report:
    """All measurements; saved after every question, so that an interrupted run loses nothing.

    Attributes:
        trained: names of the pictures that the encoder `lite` was trained on; read from the data, not stored.
    """

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    ingest_wall_s: float = 0.0
    records: dict[str, Record] = field(default_factory=dict)
    trained: frozenset[str] = frozenset()

    @classmethod
    def load(cls, path: Path) -> Report:
        """Return the report in a file, or an empty one if there is none."""
        if not path.exists():
            return cls()
        stored = json.loads(path.read_text(encoding="utf-8"))
        records = {key: Record.from_json(value) for key, value in stored["records"].items()}
        return cls(stored["files"], stored["ingest_wall_s"], records)

    def save(self, path: Path, questions: Sequence[Question]) -> None:
        """Write the report, with a summary."""
        stored = {
            "machine": machine(),
            "peak_memory_mb": peak_memory_mb(),
            "ingest_wall_s": self.ingest_wall_s,
            "summary": [[title, header, rows] for title, header, rows in tables(self, questions)],
            "records": {key: record.to_json() for key, record in self.records.items()},
            "files": self.files,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(stored, ensure_ascii=False, indent=1), encoding="utf-8")


Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
Asked = tuple[Question, Record]


def main() -> None:
    """Ingest, ask, and print the tables."""
    options = _options()
    if not (options.data / COLLECTION[0]).is_dir():
        sys.exit(f"{options.data} does not hold the data; name its folder with --data or EXHIBIT_DATA.")
    questions = sample_evenly(read_questions(SHIPPED), options.limit)
    report = Report.load(options.out)
    report.trained = trained_on(options.data)
    if not options.resume:
        report.records = {}
    with KnowledgeBase.open(options.kb) as base:
        _ingest(base, [options.data / part for part in (*COLLECTION, *_other_assets())], options.data, report)
        report.save(options.out, questions)
        _ask_all(base, questions, report, options)
    report.save(options.out, questions)
    for table in tables(report, questions):
        _print(*table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("EXHIBIT_DATA")  # a default in text is converted like an argument
    parser.add_argument("--data", type=_absolute, default=data, required=not data, help="folder of the media")
    parser.add_argument(
        "--kb", type=_absolute, default=_absolute("build/measure/kb"), help="folder of the knowledge base"
    )
    parser.add_argument("--out", type=_absolute, default=_absolute("build/measure/report.json"), help="report to write")
    parser.add_argument("--limit", type=int, help="ask only N questions, of all kinds")
    parser.add_argument("--resume", action="store_true", help="keep the answers that the report holds already")
    return parser.parse_args()


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(path))


def _other_assets() -> list[str]:
    """Return the assets of all questions that lie outside the collection's folders."""
    named = {asset for question in read_questions(SHIPPED) for asset in question.assets}
    return sorted(asset for asset in named if not asset.startswith(COLLECTION))


def _ingest(base: KnowledgeBase, sources: Iterable[Path], data: Path, report: Report) -> None:
    started, states = time.monotonic(), set()
    for result in base.ingest_each(list(sources)):
        states.add(result.state)
        name = os.path.relpath(result.path, data)
        if result.state != "unchanged" or name not in report.files:
            report.files[name] = asdict(result) | {"path": name} | amount(Path(result.path), result)
            print(f"{result.state:10} {result.seconds:7.1f} s {result.segments:5}  {name}  {result.reason}", flush=True)
    if "indexed" in states:  # a continued run adds its time
        before = report.ingest_wall_s if "unchanged" in states else 0.0
        report.ingest_wall_s = before + time.monotonic() - started


def _ask_all(base: KnowledgeBase, questions: Sequence[Question], report: Report, options: argparse.Namespace) -> None:
    """Search for all questions before asking any: the prompt of one reranked just before would be in a cache."""
    waiting = [question for question in questions if question.question not in report.records]
    if waiting:
        base.ask("What is this collection about?")  # loads the models
    rankings = {}
    for question in waiting:
        found = [base.search(question.question, top_k=_DEPTH, rerank=rerank) for rerank in (False, True)]
        before, after = (_assets(hits, options.data) for hits in found)
        rankings[question.question] = before, after
        print(f"search {_first(before, question):>3} {_first(after, question):>3}  {question.question}", flush=True)
    for question in waiting:
        answer = base.ask(question.question)
        record = _record(answer, *rankings[question.question], data=options.data)
        report.records[question.question] = record
        report.save(options.out, questions)
        print(f"{outcome(question, record):24} {record.seconds['total']:5.1f} s  {question.question}", flush=True)


def _record(answer: Answer, before: tuple[str, ...], after: tuple[str, ...], *, data: Path) -> Record:
    judged = [e.hit.relevance for e in answer.evidence if e.hit.relevance is not None]
    return Record(
        question=answer.question,
        before=before,
        after=after,
        text=answer.text,
        cited=_assets([e.hit for e in answer.cited], data),
        shown=_assets([e.hit for e in answer.evidence], data),
        declined=answer.declined,
        relevance=max(judged, default=None),
        seconds=step_seconds((step.name, step.seconds) for step in answer.trace),
        warnings=answer.warnings,
    )


def _assets(hits: Iterable[Hit], data: Path) -> tuple[str, ...]:
    """Return the files of hits, each once."""
    names = (os.path.relpath(hit.path, data) if hit.path else hit.segment.asset_id for hit in hits)
    return tuple(dict.fromkeys(names))


def _first(ranking: Sequence[str], question: Question) -> str:
    """Return the rank of the first expected asset, for people."""
    return next((str(rank) for rank, asset in enumerate(ranking, 1) if asset in question.assets), "-")


def amount(path: Path, result: FileResult) -> dict[str, Any]:
    """Return the unit of work of a file and the amount: pages, pictures or minutes."""
    if result.state not in ("indexed", "empty"):
        return {"unit": "", "amount": 0.0}
    kind = (mimetypes.guess_type(path.name)[0] or "text/xml").split("/")
    if kind == ["application", "pdf"]:
        from pypdfium2 import PdfDocument

        return {"unit": "PDF page", "amount": float(len(PdfDocument(path)))}
    if kind[0] in ("audio", "video"):
        return {"unit": f"{kind[0]} minute", "amount": _minutes(path)}
    return {"unit": "image" if kind[0] == "image" else "other document", "amount": 1.0}


def _minutes(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return float(container.duration or 0) / av.time_base / 60


def tables(report: Report, questions: Sequence[Question]) -> list[Table]:
    """Return the report as tables: title, header, rows."""
    asked = [(q, report.records[q.question]) for q in questions if q.question in report.records]
    made = [_files_table(report), _rates_table(report), _machine_table()]
    if asked:
        made += [_hits_table(asked, report.trained), _outcomes_table(asked), _seconds_table(asked)]
    return made


def _files_table(report: Report) -> Table:
    states = Counter(held["state"] for held in report.files.values())
    segments = sum(held["segments"] for held in report.files.values())
    rows = [[state, str(count)] for state, count in states.items()]
    rows += [["segments", str(segments)], ["ingest, wall", f"{report.ingest_wall_s:.0f} s"]]
    return "Files", ("state", "n"), rows


def _rates_table(report: Report) -> Table:
    units = sorted({held["unit"] for held in report.files.values()} - {""})
    rows = []
    for unit in units:
        held = [file for file in report.files.values() if file["unit"] == unit and file["seconds"]]
        seconds, units_held = (sum(file[key] for file in held) for key in ("seconds", "amount"))
        if units_held:
            each = f"{seconds / units_held:.2f}"
            rows.append([unit, str(len(held)), f"{units_held:.1f}", f"{seconds:.1f}", each])
    return "Ingest", ("unit", "files", "units", "seconds", "seconds per unit"), rows


def _hits_table(asked: Sequence[Asked], trained: frozenset[str]) -> Table:
    answerable = [pair for pair in asked if pair[0].answerable]
    rows = []
    for name, chosen in [*_by_modality(answerable), *_by_training(answerable, trained)]:
        row = [name, str(len(chosen))]
        row += [f"{sum(hit(r.before, q.assets, k) for q, r in chosen):.0f}" for k in (1, 5)]
        row += [f"{sum(hit(r.after, q.assets, k) for q, r in chosen):.0f}" for k in (1, 5)]
        rows.append(row)
    header = ("modality", "n", "hits at 1", "hits at 5", "reranked: at 1", "reranked: at 5")
    return "The right asset is found", header, rows


def _outcomes_table(asked: Sequence[Asked]) -> Table:
    outcomes = get_args(Outcome)
    rows = []
    for name, chosen in _by_modality(asked):
        counts = Counter(outcome(q, r) for q, r in chosen)
        rows.append([name, str(len(chosen)), *(str(counts[key]) for key in outcomes)])
    return "Answers", ("modality", "n", *outcomes), rows


def _by_modality(asked: Sequence[Asked]) -> Iterable[tuple[str, Sequence[Asked]]]:
    for modality in MODALITIES:
        if chosen := [pair for pair in asked if pair[0].modality == modality]:
            yield modality, chosen
    yield "all", asked


def _by_training(asked: Sequence[Asked], trained: frozenset[str]) -> Iterable[tuple[str, Sequence[Asked]]]:
    """Split the questions to pictures by whether the encoder `lite` was trained on one of the right ones."""
    parts: dict[str, list[Asked]] = {}
    for question, record in asked:
        if question.modality == "image" and trained:
            known = trained.intersection(Path(asset).name for asset in question.assets)
            parts.setdefault("trained on" if known else "not trained on", []).append((question, record))
    return [(f"image, {name}", part) for name, part in sorted(parts.items())]


def _seconds_table(asked: Sequence[Asked]) -> Table:
    rows = []
    for stage in _STAGES:
        taken = [r.seconds[stage] for _, r in asked if stage in r.seconds]
        if taken:
            rows.append([stage, str(len(taken)), f"{percentile(taken, 50):.2f}", f"{percentile(taken, 95):.2f}"])
    return "Seconds of a question", ("stage", "n", "p50", "p95"), rows


def _machine_table() -> Table:
    rows = [[key, str(value)] for key, value in (machine() | peak_memory_mb()).items()]
    return "Machine", ("", ""), rows


def machine() -> dict[str, str]:
    """Describe this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 2**30:.0f} GB",
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def peak_memory_mb() -> dict[str, int]:
    """Return the peak memory of this process and of its largest child; Linux counts in kilobytes."""
    who = {"peak memory, MB": resource.RUSAGE_SELF, "peak memory of a reader, MB": resource.RUSAGE_CHILDREN}
    return {name: resource.getrusage(whose).ru_maxrss // 1024 for name, whose in who.items()}


def _print(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    table = RichTable(*header, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
