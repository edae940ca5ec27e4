"""Which paths may be taken in: those in folders that whoever started the server named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rag.errors import QueryError


def allowed_paths(written: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    """Paths as an assistant wrote them, none of which leads out of the folders; without folders all may be taken in.

    Raises:
        QueryError: one is no absolute path, or it, or a link in it, leads elsewhere.
    """
    allowed = [folder.resolve() for folder in folders]
    return [_allowed_path(path, allowed) for path in written]


def _allowed_path(written: str, allowed: Sequence[Path]) -> Path:
    try:
        path = Path(written).expanduser()
        ways_out = _ways_out(path, allowed) if allowed else iter(())
        way_out = next(ways_out, None)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in it, links that go round, nobody of that name
        raise QueryError(f"`{written[:200]}` is no path that can be followed ({error}).") from error
    if not path.is_absolute():
        raise QueryError(f"`{written[:200]}` is no absolute path; the server does not know your folder.")
    if way_out is not None:
        link = "" if way_out == path else f" {way_out} leads out of them; name what lies beside it."
        raise QueryError(f"Only files below {', '.join(map(str, allowed))} may be taken in here.{link}")
    return path


def _ways_out(path: Path, allowed: Sequence[Path]) -> Iterator[Path]:
    """The path, or what lies below it, where it leads out of the folders: links are followed when files are read."""
    waiting, entered = [path], set[Path]()
    while waiting:
        one = waiting.pop()
        real = one.resolve()
        if not any(real.is_relative_to(folder) for folder in allowed):
            yield one
        elif real not in entered and real.is_dir():
            entered.add(real)
            with os.scandir(one) as entries:
                waiting += [one / entry.name for entry in entries if entry.is_symlink() or entry.is_dir()]
