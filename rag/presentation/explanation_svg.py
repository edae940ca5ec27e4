"""Draw why a hit was found: a bar for each channel, for the negatives and for the verdict, as SVG without scripts."""

from __future__ import annotations

import html

from rag.explanation import Explanation

_BAR_PX, _ROW_PX, _NAME_PX, _NOTE_PX = 160, 18, 110, 150
_BAR, _VERDICT, _AGAINST = "#3b7ea1", "#4c9a52", "#b5483c"


def explanation_html(explanation: Explanation) -> str:
    """Return the bars as one SVG picture, and the matched words and rules below it."""
    rows = [
        (channel.name, channel.confidence, f"place {channel.rank}, {channel.score:.3f}", _BAR)
        for channel in explanation.channels
    ]
    if explanation.against:
        rows.append(("not wanted", explanation.against, f"{explanation.against:.2f}", _AGAINST))
    if explanation.probability is not None:
        rows.append(("verdict", explanation.probability, f"{explanation.relevance:+.1f} log-odds", _VERDICT))
    rows.append(("score", explanation.score, f"{explanation.score:.3f}", "#555"))
    size = f'width="{_NAME_PX + _BAR_PX + _NOTE_PX}" height="{_ROW_PX * len(rows) + 4}"'
    bars = "".join(_row(number, *row) for number, row in enumerate(rows))
    words = f"<div>words: {html.escape(', '.join(explanation.matched))}</div>" if explanation.matched else ""
    words += "".join(f"<div>rule: {html.escape(rule)}</div>" for rule in explanation.rules)
    return f'<div><svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12">{bars}</svg>{words}</div>'


def _row(number: int, name: str, share: float, note: str, colour: str) -> str:
    top = number * _ROW_PX
    width = round(_BAR_PX * min(max(share, 0.0), 1.0), 1)
    return (
        f'<text x="0" y="{top + 13}" fill="currentColor">{html.escape(name)}</text>'
        f'<rect x="{_NAME_PX}" y="{top + 3}" width="{width}" height="{_ROW_PX - 6}" fill="{colour}"/>'
        f'<text x="{_NAME_PX + _BAR_PX + 6}" y="{top + 13}" fill="currentColor">{html.escape(note)}</text>'
    )
