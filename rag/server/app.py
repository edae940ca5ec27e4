"""The server as an ASGI app: its parts put together, and what tells operators whether it runs."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from filelock import FileLock

from rag.config import Settings
from rag.errors import ExhibitError, IndexUnavailable
from rag.llm import litellm_api
from rag.server import evidence_views, native, openapi, problems, web_page
from rag.server.access import Access
from rag.server.fetcher import Fetcher, FetchLimits
from rag.server.gate import Gate
from rag.server.guard import Guard, RequestLog, require_valid_unicode
from rag.server.history import History
from rag.server.job_runner import JobRunner
from rag.server.job_store import JobStore
from rag.server.keys import Keys
from rag.server.openai import chat, conversations, embeddings, responses, transcriptions
from rag.server.rate_limit import RateLimit, RequestFigures
from rag.server.served_bases import ServedBases, name_folders
from rag.server.signed_links import SignedLinks

_log = logging.getLogger("exhibit.server")
_RENDERED_AT_ONCE = 2
_RENDERED_LATER = 200  # a page of results asks for all its pictures at once
_SEARCHED_AT_ONCE = 4
_READY_S = 10.0
_SUMMARY = "Folders of documents, images, audio and video as a model that answers with cited, visible evidence."


@dataclass(frozen=True)
class ServerOptions:
    """How a server serves.

    Attributes:
        state: folder for its keys, its secret, and what was asked and answered.
        is_open: whether everybody may use it without a key as long as there is none; only for loopback.
        public_url: what links begin with, where a proxy stands before it.
        running: questions that are answered at once.
        waiting: questions that may wait for their turn; one more is refused.
        max_request_mb: largest request, but for uploads.
        max_upload_mb: largest upload, of all its files together.
        allow_urls: whether addresses on the internet may be taken in.
        questions_per_minute: of one key, or one address where there are no keys; 0 for as many as come.
        requests_per_minute: likewise, of all other requests.
    """

    state: Path
    is_open: bool = False
    public_url: str = ""
    running: int = 1
    waiting: int = 8
    max_request_mb: float = 32.0
    max_upload_mb: float = 4096.0
    allow_urls: bool = False
    questions_per_minute: int = 120
    requests_per_minute: int = 1200


def create_app(
    folders: Sequence[Path],
    options: ServerOptions,
    *,
    when_ready: Callable[[], None] = lambda: None,
    settings: Settings | None = None,
) -> FastAPI:
    """The app that serves knowledge bases; they are opened when it starts and closed when it ends.

    Args:
        folders: of the knowledge bases.
        options: how they are served.
        when_ready: called when it has started.
        settings: of the knowledge bases; by default those of the environment.

    Raises:
        QueryError: two of them would have the same name.
    """
    bases = ServedBases(name_folders(folders), settings)
    app = FastAPI(
        title="Exhibit",
        version=version("exhibit-rag"),
        summary=_SUMMARY,
        lifespan=lambda app: _serving(app, bases, options, when_ready),
        # FastAPI's own pages about the API are made of scripts from elsewhere; `/openapi.json` is read by any tool.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
    )
    problems.install(app)
    openapi.install(app)
    app.state.bases, app.state.options, app.state.figures = bases, options, RequestFigures()
    app.state.is_ending = lambda: False
    for part in (chat, responses, conversations, embeddings, transcriptions, evidence_views, native):
        app.include_router(part.router, dependencies=[Depends(require_valid_unicode)])
    app.include_router(operation)
    web_page.install(app)
    app.add_middleware(RateLimit, questions=options.questions_per_minute, others=options.requests_per_minute)
    largest = {"max_bytes": int(options.max_request_mb * 1e6), "max_upload_bytes": int(options.max_upload_mb * 1e6)}
    app.add_middleware(Guard, is_open=options.is_open, **largest)
    app.add_middleware(RequestLog)
    return app


@asynccontextmanager
async def _serving(
    app: FastAPI, bases: ServedBases, options: ServerOptions, when_ready: Callable[[], None]
) -> AsyncIterator[None]:
    """Everything that is held while the server runs."""
    options.state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        keys = held.enter_context(closing(Keys(options.state / "keys.db")))
        jobs = held.enter_context(closing(JobStore(options.state / "jobs.db")))
        app.state.history = held.enter_context(closing(History(options.state / "history.db")))
        known = {"", *(key.id for key in keys.all())}
        app.state.history.keep_only(known)
        held.enter_context(bases)
        for base in bases.values():
            native.preference_routes.keep_only(base, known)
        links = SignedLinks(secret(options.state))
        app.state.access = Access(bases, keys, options.is_open, links, options.public_url.rstrip("/"))
        app.state.gate = Gate(options.running, options.waiting)
        app.state.searching = Gate(_SEARCHED_AT_ONCE, options.waiting)
        app.state.embedding, app.state.transcribing = Gate(1, options.waiting), Gate(1, options.waiting)
        app.state.rendering = Gate(_RENDERED_AT_ONCE, _RENDERED_LATER)
        app.state.fetcher = Fetcher(FetchLimits(min(int(base.settings.max_file_mb * 1e6) for base in bases.values())))
        app.state.runner = JobRunner(jobs, bases, app.state.fetcher)
        loading = asyncio.create_task(asyncio.to_thread(_load, bases))
        await asyncio.to_thread(app.state.runner.start)
        when_ready()
        yield
        await asyncio.to_thread(app.state.runner.stop)
        await loading
        await litellm_api.close()


operation = APIRouter(tags=["operation"])


@operation.get("/healthz", summary="Whether the server runs")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


@operation.get("/readyz", summary="Whether the knowledge bases can be asked")
async def readyz(request: Request) -> dict[str, Any]:
    """Counts the segments of each knowledge base, which fails where a store cannot be reached."""
    access: Access = request.app.state.access
    counting = (asyncio.to_thread(base.count) for base in access.bases.values())
    try:
        async with asyncio.timeout(_READY_S):
            await asyncio.gather(*counting)
    except (IndexUnavailable, TimeoutError) as error:
        _log.warning("a store cannot be reached", exc_info=error)
        raise problems.Problem(503, "A store cannot be reached; the server's log says which.") from error
    return {"status": "ready"}


def _load(bases: ServedBases) -> None:
    """Load the language models, so that the first question does not wait for them."""
    for base in bases.values():
        try:
            base.load()
        except ExhibitError as error:
            _log.warning("no question can be answered yet: %s", error)


def secret(state: Path) -> str:
    """What links are signed with, made once and readable by the owner alone; processes may share the folder."""
    file = state / "secret"
    with FileLock(state / "secret.lock"):
        if not file.exists() or not file.stat().st_size:
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(48), "ascii")
    return file.read_text("ascii")
