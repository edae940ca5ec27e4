"""Requests and responses of the API below ``/api``. The OpenAPI description is made from these models.

Schemas named like a value of `rag.types` end in ``Schema``; `rag.server.openapi` describes them without it.
"""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rag.server.job_store import State
from rag.types import Medium, Modality, VerdictName

_MOST_CHARACTERS = 20_000
_MOST_PARTS = 32
Weight = Annotated[float, Field(gt=0, le=100, description="Weight among the parts.")]


class Sent(BaseModel):
    """A request body. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """What is wrong, and what to do (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no knowledge base `zoo` here; there is `museum`."])
    code: str | None = Field(None, description="Code for programs.", examples=["base_not_found"])
    param: str | None = Field(None, description="The field of the request that is wrong.")
    instance: str | None = None


class AssetCounts(BaseModel):
    """Number of files by result."""

    indexed: int
    empty: int = Field(description="Read, but without text, pictures or sound.")
    failed: int


class Base(BaseModel):
    """A knowledge base."""

    name: str = Field(examples=["museum"])
    assets: AssetCounts
    segments: dict[Modality, int] = Field(examples=[{"text": 120, "image": 8, "audio": 5, "video": 14}])
    may_write: bool = Field(description="Whether this caller may add and delete files.")


class Bases(BaseModel):
    """The knowledge bases that a caller may use."""

    bases: list[Base]


class Failed(BaseModel):
    """A file that could not be added."""

    id: str = Field(description="Takes the place of an asset's id to remove it.")
    name: str = Field(examples=["talk.mp4"])
    reason: str = Field(examples=["It is empty (0 bytes)."])


class BaseDetails(Base):
    """A knowledge base, with its failed files and its encoders."""

    failed: list[Failed]
    encoders: dict[str, str] = Field(examples=[{"text": "minilm", "joint": "lite", "sound": "lite"}])
    disk_bytes: int


class Asset(BaseModel):
    """The indexed content of a file."""

    id: str
    name: str = Field(description="Name of the file.", examples=["photo-04.jpg"])
    media_type: str = Field(examples=["image/jpeg"])
    medium: Medium
    size: int = Field(description="Size in bytes.")
    segments: int
    state: Literal["indexed", "empty"]
    thumbnail: str | None = Field(description="URL of a small picture; null if there is nothing to see.")


class Assets(BaseModel):
    """A page of assets, sorted by name."""

    assets: list[Asset]
    next: str | None = Field(description="What to send as `after` for the next page; null on the last.")


class Part(BaseModel):
    """A frame or words that belong to a moment of a video."""

    id: str
    kind: str
    locator: str
    text: str
    tags: list[str]
    score: float


class HitSchema(BaseModel):
    """A place in a file: a passage, a picture, speech, a moment of a video."""

    id: str
    asset_id: str
    modality: Modality
    kind: str = Field(examples=["picture"])
    name: str = Field(description="Name of the file.", examples=["photo-04.jpg"])
    place: str = Field(description="The place in words.", examples=["page 3"])
    locator: str = Field(
        description="The place as a W3C media fragment.", examples=["#page=3&xywh=percent:10.00,20.00,30.00,5.00"]
    )
    title: str
    text: str = Field(description="Its text, or what is said.")
    caption: str = Field(description="A description from its surroundings.")
    tags: list[str] = Field(description="What a model recognizes in it, most probable first.")
    score: float = Field(description="Score in [0, 1].")
    is_believed: bool = Field(description="Whether it scores above the noise floor of this collection.")
    relevance: float | None = Field(description="Log-odds that it answers the query; null if no model judged it.")
    why: dict[str, Any] = Field(description="Why it was found, by channel.")
    parts: list[Part] = []
    views: dict[str, str] = Field(description="Signed URL of each of its views.")
    words: list[tuple[str, float, float]] = Field(description="Spoken words with start and end in seconds.")
    meta: dict[str, Any] = Field({}, description="Metadata for filters.")


class HitsSchema(BaseModel):
    """Hits of a search, best first."""

    hits: list[HitSchema]


class Segments(BaseModel):
    """All segments of an asset, in order."""

    segments: list[HitSchema]


class TextPart(Sent):
    """Words."""

    type: Literal["text"]
    text: str = Field(max_length=_MOST_CHARACTERS)
    weight: Weight = 1.0


class ImageUrl(Sent):
    """A picture inside the request."""

    url: str = Field(description="A data URL.", examples=["data:image/png;base64,iVBORw0KGgo="])
    detail: str = Field("auto", description="No effect; accepted for compatibility with other APIs.")


class ImagePart(Sent):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl
    weight: Weight = 1.0


class InputAudio(Sent):
    """A recording inside the request."""

    data: str = Field(description="The file in base64.")
    format: str = Field("", max_length=40, description="No effect: the content decides.", examples=["mp3"])


class AudioPart(Sent):
    """A recording."""

    type: Literal["input_audio"]
    input_audio: InputAudio
    weight: Weight = 1.0


Wanted = Annotated[TextPart | ImagePart | AudioPart, Field(discriminator="type")]


class NotPart(Sent):
    """A part to avoid."""

    type: Literal["not"]
    part: Wanted


AnyPart = Annotated[TextPart | ImagePart | AudioPart | NotPart, Field(discriminator="type")]
Words = Annotated[str, Field(max_length=_MOST_CHARACTERS)]
Question = Words | Annotated[list[AnyPart], Field(min_length=1, max_length=_MOST_PARTS)]


class Scope(Sent):
    """Where to search."""

    to: list[Modality] = Field(default=[], max_length=4, description="Media to search; empty for all.")
    where: dict[str, Any] = Field(
        default={},
        description="Conditions on metadata.",
        examples=[{"page": {"lte": 10}}, {"taken": {"gte": "2024-05"}}],
    )

    @field_validator("where")
    @classmethod
    def _bounded(cls, where: dict[str, Any]) -> dict[str, Any]:
        """Refuse conditions that are too long to be meant."""
        if len(json.dumps(where)) > _MOST_CHARACTERS:
            raise ValueError(f"the conditions are longer than {_MOST_CHARACTERS} characters")
        return where


class SearchRequest(Scope):
    """A search."""

    query: Question = Field(description="Words, or parts in any medium.")
    top_k: int = Field(10, ge=1, le=1000, description="Number of hits.")
    rerank: bool = Field(False, description="Rerank the best candidates with the language model; takes seconds.")
    quotas: dict[Modality, Annotated[int, Field(ge=0, le=1000)]] = Field(
        default={}, description="Number of hits for single media.", examples=[{"image": 3, "text": 2}]
    )
    taste: str = Field(
        "", max_length=120, description="A user whose preference ranks pictures; no effect if none is stored."
    )


class AskRequest(Scope):
    """A question."""

    question: Question = Field(description="Words, or parts in any medium.")
    turns: list[tuple[Words, Words]] = Field(
        default=[], max_length=100, description="Earlier questions and answers, oldest first."
    )
    stream: bool = Field(False, description="Answer with server-sent events.")


class VerdictSchema(BaseModel):
    """What checking a statement against the exhibit that it cites has shown."""

    name: VerdictName = Field(
        description="`unchecked` never counts as supported; show it with its reason.", examples=["supported"]
    )
    reason: str = Field(description="Why, in a sentence for people; may be empty.")
    support: float | None = Field(description="Probability that the exhibit says it; null where nothing measured it.")
    locator: str | None = Field(
        description="The place that says it, within that of the exhibit, as a media fragment; null if none is known.",
        examples=["#t=13.200,15.800"],
    )
    quote: str = Field(description="The words there; may be empty.")


class CitationSchema(BaseModel):
    """Characters `[start, end)` of the answer's text, the number of the exhibit that they rest on, and a verdict."""

    exhibit: int
    start: int
    end: int
    verdict: VerdictSchema


class Exhibit(HitSchema):
    """A numbered place that the language model got as evidence, or a near miss if it declined."""

    number: int


class StepSchema(BaseModel):
    """One step of answering a question."""

    name: str
    seconds: float
    note: str


class AnswerSchema(BaseModel):
    """An answer and its evidence."""

    question: str = Field(description="The question as it was understood.")
    text: str = Field(description="The answer, with a marker such as [E1] after each statement.")
    declined: bool = Field(description="Whether the collection does not answer the question.")
    citations: list[CitationSchema]
    exhibits: list[Exhibit]
    open_parts: list[str] = Field(description="Parts of the question that the answer leaves open, in words.")
    warnings: list[str]
    trace: list[StepSchema]


class Consent(Sent):
    """Records that a user has agreed to have their preference stored."""

    consent: Literal[True]


class Liked(Sent):
    """A user's choice."""

    segments: list[uuid.UUID] = Field(min_length=1, max_length=1000, description="Ids of hits.")


class Taste(BaseModel):
    """What is stored about a user, besides one vector."""

    user: str
    since: float = Field(description="When they agreed, in seconds since 1970.")
    likes: int = Field(description="Number of pictures learned from.")


class Accepted(BaseModel):
    """A queued job."""

    job: str = Field(description="Id of the job.")


class UrlsRequest(Sent):
    """Addresses of files to add."""

    urls: list[Annotated[str, Field(min_length=8, max_length=2000)]] = Field(
        min_length=1, max_length=100, examples=[["https://example.org/report.pdf"]]
    )


class JobResult(BaseModel):
    """The result of one file."""

    name: str
    state: Literal["indexed", "unchanged", "empty", "failed"]
    reason: str
    segments: int


class Job(BaseModel):
    """A job that adds files to a knowledge base."""

    id: str
    base: str
    state: State
    done: int = Field(description="Number of finished files.")
    total: int
    current: str = Field(description="The file that is being read or fetched.")
    results: list[JobResult]
    error: str = Field(description="Why the whole job failed; failed files are in the results.")
    made: float = Field(description="Seconds since 1970.")
    finished: float | None


class Jobs(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]


class Seconds(BaseModel):
    """Durations of questions in seconds; null before the first."""

    p50: float | None
    p95: float | None


class Stats(BaseModel):
    """Figures since the server started, without content of questions or answers."""

    since: float = Field(description="Seconds since 1970.")
    questions: int = Field(description="Answered questions and searches.")
    refused: int = Field(description="Refused because of too many others, or of a limit.")
    failed: int = Field(description="Failed because of the server.")
    seconds: Seconds
    jobs: dict[State, int]
