"""Hits and answers in a notebook: pictures, marked pages, players that begin at the cited second, score plots.

HTML without scripts, so that it works wherever a notebook is shown; all that comes from files is escaped by the
template. A cell holds some hundred kilobytes of media, two megabytes at most, for a notebook is a file that people
send around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from markupsafe import Markup

from rag.presentation.explanation_svg import explanation_html
from rag.presentation.report.answer_view import answer_view
from rag.presentation.report.evidence_view import Album, Exhibit
from rag.presentation.tables import table
from rag.types import Answer, Evidence, Hit, IngestReport

if TYPE_CHECKING:
    from jinja2 import Template

MEDIA_BYTES = 1_500_000  # of sound and film in one cell; what would go over it is named instead of shown
_PICTURE_PX = 560
_CARD_PX, _CARD_CHARS, _MOST_CARDS = 160, 120, 24
_TEXT_CHARS = 2000


def hit_html(hit: Hit) -> str:
    """One hit: what it shows, and why it was found."""
    album = _album()
    shown = album.exhibit(Evidence(0, hit), "hit", " ".join(hit.why.matched), in_full=True)
    return _template("cell_hit.html").render(
        e=_bounded(shown), why=Markup(explanation_html(hit.why)), media=album.media
    )


def hits_html(hits: Sequence[Hit]) -> str:
    """A card for each of the first hits: a small picture, what and where it is, its score, how it begins."""
    album = Album(0, thumbnail_px=_CARD_PX)
    cards = [
        (
            album.exhibit(Evidence(n, hit), "hit", "", in_full=False),
            hit,
            shorten(_said(hit), _CARD_CHARS, placeholder=" …"),
        )
        for n, hit in enumerate(hits[:_MOST_CARDS], 1)
    ]
    return _template("cell_hits.html").render(cards=cards, px=_CARD_PX, more=len(hits) - len(cards))


def evidence_html(evidence: Evidence) -> str:
    """Show a piece of evidence: its number, and the hit."""
    return f"<div>Exhibit {evidence.number}</div>{hit_html(evidence.hit)}"


def ingest_html(report: IngestReport) -> str:
    """Show an ingest run: a row for each file that changed or failed, failed ones first, within a limit."""
    changed = (result for result in report if result.state != "unchanged")
    ordered = sorted(changed, key=lambda result: (result.state != "failed", result.path))
    rows = [(Path(result.path).name, result.state, result.reason or result.summary) for result in ordered]
    return table(("file", "state", ""), rows, report.summary)


def answer_html(answer: Answer) -> str:
    """An answer with the exhibits that it cites, or the nearest misses of a declined question."""
    album = _album()
    view = answer_view(answer, 1, album)
    shown = view.others if view.declined else view.cited
    why = {exhibit.number: Markup(explanation_html(exhibit.hit.why)) for exhibit in answer.evidence}
    exhibits = [_bounded(exhibit) for exhibit in shown]
    return _template("cell_answer.html").render(a=view, exhibits=exhibits, why=why, media=album.media)


def _said(hit: Hit) -> str:
    """What is told of a hit in a few words."""
    segment = hit.segment
    return shorten(segment.caption or segment.text or ", ".join(segment.tags), _CARD_CHARS, placeholder=" …")


def _album() -> Album:
    return Album(MEDIA_BYTES, picture_px=_PICTURE_PX, whole_bytes=0, is_light=True)


def _bounded(shown: Exhibit) -> Exhibit:
    """The exhibit with no more than the beginning of a long transcript, sentence or caption."""
    excerpt = shown.excerpt
    if len(excerpt) > 2 * _TEXT_CHARS:
        excerpt = Markup.escape(f"{excerpt.striptags()[:_TEXT_CHARS]} …")
    caption = shorten(shown.caption, _TEXT_CHARS, placeholder=" …")
    return replace(shown, words=shown.words[: _TEXT_CHARS // 5], excerpt=excerpt, caption=caption, alt=shown.alt[:300])


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("rag.presentation.report", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
