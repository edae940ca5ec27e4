"""The part of Qdrant's REST API that Exhibit uses, over qdrant-client's local mode, so that processes share a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from qdrant_client import QdrantClient, models

from tests.fakes.uvicorn_server import served


class Upsert(BaseModel):
    points: list[models.PointStruct]


class Batch(BaseModel):
    searches: list[models.QueryRequest]


class Store:
    """Collections that serve one request at a time, because the local mode is not thread-safe."""

    def __init__(self, client: QdrantClient) -> None:
        self.client, self._turn = client, threading.Lock()

    def app(self) -> FastAPI:
        """Return an app with the API."""
        app = FastAPI()
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/exists", self.exists),
            ("GET", "", self.get),
            ("PUT", "", self.create),
            ("PUT", "/index", self.index),
            ("PUT", "/points", self.upsert),
            ("POST", "/points/query/batch", self.query),
            ("POST", "/points", self.retrieve),
            ("POST", "/points/scroll", self.scroll),
            ("POST", "/points/count", self.count),
            ("POST", "/points/delete", self.delete),
        ]
        for method, path, serve in routes:
            app.add_api_route(f"/collections/{{name}}{path}", serve, methods=[method])
        return app

    def _answer(self, work: Callable[[], Any]) -> dict[str, Any]:
        with self._turn:
            return {"result": _plain(work()), "status": "ok", "time": 0.0}

    def exists(self, name: str) -> Any:
        return self._answer(lambda: {"exists": self.client.collection_exists(name)})

    def get(self, name: str) -> Any:
        return self._answer(lambda: self.client.get_collection(name))

    def create(self, name: str, sent: models.CreateCollection) -> Any:
        how = {"vectors_config": sent.vectors, "sparse_vectors_config": sent.sparse_vectors, "metadata": sent.metadata}
        return self._answer(lambda: self.client.create_collection(name, **how))

    def index(self, name: str) -> Any:
        return self._answer(lambda: {"operation_id": 0, "status": "completed"})

    def upsert(self, name: str, sent: Upsert) -> Any:
        return self._answer(lambda: self.client.upsert(name, sent.points))

    def query(self, name: str, sent: Batch) -> Any:
        return self._answer(lambda: self.client.query_batch_points(name, sent.searches))

    def retrieve(self, name: str, sent: models.PointRequest) -> Any:
        how = {"with_payload": sent.with_payload, "with_vectors": sent.with_vector or False}
        return self._answer(lambda: self.client.retrieve(name, sent.ids, **how))

    def scroll(self, name: str, sent: models.ScrollRequest) -> Any:
        how = {"offset": sent.offset, "with_payload": sent.with_payload}
        pair = self._answer(lambda: self.client.scroll(name, sent.filter, limit=sent.limit or 10, **how))
        points, after = pair["result"]
        return pair | {"result": {"points": points, "next_page_offset": after}}

    def count(self, name: str, sent: models.CountRequest) -> Any:
        return self._answer(lambda: self.client.count(name, sent.filter))

    def delete(self, name: str, sent: models.FilterSelector) -> Any:
        return self._answer(lambda: self.client.delete(name, sent))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


@contextmanager
def running() -> Iterator[str]:
    """Run a server at a port of this machine until the block ends; yield its address."""
    with closing(QdrantClient(":memory:")) as client, served(Store(client).app()) as url:
        yield url
