"""Small HTML tables for notebooks, escaped and limited in size."""

from __future__ import annotations

import html
from collections.abc import Sequence

from rag.text import replace_surrogates

_MOST_ROWS = 200
_MOST_CHARS = 300
_LEFT = 'style="text-align:left"'  # of every cell: Jupyter's own style aligns them to the right


def table(names: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Return a table with a caption above it; beyond 200 rows only the first, and how many more there are."""
    if not rows:
        return f"<div>{_cell(caption)}</div>"
    head = "".join(f"<th {_LEFT}>{_cell(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td {_LEFT}>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows[:_MOST_ROWS]
    )
    left = len(rows) - _MOST_ROWS
    rest = f"<p>… and {left} more</p>" if left > 0 else ""
    return (
        f"<div><table><caption {_LEFT}>{_cell(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}</div>"
    )


def _cell(text: str) -> str:
    short = text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]} …"
    return html.escape(replace_surrogates(short))
