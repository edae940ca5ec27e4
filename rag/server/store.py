"""The SQLite files in which a server keeps its keys, its jobs and what was said: readable by their owner alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData


def opened(file: Path, metadata: MetaData) -> Engine:
    """The database in a file with these tables, made where they are missing; dispose of it at the end."""
    import sqlalchemy as sa

    file.touch(mode=0o600)  # before anything is in it
    file.chmod(0o600)
    engine = sa.create_engine(f"sqlite:///{file}")
    metadata.create_all(engine)
    return engine
