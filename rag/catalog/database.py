"""Exhibit's own databases: open them by SQLAlchemy URL, and map their errors.

SQLite is the default; any database that SQLAlchemy supports works.
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
    """Map errors of the database to Exhibit's; the only place that does so."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ModuleNotFoundError as error:
        raise IndexUnavailable(f"The catalog needs {error.name}: pip install 'exhibit-rag[postgres]'.") from error
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise IndexUnavailable(
            f"The catalog cannot be used ({cause}). Check EXHIBIT_CATALOG_URL, free disk space, or restore its folder."
        ) from error


def open_engine(url: str) -> Engine:
    """Open the database at a URL; the caller disposes of the engine."""
    import sqlalchemy as sa

    address = sa.make_url(url)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(address, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        # Python's driver begins a transaction only before the first write: two threads that have read would collide.
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def scrub(engine: Engine) -> None:
    """Remove deleted data from SQLite's write-ahead log; other databases do so themselves."""
    if engine.dialect.name == "sqlite":
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # `open_engine` begins transactions
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # a finished asset survives a power cut
    connection.execute("PRAGMA secure_delete=ON")  # overwrite deleted data
