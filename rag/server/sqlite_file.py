"""The SQLite files of a server's keys, jobs and history, readable only by their owner.

Several processes may share them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rag.catalog import database
from rag.catalog.migrations import upgrade

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData


def open_database(file: Path, metadata: MetaData) -> Engine:
    """Open the database in a file and create missing tables. The caller disposes of the engine."""
    file.touch(mode=0o600)  # before it has content
    file.chmod(0o600)
    engine = database.open_engine(f"sqlite:///{file}")
    upgrade(engine, metadata, name=file.stem)
    return engine
