"""Runs the server: what must hold before it may be reached, and uvicorn, in one process or several."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING

from rag.config import Settings
from rag.errors import SettingsError
from rag.server import log
from rag.server.app import create_app, read_secret
from rag.server.keys import Keys
from rag.server.processes import ServerProcesses, when_parent_exits
from rag.server.served_bases import ServedBases, name_folders
from rag.server.state import ServerOptions, server_state

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

_GRACE_S = 30  # answers that are being written may be finished
_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def is_loopback(self) -> bool:
        """Whether nobody beyond this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def serve(folders: Sequence[Path], address: Address, options: ServerOptions, *, workers: int = 1) -> None:
    """Serve knowledge bases until the process is told to stop.

    Args:
        folders: of the knowledge bases.
        address: where to listen.
        options: how they are served.
        workers: number of processes; each has models, limits and figures of its own.

    Raises:
        SettingsError: it would be open to others without a key, or its port is taken, or several processes would serve
            an embedded knowledge base.
        QueryError: two knowledge bases would have the same name.
        KnowledgeBaseBusy: another process holds an embedded one.
    """
    if workers > 1 and not Settings().qdrant_url:
        raise SettingsError(
            f"{workers} processes cannot serve an embedded knowledge base, which one holds at a time. Name a Qdrant "
            "server, which they can share, in EXHIBIT_QDRANT_URL; or leave out --workers."
        )
    options = replace(options, is_open=_is_open(address, options.state))
    with _listening(address) as listener:
        if workers == 1:
            _serve(folders, options, listener)
            return
        read_secret(options.state)
        with ServedBases(name_folders(folders)):  # what is wrong with them is told once
            _announce(folders, listener, options)
        ServerProcesses(_serve_beside, (folders, options, listener), workers).run()


def _serve_beside(folders: Sequence[Path], options: ServerOptions, listener: socket.socket, is_ready: Event) -> None:
    """Serve as one process of several."""
    log.configure()
    server = _server(create_app(folders, options, when_ready=is_ready.set))
    when_parent_exits(lambda: setattr(server, "should_exit", True))
    server.run([listener])


def _serve(folders: Sequence[Path], options: ServerOptions, listener: socket.socket) -> None:
    log.configure()
    app = create_app(folders, options)
    server_state(app).bases.open()
    _announce(folders, listener, options)
    _server(app).run([listener])


def _server(app: FastAPI) -> uvicorn.Server:
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",  # bounds what comes before a body; another parser, where it is installed, does not
        access_log=False,  # its lines hold whole URLs, and those hold tokens
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    server_state(app).is_ending = lambda: server.should_exit  # streams of events that would go on end with it
    return server


def _announce(folders: Sequence[Path], listener: socket.socket, options: ServerOptions) -> None:
    host, port = listener.getsockname()[:2]
    url = options.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"Exhibit serves {', '.join(name_folders(folders))} at {url}; OpenAI's clients take {url}/v1.")
    print(f"What else it does: {url}/openapi.json")
    print("No key is needed from this machine." if options.is_open else "A key is needed: `exhibit keys`.", flush=True)


def _listening(address: Address) -> socket.socket:
    """The socket on which the server listens.

    Raises:
        SettingsError: there is no such address here, or its port is taken.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        return socket.create_server(found[0][4][:2], family=found[0][0], backlog=_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"Nothing can listen at {address.host}, port {address.port} ({error.strerror}); choose others with --host "
            "and --port."
        ) from error


def _is_open(address: Address, state: Path) -> bool:
    """Whether no key is needed as long as there is none: nobody else can reach the server.

    Raises:
        SettingsError: there is none, and others could.
    """
    state.mkdir(parents=True, exist_ok=True)
    keys = Keys(state / "keys.db")
    try:
        if keys.all():
            return False
    finally:
        keys.close()
    if not address.is_loopback:
        raise SettingsError(
            f"At {address.host} others reach the server, so it needs a key: make one with `exhibit keys add NAME`, or "
            "serve on 127.0.0.1."
        )
    return True
