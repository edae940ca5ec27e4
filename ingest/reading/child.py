"""The child process: receive requests, run readers, send replies; started by `ingest.reading.worker`."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO, Any

from ingest.reading import heartbeat
from ingest.reading.protocol import BeatMessage, EndMessage, ErrorMessage, ItemMessage, MemoryMessage, Reply
from rag import errors
from rag.config import Settings


def main() -> None:
    """Serve operations until the parent closes the pipe."""
    requests, stream = sys.stdin.buffer, _private_stdout()
    settings = Settings(**pickle.load(requests))
    _bound_memory(settings)
    from ingest.reading.readers import Readers

    readers, replies = Readers(settings), Replies(stream, settings.file_timeout_s)
    heartbeat.report_to(lambda excused_s: replies.send(BeatMessage(excused_s)))
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent has ended
        while True:
            request = pickle.load(requests)
            serve(replies, getattr(readers, request.operation), request.arguments)


class Replies:
    """The way to the parent, and the alarm clock of a process that has stopped replying.

    If the parent was killed, the next reply fails and the process ends. If native code never returns, no reply follows,
    and the system's alarm ends the process. Its signal is not caught, so no code can delay it.
    """

    def __init__(self, stream: IO[bytes], timeout_s: float) -> None:
        self._stream = stream
        self._alarm_s = 1.5 * timeout_s  # a living parent stops the process earlier, and says why

    def send(self, reply: Reply) -> None:
        """Send a reply to the parent and restart the alarm."""
        self.stop_alarm()  # a busy parent takes no replies; waiting for it is not silence
        pickle.dump(reply, self._stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._stream.flush()
        self.start_alarm()

    def start_alarm(self) -> None:
        """Give the process its time until the next reply."""
        _set_alarm(self._alarm_s)

    def stop_alarm(self) -> None:
        """Let the process wait without limit, for the parent or for its next request."""
        _set_alarm(0)


def serve(replies: Replies, operation: Callable[..., Iterable[Any]], arguments: tuple[Any, ...]) -> None:
    """Run one operation, and send its values and how it ended."""
    started_s = time.monotonic()
    replies.start_alarm()
    try:
        for item in operation(*arguments):
            replies.send(ItemMessage(item))
    except errors.ExhibitError as error:
        replies.send(ErrorMessage(type(error).__name__, str(error)))
    except MemoryError:
        replies.send(MemoryMessage())
    except FileNotFoundError:
        replies.send(ErrorMessage("MediaError", "The file was deleted or moved before it could be read."))
    except Exception as error:  # noqa: BLE001 - the edge of one file: an unforeseen fault in a reader must not end the run
        text = f"Its reader failed ({type(error).__name__}: {error}"[:500]
        replies.send(ErrorMessage("DamagedMedia", f"{text}); the file is probably malformed."))
    else:
        replies.send(EndMessage(time.monotonic() - started_s))
    replies.stop_alarm()


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _private_stdout() -> IO[bytes]:
    """Return the real standard output, for replies; what libraries print goes to standard error."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


def _bound_memory(settings: Settings) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    max_bytes = int(settings.reader_memory_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (max_bytes, max_bytes))


if __name__ == "__main__":
    main()
