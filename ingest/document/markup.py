"""Turn Markdown, HTML and XML into blocks: headings, paragraphs, list items and table rows, without the markup.

A row of a table is written as ``column: value; column: value``, so that each passage of a long table still names its
numbers.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, ParseError, fromstring

from ingest.document.chunking import DocumentText, TextBlock, join_blocks
from rag.errors import DamagedMedia

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n(?:---|\.\.\.)\n", re.S)
_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^>]*>", re.S)
_LONG_SPACE = re.compile(r"\s{50,}")  # markdownify takes time in the square of its length
# Parts of a web page that are not its content.
_NOT_CONTENT = ("nav", "script", "style", "noscript", "template", "svg", "iframe", "form", "button")

_XML_HEADINGS = frozenset({"title", "head", "heading", "bridgehead", "h1", "h2", "h3", "h4", "h5", "h6"})
_XML_SKIPPED = frozenset({"metadata", "teiHeader", "script", "style", "colspec"})
_XML_ROWS = frozenset({"row", "tr"})
_XML_BLOCKS = frozenset(
    {"para", "p", "item", "list", "listitem", "figure", "table", "note", "title", "quote", "li", "ul"}
)
_XML_DEPTH = 100
_RECORD_VALUE_CHARS = 200


def read_markdown(text: str) -> DocumentText:
    """Read a Markdown text; drop data URIs, and keep the words of links."""
    front_matter = _FRONT_MATTER.match(text)
    blocks = list(markdown_blocks(text[front_matter.end() :] if front_matter else text))
    named = re.search(r"^title:\s*[\"']?(.+?)[\"']?\s*$", front_matter.group(1), re.M) if front_matter else None
    return join_blocks(blocks, named.group(1) if named else _first_title(blocks))


def read_html(text: str) -> DocumentText:
    """Read the content of a web page, without its navigation, scripts and embedded data."""
    from bs4 import BeautifulSoup
    from markitdown.converters import HtmlConverter

    text = _LONG_SPACE.sub("\n", text)
    soup = BeautifulSoup(text, "lxml")  # html.parser, which markitdown uses, takes hours for some broken pages
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in soup(_NOT_CONTENT):
        tag.decompose()
    for image in soup("img", src=re.compile(r"^\s*data:")):
        image.replace_with(str(image.get("alt") or ""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warns that a deeply nested page is read without its structure
        markdown = HtmlConverter().convert_string(str(soup)).markdown
    blocks = list(markdown_blocks(markdown))
    return join_blocks(blocks, title or _first_title(blocks))


def read_xml(text: str) -> DocumentText:
    """Read an XML document by its structure: CNXML, DocBook, JATS and the like, and plain records.

    Raises:
        DamagedMedia: it is not well formed, or defines entities, which can expand without bound.
    """
    blocks = list(_xml_blocks(parse_xml(text), level=1, depth=0))
    return join_blocks(blocks, _first_title(blocks))


def parse_xml(text: str) -> Element:
    """Parse an XML text and return its root.

    Raises:
        DamagedMedia: it is not well formed, or defines entities.
    """
    if "<!DOCTYPE" in text and "<!ENTITY" in text:
        raise DamagedMedia("It defines XML entities, which can expand without bound; remove its <!ENTITY …>.")
    try:
        return fromstring(text)
    except (ParseError, ValueError) as error:
        raise DamagedMedia(f"It is not well-formed XML ({error}); it is truncated or malformed.") from error


def local_name(name: Any) -> str:
    """Return the name of an element or attribute without its namespace; empty for the tag of a comment."""
    return name.rpartition("}")[2] if isinstance(name, str) else ""


def markdown_blocks(text: str, *, page: int = 0, line_break: str = " ") -> Iterator[TextBlock]:
    """Yield the blocks of a Markdown text.

    Args:
        text: Markdown with tables.
        page: the page of each block.
        line_break: what a line end within a paragraph becomes.
    """
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    table: list[list[str]] = []
    marker = ""
    for number, token in enumerate(tokens):
        opening = tokens[number - 1].type if number else ""
        match token.type:
            case "list_item_open":
                marker = f"{token.info}. " if token.info else "- "
            case "tr_open":
                table.append([])
            case "table_close":
                yield from (TextBlock(row, "row", page=page) for row in table_rows(table))
                table = []
            case "fence" | "code_block":
                yield TextBlock(token.content.strip("\n"), page=page)
            case "html_block":
                yield TextBlock(" ".join(_TAG.sub(" ", token.content).split()), page=page)
            case "inline" if opening in ("th_open", "td_open"):
                table[-1].append(_words(token, " "))
            case "inline" if opening == "heading_open":
                yield TextBlock(_words(token, " "), "heading", int(tokens[number - 1].tag[1:]), page)
            case "inline":
                yield from _paragraph(token, marker, page, line_break)
                marker = ""


def table_rows(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of a table as text, with the names of the columns if the first row holds such names."""
    rows = [row for row in table if any(cell.strip() for cell in row)]
    header = rows[0] if len(rows) > 1 and is_header(rows[0]) else ()
    for row in rows[1 if header else 0 :]:
        cells = [(header[n] if n < len(header) else "", cell) for n, cell in enumerate(row) if cell.strip()]
        yield "; ".join(f"{name}: {cell}" if name else cell for name, cell in cells)


def is_header(cells: Sequence[str]) -> bool:
    """Return whether a row names columns: its cells differ and none is a number; the corner may be empty."""
    names = [cell.strip() for cell in cells]
    filled = [name for name in names[1:] or names if name]
    numeric = any(re.fullmatch(r"[-+($€£]*[\d.,:/ ]+[%)]?", name) for name in names if name)
    return bool(filled) and len(filled) == len(names[1:] or names) and len(set(filled)) == len(filled) and not numeric


def _first_title(blocks: Iterable[TextBlock]) -> str:
    return next((" ".join(block.text.split()) for block in blocks if block.kind == "heading" and block.level == 1), "")


def _paragraph(token: Token, marker: str, page: int, line_break: str) -> Iterator[TextBlock]:
    for image in token.children or ():
        source = str(image.attrs.get("src", "")) if image.type == "image" else ""
        if source.startswith("part:"):
            yield TextBlock(image.content, "figure", page=page, part=source.removeprefix("part:"))
    words = _words(token, line_break)
    if words:
        yield TextBlock(marker + words, "row" if marker else "paragraph", page=page)


def _words(token: Token, line_break: str) -> str:
    pieces = []
    for child in token.children or ():
        match child.type:
            case "text" | "code_inline":
                pieces.append(child.content)
            case "image" if not str(child.attrs.get("src", "")).startswith("part:"):
                pieces.append(child.content)
            case "softbreak":
                pieces.append(line_break)
            case "hardbreak":
                pieces.append("\n")
            case "html_inline" if child.content.lower().startswith("<br"):
                pieces.append("\n")
    return re.sub(r"[ \t]+", " ", "".join(pieces)).strip()


def _xml_blocks(element: Element, level: int, depth: int) -> Iterator[TextBlock]:
    name = _name(element)
    if name in _XML_SKIPPED:
        return
    if name in _XML_HEADINGS:
        yield TextBlock(" ".join(_text(element).split()), "heading", min(level, 6))
    elif name == "table":
        rows = [row for row in element.iter() if _name(row) in _XML_ROWS]
        yield from (TextBlock(row, "row") for row in table_rows([[_text(cell) for cell in row] for row in rows]))
        yield from (TextBlock(_text(title)) for title in element if _name(title) in ("title", "caption"))
    elif _is_record(element):
        yield TextBlock(_record(element), "row")
    elif _has_words(element) or not len(element) or depth > _XML_DEPTH:
        yield TextBlock(_text(element), "row" if name in ("item", "li") else "paragraph")
    else:
        titled = any(_name(child) in _XML_HEADINGS for child in element)
        for child in element:
            yield from _xml_blocks(child, level if _name(child) in _XML_HEADINGS else level + titled, depth + 1)


def _name(element: Element) -> str:
    return local_name(element.tag)


def _has_words(element: Element) -> bool:
    own = [element.text, *(child.tail for child in element)]
    return any(piece and piece.strip() for piece in own)


def _text(element: Element) -> str:
    """Return the words of an element and all below it; list items, paragraphs and the like start new lines."""
    pieces: list[str] = []
    stack: list[Element | str] = [element]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
            continue
        edge = "\f" if item is not element and _name(item) in _XML_BLOCKS else ""
        inner: list[Element | str] = [edge or ("\f" if _name(item) in ("newline", "br") else ""), item.text or ""]
        for child in item:
            inner += [child, child.tail or ""]
        stack.extend(reversed([*inner, edge]))
    lines = (" ".join(line.split()) for line in "".join(pieces).split("\f"))
    return "\n".join(line for line in lines if line)


def _is_record(element: Element) -> bool:
    """Return whether an element is a record of named values, and not running text."""
    names = {_name(child) for child in element}
    return (
        len(names) > 1
        and len(names) == len(element)
        and not names & _XML_BLOCKS - {"title"}
        and not _has_words(element)
        and all(not len(child) and len(child.text or "") <= _RECORD_VALUE_CHARS for child in element)
    )


def _record(element: Element) -> str:
    values = [(local_name(key), value) for key, value in element.attrib.items()]
    values += [(_name(child), " ".join((child.text or "").split())) for child in element]
    return "; ".join(f"{key}: {value}" for key, value in values if value.strip())
