"""The server as an ASGI app: its parts put together, and what tells operators whether it runs."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request

from rag import gateway
from rag.errors import ExhibitError
from rag.server import chat, conversations, embeddings, evidence, native, page, problems, responses, transcriptions
from rag.server.access import Access
from rag.server.addresses import Bounds, Fetcher
from rag.server.bases import Bases, named
from rag.server.gate import Gate
from rag.server.guard import Guard, RequestLog, well_formed
from rag.server.history import History
from rag.server.jobs import Jobs
from rag.server.keys import Keys
from rag.server.limits import Figures, RateLimit
from rag.server.links import Links
from rag.server.runner import Runner

_log = logging.getLogger("exhibit.server")
_RENDERED_AT_ONCE = 2
_SEARCHED_AT_ONCE = 4
_SUMMARY = "Folders of documents, images, audio and video as a model that answers with cited, visible evidence."


@dataclass(frozen=True)
class Options:
    """How a server serves.

    Attributes:
        state: folder for its keys, its secret, and what was asked and answered.
        is_open: whether everybody may use it without a key; only for loopback.
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


def create_app(folders: Sequence[Path], options: Options, **settings: Any) -> FastAPI:
    """The app that serves knowledge bases; they are opened when it starts and closed when it ends.

    Args:
        folders: of the knowledge bases.
        options: how they are served.
        **settings: changes to `Settings`, over the environment.

    Raises:
        QueryError: two of them would have the same name.
    """
    bases = Bases(named(folders), **settings)
    app = FastAPI(
        title="Exhibit",
        version=version("exhibit-rag"),
        summary=_SUMMARY,
        lifespan=lambda app: _serving(app, bases, options),
        # FastAPI's own pages about the API are made of scripts from elsewhere; `/openapi.json` is read by any tool.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    app.state.options, app.state.figures, app.state.is_ending = options, Figures(), lambda: False
    for part in (chat, responses, conversations, embeddings, transcriptions, evidence, native):
        app.include_router(part.router, dependencies=[Depends(well_formed)])
    app.include_router(operation)
    page.install(app)
    app.add_middleware(RateLimit, questions=options.questions_per_minute, others=options.requests_per_minute)
    largest = {"max_bytes": int(options.max_request_mb * 1e6), "max_upload_bytes": int(options.max_upload_mb * 1e6)}
    app.add_middleware(Guard, is_open=options.is_open, **largest)
    app.add_middleware(RequestLog)
    return app


@asynccontextmanager
async def _serving(app: FastAPI, bases: Bases, options: Options) -> AsyncIterator[None]:
    """Everything that is held while the server runs."""
    options.state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        keys = held.enter_context(closing(Keys(options.state / "keys.db")))
        jobs = held.enter_context(closing(Jobs(options.state / "jobs.db")))
        app.state.history = held.enter_context(closing(History(options.state / "history.db")))
        known = {"", *(key.id for key in keys.all())}
        app.state.history.keep_only(known)
        held.enter_context(bases)
        for base in bases.values():
            native.tastes.keep_only(base, known)
        links = Links(_secret(options.state / "secret"))
        app.state.access = Access(bases, keys, options.is_open, links, options.public_url.rstrip("/"))
        app.state.gate = Gate(options.running, options.waiting)
        app.state.searching = Gate(_SEARCHED_AT_ONCE, options.waiting)
        app.state.embedding, app.state.transcribing = Gate(1, options.waiting), Gate(1, options.waiting)
        app.state.rendering = asyncio.Semaphore(_RENDERED_AT_ONCE)
        app.state.fetcher = Fetcher(Bounds(min(int(base.settings.max_file_mb * 1e6) for base in bases.values())))
        app.state.runner = Runner(jobs, bases, app.state.fetcher)
        loading = asyncio.create_task(asyncio.to_thread(_load, bases))
        await asyncio.to_thread(app.state.runner.start)
        yield
        await asyncio.to_thread(app.state.runner.stop)
        await loading
        await gateway.close()


operation = APIRouter(tags=["operation"])


@operation.get("/healthz", summary="Whether the server runs")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


@operation.get("/readyz", summary="Whether the knowledge bases can be asked")
async def readyz(request: Request) -> dict[str, Any]:
    """Counts the segments of each knowledge base, which fails where a store cannot be reached."""
    access: Access = request.app.state.access
    await asyncio.gather(*(asyncio.to_thread(base.count) for base in access.bases.values()))
    return {"status": "ready"}


def _load(bases: Bases) -> None:
    """Load the language models, so that the first question does not wait for them."""
    for base in bases.values():
        try:
            base.load()
        except ExhibitError as error:
            _log.warning("no question can be answered yet: %s", error)


def _secret(file: Path) -> str:
    """What links are signed with, made once and readable by the owner alone."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(48), "ascii")
    return file.read_text("ascii")
