"""Sort the lines of a page into reading order: down each column, with lines that span the columns in between.

Pure functions over boxes in fractions of the page. A gutter divides a page if hardly any line crosses it and the lines
on both sides nearly fill their columns. The cells of a table do not, so tables are read row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rag.types import Box

_CROSSING = 0.3  # share of the lines that may span both columns: titles, abstracts, wide captions
_FILLED = 0.6  # share of the column's width that the median line fills in text, but not in a table
_MIN_LINES = 3  # on each side of a gutter


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Return the indices of line boxes in reading order."""
    return _order(boxes, list(range(len(boxes))))


def gutter(boxes: Sequence[Box]) -> float | None:
    """Return the position of the space between two columns of text, in fractions of the width; None for one column."""
    return _gutter([(b.x, b.x + b.w) for b in boxes])


def union(boxes: Sequence[Box]) -> Box:
    """Return the smallest rectangle around all boxes; at least one is needed."""
    left, top = min(b.x for b in boxes), min(b.y for b in boxes)
    right, bottom = max(b.x + b.w for b in boxes), max(b.y + b.h for b in boxes)
    return Box(left, top, right - left, bottom - top)


def _order(boxes: Sequence[Box], members: list[int]) -> list[int]:
    middle = _gutter([(boxes[i].x, boxes[i].x + boxes[i].w) for i in members])
    if middle is None:
        return _by_rows(boxes, members)
    order: list[int] = []
    left: list[int] = []
    right: list[int] = []
    for i in sorted(members, key=lambda i: boxes[i].y):
        if boxes[i].x + boxes[i].w <= middle:
            left.append(i)
        elif boxes[i].x >= middle:
            right.append(i)
        else:
            order += [*_order(boxes, left), *_order(boxes, right), i]
            left, right = [], []
    return order + _order(boxes, left) + _order(boxes, right)


def _gutter(spans: Sequence[tuple[float, float]]) -> float | None:
    """Return the middle of the best gutter between left and right edges of lines; None if there are no columns."""
    if len(spans) < 2 * _MIN_LINES:
        return None
    first, last = min(s[0] for s in spans), max(s[1] for s in spans)
    best, best_score = None, 0.0
    for step in range(25, 76):
        x = first + (last - first) * step / 100
        left = [s for s in spans if s[1] <= x]
        right = [s for s in spans if s[0] >= x]
        if min(len(left), len(right)) < _MIN_LINES or len(left) + len(right) < (1 - _CROSSING) * len(spans):
            continue
        margin_left, margin_right = x - max(s[1] for s in left), min(s[0] for s in right) - x
        if _fills(left) and _fills(right):
            score = len(left) + len(right) + min(margin_left, margin_right)
            if score > best_score:
                best, best_score = x, score
    return best


def _fills(column: Sequence[tuple[float, float]]) -> bool:
    width = max(s[1] for s in column) - min(s[0] for s in column)
    return median(s[1] - s[0] for s in column) >= _FILLED * width


def _by_rows(boxes: Sequence[Box], members: list[int]) -> list[int]:
    """Sort top to bottom; lines whose middles lie within half a line's height form a row, read left to right."""
    rows: list[list[int]] = []
    for i in sorted(members, key=lambda i: boxes[i].y + boxes[i].h / 2):
        middle = boxes[i].y + boxes[i].h / 2
        if rows:
            other = boxes[rows[-1][0]]
            if abs(middle - other.y - other.h / 2) < 0.5 * min(other.h, boxes[i].h):
                rows[-1].append(i)
                continue
        rows.append([i])
    return [i for row in rows for i in sorted(row, key=lambda i: boxes[i].x)]
