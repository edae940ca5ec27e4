"""The data that tools return; the description of each field tells a model what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from rag.answering.markers import plain_line
from rag.catalog.catalog import CatalogEntry
from rag.presentation.verdicts import with_doubts
from rag.segments import KIND_NAMES, place, to_fragment
from rag.server.openai.markdown import sanitize
from rag.text import excerpt, replace_surrogates
from rag.types import Answer, Citation, Hit, IngestReport, Scalar, VerdictName

_TEXT_CHARS, _NAME_CHARS = 600, 400
_MOST_TAGS = 5
_MOST_FIELDS, _FIELD_CHARS = 40, 200
_MOST_NEAREST = 3
_MOST_FAILED = 50


@dataclass(frozen=True)
class Place:
    """A place in a file of the collection."""

    id: Annotated[str, Field(description="For get_evidence.")]
    title: Annotated[str, Field(description="The file, and the heading above the place.")]
    place: Annotated[str, Field(description="Where in the file: a page, seconds, a frame; empty for a whole picture.")]
    locator: Annotated[str, Field(description="The same as a W3C media fragment.")]
    kind: Annotated[str, Field(description="What it is: Passage, Picture, Speech, Video, …")]
    text: Annotated[str, Field(description="What is read or said there, in part where it is long.")]
    caption: Annotated[str, Field(description="What the file or a page beside it says that a picture shows.")]
    looks_or_sounds_like: Annotated[list[str], Field(description="Guessed by a classifier; may be wrong.")]
    fields: Annotated[dict[str, str | int | float | bool], Field(description="Metadata, as `where` can ask for it.")]
    score: Annotated[float, Field(description="From 0 to 1.")]
    is_above_chance: Annotated[bool, Field(description="Whether nonsense would score less in this collection.")]


@dataclass(frozen=True)
class SearchResult:
    """What a search found, best first."""

    hits: list[Place]
    note: str


@dataclass(frozen=True)
class CitedPlace(Place):
    """A place that an answer cites."""

    number: Annotated[int, Field(description="As in the answer's [1].")]


@dataclass(frozen=True)
class CheckedStatement:
    """A statement of an answer, and whether the place that it cites says so."""

    text: str
    number: Annotated[int, Field(description="Of the place that it cites.")]
    verdict: Annotated[VerdictName, Field(description="Unchecked never counts as supported: say so if you use it.")]
    reason: Annotated[str, Field(description="Why, in words.")]
    quote: Annotated[str, Field(description="The words of the place that say it.")]
    locator: Annotated[str, Field(description="The narrower place that says it, as a media fragment; may be empty.")]


@dataclass(frozen=True)
class AnswerResult:
    """An answer with its citations."""

    question: Annotated[str, Field(description="As it was understood from what was said before.")]
    answer: Annotated[str, Field(description="Each statement with the number of its citation, as [1], then any doubt.")]
    is_declined: Annotated[bool, Field(description="Whether the collection does not answer it.")]
    citations: list[CitedPlace]
    statements: list[CheckedStatement]
    left_open: Annotated[list[str], Field(description="Parts of the question that the answer leaves open.")]
    nearest: Annotated[list[Place], Field(description="What came nearest, where it is declined.")]
    warnings: list[str]


@dataclass(frozen=True)
class AssetRow:
    """A file of the collection."""

    id: Annotated[str, Field(description="For get_evidence, with #page=3 or #t=10,20 behind it.")]
    name: str
    folder: Annotated[str, Field(description="Empty where the caller is not on the same machine.")]
    media_type: str
    bytes: int
    segments: Annotated[int, Field(description="Pieces that can be found; 0 where there was nothing in it.")]


@dataclass(frozen=True)
class AssetList:
    """Files of the collection, by path."""

    assets: list[AssetRow]
    total: Annotated[int, Field(description="Of all that match, also beyond this list.")]


@dataclass(frozen=True)
class FailedFile:
    """A file that could not be taken in."""

    path: str
    reason: str


@dataclass(frozen=True)
class IngestResult:
    """What became of the files."""

    counts: Annotated[dict[str, int], Field(description="Number of files by state.")]
    failed: list[FailedFile]
    seconds: float


def hit_id(hit: Hit) -> str:
    """Return the id of a place; it is valid as long as the file is in the collection."""
    return f"{hit.segment.asset_id}#{to_fragment(hit.segment.locator)}"


def search_result(hits: list[Hit], words: str) -> SearchResult:
    """Convert the hits of a search."""
    note = "" if hits else "Nothing was found; try other words, or without filters."
    if hits and not hits[0].is_above_noise:
        note = "Nothing fits better than by chance; these are the nearest, and probably not what was meant."
    return SearchResult([Place(**_place(hit, words)) for hit in hits], note)


def answer_result(answer: Answer) -> AnswerResult:
    """Convert an answer."""
    cited = [CitedPlace(**_place(evidence.hit, answer.text), number=evidence.number) for evidence in answer.cited]
    nearest = answer.evidence[:_MOST_NEAREST] if answer.declined else ()
    return AnswerResult(
        question=answer.question,
        answer=sanitize(with_doubts(answer)),
        is_declined=answer.declined,
        citations=cited,
        statements=[_statement(answer, citation) for citation in answer.citations],
        left_open=[plain_line(part)[:_TEXT_CHARS] for part in answer.open_parts],
        nearest=[Place(**_place(evidence.hit, answer.question)) for evidence in nearest],
        warnings=list(answer.warnings),
    )


def asset_list(assets: list[CatalogEntry], total: int, *, is_local: bool) -> AssetList:
    """Convert a listing; only callers on this machine see folders."""
    rows = [
        AssetRow(
            entry.id,
            _readable(entry.path.name),
            _readable(str(entry.path.parent)) if is_local else "",
            entry.media_type,
            entry.size,
            entry.segments,
        )
        for entry in assets
    ]
    return AssetList(rows, total)


def ingest_result(report: IngestReport) -> IngestResult:
    """Convert an ingest report; of many failures only the first are listed."""
    failed = [FailedFile(_readable(file.path), _readable(file.reason)) for file in report.failed[:_MOST_FAILED]]
    return IngestResult(report.counts, failed, round(report.seconds, 1))


def _place(hit: Hit, about: str) -> dict[str, Any]:
    segment = hit.segment
    heading = segment.title.partition(" › ")[2]
    return {
        "id": hit_id(hit),
        "title": _readable(" › ".join(part for part in (Path(hit.path).name or segment.title, heading) if part)),
        "place": place(segment),
        "locator": f"#{to_fragment(segment.locator)}",
        "kind": KIND_NAMES[segment.kind],
        "text": plain_line(excerpt(segment.text, about, len, _TEXT_CHARS)),
        "caption": plain_line(excerpt(segment.caption, about, len, _TEXT_CHARS)),
        "looks_or_sounds_like": list(segment.tags[:_MOST_TAGS]),
        "fields": {name: _field(value) for name, value in [*segment.meta.items()][:_MOST_FIELDS]},
        "score": round(hit.score, 3),
        "is_above_chance": hit.is_above_noise,
    }


def _statement(answer: Answer, citation: Citation) -> CheckedStatement:
    verdict = citation.verdict
    return CheckedStatement(
        text=sanitize(answer.text[citation.start : citation.end]).strip(),
        number=citation.number,
        verdict=verdict.name,
        reason=plain_line(verdict.reason)[:_TEXT_CHARS],
        quote=plain_line(verdict.quote)[:_TEXT_CHARS],
        locator=f"#{to_fragment(verdict.locator)}" if verdict.locator else "",
    )


def _field(value: Scalar) -> Scalar:
    return value[:_FIELD_CHARS] if isinstance(value, str) else value


def _readable(text: str) -> str:
    """Return a name as valid text for JSON, because file names may hold arbitrary bytes."""
    return replace_surrogates(text)[:_NAME_CHARS]
