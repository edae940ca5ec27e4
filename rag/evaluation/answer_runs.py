"""Answers in a file of JSON Lines, so that a run can go on, be compared, and be made again; and a person's judgements.

The first line says with what the answers were made; each other line is one answer.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import rag
from rag.config import Settings
from rag.errors import QueryError
from rag.evaluation.answer_metrics import GRADES, Grade

# Settings that change no answer: places, keys, limits of files, and time.
_WITHOUT_EFFECT = frozenset(
    {
        *("home", "data", "threads", "qdrant_url", "qdrant_api_key", "catalog_url", "llm_timeout_s", "max_file_mb"),
        *("max_pages", "max_media_s", "max_pixels", "reader_memory_gb", "file_timeout_s"),
    }
)
# Parts of the code that show answers and make none.
_NOT_ANSWERING = frozenset({"cli", "demo", "evaluation", "integrations", "mcp", "presentation", "server"})
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class CitationRecord:
    """A citation of a recorded answer.

    Attributes:
        start, end: the characters of the statement.
        path: the file of the evidence.
        place: the place in the file, as narrow as the verdict says, as a media fragment without ``#``.
        verdict: its name (`rag.types.Verdict`).
        support: the probability that the evidence says it, if known.
        reason: for the verdict.
        quote: the words of the evidence that the verdict rests on, or its first words.
    """

    start: int
    end: int
    path: str
    place: str
    verdict: str = "unchecked"
    support: float | None = None
    reason: str = ""
    quote: str = ""


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """A recorded answer.

    Attributes:
        question: as it was asked.
        text: of the answer.
        is_declined: whether there is none.
        is_partial: whether the answer says that it leaves a part open.
        confidence: in the answer, for the order of a coverage-risk curve; None if nothing measured it.
        citations: in their order.
        nearest: files of the evidence, or of the nearest misses.
        seconds: of each step.
        tokens: read and written by language models; empty if unknown.
        warnings: failures of steps.
    """

    question: str
    text: str
    is_declined: bool = False
    is_partial: bool = False
    confidence: float | None = None
    citations: tuple[CitationRecord, ...] = ()
    nearest: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the record that was written as JSON."""
        citations = tuple(CitationRecord(**one) for one in stored["citations"])
        lists = {key: tuple(value) for key, value in stored.items() if isinstance(value, list)}
        return cls(**{**stored, **lists, "citations": citations})


@dataclass(frozen=True, slots=True)
class RunHeader:
    """With what a run was made.

    Attributes:
        settings: those that matter for answers.
        version: of Exhibit.
        code: digest of the code and the prompts that answer; it needs no version control.
    """

    settings: Mapping[str, Any]
    version: str
    code: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the header of a run with these settings and the present code."""
        chosen = settings.model_dump(mode="json", exclude=set(_WITHOUT_EFFECT))
        return cls(chosen, version("exhibit-rag"), _code_digest())

    @property
    def variables(self) -> str:
        """The variables that repeat its settings where they are not the default, as a shell takes them."""
        defaults = {name: one.get_default(call_default_factory=True) for name, one in Settings.model_fields.items()}
        changed = {name: value for name, value in self.settings.items() if value != defaults.get(name)}
        written = {name: value if isinstance(value, str) else json.dumps(value) for name, value in changed.items()}
        pairs = (f"EXHIBIT_{name.upper()}={shlex.quote(value)}" for name, value in written.items())
        return " ".join(pairs) or "the default settings"

    def other_settings(self, other: RunHeader) -> list[str]:
        """Return in words what differs in the settings of another run."""
        names = sorted({*self.settings, *other.settings})
        pairs = [(name, self.settings.get(name), other.settings.get(name)) for name in names]
        return [f"{name} {theirs!r} instead of {ours!r}" for name, ours, theirs in pairs if ours != theirs]


class AnswerRun:
    """The answers of a run by question; with a path, every new one is appended to that file.

    Attributes:
        header: with what the run was made.
        records: its answers by question.
    """

    def __init__(self, header: RunHeader, path: Path | None = None) -> None:
        self.header, self.records, self._path = header, dict[str, AnswerRecord](), path
        if path is None:
            return
        if path.is_file() and path.stat().st_size:
            before = read_run(path)
            if others := before.header.other_settings(header):
                raise QueryError(
                    f"{path} was made with other settings ({'; '.join(others)} now). Name another file, or repeat"
                    f" them: {before.header.variables}."
                )
            self.header, self.records = before.header, before.records
        lines = [_line({"format": _FORMAT, **asdict(self.header)}), *map(_record_line, self.records.values())]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")  # without a line that an interruption cut off

    def keep(self, record: AnswerRecord) -> None:
        """Add an answer, in the file at once."""
        self.records[record.question] = record
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_record_line(record))


@dataclass(frozen=True, slots=True)
class Judgement:
    """A person's judgement of an answer.

    Attributes:
        right: the grade; None if the person did not say.
        supported: whether the cited evidence says what the answer says; None if the person did not say.
        text: of the judged answer; empty holds for any.
    """

    right: Grade | None = None
    supported: bool | None = None
    text: str = ""


def read_run(path: Path) -> AnswerRun:
    """Read the file of a run; a last line that an interruption cut off is left out.

    Raises:
        QueryError: the file does not exist, or is not that of a run.
    """
    numbered = _json_lines(path, "a run; `exhibit eval SET --answers --kb FOLDER --resume FILE` makes one")
    try:
        _, first = next(numbered)
        if first.pop("format") != _FORMAT:
            raise QueryError(f"{path} was made by another version of Exhibit.")
        run = AnswerRun(RunHeader(**first))
        for _, stored in numbered:
            run.keep(AnswerRecord.from_json(stored))
    except (StopIteration, KeyError, TypeError, AttributeError) as error:
        raise QueryError(f"{path} is not the file of a run of `exhibit eval --answers`.") from error
    return run


def read_judgements(path: Path) -> dict[str, Judgement]:
    """Read a person's judgements by question, such as ``{"question": "Who?", "right": true, "supported": false}``.

    `right` is true, false or ``"partly"``; `text` may repeat the judged answer, so that the judgement holds for no
    other; `note` is for people. A later line replaces an earlier one.

    Raises:
        QueryError: the file does not exist, or a line is malformed.
    """
    found: dict[str, Judgement] = {}
    for number, given in _json_lines(path, "judgements"):
        try:
            question, _ = given.pop("question"), given.pop("note", "")
            found[question] = _judgement(**given)
        except (KeyError, TypeError, AttributeError) as error:
            raise QueryError(
                f'Line {number} of {path}: write {{"question": …, "right": true, "supported": false}}; `text` and'
                " `note` may be added."
            ) from error
    return found


def _judgement(*, right: Any = None, supported: Any = None, text: str = "") -> Judgement:
    grades: dict[Any, Grade | None] = {None: None, True: "right", False: "wrong", **{name: name for name in GRADES}}
    if right not in grades or supported not in (None, True, False) or not isinstance(text, str):
        raise TypeError("a value is of the wrong type")
    return Judgement(grades[right], supported, text)


def _json_lines(path: Path, what: str) -> Iterator[tuple[int, Any]]:
    if not path.is_file():
        raise QueryError(f"There is no file {path} of {what}.")
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")  # a text may hold other ends of lines
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line) if line.strip() else None
        except ValueError as error:
            if number == len(lines) and not text.endswith("\n"):
                return
            raise QueryError(f"Line {number} of {path}: it is not JSON ({error}).") from error
        if value is not None:
            yield number, value


def _record_line(record: AnswerRecord) -> str:
    return _line(asdict(record))


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _code_digest() -> str:
    import prompts

    digest = hashlib.sha256()
    for package in (rag, prompts):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*")):
            part = path.relative_to(folder)
            if path.is_file() and "__pycache__" not in part.parts and part.parts[0] not in _NOT_ANSWERING:
                digest.update(str(part).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
