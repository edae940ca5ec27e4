"""The server as an ASGI app, with the routes that tell operators whether it works."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
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
from rag.server.state import Gates, ServerOptions, ServerState, server_state

_log = logging.getLogger("exhibit.server")
_RENDERINGS_AT_ONCE = 2
_WAITING_RENDERINGS = 200  # a page of results requests all its pictures at once
_SEARCHES_AT_ONCE = 4
_READY_S = 10.0
_SUMMARY = "Folders of documents, images, audio and video as a model that answers with cited, visible evidence."


def create_app(
    folders: Sequence[Path],
    options: ServerOptions,
    *,
    when_ready: Callable[[], None] = lambda: None,
    settings: Settings | None = None,
) -> FastAPI:
    """Return the app that serves knowledge bases. They open when it starts and close when it ends.

    Args:
        folders: folders of the knowledge bases.
        options: how they are served.
        when_ready: called once the app has started.
        settings: settings of the knowledge bases; by default those of the environment.

    Raises:
        QueryError: two knowledge bases would have the same name.
    """
    state = ServerState(options, ServedBases(name_folders(folders), settings), RequestFigures())
    app = FastAPI(
        title="Exhibit",
        version=version("exhibit-rag"),
        summary=_SUMMARY,
        lifespan=lambda app: _run(state, when_ready),
        # FastAPI's own documentation pages load scripts from other sites. Any tool can read `/openapi.json`.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.exhibit = state
    problems.install(app)
    openapi.install(app)
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
async def _run(state: ServerState, when_ready: Callable[[], None]) -> AsyncIterator[None]:
    """Hold everything that is open while the server runs."""
    options, bases = state.options, state.bases
    options.state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as resources:
        keys = resources.enter_context(closing(Keys(options.state / "keys.db")))
        jobs = resources.enter_context(closing(JobStore(options.state / "jobs.db")))
        state.history = resources.enter_context(closing(History(options.state / "history.db")))
        key_ids = {"", *(key.id for key in keys.all())}
        state.history.keep_only(key_ids)
        resources.enter_context(bases)
        for base in bases.values():
            native.preference_routes.keep_only(base, key_ids)
        links = SignedLinks(read_secret(options.state))
        state.access = Access(bases, keys, options.is_open, links, options.public_url.rstrip("/"))
        state.gates = Gates(
            answer=Gate(options.running, options.waiting),
            search=Gate(_SEARCHES_AT_ONCE, options.waiting),
            embed=Gate(1, options.waiting),
            transcribe=Gate(1, options.waiting),
            render=Gate(_RENDERINGS_AT_ONCE, _WAITING_RENDERINGS),
        )
        state.fetcher = Fetcher(FetchLimits(min(int(base.settings.max_file_mb * 1e6) for base in bases.values())))
        state.runner = JobRunner(jobs, bases, state.fetcher)
        loading = asyncio.create_task(asyncio.to_thread(_load_models, bases))
        await asyncio.to_thread(state.runner.start)
        when_ready()
        yield
        await asyncio.to_thread(state.runner.stop)
        await loading
        await litellm_api.close()


operation = APIRouter(tags=["operation"])


@operation.get("/healthz", summary="Check that the server runs")
async def healthz() -> dict[str, str]:
    """Answers while the process runs."""
    return {"status": "ok"}


@operation.get("/readyz", summary="Check that the knowledge bases are available")
async def readyz(request: Request) -> dict[str, Any]:
    """Counts the segments of each knowledge base, which fails if a store is unreachable."""
    counts = (asyncio.to_thread(base.contents.count) for base in server_state(request.app).access.bases.values())
    try:
        async with asyncio.timeout(_READY_S):
            await asyncio.gather(*counts)
    except (IndexUnavailable, TimeoutError) as error:
        _log.warning("a store is unreachable", exc_info=error)
        raise problems.HTTPProblem(503, "A store is unreachable. See the server's log.") from error
    return {"status": "ready"}


def _load_models(bases: ServedBases) -> None:
    """Load the language models, so that the first question does not wait for them."""
    for base in bases.values():
        try:
            base.load()
        except ExhibitError as error:
            _log.warning("questions cannot be answered yet: %s", error)


def read_secret(state: Path) -> str:
    """Return the secret that signs links.

    It is created once and readable only by its owner. Several processes may share the folder.
    """
    file = state / "secret"
    with FileLock(state / "secret.lock"):
        if not file.exists() or not file.stat().st_size:
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(48), "ascii")
    return file.read_text("ascii")
