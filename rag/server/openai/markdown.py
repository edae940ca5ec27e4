"""An answer as the Markdown that chat assistants show; pure functions over text.

``[E1]`` becomes ``[1]``, which a definition at the end makes a link to the exhibit; cited pictures stand below the
text. What a model writes is not trusted: it may repeat what a document told it to, and a picture from elsewhere, shown
by the assistant, would tell that place what was asked. So of its own Markdown no picture, link or HTML is left alive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rag.types import Answer, Citation, Evidence

# A marker, or a number in brackets that is none and must not become a link.
_NUMBER = re.compile(r"\[(?P<marker>E?)(?P<number>\d{1,3})\]")
_UNDECIDED = re.compile(r"\[E?\d{0,3}\Z")
# Between these characters Markdown sees a picture, a link, the definition of one, or HTML; a space keeps them apart.
_JOINT = re.compile(r"(?<=!)(?=\[)|(?<=\])(?=[(:\[])|(?<=<)(?=[A-Za-z!/?])")
_CORRECTED = "\n\nChecked against the exhibits, this is corrected to:\n\n"


@dataclass
class MarkdownStream:
    """Rewrites a text that arrives in pieces; what it returns does not depend on where they were cut."""

    _held: str = ""
    _last: str = ""

    def feed(self, piece: str) -> str:
        """As much of the sanitize text as is decided."""
        text = self._held + piece
        undecided = _UNDECIDED.search(text)
        cut = undecided.start() if undecided else len(text)
        self._held = text[cut:]
        return self._rewritten(text[:cut])

    def end(self) -> str:
        """The rest."""
        rest, self._held = self._held, ""
        return self._rewritten(rest)

    def _rewritten(self, text: str) -> str:
        numbered = _NUMBER.sub(lambda m: f"[{m['number']}]" if m["marker"] else f"({m['number']})", text)
        apart = _JOINT.sub(" ", self._last + numbered)[len(self._last) :]
        self._last = apart[-1:] or self._last
        return apart


@dataclass(frozen=True)
class EvidenceLink:
    """Where an exhibit can be looked at.

    Attributes:
        url: of what shows it best.
        title: the file, and the place in it.
        picture: URL of a picture of it; empty where there is nothing to see.
        views: all its URLs, by what they show.
    """

    url: str
    title: str
    picture: str = ""
    views: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LinkedCitation:
    """Characters (code points) ``[start, end)`` of the Markdown, a statement, that rest on an exhibit."""

    start: int
    end: int
    exhibit: Evidence
    link: EvidenceLink


@dataclass(frozen=True)
class MarkdownAnswer:
    """An answer as Markdown.

    Attributes:
        answer: what it was made of.
        text: the whole of it.
        tail: what of it comes after what was streamed.
        cites: its citations.
    """

    answer: Answer
    text: str
    tail: str
    cites: tuple[LinkedCitation, ...]


def sanitize(text: str) -> str:
    """The text with markers as numbers, and without pictures, links or HTML of its own."""
    stream = MarkdownStream()
    return stream.feed(text) + stream.end()


def render_answer(answer: Answer, links: Mapping[int, EvidenceLink], streamed: str = "") -> MarkdownAnswer:
    """The answer as Markdown.

    Args:
        answer: the whole answer.
        links: of the exhibits that it cites, by number.
        streamed: what was already sent of its text; where that was another text, a correction follows it.
    """
    body = sanitize(answer.text).rstrip()
    is_sent = streamed.rstrip() == body
    before = "" if is_sent or not streamed.strip() else streamed + _CORRECTED
    text = (streamed if is_sent else before + body) + _shown(answer.cited, links)
    shown = {exhibit.number: exhibit for exhibit in answer.cited}
    spans = ((_span(answer.text, cited, len(before)), cited.number) for cited in answer.citations)
    cites = tuple(LinkedCitation(*span, shown[number], links[number]) for span, number in spans)
    return MarkdownAnswer(answer, text, text[len(streamed) :], cites)


def _span(text: str, cited: Citation, offset: int) -> tuple[int, int]:
    """Where a statement stands once its text is sanitize."""
    stream = MarkdownStream()
    start = len(stream.feed(text[: cited.start]))
    said = stream.feed(text[cited.start : cited.end]) + stream.end()
    # A space that keeps it apart from the marker before it is no part of it.
    return offset + start + len(said) - len(said.lstrip()), offset + start + len(said)


def _shown(cited: Sequence[Evidence], links: Mapping[int, EvidenceLink]) -> str:
    """Cited pictures, each once, and the definitions that make the numbers links."""
    known = [(exhibit.number, links[exhibit.number]) for exhibit in cited]
    pictures = dict.fromkeys(f"![{_plain(link.title)}]({link.picture})" for _, link in known if link.picture)
    defined = [f'[{number}]: {link.url} "{_plain(link.title)}"' for number, link in known if link.url]
    return "".join(f"\n\n{part}" for part in (*pictures, "\n".join(defined)) if part)


def _plain(title: str) -> str:
    """A title as it can stand in brackets and in quotes: files may have any name."""
    return re.sub(r"[\[\]()<>\"\\\s]+", " ", title).strip()
