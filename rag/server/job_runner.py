"""Runs the jobs of each knowledge base one after another, in a thread that also does all other writing to it.

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
_STOP_S = 20.0  # longest wait for a thread at the end; its job continues after the next start
_BUSY_S = 2.0  # until a retry, while another process writes
_POLL_S = 1.0  # between looks for jobs that another process has queued
_CANCEL_POLL_S = 0.25  # between looks whether a job is cancelled
_T = TypeVar("_T")


class Fetch(Protocol):
    """Fetches a file from an address."""

    def __call__(self, url: str, folder: Path, alive: Callable[[], None]) -> Path:
        """Return the file, written to the folder. `alive` is called now and then, and may raise to stop."""


class _JobStopped(Exception):
    """The job was cancelled, or the server is stopping."""


class JobRunner:
    """Runs the jobs of a server.

    Args:
        jobs: the stored jobs.
        bases: the open knowledge bases.
        fetch: fetches files from addresses.
    """

    def __init__(self, jobs: JobStore, bases: Mapping[str, KnowledgeBase], fetch: Fetch) -> None:
        self.jobs = jobs
        self._workers = {name: _BaseWorker(name, base, jobs, fetch) for name, base in bases.items()}

    def start(self) -> None:
        """Continue interrupted jobs, and run what is queued from now on."""
        for worker in self._workers.values():
            worker.start()

    def stop(self) -> None:
        """Stop between two files."""
        for worker in self._workers.values():
            worker.stop()
        for worker in self._workers.values():
            worker.join(_STOP_S)

    def queue(self, base: str) -> None:
        """Look for a new job at once, instead of at the next poll."""
        self._workers[base].wake()

    def cancel(self, job: IngestJob) -> None:
        """Cancel a job. Its finished files stay."""
        if self.jobs.cancel(job.id):
            self._workers[job.base].clear(job)

    def run_between_files(self, base: str, work: Callable[[], _T]) -> Future[_T]:
        """Run short work that writes to a knowledge base, between two files of its job."""
        return self._workers[base].run_between_files(work)

    def current(self, job: IngestJob) -> str:
        """Return the file that a job works on; empty if it is not running, or runs in another process."""
        worker = self._workers.get(job.base)
        return worker.current if worker and job.state == "running" else ""


class _BaseWorker(threading.Thread):
    """Runs the jobs of one knowledge base, one after another."""

    def __init__(self, name: str, base: KnowledgeBase, jobs: JobStore, fetch: Fetch) -> None:
        super().__init__(name="exhibit-jobs", daemon=True)
        self.current = ""
        self._base_name, self._base, self._jobs, self._fetch = name, base, jobs, fetch
        self._short: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._is_stopping = self._is_awake = False
        self._looked_at_s = 0.0

    def wake(self) -> None:
        with self._changed:
            self._is_awake = True
            self._changed.notify()

    def run_between_files(self, work: Callable[[], _T]) -> Future[_T]:
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
        """Delete the files from disk that a job did not get to."""
        uploads.finish(self._base.path, job.id)
        uploads.delete(self._base.path, [file.path for file in job.files if file.path and not file.state])
        uploads.drop_if_empty(uploads.folder_of(self._base.path, job.id))

    def run(self) -> None:
        """Work until the server stops."""
        while not self._is_stopping:
            self._run_short_work()
            try:
                job_id = self._jobs.claim(self._base_name)
                if job_id is not None:
                    self._run(job_id)
                    continue
            except SQLAlchemyError:
                _log.exception("the jobs cannot be read or written")
            self._wait(_POLL_S)

    def _wait(self, most_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping or self._short or self._is_awake, most_s)
            self._is_awake = False

    def _run(self, job_id: str) -> None:
        self._looked_at_s = 0.0
        try:
            uploads.finish(self._base.path, job_id)
            uploads.sweep(self._base.path, self._jobs.unfinished(self._base_name))
            self._fetch_all(job_id)
            self._ingest(job_id)
        except _JobStopped:
            if not self._is_stopping:
                self._end(job_id, "cancelled")
        except KnowledgeBaseBusy:
            self._jobs.set_state(job_id, "queued")
            self._wait(_BUSY_S)
        except ExhibitError as error:
            self._fail(job_id, without_paths(str(error)))
        except Exception:  # noqa: BLE001 - no one awaits a job, so every failure goes into the log and the job
            _log.exception("a job failed unexpectedly")
            self._fail(job_id, "The server failed. See its log.")
        else:
            self._end(job_id, "done")
        finally:
            self.current = ""

    def _fail(self, job_id: str, error: str) -> None:
        if not self._is_stopping:  # otherwise the knowledge base may be closed already
            self._end(job_id, "failed", error)

    def _end(self, job_id: str, state: State, error: str = "") -> None:
        job = self._jobs.get(job_id)
        if job is not None:
            self.clear(job)
            self._jobs.set_state(job_id, state, error)

    def _fetch_all(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        missing = [file for file in job.files if file.url and not file.path and not file.state] if job else []
        for file in missing:
            self._pause(job_id, file.name)
            folder = uploads.folder_of(self._base.path, job_id)
            try:
                path = self._fetch(file.url, folder, lambda name=file.name: self._pause(job_id, name))  # type: ignore[misc]
            except ExhibitError as error:
                self._jobs.settle(job_id, file.ordinal, "failed", reason=without_paths(str(error)))
            else:
                self._jobs.set_path(job_id, file.ordinal, path)

    def _ingest(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        waiting = {file.path: file for file in job.files if file.path and not file.state} if job else {}
        if not waiting:
            return
        self._pause(job_id)
        ingesting = self._base.ingest_each(
            list(waiting), on_progress=lambda progress: self._pause(job_id, waiting[progress.path].name)
        )
        with closing(ingesting) as results:  # type: ignore[type-var]
            for result in results:
                if file := waiting.get(result.path):
                    self._jobs.settle(
                        job_id, file.ordinal, result.state, reason=reason_of(result), segments=result.segments
                    )
                self._pause(job_id)

    def _pause(self, job_id: str, current: str | None = None) -> None:
        """Run short work, and stop the job if it is cancelled or the server is stopping."""
        if current is not None:
            self.current = current
        self._run_short_work()
        if self._is_stopping or self._is_cancelled(job_id):
            raise _JobStopped

    def _is_cancelled(self, job_id: str) -> bool:
        if time.monotonic() - self._looked_at_s < _CANCEL_POLL_S:
            return False
        self._looked_at_s = time.monotonic()
        return self._jobs.is_cancelled(job_id)

    def _run_short_work(self) -> None:
        while self._short:
            work, future = self._short.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - the waiting caller gets it
                future.set_exception(error)
