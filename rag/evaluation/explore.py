"""A collection as a whole: a map, the drift of new files, and the questions that it covers.

All of it uses the vectors of the joint space of words and pictures. Even there, pictures lie among pictures and words
among words, whatever their subject; so the mean of each of the two groups is subtracted first.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rag.errors import MediaError, QueryError
from rag.media import data_uri
from rag.presentation.html_table import table
from rag.segments import place, segment_id
from rag.text import replace_surrogates
from rag.types import PIXELS, Hit, Modality

if TYPE_CHECKING:
    from rag.knowledge_base import KnowledgeBase

_WIDTH, _HEIGHT, _MARGIN, _DOT_PX, _THUMBNAIL_PX = 760, 460, 40, 7, 110
_COLOURS: dict[Modality, str] = {"text": "#3b7ea1", "image": "#c96a12", "audio": "#4c9a52", "video": "#8a5bb5"}
_STYLE = ".{0} .tip{{display:none;pointer-events:none}}.{0} circle{{cursor:pointer}}"
_WORDS_CHARS = 90


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A segment on the map: x and y in [0, 1], and its thumbnail as a data URI; empty without pixels."""

    hit: Hit
    x: float
    y: float
    thumbnail: str = ""


@dataclass(frozen=True, slots=True)
class CollectionMap:
    """Segments on a plane; similar segments are near each other.

    Attributes:
        points: the segments.
        explained: share of the vectors' variance that the plane keeps; little is usual.
        left_out: number of segments that are not on it, beyond the limit or without a vector.
    """

    points: tuple[MapPoint, ...]
    explained: float
    left_out: int = 0

    def __repr__(self) -> str:
        return f"<CollectionMap of {len(self.points)} segments, {self.explained:.0%} of their variance>"

    def _repr_html_(self) -> str:
        """Return an SVG without scripts for notebooks; each segment shows its content under the pointer."""
        scope = "m" + hashlib.sha256(repr([segment_id(p.hit.segment) for p in self.points]).encode()).hexdigest()[:8]
        rules = "".join(f".{scope} .d{n}:hover~.t{n}{{display:inline}}" for n in range(len(self.points)))
        dots = "".join(_dot(n, point) for n, point in enumerate(self.points))
        tips = "".join(_tip(n, point) for n, point in enumerate(self.points))
        seen = [name for name in _COLOURS if any(point.hit.segment.modality == name for point in self.points)]
        legend = "".join(_key(n, name) for n, name in enumerate(seen))
        return (
            f'<div class="{scope}"><style>{_STYLE.format(scope)}{rules}</style>'
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="12" '
            f'style="max-width:{_WIDTH}px;width:100%">{legend}{dots}{tips}</svg></div>'
        )


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A new segment compared with the old ones of its kind.

    Attributes:
        hit: the new one.
        nearest: the nearest old one.
        cosine: of the two, after subtraction of the mean of the old ones.
        percentile: share of old segments that are less similar than that to their nearest one in another file.
    """

    hit: Hit
    nearest: Hit
    cosine: float
    percentile: float


@dataclass(frozen=True, slots=True)
class Drift:
    """New segments compared with old ones, the strangest first."""

    segments: tuple[NewSegment, ...]

    @property
    def strange(self) -> float:
        """The share of new segments that are stranger than 95 % of the old ones; without drift it is 0.05."""
        return float(np.mean([segment.percentile < 0.05 for segment in self.segments])) if self.segments else 0.0

    def __repr__(self) -> str:
        return f"<Drift of {len(self.segments)} new segments, {self.strange:.0%} strange>"

    def _repr_html_(self) -> str:
        """Return a table for notebooks, with a row for each new segment."""
        rows = [(_name(s.hit), _name(s.nearest), f"{s.cosine:.2f}", f"{s.percentile:.0%}") for s in self.segments]
        names = ("new", "nearest of the old", "cosine", "old ones that are stranger")
        return table(names, rows, f"{self.strange:.0%} of {len(rows)} new segments are unlike anything before")


@dataclass(frozen=True, slots=True)
class QuestionCoverage:
    """A question and its best hit, or None if nothing was found."""

    question: str
    hit: Hit | None

    @property
    def is_covered(self) -> bool:
        """Whether its best hit is above the noise floor."""
        return self.hit is not None and self.hit.is_above_noise


@dataclass(frozen=True, slots=True)
class Coverage:
    """The best hits of questions, uncovered questions first."""

    questions: tuple[QuestionCoverage, ...]

    def __repr__(self) -> str:
        return f"<Coverage: {sum(q.is_covered for q in self.questions)} of {len(self.questions)} questions>"

    def _repr_html_(self) -> str:
        """Return a table for notebooks, with a row for each question."""
        rows = [
            (q.question, _name(q.hit) if q.hit else "", f"{q.hit.score:.3f}" if q.hit else "", _coverage_note(q))
            for q in self.questions
        ]
        return table(("question", "nearest", "score", ""), rows, repr(self)[1:-1])


def collection_map(base: KnowledgeBase, *, most: int = 300) -> CollectionMap:
    """Return the collection on a plane, along the two directions in which its vectors differ most.

    Args:
        base: the knowledge base.
        most: largest number of segments on it, chosen evenly; each takes about 4 kB.

    Raises:
        QueryError: there are fewer than three segments.
    """
    hits, vectors = _joint(base, list(base.contents.segments()))
    if len(hits) < 3:
        raise QueryError("A map needs three segments at least; ingest something first.")
    chosen = np.unique(np.linspace(0, len(hits) - 1, min(most, len(hits))).round().astype(int))
    shown = [hits[n] for n in chosen]
    centred = _centre(shown, vectors[chosen])
    left, spread, _ = np.linalg.svd(centred, full_matrices=False)
    plane = left[:, :2] * spread[:2]
    span = np.ptp(plane, axis=0)
    xy = (plane - plane.min(axis=0)) / np.where(span > 0, span, 1.0)
    points = [MapPoint(hit, float(x), float(y), _thumbnail(base, hit)) for hit, (x, y) in zip(shown, xy, strict=True)]
    explained = float((spread[:2] ** 2).sum() / max((spread**2).sum(), 1e-12))
    return CollectionMap(tuple(points), explained, base.contents.count() - len(points))


def drift(base: KnowledgeBase, new: str | Path | Sequence[str | Path]) -> Drift:
    """Compare new files with those that were there before.

    Args:
        base: the knowledge base, with both in it.
        new: the new files and folders.

    Raises:
        QueryError: the knowledge base holds no new files, or only new ones.
    """
    folders = [Path(path).resolve() for path in ([new] if isinstance(new, (str, Path)) else new)]
    hits, vectors = _joint(base, list(base.contents.segments()))
    is_new = np.array([any(Path(hit.path).resolve().is_relative_to(folder) for folder in folders) for hit in hits])
    if not is_new.any() or is_new.all():
        raise QueryError("Drift needs files that are new and files that are not; both must be in the knowledge base.")
    has_pixels = np.array([hit.segment.kind in PIXELS for hit in hits])
    found: list[NewSegment] = []
    for side in (has_pixels, ~has_pixels):
        old, fresh = np.flatnonzero(side & ~is_new), np.flatnonzero(side & is_new)
        if len(old) and len(fresh):
            found += _compare([hits[n] for n in old], vectors[old], [hits[n] for n in fresh], vectors[fresh])
    return Drift(tuple(sorted(found, key=lambda segment: segment.percentile)))


def coverage(base: KnowledgeBase, questions: Iterable[str]) -> Coverage:
    """Return which questions have a hit above the noise floor; no language model is used."""
    found = [QuestionCoverage(question, next(iter(base.search(question, top_k=1)), None)) for question in questions]
    return Coverage(tuple(sorted(found, key=lambda covered: covered.hit.score if covered.hit else 0.0)))


def _joint(base: KnowledgeBase, hits: list[Hit]) -> tuple[list[Hit], NDArray[np.float32]]:
    """Return the hits that have a vector in the joint space, and these vectors (n, dimensions)."""
    held = base.contents.vectors(hits)
    known = [hit for hit in hits if segment_id(hit.segment) in held]
    return known, np.array([held[segment_id(hit.segment)] for hit in known], np.float32)


def _centre(hits: Sequence[Hit], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors minus the mean of their group: segments with pixels, or without."""
    has_pixels = np.array([hit.segment.kind in PIXELS for hit in hits])
    centred = vectors.copy()
    for side in (has_pixels, ~has_pixels):
        if side.any():
            centred[side] -= vectors[side].mean(axis=0)
    return centred


def _compare(
    old: list[Hit], old_vectors: NDArray[np.float32], new: list[Hit], new_vectors: NDArray[np.float32]
) -> list[NewSegment]:
    """Compare new segments with old ones of the same group; `usual` is the best similarity of each old one."""
    middle = old_vectors.mean(axis=0)
    before, after = _units(old_vectors - middle), _units(new_vectors - middle)
    among = before @ before.T
    assets = np.array([hit.segment.asset_id for hit in old])
    among[assets[:, None] == assets[None, :]] = -1.0
    usual = among.max(axis=1)
    cosines = after @ before.T
    nearest = cosines.argmax(axis=1)
    return [
        NewSegment(hit, old[at], float(row[at]), float((usual < row[at]).mean()))
        for hit, row, at in zip(new, cosines, nearest, strict=True)
    ]


def _units(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.asarray(vectors / lengths, np.float32)


def _thumbnail(base: KnowledgeBase, hit: Hit) -> str:
    try:
        path = base.media.thumbnail(hit)
    except MediaError:  # the file has gone or changed; the map shows its name
        return ""
    if path is None:
        return ""
    with Image.open(path) as opened:
        small = opened.convert("RGB")
    small.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=60)
    return data_uri(buffer.getvalue())


def _at(point: MapPoint) -> tuple[float, float]:
    x = _MARGIN + point.x * (_WIDTH - 2 * _MARGIN)
    return round(x, 1), round(_MARGIN + point.y * (_HEIGHT - 2 * _MARGIN), 1)


def _dot(number: int, point: MapPoint) -> str:
    x, y = _at(point)
    colour = _COLOURS[point.hit.segment.modality]
    label = html.escape(_name(point.hit))
    return (
        f'<circle class="d{number}" cx="{x}" cy="{y}" r="{_DOT_PX}" fill="{colour}" fill-opacity="0.75" '
        f'role="img" aria-label="{label}"/>'
    )


def _tip(number: int, point: MapPoint) -> str:
    """Return the label of a segment under the pointer, kept within the picture."""
    x, y = _at(point)
    left = min(x + 12, _WIDTH - _THUMBNAIL_PX * 2.4)
    top = min(max(y - 20, 4), _HEIGHT - _THUMBNAIL_PX - 44)
    words = " ".join(point.hit.segment.searchable_text.split()) or ", ".join(point.hit.segment.tags)
    size = f'width="{_THUMBNAIL_PX}" height="{_THUMBNAIL_PX}"'
    image = f'<image href="{point.thumbnail}" x="{left + 6}" y="{top + 6}" {size}/>' if point.thumbnail else ""
    below = top + (_THUMBNAIL_PX + 20 if point.thumbnail else 18)
    width = _THUMBNAIL_PX * 2.4 - 8
    lines = [_name(point.hit), *(words[n : n + 40] for n in range(0, min(len(words), _WORDS_CHARS), 40))]
    text = "".join(
        f'<text x="{left + 6}" y="{below + 14 * n}" fill="#222">{html.escape(replace_surrogates(line))}</text>'
        for n, line in enumerate(lines)
    )
    box = f'width="{width}" height="{below - top + 14 * len(lines) - 4}" rx="4" fill="#fff" stroke="#888"'
    return f'<g class="tip t{number}"><rect x="{left}" y="{top}" {box}/>{image}{text}</g>'


def _key(number: int, name: Modality) -> str:
    x = _MARGIN + 90 * number
    dot = f'<circle cx="{x}" cy="14" r="{_DOT_PX - 1}" fill="{_COLOURS[name]}"/>'
    return f'{dot}<text x="{x + 12}" y="18" fill="currentColor">{name}</text>'


def _name(hit: Hit) -> str:
    spot = place(hit.segment)
    name = Path(hit.path).name or hit.segment.title
    return replace_surrogates(f"{name}, {spot}" if spot else name)[:60]


def _coverage_note(covered: QuestionCoverage) -> str:
    return "" if covered.is_covered else "nothing near: no better than nonsense"
