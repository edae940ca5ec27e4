"""How many tokens language models took for a question: those of rewriting, judging, answering and checking together.

Counted are those of a context, in the sense of `contextvars`: of a request with all the tasks and threads that it
starts. Numbers are the provider's own; where one tells none of a stream, litellm's count; of anything else none.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass
class Usage:
    """Tokens that were taken so far.

    Attributes:
        prompt: read by language models.
        cached: of those, what a model had read before, as far as its provider tells.
        completion: written.
        reasoning: of those, what a model wrote for itself, as far as its provider tells.
        is_known: False where a provider did not tell of an answer.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    is_known: bool = True


_COUNTED: ContextVar[Usage | None] = ContextVar("usage", default=None)


def counted() -> Usage:
    """What is taken from now on in this context."""
    usage = Usage()
    _COUNTED.set(usage)
    return usage


def add(told: Any) -> None:
    """Count what litellm tells of an answer, if anybody counts."""
    usage = _COUNTED.get()
    if usage is None:
        return
    prompt, completion = getattr(told, "prompt_tokens", 0) or 0, getattr(told, "completion_tokens", 0) or 0
    usage.prompt += prompt
    usage.completion += completion
    usage.cached += _detail(told, "prompt_tokens_details", "cached_tokens")
    usage.reasoning += _detail(told, "completion_tokens_details", "reasoning_tokens")
    usage.is_known = usage.is_known and prompt > 0


def _detail(told: Any, details: str, name: str) -> int:
    return getattr(getattr(told, details, None), name, 0) or 0
