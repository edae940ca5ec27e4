"""What documents beside picture files say that the pictures show: alternative texts, captions, sidecar files.

Only pictures among the given files get captions, so nothing outside them is looked at or led to.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from ingest.document.markup import parse_xml
from ingest.document.page_lines import CAPTION
from ingest.formats.identify import open_regular
from ingest.formats.plain import decode
from ingest.picture.product_table import MOST_ROWS, rows
from rag.types import Scalar

if TYPE_CHECKING:
    from ingest.reading.worker import Workers

_PICTURES = re.compile(r"\.(?:png|jpe?g|gif|webp|tiff?|bmp|avif)", re.I)
_MOST_BYTES = 5_000_000  # of a document
_MOST_CATALOGUE_BYTES = 100_000_000
_MOST_SIDECAR_BYTES = 20_000
_TABLES = (".csv", ".tsv")
_MOST_MENTIONS = 10_000  # of a document
_MOST_CAPTIONS, _CAPTION_CHARS = 8, 1000
_SIDECAR_KEYS = ("caption", "description", "alt", "alt_text", "title", "headline")
_XML_FIGURES = frozenset({"figure", "fig", "informalfigure", "mediaobject"})
_XML_CAPTIONS = frozenset({"caption", "alt-text", "textobject", "figDesc"})
_XML_SOURCES = frozenset({"src", "fileref", "href", "url"})

# Where a picture is named, and a text or fields that belong to it; a sidecar file names none.
Mention = tuple[str, str | Mapping[str, Scalar]]


class Said(NamedTuple):
    """What other files say of a picture: texts, and the fields of a catalogue; None where none knows its folder."""

    captions: tuple[str, ...] = ()
    fields: Mapping[str, Scalar] | None = None


class Gathered(NamedTuple):
    """What is said of each picture, and of each catalogue which of its pictures are not there."""

    said: Mapping[Path, Said]
    lacking: Mapping[Path, Sequence[str]]


def gather(paths: Sequence[Path], workers: Workers) -> Gathered:
    """What is said of the pictures among some files by the other files among them, which readers look at.

    Read are Markdown, HTML and XML (CNXML, DocBook, JATS, TEI) that show a picture, sidecar files (``photo.txt``,
    ``photo.jpg.json``, ``photo.xmp``), and tables (``.csv``, ``.tsv``) whose rows name pictures
    (`ingest.picture.product_table`). A document that cannot be read gives none: it is reported when its own turn comes.
    """
    pictures = {os.path.normpath(path): path for path in paths if _PICTURES.fullmatch(path.suffix)}
    stems = {os.path.splitext(name)[0]: path for name, path in pictures.items()}
    asked = [path for path in paths if _may_tell(path, pictures, stems)] if pictures else []
    said = {path: mentions for path, what, mentions in workers.each("mentions", asked) if what == "item"}
    captions: dict[Path, dict[str, None]] = {}
    fields: dict[Path, dict[str, Scalar]] = {}
    lacking: dict[Path, dict[str, None]] = {}
    for path in asked:
        for source, told in said.get(path, ()):
            picture = _shown(path, source, pictures, stems)
            if picture is None:
                if path.suffix.lower() in _TABLES:
                    lacking.setdefault(path, {})[source] = None
            elif not isinstance(told, str):
                fields.setdefault(picture, {}).update(told)
            elif len(held := captions.setdefault(picture, {})) < _MOST_CAPTIONS:
                held[told] = None
    folders = {picture.parent for picture in fields}  # a picture there whose row is gone has no fields any more
    for picture in pictures.values() if folders else ():
        if picture.parent in folders:
            fields.setdefault(picture, {})
    found = {each: Said(tuple(captions.get(each, ())), fields.get(each)) for each in captions | fields}
    return Gathered(found, {path: tuple(names) for path, names in lacking.items()})


def mentions(path: Path) -> list[Mention]:
    """What a document or sidecar file says of pictures, at most 10,000 texts of at most 1,000 characters.

    Raises:
        MediaError: it is no regular file, or damaged.
    """
    suffix = path.suffix.lower()
    most = _MOST_SIDECAR_BYTES if suffix in _SIDECARS else _MOST_CATALOGUE_BYTES if suffix in _TABLES else _MOST_BYTES
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        return []
    told = (_SIDECARS | _DOCUMENTS)[suffix](decode(data))
    found = ((source, _words(said) if isinstance(said, str) else said) for source, said in told)
    most = 2 * MOST_ROWS if suffix in _TABLES else _MOST_MENTIONS
    return [mention for mention in islice(found, most) if mention[1]]


def _may_tell(path: Path, pictures: dict[str, Path], stems: dict[str, Path]) -> bool:
    suffix = path.suffix.lower()
    return suffix in _DOCUMENTS or (suffix in _SIDECARS and _meant(_stem(path), pictures, stems) is not None)


def _stem(path: Path) -> str:
    return os.path.splitext(os.path.normpath(path))[0]


def _shown(document: Path, source: str, pictures: dict[str, Path], stems: dict[str, Path]) -> Path | None:
    """The picture that a document means by a name or a reference, or a sidecar file by its own name."""
    if not source:
        return _meant(_stem(document), pictures, stems)
    named = pictures.get(os.path.normpath(document.parent / source))  # which may hold a # or a %
    return named or _meant(_beside(document, source), pictures, stems)


def _meant(name: str, pictures: dict[str, Path], stems: dict[str, Path]) -> Path | None:
    """The picture of this name, with or without its suffix, which changes when a picture is converted."""
    return pictures.get(name) or stems.get(name) or stems.get(os.path.splitext(name)[0])


def _words(text: str) -> str:
    return " ".join(text[: 4 * _CAPTION_CHARS].split())[:_CAPTION_CHARS]


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
                    caption = _words(token.content)
                    yield from ((source, caption) for source in shown)
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
    said: dict[int, str] = {}  # by figure, which may hold many pictures
    for image in BeautifulSoup(text, "lxml")("img"):
        source = str(image.get("src") or "")
        yield source, str(image.get("alt") or "")
        yield source, str(image.get("title") or "")
        figure = image.find_parent("figure")
        if figure is not None:
            if id(figure) not in said:
                said[id(figure)] = _words(figure.figcaption.get_text(" ")) if figure.figcaption else ""
            yield source, said[id(figure)]


def _xml_mentions(text: str) -> Iterator[Mention]:
    if not _PICTURES.search(text):
        return
    root = parse_xml(text)
    parents = {child: element for element in root.iter() for child in element}
    figures = _figures(root, parents)
    said = _figure_captions(root, parents, figures)
    for element in root.iter():
        for key, value in element.attrib.items():
            if _local(key) in _XML_SOURCES and _PICTURES.search(value):
                alts = _alternatives(element, parents)
                captions = said.get(figures[element], ()) if element in figures else ()
                yield from ((value, caption) for caption in (*alts, *captions))


def _figures(root: Element, parents: dict[Element, Element]) -> dict[Element, Element]:
    """The figure that each element is in, if any; a medium right inside a figure is a part of it."""
    found: dict[Element, Element] = {}
    for element in root.iter():  # parents come first
        parent, name = parents.get(element, root), _local(element.tag)
        around = found.get(parent)
        if name in _XML_FIGURES and not (name == "mediaobject" and around is parent):
            found[element] = element
        elif around is not None:
            found[element] = around
    return found


def _figure_captions(
    root: Element, parents: dict[Element, Element], figures: dict[Element, Element]
) -> dict[Element, list[str]]:
    """The captions of each figure; one within a caption is a part of it, so that no word is read twice."""
    found: dict[Element, list[str]] = {}
    inside: set[Element] = set()
    for element in root.iter():
        parent, name, figure = parents.get(element, root), _local(element.tag), figures.get(element)
        if parent in inside:
            inside.add(element)
        elif figure is not None and (name in _XML_CAPTIONS or (name in ("title", "head") and parent is figure)):
            inside.add(element)
            held = found.setdefault(figure, [])
            if len(held) < _MOST_CAPTIONS:
                held.append(_words("".join(element.itertext())))
    return found


def _alternatives(element: Element, parents: dict[Element, Element]) -> Iterator[str]:
    """Alternative texts of an element and those around it, up to the figure."""
    yield element.get("alt", "")
    for _ in range(3):
        if _local(element.tag) in _XML_FIGURES or element not in parents:
            return
        element = parents[element]
        yield element.get("alt", "")


def _local(name: Any) -> str:
    return name.rpartition("}")[2] if isinstance(name, str) else ""


def _catalogue_mentions(text: str) -> Iterator[Mention]:
    for source, caption, fields in rows(text):
        yield source, caption
        yield source, fields


def _text_sidecar(text: str) -> Iterable[Mention]:
    return [("", text)]


def _json_sidecar(text: str) -> Iterable[Mention]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    fields = {str(key).lower(): item for key, item in value.items()} if isinstance(value, dict) else {}
    words = [fields[key] for key in _SIDECAR_KEYS if isinstance(fields.get(key), str)]
    # Exports give the file's name as its title.
    return [("", item) for item in words if not _PICTURES.search(item[-5:])]


def _xmp_sidecar(text: str) -> Iterable[Mention]:
    root = parse_xml(text)
    named = (e for name in ("title", "description") for e in root.iter() if _local(e.tag) == name)
    return [("", "".join(element.itertext())) for element in named]


_Parser = Callable[[str], Iterable[Mention]]
_SIDECARS: dict[str, _Parser] = {".txt": _text_sidecar, ".json": _json_sidecar, ".xmp": _xmp_sidecar}
_DOCUMENTS: dict[str, _Parser] = {
    ".csv": _catalogue_mentions,
    ".tsv": _catalogue_mentions,
    ".md": _markdown_mentions,
    ".markdown": _markdown_mentions,
    ".html": _html_mentions,
    ".htm": _html_mentions,
    ".xhtml": _html_mentions,
    ".xml": _xml_mentions,
    ".cnxml": _xml_mentions,
}
