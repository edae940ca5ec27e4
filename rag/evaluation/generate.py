"""Questions written by a language model from what a knowledge base holds, for a person to review.

Each answerable question is made from one segment, the media by turns, and is kept only where its answer's words stand
in that segment and the model, asked on its own, agrees that the segment answers it. That of every fifth segment has no
answer: it is on the segment's subject, and kept only where the model finds no answer in what a search for it finds.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.evaluation.questions import Question, read_questions
from rag.exhibits import described, stems
from rag.prompts import load
from rag.segments import to_fragment
from rag.types import MODALITIES, Hit

if TYPE_CHECKING:
    from rag.llms import Llm

UNANSWERABLE_EVERY = 5
_SHOWN_TOKENS = 220
_REPLY_TOKENS = 120
_YES_TOKENS = 4
_LEAST_WORDS = {"passage": 25, "speech": 10}  # of other kinds a caption, a tag or a word in the picture will do
_MOST_ANSWER_WORDS = 12  # the prompt asks for eight
_LEAST_SHARED = 0.6  # of the words of the answer that stand in the exhibit
_SEARCHED = 3  # hits in which the answer of an unanswerable question is looked for
_WORD = re.compile(r"\w+")
# A question for a search engine cannot point at what is not on the table.
_POINTING = re.compile(
    r"\b(this|the) (exhibit|passage|text|excerpt|paragraph|document|author|speaker|speech|picture|photo|image|video)\b"
    r"|\b(according to|mentioned|described) ",
    re.I,
)
_REPLY: dict[str, Any] = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
    "additionalProperties": False,
}

Search = Callable[[str], Sequence[Hit]]


def generate(
    hits: Iterable[Hit], search: Search, llm: Llm, out: Path, wanted: int, *, seed: int = 0
) -> Iterator[Question]:
    """Write questions to a JSON Lines file until it holds as many as wanted, each as soon as it is made.

    Questions that the file holds already are kept and count; segments that they were made from are not used again.

    Args:
        hits: all segments to ask about, with their files.
        search: what the knowledge base finds for words.
        llm: the language model.
        out: the file.
        wanted: number of questions, about a fifth of them unanswerable.
        seed: of the order in which segments are used.

    Yields:
        Each new question; fewer than wanted where the segments run out.

    Raises:
        QueryError: the file holds something else.
        LLMError: the language model failed; what is written stays, and the next run goes on from there.
    """
    kept = read_questions(out) if out.exists() and out.stat().st_size else []
    used, asked = {question.about for question in kept}, {_plain(question.question) for question in kept}
    number = len(kept)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        for turn, hit in enumerate(by_turns(hits, seed), 1):
            if number >= wanted:
                return
            if about(hit) in used:
                continue
            made = _answerable(hit, llm) if turn % UNANSWERABLE_EVERY else _unanswerable(hit, search, llm)
            if made is None or _plain(made.question) in asked:
                continue
            file.write(json.dumps(asdict(made), ensure_ascii=False) + "\n")
            file.flush()
            asked.add(_plain(made.question))
            number += 1
            yield made


def by_turns(hits: Iterable[Hit], seed: int = 0) -> Iterator[Hit]:
    """Segments with something to ask about, one of each medium by turns, in an order that the seed gives."""
    media: defaultdict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        if _tells(hit):
            media[hit.segment.modality].append(hit)
    for held in media.values():
        held.sort(key=about)
        random.Random(seed).shuffle(held)
    for turn in zip_longest(*(media[modality] for modality in MODALITIES)):
        yield from (hit for hit in turn if hit is not None)


def about(hit: Hit) -> str:
    """The file and place of a hit, as written into a question."""
    return f"{hit.path}#{to_fragment(hit.segment.locator)}"


def _tells(hit: Hit) -> bool:
    words = _WORD.findall(hit.segment.searchable_text)
    least = _LEAST_WORDS.get(hit.segment.kind)
    return bool(words or hit.segment.tags) if least is None else len(words) >= least


def _answerable(hit: Hit, llm: Llm) -> Question | None:
    """A question that the hit answers; None where the model wrote none that holds."""
    shown = described(hit, "", llm.count_tokens, _SHOWN_TOKENS)
    written = _written("question", shown, llm)
    if written is None:
        return None
    question, answer = written
    told = stems(answer)
    if len(answer.split()) > _MOST_ANSWER_WORDS:
        return None
    if not told or len(told & stems(shown)) < _LEAST_SHARED * len(told) or not _answers(hit, question, llm):
        return None
    return Question(
        question=question,
        assets=(hit.path,),
        locators=(f"#{to_fragment(hit.segment.locator)}",),
        modality=hit.segment.modality,
        answer=(answer,),
        reviewed=False,
        about=about(hit),
    )


def _unanswerable(hit: Hit, search: Search, llm: Llm) -> Question | None:
    """A question on the hit's subject that neither it nor what is found for the question answers."""
    written = _written("question_unanswerable", described(hit, "", llm.count_tokens, _SHOWN_TOKENS), llm)
    if written is None:
        return None
    question, _ = written
    if any(_answers(one, question, llm) for one in (hit, *search(question)[:_SEARCHED])):
        return None
    return Question(question, modality=hit.segment.modality, answerable=False, reviewed=False, about=about(hit))


def _written(prompt: str, shown: str, llm: Llm) -> tuple[str, str] | None:
    """Question and answer; None where the reply is none, or points at an exhibit that its reader will not see."""
    messages = load(prompt).messages({"exhibit": shown})
    reply = llm.complete(messages, max_tokens=_REPLY_TOKENS, schema=_REPLY).text
    try:
        said = json.loads(reply)
        question, answer = (" ".join(str(said[key]).split()) for key in ("question", "answer"))
    except (ValueError, KeyError, TypeError):  # cut off, or no JSON from a model that is not held to it
        return None
    if not question.endswith("?") or _POINTING.search(question):
        return None
    return question, answer


def _answers(hit: Hit, question: str, llm: Llm) -> bool:
    """Whether the model, asked as when it reranks, thinks that the hit answers."""
    shown = described(hit, question, llm.count_tokens, _SHOWN_TOKENS)
    messages = load("rerank").messages({"question": question, "exhibit": shown})
    if (logit := llm.yes_no(messages)) is not None:
        return logit > 0
    return llm.complete(messages, max_tokens=_YES_TOKENS).text.strip().lower().startswith("yes")


def _plain(question: str) -> str:
    return " ".join(_WORD.findall(question.lower()))
