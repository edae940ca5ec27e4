"""Turn tables and data files into blocks: CSV, JSON, JSON lines, notebooks, subtitles."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ingest.document.chunking import DocumentText, TextBlock, join_blocks
from ingest.document.markup import markdown_blocks, table_rows
from ingest.formats.plain import delimiter_of
from rag.errors import DamagedMedia

_CELL_CHARS = 1_000_000
_DATA_CHARS = 1000  # a string this long without a space is encoded data, not words
_CUE_TIMES = re.compile(r"^(?:\d+:)?\d\d:\d\d[.,]\d{3}\s+-->.*$")
_CUE_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")


def read_csv(text: str) -> DocumentText:
    """Read the rows of a table with named columns; the first rows decide the character between columns.

    Raises:
        DamagedMedia: a cell has no end.
    """
    csv.field_size_limit(_CELL_CHARS)
    delimiter = delimiter_of(text) or ("\t" if "\t" in text.partition("\n")[0] else ",")
    try:
        table = [[" ".join(cell.split()) for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    except csv.Error as error:
        raise DamagedMedia(f"The table cannot be parsed ({error}); check its quotation marks.") from error
    return join_blocks(TextBlock(row, "row") for row in table_rows([row for row in table if any(row)]))


def read_json(text: str) -> DocumentText:
    """Read the records of a JSON file or of JSON lines, or the cells of a notebook.

    Raises:
        DamagedMedia: it is not JSON, or is nested too deeply.
    """
    try:
        values = _json_values(text)
        if len(values) == 1 and isinstance(values[0], dict) and {"cells", "nbformat"} <= set(values[0]):
            return join_blocks(_notebook_blocks(values[0]["cells"]))
        return join_blocks(block for value in values for block in _json_blocks(value))
    except json.JSONDecodeError as error:
        raise DamagedMedia(f"It is not readable JSON ({error}); it is truncated or malformed.") from error
    except RecursionError as error:
        raise DamagedMedia("Its JSON is nested too deeply; flatten it.") from error


def read_subtitles(text: str) -> DocumentText:
    """Read the words of WebVTT or SubRip subtitles, without times and styles."""
    lines = []
    for cue in re.split(r"\n\s*\n", text):
        rows = cue.strip().split("\n")
        times = next((n for n, row in enumerate(rows) if _CUE_TIMES.match(row.strip())), None)
        if times is not None:
            lines.append(" ".join(_CUE_TAG.sub("", " ".join(rows[times + 1 :])).split()))
    return join_blocks(TextBlock(line, "row") for line in lines)


def _json_values(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except json.JSONDecodeError as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if error.msg != "Extra data" or not len(lines) > 1:
            raise
        return [json.loads(line) for line in lines]


def _json_blocks(value: Any) -> Iterator[TextBlock]:
    if isinstance(value, list):
        for item in value:
            yield from _json_blocks(item) if isinstance(item, list) else (TextBlock(_record(item), "row"),)
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, list) and any(isinstance(entry, dict) for entry in item):
                yield TextBlock(str(key), "heading", 1)
                yield from _json_blocks(item)
            else:
                yield TextBlock("; ".join(_leaves(item, str(key))), "row")
    else:
        yield TextBlock(_record(value))


def _record(value: Any) -> str:
    return "; ".join(_leaves(value, ""))


def _leaves(value: Any, path: str) -> Iterator[str]:
    """Yield the values below a JSON value as ``path: value``."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for item in value:
            yield from _leaves(item, path)
    else:
        words = ", ".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)
        if words.strip() and not (len(words) > _DATA_CHARS and " " not in words):
            yield f"{path}: {words}" if path else words


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _notebook_blocks(cells: Iterable[Any]) -> Iterator[TextBlock]:
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        source = cell.get("source", "")
        words = "".join(map(str, source)) if isinstance(source, list) else str(source)
        if cell.get("cell_type") == "markdown":
            yield from markdown_blocks(words)
        else:
            yield TextBlock(words.strip())
