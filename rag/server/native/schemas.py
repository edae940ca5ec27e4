"""What the API below ``/api`` is sent and answers."""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rag.types import Medium, Modality

_MOST_CHARACTERS = 20_000
_MOST_PARTS = 32
Weight = Annotated[float, Field(gt=0, le=100, description="How much it counts among the parts.")]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class Sent(BaseModel):
    """What a client sends: fields of other names are mistakes."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """What is wrong, and what to do (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no knowledge base `zoo` here; there is `museum`."])
    code: str | None = Field(None, description="The same for programs.", examples=["base_not_found"])
    param: str | None = Field(None, description="The field of the request that it is about.")
    instance: str | None = None


class AssetCounts(BaseModel):
    """Number of files by what became of them."""

    indexed: int
    empty: int = Field(description="Read, but with nothing in them to read, see or hear.")
    failed: int


class Base(BaseModel):
    """A knowledge base."""

    name: str = Field(examples=["museum"])
    assets: AssetCounts
    segments: dict[Modality, int] = Field(examples=[{"text": 120, "image": 8, "audio": 5, "video": 14}])
    may_write: bool = Field(description="Whether this caller may take in and delete.")


class Bases(BaseModel):
    """The knowledge bases that a caller may use."""

    bases: list[Base]


class Failed(BaseModel):
    """A file that could not be taken in."""

    id: str = Field(description="Forgets it, where an asset's id would.")
    name: str = Field(examples=["talk.mp4"])
    reason: str = Field(examples=["It is empty (0 bytes)."])


class BaseDetails(Base):
    """A knowledge base, with what failed and how it was made."""

    failed: list[Failed]
    encoders: dict[str, str] = Field(examples=[{"text": "minilm", "joint": "lite", "sound": "lite"}])
    disk_bytes: int


class Asset(BaseModel):
    """A file's content as it was taken in."""

    id: str
    name: str = Field(description="Of the file.", examples=["photo-04.jpg"])
    media_type: str = Field(examples=["image/jpeg"])
    medium: Medium
    size: int = Field(description="In bytes.")
    segments: int
    state: Literal["indexed", "empty"]
    thumbnail: str | None = Field(description="URL of a small picture, where there is something to see.")


class Assets(BaseModel):
    """A page of assets, sorted by name."""

    assets: list[Asset]
    next: str | None = Field(description="What to send as `after` for the next page; null on the last.")


class Part(BaseModel):
    """The frames and words of which a moment of a film is made."""

    id: str
    kind: str
    locator: str
    text: str
    tags: list[str]
    score: float


class Hit(BaseModel):
    """A place in a file: a passage, a picture, spoken words, a moment of a film."""

    id: str
    asset_id: str
    modality: Modality
    kind: str = Field(examples=["picture"])
    name: str = Field(description="Of the file.", examples=["photo-04.jpg"])
    place: str = Field(description="In words.", examples=["page 3"])
    locator: str = Field(
        description="As a W3C media fragment.", examples=["#page=3&xywh=percent:10.00,20.00,30.00,5.00"]
    )
    title: str
    text: str = Field(description="What is read or heard there.")
    caption: str = Field(description="What its surroundings say of it.")
    tags: list[str] = Field(description="What a model believes is seen or heard, most probable first.")
    score: float = Field(description="In [0, 1].")
    is_believed: bool = Field(description="Whether it scores more than nonsense does here.")
    relevance: float | None = Field(description="Log-odds that it answers; null where no model judged.")
    why: dict[str, Any] = Field(description="What its place among the hits rests on.")
    parts: list[Part] = []
    views: dict[str, str] = Field(description="Signed URLs under which it is seen, played and read.")
    words: list[tuple[str, float, float]] = Field(description="Spoken words with their first and last second.")
    meta: dict[str, Any] = Field({}, description="What can be filtered on.")


class Hits(BaseModel):
    """What a search found, best first."""

    hits: list[Hit]


class Segments(BaseModel):
    """All places of an asset, in their order."""

    segments: list[Hit]


class TextPart(Sent):
    """Words."""

    type: Literal["text"]
    text: str = Field(max_length=_MOST_CHARACTERS)
    weight: Weight = 1.0


class ImageUrl(Sent):
    """A picture inside the request."""

    url: str = Field(description="A data URL.", examples=["data:image/png;base64,iVBORw0KGgo="])
    detail: str = Field("auto", description="Without effect; other APIs have it.")


class ImagePart(Sent):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl
    weight: Weight = 1.0


class InputAudio(Sent):
    """A recording inside the request."""

    data: str = Field(description="In base64.")
    format: str = Field("", max_length=40, description="Without effect: content tells.", examples=["mp3"])


class AudioPart(Sent):
    """A recording."""

    type: Literal["input_audio"]
    input_audio: InputAudio
    weight: Weight = 1.0


Wanted = Annotated[TextPart | ImagePart | AudioPart, Field(discriminator="type")]


class NotPart(Sent):
    """What is not wanted."""

    type: Literal["not"]
    part: Wanted


AnyPart = Annotated[TextPart | ImagePart | AudioPart | NotPart, Field(discriminator="type")]
Words = Annotated[str, Field(max_length=_MOST_CHARACTERS)]
Question = Words | Annotated[list[AnyPart], Field(min_length=1, max_length=_MOST_PARTS)]


class Scope(Sent):
    """Where to look."""

    to: list[Modality] = Field(default=[], max_length=4, description="Media to look in; all where it is empty.")
    where: dict[str, Any] = Field(
        default={},
        description="Conditions on metadata.",
        examples=[{"page": {"lte": 10}}, {"taken": {"gte": "2024-05"}}],
    )

    @field_validator("where")
    @classmethod
    def _bounded(cls, where: dict[str, Any]) -> dict[str, Any]:
        """Refuse what is longer than anybody means."""
        if len(json.dumps(where)) > _MOST_CHARACTERS:
            raise ValueError(f"the conditions are longer than {_MOST_CHARACTERS} characters")
        return where


class SearchRequest(Scope):
    """A search."""

    query: Question = Field(description="Words, or parts in any medium.")
    top_k: int = Field(10, ge=1, le=1000, description="Number of hits.")
    rerank: bool = Field(False, description="Let the language model judge the best candidates; takes seconds.")
    quotas: dict[Modality, Annotated[int, Field(ge=0, le=1000)]] = Field(
        default={}, description="Number of hits of some media.", examples=[{"image": 3, "text": 2}]
    )
    taste: str = Field(
        "", max_length=120, description="A user whose taste puts pictures in order; nothing where none is kept."
    )


class AskRequest(Scope):
    """A question."""

    question: Question = Field(description="Words, or parts in any medium.")
    turns: list[tuple[Words, Words]] = Field(
        default=[], max_length=100, description="What was asked and answered before, oldest first."
    )
    stream: bool = Field(False, description="Answer by server-sent events.")


class Citation(BaseModel):
    """Characters `[start, end)` of the answer's text that rest on an exhibit."""

    exhibit: int
    start: int
    end: int


class Exhibit(Hit):
    """A numbered place that the language model was shown, or one that came near where it declined."""

    number: int


class Step(BaseModel):
    """One step of a question's way."""

    name: str
    seconds: float
    note: str


class Answer(BaseModel):
    """An answer, and what it rests on."""

    question: str = Field(description="As it was understood.")
    text: str = Field(description="With a marker such as [E1] after each statement.")
    declined: bool = Field(description="Whether the collection does not answer the question.")
    citations: list[Citation]
    exhibits: list[Exhibit]
    warnings: list[str]
    trace: list[Step]


class Consent(Sent):
    """That a user has agreed to have their taste kept."""

    consent: Literal[True]


class Liked(Sent):
    """What a user chose."""

    segments: list[uuid.UUID] = Field(min_length=1, max_length=1000, description="Ids of hits.")


class Taste(BaseModel):
    """What is kept of a user, beside one vector."""

    user: str
    since: float = Field(description="When they agreed, in seconds since 1970.")
    likes: int = Field(description="Number of pictures that were learned from.")


class Accepted(BaseModel):
    """A job that was begun."""

    job: str = Field(description="Its id.")


class UrlsRequest(Sent):
    """Addresses to take in."""

    urls: list[Annotated[str, Field(min_length=8, max_length=2000)]] = Field(
        min_length=1, max_length=100, examples=[["https://example.org/report.pdf"]]
    )


class JobResult(BaseModel):
    """What became of one file."""

    name: str
    state: Literal["indexed", "unchanged", "empty", "failed"]
    reason: str
    segments: int


class Job(BaseModel):
    """Files on their way into a knowledge base."""

    id: str
    base: str
    state: JobState
    done: int = Field(description="Files that are finished.")
    total: int
    current: str = Field(description="What is being done: the file that is read or fetched.")
    results: list[JobResult]
    error: str = Field(description="Why the whole of it failed; a file that failed is a result.")
    made: float = Field(description="Seconds since 1970.")
    finished: float | None


class Jobs(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]


class Seconds(BaseModel):
    """How long questions took; null before the first."""

    p50: float | None
    p95: float | None


class Stats(BaseModel):
    """Figures since the server was started; nothing of what was asked or answered is in them."""

    since: float = Field(description="Seconds since 1970.")
    questions: int = Field(description="Questions and searches that were answered.")
    refused: int = Field(description="Those that met too many others, or a limit.")
    failed: int = Field(description="Those that the server could not answer.")
    seconds: Seconds
    jobs: dict[JobState, int]
