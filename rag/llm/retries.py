"""Retries for calls of language models that fail for a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, closing
from itertools import islice
from typing import TypeVar

from rag.errors import LLMUnavailable

# Seconds before the second and the third attempt.
RETRY_WAITS_S = (0.5, 2.0)

_T = TypeVar("_T")

# Return whether a retry may succeed soon.
IsRetryable = Callable[[LLMUnavailable], bool]


def retry(call: Callable[[], _T], is_retryable: IsRetryable) -> _T:
    """Return what a call returns, trying it up to three times.

    Raises:
        LLMError: as the call raised it, at once if it is not retryable.
    """
    for wait_s in RETRY_WAITS_S:
        try:
            return call()
        except LLMUnavailable as error:
            if not is_retryable(error):
                raise
        time.sleep(wait_s)
    return call()


async def aretry(call: Callable[[], Awaitable[_T]], is_retryable: IsRetryable) -> _T:
    """Async twin of `retry`."""
    for wait_s in RETRY_WAITS_S:
        try:
            return await call()
        except LLMUnavailable as error:
            if not is_retryable(error):
                raise
        await asyncio.sleep(wait_s)
    return await call()


def retry_stream(open_stream: Callable[[], Generator[_T]], is_retryable: IsRetryable) -> Generator[_T]:
    """Yield from a stream, which is opened up to three times while it fails before its first item."""

    def begin() -> tuple[Generator[_T], list[_T]]:
        stream = open_stream()
        return stream, list(islice(stream, 1))

    stream, first = retry(begin, is_retryable)
    with closing(stream):
        yield from first
        yield from stream


async def aretry_stream(open_stream: Callable[[], AsyncGenerator[_T]], is_retryable: IsRetryable) -> AsyncGenerator[_T]:
    """Async twin of `retry_stream`."""

    async def begin() -> tuple[AsyncGenerator[_T], list[_T]]:
        stream = open_stream()
        async for item in stream:
            return stream, [item]
        return stream, []

    stream, first = await aretry(begin, is_retryable)
    async with aclosing(stream):
        for item in first:
            yield item
        async for item in stream:
            yield item
