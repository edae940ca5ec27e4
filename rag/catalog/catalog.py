"""The catalog: assets, the files that hold them, their state, and the reason why a file is not indexed.

The catalog decides and the vector store follows. An asset's segments are written between `Catalog.begin` and
`Catalog.finish`, and deleted from the store before its row is. So `Catalog.interrupted` finds everything that a killed
run left unfinished.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from rag.catalog import database
from rag.catalog.catalog_tables import STEPS, define_tables
from rag.catalog.migrations import upgrade
from rag.errors import KnowledgeBaseBusy
from rag.text import escape_surrogates
from rag.types import FileResult, Medium, Scalar, Source

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOCK = 0x6578686962  # any number that other programs are unlikely to lock in the same database
_IDS_PER_QUERY = 500  # SQLite takes at most 32,766 variables; PostgreSQL plans short lists faster


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """An asset whose segments are all in the store.

    Attributes:
        id: derived from the content's SHA-256.
        segments: number of its segments; 0 means that it has no content to index.
    """

    id: str
    segments: int


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """An asset whose segments are all in the store, as shown in lists.

    Attributes:
        id: id of the asset.
        path: path of the first of its files.
        media_type: IANA media type of its content.
        medium: document, image, audio or video.
        size: size in bytes.
        segments: number of its segments; 0 means that it has no content to index.
    """

    id: str
    path: Path
    media_type: str
    medium: Medium
    size: int
    segments: int


class Catalog:
    """The catalog behind a SQLAlchemy URL; every operation is one transaction, and threads may share it.

    Raises:
        IndexUnavailable: from any method, if the database is unreachable, damaged, or from a newer version.
    """

    def __init__(self, url: str) -> None:
        self._tables = define_tables()
        self._assets, self._files = self._tables.assets, self._tables.files
        with database.map_errors():
            self._engine = database.open_engine(url)
            upgrade(self._engine, self._tables.metadata, STEPS, name="exhibit")

    @property
    def identity(self) -> str:
        """The catalog's own UUID; a collection on a server belongs to one catalog."""
        with self._transaction() as connection:
            identity: str | None = connection.scalar(self._tables.identity.select())
            if identity is None:
                identity = str(uuid.uuid4())
                connection.execute(self._tables.identity.insert().values(id=identity))
            return identity

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold the lock for writing among all machines that share a PostgreSQL; it ends with the connection.

        Raises:
            KnowledgeBaseBusy: another process holds it.
        """
        import sqlalchemy as sa

        if self._engine.dialect.name != "postgresql":  # a file is protected by the lock of its folder
            yield
            return
        with database.map_errors():
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            is_held = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK)))
        try:
            if not is_held:
                raise KnowledgeBaseBusy("Another process is writing to this catalog. Wait until it finishes.")
            yield
        finally:
            connection.invalidate()  # in the pool, the connection would keep the lock
            connection.close()

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def find_unchanged(
        self, path: Path, recipe: str, captions: Iterable[str], fields: Mapping[str, Scalar] | None = None
    ) -> AssetRecord | None:
        """Return the finished asset of a file that is unchanged by size, modification time and recipe, or None.

        Captions that are gone do not count as a change, because their document may be elsewhere. Fields count only if
        a product table was read; otherwise they are None.
        """
        assets, files = self._assets, self._files
        try:
            stat = os.stat(path)
        except OSError:
            return None
        is_same = (
            (files.c.path == _encode_path(path))
            & (files.c.size == stat.st_size)
            & (files.c.mtime_ns == stat.st_mtime_ns)
        )
        query = assets.select().join(files, files.c.asset_id == assets.c.id).where(is_same)
        with self._transaction() as connection:
            return _match_record(connection.execute(query).mappings().first(), recipe, captions, fields)

    def find_finished(self, source: Source, recipe: str, *, is_catalogued: bool = False) -> AssetRecord | None:
        """Return the finished asset with this content and recipe, from any file, or None.

        Args:
            source: the file.
            recipe: see `ingest.pipeline.recipe`.
            is_catalogued: whether a product table that covers the file was read, so that its fields are complete.
        """
        query = self._assets.select().where(self._assets.c.id == source.asset_id)
        fields = source.fields if is_catalogued else None
        with self._transaction() as connection:
            return _match_record(connection.execute(query).mappings().first(), recipe, source.captions, fields)

    def attach(self, source: Source) -> list[str]:
        """Record that a file holds this content; return the ids of assets that have lost their last file."""
        with self._transaction() as connection:
            return self._attach(connection, source)

    def begin(self, source: Source, recipe: str) -> list[str]:
        """Mark an asset as being written, for this file; return the ids of assets that have lost their last file."""
        row = {
            "sha256": source.sha256,
            "size": source.size,
            "media_type": source.media_type,
            "medium": source.medium,
            "state": "indexing",
            "segments": 0,
            "recipe": recipe,
            "captions": [*source.captions, *([dict(source.fields)] if source.fields else [])],
        }
        with self._transaction() as connection:
            self._upsert(connection, self._assets, "id", source.asset_id, row)
            return self._attach(connection, source)

    def finish(self, asset_id: str, segments: int) -> None:
        """Mark an asset as completely written."""
        assets = self._assets
        with self._transaction() as connection:
            connection.execute(assets.update().where(assets.c.id == asset_id).values(state="done", segments=segments))

    def fail(self, path: Path, reason: str, source: Source | None = None) -> list[str]:
        """List a file as failed; return the ids of assets that have lost their last file.

        If the same content is already indexed, it stays indexed.
        """
        row: dict[str, Any] = {"asset_id": None, "size": None, "mtime_ns": None, "reason": _escape_text(reason)}
        with self._transaction() as connection:
            if source is not None and self._asset_id_of(connection, path) == source.asset_id:
                row["asset_id"] = source.asset_id
            return self._put_file(connection, path, row)

    def forget(self, paths: Iterable[Path]) -> list[str]:
        """Remove files from the list; return the ids of assets that have lost their last file."""
        orphans: list[str] = []
        with self._transaction() as connection:
            for path in paths:
                asset_id = self._asset_id_of(connection, path)
                connection.execute(self._files.delete().where(self._files.c.path == _encode_path(path)))
                orphans += self._list_if_orphan(connection, asset_id)
        return orphans

    def interrupted(self) -> list[str]:
        """Return the ids of assets that a killed run left half written, or without a file but not yet deleted."""
        assets, files = self._assets, self._files
        has_file = files.select().where(files.c.asset_id == assets.c.id).exists()
        with self._transaction() as connection:
            query = assets.select().where((assets.c.state == "indexing") | ~has_file)
            return [row.id for row in connection.execute(query)]

    def delete(self, asset_ids: Sequence[str]) -> None:
        """Delete the rows of assets whose segments are deleted; their files, if any, will be read again."""
        assets, files = self._assets, self._files
        with self._transaction() as connection:
            for ids in _split_ids(asset_ids):
                connection.execute(files.update().where(files.c.asset_id.in_(ids)).values(asset_id=None, size=None))
                connection.execute(assets.delete().where(assets.c.id.in_(ids)))

    def paths_of(self, asset_ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the files that hold each asset, sorted."""
        files = self._files
        paths: dict[str, list[str]] = {}
        with self._transaction() as connection:
            for ids in _split_ids(list(asset_ids)):
                query = files.select().where(files.c.asset_id.in_(ids)).order_by(files.c.path)
                for row in connection.execute(query):
                    paths.setdefault(row.asset_id, []).append(str(_decode_path(row.path)))
        return paths

    def asset_ids(self) -> list[str]:
        """Return the ids of assets whose segments are all in the store, sorted by the path of their first file."""
        import sqlalchemy as sa

        assets, files = self._assets, self._files
        query = (
            sa.select(assets.c.id)
            .join(files, files.c.asset_id == assets.c.id)
            .where(assets.c.state == "done")
            .group_by(assets.c.id)
            .order_by(sa.func.min(files.c.path))
        )
        with self._transaction() as connection:
            return list(connection.scalars(query))

    def entries(self, asset_id: str | None = None) -> list[CatalogEntry]:
        """Return the assets whose segments are all in the store, or only the one with this id, if it is among them."""
        import sqlalchemy as sa

        assets, files = self._assets, self._files
        first = sa.func.min(files.c.path).label("path")
        columns = (assets.c.id, first, assets.c.media_type, assets.c.medium, assets.c.size, assets.c.segments)
        query = sa.select(*columns).join(files, files.c.asset_id == assets.c.id).where(assets.c.state == "done")
        if asset_id is not None:
            query = query.where(assets.c.id == asset_id)
        with self._transaction() as connection:
            rows = connection.execute(query.group_by(*(column for column in columns if column is not first)))
            return [CatalogEntry(row[0], _decode_path(row[1]), *row[2:]) for row in rows]

    def files_under(self, root: Path) -> list[Path]:
        """Return the listed files at or below a path, sorted."""
        import sqlalchemy as sa

        path = self._files.c.path
        folder = _encode_path(root).rstrip(os.sep) + os.sep
        is_below = sa.func.substr(path, 1, len(folder)) == folder  # SQLite's LIKE ignores case
        with self._transaction() as connection:
            query = self._files.select().where((path == _encode_path(root)) | is_below).order_by(path)
            return [_decode_path(row.path) for row in connection.execute(query)]

    def failures(self) -> tuple[FileResult, ...]:
        """Return the files that could not be read, each with its reason."""
        files = self._files
        with self._transaction() as connection:
            query = files.select().where(files.c.reason != "").order_by(files.c.path)
            rows = connection.execute(query)
            return tuple(FileResult(str(_decode_path(row.path)), "failed", reason=row.reason) for row in rows)

    def counts(self) -> dict[str, int]:
        """Count the indexed assets, the empty assets and the failed files."""
        import sqlalchemy as sa

        assets, files = self._assets, self._files
        done = sa.select(sa.func.count()).select_from(assets).where(assets.c.state == "done")
        failed = sa.select(sa.func.count()).select_from(files).where(files.c.reason != "")
        with self._transaction() as connection:
            return {
                "indexed": connection.scalar(done.where(assets.c.segments > 0)) or 0,
                "empty": connection.scalar(done.where(assets.c.segments == 0)) or 0,
                "failed": connection.scalar(failed) or 0,
            }

    def _attach(self, connection: Connection, source: Source) -> list[str]:
        row = {"asset_id": source.asset_id, "size": source.size, "mtime_ns": source.mtime_ns, "reason": ""}
        return self._put_file(connection, source.path, row)

    def _put_file(self, connection: Connection, path: Path, row: dict[str, Any]) -> list[str]:
        previous_id = self._asset_id_of(connection, path)
        self._upsert(connection, self._files, "path", _encode_path(path), row)
        return self._list_if_orphan(connection, previous_id)

    def _upsert(self, connection: Connection, table: Any, key: str, value: str, row: dict[str, Any]) -> None:
        """Update a row, or insert it; one process writes at a time, so the two statements do not race."""
        if not connection.execute(table.update().where(table.c[key] == value).values(**row)).rowcount:
            connection.execute(table.insert().values(**{key: value}, **row))

    def _asset_id_of(self, connection: Connection, path: Path) -> str | None:
        row = connection.execute(self._files.select().where(self._files.c.path == _encode_path(path))).first()
        return row.asset_id if row else None

    def _list_if_orphan(self, connection: Connection, asset_id: str | None) -> list[str]:
        """Return the id in a list if no file holds the asset any more, else an empty list."""
        if asset_id is None:
            return []
        file = connection.execute(self._files.select().where(self._files.c.asset_id == asset_id).limit(1)).first()
        return [] if file else [asset_id]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with database.map_errors(), self._engine.begin() as connection:
            yield connection


def _match_record(
    row: Any, recipe: str, captions: Iterable[str], fields: Mapping[str, Scalar] | None
) -> AssetRecord | None:
    if row is None or row["state"] != "done" or row["recipe"] != recipe:
        return None
    # The column holds the captions and, since there are product tables, one object with the fields.
    known_captions = {one for one in row["captions"] if isinstance(one, str)}
    known_fields: dict[str, Scalar] = next((one for one in row["captions"] if isinstance(one, dict)), {})
    if not set(captions) <= known_captions or fields not in (None, known_fields):
        return None
    return AssetRecord(row["id"], row["segments"])


def _split_ids(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _IDS_PER_QUERY):
        yield ids[start : start + _IDS_PER_QUERY]


def _encode_path(path: Path) -> str:
    """Return the path as valid Unicode: bytes that are not UTF-8 (lone surrogates in Python) become %XX, as does %."""
    return re.sub("[%\udc80-\udcff]", lambda match: f"%{ord(match[0]) & 0xFF:02X}", str(path))


def _decode_path(encoded: str) -> Path:
    return Path(unquote(encoded, errors="surrogateescape"))


def _escape_text(reason: str) -> str:
    """Return the reason without characters that databases refuse: NUL, and lone surrogates from file names."""
    return escape_surrogates(reason.replace("\0", ""))
