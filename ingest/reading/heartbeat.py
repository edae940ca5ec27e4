"""A reader's signs of life, so that one which works long on a file is told from one that hangs.

`beat` is called where work goes on for long without a segment: at each piece of sound, each block that was
transcribed, each frame that was looked at. In a process that is no reader it does nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EVERY_S = 2.0

_tell: Callable[[float], None] = lambda waited_s: None  # noqa: E731
_told_s = 0.0


def report_to(tell: Callable[[float], None]) -> None:
    """Have signs of life told from now on, each with the seconds of which the file is innocent."""
    global _tell
    _tell = tell


def beat() -> None:
    """A step was done; told at most every two seconds."""
    global _told_s
    if time.monotonic() - _told_s >= _EVERY_S:
        _told_s = time.monotonic()
        _tell(0.0)


@contextmanager
def waiting() -> Iterator[None]:
    """For the loading of a model, which may be downloaded first: tells that the time does not count."""
    done = threading.Event()
    thread = threading.Thread(target=_tell_until, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tell_until(done: threading.Event) -> None:
    while not done.wait(_EVERY_S):
        _tell(_EVERY_S)
