"""The messages between the reading processes and their parent.

A `ReaderRequest` goes to the child. The child answers with an `ItemMessage` for every value and a `BeatMessage` while
it works, and ends with an `EndMessage`, an `ErrorMessage` or a `MemoryMessage`. The parent adds an `ExitMessage`, a
`SilenceMessage` or a `TimeoutMessage` when the child dies or has to be stopped. The pool of workers passes events on to
its caller, each with the argument it belongs to.

The classes have a module of their own because the child's module runs as ``__main__``, where pickle cannot find them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rag.errors import ExhibitError


@dataclass(frozen=True, slots=True)
class ReaderRequest:
    """An operation of `ingest.reading.readers.Readers` and its arguments."""

    operation: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ItemMessage:
    """One value that the operation yielded."""

    value: Any


@dataclass(frozen=True, slots=True)
class BeatMessage:
    """A sign of life; `excused_s` seconds, such as a model's download, do not count against the file."""

    excused_s: float


@dataclass(frozen=True, slots=True)
class EndMessage:
    """The operation is done; it took so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """The operation failed: the name of a class in `rag.errors`, and the text."""

    error_class: str
    text: str


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """The child ran out of the memory it may use."""


@dataclass(frozen=True, slots=True)
class ExitMessage:
    """The child died; `cause` is a signal or an exit code."""

    cause: str


@dataclass(frozen=True, slots=True)
class SilenceMessage:
    """The child gave no sign of life for too long."""


@dataclass(frozen=True, slots=True)
class TimeoutMessage:
    """The operation took longer in all than the file's size justifies."""

    limit_s: float


Reply = ItemMessage | BeatMessage | EndMessage | ErrorMessage | MemoryMessage
Message = Reply | ExitMessage | SilenceMessage | TimeoutMessage


@dataclass(frozen=True, slots=True)
class ItemEvent:
    """A value that came of an argument."""

    argument: Any
    value: Any


@dataclass(frozen=True, slots=True)
class EndEvent:
    """All values of an argument have come; reading took so many seconds."""

    argument: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """An argument failed."""

    argument: Any
    error: ExhibitError


@dataclass(frozen=True, slots=True)
class BeatEvent:
    """Nothing came for a while."""


Event = ItemEvent | EndEvent | ErrorEvent | BeatEvent
