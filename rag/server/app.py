"""The server as an ASGI app: its parts put together, and what tells operators whether it runs."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request

from rag.errors import ExhibitError
from rag.server import chat, evidence, page, problems
from rag.server.access import Access
from rag.server.bases import Bases, named
from rag.server.gate import Gate
from rag.server.guard import Guard, RequestLog
from rag.server.keys import Keys
from rag.server.links import Links

_log = logging.getLogger("exhibit.server")
_RENDERED_AT_ONCE = 2
_SUMMARY = "Folders of documents, images, audio and video as a model that answers with cited, visible evidence."


@dataclass(frozen=True)
class Options:
    """How a server serves.

    Attributes:
        state: folder for its keys and its secret.
        is_open: whether everybody may use it without a key; only for loopback.
        public_url: what links begin with, where a proxy stands before it.
        running: questions that are answered at once.
        waiting: questions that may wait for their turn; one more is refused.
        max_request_mb: largest request.
    """

    state: Path
    is_open: bool = False
    public_url: str = ""
    running: int = 1
    waiting: int = 8
    max_request_mb: float = 32.0


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

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        options.state.mkdir(parents=True, exist_ok=True)
        keys = Keys(options.state / "keys.db")
        try:
            with bases:
                links = Links(_secret(options.state / "secret"))
                app.state.access = Access(bases, keys, options.is_open, links, options.public_url.rstrip("/"))
                app.state.gate = Gate(options.running, options.waiting)
                app.state.rendering = asyncio.Semaphore(_RENDERED_AT_ONCE)
                loading = asyncio.create_task(asyncio.to_thread(_load, bases))
                yield
                await loading
        finally:
            keys.close()

    app = FastAPI(title="Exhibit", version=version("exhibit-rag"), summary=_SUMMARY, lifespan=lifespan)
    problems.install(app)
    for part in (chat, evidence):
        app.include_router(part.router)
    app.include_router(operation)
    page.install(app)
    app.add_middleware(Guard, is_open=options.is_open, max_bytes=int(options.max_request_mb * 1e6))
    app.add_middleware(RequestLog)
    return app


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
