"""One process at a time, and who it is."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from rag.errors import IndexUnavailable, KnowledgeBaseBusy
from rag.text import replace_surrogates

_COMMAND_CHARACTERS = 120


class FolderLock:
    """A lock on a folder that the operating system lets go of when its holder dies, however that happens."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            KnowledgeBaseBusy: another process, or another opening in this one, holds it; the message says who.
            IndexUnavailable: the folder cannot be written.
        """
        self._owner = folder / "owner.json"
        # Not thread-local: a knowledge base may be closed by another thread than the one that opened it.
        self._lock = FileLock(folder / "lock", timeout=0, thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise KnowledgeBaseBusy(
                f"{folder} is in use by {_holder(self._owner)}. Wait until it has finished, stop it, or use another "
                "folder. Several processes can share a Qdrant server: EXHIBIT_QDRANT_URL."
            ) from error
        except OSError as error:
            raise IndexUnavailable(f"{folder} cannot be written ({error}); check its permissions.") from error
        self._owner.write_text(json.dumps(_myself()))

    @property
    def is_held(self) -> bool:
        """Whether it has not been released yet."""
        return self._lock.is_locked

    def release(self) -> None:
        """Let go of the folder; a second time does nothing."""
        if self.is_held:
            self._owner.unlink(missing_ok=True)
            self._lock.release()


def _myself() -> dict[str, str | int]:
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    command = replace_surrogates(shlex.join(sys.argv))[:_COMMAND_CHARACTERS]
    return {"pid": os.getpid(), "command": command, "host": socket.gethostname(), "since": since}


def _holder(owner: Path) -> str:
    """The holder in words; another process where its note is missing, or names a process that has gone."""
    try:
        note = json.loads(owner.read_text())
        pid, command, host, since = note["pid"], note["command"], note["host"], note["since"]
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
    if host == socket.gethostname() and not _is_alive(int(pid)):
        return "another process"
    return f"process {pid} (`{command}`) on {host} since {since}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, and is someone else's
        return True
    return True
