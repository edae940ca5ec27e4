"""The paths that `ingest` accepts: those below the folders that were given with `--below`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rag.errors import QueryError


def allowed_paths(written: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    """Return the paths that an assistant wrote, if they stay below the folders; without folders all are allowed.

    Raises:
        QueryError: a path is not absolute, or it, or a link below it, leads out of the folders.
    """
    allowed = [folder.resolve() for folder in folders]
    return [_allowed_path(path, allowed) for path in written]


def _allowed_path(written: str, allowed: Sequence[Path]) -> Path:
    try:
        path = Path(written).expanduser()
        ways_out = _ways_out(path, allowed) if allowed else iter(())
        way_out = next(ways_out, None)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL character, circular links, an unknown user
        raise QueryError(f"`{written[:200]}` is not a valid path ({error}).") from error
    if not path.is_absolute():
        raise QueryError(
            f"`{written[:200]}` is not an absolute path. Give an absolute path; the server does not know your folder."
        )
    if way_out is not None:
        link = "" if way_out == path else f" {way_out} leads out of them; leave it out."
        raise QueryError(f"Only files below {', '.join(map(str, allowed))} may be indexed here.{link}")
    return path


def _ways_out(path: Path, allowed: Sequence[Path]) -> Iterator[Path]:
    """Yield each path, from this one down, that leads out of the folders; reading files would follow such links."""
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
