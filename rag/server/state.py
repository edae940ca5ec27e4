"""The state of a running server, and the function that returns it typed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from fastapi import FastAPI

    from rag.server.access import Access
    from rag.server.fetcher import Fetcher
    from rag.server.gate import Gate
    from rag.server.history import History
    from rag.server.job_runner import JobRunner
    from rag.server.rate_limit import RequestFigures
    from rag.server.served_bases import ServedBases


@dataclass(frozen=True)
class ServerOptions:
    """How a server serves its knowledge bases.

    Attributes:
        state: folder for keys, the signing secret, jobs and history.
        is_open: whether anyone may use it without a key while no key exists; only for loopback.
        public_url: start of every link, if the server is behind a proxy.
        running: number of questions answered at once.
        waiting: number of questions that may wait; further ones are refused.
        max_request_mb: largest request other than an upload.
        max_upload_mb: largest upload, all its files together.
        allow_urls: whether files may be fetched from the internet.
        questions_per_minute: limit for each key, or for each address where there are no keys; 0 for no limit.
        requests_per_minute: the same for all other requests.
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


@dataclass(frozen=True)
class Gates:
    """The gates before expensive work.

    Attributes:
        answer: questions, and searches that the language model reranks.
        search: searches.
        embed: embedding of texts.
        transcribe: transcriptions.
        render: pictures, clips and waveforms of evidence.
    """

    answer: Gate
    search: Gate
    embed: Gate
    transcribe: Gate
    render: Gate


@dataclass
class ServerState:
    """What the routes of a server share. The fields without a default are set when the server starts.

    Attributes:
        options: how it serves.
        bases: the knowledge bases.
        figures: counts of requests.
        is_ending: returns whether the server is shutting down.
        access: keys and links.
        history: stored questions and answers.
        gates: limits of concurrent work.
        fetcher: fetches files from the internet.
        runner: runs jobs and all other writing.
    """

    options: ServerOptions
    bases: ServedBases
    figures: RequestFigures
    is_ending: Callable[[], bool] = lambda: False
    access: Access = field(init=False)
    history: History = field(init=False)
    gates: Gates = field(init=False)
    fetcher: Fetcher = field(init=False)
    runner: JobRunner = field(init=False)


def server_state(app: FastAPI) -> ServerState:
    """Return the state of an app made by `rag.server.app.create_app`."""
    return cast("ServerState", app.state.exhibit)
