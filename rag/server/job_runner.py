"""Runs jobs: those of one knowledge base one after another, in a thread that does all other writing to it, too.

So nothing waits for a lock, and short work, such as deleting an asset, runs between two files of a long job. Where
several processes serve a knowledge base, one of them runs its jobs (`rag.server.job_store`). Meanwhile short work
fails in the others with `KnowledgeBaseBusy`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from rag.errors import ExhibitError, KnowledgeBaseBusy
from rag.knowledge_base import KnowledgeBase
from rag.server import uploads
from rag.server.job_store import IngestJob, JobStore, State
from rag.server.redaction import reason_of, without_paths

_log = logging.getLogger("exhibit.server")
_STOP_S = 20.0  # longest wait for a thread at the end; what it was at goes on after the next start
_BUSY_S = 2.0  # until it is tried again where another process writes
_LOOKED_S = 1.0  # until it is looked whether another process has queued a job
_ASKED_S = 0.25  # until it is looked again whether a job is to end
_T = TypeVar("_T")


class Fetch(Protocol):
    """Fetches what is at an address."""

    def __call__(self, url: str, folder: Path, alive: Callable[[], None]) -> Path:
        """The file that it was written to, in the folder; `alive` is called now and then, and may raise."""


class _JobStopped(Exception):
    """The job was cancelled, or the server ends."""


class JobRunner:
    """Runs the jobs of a server.

    Args:
        jobs: where they are kept.
        bases: the knowledge bases, open.
        fetch: fetches what jobs name by address.
    """

    def __init__(self, jobs: JobStore, bases: Mapping[str, KnowledgeBase], fetch: Fetch) -> None:
        self.jobs = jobs
        self._lines = {name: _BaseWorker(name, base, jobs, fetch) for name, base in bases.items()}

    def start(self) -> None:
        """Go on with what the last end of the server interrupted, and do what is queued from now on."""
        for line in self._lines.values():
            line.start()

    def stop(self) -> None:
        """Stop between two files."""
        for line in self._lines.values():
            line.stop()
        for line in self._lines.values():
            line.join(_STOP_S)

    def queue(self, base: str) -> None:
        """Look at once whether there is a job to do, where one was added."""
        self._lines[base].look()

    def cancel(self, job: IngestJob) -> None:
        """End a job; what is finished of it stays."""
        if self.jobs.cancel(job.id):
            self._lines[job.base].clear(job)

    def between(self, base: str, work: Callable[[], _T]) -> Future[_T]:
        """What work gives that writes to a knowledge base, done between two files of a job."""
        return self._lines[base].between(work)

    def current(self, job: IngestJob) -> str:
        """What a job is at; empty where it is not running, or another process does it."""
        line = self._lines.get(job.base)
        return line.current if line and job.state == "running" else ""


class _BaseWorker(threading.Thread):
    """The jobs of one knowledge base, one after another."""

    def __init__(self, name: str, base: KnowledgeBase, jobs: JobStore, fetch: Fetch) -> None:
        super().__init__(name="exhibit-jobs", daemon=True)
        self.current = ""
        self._base_name, self._base, self._jobs, self._fetch = name, base, jobs, fetch
        self._short: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._is_stopping = self._is_told = False
        self._asked_s = 0.0

    def look(self) -> None:
        with self._changed:
            self._is_told = True
            self._changed.notify()

    def between(self, work: Callable[[], _T]) -> Future[_T]:
        future: Future[_T] = Future()
        with self._changed:
            self._short.append((work, future))
            self._changed.notify()
        return future

    def stop(self) -> None:
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def clear(self, job: IngestJob) -> None:
        """Leave nothing on disk of the files that a job did not come to."""
        uploads.keep(self._base.path, job.id)
        uploads.delete(self._base.path, [item.path for item in job.items if item.path and not item.state])
        uploads.drop_if_empty(uploads.folder_of(self._base.path, job.id))

    def run(self) -> None:
        """Do what there is to do until the server ends."""
        while not self._is_stopping:
            self._do_what_is_short()
            try:
                job_id = self._jobs.claim(self._base_name)
                if job_id is not None:
                    self._run(job_id)
                    continue
            except SQLAlchemyError:
                _log.exception("the jobs cannot be read or written now")
            self._wait(_LOOKED_S)

    def _wait(self, most_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping or self._short or self._is_told, most_s)
            self._is_told = False

    def _run(self, job_id: str) -> None:
        self._asked_s = 0.0
        try:
            uploads.keep(self._base.path, job_id)
            uploads.sweep(self._base.path, self._jobs.unfinished(self._base_name))
            self._fetch_all(job_id)
            self._take_in(job_id)
        except _JobStopped:
            if not self._is_stopping:
                self._end(job_id, "cancelled")
        except KnowledgeBaseBusy:
            self._jobs.turn(job_id, "queued")
            self._wait(_BUSY_S)
        except ExhibitError as error:
            self._fail(job_id, without_paths(str(error)))
        except Exception:  # noqa: BLE001 - the edge of a job, which nobody awaits: it is told in the log and in the job
            _log.exception("a job failed unexpectedly")
            self._fail(job_id, "The server failed; its log says why.")
        else:
            self._end(job_id, "done")
        finally:
            self.current = ""

    def _fail(self, job_id: str, error: str) -> None:
        if not self._is_stopping:  # else the knowledge base may have been closed under it
            self._end(job_id, "failed", error)

    def _end(self, job_id: str, state: State, error: str = "") -> None:
        job = self._jobs.get(job_id)
        if job is not None:
            self.clear(job)
            self._jobs.turn(job_id, state, error)

    def _fetch_all(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        missing = [item for item in job.items if item.url and not item.path and not item.state] if job else []
        for item in missing:
            self._pause(job_id, item.name)
            folder = uploads.folder_of(self._base.path, job_id)
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
        taken = self._base.ingest_each(
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
        if self._is_stopping or self._is_leaving(job_id):
            raise _JobStopped

    def _is_leaving(self, job_id: str) -> bool:
        if time.monotonic() - self._asked_s < _ASKED_S:
            return False
        self._asked_s = time.monotonic()
        return self._jobs.is_leaving(job_id)

    def _do_what_is_short(self) -> None:
        while self._short:
            work, future = self._short.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - whoever waits for it is told
                future.set_exception(error)
