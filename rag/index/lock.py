"""A lock on a folder for one process at a time, with a note that names the process."""

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
    """A lock on a folder; the operating system releases it when its holder dies, for any reason."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            KnowledgeBaseBusy: another process, or another opening in this one, holds it; the message names it.
            IndexUnavailable: the folder is not writable.
        """
        self._owner = folder / "owner.json"
        # Not thread-local: one thread may open a knowledge base and another close it.
        self._lock = FileLock(folder / "lock", timeout=0, thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise KnowledgeBaseBusy(
                f"{folder} is in use by {_describe_holder(self._owner)}. Wait until it has finished, stop it, or use "
                "another folder. Several processes can share a Qdrant server: EXHIBIT_QDRANT_URL."
            ) from error
        except OSError as error:
            raise IndexUnavailable(f"{folder} is not writable ({error}). Check its permissions.") from error
        self._owner.write_text(json.dumps(_describe_self()))

    @property
    def is_held(self) -> bool:
        """Whether the lock is held."""
        return self._lock.is_locked

    def release(self) -> None:
        """Release the folder; a second call does nothing."""
        if self.is_held:
            self._owner.unlink(missing_ok=True)
            self._lock.release()


def _describe_self() -> dict[str, str | int]:
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    command = replace_surrogates(shlex.join(sys.argv))[:_COMMAND_CHARACTERS]
    return {"pid": os.getpid(), "command": command, "host": socket.gethostname(), "since": since}


def _describe_holder(owner: Path) -> str:
    """Describe the holder; without a note, or if its process is known to be gone, as another process."""
    try:
        note = json.loads(owner.read_text())
        pid, command, host, since = int(note["pid"]), note["command"], note["host"], note["since"]
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
    if host == socket.gethostname() and not _is_alive(pid):
        return "another process"
    return f"process {pid} (`{command}`) on {host} since {since}"


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # there `os.kill` would send Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and another user's
        pass
    return True
