"""HTTP servers in this process that speak the protocols of others."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """A server that keeps what it was asked: the JSON of a POST, the path of anything else."""

    def __init__(self, handler: type[Handler]) -> None:
        self.requests: list[Any] = []
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers by `answer`; subclasses say how."""

    server: Server

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.answer(request)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append(path)
        self.answer(path)

    do_HEAD = do_GET  # noqa: N815 - so is it called

    def answer(self, request: Any) -> None:
        raise NotImplementedError

    def send_json(self, status: int, value: Any) -> None:
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def running(handler: type[Handler]) -> Iterator[Server]:
    """A server that answers until the end of the block."""
    with Server(handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
