"""Schema versions: create the tables of a database, or bring an older database to the newest schema.

Every store keeps its schema's version in a table of its own, so several stores can share one database. Version 1 is the
schema that a store began with; each step leads from one version to the next. To change a table, append a step to the
store's list, and give its test a database of the version before. A table that is only added needs no step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rag.errors import IndexUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData

Step = Callable[["Connection"], None]

_LOCK = 0x6578686963  # not the catalog's lock for writers: a database can be opened while another process writes


def upgrade(engine: Engine, metadata: MetaData, steps: Sequence[Step] = (), *, name: str) -> None:
    """Bring a database to the newest schema.

    An empty database gets all tables at once. An older one goes through the missing steps, each in a transaction with
    the version that it leads to; a killed process repeats at most the step that it was in. Tables without a version
    count as version 1, because stores did not always record it. Processes that open a database at once take turns.

    Args:
        engine: the database, from `rag.catalog.database.open_engine`.
        metadata: the store's tables in the newest schema.
        steps: what leads from version 1 to 2, from 2 to 3, and so on.
        name: name of the store; its version is in the table ``<name>_schema``.

    Raises:
        IndexUnavailable: the database was written by a newer version of Exhibit.
    """
    import sqlalchemy as sa

    newest = 1 + len(steps)
    versions = sa.Table(f"{name}_schema", sa.MetaData(), sa.Column("version", sa.Integer, primary_key=True))
    is_upgraded = False
    while not is_upgraded:
        with engine.begin() as connection:
            _lock(connection)
            versions.create(connection, checkfirst=True)
            recorded = connection.scalar(sa.select(sa.func.max(versions.c.version)))
            version = recorded or (1 if _has_any(connection, metadata) else newest)
            if version > newest:
                address = engine.url.render_as_string(hide_password=True)
                raise IndexUnavailable(
                    f"{address} has schema {version}, and this version of Exhibit knows schemas up to {newest}. "
                    "Update Exhibit, or start with a new database."
                )
            is_upgraded = version == newest
            if is_upgraded:
                metadata.create_all(connection)
            else:
                steps[version - 1](connection)
                version += 1
            if version != recorded:
                connection.execute(versions.delete())
                connection.execute(versions.insert().values(version=version))


def _lock(connection: Connection) -> None:
    """Wait until no other process upgrades; the lock ends with the transaction. SQLite's transactions are exclusive."""
    import sqlalchemy as sa

    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def _has_any(connection: Connection, metadata: MetaData) -> bool:
    """Return whether a database has a table of the store."""
    import sqlalchemy as sa

    inspector = sa.inspect(connection)
    return any(inspector.has_table(table.name) for table in metadata.sorted_tables)
