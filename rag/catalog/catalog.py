"""What was taken in: assets, the files that hold them, their state, and why a file is not indexed.

The catalog decides; the vector store follows. An asset is written between `Catalog.begin` and `Catalog.finish`, and is
deleted from the store before its row is, so whatever a killed run left half done is found by `Catalog.interrupted`.
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
from rag.catalog.migrations import upgrade
from rag.catalog.schema import STEPS, define_tables
from rag.errors import KnowledgeBaseBusy
from rag.text import escape_surrogates
from rag.types import FileResult, Medium, Scalar, Source

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOCK = 0x6578686962  # any number that other programs on the same database are unlikely to lock
_IDS_PER_QUERY = 500  # SQLite takes at most 32,766 variables; PostgreSQL plans short lists faster


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """A file's content as taken in.

    Attributes:
        id: from the content's SHA-256.
        state: ``indexing`` until all its segments are safe, then ``done``.
        segments: number of its segments; 0 says that there was nothing in it.
        recipe: hash of the settings that made them.
        captions: what documents beside it said about it.
    """

    id: str
    state: str
    segments: int
    recipe: str
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """An asset that is taken in whole, for people who look through them.

    Attributes:
        id: of the asset.
        path: where the first of its files is.
        media_type: IANA media type of its content.
        medium: document, image, audio or video.
        size: in bytes.
        segments: number of its segments; 0 says that there was nothing in it.
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
        IndexUnavailable: from any method, when the database cannot be reached or is damaged.
    """

    def __init__(self, url: str) -> None:
        self._tables = define_tables()
        self._assets, self._files = self._tables.assets, self._tables.files
        with database.map_errors():
            self._engine = database.open_engine(url)
            upgrade(self._engine, self._tables.metadata, STEPS, name="exhibit")

    @property
    def identity(self) -> str:
        """A UUID made with the catalog; a collection on a server belongs to one catalog."""
        with self._transaction() as connection:
            known: str | None = connection.scalar(self._tables.identity.select())
            if known is None:
                known = str(uuid.uuid4())
                connection.execute(self._tables.identity.insert().values(id=known))
            return known

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold the right to write, among all machines that share a PostgreSQL; it goes with the connection.

        Raises:
            KnowledgeBaseBusy: another process holds it.
        """
        import sqlalchemy as sa

        if self._engine.dialect.name != "postgresql":  # a file has the lock of its folder
            yield
            return
        with database.map_errors():
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            is_held = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK)))
        try:
            if not is_held:
                raise KnowledgeBaseBusy("Another process is writing to this catalog. Wait until it has finished.")
            yield
        finally:
            connection.invalidate()  # a connection that goes back to the pool would keep the lock
            connection.close()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def find_unchanged(
        self, path: Path, recipe: str, captions: Iterable[str], fields: Mapping[str, Scalar] | None = None
    ) -> AssetRecord | None:
        """The finished asset of a file that looks as it did, by size and modification time, under the same recipe.

        Captions that are no longer said do not count as a change: what said them may lie elsewhere. Nor do fields where
        these are None, because no catalogue was looked at.
        """
        assets, files = self._assets, self._files
        try:
            stat = os.stat(path)
        except OSError:
            return None
        looks = (
            (files.c.path == _written(path)) & (files.c.size == stat.st_size) & (files.c.mtime_ns == stat.st_mtime_ns)
        )
        query = assets.select().join(files, files.c.asset_id == assets.c.id).where(looks)
        with self._transaction() as connection:
            return _matching(connection.execute(query).mappings().first(), recipe, captions, fields)

    def find_finished(self, source: Source, recipe: str, *, is_catalogued: bool = False) -> AssetRecord | None:
        """The finished asset with this content under the same recipe, whichever file it came from.

        Args:
            source: the file.
            recipe: see `ingest.pipeline.recipe`.
            is_catalogued: whether a catalogue was looked at that knows of it, so that its fields are all there are.
        """
        query = self._assets.select().where(self._assets.c.id == source.asset_id)
        fields = source.fields if is_catalogued else None
        with self._transaction() as connection:
            return _matching(connection.execute(query).mappings().first(), recipe, source.captions, fields)

    def attach(self, source: Source) -> list[str]:
        """Record that a file holds this content; return the ids of assets that are left without a file."""
        with self._transaction() as connection:
            return self._hold(connection, source)

    def begin(self, source: Source, recipe: str) -> list[str]:
        """Mark an asset as being written, for this file; return the ids of assets that are left without a file."""
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
            self._put(connection, self._assets, "id", source.asset_id, row)
            return self._hold(connection, source)

    def finish(self, asset_id: str, segments: int) -> None:
        """Mark an asset as written whole."""
        assets = self._assets
        with self._transaction() as connection:
            connection.execute(assets.update().where(assets.c.id == asset_id).values(state="done", segments=segments))

    def fail(self, path: Path, reason: str, source: Source | None = None) -> list[str]:
        """List a file as failed; return the ids of assets that are left without a file.

        Where the same content is already indexed, what is indexed stays.
        """
        row: dict[str, Any] = {"asset_id": None, "size": None, "mtime_ns": None, "reason": _plain(reason)}
        with self._transaction() as connection:
            if source is not None and self._holds(connection, path, source.asset_id):
                row["asset_id"] = source.asset_id
            return self._point(connection, path, row)

    def forget(self, paths: Iterable[Path]) -> list[str]:
        """Take files off the list; return the ids of assets that are left without a file."""
        orphans: list[str] = []
        with self._transaction() as connection:
            for path in paths:
                before = self._asset_of(connection, path)
                connection.execute(self._files.delete().where(self._files.c.path == _written(path)))
                orphans += self._alone(connection, before)
        return orphans

    def interrupted(self) -> list[str]:
        """Ids of assets that a killed run left half written, or without a file but not yet deleted."""
        assets, files = self._assets, self._files
        held = files.select().where(files.c.asset_id == assets.c.id).exists()
        with self._transaction() as connection:
            query = assets.select().where((assets.c.state == "indexing") | ~held)
            return [row.id for row in connection.execute(query)]

    def delete(self, asset_ids: Sequence[str]) -> None:
        """Delete the rows of assets, once their segments are gone; their files, if any, must be read again."""
        assets, files = self._assets, self._files
        with self._transaction() as connection:
            for ids in _chunks(asset_ids):
                connection.execute(files.update().where(files.c.asset_id.in_(ids)).values(asset_id=None, size=None))
                connection.execute(assets.delete().where(assets.c.id.in_(ids)))

    def paths_of(self, asset_ids: Iterable[str]) -> dict[str, list[str]]:
        """The files that hold each asset, sorted."""
        files = self._files
        found: dict[str, list[str]] = {}
        with self._transaction() as connection:
            for ids in _chunks(list(asset_ids)):
                query = files.select().where(files.c.asset_id.in_(ids)).order_by(files.c.path)
                for row in connection.execute(query):
                    found.setdefault(row.asset_id, []).append(str(_read(row.path)))
        return found

    def asset_ids(self) -> list[str]:
        """The assets whose segments are all in the store, sorted by the path of their first file."""
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
        """The assets whose segments are all in the store, or the one with this id, if it is one of them."""
        import sqlalchemy as sa

        assets, files = self._assets, self._files
        first = sa.func.min(files.c.path).label("path")
        columns = (assets.c.id, first, assets.c.media_type, assets.c.medium, assets.c.size, assets.c.segments)
        query = sa.select(*columns).join(files, files.c.asset_id == assets.c.id).where(assets.c.state == "done")
        if asset_id is not None:
            query = query.where(assets.c.id == asset_id)
        with self._transaction() as connection:
            rows = connection.execute(query.group_by(*(column for column in columns if column is not first)))
            return [CatalogEntry(row[0], _read(row[1]), *row[2:]) for row in rows]

    def files_under(self, root: Path) -> list[Path]:
        """The listed files at or below a path, sorted."""
        import sqlalchemy as sa

        path = self._files.c.path
        folder = _written(root).rstrip(os.sep) + os.sep
        below = sa.func.substr(path, 1, len(folder)) == folder  # SQLite's LIKE takes a for A
        with self._transaction() as connection:
            query = self._files.select().where((path == _written(root)) | below).order_by(path)
            return [_read(row.path) for row in connection.execute(query)]

    def failures(self) -> tuple[FileResult, ...]:
        """The files that could not be read, each with its reason."""
        files = self._files
        with self._transaction() as connection:
            query = files.select().where(files.c.reason != "").order_by(files.c.path)
            rows = connection.execute(query)
            return tuple(FileResult(str(_read(row.path)), "failed", reason=row.reason) for row in rows)

    def counts(self) -> dict[str, int]:
        """Number of assets that are indexed and that were empty, and number of files that failed."""
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

    def _hold(self, connection: Connection, source: Source) -> list[str]:
        row = {"asset_id": source.asset_id, "size": source.size, "mtime_ns": source.mtime_ns, "reason": ""}
        return self._point(connection, source.path, row)

    def _point(self, connection: Connection, path: Path, row: dict[str, Any]) -> list[str]:
        before = self._asset_of(connection, path)
        self._put(connection, self._files, "path", _written(path), row)
        return self._alone(connection, before)

    def _put(self, connection: Connection, table: Any, key: str, value: str, row: dict[str, Any]) -> None:
        """Insert or update; one process writes at a time, so the two statements do not race."""
        if not connection.execute(table.update().where(table.c[key] == value).values(**row)).rowcount:
            connection.execute(table.insert().values(**{key: value}, **row))

    def _asset_of(self, connection: Connection, path: Path) -> str | None:
        row = connection.execute(self._files.select().where(self._files.c.path == _written(path))).first()
        return row.asset_id if row else None

    def _holds(self, connection: Connection, path: Path, asset_id: str) -> bool:
        return self._asset_of(connection, path) == asset_id

    def _alone(self, connection: Connection, asset_id: str | None) -> list[str]:
        if asset_id is None:
            return []
        held = connection.execute(self._files.select().where(self._files.c.asset_id == asset_id).limit(1)).first()
        return [] if held else [asset_id]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with database.map_errors(), self._engine.begin() as connection:
            yield connection


def _matching(
    row: Any, recipe: str, captions: Iterable[str], fields: Mapping[str, Scalar] | None
) -> AssetRecord | None:
    if row is None or row["state"] != "done" or row["recipe"] != recipe:
        return None
    said = tuple(one for one in row["captions"] if isinstance(one, str))
    known: dict[str, Scalar] = next((one for one in row["captions"] if isinstance(one, dict)), {})
    if not set(captions) <= set(said) or fields not in (None, known):
        return None
    return AssetRecord(row["id"], row["state"], row["segments"], row["recipe"], said)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _IDS_PER_QUERY):
        yield ids[start : start + _IDS_PER_QUERY]


def _written(path: Path) -> str:
    """The path as text that a database takes: bytes that are not UTF-8 (lone surrogates in Python) as %XX."""
    return re.sub("[%\udc80-\udcff]", lambda found: f"%{ord(found[0]) & 0xFF:02X}", str(path))


def _read(written: str) -> Path:
    return Path(unquote(written, errors="surrogateescape"))


def _plain(reason: str) -> str:
    """The reason without what a database refuses: NUL, and lone surrogates from file names."""
    return escape_surrogates(reason.replace("\0", ""))
