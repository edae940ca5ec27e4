"""Runs the server: what must hold before it may be reached, and uvicorn."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rag.errors import SettingsError
from rag.server.app import Options, create_app
from rag.server.bases import named
from rag.server.keys import Keys

_GRACE_S = 30  # answers that are being written may be finished


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


def serve(folders: Sequence[Path], address: Address, options: Options) -> None:
    """Serve knowledge bases until the process is told to stop.

    Raises:
        SettingsError: it would be open to others without a key.
        QueryError: two knowledge bases would have the same name.
    """
    import uvicorn

    options = replace(options, is_open=_is_open(address, options.state))
    app = create_app(folders, options)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    url = options.public_url or f"http://{address.host}:{address.port}"
    print(f"Exhibit serves {', '.join(named(folders))} at {url}; OpenAI's clients take {url}/v1.")
    print(f"What else it does: {url}/openapi.json")
    print("No key is needed from this machine." if options.is_open else "A key is needed: `exhibit keys`.", flush=True)
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        access_log=False,  # its lines hold whole URLs, and those hold tokens
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    app.state.is_ending = lambda: server.should_exit  # streams of events that would go on end with it
    server.run()


def _is_open(address: Address, state: Path) -> bool:
    """Whether no key is needed: there is none, and nobody else can reach the server.

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
