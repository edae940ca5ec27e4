"""The SDK, and the only place where Exhibit's parts are put together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rag.config import Settings
from rag.errors import KnowledgeBaseBusy, QueryError, UnsupportedMedia
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
    from rag.llms import Llm
    from rag.retrieve import Query, Retriever

    Asked = str | Path | Image | Query


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


class KnowledgeBase:
    """A collection of documents, images, audio and video that can be searched and asked.

    Open it with `KnowledgeBase.open`; use it as a context manager or `close` it. One process holds an embedded
    knowledge base at a time; threads may share it. Every method that does work has an async twin with an ``a`` before
    its name.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        from rag.catalog import Catalog
        from rag.encoders import load_dual_encoder, load_text_encoder
        from rag.index import open_index

        self.path, self.settings = path, settings
        self._text = load_text_encoder(settings.text_encoder, settings.home, settings.threads)
        self._dual = load_dual_encoder(settings.encoder, settings.home, settings.threads, self._text)
        path.mkdir(parents=True, exist_ok=True)
        self._index = open_index(path / "index", settings, {"text": self._text.card, "joint": self._dual.card})
        self._catalog = Catalog(settings.catalog_url or f"sqlite:///{path / 'catalog.db'}")
        self._roll_back()

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
        modality: Modality | Sequence[Modality] | None = None,
        where: Where | None = None,
        top_k: int | None = None,
        rerank: bool = False,
    ) -> list[Hit]:
        """Find the segments that fit a query, best first.

        Args:
            query: words, a picture (`PIL.Image`), the `Path` of a picture or a recording, or a `rag.retrieve.Query`.
            modality: where to look: text, image, audio, video, or several of them.
            where: metadata conditions, e.g. ``{"page": {"lte": 10}, "title": "report.pdf"}``.
            top_k: number of hits; the setting `top_k` by default.
            rerank: let the language model judge the best candidates.

        Raises:
            QueryError: the query is empty or the filter malformed.
            IndexUnavailable: the store failed; that is never an empty list.
        """
        return self._find(self._query(query), _filter(modality, where), top_k or self.settings.top_k, rerank)[0]

    def ask(
        self,
        question: Asked,
        *,
        modality: Modality | Sequence[Modality] | None = None,
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
        modality: Modality | Sequence[Modality] | None = None,
        where: Where | None = None,
    ) -> Iterator[str | Answer]:
        """The same as `ask`, yielding the answer's text in pieces, and last the whole `Answer`."""
        query = self._query(question)
        started = time.monotonic()
        hits, warnings, steps = self._find(query, _filter(modality, where), self.settings.top_k, rerank=True)
        retrieved = time.monotonic()
        for piece in self._answerer.stream(query.words, hits):
            if isinstance(piece, Answer):
                steps = (
                    *steps,
                    Step("answer", time.monotonic() - retrieved),
                    Step("total", time.monotonic() - started),
                )
                yield replace(
                    piece,
                    warnings=(*warnings, *piece.warnings),
                    trace=(*steps, *piece.trace),
                    renderer=lambda answer: self.page([answer]),
                )
            else:
                yield piece

    def status(self) -> Status:
        """Count what the knowledge base holds, and list the files that failed."""
        from rag.types import MODALITIES

        return Status(
            path=str(self.path),
            assets=self._catalog.counts(),
            segments={m: self._index.count(Filter(modalities=frozenset({m}))) for m in MODALITIES},
            failed=self._catalog.failures(),
            encoders={"text": self._text.card.name, "joint": self._dual.card.name},
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
        return await asyncio.to_thread(self.search, query, **options)

    async def aask(self, question: Asked, **options: Any) -> Answer:
        """Async twin of `ask`, with the same options."""
        return await asyncio.to_thread(self.ask, question, **options)

    async def aask_stream(self, question: Asked, **options: Any) -> AsyncIterator[str | Answer]:
        """Async twin of `ask_stream`, with the same options."""
        pieces = self.ask_stream(question, **options)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

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

        return RelevanceReranker(rerank=self._reranked, top_n=top_n or self.settings.evidence_n)

    def as_query_engine(self) -> BaseQueryEngine:
        """The whole way from question to cited answer as a llama-index query engine."""
        from rag.llamaindex import GroundedQueryEngine

        return GroundedQueryEngine(self.ask)

    def query(
        self,
        words: str | None = None,
        *,
        picture: str | Path | Image | None = None,
        recording: str | Path | None = None,
    ) -> Query:
        """Put a question together from words, a picture and a recording whose words are used.

        Raises:
            QueryError: nothing was given, or nothing is said in the recording.
            MediaError: the picture or the recording cannot be read.
        """
        from rag.retrieve import Query

        spoken = self._transcript(Path(recording)) if recording is not None else None
        if isinstance(picture, (str, Path)):
            from rag.media import open_picture
            from rag.types import ImageRegion

            picture = open_picture(Path(picture), ImageRegion())
        return Query(words=" ".join(part.strip() for part in (words, spoken) if part), picture=picture)

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

        if hit.segment.kind not in PIXELS and not isinstance(hit.segment.locator, PageBox):
            return None
        kept = self._thumbnails / hit.segment.asset_id / f"{segment_id(hit.segment)}.jpg"
        if not kept.exists():
            media.check_same(Path(hit.path), hit.segment.asset_id)
            try:
                small = media.thumbnail(Path(hit.path), hit.segment.locator, 320)
            except UnsupportedMedia:  # a slide: nothing here draws it
                return None
            kept.parent.mkdir(parents=True, exist_ok=True)
            small.save(kept, quality=85)
        return str(kept)

    def _query(self, asked: Asked) -> Query:
        from rag.retrieve import Query

        if isinstance(asked, Query):
            return asked
        if isinstance(asked, str):
            return self.query(asked)
        if isinstance(asked, Path):
            from ingest.load import identify

            medium = identify(asked, self.settings).medium
            if medium == "document":
                raise QueryError(f"{asked} is a document; ask with words, a picture or a recording.")
            return self.query(picture=asked) if medium == "image" else self.query(recording=asked)
        return self.query(picture=asked)

    def _transcript(self, recording: Path) -> str:
        from ingest.worker import Worker

        worker = Worker(self.settings)
        try:
            words = " ".join(worker.run("transcript", recording))
        finally:
            worker.close()
        if not words:
            raise QueryError(f"Nothing is said in {recording}, so it cannot be a question in words.")
        return words

    def _find(
        self, query: Query, admitted: Filter, top_k: int, rerank: bool
    ) -> tuple[list[Hit], tuple[str, ...], tuple[Step, ...]]:
        """Hits with their files, warnings, and the steps taken."""
        started = time.monotonic()
        depth = max(top_k, self.settings.rerank_top_n if rerank else 0)
        hits = self._located(self._retriever.retrieve(query, top_k=depth, admitted=admitted))
        steps: tuple[Step, ...] = (Step("retrieve", time.monotonic() - started, f"{len(hits)} hits"),)
        warnings: tuple[str, ...] = ()
        if rerank and self.settings.rerank_top_n:
            started = time.monotonic()
            hits, warnings = self._reranked(query.words, hits)
            steps += (Step("rerank", time.monotonic() - started, "; ".join(warnings)),)
        return hits[:top_k], warnings, steps

    def _reranked(self, words: str, hits: Sequence[Hit]) -> tuple[list[Hit], tuple[str, ...]]:
        from rag.rerank import rerank

        judged = rerank(words, hits, self._llm, top_n=self.settings.rerank_top_n, picture=_picture)
        return list(judged.hits), tuple(judged.warnings)

    def _located(self, hits: Sequence[Hit]) -> list[Hit]:
        paths = self._catalog.paths_of({hit.segment.asset_id for hit in hits})
        return [replace(hit, path=next(iter(paths.get(hit.segment.asset_id, ())), "")) for hit in hits]

    def _roll_back(self) -> None:
        """Take out what a killed run left half written; its files are read again by the next run."""
        from ingest.pipeline import roll_back

        # Another process may be writing right now (several may share a Qdrant server): nothing of it is left over.
        with contextlib.suppress(KnowledgeBaseBusy), self._writing():
            roll_back(self._stores)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the knowledge base for writing; the lock goes with the process, however that ends."""
        from rag.index.lock import FolderLock

        lock = FolderLock(self.path / "writing")
        try:
            yield
        finally:
            lock.release()

    @cached_property
    def _stores(self) -> Stores:
        from ingest.pipeline import Stores

        return Stores(self.settings, self._catalog, self._index, self._text, self._dual, self._thumbnails)

    @cached_property
    def _thumbnails(self) -> Path:
        return self.path / "thumbnails"

    @cached_property
    def _retriever(self) -> Retriever:
        from rag.retrieve import Retriever

        return Retriever(self._index, self._text, self._dual)

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
    """The pixels of a hit for a language model that sees; None for words and sound."""
    from rag.media import open_picture

    return open_picture(Path(hit.path), hit.segment.locator) if hit.segment.kind in PIXELS else None


def _disk_bytes(file: Path) -> int:
    """What a file takes on disk: the store reserves room in sparse files that it has not written yet."""
    stat = file.stat()
    return stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size


def _paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]


def _filter(modality: Modality | Sequence[Modality] | None, where: Where | None) -> Filter:
    modalities = [modality] if isinstance(modality, str) else modality or ()
    return Filter(modalities=frozenset(modalities), where=where or {})
