"""A language model writes questions about the contents of a knowledge base, for a person to review.

Each answerable question is made from one segment; the media take turns. It is kept only if the words of its answer
stand in that segment and the model, asked separately, agrees that the segment answers it. A model that sees gets the
pictures, and its answers about them need not stand in words. Every fifth segment gives a question without an answer:
on the segment's subject, and kept only if the model finds no answer in the segment or in the hits of a search for it.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.answering.evidence_text import LoadPicture, PromptPictures, add_pictures, describe, has_text
from rag.evaluation.labelled_questions import Question, read_questions
from rag.llm.prompts import load
from rag.segments import to_fragment
from rag.text import stems
from rag.types import MODALITIES, Hit

if TYPE_CHECKING:
    from rag.llm import LanguageModel

UNANSWERABLE_EVERY = 5
_SHOWN_TOKENS = 220
_REPLY_TOKENS = 120
_YES_TOKENS = 4
_LEAST_WORDS = {"passage": 25, "speech": 10}  # for other kinds a caption, a tag or one word in the picture is enough
_MOST_ANSWER_WORDS = 12  # the prompt asks for eight
_LEAST_SHARED = 0.6  # share of the words of the answer that stand in the segment
_SEARCHED = 3  # hits that must not answer an unanswerable question
_WORD = re.compile(r"\w+")
# A question for a search engine cannot refer to a text that its reader does not see.
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


@dataclass(frozen=True)
class QuestionWriter:
    """A language model that writes questions about hits.

    Attributes:
        llm: the language model.
        search: searches the knowledge base for words.
        picture: returns the pixels of a hit, for a model that sees; None to show no pictures.
    """

    llm: LanguageModel
    search: Search
    picture: LoadPicture | None = None

    @property
    def sees(self) -> bool:
        """Whether the model gets pictures."""
        return self.picture is not None and self.llm.sees_images

    def answerable(self, hit: Hit) -> Question | None:
        """Write a question that the hit answers; None if the model wrote none that passes the checks."""
        written = self._write("question", hit)
        if written is None:
            return None
        question, answer, by_looks = written
        claimed, shown = stems(answer), stems(describe(hit, "", self.llm.count_tokens, _SHOWN_TOKENS))
        if not claimed or len(answer.split()) > _MOST_ANSWER_WORDS:
            return None
        if not by_looks and len(claimed & shown) < _LEAST_SHARED * len(claimed):
            return None
        if not self._is_answer(hit, question):
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

    def unanswerable(self, hit: Hit) -> Question | None:
        """Write a question on the hit's subject that neither the hit nor a search for the question answers."""
        written = self._write("question_unanswerable", hit)
        if written is None or any(self._is_answer(one, written[0]) for one in self._near(hit, written[0])):
            return None
        return Question(written[0], modality=hit.segment.modality, answerable=False, reviewed=False, about=about(hit))

    def _near(self, hit: Hit, question: str) -> Iterator[Hit]:
        yield hit
        yield from self.search(question)[:_SEARCHED]

    def _write(self, prompt: str, hit: Hit) -> tuple[str, str, bool] | None:
        """Return question, answer, and whether the model saw the hit.

        None if the reply is malformed, if its question points at a text that the reader does not see, or if the hit has
        neither words nor pixels.
        """
        messages = self._messages(prompt, hit, {}, _REPLY_TOKENS)
        by_looks = not isinstance(messages[-1]["content"], str)
        if not by_looks and not has_text(hit):
            return None
        reply = self.llm.complete(messages, max_tokens=_REPLY_TOKENS, schema=_REPLY).text
        try:
            values = json.loads(reply)
            question, answer = (" ".join(str(values[key]).split()) for key in ("question", "answer"))
        except (ValueError, KeyError, TypeError):  # truncated, or not JSON, which some models are not forced to write
            return None
        if not question.endswith("?") or _POINTING.search(question):
            return None
        return question, answer, by_looks

    def _is_answer(self, hit: Hit, question: str) -> bool:
        """Return whether the model judges that the hit answers, with the prompt of reranking."""
        messages = self._messages("rerank", hit, {"question": question}, _YES_TOKENS)
        if (logit := self.llm.judge(messages)) is not None:
            return logit > 0
        return self.llm.complete(messages, max_tokens=_YES_TOKENS).text.strip().lower().startswith("yes")

    def _messages(self, prompt: str, hit: Hit, values: Mapping[str, str], reply_tokens: int) -> list[dict[str, Any]]:
        exhibit = describe(hit, values.get("question", ""), self.llm.count_tokens, _SHOWN_TOKENS)
        written = load(prompt).messages({**values, "exhibit": exhibit})
        return add_pictures(written, [hit], self.llm, PromptPictures(self.picture), reply_tokens=reply_tokens)


def write_questions(
    hits: Iterable[Hit], writer: QuestionWriter, out: Path, wanted: int, *, seed: int = 0
) -> Iterator[Question]:
    """Append questions to a JSON Lines file, one at a time, until it holds as many as wanted.

    Questions already in the file stay and count; their segments are not used again.

    Args:
        hits: all segments to ask about, with their files.
        writer: the writer.
        out: the file.
        wanted: number of questions, about a fifth of them unanswerable.
        seed: seed of the order of segments.

    Yields:
        Each new question; fewer than wanted if the segments run out.

    Raises:
        QueryError: the file holds something else.
        LLMError: the language model failed; written questions stay, and the next run continues.
    """
    kept = read_questions(out) if out.exists() and out.stat().st_size else []
    used, asked = {question.about for question in kept}, {_plain(question.question) for question in kept}
    number = len(kept)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        for turn, hit in enumerate(by_turns(hits, seed, sees=writer.sees), 1):
            if number >= wanted:
                return
            if about(hit) in used:
                continue
            made = writer.answerable(hit) if turn % UNANSWERABLE_EVERY else writer.unanswerable(hit)
            if made is None or _plain(made.question) in asked:
                continue
            file.write(json.dumps(asdict(made), ensure_ascii=False) + "\n")
            file.flush()
            asked.add(_plain(made.question))
            number += 1
            yield made


def by_turns(hits: Iterable[Hit], seed: int = 0, *, sees: bool = False) -> Iterator[Hit]:
    """Yield segments with enough content for a question, one of each medium in turn, in an order set by the seed.

    A model that `sees` can ask about any picture.
    """
    media: defaultdict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        if _has_content(hit) or (sees and hit.picture_segment is not None):
            media[hit.segment.modality].append(hit)
    for held in media.values():
        held.sort(key=about)
        random.Random(seed).shuffle(held)
    for turn in zip_longest(*(media[modality] for modality in MODALITIES)):
        yield from (hit for hit in turn if hit is not None)


def about(hit: Hit) -> str:
    """Return the file and place of a hit, as stored in a question."""
    return f"{hit.path}#{to_fragment(hit.segment.locator)}"


def _has_content(hit: Hit) -> bool:
    words = _WORD.findall(hit.segment.searchable_text)
    least = _LEAST_WORDS.get(hit.segment.kind)
    return bool(words or hit.segment.tags) if least is None else len(words) >= least


def _plain(question: str) -> str:
    return " ".join(_WORD.findall(question.lower()))
