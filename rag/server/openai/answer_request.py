"""A question in any of OpenAI's forms, and its answer in Markdown with linked evidence."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from rag.llm.usage import Usage
from rag.presentation.json_values import verdict_json
from rag.query.language import Text
from rag.segments import to_fragment
from rag.server.evidence_views import EvidenceLinker
from rag.server.history import History, StoredTurn
from rag.server.openai import messages
from rag.server.openai.markdown import LinkedCitation, MarkdownAnswer, MarkdownStream, render_answer
from rag.server.problems import HTTPProblem
from rag.server.signed_links import SignedLinks
from rag.server.state import server_state
from rag.types import Modality

# What clients may attach to stored turns and conversations, within OpenAI's limits.
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


async def get_history(request: Request) -> History:
    """Return the stored questions and answers."""
    return server_state(request.app).history


CurrentHistory = Annotated[History, Depends(get_history)]

# Fields that would change the form of an answer, which is text with citations. Other unknown fields have no effect.
_REFUSED = ("tools", "functions", "logprobs", "prediction", "audio", "background")
_PLAIN: Mapping[str, Any] = {
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "text": {"format": {"type": "text"}},
}


class Options(BaseModel):
    """Exhibit's own options, which OpenAI's clients send in ``extra_body``."""

    model_config = ConfigDict(extra="forbid")

    to: list[Modality] = Field(default=[], description="Media to search; empty for all.")
    where: dict[str, Any] = Field(default={}, description='Conditions on metadata, such as {"page": {"lte": 10}}.')


class Description(BaseModel):
    """What a client attaches to a stored turn or conversation."""

    metadata: Metadata | None = Field(examples=[{"topic": "apes"}])


@dataclass(frozen=True)
class MarkdownChunk:
    """A piece of a streamed answer in Markdown. The last one carries the answer.

    Attributes:
        text: the next piece of the text; may be empty.
        answer: the complete answer, on the last chunk.
    """

    text: str = ""
    answer: MarkdownAnswer | None = None


@dataclass(frozen=True)
class AnswerRequest:
    """A question to a knowledge base.

    Attributes:
        chat: the question and the turns before it.
        linker: the knowledge base, and links to its evidence.
        options: where to search.
        ignored: names of fields that were sent and have no effect.
        usage: counts the tokens that language models use for it.
    """

    chat: messages.Chat
    linker: EvidenceLinker
    options: Options
    ignored: tuple[str, ...]
    usage: Usage

    async def answer(self) -> MarkdownAnswer:
        """Return the answer in Markdown."""
        answer = await self.linker.base.aask(list(self.chat.question), **self._scope)
        return render_answer(answer, await self.linker.link_evidence(answer))

    async def stream(self) -> AsyncGenerator[MarkdownChunk]:
        """Yield the answer in Markdown while it is written. The end of the text may be a correction."""
        stream, streamed = MarkdownStream(), ""
        async with aclosing(self.linker.base.aask_stream(list(self.chat.question), **self._scope)) as chunks:
            async for chunk in chunks:
                if chunk.answer:
                    streamed += stream.end()
                    links = await self.linker.link_evidence(chunk.answer)
                    answer = render_answer(chunk.answer, links, streamed)
                    yield MarkdownChunk(answer.tail, answer)
                elif text := stream.feed(chunk.text):
                    streamed += text
                    yield MarkdownChunk(text)

    def describe(self, answer: MarkdownAnswer) -> dict[str, Any]:
        """Return what Exhibit adds to an answer in OpenAI's form."""
        return {
            "question": answer.answer.question,
            "declined": answer.answer.declined,
            "open_parts": list(answer.answer.open_parts),
            "warnings": list(answer.answer.warnings),
            "ignored": list(self.ignored),
        }

    def stored_fields(self, answer: MarkdownAnswer) -> dict[str, str]:
        """Return the fields of a `StoredTurn` that depend only on the question and its answer."""
        own = " ".join(part.words.strip() for part in self.chat.question if isinstance(part, Text))
        return {
            "who": self.linker.key_id,
            "base": self.linker.name,
            "asked": own or answer.answer.question,
            "meant": answer.answer.question,
            "answered": answer.answer.text,
        }

    @property
    def _scope(self) -> dict[str, Any]:
        return {"modality": self.options.to or None, "where": self.options.where, "turns": self.chat.turns}


def stored_body(turn: StoredTurn, links: SignedLinks) -> dict[str, Any]:
    """Return the response that was sent for a turn, with renewed links."""
    body: dict[str, Any] = json.loads(links.renew(turn.body, turn.who))
    return body | {"metadata": dict(turn.metadata)}


def url_citation(cite: LinkedCitation) -> dict[str, Any]:
    """Return a citation in OpenAI's form: the cited characters, and the URL that shows the evidence best."""
    return {"start_index": cite.start, "end_index": cite.end, "title": cite.link.title, "url": cite.link.url}


def evidence_json(cite: LinkedCitation) -> dict[str, Any]:
    """Return the cited evidence: number, medium, place, words and views; and the verdict on the statement."""
    segment = cite.evidence.segment
    return {
        "number": cite.evidence.number,
        "modality": segment.modality,
        "kind": segment.kind,
        "asset_id": segment.asset_id,
        "locator": "#" + to_fragment(segment.locator),
        "title": cite.link.title,
        "caption": segment.caption,
        "tags": list(segment.tags),
        "text": segment.text,
        "words": [[word.text, word.start_s, word.end_s] for word in segment.words],
        "views": dict(cite.link.views),
        "verdict": verdict_json(cite.verdict),
    }


def ignored_fields(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of fields that a client sent and that have no effect.

    Raises:
        HTTPProblem: 400, a field would change the form of the answer.
    """
    given = {name: value for name, value in extra.items() if value not in (None, [], {}, False)}
    for name in _REFUSED:
        if name in given:
            raise HTTPProblem(400, f"`{name}` is not supported: answers are text with citations.", param=name)
    for name, plain in _PLAIN.items():
        if not _is_plain(given.get(name, plain), plain):
            raise HTTPProblem(400, f"`{name}` can only be {plain!r}.", param=name)
    return tuple(sorted(name for name in given if given[name] != _PLAIN.get(name)))


def _is_plain(value: Any, plain: Any) -> bool:
    """Return whether a value asks only for the form that answers have anyway."""
    if isinstance(value, Mapping) and isinstance(plain, Mapping):
        return all(_is_plain(value.get(name, wanted), wanted) for name, wanted in plain.items())
    return bool(value == plain)
