"""Databases of Exhibit's own, by SQLAlchemy URL: how they are opened, and what their errors become.

SQLite by default; any database that SQLAlchemy knows by URL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rag.errors import IndexUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Engine


@contextmanager
def map_errors() -> Iterator[None]:
    """The one place where a database's errors become Exhibit's."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ModuleNotFoundError as error:
        raise IndexUnavailable(f"The catalog needs {error.name}: pip install 'exhibit-rag[postgres]'.") from error
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise IndexUnavailable(
            f"The catalog cannot be used ({cause}); check EXHIBIT_CATALOG_URL, free disk space, or restore its folder."
        ) from error


def open_engine(url: str) -> Engine:
    """The database at a URL; dispose of it at the end."""
    import sqlalchemy as sa

    address = sa.make_url(url)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(address, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        # Python's driver begins before the first write only: two threads that had both read would then collide.
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def scrub(engine: Engine) -> None:
    """Leave nothing of what was deleted in SQLite's log beside its file; other databases see to that themselves."""
    if engine.dialect.name == "sqlite":
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun above
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # a finished asset stays finished through a power cut
    connection.execute("PRAGMA secure_delete=ON")  # what is forgotten is overwritten, too
