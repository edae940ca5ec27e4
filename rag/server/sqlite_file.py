"""The SQLite files in which a server keeps its keys, its jobs and what was said: readable by their owner alone.

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
    """The database in a file with these tables, made where they are missing; dispose of it at the end."""
    file.touch(mode=0o600)  # before anything is in it
    file.chmod(0o600)
    engine = database.open_engine(f"sqlite:///{file}")
    upgrade(engine, metadata, name=file.stem)
    return engine
