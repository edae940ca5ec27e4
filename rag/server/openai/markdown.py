"""An answer in the Markdown that chat assistants show. Pure functions over text.

``[E1]`` becomes ``[1]``; a definition at the end turns that into a link to the evidence. Where the statement is not
supported, a sign follows, ``[1] [?](url "Not checked: …")``. A text that was streamed has no such signs: lines at its
end say the same, ``? [1] Not checked: …``. Cited pictures follow.

The model's text is not trusted, because it may repeat instructions from a document: a picture from elsewhere, shown by
the assistant, would tell another site what was asked. So pictures, links and HTML of the model are disabled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rag.presentation.verdicts import MarkedDoubt, left_open, marked_doubts
from rag.types import Answer, Citation, Evidence, Verdict

# A marker, or another number in brackets, which must not become a link.
_NUMBER = re.compile(r"\[(?P<marker>E?)(?P<number>\d{1,3})\]")
_UNDECIDED = re.compile(r"\[E?\d{0,3}\Z")
# Markdown sees a picture, a link, a link definition or HTML between these characters; a space separates them.
_JOINT = re.compile(r"(?<=!)(?=\[)|(?<=\])(?=[(:\[])|(?<=<)(?=[A-Za-z!/?])")
_CORRECTED = "\n\nChecked against the evidence, this is corrected to:\n\n"


@dataclass
class MarkdownStream:
    """Rewrites a text that arrives in pieces. The result does not depend on where the text was cut."""

    _undecided: str = ""
    _last: str = ""

    def feed(self, piece: str) -> str:
        """Return as much of the rewritten text as is decided."""
        text = self._undecided + piece
        undecided = _UNDECIDED.search(text)
        cut = undecided.start() if undecided else len(text)
        self._undecided = text[cut:]
        return self._rewrite(text[:cut])

    def end(self) -> str:
        """Return the rest."""
        rest, self._undecided = self._undecided, ""
        return self._rewrite(rest)

    def _rewrite(self, text: str) -> str:
        numbered = _NUMBER.sub(lambda m: f"[{m['number']}]" if m["marker"] else f"({m['number']})", text)
        separated = _JOINT.sub(" ", self._last + numbered)[len(self._last) :]
        self._last = separated[-1:] or self._last
        return separated


@dataclass(frozen=True)
class EvidenceLink:
    """Links to one piece of evidence.

    Attributes:
        url: URL of the view that shows it best.
        title: the file, and the place in it.
        picture: URL of its picture; empty if there is nothing to see.
        views: all URLs, by view.
    """

    url: str
    title: str
    picture: str = ""
    views: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LinkedCitation:
    """Characters (code points) ``[start, end)`` of the Markdown, a statement, its evidence, and the verdict on it."""

    start: int
    end: int
    evidence: Evidence
    link: EvidenceLink
    verdict: Verdict


@dataclass(frozen=True)
class MarkdownAnswer:
    """An answer in Markdown.

    Attributes:
        answer: the answer it was made from.
        text: the complete Markdown.
        tail: the part of `text` after what was streamed.
        cites: its citations.
    """

    answer: Answer
    text: str
    tail: str
    cites: tuple[LinkedCitation, ...]


def sanitize(text: str) -> str:
    """Return the text with markers as numbers, and without its own pictures, links or HTML."""
    stream = MarkdownStream()
    return stream.feed(text) + stream.end()


def render_answer(answer: Answer, links: Mapping[int, EvidenceLink], streamed: str = "") -> MarkdownAnswer:
    """Return the answer in Markdown.

    Args:
        answer: the complete answer.
        links: links to the cited evidence, by number.
        streamed: the text that was sent already. If it differs from the answer, a correction follows it.
    """
    body = sanitize(answer.text).rstrip()
    is_sent = streamed.rstrip() == body
    before = "" if is_sent or not streamed.strip() else streamed + _CORRECTED
    doubts = tuple(marked_doubts(answer))
    linked = [] if is_sent else [each for each in doubts if links[each.number].url]
    signs = {len(sanitize(answer.text[: each.end])): _format_sign(each, links[each.number]) for each in linked}
    text = streamed if is_sent else before + _insert(body, signs)
    text += _format_remarks(answer, [each for each in doubts if each not in linked])
    text += _format_appendix(answer.cited, links)
    evidence = {one.number: one for one in answer.cited}
    cites = tuple(
        LinkedCitation(
            *_find_span(answer.text, cited, len(before), signs),
            evidence[cited.number],
            links[cited.number],
            cited.verdict,
        )
        for cited in answer.citations
    )
    return MarkdownAnswer(answer, text, text[len(streamed) :], cites)


def _format_sign(marked: MarkedDoubt, link: EvidenceLink) -> str:
    return f' [{marked.doubt.sign}]({link.url} "{_plain_title(marked.doubt.words)}")'


def _insert(body: str, signs: Mapping[int, str]) -> str:
    cuts = [0, *signs, len(body)]
    return "".join(signs.get(start, "") + body[start:end] for start, end in pairwise(cuts))


def _find_span(text: str, citation: Citation, offset: int, signs: Mapping[int, str]) -> tuple[int, int]:
    """Return the position of a statement in the sanitized text with its signs."""
    stream = MarkdownStream()
    start = len(stream.feed(text[: citation.start]))
    statement = stream.feed(text[citation.start : citation.end]) + stream.end()
    end = start + len(statement)
    # The space between it and the marker before it is not part of it.
    start = end - len(statement.lstrip())
    before = sum(len(sign) for at, sign in signs.items() if at <= start)
    within = sum(len(sign) for at, sign in signs.items() if start < at < end)
    return offset + start + before, offset + end + before + within


def _format_remarks(answer: Answer, doubts: Sequence[MarkedDoubt]) -> str:
    """Return what the answer leaves open, and the doubts that no sign in the text shows."""
    lines = dict.fromkeys(f"{each.doubt.sign} [{each.number}] {_plain_title(each.doubt.words)}" for each in doubts)
    remarks = _plain_title(left_open(answer)), "  \n".join(lines)
    return "".join(f"\n\n{remark}" for remark in remarks if remark)


def _format_appendix(cited: Sequence[Evidence], links: Mapping[int, EvidenceLink]) -> str:
    """Return each cited picture once, and the definitions that turn the numbers into links."""
    linked = [(evidence.number, links[evidence.number]) for evidence in cited]
    pictures = dict.fromkeys(f"![{_plain_title(link.title)}]({link.picture})" for _, link in linked if link.picture)
    definitions = [f'[{number}]: {link.url} "{_plain_title(link.title)}"' for number, link in linked if link.url]
    return "".join(f"\n\n{part}" for part in (*pictures, "\n".join(definitions)) if part)


def _plain_title(title: str) -> str:
    """Return a title that can stand in brackets and quotes; names and quotes of files may contain anything."""
    return re.sub(r"[\[\]()<>\"\\`\s]+", " ", title).strip()
