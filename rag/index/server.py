"""The same store on a Qdrant server or cluster, which many processes may share.

The server chooses between exact search and its graph index, and takes the payload indexes created here into account. In
the tests, qdrant-client's local mode stands in for the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit, urlunsplit

from rag.encoders.base import ModelCard, Vectors
from rag.errors import IndexUnavailable, SettingsError
from rag.index.base import (
    EXCLUDED,
    KEYWORDS,
    ChannelQuery,
    Dense,
    IndexedSegment,
    ScoredSegments,
    StoredPoint,
    check_cards,
    collection_metadata,
    dense_vector,
    query_vector,
    to_points,
    to_segment,
)
from rag.index.bm25 import Sparse
from rag.query.filters import Clause, Group, parse_filter
from rag.types import Filter, Segment

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

COLLECTION = "exhibit"
_TIMEOUT_S = 30
# A point with two 384-d vectors is about 20 kB of JSON, and a server rejects requests above 32 MB.
_POINTS_PER_REQUEST = 256
_PAGE = 1000


def connect(url: str, api_key: str | None) -> tuple[QdrantClient, str]:
    """Return a client for a server, and the name of the collection.

    Args:
        url: such as ``https://host:6333`` or ``https://host:6333?collection=media``; the default is ``exhibit``.
        api_key: API key of the server.

    Raises:
        SettingsError: the URL is malformed.
    """
    from qdrant_client import QdrantClient

    try:
        parts = urlsplit(url)
        collection = parse_qs(parts.query).get("collection", [COLLECTION])[0]
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(url)
        bare = urlunsplit(parts._replace(query="", fragment=""))
        client = QdrantClient(url=bare, api_key=api_key, timeout=_TIMEOUT_S, check_compatibility=False)
    except ValueError as error:
        raise SettingsError(f"EXHIBIT_QDRANT_URL={url} is not a URL such as http://localhost:6333.") from error
    return client, collection


class ServerIndex:
    """Segments in one collection of a server; its metadata holds the encoders' cards."""

    def __init__(
        self, client: QdrantClient, collection: str, cards: Mapping[Dense, ModelCard], owner: str = ""
    ) -> None:
        """Open the collection, or create it for the catalog `owner`.

        Raises:
            EncoderMismatch: it was built with other encoders.
            IndexUnavailable: the server is unreachable or refuses, or the collection belongs to another catalog.
        """
        self._client, self._collection, self._cards = client, collection, cards
        with self._map_errors():
            if not client.collection_exists(collection):
                self._create(owner)
            stored = client.get_collection(collection).config.metadata or {}
        check_cards(stored, cards, f"Collection `{collection}`")
        if stored.get("catalog") != owner:
            raise IndexUnavailable(
                f"Collection `{collection}` belongs to another knowledge base. Name another one in the URL, as in "
                "EXHIBIT_QDRANT_URL=http://localhost:6333?collection=mine, or share the catalog: EXHIBIT_CATALOG_URL."
            )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def upsert(self, batch: Sequence[IndexedSegment]) -> None:
        """Write segments; see `SegmentIndex.upsert`."""
        ready = [_to_point(point) for point in to_points(batch, self._cards)]
        for start in range(0, len(ready), _POINTS_PER_REQUEST):
            with self._map_errors():
                self._client.upsert(self._collection, ready[start : start + _POINTS_PER_REQUEST], wait=True)

    def search(self, queries: Sequence[ChannelQuery]) -> list[ScoredSegments]:
        """Find segments; see `SegmentIndex.search`. All queries go in one request."""
        requests = [self._request(query) for query in queries]
        if not requests:
            return []
        with self._map_errors():
            answers = self._client.query_batch_points(self._collection, requests)
        return [[(to_segment(hit.payload), hit.score) for hit in answer.points] for answer in answers]

    def read(self, segment_ids: Sequence[str]) -> list[Segment]:
        """Return whole segments by id; see `SegmentIndex.read`."""
        with self._map_errors():
            records = self._client.retrieve(self._collection, list(segment_ids), with_payload=True)
        found = {str(record.id): to_segment(record.payload) for record in records}
        return [found[name] for name in segment_ids if name in found]

    def vectors(self, segment_ids: Sequence[str], name: Dense) -> dict[str, Vectors]:
        """Return vectors by segment; see `SegmentIndex.vectors`."""
        with self._map_errors():
            records = self._client.retrieve(
                self._collection, list(segment_ids), with_payload=False, with_vectors=[name]
            )
        held = ((str(record.id), dense_vector(record.vector, name)) for record in records)
        return {key: vector for key, vector in held if vector is not None}

    def segments_of(self, asset_id: str) -> list[Segment]:
        """Return all segments of an asset, by ordinal."""
        scope = _filter(Filter(asset_ids=frozenset({asset_id})))
        found: list[Segment] = []
        offset: Any = None
        while True:
            with self._map_errors():
                records, offset = self._client.scroll(
                    self._collection, scroll_filter=scope, limit=_PAGE, offset=offset, with_payload=True
                )
            found += [to_segment(record.payload) for record in records]
            if offset is None:
                return sorted(found, key=lambda one: one.ordinal)

    def count(self, scope: Filter | None = None) -> int:
        """Return the number of segments that match a filter."""
        condition = _filter(scope or Filter())
        with self._map_errors():
            return self._client.count(self._collection, count_filter=condition, exact=True).count

    def delete_assets(self, asset_ids: Sequence[str]) -> None:
        """Delete all segments of some assets."""
        from qdrant_client import models

        if asset_ids:
            selector = models.FilterSelector(filter=_filter(Filter(asset_ids=frozenset(asset_ids))))
            with self._map_errors():
                self._client.delete(self._collection, selector, wait=True)

    def flush(self) -> None:
        """Do nothing: each write waits until the server has it in its log."""

    def _create(self, owner: str) -> None:
        from qdrant_client import models

        self._client.create_collection(
            self._collection,
            vectors_config={
                name: models.VectorParams(size=card.dimensions, distance=models.Distance.COSINE)
                for name, card in self._cards.items()
            },
            sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            metadata={**collection_metadata(self._cards), "catalog": owner},
        )
        for key in KEYWORDS:
            self._client.create_payload_index(self._collection, key, models.PayloadSchemaType.KEYWORD)

    def _request(self, query: ChannelQuery) -> models.QueryRequest:
        from qdrant_client import models

        return models.QueryRequest(
            query=_to_vector(query_vector(query, self._cards)),
            using=query.vector,
            filter=_filter(query.filter),
            limit=query.limit,
            with_payload=models.PayloadSelectorExclude(exclude=[EXCLUDED]),
        )

    @contextmanager
    def _map_errors(self) -> Iterator[None]:
        """Map the errors of qdrant-client to IndexUnavailable."""
        from qdrant_client.common.client_exceptions import QdrantException
        from qdrant_client.http.exceptions import ApiException

        try:
            yield
        except (ApiException, QdrantException) as error:
            raise IndexUnavailable(
                f"The Qdrant server failed on collection `{self._collection}` ({error}). Check that it runs, and check "
                "EXHIBIT_QDRANT_URL and EXHIBIT_QDRANT_API_KEY."
            ) from error


def _to_point(point: StoredPoint) -> models.PointStruct:
    from qdrant_client import models

    vectors: Any = {name: _to_vector(vector) for name, vector in point.vectors.items()}
    return models.PointStruct(id=point.id, vector=vectors, payload=point.payload)


def _to_vector(vector: Vectors | Sparse) -> list[float] | models.SparseVector:
    from qdrant_client import models

    if isinstance(vector, tuple):
        return models.SparseVector(indices=vector[0], values=vector[1])
    numbers: list[float] = vector.tolist()
    return numbers


def _filter(scope: Filter) -> models.Filter:
    return _group(parse_filter(scope))


def _group(group: Group) -> models.Filter:
    from qdrant_client import models

    members: Any = [_group(member) if isinstance(member, Group) else _condition(member) for member in group.members]
    match group.how:
        case "and":
            return models.Filter(must=members)
        case "or":
            return models.Filter(should=members)
        case "not":
            return models.Filter(must_not=members)


def _condition(clause: Clause) -> models.Filter:
    from qdrant_client import models

    matches: list[Any] = [models.MatchAny(any=list(clause.texts))] if clause.texts else []
    matches += [models.MatchValue(value=flag) for flag in clause.flags]
    wanted: list[Any] = [models.FieldCondition(key=clause.key, match=match) for match in matches]
    wanted += [models.FieldCondition(key=clause.key, range=models.Range(**bounds)) for bounds in clause.ranges]
    if clause.near is not None:
        centre = models.GeoPoint(lon=clause.near.lon, lat=clause.near.lat)
        circle = models.GeoRadius(center=centre, radius=1000 * clause.near.km)
        wanted.append(models.FieldCondition(key=clause.key, geo_radius=circle))
    return models.Filter(should=wanted)
