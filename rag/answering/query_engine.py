"""From a question to hits and to an answer: open it, retrieve, let the language model judge, and have it answer.

Sync and async differ in the calls of the language model alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rag.config import Settings
from rag.errors import ExhibitWarning, QueryError
from rag.query.options import QueryOptions
from rag.retrieval import business_rules
from rag.types import Answer, AnswerChunk, Filter, Hit, Hits, Modality, Step

if TYPE_CHECKING:
    from PIL.Image import Image

    from rag.answering.answerer import GroundedAnswerer
    from rag.answering.evidence_text import PromptPictures
    from rag.answering.open_question import Asked
    from rag.answering.reranker import Reranked
    from rag.llm import LanguageModel
    from rag.query.language import Query
    from rag.retrieval.business_rules import Rule
    from rag.retrieval.retriever import Retriever

_MOST_HITS = 1000
_DEFAULTS = QueryOptions()
_QUOTA_DEPTH = 50  # candidates among which quotas are filled, and rules and tastes change the order


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a question.

    Attributes:
        query: the question, opened.
        said: the question as the language model is asked it; empty where there is nothing to judge by, or no judge.
        hits: best first; more than are wanted where they are to be judged or quotas filled.
        most: how many are wanted.
        started: when the question was put, by `time.monotonic`.
        quotas: how many of some modalities.
        warnings: what went wrong on the way.
        steps: what was done.
    """

    query: Query
    said: str
    hits: tuple[Hit, ...]
    most: int
    started: float
    quotas: Mapping[Modality, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def chosen(self) -> list[Hit]:
        """The hits that are wanted."""
        from rag.retrieval.fusion import apply_quotas

        return apply_quotas(self.hits, lambda hit: hit.segment.modality, self.quotas, self.most)

    @property
    def pictures(self) -> PromptPictures:
        """What a language model that sees is given of it."""
        from rag.answering.evidence_text import PromptPictures

        return PromptPictures(picture, self.query.pictures)

    def reranked(self, ranked: Reranked, started: float) -> Found:
        """The same in another order."""
        judged = sum(hit.relevance is not None for hit in ranked.hits)
        note = "; ".join(ranked.warnings) or f"{judged} judged"
        steps = (*self.steps, Step("rerank", time.monotonic() - started, note))
        return replace(self, hits=ranked.hits, warnings=ranked.warnings, steps=steps)


class QueryEngine:
    """Answers questions from what a retriever finds; threads may share it.

    Args:
        settings: of the knowledge base.
        retriever: finds segments.
        paths_of: the files that hold each asset.
        llm: the language model; that of the settings by default, loaded when first needed.
        rules: what is hidden, and what comes earlier or later.
        preferred: hits in the order in which a user may like them (`rag.personalization.store`).
    """

    def __init__(
        self,
        settings: Settings,
        retriever: Retriever,
        paths_of: Callable[[Collection[str]], Mapping[str, list[str]]],
        llm: LanguageModel | None = None,
        *,
        rules: Sequence[Rule] = (),
        preferred: Callable[[Sequence[Hit], str], list[Hit]] = lambda hits, _: list(hits),
    ) -> None:
        self.retriever = retriever
        self._settings, self._paths_of, self._given = settings, paths_of, llm
        self._rules, self._preferred = rules, preferred

    def load(self) -> None:
        """See `KnowledgeBase.load`."""
        self._llm.load()

    def search(self, query: Asked, options: QueryOptions = _DEFAULTS) -> list[Hit]:
        """See `KnowledgeBase.search`."""
        return _told(self._judged(self._found(query, options)))

    async def asearch(self, query: Asked, options: QueryOptions = _DEFAULTS) -> list[Hit]:
        """Async twin of `search`; cancelling it stops the language model."""
        return _told(await self._ajudged(await asyncio.to_thread(self._found, query, options)))

    def stream(self, question: Asked, options: QueryOptions = _DEFAULTS) -> Iterator[AnswerChunk]:
        """See `KnowledgeBase.ask_stream`."""
        found = self._judged(self._found(question, replace(options, rerank=True)))
        started = time.monotonic()
        for chunk in self._answerer.stream(found.said, found.chosen, asked_with=found.query.pictures):
            yield replace(chunk, answer=_whole(chunk.answer, found, started)) if chunk.answer else chunk

    async def astream(self, question: Asked, options: QueryOptions = _DEFAULTS) -> AsyncGenerator[AnswerChunk]:
        """Async twin of `stream`; closing it stops the language model."""
        found = await self._ajudged(await asyncio.to_thread(self._found, question, replace(options, rerank=True)))
        started = time.monotonic()
        answering = self._answerer.astream(found.said, found.chosen, asked_with=found.query.pictures)
        async with contextlib.aclosing(answering) as chunks:
            async for chunk in chunks:
                yield replace(chunk, answer=_whole(chunk.answer, found, started)) if chunk.answer else chunk

    def reordered(self, words: str, hits: Sequence[Hit]) -> list[Hit]:
        """Hits from elsewhere in the order in which the language model puts them."""
        from rag.query.language import Query

        return _told(self._judged(Found(Query(words), words, tuple(hits), len(hits), time.monotonic())))

    def located(self, hits: Sequence[Hit]) -> list[Hit]:
        """The hits with their files."""
        paths = self._paths_of({hit.segment.asset_id for hit in hits})
        first = {asset_id: next(iter(held), "") for asset_id, held in paths.items()}
        return [_at(hit, first.get(hit.segment.asset_id, "")) for hit in hits]

    def _found(self, asked: Asked, options: QueryOptions) -> Found:
        """Open a question and retrieve its hits, as many as will be judged where that is wanted."""
        from rag.answering.followup import standalone
        from rag.answering.open_question import opened

        quotas, admitted = dict(options.quotas or {}), options.filter
        Filter(modalities=frozenset(quotas))  # refuses what is no modality
        most = self._settings.top_k if options.top_k is None else options.top_k
        if not 1 <= most <= _MOST_HITS:
            raise QueryError(f"`top_k` must be from 1 to {_MOST_HITS}, and is {most}.")
        started = time.monotonic()
        query = opened(asked, self._settings, audio=self.retriever.planner.audio)
        if options.turns and query.words:
            query = query.with_words(standalone(query.words, options.turns, self._llm))
        said = self._said(query) if options.rerank else ""
        asked_at = time.monotonic()
        is_reordered = bool(quotas or self._rules or options.user)
        depth = max(most, _QUOTA_DEPTH if is_reordered else 0, self._judged_n if options.rerank else 0)
        admitted = replace(admitted, where=business_rules.exclude_hidden(admitted.where, self._rules))
        hits = self.located(self.retriever.retrieve(query, top_k=depth, scope=admitted))
        hits = business_rules.apply_rules(hits, self._rules) if self._rules else hits
        hits = self._preferred(hits, options.user) if options.user else hits
        retrieved = Step("retrieve", time.monotonic() - asked_at, f"{len(hits)} hits")
        return Found(query, said, tuple(hits), most, started, quotas, steps=(retrieved,))

    def _said(self, query: Query) -> str:
        """The question as the language model is asked it; empty where there is nothing to judge by."""
        from rag.answering.open_question import in_words

        sees = bool(query.pictures) and self._llm.sees_images
        planner = self.retriever.planner
        return in_words(query, planner.dual, planner.audio, self._settings, sees=sees)

    def _judged(self, found: Found) -> Found:
        """What was found in the order in which the language model puts it."""
        from rag.answering.reranker import rerank

        started = time.monotonic()
        return found.reranked(
            rerank(found.said, found.hits, self._llm, top_n=self._judged_n, pictures=found.pictures), started
        )

    async def _ajudged(self, found: Found) -> Found:
        """`_judged` without blocking."""
        from rag.answering.reranker import arerank

        started = time.monotonic()
        return found.reranked(
            await arerank(found.said, found.hits, self._llm, top_n=self._judged_n, pictures=found.pictures), started
        )

    @property
    def _judged_n(self) -> int:
        """How many candidates are judged: as many as may become exhibits at least."""
        most = self._settings.rerank_top_n
        return max(most, self._settings.evidence_n) if most else 0

    @cached_property
    def _llm(self) -> LanguageModel:
        from rag.llm import create_language_model

        if self._given is not None:
            return self._given
        return create_language_model(self._settings)

    @cached_property
    def _answerer(self) -> GroundedAnswerer:
        from rag.answering.answerer import GroundedAnswerer

        settings = self._settings
        return GroundedAnswerer(
            self._llm, evidence_n=settings.evidence_n, min_relevance=settings.min_relevance, picture=picture
        )


def _whole(answer: Answer, found: Found, started: float) -> Answer:
    """The answer with all that was done for it."""
    now = time.monotonic()
    steps = (*found.steps, Step("answer", now - started), Step("total", now - found.started))
    return replace(
        answer,
        warnings=(*found.warnings, *answer.warnings),
        trace=(*steps, *answer.trace),
    )


def picture(hit: Hit) -> Image | None:
    """The pixels of a hit for a language model that sees; None for words and sound.

    Raises:
        MediaError: its file has gone, was changed since, or cannot be read.
    """
    from rag import media

    if hit.seen is None:
        return None
    media.check_same(Path(hit.path), hit.seen.asset_id)
    return media.open_picture(Path(hit.path), hit.seen.locator)


def _told(found: Found) -> list[Hit]:
    """The hits that are wanted; what went wrong is a warning, for a list cannot tell."""
    for problem in found.warnings:
        warnings.warn(problem, ExhibitWarning, stacklevel=3)
    return Hits(found.chosen)


def _at(hit: Hit, path: str) -> Hit:
    parts = tuple(replace(part, path=path) for part in hit.parts)
    return replace(hit, path=path, parts=parts)
