"""Counts of the tokens that language models use for a question: to rewrite it, judge, answer and check.

A count covers a context in the sense of `contextvars`: a request, with all tasks and threads that it starts. The
numbers are the provider's own. For a stream without numbers they are litellm's; otherwise nothing is counted.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Usage:
    """Tokens used so far.

    Attributes:
        prompt: read by language models.
        cached: those of the prompt that a model had read before, if its provider reports them.
        completion: written.
        reasoning: those of the completion that a model wrote for itself, if its provider reports them.
        is_known: False if a provider did not report the tokens of a reply.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    is_known: bool = True


_CURRENT: ContextVar[Usage | None] = ContextVar("usage", default=None)


def start_counting() -> Usage:
    """Start a count for this context and return it; it grows with each reply."""
    usage = Usage()
    _CURRENT.set(usage)
    return usage


def add(prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> None:
    """Add the tokens of a reply to the count of this context, if there is one; without `prompt` they are unknown."""
    usage = _CURRENT.get()
    if usage is None:
        return
    usage.prompt += prompt
    usage.completion += completion
    usage.cached += cached
    usage.reasoning += reasoning
    usage.is_known = usage.is_known and prompt > 0
