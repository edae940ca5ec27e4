"""Read product tables: each row names a picture, and its other columns describe it, as words and as metadata.

Numbers are read as people write them: ``1.299,00 €``, ``$3``, ``1,299.50``. All cells of a column decide together what
its commas and points mean.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ingest.formats.plain import delimiter_of
from ingest.formats.sniff import PICTURE_SUFFIX
from rag.segments import RESERVED
from rag.types import Scalar

MAX_ROWS = 100_000
_MAX_COLUMNS = 100
_MAX_VALUE_CHARS = 200  # of a field to filter on; longer texts are only words
_PICTURE = re.compile(f".+{PICTURE_SUFFIX.pattern}", re.I)
_CURRENCY = (
    r"(?:[$€£¥₹₩₽₺₪]|EUR|USD|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|HUF|CAD|AUD|NZD|BRL|MXN|ZAR|TRY|kr\.?|zł|Kč|Fr\.)"
)
_MONEY = re.compile(rf"([-+]?)\s*(?:{_CURRENCY}\s*([\d.,'\s]+)|([\d.,'\s]+?)\s*{_CURRENCY})")
_POINT = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,2})?")
_COMMA = re.compile(r"[-+]?(?:\d{1,3}(?:[.'\u00a0\u202f]\d{3})+|\d+)(?:,\d+)?")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+")  # of money: nobody counts tenths of a cent
_PADDED = re.compile(r"0\d+")  # an article number: 00123 is not 123
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


class ProductRow(NamedTuple):
    """A row of a product table for one picture: its path as written, the row as a caption, and its fields."""

    picture: str
    caption: str
    fields: Mapping[str, Scalar]


class _Cell(NamedTuple):
    column: str
    text: str
    value: Scalar


def read_rows(text: str) -> Iterator[ProductRow]:
    """Yield the rows that name a picture, once for each of their pictures.

    Numbers, amounts of money, booleans (true, yes, false, no) and short texts become fields under the name of their
    column. A column with the name of a built-in field (`title`, `text`…) only adds words. A cell may name several
    pictures, separated by a comma, a semicolon or a bar.
    """
    try:
        table = list(csv.reader(io.StringIO(text), delimiter=_delimiter(text)))[: MAX_ROWS + 1]
    except csv.Error:  # reported when the file itself is read
        return
    names = [_name(cell) for cell in table[0][:_MAX_COLUMNS]] if table else []
    column = _picture_column(table[1:], len(names))
    if column is None:
        return
    readers = [_reader([row[n].strip() for row in table[1:] if len(row) > n]) for n in range(len(names))]
    for row in table[1:]:
        cells = [
            _Cell(name, cell.strip(), readers[n](cell.strip()))
            for n, (name, cell) in enumerate(zip(names, row, strict=False))
            if n != column
        ]
        for picture in _pictures(row[column]) if len(row) > column else ():
            yield ProductRow(picture, _caption(cells), _fields(cells))


def _delimiter(text: str) -> str:
    """Return the character between columns; if rows differ in length, the one between the names of the columns."""
    names = text.partition("\n")[0]
    return delimiter_of(text) or max(",;\t|", key=names.count)


def _picture_column(table: Sequence[Sequence[str]], columns: int) -> int | None:
    """Return the column in which most filled cells name pictures; None if there is none."""
    filled = [[row[n] for row in table if len(row) > n and row[n].strip()] for n in range(columns)]
    counts = [sum(bool(_pictures(cell)) for cell in cells) for cells in filled]
    best = max(range(columns), key=counts.__getitem__, default=0)
    return best if counts and counts[best] > len(filled[best]) / 2 else None


def _pictures(cell: str) -> list[str]:
    """Return the pictures that a cell names; backslashes become slashes."""
    parts = [part.strip() for part in re.split(r"[,;|]", cell)]
    named = parts if all(map(_PICTURE.fullmatch, parts)) else [cell.strip()]
    return [one.replace("\\", "/") for one in named if _PICTURE.fullmatch(one)]


def _name(cell: str) -> str:
    """Return the field name for a column's name: ``price_eur`` for ``Price (EUR)``, ``grosse`` for ``Größe``."""
    plain = unicodedata.normalize("NFKD", cell.strip().casefold())
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    name = re.sub(r"\W+", "_", letters, flags=re.ASCII).strip("_")
    return f"_{name}" if name[:1].isdigit() else name


def _caption(cells: Sequence[_Cell]) -> str:
    """Return a row in words, to answer questions from; names and descriptions go without their column's name."""
    filled = [(name, cell, isinstance(value, str)) for name, cell, value in cells if cell]
    return ". ".join(
        cell if name in RESERVED or (" " in cell and is_text) else f"{name}: {cell}" for name, cell, is_text in filled
    )


def _fields(cells: Sequence[_Cell]) -> dict[str, Scalar]:
    fields = {name: value for name, cell, value in cells if name and name not in RESERVED and cell}
    return {
        name: value for name, value in fields.items() if not isinstance(value, str) or len(value) <= _MAX_VALUE_CHARS
    }


def _reader(column: Sequence[str]) -> Callable[[str], Scalar]:
    """Return a function that reads the cells of a column: as text, or as numbers with a decimal point or comma."""
    if any(map(_PADDED.fullmatch, column)):
        return lambda cell: cell
    has_commas = any(map(_needs_comma, column))
    return lambda cell: _value(cell, has_commas=has_commas)


def _needs_comma(cell: str) -> bool:
    number, is_money = _amount(cell)
    if is_money and _THOUSANDS.fullmatch(number):
        return True
    return bool(_COMMA.fullmatch(number)) and not _POINT.fullmatch(number)


def _amount(cell: str) -> tuple[str, bool]:
    """Return a number as it is written, without its currency, and whether it had one."""
    money = _MONEY.fullmatch(cell)
    if money is None:
        return cell, False
    return money[1] + re.sub(r"\s", "", money[2] or money[3]), True


def _value(cell: str, *, has_commas: bool) -> Scalar:
    if cell.lower() in _BOOLEANS:
        return _BOOLEANS[cell.lower()]
    written, _ = _amount(cell)
    if has_commas and _COMMA.fullmatch(written):
        written = re.sub(r"[.'\s]", "", written).replace(",", ".")
    elif _POINT.fullmatch(written):
        written = written.replace(",", "")
    else:
        return cell
    number = float(written)
    if not math.isfinite(number):
        return cell
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
