"""Jobs: files on their way into a knowledge base, kept in SQLite so that a restarted server goes on with them.

Several processes may share the file. Each of them queues and cancels jobs; those of a knowledge base are run by the
one that holds its lock, which the operating system gives to another when that one ends, however that happens.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from rag.server.sqlite_file import open_database

if TYPE_CHECKING:
    from sqlalchemy import Connection

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("queued", "running", "done", "failed", "cancelled")
_KEPT = 200  # finished jobs of a knowledge base that are remembered


@dataclass(frozen=True, slots=True)
class JobFile:
    """One file of a job.

    Attributes:
        ordinal: its place in the job, from 0.
        name: for people: of the file, or the address that it comes from.
        path: where it is; empty while it has not been fetched.
        url: where it is fetched from; empty for what was uploaded.
        state: what became of it, as in `FileResult`; empty until that is known.
        reason: why it is not indexed.
        segments: number of its segments.
    """

    ordinal: int
    name: str
    path: str = ""
    url: str = ""
    state: str = ""
    reason: str = ""
    segments: int = 0


@dataclass(frozen=True, slots=True)
class IngestJob:
    """A job as it stands.

    Attributes:
        id: opaque.
        base: name of the knowledge base.
        state: `queued` until its turn; a job that its server's end interrupted is queued again.
        error: why the whole of it failed.
        made: seconds since 1970.
        finished: likewise; None until it is over.
        items: its files.
    """

    id: str
    base: str
    state: State
    error: str
    made: float
    finished: float | None
    items: tuple[JobFile, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing will become of it any more."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def settled(self) -> tuple[JobFile, ...]:
        """The files of which it is known what became of them."""
        return tuple(item for item in self.items if item.state)


class JobStore:
    """The jobs of a server; threads may share it, and processes the file."""

    def __init__(self, file: Path) -> None:
        import sqlalchemy as sa

        metadata = sa.MetaData()
        self._jobs = sa.Table(
            "jobs",
            metadata,
            sa.Column("number", sa.Integer, primary_key=True),
            sa.Column("id", sa.String(32), unique=True, nullable=False),
            sa.Column("base", sa.String, index=True, nullable=False),
            sa.Column("state", sa.String, nullable=False),
            sa.Column("error", sa.String, nullable=False, default=""),
            sa.Column("made", sa.Float, nullable=False),
            sa.Column("finished", sa.Float),
        )
        self._items = sa.Table(
            "items",
            metadata,
            sa.Column("job", sa.String(32), primary_key=True),
            sa.Column("ordinal", sa.Integer, primary_key=True),
            sa.Column("name", sa.String, nullable=False),
            sa.Column("path", sa.String, nullable=False),
            sa.Column("url", sa.String, nullable=False),
            sa.Column("state", sa.String, nullable=False, default=""),
            sa.Column("reason", sa.String, nullable=False, default=""),
            sa.Column("segments", sa.Integer, nullable=False, default=0),
        )
        # Running jobs that are to end; those of other processes are told by it.
        self._leaving = sa.Table("leaving", metadata, sa.Column("job", sa.String(32), primary_key=True))
        self._file, self._locks = file, dict[str, FileLock]()
        self._engine = open_database(file, metadata)

    def close(self) -> None:
        """Let go of the file, and of the right to run jobs."""
        for lock in self._locks.values():
            lock.release()
        self._engine.dispose()

    def add(self, base: str, items: Iterable[JobFile], *, job_id: str = "") -> str:
        """Queue a job, and forget the oldest that are over; its id is returned."""
        job_id = job_id or new_id()
        rows = [
            {"job": job_id, "ordinal": item.ordinal, "name": item.name, "path": item.path, "url": item.url}
            for item in items
        ]
        job = {"id": job_id, "base": base, "state": "queued", "made": time.time()}
        with self._engine.begin() as connection:
            connection.execute(self._jobs.insert().values(**job))
            if rows:
                connection.execute(self._items.insert(), rows)
            self._prune(connection, base)
        return job_id

    def get(self, job_id: str) -> IngestJob | None:
        """A job; None where there is none of this id."""
        with self._engine.begin() as connection:
            row = connection.execute(self._jobs.select().where(self._jobs.c.id == job_id)).mappings().first()
            return self._job(connection, row) if row else None

    def of(self, base: str, most: int) -> list[IngestJob]:
        """The newest jobs of a knowledge base, newest first."""
        jobs = self._jobs
        query = jobs.select().where(jobs.c.base == base).order_by(jobs.c.number.desc()).limit(most)
        with self._engine.begin() as connection:
            return [self._job(connection, row) for row in connection.execute(query).mappings().all()]

    def unfinished(self, base: str) -> list[str]:
        """Ids of the jobs of a knowledge base that are not over, oldest first."""
        import sqlalchemy as sa

        jobs = self._jobs
        query = sa.select(jobs.c.id).where((jobs.c.base == base) & jobs.c.finished.is_(None)).order_by(jobs.c.number)
        with self._engine.begin() as connection:
            return list(connection.scalars(query))

    def claim(self, base: str) -> str | None:
        """The id of the oldest job that waits, which is running from now on.

        None where there is none, or where another process runs the jobs of this knowledge base.
        """
        import sqlalchemy as sa

        if not self._runs(base):
            return None
        jobs = self._jobs
        query = sa.select(jobs.c.id).where((jobs.c.base == base) & (jobs.c.state == "queued")).order_by(jobs.c.number)
        with self._engine.begin() as connection:
            job_id: str | None = connection.scalar(query.limit(1))
        if job_id is None or not self._move(job_id, "queued", "running"):
            return None
        return job_id

    def cancel(self, job_id: str) -> bool:
        """End a job that waits, or have one that runs ended; whether that has happened already."""
        leaving = self._leaving
        if self._move(job_id, "queued", "cancelled", finished=time.time()):
            return True
        with self._engine.begin() as connection:
            connection.execute(leaving.insert().prefix_with("OR IGNORE").values(job=job_id))
        return False

    def is_leaving(self, job_id: str) -> bool:
        """Whether a running job is to end."""
        leaving = self._leaving
        with self._engine.begin() as connection:
            return connection.execute(leaving.select().where(leaving.c.job == job_id)).first() is not None

    def counts(self, bases: Collection[str]) -> dict[State, int]:
        """Number of jobs of some knowledge bases by state."""
        import sqlalchemy as sa

        jobs = self._jobs
        query = sa.select(jobs.c.state, sa.func.count()).where(jobs.c.base.in_(bases)).group_by(jobs.c.state)
        with self._engine.begin() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def turn(self, job_id: str, state: State, error: str = "") -> None:
        """Put a job into a state."""
        over = {"finished": time.time()} if state in ("done", "failed", "cancelled") else {}
        jobs, leaving = self._jobs, self._leaving
        with self._engine.begin() as connection:
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(state=state, error=error, **over))
            if over:
                connection.execute(leaving.delete().where(leaving.c.job == job_id))

    def _runs(self, base: str) -> bool:
        """Whether this process runs the jobs of a knowledge base; if none does, it does from now on."""
        jobs = self._jobs
        lock = self._locks.setdefault(base, FileLock(self._file.with_name(f"jobs-{base}.lock"), thread_local=False))
        if lock.is_locked:
            return True
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        with self._engine.begin() as connection:  # what is said to run was interrupted
            here = (jobs.c.base == base) & (jobs.c.state == "running")
            connection.execute(jobs.update().where(here).values(state="queued"))
        return True

    def _move(self, job_id: str, before: State, after: State, **values: Any) -> bool:
        """Put a job from one state into another; False where it was not in that state."""
        jobs = self._jobs
        which = (jobs.c.id == job_id) & (jobs.c.state == before)
        with self._engine.begin() as connection:
            return bool(connection.execute(jobs.update().where(which).values(state=after, **values)).rowcount)

    def fetched(self, job_id: str, ordinal: int, path: Path) -> None:
        """Say where a file is now."""
        self._change(job_id, ordinal, path=str(path))

    def settle(self, job_id: str, ordinal: int, state: str, *, reason: str = "", segments: int = 0) -> None:
        """Say what became of a file."""
        self._change(job_id, ordinal, state=state, reason=reason, segments=segments)

    def _change(self, job_id: str, ordinal: int, **values: Any) -> None:
        items = self._items
        which = (items.c.job == job_id) & (items.c.ordinal == ordinal)
        with self._engine.begin() as connection:
            connection.execute(items.update().where(which).values(**values))

    def _job(self, connection: Connection, row: Any) -> IngestJob:
        items = self._items
        query = items.select().where(items.c.job == row["id"]).order_by(items.c.ordinal)
        columns = (items.c.ordinal, items.c.name, items.c.path, items.c.url, items.c.state, items.c.reason)
        found = connection.execute(query.with_only_columns(*columns, items.c.segments))
        kept = tuple(JobFile(*item) for item in found)
        return IngestJob(row["id"], row["base"], row["state"], row["error"], row["made"], row["finished"], kept)

    def _prune(self, connection: Connection, base: str) -> None:
        import sqlalchemy as sa

        jobs, items = self._jobs, self._items
        over = sa.select(jobs.c.id).where((jobs.c.base == base) & jobs.c.finished.is_not(None))
        old: Sequence[str] = list(connection.scalars(over.order_by(jobs.c.number.desc()).offset(_KEPT).limit(-1)))
        if old:
            connection.execute(items.delete().where(items.c.job.in_(old)))
            connection.execute(jobs.delete().where(jobs.c.id.in_(old)))


def new_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_hex(12)
