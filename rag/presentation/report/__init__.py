"""One self-contained HTML page with answers and their evidence: pictures, pages, players.

`page` turns each answer into views (`answer_view`, `album`) and fills the template with them. Pictures, sound
and video are in the page itself, within a budget of bytes; nothing is fetched. Text of documents is untrusted: the
template escapes all of it, and the page's security policy runs only the page's own script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from rag.presentation.report.album import Album
from rag.presentation.report.answer_view import AnswerView, answer_view
from rag.presentation.templates import load_template
from rag.types import Answer

_HERE = Path(__file__).parent
MEDIA_BYTES = 24_000_000  # of sound and video in one page; media beyond that are named, not shown


def page(answers: Sequence[Answer], *, title: str, media_bytes: int = MEDIA_BYTES) -> str:
    """Return one page of HTML that shows answers with their evidence, and fetches nothing.

    A file that has gone or has changed since it was indexed is shown by its words alone, with a note.

    Args:
        answers: in their order on the page.
        title: of the page.
        media_bytes: budget of sound and video.
    """
    album = Album(media_bytes)
    views = [answer_view(answer, number, album) for number, answer in enumerate(answers, 1)]
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    return load_template(_HERE / "page.html").render(
        title=title,
        summary=_summary(views),
        answers=views,
        media=album.media,
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _summary(views: Sequence[AnswerView]) -> str:
    declined = sum(view.declined for view in views)
    exhibits = sum(len(view.cited) for view in views)
    parts = [_count(len(views), "question"), _count(exhibits, "cited exhibit")]
    if declined:
        parts.append(f"{declined} declined")
    return " · ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
