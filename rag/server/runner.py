"""Runs jobs: those of one knowledge base one after another, in a thread that does all other writing to it, too.

So nothing waits for a lock, and what is short, such as deleting an asset, is done between two files of a long job.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rag.errors import ExhibitError, KnowledgeBaseBusy
from rag.knowledge_base import KnowledgeBase
from rag.server import uploads
from rag.server.jobs import Job, Jobs, State
from rag.server.paths import reason_of, without_paths

_log = logging.getLogger("exhibit.server")
_STOP_S = 20.0  # longest wait for a thread at the end; what it was at goes on after the next start
_BUSY_S = 2.0  # until it is tried again where another process writes
_T = TypeVar("_T")


class Fetch(Protocol):
    """Fetches what is at an address."""

    def __call__(self, url: str, folder: Path, alive: Callable[[], None]) -> Path:
        """The file that it was written to, in the folder; `alive` is called now and then, and may raise."""


class _Left(Exception):
    """The job was cancelled, or the server ends."""


class Runner:
    """Runs the jobs of a server.

    Args:
        jobs: where they are kept.
        bases: the knowledge bases, open.
        fetch: fetches what jobs name by address.
    """

    def __init__(self, jobs: Jobs, bases: Mapping[str, KnowledgeBase], fetch: Fetch) -> None:
        self.jobs = jobs
        self._lines = {name: _Line(base, jobs, fetch) for name, base in bases.items()}

    def start(self) -> None:
        """Go on with what the last end of the server interrupted."""
        unfinished = self.jobs.unfinished()
        for name, line in self._lines.items():
            uploads.settle(line.base.path, {job.id for job in unfinished if job.base == name})
        for job in unfinished:
            if job.base in self._lines:
                self.jobs.turn(job.id, "queued")
                self._lines[job.base].add(job.id)
        for line in self._lines.values():
            line.start()

    def stop(self) -> None:
        """Stop between two files."""
        for line in self._lines.values():
            line.stop()
        for line in self._lines.values():
            line.join(_STOP_S)

    def queue(self, base: str, job_id: str) -> None:
        """Run a job that was added to `jobs`, when its turn comes."""
        self._lines[base].add(job_id)

    def cancel(self, job: Job) -> None:
        """End a job; what is finished of it stays."""
        self._lines[job.base].cancel(job.id)

    def between(self, base: str, work: Callable[[], _T]) -> Future[_T]:
        """What work gives that writes to a knowledge base, done between two files of a job."""
        return self._lines[base].between(work)

    def current(self, job: Job) -> str:
        """What a job is at; empty where it is not running."""
        line = self._lines.get(job.base)
        return line.current if line and job.state == "running" else ""


class _Line(threading.Thread):
    """The jobs of one knowledge base, one after another."""

    def __init__(self, base: KnowledgeBase, jobs: Jobs, fetch: Fetch) -> None:
        super().__init__(name="exhibit-jobs", daemon=True)
        self.base, self.current = base, ""
        self._jobs, self._fetch = jobs, fetch
        self._waiting: deque[str] = deque()
        self._short: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._cancelled: set[str] = set()
        self._changed = threading.Condition()
        self._is_stopping = False

    def add(self, job_id: str) -> None:
        with self._changed:
            self._waiting.append(job_id)
            self._changed.notify()

    def between(self, work: Callable[[], _T]) -> Future[_T]:
        future: Future[_T] = Future()
        with self._changed:
            self._short.append((work, future))
            self._changed.notify()
        return future

    def cancel(self, job_id: str) -> None:
        with self._changed:
            self._cancelled.add(job_id)
            if job_id not in self._waiting:  # it is running, and is told between two files
                return
            self._waiting.remove(job_id)
            self._cancelled.discard(job_id)
        self._end(job_id, "cancelled")

    def stop(self) -> None:
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def run(self) -> None:
        """Do what there is to do until the server ends."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopping or self._short or self._waiting)
            self._do_what_is_short()
            with self._changed:
                if self._is_stopping:
                    return
                job_id = self._waiting.popleft() if self._waiting else None
            if job_id:
                self._run(job_id)

    def _run(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        if job is None or job.is_over:
            return
        self._jobs.turn(job_id, "running")
        try:
            self._fetch_all(job_id)
            self._take_in(job_id)
        except _Left:
            if job_id in self._cancelled:
                self._end(job_id, "cancelled")
        except KnowledgeBaseBusy:
            self._jobs.turn(job_id, "queued")
            with self._changed:
                self._waiting.appendleft(job_id)
                self._changed.wait_for(lambda: self._is_stopping or self._short or self._cancelled, _BUSY_S)
        except ExhibitError as error:
            self._fail(job_id, without_paths(str(error)))
        except Exception:  # noqa: BLE001 - the edge of a job, which nobody awaits: it is told in the log and in the job
            _log.exception("a job failed unexpectedly")
            self._fail(job_id, "The server failed; its log says why.")
        else:
            self._end(job_id, "done")
        finally:
            self.current = ""
            self._cancelled.discard(job_id)

    def _fail(self, job_id: str, error: str) -> None:
        if not self._is_stopping:  # else the knowledge base may have been closed under it
            self._end(job_id, "failed", error)

    def _end(self, job_id: str, state: State, error: str = "") -> None:
        """End a job, and leave nothing on disk of the files that it did not come to."""
        job = self._jobs.get(job_id)
        if job is not None:
            uploads.delete(self.base.path, [item.path for item in job.items if item.path and not item.state])
            self._jobs.turn(job_id, state, error)

    def _fetch_all(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        missing = [item for item in job.items if item.url and not item.path and not item.state] if job else []
        for item in missing:
            self._pause(job_id, item.name)
            folder = uploads.folder_of(self.base.path, job_id)
            try:
                file = self._fetch(item.url, folder, lambda name=item.name: self._pause(job_id, name))  # type: ignore[misc]
            except ExhibitError as error:
                self._jobs.settle(job_id, item.ordinal, "failed", reason=without_paths(str(error)))
            else:
                self._jobs.fetched(job_id, item.ordinal, file)

    def _take_in(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        waiting = {item.path: item for item in job.items if item.path and not item.state} if job else {}
        if not waiting:
            return
        self._pause(job_id)
        taken = self.base.ingest_each(
            list(waiting), on_progress=lambda progress: self._pause(job_id, waiting[progress.path].name)
        )
        with closing(taken) as results:  # type: ignore[type-var]
            for result in results:
                if item := waiting.get(result.path):
                    self._jobs.settle(
                        job_id, item.ordinal, result.state, reason=reason_of(result), segments=result.segments
                    )
                self._pause(job_id)

    def _pause(self, job_id: str, current: str | None = None) -> None:
        """Do what is short, and leave the job where it is to end."""
        if current is not None:
            self.current = current
        self._do_what_is_short()
        if self._is_stopping or job_id in self._cancelled:
            raise _Left

    def _do_what_is_short(self) -> None:
        while self._short:
            work, future = self._short.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - whoever waits for it is told
                future.set_exception(error)
