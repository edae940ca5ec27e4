"""Select the frames of a video to keep: the first good one of each shot, and one at a steady rate.

Pure functions over small pictures. Two pictures are compared on a grid of 64 x 36 cells: `changed_share` is the share
of cells whose colour differs by more than a tenth; `difference` also counts how far the colours as a whole moved. A
shot begins with a large difference to the frame before, or with a change that stands out from the motion of the last
seconds. The latter finds a slide that gains a line (0.3 % of the cells), and still ignores hand-held video. Of the
frames after the beginning the sharpest is kept, to avoid dissolves and blurred pans.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ingest.reading.heartbeat import beat

GRID = (36, 64)
_BLOCK = 4
SAMPLES_PER_S = 8
SAMPLE_PX = (GRID[1] * _BLOCK, GRID[0] * _BLOCK)

T = TypeVar("T")

# Measured on feature films, animation, a talking head and slides: cuts exceed 0.31, fast motion is mostly below 0.3.
_CUT = 0.3
# Share of the cells: one changed word on a slide is 0.3 %, noise of the codec 0.
_MIN_CHANGE = 0.003
_STANDS_OUT = 4.0
_MIN_MOTION_SAMPLES, _MOTION_SAMPLES = 4, 16
# At this difference from the last candidate, a new shot has begun without a cut. As long as frames still differ by the
# second number, the dissolve or pan is not over.
_DRIFT, _MOVES_ON = 0.45, 0.1
# Share of the cells that a talking person changes within seconds.
_SIMILAR = 0.05
_REMEMBERED_S = 120.0
_SETTLE_S, _LONGEST_SETTLE_S = 0.4, 2.0
# Standard deviation of the brightness, of 1; a word on an empty slide is 0.03, a black frame 0.01.
_BLANK = 0.015
# After every so many frames, the interval of the steady rate and the least gap between frames double.
_FRAMES = 500
_MIN_GAP_S = 1.0


@dataclass(frozen=True, slots=True)
class FrameSample(Generic[T]):
    """The features of a frame that the selection uses.

    Attributes:
        at_s: its time.
        cells: shape (36, 64, 3), uint8.
        sharpness: variance of the Laplacian of its brightness.
        contrast: standard deviation of its brightness, of 1.
        frame: the frame itself.
    """

    at_s: float
    cells: NDArray[np.uint8]
    sharpness: float
    contrast: float
    frame: T

    @property
    def is_blank(self) -> bool:
        """Whether the frame shows nothing."""
        return self.contrast < _BLANK


@dataclass(frozen=True, slots=True)
class Shot(Generic[T]):
    """A kept frame and the stretch ``[start_s, end_s)`` that it represents."""

    sample: FrameSample[T]
    start_s: float
    end_s: float


def sample_frame(at_s: float, rgb: NDArray[np.uint8], frame: T) -> FrameSample[T]:
    """Compute the features of a frame that was scaled to `SAMPLE_PX`: shape (144, 256, 3), uint8."""
    rows, columns = GRID
    # In two steps and as a product, which is four times as fast as means over axes.
    bands = rgb.reshape(rows, _BLOCK, -1).sum(axis=1, dtype=np.uint16)
    cells = (bands.reshape(rows, columns, _BLOCK, 3).sum(axis=2) // _BLOCK**2).astype(np.uint8)
    grey = rgb @ np.full(3, 1 / 765, np.float32)
    edges = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return FrameSample(at_s, cells, float(edges.var()), float(grey.std()), frame)


def changed_share(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the share of the cells whose colour differs by more than a tenth, in [0, 1]."""
    apart = np.abs(a.astype(np.int16) - b).mean(axis=2)
    return float((apart > 25.5).mean())


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the mean difference of the cells plus half the distance of their colour histograms, in [0, 1.5]."""
    apart = float(np.abs(a.astype(np.int16) - b).mean()) / 255
    return apart + float(np.abs(_histogram(a) - _histogram(b)).sum()) / 4


def select_shots(samples: Iterable[FrameSample[T]], every_s: float) -> Iterator[Shot[T]]:
    """Yield the frames to keep, each as soon as the end of its stretch is known; at least one if there is any.

    Args:
        samples: in the order of time, about `SAMPLES_PER_S`.
        every_s: the interval of the steady rate.
    """
    selection = _Selection[T](every_s)
    for sample in samples:
        beat()
        yield from selection.add(sample)
    yield from selection.finish()


@dataclass
class _Candidate(Generic[T]):
    """The start of a shot, or a frame that is due, until the picture has settled.

    Attributes:
        first_s: when the picture began to change.
        start_s: when it last changed.
        best: the sharpest sample since then.
        is_shot: False for a frame of the steady rate.
        is_gradual: True if it began with a dissolve or a pan, which goes on.
    """

    first_s: float
    start_s: float
    best: FrameSample[T]
    is_shot: bool
    is_gradual: bool = False

    def add(self, sample: FrameSample[T]) -> None:
        """Take a sample into account."""
        if self.is_gradual and difference(self.best.cells, sample.cells) >= _MOVES_ON:
            self.restart(sample)
        elif sample.sharpness > self.best.sharpness:
            self.best = sample

    def restart(self, sample: FrameSample[T]) -> None:
        """Start again from this sample, because the picture changed."""
        self.start_s, self.best, self.is_shot = sample.at_s, sample, True

    def is_settled(self, at_s: float) -> bool:
        """Return whether the picture has not changed for long enough, or the candidate has waited too long."""
        return at_s - self.start_s >= _SETTLE_S or at_s - self.first_s >= _LONGEST_SETTLE_S


class _Selection(Generic[T]):
    """The state of the selection between samples."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._count = 0
        self._due_s = 0.0
        self._gap_until_s = 0.0
        self._motion: deque[float] = deque(maxlen=_MOTION_SAMPLES)
        self._kept: deque[tuple[float, NDArray[np.uint8]]] = deque()
        self._previous: FrameSample[T] | None = None
        self._anchor: NDArray[np.uint8] | None = None
        self._candidate: _Candidate[T] | None = None
        self._open: Shot[T] | None = None
        self._spare: FrameSample[T] | None = None

    def add(self, sample: FrameSample[T]) -> Iterator[Shot[T]]:
        """Take the next sample, and yield the shot that it completes, if any."""
        candidate = self._candidate
        if candidate and candidate.is_settled(sample.at_s) and sample.at_s >= self._gap_until_s:
            yield from self._decide(candidate)
        jumped = self._has_jumped(sample)
        if self._candidate is None:
            drifted = self._anchor is not None and difference(self._anchor, sample.cells) >= _DRIFT
            if jumped or drifted or sample.at_s >= self._due_s:
                self._candidate = _Candidate(
                    sample.at_s, sample.at_s, sample, jumped or drifted, drifted and not jumped
                )
        elif jumped:
            self._candidate.restart(sample)
        else:
            self._candidate.add(sample)
        self._previous = sample

    def finish(self) -> Iterator[Shot[T]]:
        """Yield the last shots."""
        if self._candidate:
            yield from self._decide(self._candidate)
        end_s = self._previous.at_s + 1 / SAMPLES_PER_S if self._previous else 0.0
        if self._open:
            yield replace(self._open, end_s=min(self._open.end_s, end_s))
        elif self._spare and not self._count:
            yield Shot(self._spare, self._spare.at_s, end_s)

    def _has_jumped(self, sample: FrameSample[T]) -> bool:
        if self._previous is None:
            return True
        if difference(self._previous.cells, sample.cells) >= _CUT:
            self._motion.clear()
            return True
        share = changed_share(self._previous.cells, sample.cells)
        usual = median(self._motion) if len(self._motion) >= _MIN_MOTION_SAMPLES else 1.0
        self._motion.append(share)
        return share >= max(_MIN_CHANGE, _STANDS_OUT * usual)

    def _decide(self, candidate: _Candidate[T]) -> Iterator[Shot[T]]:
        best, self._candidate = candidate.best, None
        self._anchor = best.cells
        self._spare = self._spare or best
        widening = 2 ** (self._count // _FRAMES)
        self._due_s = candidate.start_s + self._every_s * widening
        twin_s = self._twin(candidate)
        if self._open and twin_s == self._open.sample.at_s:
            return
        if self._open and candidate.is_shot:
            self._open = replace(self._open, end_s=min(self._open.end_s, candidate.first_s))
        if best.is_blank or twin_s is not None:
            return
        if self._open:
            yield replace(self._open, end_s=min(self._open.end_s, candidate.start_s))
        self._open = Shot(best, candidate.start_s, math.inf)
        self._kept.append((best.at_s, best.cells))
        self._count += 1
        self._gap_until_s = best.at_s + _MIN_GAP_S * widening

    def _twin(self, candidate: _Candidate[T]) -> float | None:
        """Return the time of a kept frame that looks like this one; None if there is none in the last 120 s."""
        best = candidate.best
        while self._kept and best.at_s - self._kept[0][0] > _REMEMBERED_S:
            self._kept.popleft()
        tolerance = _MIN_CHANGE if candidate.is_shot else _SIMILAR
        alike = (at_s for at_s, cells in reversed(self._kept) if changed_share(cells, best.cells) < tolerance)
        return next(alike, None)


def _histogram(cells: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share of the cells in each of 64 colours."""
    colours = cells >> 6
    index = colours[..., 0] * 16 + colours[..., 1] * 4 + colours[..., 2]
    shares: NDArray[np.float64] = np.bincount(index.ravel(), minlength=64) / index.size
    return shares
