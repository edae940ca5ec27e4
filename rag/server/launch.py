"""Checks the options of a server and runs it with uvicorn, in one process or several."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import closing
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

_GRACE_S = 30  # to finish answers that are being written
_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def serve(folders: Sequence[Path], address: Address, options: ServerOptions, *, workers: int = 1) -> None:
    """Serve knowledge bases until the process is stopped.

    Args:
        folders: folders of the knowledge bases.
        address: where to listen.
        options: how they are served.
        workers: number of processes; each has its own models, limits and figures.

    Raises:
        SettingsError: others could use it without a key, its port is taken, or several processes would serve an
            embedded knowledge base.
        QueryError: two knowledge bases would have the same name.
        KnowledgeBaseBusy: another process has an embedded knowledge base open.
    """
    if workers > 1 and not Settings().qdrant_url:
        raise SettingsError(
            f"{workers} processes cannot share an embedded knowledge base. Set EXHIBIT_QDRANT_URL to a Qdrant server, "
            "or leave out --workers."
        )
    options = replace(options, is_open=_check_open(address, options.state))
    with _listen(address) as listener:
        if workers == 1:
            _serve(folders, options, listener)
            return
        read_secret(options.state)
        with ServedBases(name_folders(folders)):  # report problems once, not in each process
            _announce(folders, listener, options)
        ServerProcesses(_serve_in_process, (folders, options, listener), workers).run()


def _serve_in_process(
    folders: Sequence[Path], options: ServerOptions, listener: socket.socket, is_ready: Event
) -> None:
    """Serve as one of several processes."""
    log.configure()
    server = _make_server(create_app(folders, options, when_ready=is_ready.set))
    when_parent_exits(lambda: setattr(server, "should_exit", True))
    server.run([listener])


def _serve(folders: Sequence[Path], options: ServerOptions, listener: socket.socket) -> None:
    log.configure()
    app = create_app(folders, options)
    server_state(app).bases.open()
    _announce(folders, listener, options)
    _make_server(app).run([listener])


def _make_server(app: FastAPI) -> uvicorn.Server:
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",  # limits the size of headers; the other parser does not
        access_log=False,  # its lines contain whole URLs, which contain tokens
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    server_state(app).is_ending = lambda: server.should_exit  # ends open streams of events
    return server


def _announce(folders: Sequence[Path], listener: socket.socket, options: ServerOptions) -> None:
    host, port = listener.getsockname()[:2]
    url = options.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"Exhibit serves {', '.join(name_folders(folders))} at {url}; OpenAI's clients use {url}/v1.")
    print(f"API description: {url}/openapi.json")
    print("No key is needed from this machine." if options.is_open else "A key is needed: `exhibit keys`.", flush=True)


def _listen(address: Address) -> socket.socket:
    """Return a socket that listens at the address.

    Raises:
        SettingsError: this machine does not have the address, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        return socket.create_server(found[0][4][:2], family=found[0][0], backlog=_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"Cannot listen at {address.host}, port {address.port} ({error.strerror}). Choose others with --host and "
            "--port."
        ) from error


def _check_open(address: Address, state: Path) -> bool:
    """Return whether the server may be used without a key: no key exists, and only this machine reaches it.

    Raises:
        SettingsError: no key exists, and other machines could reach it.
    """
    state.mkdir(parents=True, exist_ok=True)
    with closing(Keys(state / "keys.db")) as keys:
        if keys.all():
            return False
    if not address.is_loopback:
        raise SettingsError(
            f"Other machines can reach the server at {address.host}, so it needs a key. Make one with "
            "`exhibit keys add NAME`, or serve on 127.0.0.1."
        )
    return True
