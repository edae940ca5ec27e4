"""The values that flow through Exhibit: frozen, compared by value, without I/O.

Times are seconds from the start of the recording, rounded to milliseconds. Boxes are fractions of the width and
height of the page, picture or frame, origin at the top left, rounded to 1e-4, so that a locator written as a media
fragment and read back is the same locator.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

from rag.errors import QueryError
from rag.explanation import ChannelScore, Explanation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Modality = Literal["text", "image", "audio", "video"]
Kind = Literal["passage", "figure", "picture", "speech", "sound", "frame", "moment"]
Medium = Literal["document", "image", "audio", "video"]
VerdictName = Literal["supported", "misattributed", "contradicted", "unsupported", "unchecked"]
MODALITIES: tuple[Modality, ...] = ("text", "image", "audio", "video")
Scalar = str | int | float | bool
PIXELS: frozenset[Kind] = frozenset({"figure", "picture", "frame"})  # kinds that an image encoder sees
_REPR_CHARS = 160
_NAMESPACE = uuid.UUID("6e0ff3f0-5b0c-5d0e-9f5e-3b1f6c1d7a10")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in fractions of the whole, each in [0, 1]: left, top, width, height."""

    x: float
    y: float
    w: float
    h: float

    def __post_init__(self) -> None:
        for name in ("x", "y", "w", "h"):
            object.__setattr__(self, name, round(min(max(float(getattr(self, name)), 0.0), 1.0), 4))


@dataclass(frozen=True, slots=True)
class CharSpan:
    """Characters ``[start, end)`` of the text that was extracted from a document."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PageBox:
    """A page or slide, counted from 1, and optionally a rectangle on it."""

    page: int
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class ImageRegion:
    """A picture, or a rectangle in it; upright, that is after its EXIF orientation is applied."""

    box: Box | None = None


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """Seconds ``[start_s, end_s)`` of a recording or a video."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "start_s", round(float(self.start_s), 3))
        object.__setattr__(self, "end_s", round(float(self.end_s), 3))


@dataclass(frozen=True, slots=True)
class FrameRegion:
    """The frame at ``at_s`` in a video or animation, or a rectangle in it."""

    at_s: float
    box: Box | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "at_s", round(float(self.at_s), 3))


Locator = CharSpan | PageBox | ImageRegion | TimeSpan | FrameRegion


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word with its time and the recogniser's probability."""

    text: str
    start_s: float
    end_s: float
    probability: float = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """A file as ingested.

    Attributes:
        path: of the file.
        sha256: of its content, in hexadecimal.
        size: in bytes.
        media_type: IANA media type of the content.
        medium: decides which reader takes it.
        mtime_ns: time of its last change, read before its content was hashed.
        captions: for a picture, descriptions from documents beside it.
        fields: metadata from a product table beside it.
    """

    path: Path
    sha256: str
    size: int
    media_type: str
    medium: Medium
    mtime_ns: int = 0
    captions: tuple[str, ...] = ()
    fields: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def asset_id(self) -> str:
        """Id of the content, the same for every copy of the file."""
        return str(uuid.uuid5(_NAMESPACE, self.sha256))

    @property
    def title(self) -> str:
        """The file's name, for people."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of an asset that can be found, shown and cited.

    Attributes:
        asset_id: id of the asset, `Source.asset_id`.
        ordinal: position among the asset's segments, from 0.
        modality: medium of the evidence; a frame and the speech of a video are both ``video``.
        kind: what it is; decides which encoder sees it. Only hits are moments (`rag.retrieval.moments`).
        locator: the place in the asset.
        text: the words there: passage, OCR, transcript. Empty without words.
        caption: the description from its surroundings: alt text, caption, sidecar. Never model output.
        tags: names that the encoder of its medium gives it, most probable first.
        title: name of the asset or heading above the place, for people.
        words: spoken words with times, for speech.
        meta: more fields that can be filtered on (``page``, ``start_s``, ``language``, ``confidence``, ``width_px``…).
    """

    asset_id: str
    ordinal: int
    modality: Modality
    kind: Kind
    locator: Locator
    text: str = ""
    caption: str = ""
    tags: tuple[str, ...] = ()
    title: str = ""
    words: tuple[Word, ...] = ()
    meta: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def searchable_text(self) -> str:
        """The words that a search matches: the caption, then the text; tags are left out."""
        return "\n".join(part for part in (self.caption, self.text) if part)

    def tagged(self, tags: tuple[str, ...]) -> Segment:
        """Return the same segment with an encoder's tags."""
        return replace(self, tags=tags)


@dataclass(frozen=True, slots=True)
class Extracted:
    """A segment on its way to the encoders.

    Attributes:
        segment: complete but for vectors and tags.
        picture: its pixels, RGB and upright, if it has any.
        sound: at most 10 s of its sound other than speech: mono float32 in [-1, 1] at 16 kHz.
    """

    segment: Segment
    picture: Image | None = None
    sound: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Hit:
    """A segment that a search found.

    Attributes:
        segment: the segment; for a video a moment, which no store holds: its `parts` are stored.
        why: the score and the reasons for it.
        path: where the asset's file is now; empty when the catalog knows no file for it.
        parts: the frames and the speech of a moment, best first.
    """

    segment: Segment
    why: Explanation
    path: str = ""
    parts: tuple[Hit, ...] = ()

    def __repr__(self) -> str:
        name = Path(self.path).name or self.segment.title
        return f"<Hit {self.score:.3f} {self.segment.kind} of {name!r} at {self.segment.locator}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the picture, the marked page or a player, the words, and why it was found."""
        from rag.presentation.notebook import hit_html

        return hit_html(self)

    @property
    def score(self) -> float:
        """Score of the search, in [0, 1] (`rag.retrieval.fusion.fuse`)."""
        return self.why.score

    @property
    def channels(self) -> tuple[ChannelScore, ...]:
        """The channels that found the hit, with its rank and score in each."""
        return self.why.channels

    @property
    def relevance(self) -> float | None:
        """Log-odds that the hit answers, from search and language model; None without a language model's verdict."""
        return self.why.relevance

    @property
    def is_above_noise(self) -> bool:
        """Whether the score is above the noise floor; if not, the hit is merely among the nearest."""
        return self.why.is_above_noise

    @property
    def picture_segment(self) -> Segment | None:
        """The segment whose pixels show it: itself, or the best frame of a moment; None for words and sound."""
        if self.segment.kind in PIXELS:
            return self.segment
        return next((part.segment for part in self.parts if part.segment.kind in PIXELS), None)


class Hits(list[Hit]):
    """The hits of a search, best first: a list that shows itself in a notebook."""

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a small card for each of the first hits."""
        from rag.presentation.notebook import hits_html

        return hits_html(self)


@dataclass(frozen=True, slots=True, repr=False)
class Evidence:
    """A hit with the number by which an answer cites it, made when the language model reads it."""

    number: int
    hit: Hit

    def __repr__(self) -> str:
        return f"<Evidence E{self.number}: {self.hit!r}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the number and the hit."""
        from rag.presentation.notebook import evidence_html

        return evidence_html(self)

    @property
    def segment(self) -> Segment:
        """The segment of the hit."""
        return self.hit.segment

    @property
    def locator(self) -> Locator:
        """The place in the medium."""
        return self.hit.segment.locator


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checking a statement against the evidence that it cites has shown (`rag.verification`).

    Attributes:
        name: supported, the evidence says it; misattributed, only other evidence says it; contradicted, the evidence
            says otherwise; unsupported, no evidence says it; unchecked, nothing could tell.
        reason: why, in a sentence for people.
        support: the probability that the evidence says it, in [0, 1]; None where nothing measured it.
        locator: the place that says it, within that of the evidence; None where that is as narrow as it gets.
        quote: the words there.
    """

    name: VerdictName = "unchecked"
    reason: str = ""
    support: float | None = None
    locator: Locator | None = None
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """Characters ``[start, end)`` of an answer's text, and the number of the evidence that they rest on.

    Attributes:
        number: of the evidence.
        start: first character of the statement.
        end: behind its last character.
        verdict: whether that evidence says it.
    """

    number: int
    start: int
    end: int
    verdict: Verdict = Verdict()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of answering a question, for ``Answer.trace``."""

    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, repr=False)
class Answer:
    """An answer and its evidence.

    Attributes:
        question: the question in words.
        text: the answer, with a marker such as ``[E1]`` after each statement.
        citations: which characters rest on which evidence.
        evidence: the evidence that the language model read, or the nearest misses if it declined.
        declined: whether the collection does not hold the answer.
        warnings: failures that did not stop the answer.
        trace: the steps, with their seconds.
        open_parts: parts of the question that a partial answer leaves open, in words.
    """

    question: str
    text: str
    citations: tuple[Citation, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    declined: bool = False
    warnings: tuple[str, ...] = ()
    trace: tuple[Step, ...] = ()
    open_parts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        outcome = f"declined, {len(self.evidence)} near" if self.declined else f"{len(self.cited)} cited"
        return f"<Answer {shorten(self.text, _REPR_CHARS, placeholder=' …')!r}, {outcome}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the text with its numbers, and the cited evidence itself."""
        from rag.presentation.notebook import answer_html

        return answer_html(self)

    @property
    def cited(self) -> tuple[Evidence, ...]:
        """The evidence that the answer cites, by number."""
        used = {c.number for c in self.citations}
        return tuple(e for e in self.evidence if e.number in used)

    @property
    def unchecked(self) -> tuple[Citation, ...]:
        """The citations that nothing could check; they never count as supported."""
        return tuple(c for c in self.citations if c.verdict.name == "unchecked")

    def render(self) -> str:
        """Return one self-contained HTML page with the answer and its evidence: pages, pictures, playable seconds."""
        from rag.presentation.report import page

        return page([self], title="Exhibit")


@dataclass(frozen=True, slots=True)
class AnswerChunk:
    """A piece of an answer that is being written; the last chunk of a stream carries the whole answer.

    Attributes:
        text: the text that was written since the chunk before; empty in the last chunk.
        answer: the whole answer in the last chunk, None before. Its text replaces the streamed one: it may lack
            statements that could not be cited.
    """

    text: str = ""
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result of one file of an ingest run."""

    path: str
    state: Literal["indexed", "unchanged", "empty", "failed", "removed"]
    segments: int = 0
    reason: str = ""
    seconds: float = 0.0
    asset_id: str = ""

    @property
    def summary(self) -> str:
        """Number of segments and seconds, in words."""
        return f"{self.segments} {'segment' if self.segments == 1 else 'segments'}, {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True, repr=False)
class IngestReport:
    """The results of an ingest run, in the order in which files were finished."""

    results: tuple[FileResult, ...] = ()
    seconds: float = 0.0

    def __repr__(self) -> str:
        return f"<IngestReport {self.summary}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a row for each file that changed or failed, the failed ones first."""
        from rag.presentation.notebook import ingest_html

        return ingest_html(self)

    @property
    def summary(self) -> str:
        """Number of files by state, of segments, and the seconds, in words."""
        states = [f"{number} {state}" for state, number in self.counts.items()] or ["nothing to do"]
        segments = sum(r.segments for r in self.results)
        return f"{', '.join(states)} · {segments} segments · {self.seconds:.1f} s"

    def __iter__(self) -> Iterator[FileResult]:
        return iter(self.results)

    @property
    def failed(self) -> tuple[FileResult, ...]:
        """The files that could not be indexed, each with its reason."""
        return tuple(r for r in self.results if r.state == "failed")

    @property
    def counts(self) -> dict[str, int]:
        """Number of files by state."""
        states = [r.state for r in self.results]
        return {s: states.count(s) for s in dict.fromkeys(states)}


# Conditions as `rag.query.filters` reads them: mappings within mappings.
Where = Mapping[str, Any]


@dataclass(frozen=True)
class Filter:
    """Which segments a search may return; an empty filter admits all.

    Attributes:
        modalities: the media to look in, empty for all.
        asset_ids: the assets to look in, empty for all.
        where: conditions on payload fields, in the language of `rag.query.filters`.
    """

    modalities: frozenset[Modality] = frozenset()
    asset_ids: frozenset[str] = frozenset()
    where: Where = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.modalities) - set(MODALITIES))
        if unknown:
            raise QueryError(f"Unknown modality {', '.join(unknown)}; choose from {', '.join(MODALITIES)}.")
