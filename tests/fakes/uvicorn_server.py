"""Exhibit's server in a thread of this process, run by uvicorn: on a Unix socket, or at a port for a browser."""

from __future__ import annotations

import asyncio
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

URL = "http://localhost"


@dataclass
class Running:
    """A running server, and the usual clients over its socket."""

    app: ASGIApp
    socket: str
    opened: ExitStack

    def http(self, key: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = httpx.HTTPTransport(uds=self.socket)
        client = httpx.Client(transport=transport, base_url=URL, headers=headers, timeout=300)
        self.opened.callback(client.close)
        return client

    def openai(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, http_client=self.http(), max_retries=0)

    def async_openai(self, key: str = "none") -> openai.AsyncOpenAI:
        """Return an async client; the test closes it in its own event loop."""
        client = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=self.socket), timeout=300)
        return openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=key, http_client=client, max_retries=0)


@contextmanager
def running(app: ASGIApp, folder: Path) -> Iterator[Running]:
    """Run the app on a Unix socket until the block ends."""
    socket = str(folder / "s")
    config = uvicorn.Config(app, uds=socket, log_level="warning", timeout_graceful_shutdown=5)
    with _in_a_thread(config), ExitStack() as opened:
        yield Running(app, socket, opened)


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Run the app at a port of this machine, for a browser, until the block ends; yield its address."""
    config = uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=30)
    with _in_a_thread(config) as server:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


@contextmanager
def _in_a_thread(config: uvicorn.Config) -> Iterator[uvicorn.Server]:
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(_serve(server),))
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join()


async def _serve(server: uvicorn.Server) -> None:
    """Serve until the end, then close the connections that clients hold open or have just opened."""
    await server.serve()
    this = asyncio.current_task()
    for _ in range(100):
        rest = asyncio.all_tasks() - {this}
        if not server.server_state.connections and not rest:
            break
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        for task in rest:
            task.cancel()
        await asyncio.sleep(0.02)
