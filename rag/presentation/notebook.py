"""Hits and answers in a notebook: pictures, marked pages, players that begin at the cited second, score plots.

HTML without scripts works wherever a notebook is shown. The templates escape all text of files. A cell holds a few
hundred kilobytes of media, two megabytes at most, because people send notebooks around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import shorten

from markupsafe import Markup

from rag.presentation.explanation_svg import explanation_html
from rag.presentation.html_table import table
from rag.presentation.report.album import Album, EvidenceView
from rag.presentation.report.answer_view import answer_view
from rag.presentation.templates import load_template
from rag.types import Answer, Evidence, Hit, IngestReport

MEDIA_BYTES = 1_500_000  # of sound and video in one cell; media beyond that are named, not shown
_PICTURE_PX = 560
_CARD_PX, _CARD_CHARS, _MOST_CARDS = 160, 120, 24
_TEXT_CHARS = 2000
_REPORT = Path(__file__).parent / "report"


def hit_html(hit: Hit) -> str:
    """Show one hit: its media and words, and why it was found."""
    album = _album()
    view = album.view(Evidence(0, hit), "hit", " ".join(hit.why.matched), in_full=True)
    return load_template(_REPORT / "cell_hit.html").render(
        e=_bounded(view), why=Markup(explanation_html(hit.why)), media=album.media
    )


def hits_html(hits: Sequence[Hit]) -> str:
    """Show a card for each of the first hits: a small picture, kind and place, score, first words."""
    album = Album(0, thumbnail_px=_CARD_PX)
    cards = [
        (album.view(Evidence(n, hit), "hit", "", in_full=False), hit, _first_words(hit))
        for n, hit in enumerate(hits[:_MOST_CARDS], 1)
    ]
    return load_template(_REPORT / "cell_hits.html").render(cards=cards, px=_CARD_PX, more=len(hits) - len(cards))


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
    """Show an answer with the evidence that it cites, or the nearest misses of a declined question."""
    album = _album()
    view = answer_view(answer, 1, album)
    shown = view.others if view.declined else view.cited
    why = {each.number: Markup(explanation_html(each.hit.why)) for each in answer.evidence}
    exhibits = [_bounded(each) for each in shown]
    return load_template(_REPORT / "cell_answer.html").render(a=view, exhibits=exhibits, why=why, media=album.media)


def _first_words(hit: Hit) -> str:
    """Return the first words of a hit, or its tags."""
    segment = hit.segment
    return shorten(segment.caption or segment.text or ", ".join(segment.tags), _CARD_CHARS, placeholder=" …")


def _album() -> Album:
    return Album(MEDIA_BYTES, picture_px=_PICTURE_PX, whole_bytes=0, is_light=True)


def _bounded(view: EvidenceView) -> EvidenceView:
    """Return the view with only the beginning of a long transcript, sentence or caption."""
    excerpt = view.excerpt
    if len(excerpt) > 2 * _TEXT_CHARS:
        excerpt = Markup.escape(f"{excerpt.striptags()[:_TEXT_CHARS]} …")
    caption = shorten(view.caption, _TEXT_CHARS, placeholder=" …")
    return replace(view, words=view.words[: _TEXT_CHARS // 5], excerpt=excerpt, caption=caption, alt=view.alt[:300])
