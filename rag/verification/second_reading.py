"""Confirms a supported statement in the medium itself: speech is heard again, and text in pictures is read again.

What was indexed may be misheard or misread, and a place may be wrong; the second reading is independent of the first
(`rag.verification.rereading`). It also narrows the cited place to the seconds or lines that carry the statement.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rag.errors import ExhibitError
from rag.segments import describe_place, place
from rag.types import PIXELS, Box, FrameRegion, Hit, ImageRegion, Locator, PageBox, TimeSpan, Verdict, Word
from rag.verification.narrowing import narrow, narrow_box
from rag.verification.rereading import LONGEST_S, Rereader
from rag.verification.values import missing

# The least share of a statement that must be heard again. Of 300 places that were off by 10 to 30 s, none has it.
_LEAST_HEARD = 0.5


def confirm(question: str, statement: str, hit: Hit, verdict: Verdict, rereader: Rereader) -> Verdict:
    """Return the verdict of a supported statement after a second reading of what it cites, if that was heard or seen.

    A doubt that the second reading raises makes it ``unchecked``, with the reason; a place that does not carry the
    statement at all makes it ``unsupported``.
    """
    try:
        if hit.segment.words:
            return _hear(statement, hit, verdict, rereader)
        if hit.segment.kind in PIXELS and hit.segment.text.strip():
            return _read(question, statement, hit, verdict, rereader)
    except ExhibitError as error:  # the file has gone or changed, or its reader failed: nothing is confirmed
        return replace(verdict, name="unchecked", reason=f"It could not be read again. {error}")
    return verdict


def _hear(statement: str, hit: Hit, verdict: Verdict, rereader: Rereader) -> Verdict:
    words = hit.segment.words
    span = narrow(statement, words) or TimeSpan(words[0].start_s, words[-1].end_s)
    span = TimeSpan(span.start_s, min(span.end_s, span.start_s + LONGEST_S))
    found = rereader.confirm(statement, Path(hit.path), hit.segment, span)
    verdict = replace(verdict, locator=span, quote=_join(words, span) or verdict.quote)
    if found.heard_share < _LEAST_HEARD:
        seconds = place(replace(hit.segment, locator=span))
        return replace(verdict, name="unsupported", reason=f"Heard again, {seconds} of {hit.path} does not say this.")
    if found.misheard:
        doubtful = ", ".join(dict.fromkeys(word.text.strip(" .,;:!?") for word in found.misheard))
        return replace(verdict, name="unchecked", reason=f"Heard again, this sounds otherwise: {doubtful}.")
    return verdict


def _read(question: str, statement: str, hit: Hit, verdict: Verdict, rereader: Rereader) -> Verdict:
    read, lacking = "", missing(statement, hit.segment.caption, question)
    for lines in rereader.readings(Path(hit.path), hit.segment.asset_id, hit.segment.locator):
        if not lacking:
            break
        read += "\n" + "\n".join(line.text for line in lines)
        lacking = missing(statement, f"{hit.segment.caption}\n{hit.segment.title}\n{read}", question)
        if not lacking and (box := narrow_box(statement, lines)):
            verdict = replace(verdict, locator=_boxed(hit.segment.locator, box))
    if lacking:
        values = ", ".join(dict.fromkeys(value.text for value in lacking))
        reason = f"Read again, {describe_place(hit)} does not show {values}."
        return replace(verdict, name="unchecked", reason=reason)
    return verdict


def _boxed(locator: Locator, box: Box) -> Locator:
    match locator:
        case PageBox(page):
            return PageBox(page, box)
        case FrameRegion(at_s):
            return FrameRegion(at_s, box)
        case _:
            return ImageRegion(box)


def _join(words: tuple[Word, ...], span: TimeSpan) -> str:
    return " ".join(word.text.strip() for word in words if word.end_s > span.start_s and word.start_s < span.end_s)
