"""Jobs, which add files to a knowledge base. They are stored in SQLite, so that a restarted server continues them.

Several processes may share the file. Each of them queues and cancels jobs. The process that holds the lock of a
knowledge base runs its jobs. When it ends, however that happens, the operating system releases the lock for another.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import sqlalchemy as sa
from filelock import FileLock, Timeout

from rag.server.sqlite_file import open_database

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
_FINISHED: tuple[State, ...] = ("done", "failed", "cancelled")
_FINISHED_JOBS = 200  # kept for each knowledge base


@dataclass(frozen=True, slots=True)
class JobFile:
    """One file of a job.

    Attributes:
        ordinal: its position in the job, from 0.
        name: name for people: that of the file, or its address.
        path: path of the file; empty until it is fetched.
        url: address that it is fetched from; empty for an upload.
        state: its result, as in `FileResult`; empty until it has one.
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
    """A job and its progress.

    Attributes:
        id: opaque id.
        base: name of the knowledge base.
        state: `queued` until its turn; a job interrupted by the end of its server is queued again.
        error: why the whole job failed.
        made: when it was queued, in seconds since 1970.
        finished: when it was over; None until then.
        files: its files.
    """

    id: str
    base: str
    state: State
    error: str
    made: float
    finished: float | None
    files: tuple[JobFile, ...]

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.state in _FINISHED

    @property
    def settled(self) -> tuple[JobFile, ...]:
        """The files that have a result."""
        return tuple(file for file in self.files if file.state)


class JobStore:
    """The jobs of a server. Threads may share it, and processes the file."""

    def __init__(self, file: Path) -> None:
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
        # Running jobs that are cancelled. Other processes learn of it here.
        self._cancelled = sa.Table("leaving", metadata, sa.Column("job", sa.String(32), primary_key=True))
        self._file, self._locks = file, dict[str, FileLock]()
        self._engine = open_database(file, metadata)

    def close(self) -> None:
        """Close the file and release the right to run jobs."""
        for lock in self._locks.values():
            lock.release()
        self._engine.dispose()

    def add(self, base: str, files: Iterable[JobFile], *, job_id: str = "") -> str:
        """Queue a job and return its id. The oldest finished jobs are deleted."""
        job_id = job_id or new_id()
        rows = [
            {"job": job_id, "ordinal": file.ordinal, "name": file.name, "path": file.path, "url": file.url}
            for file in files
        ]
        job = {"id": job_id, "base": base, "state": "queued", "made": time.time()}
        with self._engine.begin() as connection:
            connection.execute(self._jobs.insert().values(**job))
            if rows:
                connection.execute(self._items.insert(), rows)
            self._prune(connection, base)
        return job_id

    def get(self, job_id: str) -> IngestJob | None:
        """Return the job with this id, or None."""
        with self._engine.begin() as connection:
            row = connection.execute(self._jobs.select().where(self._jobs.c.id == job_id)).mappings().first()
            return self._job(connection, row) if row else None

    def newest(self, base: str, most: int) -> list[IngestJob]:
        """Return the newest jobs of a knowledge base, newest first."""
        jobs = self._jobs
        query = jobs.select().where(jobs.c.base == base).order_by(jobs.c.number.desc()).limit(most)
        with self._engine.begin() as connection:
            return [self._job(connection, row) for row in connection.execute(query).mappings().all()]

    def unfinished(self, base: str) -> list[str]:
        """Return the ids of a knowledge base's unfinished jobs, oldest first."""
        jobs = self._jobs
        query = sa.select(jobs.c.id).where((jobs.c.base == base) & jobs.c.finished.is_(None)).order_by(jobs.c.number)
        with self._engine.begin() as connection:
            return list(connection.scalars(query))

    def claim(self, base: str) -> str | None:
        """Mark the oldest queued job as running, and return its id.

        None if no job waits, or if another process runs the jobs of this knowledge base.
        """
        if not self._acquire(base):
            return None
        jobs = self._jobs
        query = sa.select(jobs.c.id).where((jobs.c.base == base) & (jobs.c.state == "queued")).order_by(jobs.c.number)
        with self._engine.begin() as connection:
            job_id: str | None = connection.scalar(query.limit(1))
        if job_id is None or not self._change_state(job_id, "queued", "running"):
            return None
        return job_id

    def cancel(self, job_id: str) -> bool:
        """Cancel a queued job, or ask for the end of a running one. Return whether it was still queued."""
        cancelled = self._cancelled
        if self._change_state(job_id, "queued", "cancelled", finished=time.time()):
            return True
        with self._engine.begin() as connection:
            connection.execute(cancelled.insert().prefix_with("OR IGNORE").values(job=job_id))
        return False

    def is_cancelled(self, job_id: str) -> bool:
        """Return whether a running job is cancelled."""
        cancelled = self._cancelled
        with self._engine.begin() as connection:
            return connection.execute(cancelled.select().where(cancelled.c.job == job_id)).first() is not None

    def counts(self, bases: Collection[str]) -> dict[State, int]:
        """Return the number of jobs of some knowledge bases, by state."""
        jobs = self._jobs
        query = sa.select(jobs.c.state, sa.func.count()).where(jobs.c.base.in_(bases)).group_by(jobs.c.state)
        with self._engine.begin() as connection:
            counts = {row[0]: row[1] for row in connection.execute(query)}
        return {state: counts.get(state, 0) for state in STATES}

    def set_state(self, job_id: str, state: State, error: str = "") -> None:
        """Set the state of a job."""
        over = {"finished": time.time()} if state in _FINISHED else {}
        jobs, cancelled = self._jobs, self._cancelled
        with self._engine.begin() as connection:
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(state=state, error=error, **over))
            if over:
                connection.execute(cancelled.delete().where(cancelled.c.job == job_id))

    def _acquire(self, base: str) -> bool:
        """Return whether this process runs the jobs of a knowledge base. If none does, this one starts to."""
        jobs = self._jobs
        lock = self._locks.setdefault(base, FileLock(self._file.with_name(f"jobs-{base}.lock"), thread_local=False))
        if lock.is_locked:
            return True
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        with self._engine.begin() as connection:  # these were interrupted
            here = (jobs.c.base == base) & (jobs.c.state == "running")
            connection.execute(jobs.update().where(here).values(state="queued"))
        return True

    def _change_state(self, job_id: str, before: State, after: State, **values: Any) -> bool:
        """Change a job from one state to another. Return whether it was in that state."""
        jobs = self._jobs
        which = (jobs.c.id == job_id) & (jobs.c.state == before)
        with self._engine.begin() as connection:
            return bool(connection.execute(jobs.update().where(which).values(state=after, **values)).rowcount)

    def set_path(self, job_id: str, ordinal: int, path: Path) -> None:
        """Store the path of a fetched file."""
        self._change(job_id, ordinal, path=str(path))

    def settle(self, job_id: str, ordinal: int, state: str, *, reason: str = "", segments: int = 0) -> None:
        """Store the result of a file."""
        self._change(job_id, ordinal, state=state, reason=reason, segments=segments)

    def _change(self, job_id: str, ordinal: int, **values: Any) -> None:
        items = self._items
        which = (items.c.job == job_id) & (items.c.ordinal == ordinal)
        with self._engine.begin() as connection:
            connection.execute(items.update().where(which).values(**values))

    def _job(self, connection: sa.Connection, row: Any) -> IngestJob:
        items = self._items
        query = items.select().where(items.c.job == row["id"]).order_by(items.c.ordinal)
        columns = (items.c.ordinal, items.c.name, items.c.path, items.c.url, items.c.state, items.c.reason)
        rows = connection.execute(query.with_only_columns(*columns, items.c.segments))
        files = tuple(JobFile(*file) for file in rows)
        return IngestJob(row["id"], row["base"], row["state"], row["error"], row["made"], row["finished"], files)

    def _prune(self, connection: sa.Connection, base: str) -> None:
        jobs, items = self._jobs, self._items
        over = sa.select(jobs.c.id).where((jobs.c.base == base) & jobs.c.finished.is_not(None))
        old = list(connection.scalars(over.order_by(jobs.c.number.desc()).offset(_FINISHED_JOBS).limit(-1)))
        if old:
            connection.execute(items.delete().where(items.c.job.in_(old)))
            connection.execute(jobs.delete().where(jobs.c.id.in_(old)))


def new_id() -> str:
    """Return an id that cannot be guessed."""
    return secrets.token_hex(12)
