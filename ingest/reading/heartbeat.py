"""A reader's signs of life, which distinguish long work on a file from a hang.

Call `beat` where work goes on for long without a segment: at each piece of sound, each transcribed block, each sampled
frame. Outside a reading process it does nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EVERY_S = 2.0

_report: Callable[[float], None] = lambda excused_s: None  # noqa: E731
_reported_s = 0.0


def report_to(report: Callable[[float], None]) -> None:
    """Send signs of life to a function from now on, each with the seconds that do not count against the file."""
    global _report
    _report = report


def beat() -> None:
    """Report that a step is done, at most every two seconds."""
    global _reported_s
    if time.monotonic() - _reported_s >= _EVERY_S:
        _reported_s = time.monotonic()
        _report(0.0)


@contextmanager
def waiting() -> Iterator[None]:
    """Excuse the time in this block, such as loading a model, which may have to be downloaded first."""
    done = threading.Event()
    thread = threading.Thread(target=_report_until, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _report_until(done: threading.Event) -> None:
    while not done.wait(_EVERY_S):
        _report(_EVERY_S)
