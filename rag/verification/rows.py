"""Cells of the wrong row: a passage of a table holds many rows, and a statement must rest on those that it names.

Rows are as ingest writes them, one a line: "bird: kestrel; weight: 200 g". The first cell in words names its row.
"""

from __future__ import annotations

import re

from rag.text import new_stems, stems
from rag.verification.evidence import read_evidence
from rag.verification.kinds import Value
from rag.verification.values import missing, values

_CELL = r"[^:;\n]{1,40}: [^;\n]+"
_ROW = re.compile(rf"^{_CELL}(?:; {_CELL})+$", re.M)
_LETTERS = re.compile(r"[^\W\d_]{2}")
_HELD = 0.8  # of the words that a statement adds, from which a row says it
_SHOWN = 80  # characters of a name in the reason


def misrowed(question: str, statement: str, passage: str) -> str:
    """Return why a statement rests on other rows than those it names, a sentence for people; "" if it may not.

    Args:
        question: in words; it may name the row or the value that is asked for.
        statement: what is checked.
        passage: the evidence, with rows of a table or without.
    """
    rows = _ROW.findall(passage)
    told = f"{question} {statement}".casefold()
    named = [row for row in rows if _is_named(_name(row), told)]
    others = [row for row in rows if row not in named]
    if not named or not others:
        return ""
    name, own = _name(named[0]), "\n".join(named)
    stray = [value for value in missing(statement, own, question) if any(_holds(row, value) for row in others)]
    stray += [
        value
        for value in values(question)
        if _is_amount(value) and not _holds(own, value) and any(_holds(row, value) for row in others)
    ]
    if stray:
        return f"{stray[0].text} stands in another row than that of {name[:_SHOWN]}."
    added = new_stems(statement, question) - stems(name)
    if _share(added, own) < _HELD and any(_share(added, row) >= _HELD for row in others):
        return f"That stands in another row than that of {name[:_SHOWN]}."
    return ""


def _name(row: str) -> str:
    """Return the first cell of a row that is in words; "" if none is."""
    cells = (part.split(": ", 1)[-1].strip() for part in row.split("; "))
    return next((cell for cell in cells if _LETTERS.search(cell)), "")


def _is_named(name: str, told: str) -> bool:
    return bool(name) and re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", told) is not None


def _is_amount(value: Value) -> bool:
    """Return whether a value of a question tells rows apart: a date, or an amount with a unit."""
    return value.kind == "date" or (value.kind == "number" and value.key[1] not in ("", "ordinal"))


def _holds(row: str, value: Value) -> bool:
    return read_evidence(row).holds(value, "")


def _share(added: set[str], row: str) -> float:
    return len(added & stems(row)) / max(len(added), 1)
