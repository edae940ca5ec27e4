"""A catalogue: a CSV with a row for each picture, whose other columns are said of it, as words and as metadata."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from ingest.plain import delimiter_of
from rag.segments import RESERVED
from rag.types import Scalar

MOST_ROWS = 100_000
_MOST_COLUMNS = 100
_MOST_VALUE_CHARS = 200  # of a field to filter on; longer texts are words alone
_PICTURE = re.compile(r".+\.(?:png|jpe?g|gif|webp|tiff?|bmp|avif)", re.I)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,2})?")
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}

Row = tuple[str, str, Mapping[str, Scalar]]


def rows(text: str) -> Iterator[Row]:
    """Of each row that names a picture: where that is, the row as a caption, and its fields.

    Numbers are fields of their column's name, as are truth values (true, yes, false, no) and short texts; a column that
    is named like a field of Exhibit's own (`title`, `text`…) is words alone.
    """
    try:
        table = list(csv.reader(io.StringIO(text), delimiter=delimiter_of(text) or ","))[: MOST_ROWS + 1]
    except csv.Error:  # told when the file is read itself
        return
    names = [_name(cell) for cell in table[0][:_MOST_COLUMNS]] if table else []
    column = _picture_column(table[1:], len(names))
    if column is None:
        return
    for row in table[1:]:
        if len(row) > column and _PICTURE.fullmatch(row[column].strip()):
            cells = [
                (name, cell.strip()) for n, (name, cell) in enumerate(zip(names, row, strict=False)) if n != column
            ]
            yield row[column].strip(), _caption(cells), _fields(cells)


def _picture_column(table: Sequence[Sequence[str]], columns: int) -> int | None:
    """The column in which most rows name a picture."""
    counts = [sum(len(row) > n and bool(_PICTURE.fullmatch(row[n].strip())) for row in table) for n in range(columns)]
    best = max(range(columns), key=counts.__getitem__, default=0)
    return best if counts and counts[best] > len(table) / 2 else None


def _name(cell: str) -> str:
    """A column's name as the name of a field: ``Price (EUR)`` as ``price_eur``."""
    name = re.sub(r"\W+", "_", cell.strip().lower(), flags=re.ASCII).strip("_")
    return f"_{name}" if name[:1].isdigit() else name


def _caption(cells: Sequence[tuple[str, str]]) -> str:
    """A row in words, so that questions are answered from it; names and descriptions speak for themselves."""
    told = [(name, cell) for name, cell in cells if cell]
    return ". ".join(cell if name in RESERVED or " " in cell else f"{name}: {cell}" for name, cell in told)


def _fields(cells: Sequence[tuple[str, str]]) -> dict[str, Scalar]:
    found = {name: _value(cell) for name, cell in cells if name and name not in RESERVED and cell}
    return {
        name: value for name, value in found.items() if not isinstance(value, str) or len(value) <= _MOST_VALUE_CHARS
    }


def _value(cell: str) -> Scalar:
    if cell.lower() in _TRUTH:
        return _TRUTH[cell.lower()]
    if _NUMBER.fullmatch(cell) and math.isfinite(number := float(cell)):
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return cell
