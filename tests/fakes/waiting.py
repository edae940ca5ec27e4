"""Waiting for what another thread or process does, for two minutes at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(read: Callable[[], T], is_enough: Callable[[T], object] = bool) -> T:
    """Read a value again and again until it is enough, and return it."""
    end_s = time.monotonic() + 120
    while not is_enough(last := read()):
        assert time.monotonic() < end_s, last
        time.sleep(0.02)
    return last
