"""Questions with labels, one JSON object a line: the shipped ones, generated ones, and a user's own.

``{"question": …, "assets": ["talks/jfk.ogg"], "locators": ["#t=3.1,9"], "modality": "audio"}`` is a complete
one. Only `question` is required, and `assets` if the collection answers it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePath
from typing import Any, Self

from rag.errors import QueryError
from rag.types import MODALITIES

SHIPPED = Path(__file__).with_name("questions.jsonl")
CHOSEN, UNTOUCHED = HALVES = ("chosen", "untouched")
_SALT = "exhibit 23883:"  # with it no shipped question spans both halves, and each medium lies in both
_LISTS = ("assets", "locators", "answer")


@dataclass(frozen=True)
class Question:
    """A question with its labels.

    Attributes:
        question: its words.
        assets: paths of all files that answer it, or the last parts of these paths.
        locators: the places that answer it, as media fragments; empty if any place will do.
        modality: the medium of the answer; empty if unknown.
        answer: phrases; a correct answer contains at least one.
        answerable: whether the collection holds the answer.
        reviewed: whether a person has checked the labels.
        about: the file and place from which a generated question was made; of a shipped one, the file or folder that
            decides its half, if that is not its first asset.
        kind: what it asks for, such as who, when, count, table, or several if one place does not answer it.
        half: ``chosen`` if settings may be chosen on it, ``untouched`` if it only reports; empty if nobody has split.
    """

    question: str
    assets: tuple[str, ...] = ()
    locators: tuple[str, ...] = ()
    modality: str = ""
    answer: tuple[str, ...] = ()
    answerable: bool = True
    reviewed: bool = True
    about: str = ""
    kind: str = ""
    half: str = ""

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise QueryError("a question has no words")
        if self.modality and self.modality not in MODALITIES:
            raise QueryError(f"unknown modality {self.modality!r}; choose from {', '.join(MODALITIES)}")
        if self.half and self.half not in HALVES:
            raise QueryError(f"unknown half {self.half!r}; choose from {', '.join(HALVES)}")
        if bool(self.assets) != self.answerable:
            raise QueryError("a question has assets exactly if it is answerable")

    @classmethod
    def read(cls, line: str) -> Self:
        """Parse the question of one line of JSON.

        Raises:
            QueryError: the line is not a valid question.
        """
        try:
            given = json.loads(line)
        except ValueError as error:
            raise QueryError(f"it is not JSON ({error})") from error
        known = {field.name for field in fields(cls)}
        if not isinstance(given, dict) or "question" not in given or not set(given) <= known:
            raise QueryError(f"it must be an object with `question`, and may have {', '.join(sorted(known))}")
        return cls(**{key: _value(key, value) for key, value in given.items()})

    def names(self, path: str) -> str | None:
        """Return the asset of the question that a path names, or None."""
        return next((asset for asset in self.assets if _ends_with(path, asset)), None)


def read_questions(path: Path) -> list[Question]:
    """Read all questions of a file; blank lines are skipped.

    Raises:
        QueryError: the file does not exist or holds no question, or a line is malformed.
    """
    if not path.is_file():
        raise QueryError(f"There is no file of questions at {path}; `exhibit eval --list` lists the sets.")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                found.append(Question.read(line))
            except QueryError as error:
                raise QueryError(f"Line {number} of {path}: {error}.") from error
    if not found:
        raise QueryError(f"{path} holds no questions.")
    return found


def shipped_questions(prefix: str = "") -> Iterable[Question]:
    """Return the shipped questions that only files below one folder of the data answer."""
    return [q for q in read_questions(SHIPPED) if q.assets and all(asset.startswith(prefix) for asset in q.assets)]


def half(questions: Iterable[Question], name: str) -> Sequence[Question]:
    """Return the questions of one half; nothing may be chosen on the half ``untouched``.

    Raises:
        QueryError: no half has this name.
    """
    if name not in HALVES:
        raise QueryError(f"unknown half {name!r}; choose from {', '.join(HALVES)}")
    return [question for question in questions if question.half == name]


def half_of(name: str) -> str:
    """Return the half of all questions about one file, module or folder, by the digest of its name."""
    return HALVES[hashlib.sha256(f"{_SALT}{name}".encode()).digest()[0] % 2]


def _value(key: str, value: Any) -> Any:
    if key in _LISTS:
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise QueryError(f"`{key}` must be a list of texts")
        return tuple(value)
    wanted = bool if key in ("answerable", "reviewed") else str
    if not isinstance(value, wanted):
        raise QueryError(f"`{key}` must be {'true or false' if wanted is bool else 'a text'}")
    return value


def _ends_with(path: str, asset: str) -> bool:
    """Return whether a path equals an asset or ends with its parts."""
    whole, end = PurePath(path).parts, PurePath(asset).parts
    return bool(end) and whole[-len(end) :] == end
