"""What a document, a product table or a sidecar file says about pictures.

This is the child's half of `ingest.captions`: it reads one file and yields each picture's name, as the file spells it,
with a text or fields. Which picture of the run is meant, the parent decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from ingest.document.markup import local_name, parse_xml
from ingest.document.page_lines import CAPTION
from ingest.formats.identify import open_regular
from ingest.formats.plain import decode_text
from ingest.formats.sniff import PICTURE_SUFFIX
from ingest.picture.product_table import MAX_ROWS, read_rows
from rag.types import Scalar

MAX_CAPTIONS = 8  # of a picture
_CAPTION_CHARS = 1000
_MAX_BYTES = 5_000_000  # of a document
_MAX_TABLE_BYTES = 100_000_000
_MAX_SIDECAR_BYTES = 20_000
_MAX_MENTIONS = 10_000  # of a document
_SIDECAR_KEYS = ("caption", "description", "alt", "alt_text", "title", "headline")
_XML_FIGURES = frozenset({"figure", "fig", "informalfigure", "mediaobject"})
_XML_CAPTIONS = frozenset({"caption", "alt-text", "textobject", "figDesc"})
_XML_SOURCES = frozenset({"src", "fileref", "href", "url"})

_Pair = tuple[str, str | Mapping[str, Scalar]]  # a `Mention` before its text is shortened


class Mention(NamedTuple):
    """A picture that a file names, and what the file says about it.

    Attributes:
        reference: the picture's name or address as the file spells it; empty in a sidecar file.
        content: a text, or the fields of a product table's row.
    """

    reference: str
    content: str | Mapping[str, Scalar]


def read_mentions(path: Path) -> list[Mention]:
    """Return what a document or sidecar file says about pictures: at most 10,000 texts of at most 1,000 characters.

    Raises:
        MediaError: it is a folder, a pipe or a device, or damaged.
    """
    suffix = path.suffix.lower()
    is_table = suffix in TABLE_SUFFIXES
    max_bytes = _MAX_SIDECAR_BYTES if suffix in _SIDECARS else _MAX_TABLE_BYTES if is_table else _MAX_BYTES
    with open_regular(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        return []
    mentions = (
        Mention(reference, _shorten(content) if isinstance(content, str) else content)
        for reference, content in (_SIDECARS | _DOCUMENTS)[suffix](decode_text(data))
    )
    return [mention for mention in islice(mentions, 2 * MAX_ROWS if is_table else _MAX_MENTIONS) if mention.content]


def _shorten(text: str) -> str:
    return " ".join(text[: 4 * _CAPTION_CHARS].split())[:_CAPTION_CHARS]


def _markdown_mentions(text: str) -> Iterator[_Pair]:
    from markdown_it import MarkdownIt

    if "![" in text:
        before: list[str] = []  # pictures of the paragraph before, whose caption may follow
        for token in MarkdownIt("commonmark").parse(text):
            if token.type == "inline":
                if CAPTION.match(token.content):
                    caption = _shorten(token.content)
                    yield from ((source, caption) for source in before)
                before = []
            for image in token.children or ():
                if image.type == "image":
                    source = str(image.attrs.get("src", ""))
                    before.append(source)
                    yield source, image.content
                    yield source, str(image.attrs.get("title", ""))
    yield from _html_mentions(text)


def _html_mentions(text: str) -> Iterator[_Pair]:
    from bs4 import BeautifulSoup

    if not re.search(r"<img\b", text, re.I):
        return
    captions: dict[int, str] = {}  # by figure, which may hold many pictures
    for image in BeautifulSoup(text, "lxml")("img"):
        source = str(image.get("src") or "")
        yield source, str(image.get("alt") or "")
        yield source, str(image.get("title") or "")
        figure = image.find_parent("figure")
        if figure is not None:
            if id(figure) not in captions:
                captions[id(figure)] = _shorten(figure.figcaption.get_text(" ")) if figure.figcaption else ""
            yield source, captions[id(figure)]


def _xml_mentions(text: str) -> Iterator[_Pair]:
    if not PICTURE_SUFFIX.search(text):
        return
    root = parse_xml(text)
    parents = {child: element for element in root.iter() for child in element}
    figures = _figures(root, parents)
    captions_of = _figure_captions(root, parents, figures)
    for element in root.iter():
        for key, value in element.attrib.items():
            if local_name(key) in _XML_SOURCES and PICTURE_SUFFIX.search(value):
                alts = _alternatives(element, parents)
                captions = captions_of.get(figures[element], ()) if element in figures else ()
                yield from ((value, caption) for caption in (*alts, *captions))


def _figures(root: Element, parents: dict[Element, Element]) -> dict[Element, Element]:
    """Map each element to the figure around it, if any; a media object right inside a figure belongs to that figure."""
    found: dict[Element, Element] = {}
    for element in root.iter():  # parents come first
        parent, name = parents.get(element, root), local_name(element.tag)
        around = found.get(parent)
        if name in _XML_FIGURES and not (name == "mediaobject" and around is parent):
            found[element] = element
        elif around is not None:
            found[element] = around
    return found


def _figure_captions(
    root: Element, parents: dict[Element, Element], figures: dict[Element, Element]
) -> dict[Element, list[str]]:
    """Return the captions of each figure; a caption inside a caption belongs to it, so that no word is read twice."""
    found: dict[Element, list[str]] = {}
    inside: set[Element] = set()
    for element in root.iter():
        parent, name, figure = parents.get(element, root), local_name(element.tag), figures.get(element)
        if parent in inside:
            inside.add(element)
        elif figure is not None and (name in _XML_CAPTIONS or (name in ("title", "head") and parent is figure)):
            inside.add(element)
            captions = found.setdefault(figure, [])
            if len(captions) < MAX_CAPTIONS:
                captions.append(_shorten("".join(element.itertext())))
    return found


def _alternatives(element: Element, parents: dict[Element, Element]) -> Iterator[str]:
    """Yield the alternative texts of an element and of those around it, up to the figure."""
    yield element.get("alt", "")
    for _ in range(3):
        if local_name(element.tag) in _XML_FIGURES or element not in parents:
            return
        element = parents[element]
        yield element.get("alt", "")


def _table_mentions(text: str) -> Iterator[_Pair]:
    for source, caption, fields in read_rows(text):
        yield source, caption
        yield source, fields


def _text_sidecar(text: str) -> Iterable[_Pair]:
    return [("", text)]


def _json_sidecar(text: str) -> Iterable[_Pair]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    fields = {str(key).lower(): item for key, item in value.items()} if isinstance(value, dict) else {}
    words = [fields[key] for key in _SIDECAR_KEYS if isinstance(fields.get(key), str)]
    # Photo exports write the file's name as its title.
    return [("", item) for item in words if not PICTURE_SUFFIX.search(item[-5:])]


def _xmp_sidecar(text: str) -> Iterable[_Pair]:
    root = parse_xml(text)
    named = (e for name in ("title", "description") for e in root.iter() if local_name(e.tag) == name)
    return [("", "".join(element.itertext())) for element in named]


_SIDECARS: dict[str, Callable[[str], Iterable[_Pair]]] = {
    ".txt": _text_sidecar,
    ".json": _json_sidecar,
    ".xmp": _xmp_sidecar,
}
_DOCUMENTS: dict[str, Callable[[str], Iterable[_Pair]]] = {
    ".csv": _table_mentions,
    ".tsv": _table_mentions,
    ".md": _markdown_mentions,
    ".markdown": _markdown_mentions,
    ".html": _html_mentions,
    ".htm": _html_mentions,
    ".xhtml": _html_mentions,
    ".xml": _xml_mentions,
    ".cnxml": _xml_mentions,
}

TABLE_SUFFIXES = (".csv", ".tsv")
SIDECAR_SUFFIXES, DOCUMENT_SUFFIXES = frozenset(_SIDECARS), frozenset(_DOCUMENTS)
