"""The SDK, and the only place where Exhibit's parts are put together."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from rag.config import Settings
from rag.contents import Contents, Status, disk_bytes
from rag.errors import KnowledgeBaseBusy
from rag.query.options import QueryOptions
from rag.types import Answer, AnswerChunk, FileResult, Filter, Hit, IngestReport

if TYPE_CHECKING:
    from ingest.pipeline import Progress, Stores
    from ingest.plan import Plan
    from rag.answering.open_question import Asked
    from rag.answering.query_engine import QueryEngine
    from rag.answering.transcribe import Transcription
    from rag.encoders import ModelCard
    from rag.encoders.base import Vectors
    from rag.index.base import Dense
    from rag.integrations.llamaindex import LlamaIndexAdapter
    from rag.media import MediaLibrary, Renderings
    from rag.personalization.store import PreferenceStore
    from rag.query.options import Modalities, Turn
    from rag.types import Modality, Where

Space = Literal["text", "joint"]  # what `embed` embeds in


class KnowledgeBase:
    """A collection of documents, images, audio and video that can be searched and asked.

    Open it with `KnowledgeBase.open`; use it as a context manager or `close` it. One process holds an embedded
    knowledge base at a time; threads may share it. Every method that does work has an async twin with an ``a`` before
    its name.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        from rag.catalog.catalog import Catalog
        from rag.encoders import load_audio_encoder, load_dual_encoder, load_text_encoder
        from rag.index import open_index
        from rag.retrieval.business_rules import parse_rules

        self.path, self.settings, self._rules = path, settings, parse_rules(settings.ranking)
        self._writer = 0  # the thread that writes
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
    def open(cls, path: str | Path = ".exhibit", settings: Settings | None = None) -> Self:
        """Open a knowledge base; make a new one if there is none.

        Args:
            path: its folder.
            settings: such as ``Settings(encoder="siglip", top_k=5)``; by default those of the environment.

        Raises:
            SettingsError: a setting of the environment is unknown or invalid.
            ModelError: an encoder's files are missing.
            KnowledgeBaseBusy: another process has it open.
            EncoderMismatch: it was built with other encoders.
            IndexUnavailable: it is damaged, or its server cannot be reached.
        """
        return cls(Path(path).absolute(), settings or Settings())

    def close(self) -> None:
        """Let go of the knowledge base, so that another process may open it."""
        if "preferences" in self.__dict__:
            self.preferences.close()
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
            self._engine.retriever.calibrator.calibrate()

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
        query: Asked,
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
        """Load the language model now, in a thread if you like, so that the first question does not wait for it.

        Raises:
            ModelError: the bundled model or its runtime is missing.
        """
        self._engine.load()

    @property
    def noise_floor(self) -> float:
        """The best score that a search for nonsense gets here; hits that score less fit no better than by chance."""
        return self._engine.retriever.calibrator.calibrate().noise_floor

    def null_scores(self) -> dict[str, list[float]]:
        """By channel of a search, its best scores for questions and pictures that hardly any collection answers."""
        return self._engine.retriever.calibrator.null_scores()

    def ask(
        self,
        question: Asked,
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
        question: Asked,
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
        question: Asked,
        *,
        modality: Modalities = None,
        where: Where | None = None,
        turns: Sequence[Turn] = (),
    ) -> Iterator[AnswerChunk]:
        """Answer as `ask` does and yield the text while it is written; the last chunk carries the whole answer."""
        yield from self._engine.stream(question, QueryOptions(modality, where, turns=turns))

    async def aask_stream(
        self,
        question: Asked,
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
        """Vectors (n, dimensions) of texts, in their order, at unit length.

        Args:
            texts: what an encoder does not see of a long one has no effect.
            space: ``text``, as passages are compared, or ``joint``, as words and pictures are.
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
        """What is said in a recording or film.

        Args:
            recording: its path or its bytes; it is read in a process of its own.
            language: code such as ``en``; the setting `language` by default, or else detected.

        Raises:
            QueryError: the transcriber does not know the language.
            MediaError: the recording cannot be read.
        """
        from rag.answering.transcribe import transcribed

        return transcribed(recording, self.settings, language)

    def status(self) -> Status:
        """Count what the knowledge base holds, and list the files that failed."""
        from rag.types import MODALITIES

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
        from rag.answering.transcribe import atranscribed

        return await atranscribed(recording, self.settings, language)

    async def aremove(self, paths: str | Path | Sequence[str | Path]) -> IngestReport:
        """Async twin of `remove`."""
        return await asyncio.to_thread(self.remove, paths)

    @cached_property
    def contents(self) -> Contents:
        """The assets, files, segments and vectors that it holds."""
        return Contents(self._catalog, self._index, lambda hits: self._engine.located(hits))

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

    @cached_property
    def llama_index(self) -> LlamaIndexAdapter:
        """Search, reranking and answers as objects of llama-index."""
        from rag.integrations.llamaindex import LlamaIndexAdapter

        return LlamaIndexAdapter(
            search=lambda words, top_k: self.search(words, top_k=top_k),
            rerank=self._engine.reordered,
            ask=self.ask,
            aask=self.aask,
            top_n=self.settings.evidence_n,
        )

    def _roll_back(self) -> None:
        """Take out what a killed run left half written; its files are read again by the next run."""
        from ingest.pipeline import roll_back

        # Another process may be writing right now (several may share a Qdrant server): nothing of it is left over.
        with contextlib.suppress(KnowledgeBaseBusy), self._writing():
            roll_back(self._stores)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the knowledge base for writing; the locks go with the process, however that ends.

        The thread that holds it may write between two files of its own run.
        """
        from rag.index.lock import FolderLock

        if self._writer == threading.get_ident():
            yield
            return
        lock = FolderLock(self.path / "writing")
        try:
            with self._catalog.write_lock():
                self._writer = threading.get_ident()
                yield
        finally:
            self._writer = 0
            lock.release()

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

        file = self.path / "calibration.json"
        retriever = Retriever(self._index, self._text, self._dual, self._audio, calibration_file=file)
        return QueryEngine(
            self.settings,
            retriever,
            self._catalog.paths_of,
            rules=self._rules,
            preferred=lambda hits, user: self.preferences.rank(hits, user),
        )

    @cached_property
    def _renderings(self) -> Renderings:
        from rag.media import Renderings

        return Renderings(self.path / "renderings")


def _paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
