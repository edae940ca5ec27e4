"""Limits the requests a minute of each key, or of each address where there are no keys, and counts them."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
import time
from collections import deque
from typing import Any

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.server.problems import HTTPProblem, response
from rag.server.state import server_state

_ASKING = re.compile(r"/v1/.+|/api/bases/[^/]+/(ask|search)")
_FREE = ("/healthz", "/readyz")
_DURATIONS = 1000  # number of newest questions whose durations are kept


def is_question(method: str, path: str) -> bool:
    """Return whether a request makes models work."""
    return method == "POST" and _ASKING.fullmatch(path) is not None


class RateLimit:
    """Refuses requests beyond a limit, and says when to retry.

    Args:
        app: the app behind it.
        questions: requests a minute that make models work; 0 for no limit.
        others: other requests a minute; 0 for no limit.
    """

    def __init__(self, app: ASGIApp, *, questions: int, others: int) -> None:
        self._app = app
        self._limits = {True: questions, False: others}
        self._windows = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer when to retry."""
        if scope["type"] == "http" and scope["path"] not in _FREE:
            asks = is_question(scope["method"], scope["path"])
            wait_s = await self._wait_s(asks, scope) if self._limits[asks] else 0
            if wait_s:
                await response(Request(scope), _too_often(self._limits[asks], wait_s))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _wait_s(self, asks: bool, scope: Scope) -> int:
        """Return the seconds until one more request is allowed; 0 if it is now."""
        limit = RateLimitItemPerMinute(self._limits[asks])
        who = await asyncio.to_thread(_identify, scope)
        if self._windows.hit(limit, str(asks), who):
            return 0
        resets = self._windows.get_window_stats(limit, str(asks), who).reset_time
        return max(1, math.ceil(resets - time.time()))


class RequestFigures:
    """Counts of questions since the server started."""

    def __init__(self) -> None:
        self._since = time.time()
        self._counts = {"questions": 0, "refused": 0, "failed": 0}
        self._seconds: deque[float] = deque(maxlen=_DURATIONS)

    def add(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request if it was a question."""
        if not is_question(method, path):
            return
        if status == 200:
            self._counts["questions"] += 1
            self._seconds.append(seconds)
        elif status == 429:
            self._counts["refused"] += 1
        elif status >= 500:
            self._counts["failed"] += 1

    def now(self) -> dict[str, Any]:
        """Return the counts, and the median and 95th percentile of the newest questions' seconds."""
        seconds = sorted(self._seconds)
        shares = {"p50": 0.5, "p95": 0.95}
        percentiles = {
            name: seconds[math.ceil(share * len(seconds)) - 1] if seconds else None for name, share in shares.items()
        }
        return {"since": self._since, **self._counts, "seconds": percentiles}


def _identify(scope: Scope) -> str:
    """Return the id of a known key, or the address.

    Of an IPv6 address it is the network, because one customer has a whole network.
    """
    key = server_state(scope["app"]).access.keys.check_header(Headers(scope=scope).get("authorization", ""))
    if key is not None:
        return f"key {key.id}"
    address = scope["client"][0] if scope.get("client") else ""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)


def _too_often(limit: int, wait_s: int) -> HTTPProblem:
    return HTTPProblem(
        429,
        f"More than {limit} requests in a minute; try again in {wait_s} s.",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(wait_s)},
    )
