"""From a question to hits and to an answer: open it, retrieve, let the language model judge, and have it answer.

Sync and async methods differ only in the calls of the language model.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from rag.config import Settings
from rag.errors import ExhibitWarning, QueryError
from rag.query.options import QueryOptions
from rag.retrieval import business_rules
from rag.types import Answer, AnswerChunk, Filter, Hit, Hits, Modality, Step

if TYPE_CHECKING:
    from PIL.Image import Image

    from rag.answering.answerer import Asked, GroundedAnswerer
    from rag.answering.evidence_text import PromptPictures
    from rag.answering.open_question import QueryInput
    from rag.answering.reranker import Reranked
    from rag.catalog.catalog import Catalog
    from rag.llm import LanguageModel
    from rag.query.language import Query
    from rag.retrieval.business_rules import Rule
    from rag.retrieval.retriever import Retriever
    from rag.verification.checker import Checker

_MAX_TOP_K = 1000
_DEFAULTS = QueryOptions()
_FOUND_FOR_STATEMENT = 10
_QUOTA_DEPTH = 50  # candidates among which quotas are filled, and rules and preferences change the order


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The hits of a question, before and after the language model judged them.

    Attributes:
        query: the opened question.
        wording: the question in words for the language model; empty without words to judge by, or without a judge.
        hits: best first; more than `top_k` where they will be judged or quotas filled.
        top_k: how many hits to return.
        scope: where was searched.
        started: when the question came, by `time.monotonic`.
        quotas: numbers of hits of some modalities.
        warnings: failures on the way.
        steps: the steps so far.
    """

    query: Query
    wording: str
    hits: tuple[Hit, ...]
    top_k: int
    scope: Filter
    started: float
    quotas: Mapping[Modality, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def best(self) -> list[Hit]:
        """The hits to return, with the quotas filled."""
        from rag.retrieval.fusion import apply_quotas

        return apply_quotas(self.hits, lambda hit: hit.segment.modality, self.quotas, self.top_k)

    @property
    def pictures(self) -> PromptPictures:
        """The pictures for a language model that sees."""
        from rag.answering.evidence_text import PromptPictures

        return PromptPictures(load_picture, self.query.pictures)

    def with_verdicts(self, ranked: Reranked, started: float, judged: int) -> Retrieved:
        """Return the same with the hits in their new order, of which the language model judged some."""
        verified = sum(hit.relevance is not None for hit in ranked.hits)
        note = "; ".join(ranked.warnings) or f"{verified} by the verifier, {min(judged, len(ranked.hits))} by the model"
        steps = (*self.steps, Step("rerank", time.monotonic() - started, note))
        return replace(self, hits=ranked.hits, warnings=ranked.warnings, steps=steps)


class QueryEngine:
    """Search and answers over a retriever; threads may share it.

    Args:
        settings: of the knowledge base.
        retriever: finds segments.
        catalog: knows the files.
        llm: the language model; by default that of the settings, loaded when first needed.
        load_checker: loads what checks the statements of answers, when first needed.
        rules: hide hits, or move them up or down.
        preferred: orders hits by a user's preference (`rag.personalization.store`).
    """

    def __init__(
        self,
        settings: Settings,
        retriever: Retriever,
        catalog: Catalog,
        llm: LanguageModel | None = None,
        *,
        load_checker: Callable[[], Checker | None] = lambda: None,
        rules: Sequence[Rule] = (),
        preferred: Callable[[Sequence[Hit], str], list[Hit]] = lambda hits, _: list(hits),
    ) -> None:
        self.retriever = retriever
        self._settings, self._catalog, self._given_llm = settings, catalog, llm
        self._load_checker, self._rules, self._preferred = load_checker, rules, preferred

    def load(self) -> None:
        """See `KnowledgeBase.load`."""
        self._llm.load()

    def search(self, query: QueryInput, options: QueryOptions = _DEFAULTS) -> list[Hit]:
        """See `KnowledgeBase.search`."""
        return _warn_and_list(self._judge(self._retrieve(query, options)))

    async def asearch(self, query: QueryInput, options: QueryOptions = _DEFAULTS) -> list[Hit]:
        """Async twin of `search`; cancelling it stops the language model."""
        return _warn_and_list(await self._ajudge(await asyncio.to_thread(self._retrieve, query, options)))

    def stream(self, question: QueryInput, options: QueryOptions = _DEFAULTS) -> Iterator[AnswerChunk]:
        """See `KnowledgeBase.ask_stream`."""
        if talk := self._talk(question):
            yield from talk
            return
        retrieved = self._judge(self._retrieve(question, replace(options, rerank=True)))
        started = time.monotonic()
        for chunk in self._answerer.stream(self._asked(retrieved), retrieved.best):
            yield _add_steps(chunk, retrieved, started)

    async def astream(self, question: QueryInput, options: QueryOptions = _DEFAULTS) -> AsyncGenerator[AnswerChunk]:
        """Async twin of `stream`; closing it stops the language model."""
        retrieved = await self._ajudge(await asyncio.to_thread(self._retrieve, question, replace(options, rerank=True)))
        started = time.monotonic()
        stream = self._answerer.astream(self._asked(retrieved), retrieved.best)
        async with contextlib.aclosing(stream) as chunks:
            async for chunk in chunks:
                yield _add_steps(chunk, retrieved, started)

    def _talk(self, question: QueryInput) -> Sequence[AnswerChunk]:
        """Return the answer to what no file answers, such as a greeting; empty for a question to the files."""
        from rag.answering.small_talk import small_talk

        started = time.monotonic()
        answer = small_talk(_plain_words(question), self._catalog.entries)
        if answer is None:
            return ()
        steps = (Step("total", time.monotonic() - started),)
        return AnswerChunk(answer.text), AnswerChunk(answer=replace(answer, trace=steps))

    def _retrieve(self, question: QueryInput, options: QueryOptions) -> Retrieved:
        """Open a question and retrieve its hits, as many as will be judged if reranking is requested."""
        from rag.answering.followup import standalone
        from rag.answering.open_question import open_question
        from rag.verification.relevance import VERIFIED_N

        quotas, scope = dict(options.quotas or {}), options.filter
        Filter(modalities=frozenset(quotas))  # refuses an unknown modality
        top_k = self._settings.top_k if options.top_k is None else options.top_k
        if not 1 <= top_k <= _MAX_TOP_K:
            raise QueryError(f"`top_k` must be from 1 to {_MAX_TOP_K}, and is {top_k}.")
        started = time.monotonic()
        query = open_question(question, self._settings, audio=self.retriever.planner.audio)
        if options.turns and query.words:
            query = query.with_words(standalone(query.words, options.turns, self._llm))
        wording = self._put_into_words(query) if options.rerank else ""
        retrieval_started = time.monotonic()
        is_reordered = bool(quotas or self._rules or options.user)
        is_ranked = options.rerank and self._judged_n
        depth = max(top_k, _QUOTA_DEPTH if is_reordered else 0, max(VERIFIED_N, self._judged_n) if is_ranked else 0)
        scope = replace(scope, where=business_rules.exclude_hidden(scope.where, self._rules))
        hits = self.locate(self.retriever.retrieve(query, top_k=depth, scope=scope))
        hits = business_rules.apply_rules(hits, self._rules) if self._rules else hits
        hits = self._preferred(hits, options.user) if options.user else hits
        step = Step("retrieve", time.monotonic() - retrieval_started, f"{len(hits)} hits")
        return Retrieved(query, wording, tuple(hits), top_k, scope, started, quotas, steps=(step,))

    def _put_into_words(self, query: Query) -> str:
        from rag.answering.open_question import put_into_words

        sees = bool(query.pictures) and self._llm.sees_images
        planner = self.retriever.planner
        return put_into_words(query, planner.dual, planner.audio, self._settings, sees=sees)

    def locate(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return the hits with the paths of their files."""
        paths = self._catalog.paths_of({hit.segment.asset_id for hit in hits})
        first = {asset_id: next(iter(held), "") for asset_id, held in paths.items()}
        return [_with_path(hit, first.get(hit.segment.asset_id, "")) for hit in hits]

    def rerank(self, words: str, hits: Sequence[Hit]) -> list[Hit]:
        """Rerank hits from elsewhere with the language model."""
        from rag.query.language import Query

        return _warn_and_list(
            self._judge(Retrieved(Query(words), words, tuple(hits), len(hits), Filter(), time.monotonic()))
        )

    def _judge(self, retrieved: Retrieved) -> Retrieved:
        """Rerank the hits with the language model."""
        from rag.answering.reranker import rerank

        started = time.monotonic()
        hits, top_n = self._ranked(retrieved)
        ranked = rerank(retrieved.wording, hits, self._llm, top_n=top_n, pictures=retrieved.pictures)
        return retrieved.with_verdicts(ranked, started, top_n)

    async def _ajudge(self, retrieved: Retrieved) -> Retrieved:
        """Async twin of `_judge`."""
        from rag.answering.reranker import arerank

        started = time.monotonic()
        hits, top_n = await asyncio.to_thread(self._ranked, retrieved)
        ranked = await arerank(retrieved.wording, hits, self._llm, top_n=top_n, pictures=retrieved.pictures)
        return retrieved.with_verdicts(ranked, started, top_n)

    def _ranked(self, retrieved: Retrieved) -> tuple[Sequence[Hit], int]:
        """Return the hits as the verifier orders them, and how many the language model shall judge."""
        from rag.verification.relevance import rank

        top_n, checker = self._judged_n, self._checker
        if not (top_n and retrieved.wording.strip() and checker and checker.verifier):
            return retrieved.hits, top_n
        from rag.llm import BUNDLED

        ranking = rank(retrieved.wording, retrieved.hits, checker.verifier)
        is_decided = ranking.is_clear and self._llm.model.startswith(BUNDLED)
        return ranking.hits, 0 if is_decided else top_n

    @cached_property
    def _checker(self) -> Checker | None:
        return self._load_checker()

    def _asked(self, retrieved: Retrieved) -> Asked:
        """Return the question as the answerer takes it."""
        from rag.answering.answerer import Asked

        return Asked(retrieved.wording, retrieved.query.pictures, partial(self._find, retrieved.scope))

    def _find(self, scope: Filter, statement: str) -> list[Hit]:
        """Search for a statement where its question was asked."""
        from rag.query.language import Query

        return self.locate(self.retriever.retrieve(Query(statement), top_k=_FOUND_FOR_STATEMENT, scope=scope))

    @property
    def _judged_n(self) -> int:
        """How many candidates are judged: at least as many as may become evidence."""
        most = self._settings.rerank_top_n
        return max(most, self._settings.evidence_n) if most else 0

    @cached_property
    def _llm(self) -> LanguageModel:
        from rag.llm import create_language_model

        if self._given_llm is not None:
            return self._given_llm
        return create_language_model(self._settings)

    @cached_property
    def _answerer(self) -> GroundedAnswerer:
        from rag.answering.answerer import GroundedAnswerer
        from rag.verification.caution import thresholds

        settings = self._settings
        return GroundedAnswerer(
            self._llm,
            evidence_n=settings.evidence_n,
            min_relevance=thresholds(settings).relevance,
            checker=self._checker,
            load_picture=load_picture,
        )


def load_picture(hit: Hit) -> Image | None:
    """Load the pixels of a hit for a language model that sees; None for words and sound.

    Raises:
        MediaError: the file has gone, has changed since, or cannot be read.
    """
    from rag import media

    if hit.picture_segment is None:
        return None
    media.check_same(Path(hit.path), hit.picture_segment.asset_id)
    return media.open_picture(Path(hit.path), hit.picture_segment.locator)


def _plain_words(question: QueryInput) -> str:
    """Return the words of a question that is nothing but words; else ""."""
    from rag.query.language import Query, Text

    match question:
        case str():
            return question
        case Text(words):
            return words
        case Query() if not (question.pictures or question.without or any(part.sounds for part in question.parts)):
            return question.words
        case [single]:
            return _plain_words(single)
    return ""


def _with_path(hit: Hit, path: str) -> Hit:
    parts = tuple(replace(part, path=path) for part in hit.parts)
    return replace(hit, path=path, parts=parts)


def _warn_and_list(retrieved: Retrieved) -> list[Hit]:
    """Return the best hits; failures become Python warnings, because a list cannot carry them."""
    for problem in retrieved.warnings:
        warnings.warn(problem, ExhibitWarning, stacklevel=3)
    return Hits(retrieved.best)


def _add_steps(chunk: AnswerChunk, retrieved: Retrieved, started: float) -> AnswerChunk:
    """Add what came before the answer to the chunk that carries it: warnings, steps and their seconds."""
    if (answer := chunk.answer) is None:
        return chunk
    now = time.monotonic()
    steps = (*retrieved.steps, Step("answer", now - started), Step("total", now - retrieved.started))
    return AnswerChunk(answer=_with_history(answer, retrieved.warnings, steps))


def _with_history(answer: Answer, problems: Sequence[str], steps: Sequence[Step]) -> Answer:
    return replace(answer, warnings=(*problems, *answer.warnings), trace=(*steps, *answer.trace))
