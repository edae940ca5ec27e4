"""A question on its way from any of OpenAI's forms to an answer in Markdown with linked evidence."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from rag.llm.usage import Usage
from rag.query.language import Text
from rag.segments import to_fragment
from rag.server.evidence_views import EvidenceLinker
from rag.server.history import History, StoredTurn
from rag.server.openai import messages
from rag.server.openai.markdown import LinkedCitation, MarkdownAnswer, MarkdownStream, render_answer
from rag.server.problems import Problem
from rag.server.signed_links import SignedLinks
from rag.server.state import server_state
from rag.types import Modality

# What clients may attach to what is kept, as OpenAI bounds it.
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


async def get_history(request: Request) -> History:
    """What the server keeps of questions and answers."""
    return server_state(request.app).history


CurrentHistory = Annotated[History, Depends(get_history)]

# What would change the form of an answer, which is a text with citations; what else is unknown has no effect.
_REFUSED = ("tools", "functions", "logprobs", "prediction", "audio", "background")
_PLAIN: Mapping[str, Any] = {
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "text": {"format": {"type": "text"}},
}


class Options(BaseModel):
    """What is Exhibit's own, sent by OpenAI's clients in ``extra_body``."""

    model_config = ConfigDict(extra="forbid")

    to: list[Modality] = Field(default=[], description="Where to look; everywhere where it is empty.")
    where: dict[str, Any] = Field(default={}, description='Conditions on metadata, such as {"page": {"lte": 10}}.')


class Description(BaseModel):
    """What a client attaches to what is kept."""

    metadata: Metadata | None = Field(examples=[{"topic": "apes"}])


@dataclass(frozen=True)
class AnswerRequest:
    """A question on its way.

    Attributes:
        chat: what was sent.
        viewer: whom it is put to, and how its evidence is linked.
        options: how it is asked.
        ignored: what was sent and has no effect.
        usage: what language models take for it.
    """

    chat: messages.Chat
    viewer: EvidenceLinker
    options: Options
    ignored: tuple[str, ...]
    usage: Usage

    async def whole(self) -> MarkdownAnswer:
        """The answer as Markdown."""
        answer = await self.viewer.base.aask(list(self.chat.question), **self._how)
        return render_answer(answer, await self.viewer.linked(answer.cited))

    async def pieces(self) -> AsyncGenerator[str | MarkdownAnswer]:
        """The answer as Markdown while it is written, then the whole of it, which may be a correction."""
        rewritten, streamed = MarkdownStream(), ""
        async with aclosing(self.viewer.base.aask_stream(list(self.chat.question), **self._how)) as chunks:
            async for chunk in chunks:
                if chunk.answer:
                    streamed += rewritten.end()
                    yield render_answer(chunk.answer, await self.viewer.linked(chunk.answer.cited), streamed)
                elif text := rewritten.feed(chunk.text):
                    streamed += text
                    yield text

    def told(self, whole: MarkdownAnswer) -> dict[str, Any]:
        """What Exhibit says of an answer beside what OpenAI's forms have room for."""
        return {
            "question": whole.answer.question,
            "declined": whole.answer.declined,
            "warnings": list(whole.answer.warnings),
            "ignored": list(self.ignored),
        }

    def kept(self, whole: MarkdownAnswer, **made: Any) -> StoredTurn:
        """The question and its answer as they are kept, made as told."""
        own = " ".join(part.words.strip() for part in self.chat.question if isinstance(part, Text))
        return StoredTurn(
            who=self.viewer.who,
            base=self.viewer.name,
            asked=own or whole.answer.question,
            meant=whole.answer.question,
            answered=whole.answer.text,
            **made,
        )

    @property
    def _how(self) -> dict[str, Any]:
        return {"modality": self.options.to or None, "where": self.options.where, "turns": self.chat.turns}


def stored_body(turn: StoredTurn, links: SignedLinks) -> dict[str, Any]:
    """What was sent for a turn, with its links made to last as long as new ones."""
    body: dict[str, Any] = json.loads(links.renewed(turn.body, turn.who))
    return body | {"metadata": dict(turn.metadata)}


def url_citation(cite: LinkedCitation) -> dict[str, Any]:
    """A citation as OpenAI has it: which characters rest on what, with the URL that shows it best."""
    return {"start_index": cite.start, "end_index": cite.end, "title": cite.link.title, "url": cite.link.url}


def exhibit(cite: LinkedCitation) -> dict[str, Any]:
    """What is cited: number, medium, place, words and views."""
    segment = cite.exhibit.segment
    return {
        "number": cite.exhibit.number,
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
    }


def ignored_fields(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of fields that a client sent and that have no effect.

    Raises:
        Problem: 400, one of them would change the form of the answer.
    """
    given = {name: value for name, value in extra.items() if value not in (None, [], {}, False)}
    for name in _REFUSED:
        if name in given:
            raise Problem(400, f"`{name}` cannot be used here: answers are texts with citations.", param=name)
    for name, plain in _PLAIN.items():
        if not _is_plain(given.get(name, plain), plain):
            raise Problem(400, f"`{name}` can only be {plain!r} here.", param=name)
    return tuple(sorted(name for name in given if given[name] != _PLAIN.get(name)))


def _is_plain(value: Any, plain: Any) -> bool:
    """Whether a value asks for what an answer is anyway; what it says beside that has no effect."""
    if isinstance(value, Mapping) and isinstance(plain, Mapping):
        return all(_is_plain(value.get(name, wanted), wanted) for name, wanted in plain.items())
    return bool(value == plain)
