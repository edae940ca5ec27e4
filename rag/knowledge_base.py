"""The SDK, and the only place where Exhibit's parts are put together."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rag.config import Settings
from rag.errors import ExhibitWarning, KnowledgeBaseBusy, QueryError, UnsupportedMedia
from rag.segments import segment_id
from rag.types import PIXELS, Answer, FileResult, Filter, Hit, IngestReport, Modality, PageBox, Step, Where

if TYPE_CHECKING:
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.retrievers import BaseRetriever
    from PIL.Image import Image

    from ingest.pipeline import Progress, Stores
    from ingest.plan import Plan
    from rag.answer import GroundedAnswerer
    from rag.encoders import ModelCard
    from rag.exhibits import Shown
    from rag.index.base import Dense
    from rag.llms import Llm
    from rag.query import Query
    from rag.questions import Asked
    from rag.rerank import Reranked
    from rag.retrieve import Retriever

_MOST_HITS = 1000
_QUOTA_DEPTH = 50  # candidates among which quotas are filled


@dataclass(frozen=True)
class Status:
    """What a knowledge base holds.

    Attributes:
        path: its folder.
        assets: number of assets by state.
        segments: number of segments by modality.
        failed: the files that are not indexed, each with its reason.
        encoders: names of the encoders that made its vectors.
        disk_bytes: size of its folder; the media themselves are elsewhere.
    """

    path: str
    assets: Mapping[str, int]
    segments: Mapping[str, int]
    failed: tuple[FileResult, ...]
    encoders: Mapping[str, str]
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class _Found:
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
        from rag.fusion import apportioned

        return apportioned(self.hits, lambda hit: hit.segment.modality, self.quotas, self.most)

    @property
    def shown(self) -> Shown:
        """What a language model that sees is given of it."""
        from rag.exhibits import Shown

        return Shown(_picture, self.query.pictures)

    def reranked(self, ranked: Reranked, started: float) -> _Found:
        """The same in another order."""
        judged = sum(hit.relevance is not None for hit in ranked.hits)
        note = "; ".join(ranked.warnings) or f"{judged} judged"
        steps = (*self.steps, Step("rerank", time.monotonic() - started, note))
        return replace(self, hits=ranked.hits, warnings=ranked.warnings, steps=steps)


class KnowledgeBase:
    """A collection of documents, images, audio and video that can be searched and asked.

    Open it with `KnowledgeBase.open`; use it as a context manager or `close` it. One process holds an embedded
    knowledge base at a time; threads may share it. Every method that does work has an async twin with an ``a`` before
    its name.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        from rag.catalog import Catalog
        from rag.encoders import load_audio_encoder, load_dual_encoder, load_text_encoder
        from rag.index import open_index

        self.path, self.settings = path, settings
        self._text = load_text_encoder(settings.text_encoder, settings.home, settings.threads)
        self._dual = load_dual_encoder(settings.encoder, settings.home, settings.threads, self._text)
        self._audio = load_audio_encoder(settings.audio_encoder, settings.home, settings.threads, self._text)
        path.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._catalog = Catalog(settings.catalog_url or f"sqlite:///{path / 'catalog.db'}")
            opened.callback(self._catalog.close)
            self._index = open_index(path / "index", settings, self._cards, self._catalog.identity)
            opened.callback(self._index.close)
            self._roll_back()
            opened.pop_all()

    @classmethod
    def open(cls, path: str | Path = ".exhibit", **settings: Any) -> Self:
        """Open a knowledge base, or make a new one where there is none.

        Args:
            path: its folder.
            **settings: changes to `Settings`, over the environment.

        Raises:
            SettingsError: a setting is unknown or cannot work.
            ModelError: an encoder's files are missing.
            KnowledgeBaseBusy: another process holds it.
            EncoderMismatch: it was built with other encoders.
            IndexUnavailable: it is damaged, or its server cannot be reached.
        """
        return cls(Path(path).absolute(), Settings.load(**settings))

    def close(self) -> None:
        """Let go of the knowledge base, so that another process may open it."""
        self._index.close()
        self._catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ingest(
        self, paths: str | Path | Sequence[str | Path], *, on_progress: Callable[[Progress], None] | None = None
    ) -> IngestReport:
        """Take in files and folders; what has not changed is not read again.

        A file that cannot be read never stops the run: it is listed in the report with its reason, and tried again at
        the next run. Files that have gone from a folder are removed.
        """
        started = time.monotonic()
        results = tuple(self.ingest_each(paths, on_progress=on_progress))
        return IngestReport(results, time.monotonic() - started)

    def ingest_each(
        self, paths: str | Path | Sequence[str | Path], *, on_progress: Callable[[Progress], None] | None = None
    ) -> Iterator[FileResult]:
        """The same as `ingest`, yielding each file's result as soon as it is final."""
        from ingest.pipeline import ingest

        with self._writing():
            yield from ingest(_paths(paths), self._stores, on_progress=on_progress)
            self._retriever.calibrate()

    def plan(self, paths: str | Path | Sequence[str | Path]) -> Plan:
        """Say what `ingest` would do with these paths, without doing it."""
        from ingest.plan import plan

        return plan(_paths(paths), self._stores)

    def remove(self, paths: str | Path | Sequence[str | Path]) -> IngestReport:
        """Forget files, or all files below folders; the files themselves are not touched.

        Raises:
            QueryError: a path is not in the knowledge base.
        """
        from ingest.pipeline import remove

        started = time.monotonic()
        with self._writing():
            results = tuple(remove(_paths(paths), self._stores))
        return IngestReport(results, time.monotonic() - started)

    def search(
        self,
        query: Asked,
        *,
        modality: Modality | Collection[Modality] | None = None,
        where: Where | None = None,
        top_k: int | None = None,
        rerank: bool = False,
        quotas: Mapping[Modality, int] | None = None,
    ) -> list[Hit]:
        """Find the segments that fit a question, best first; of films, moments with their start and end.

        Args:
            query: words, a picture (`PIL.Image`), the `Path` of a picture, recording or film, or a list of parts in the
                language of `rag.query`: ``[Text("like this, but in blue"), Image("a.jpg", 0.7), Not(Text("logo"))]``.
            modality: where to look: text, image, audio, video, or several of them.
            where: metadata conditions in the language of `rag.where`, e.g. ``{"page": {"lte": 10}}``.
            top_k: number of hits; the setting `top_k` by default.
            rerank: let the language model judge the best candidates; where it fails, their order stays and an
                `ExhibitWarning` says why.
            quotas: number of hits of some modalities, as far as candidates of them are found; no more of them either.

        Raises:
            QueryError: the question is empty or the filter malformed.
            MediaError: a file of the question cannot be read.
            IndexUnavailable: the store failed; that is never an empty list.
        """
        found = self._found(query, modality=modality, where=where, top_k=top_k, rerank=rerank, quotas=quotas)
        return _told(self._judged(found))

    @property
    def least_believed(self) -> float:
        """The best score that a search for nonsense gets here; hits that score less fit no better than by chance."""
        return self._retriever.calibrate().least_believed

    def ask(
        self,
        question: Asked,
        *,
        modality: Modality | Collection[Modality] | None = None,
        where: Where | None = None,
    ) -> Answer:
        """Answer a question from the collection, with each statement cited, or decline.

        Args and errors are those of `search`, and `LLMError` where the language model fails.
        """
        *_, answer = self.ask_stream(question, modality=modality, where=where)
        assert isinstance(answer, Answer)
        return answer

    def ask_stream(
        self,
        question: Asked,
        *,
        modality: Modality | Collection[Modality] | None = None,
        where: Where | None = None,
    ) -> Iterator[str | Answer]:
        """The same as `ask`, yielding the answer's text in pieces, and last the whole `Answer`."""
        found = self._judged(self._found(question, modality=modality, where=where, rerank=True))
        started = time.monotonic()
        for piece in self._answerer.stream(found.said, found.chosen, asked_with=found.query.pictures):
            yield self._whole(piece, found, started) if isinstance(piece, Answer) else piece

    def status(self) -> Status:
        """Count what the knowledge base holds, and list the files that failed."""
        from rag.types import MODALITIES

        return Status(
            path=str(self.path),
            assets=self._catalog.counts(),
            segments={m: self._index.count(Filter(modalities=frozenset({m}))) for m in MODALITIES},
            failed=self._catalog.failures(),
            encoders={name: card.name for name, card in self._cards.items()},
            disk_bytes=sum(_disk_bytes(file) for file in self.path.rglob("*") if file.is_file()),
        )

    def segments(self) -> Iterator[Hit]:
        """Every segment with its file, file by file, with a score of 0: what there is, not what was found."""
        for asset_id in self._catalog.asset_ids():
            yield from self._located([Hit(segment, 0.0) for segment in self._index.segments_of(asset_id)])

    async def aingest(
        self, paths: str | Path | Sequence[str | Path], *, on_progress: Callable[[Progress], None] | None = None
    ) -> IngestReport:
        """Async twin of `ingest`."""
        return await asyncio.to_thread(self.ingest, paths, on_progress=on_progress)

    async def asearch(self, query: Asked, **options: Any) -> list[Hit]:
        """Async twin of `search`, with the same options."""
        return _told(await self._ajudged(await asyncio.to_thread(self._found, query, **options)))

    async def aask(
        self,
        question: Asked,
        *,
        modality: Modality | Collection[Modality] | None = None,
        where: Where | None = None,
    ) -> Answer:
        """Async twin of `ask`; cancelling it stops the language model."""
        pieces = [piece async for piece in self.aask_stream(question, modality=modality, where=where)]
        assert isinstance(pieces[-1], Answer)
        return pieces[-1]

    async def aask_stream(
        self,
        question: Asked,
        *,
        modality: Modality | Collection[Modality] | None = None,
        where: Where | None = None,
    ) -> AsyncGenerator[str | Answer]:
        """Async twin of `ask_stream`; closing it stops the language model."""
        found = await asyncio.to_thread(self._found, question, modality=modality, where=where, rerank=True)
        found = await self._ajudged(found)
        started = time.monotonic()
        answering = self._answerer.astream(found.said, found.chosen, asked_with=found.query.pictures)
        async with contextlib.aclosing(answering) as pieces:
            async for piece in pieces:
                yield self._whole(piece, found, started) if isinstance(piece, Answer) else piece

    async def aremove(self, paths: str | Path | Sequence[str | Path]) -> IngestReport:
        """Async twin of `remove`."""
        return await asyncio.to_thread(self.remove, paths)

    def as_retriever(self, *, top_k: int | None = None) -> BaseRetriever:
        """The search as a llama-index retriever."""
        from rag.llamaindex import CrossModalRetriever

        return CrossModalRetriever(lambda words: self.search(words, top_k=top_k))

    def as_postprocessor(self, *, top_n: int | None = None) -> BaseNodePostprocessor:
        """The reranker as a llama-index node postprocessor."""
        from rag.llamaindex import RelevanceReranker

        return RelevanceReranker(rerank=self._reordered, top_n=top_n or self.settings.evidence_n)

    def as_query_engine(self) -> BaseQueryEngine:
        """The whole way from question to cited answer as a llama-index query engine."""
        from rag.llamaindex import GroundedQueryEngine

        return GroundedQueryEngine(self.ask, self.aask)

    def page(self, answers: Sequence[Answer], *, title: str = "Exhibit") -> str:
        """One self-contained HTML page with answers and their evidence; `Answer.render` gives that of one answer."""
        from rag.report import page

        return page(answers, title=title)

    def thumbnail(self, hit: Hit) -> str | None:
        """Path of a small picture of a hit, made when first asked for; None where there is nothing to see.

        Raises:
            MediaError: the hit's file has gone or was changed since.
        """
        from rag import media

        shown = hit.seen or hit.segment
        if shown.kind not in PIXELS and not isinstance(shown.locator, PageBox):
            return None
        kept = self._thumbnails / shown.asset_id / f"{segment_id(shown)}.jpg"
        if not kept.exists():
            media.check_same(Path(hit.path), hit.segment.asset_id)
            try:
                small = media.thumbnail(Path(hit.path), shown.locator, 320)
            except UnsupportedMedia:  # a slide: nothing here draws it
                return None
            kept.parent.mkdir(parents=True, exist_ok=True)
            unfinished = kept.with_suffix(f".{threading.get_ident()}")
            small.save(unfinished, "JPEG", quality=85)
            unfinished.replace(kept)
        return str(kept)

    def _found(
        self,
        asked: Asked,
        *,
        modality: Modality | Collection[Modality] | None = None,
        where: Where | None = None,
        top_k: int | None = None,
        rerank: bool = False,
        quotas: Mapping[Modality, int] | None = None,
    ) -> _Found:
        """Open a question and retrieve its hits, as many as will be judged where that is wanted."""
        quotas = dict(quotas or {})
        Filter(modalities=frozenset(quotas))  # refuses what is no modality
        started = time.monotonic()
        query = self._opened(asked)
        said = self._said(query) if rerank else ""
        opened = time.monotonic()
        most = self.settings.top_k if top_k is None else top_k
        if not 1 <= most <= _MOST_HITS:
            raise QueryError(f"`top_k` must be from 1 to {_MOST_HITS}, and is {most}.")
        depth = max(most, _QUOTA_DEPTH if quotas else 0, self._judged_n if rerank else 0)
        hits = self._located(self._retriever.retrieve(query, top_k=depth, admitted=_filter(modality, where)))
        retrieved = Step("retrieve", time.monotonic() - opened, f"{len(hits)} hits")
        return _Found(query, said, tuple(hits), most, started, quotas, steps=(retrieved,))

    def _opened(self, asked: Asked) -> Query:
        from rag.questions import opened

        return opened(asked, self.settings, sample_rate=self._audio.sample_rate if self._audio else None)

    def _said(self, query: Query) -> str:
        """The question as the language model is asked it; empty where there is nothing to judge by."""
        from rag.questions import SAME, in_words

        if query.spoken or (query.pictures and self._llm.sees_images):
            return query.spoken or SAME
        return in_words(query, self._dual, self.settings)

    def _judged(self, found: _Found) -> _Found:
        """What was found in the order in which the language model puts it."""
        from rag.rerank import rerank

        started = time.monotonic()
        return found.reranked(
            rerank(found.said, found.hits, self._llm, top_n=self._judged_n, shown=found.shown), started
        )

    async def _ajudged(self, found: _Found) -> _Found:
        """`_judged` without blocking."""
        from rag.rerank import arerank

        started = time.monotonic()
        return found.reranked(
            await arerank(found.said, found.hits, self._llm, top_n=self._judged_n, shown=found.shown), started
        )

    @property
    def _judged_n(self) -> int:
        """How many candidates are judged: as many as may become exhibits at least."""
        most = self.settings.rerank_top_n
        return max(most, self.settings.evidence_n) if most else 0

    def _reordered(self, words: str, hits: Sequence[Hit]) -> list[Hit]:
        """Hits from elsewhere in the order in which the language model puts them."""
        from rag.query import Query

        return _told(self._judged(_Found(Query(words), words, tuple(hits), len(hits), time.monotonic())))

    def _whole(self, answer: Answer, found: _Found, started: float) -> Answer:
        """The answer with all that was done for it."""
        now = time.monotonic()
        steps = (*found.steps, Step("answer", now - started), Step("total", now - found.started))
        return replace(
            answer,
            warnings=(*found.warnings, *answer.warnings),
            trace=(*steps, *answer.trace),
            renderer=lambda answer: self.page([answer]),
        )

    def _located(self, hits: Sequence[Hit]) -> list[Hit]:
        paths = self._catalog.paths_of({hit.segment.asset_id for hit in hits})
        first = {asset_id: next(iter(held), "") for asset_id, held in paths.items()}
        return [_at(hit, first.get(hit.segment.asset_id, "")) for hit in hits]

    def _roll_back(self) -> None:
        """Take out what a killed run left half written; its files are read again by the next run."""
        from ingest.pipeline import roll_back

        # Another process may be writing right now (several may share a Qdrant server): nothing of it is left over.
        with contextlib.suppress(KnowledgeBaseBusy), self._writing():
            roll_back(self._stores)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the knowledge base for writing; the locks go with the process, however that ends."""
        from rag.index.lock import FolderLock

        lock = FolderLock(self.path / "writing")
        try:
            with self._catalog.writing():
                yield
        finally:
            lock.release()

    @cached_property
    def _stores(self) -> Stores:
        from ingest.pipeline import Stores

        return Stores(self.settings, self._catalog, self._index, self._text, self._dual, self._thumbnails, self._audio)

    @property
    def _cards(self) -> dict[Dense, ModelCard]:
        cards: dict[Dense, ModelCard] = {"text": self._text.card, "joint": self._dual.card}
        return cards | ({"sound": self._audio.card} if self._audio else {})

    @cached_property
    def _thumbnails(self) -> Path:
        return self.path / "thumbnails"

    @cached_property
    def _retriever(self) -> Retriever:
        from rag.retrieve import Retriever

        return Retriever(self._index, self._text, self._dual, self._audio, kept=self.path / "calibration.json")

    @cached_property
    def _llm(self) -> Llm:
        from rag.llms import Llm

        settings = self.settings
        return Llm(settings.llm, home=settings.home, threads=settings.threads, timeout_s=settings.llm_timeout_s)

    @cached_property
    def _answerer(self) -> GroundedAnswerer:
        from rag.answer import GroundedAnswerer

        settings = self.settings
        return GroundedAnswerer(
            self._llm, evidence_n=settings.evidence_n, min_relevance=settings.min_relevance, picture=_picture
        )


def _picture(hit: Hit) -> Image | None:
    """The pixels of a hit for a language model that sees; None for words and sound.

    Raises:
        MediaError: its file has gone, was changed since, or cannot be read.
    """
    from rag import media

    if hit.seen is None:
        return None
    media.check_same(Path(hit.path), hit.seen.asset_id)
    return media.open_picture(Path(hit.path), hit.seen.locator)


def _told(found: _Found) -> list[Hit]:
    """The hits that are wanted; what went wrong is a warning, for a list cannot tell."""
    for problem in found.warnings:
        warnings.warn(problem, ExhibitWarning, stacklevel=3)
    return found.chosen


def _at(hit: Hit, path: str) -> Hit:
    return replace(hit, path=path, parts=tuple(replace(part, path=path) for part in hit.parts))


def _disk_bytes(file: Path) -> int:
    """What a file takes on disk: the store reserves room in sparse files that it has not written yet."""
    stat = file.stat()
    return stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size


def _paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]


def _filter(modality: Modality | Collection[Modality] | None, where: Where | None) -> Filter:
    modalities = [modality] if isinstance(modality, str) else modality or ()
    return Filter(modalities=frozenset(modalities), where=where or {})
