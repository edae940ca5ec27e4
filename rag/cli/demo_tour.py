"""`exhibit demo`: ingest the small collection of `rag.demo`, and ask its questions."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.markup import escape

from rag.cli import output
from rag.demo import COLLECTION, questions
from rag.knowledge_base import KnowledgeBase
from rag.presentation.report import page as answers_page
from rag.types import Answer


def run(to: Path, *, as_json: bool = False) -> None:
    """Index the collection, ask its questions, and write one page that shows the evidence.

    Args:
        to: folder for the knowledge base and `answers.html`.
        as_json: print JSON instead of text.
    """
    from rag.config import Settings
    from rag.llm.llama_cpp import NAME

    settings = Settings()
    for name in ("whisper-base", NAME):
        output.make_ready(name, settings.home)
    started = time.monotonic()
    with KnowledgeBase.open(to / "knowledge-base") as base, ThreadPoolExecutor(1) as executor:
        loading = executor.submit(base.load)
        report = output.run_ingest(base, [COLLECTION], quiet=as_json)
        if not as_json:
            output.print_report(report, COLLECTION)
        loading.result()
        answers = [_ask(base, question["question"], quiet=as_json) for question in questions()]
        page = to / "answers.html"
        page.write_text(answers_page(answers, title="Exhibit: the demo"), encoding="utf-8")
    seconds = time.monotonic() - started
    if as_json:
        rows = [output.answer_json(base, answer) for answer in answers]
        print(json.dumps({"seconds": seconds, "page": str(page), "answers": rows}, ensure_ascii=False, indent=2))
    else:
        output.out.print(f"\n{len(answers)} questions, {seconds:.0f} s in all. The evidence: {escape(str(page))}")


def _ask(base: KnowledgeBase, question: str, *, quiet: bool) -> Answer:
    if not quiet:
        output.out.print(f"\n[bold]{escape(question)}[/bold]", highlight=False)
    return output.print_answer(base, question, quiet=quiet)
