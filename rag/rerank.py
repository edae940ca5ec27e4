"""The language model judges the best candidates: does this exhibit state the answer?

Pointwise, by the logit of Yes minus No, where the model gives log probabilities: the question comes first, so that the
prompt's beginning is computed once (monoT5, Nogueira et al. 2020). Listwise, by a JSON permutation, where it does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rag.errors import LLMError
from rag.prompts import load
from rag.segments import place
from rag.types import Hit, Segment

if TYPE_CHECKING:
    from PIL.Image import Image

    from rag.llms import Llm

Picture = Callable[[Hit], "Image | None"]
_WORDS = 180  # of a candidate: about 240 tokens, a third of a second on 2 cores
_ASKED = {
    "passage": "Does the passage state the answer?",
    "speech": "Does the speech state the answer?",
    "sound": "Is this the recording asked for?",
    "picture": "Is this the picture asked for?",
    "figure": "Is this the picture asked for?",
    "frame": "Is this the picture asked for?",
}


@dataclass(frozen=True, slots=True)
class Reranked:
    """A permutation of the hits that were given, and what went wrong on the way."""

    hits: tuple[Hit, ...]
    warnings: tuple[str, ...] = ()


def rerank(question: str, hits: Sequence[Hit], llm: Llm, *, top_n: int, picture: Picture | None = None) -> Reranked:
    """Order the first `top_n` hits by the model's judgement; the others follow as they were.

    No hit is ever lost. Where the model fails, the order stays and a warning says so.
    """
    head, tail = list(hits[:top_n]), list(hits[top_n:])
    if not head or not question.strip():
        return Reranked(tuple(hits))
    try:
        judged = _pointwise(question, head, llm, picture) if llm.gives_logprobs else _listwise(question, head, llm)
    except LLMError as error:
        return Reranked(tuple(hits), (f"The reranker failed, so the order is that of the search: {error}",))
    return Reranked((*judged, *tail))


def describe(segment: Segment, words: int = _WORDS) -> str:
    """An exhibit in words, as a model that does not see is shown it."""
    where = ", ".join(part for part in (segment.title, place(segment)) if part)
    if segment.kind in ("picture", "figure", "frame"):
        parts = [f"A {segment.kind}, {where}.", segment.caption and f"Caption: {segment.caption}"]
        parts += [segment.tags and f"Looks like: {', '.join(segment.tags)}.", segment.text and f"It reads: {segment.text}"]
    else:
        parts = [f"{segment.kind.capitalize()}, {where}:", segment.caption, segment.text]
    return " ".join(" ".join(str(part) for part in parts if part).split()[:words])


def _pointwise(question: str, hits: list[Hit], llm: Llm, picture: Picture | None) -> list[Hit]:
    examples = load("rerank").render()
    judged = []
    for hit in hits:
        words = f"Question: {question}\nExhibit: {describe(hit.segment)}\n{_ASKED[hit.segment.kind]}"
        messages: list[dict[str, Any]] = [{"role": "system", "content": examples}, {"role": "user", "content": words}]
        judged.append(replace(hit, relevance=llm.yes_no(messages)))
    return sorted(judged, key=lambda hit: -(hit.relevance or 0.0))


def _listwise(question: str, hits: list[Hit], llm: Llm) -> list[Hit]:
    shown = "\n".join(f"{n}. {describe(hit.segment)}" for n, hit in enumerate(hits, 1))
    schema = {"type": "object", "properties": {"order": {"type": "array", "items": {"type": "integer"}}}}
    prompt = load("rerank_list", "question", "shown").render(question=question, shown=shown)
    answered = llm.complete([{"role": "user", "content": prompt}], max_tokens=200, schema=schema).text
    try:
        order = [int(number) - 1 for number in json.loads(answered)["order"]]
    except (ValueError, KeyError, TypeError):
        order = []
    kept = list(dict.fromkeys(number for number in order if 0 <= number < len(hits)))
    return [hits[n] for n in [*kept, *(n for n in range(len(hits)) if n not in kept)]]
