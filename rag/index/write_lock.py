"""One writer at a time for a knowledge base: across processes, machines and threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rag.index.lock import FolderLock


class WriteLock:
    """A lock on a folder and on its catalog; both end with the process, however that ends.

    Args:
        folder: the folder to lock.
        catalog_lock: holds the catalog's own lock, which other machines see.
    """

    def __init__(self, folder: Path, catalog_lock: Callable[[], AbstractContextManager[None]]) -> None:
        self._folder, self._catalog_lock = folder, catalog_lock
        self._writer = 0  # the thread that writes

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for a block; the thread that holds it may enter again, between two files of its own run.

        Raises:
            KnowledgeBaseBusy: another process or thread is writing.
        """
        if self._writer == threading.get_ident():
            yield
            return
        lock = FolderLock(self._folder)
        try:
            with self._catalog_lock():
                self._writer = threading.get_ident()
                yield
        finally:
            self._writer = 0
            lock.release()
