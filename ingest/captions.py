"""What documents beside picture files say that the pictures show: alternative texts, captions, sidecar files.

Only pictures among the given files get captions, so nothing outside them is looked at or led to.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from ingest.markup import parse_xml
from ingest.pages import CAPTION
from ingest.plain import decode
from rag.errors import DamagedMedia

_PICTURES = re.compile(r"\.(?:png|jpe?g|gif|webp|tiff?|bmp|avif)", re.I)
_MOST_BYTES = 5_000_000  # of a document
_MOST_SIDECAR_BYTES = 20_000
_MOST_CAPTIONS, _CAPTION_CHARS = 8, 1000
_SIDECAR_KEYS = ("caption", "description", "alt", "alt_text", "title", "headline")
_XML_FIGURES = frozenset({"figure", "fig", "informalfigure", "mediaobject"})
_XML_CAPTIONS = frozenset({"caption", "alt-text", "textobject", "figDesc"})
_XML_SOURCES = frozenset({"src", "fileref", "href", "url"})

# Where a picture is named, and a text that belongs to it.
Mention = tuple[str, str]


def gather(paths: Sequence[Path]) -> dict[Path, tuple[str, ...]]:
    """Captions of the pictures among some files, from the other files among them.

    Read are Markdown, HTML and XML (CNXML, DocBook, JATS, TEI) that show a picture, and sidecar files
    (``photo.txt``, ``photo.jpg.json``, ``photo.xmp``). A document that cannot be read gives none: it is reported
    when its own turn comes.
    """
    pictures = {os.path.normpath(path): path for path in paths if _PICTURES.fullmatch(path.suffix)}
    if not pictures:
        return {}
    found: dict[Path, dict[str, None]] = {}
    stems = {os.path.splitext(name)[0]: path for name, path in pictures.items()}
    for path in paths:
        for picture, caption in _captions_in(path, pictures, stems):
            words = " ".join(caption.split())[:_CAPTION_CHARS]
            held = found.setdefault(picture, {})
            if words and len(held) < _MOST_CAPTIONS:
                held[words] = None
    return {picture: tuple(captions) for picture, captions in found.items() if captions}


def _captions_in(path: Path, pictures: dict[str, Path], stems: dict[str, Path]) -> Iterator[tuple[Path, str]]:
    suffix = path.suffix.lower()
    stem = os.path.splitext(os.path.normpath(path))[0]
    try:
        picture = pictures.get(stem) or stems.get(stem)
        if suffix in _SIDECARS and picture is not None:
            if path.stat().st_size <= _MOST_SIDECAR_BYTES:
                yield from ((picture, caption) for caption in _SIDECARS[suffix](decode(path.read_bytes())))
        elif suffix in _DOCUMENTS and path.stat().st_size <= _MOST_BYTES:
            for source, caption in _DOCUMENTS[suffix](decode(path.read_bytes())):
                meant = _beside(path, source)
                # A picture that was converted since the document was written has another suffix.
                shown = pictures.get(meant) or stems.get(os.path.splitext(meant)[0])
                if shown is not None:
                    yield shown, caption
    except (OSError, DamagedMedia, RecursionError):
        return


def _beside(document: Path, source: str) -> str:
    """Path that a document means by a reference; empty for one that leads to the web."""
    try:
        parts = urlsplit(source.strip())
    except ValueError:
        return ""
    if parts.scheme or parts.netloc or not parts.path:
        return ""
    return os.path.normpath(document.parent / unquote(parts.path))


def _markdown_mentions(text: str) -> Iterator[Mention]:
    from markdown_it import MarkdownIt

    if "![" in text:
        shown: list[str] = []  # pictures of the paragraph before, whose caption may follow
        for token in MarkdownIt("commonmark").parse(text):
            if token.type == "inline":
                if CAPTION.match(token.content):
                    yield from ((source, token.content) for source in shown)
                shown = []
            for image in token.children or ():
                if image.type == "image":
                    source = str(image.attrs.get("src", ""))
                    shown.append(source)
                    yield source, image.content
                    yield source, str(image.attrs.get("title", ""))
    yield from _html_mentions(text)


def _html_mentions(text: str) -> Iterator[Mention]:
    from bs4 import BeautifulSoup

    if not re.search(r"<img\b", text, re.I):
        return
    for image in BeautifulSoup(text, "lxml")("img"):
        source = str(image.get("src") or "")
        yield source, str(image.get("alt") or "")
        yield source, str(image.get("title") or "")
        figure = image.find_parent("figure")
        if figure is not None and figure.figcaption is not None:
            yield source, figure.figcaption.get_text(" ")


def _xml_mentions(text: str) -> Iterator[Mention]:
    if not _PICTURES.search(text):
        return
    root = parse_xml(text)
    parents = {child: element for element in root.iter() for child in element}
    for element in root.iter():
        for key, value in element.attrib.items():
            if _local(key) in _XML_SOURCES and _PICTURES.search(value):
                yield from ((value, caption) for caption in _xml_captions(element, parents))


def _xml_captions(element: Element, parents: dict[Element, Element]) -> Iterator[str]:
    """Alternative texts of an element and those around it, up to the figure, then the figure's caption."""
    chain = [element]
    while _local(chain[-1].tag) not in _XML_FIGURES and len(chain) < 4 and chain[-1] in parents:
        chain.append(parents[chain[-1]])
    for held in chain:
        yield held.get("alt", "")
    figure = chain[-1]
    if _local(figure.tag) == "mediaobject" and figure in parents and _local(parents[figure].tag) in _XML_FIGURES:
        figure = parents[figure]
    if _local(figure.tag) in _XML_FIGURES:
        for inner in figure.iter():
            if _local(inner.tag) in _XML_CAPTIONS or (_local(inner.tag) in ("title", "head") and inner in figure):
                yield "".join(inner.itertext())


def _local(name: Any) -> str:
    return name.rpartition("}")[2] if isinstance(name, str) else ""


def _json_sidecar(text: str) -> Iterable[str]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    fields = {str(key).lower(): item for key, item in value.items()} if isinstance(value, dict) else {}
    words = [fields[key] for key in _SIDECAR_KEYS if isinstance(fields.get(key), str)]
    return [item for item in words if not _PICTURES.search(item[-5:])]  # exports give the file's name as its title


def _xmp_sidecar(text: str) -> Iterable[str]:
    root = parse_xml(text)
    return ["".join(e.itertext()) for name in ("title", "description") for e in root.iter() if _local(e.tag) == name]


_SIDECARS = {".txt": lambda text: [text], ".json": _json_sidecar, ".xmp": _xmp_sidecar}
_DOCUMENTS = {
    ".md": _markdown_mentions,
    ".markdown": _markdown_mentions,
    ".html": _html_mentions,
    ".htm": _html_mentions,
    ".xhtml": _html_mentions,
    ".xml": _xml_mentions,
    ".cnxml": _xml_mentions,
}
