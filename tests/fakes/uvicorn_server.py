"""Exhibit's server as it runs for users, in a thread of this process, on a Unix socket: tests open no other sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import uvicorn
from starlette.types import ASGIApp

from rag import gateway

URL = "http://localhost"


@dataclass
class Running:
    """A server that runs, and its clients, which are the stock ones with another transport."""

    app: ASGIApp
    socket: str
    opened: ExitStack

    def http(self, key: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = httpx.HTTPTransport(uds=self.socket)
        return self.opened.enter_context(httpx.Client(transport=transport, base_url=URL, headers=headers, timeout=300))

    def openai(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, http_client=self.http(), max_retries=0)

    def async_openai(self, key: str = "none") -> openai.AsyncOpenAI:
        """To be closed by the test, in its own event loop."""
        client = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=self.socket), timeout=300)
        return openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=key, http_client=client, max_retries=0)


@contextmanager
def running(app: ASGIApp, folder: Path) -> Iterator[Running]:
    """The app behind uvicorn until the end of the block."""
    gateway.litellm()  # what it warns of while it is imported is an error in a thread of a test
    socket = str(folder / "s")
    server = uvicorn.Server(uvicorn.Config(app, uds=socket, log_level="warning", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        with ExitStack() as opened:
            yield Running(app, socket, opened)
    finally:
        server.should_exit = True
        thread.join()
