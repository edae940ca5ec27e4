"""The knowledge bases of a server by name. Each is opened once and stays open until the server ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from rag.config import Settings
from rag.errors import QueryError
from rag.knowledge_base import KnowledgeBase

_UNSAFE = re.compile(r"[^\w.-]+")


def name_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """Return folders by the name they are served under: their own, or their parent's if the folder is hidden.

    Raises:
        QueryError: two would have the same name.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        path = folder.absolute()
        own = path.parent.name if path.name.startswith(".") else path.stem
        name = _UNSAFE.sub("-", own).strip("-.") or "exhibit"
        if name in named:
            raise QueryError(f"{named[name]} and {path} would both be served as `{name}`; rename one of them.")
        named[name] = path
    return named


class ServedBases(Mapping[str, KnowledgeBase]):
    """Open knowledge bases by name. As a context manager it opens all of them or none, and closes them at the end."""

    def __init__(self, folders: Mapping[str, Path], settings: Settings | None = None) -> None:
        self._folders, self._settings = dict(folders), settings
        self._opened: dict[str, KnowledgeBase] = {}
        self._held = ExitStack()

    def open(self) -> None:
        """Open them unless they are open."""
        if self._opened:
            return
        with ExitStack() as opening:
            self._opened = {
                name: opening.enter_context(KnowledgeBase.open(folder, self._settings))
                for name, folder in self._folders.items()
            }
            self._held = opening.pop_all()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened = {}
        self._held.close()

    def __getitem__(self, name: str) -> KnowledgeBase:
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened)

    def __len__(self) -> int:
        return len(self._opened)
