"""Turn documents into segments: read each format into one text of blocks, then split it into passages and figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ingest.document import pdf
from ingest.document.chunking import DocumentText, Passage, PlacedBlock, TextBlock, split_passages
from ingest.document.markup import read_html, read_markdown, read_xml
from ingest.document.office import read_docx, read_pptx, read_xlsx, slide_pictures
from ingest.document.page_lines import CAPTION
from ingest.document.tables import read_csv, read_json, read_subtitles
from ingest.formats.archive import read_contents, read_part
from ingest.formats.identify import Measure
from ingest.formats.plain import decode_text
from ingest.formats.sniff import DOCX, PDF, PPTX, XLSX
from ingest.picture.ocr import Ocr
from ingest.picture.pixels import DRAFT_PX, for_segment
from rag.config import Settings
from rag.errors import MediaError, MediaTooLarge
from rag.media.opening import open_image, rgb
from rag.types import CharSpan, Extracted, Locator, PageBox, Scalar, Segment, Source

_MAX_TEXT_BYTES = 32_000_000  # of a text file: about 5 million words, or 30,000 passages
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
_MIN_FIGURE_PX = 64  # smaller pictures are icons, bullets and logos
_REPEATED = 3  # a picture on this many slides is a logo
_NEARBY_WORDS = 40
# Bytes of markup and text per character of text, measured on sample files.
_BYTES_PER_CHARACTER = {"text/html": 3, "application/xml": 2, "image/svg+xml": 20, DOCX: 8, PPTX: 30, XLSX: 4}


@dataclass(frozen=True, slots=True)
class _EmbeddedFigure:
    """A picture in a document: the part that holds it, its place, and its caption."""

    part: str
    locator: Locator
    caption: str
    page: int = 0


def segments(source: Source, settings: Settings, ocr: Ocr) -> Iterator[Extracted]:
    """Yield the passages of a document, then its embedded pictures; for a PDF, page by page.

    Raises:
        MediaError: the document cannot be read; see the reader of its format.
    """
    if source.media_type == PDF:
        yield from pdf.segments(source, settings, ocr)
        return
    document = _read_document(source)
    ordinal = 0
    for passage in split_passages(document):
        yield Extracted(_passage_segment(source, document, passage, ordinal))
        ordinal += 1
    for figure in _figures(source, document):
        extracted = _figure_segment(source, figure, ordinal, settings, ocr)
        if extracted is not None:
            yield extracted
            ordinal += 1


def measure(source: Source, settings: Settings) -> Measure:
    """Return pages, pictures and characters, counted where that is cheap, otherwise estimated from sizes.

    Raises:
        MediaError: its container cannot be read, or holds more than the settings allow.
    """
    if source.media_type == PDF:
        return pdf.measure(source, settings)
    share = _BYTES_PER_CHARACTER.get(source.media_type, 1)
    if source.media_type in (DOCX, PPTX, XLSX):
        contents = read_contents(source.path)
        return Measure(pages=contents.slides, pictures=contents.pictures, characters=contents.xml_bytes // share)
    return Measure(characters=source.size // share)


def _read_document(source: Source) -> DocumentText:
    if source.media_type in _FILE_READERS:
        return _FILE_READERS[source.media_type](source.path)
    if source.size > _MAX_TEXT_BYTES:
        raise MediaTooLarge(
            f"It has {source.size / 1e6:,.0f} MB of text, more than the limit of "
            f"{_MAX_TEXT_BYTES / 1e6:,.0f} MB; split it."
        )
    return _TEXT_READERS.get(source.media_type, _read_plain)(decode_text(source.path.read_bytes()))


def _read_plain(text: str) -> DocumentText:
    """Keep a plain text as it is; blank lines separate its paragraphs."""
    parts = []
    position = 0
    for separator in [*_BLANK_LINES.finditer(text), None]:
        end = separator.start() if separator else len(text)
        piece = text[position:end]
        if piece.strip():
            start = position + len(piece) - len(piece.lstrip())
            parts.append(PlacedBlock(start, position + len(piece.rstrip()), TextBlock("")))
        position = separator.end() if separator else end
    return DocumentText(text, tuple(parts))


_FILE_READERS: dict[str, Callable[[Path], DocumentText]] = {DOCX: read_docx, PPTX: read_pptx, XLSX: read_xlsx}
_TEXT_READERS: dict[str, Callable[[str], DocumentText]] = {
    "text/markdown": read_markdown,
    "text/html": read_html,
    "application/xml": read_xml,
    "image/svg+xml": read_xml,
    "text/csv": read_csv,
    "text/tab-separated-values": read_csv,
    "application/json": read_json,
    "text/vtt": read_subtitles,
    "application/x-subrip": read_subtitles,
}


def _passage_segment(source: Source, document: DocumentText, passage: Passage, ordinal: int) -> Segment:
    meta: dict[str, Scalar] = {"heading": passage.heading} if passage.heading else {}
    locator: Locator = CharSpan(passage.start, passage.end)
    if source.media_type == PPTX:
        locator = PageBox(passage.page)
        meta["page"] = passage.page
    text = document.text[passage.start : passage.end]
    title = _title(document.title or source.title, passage.heading)
    return Segment(source.asset_id, ordinal, "text", "passage", locator, text=text, title=title, meta=meta)


def _title(name: str, heading: str) -> str:
    """Return the name of the document and the headings above a place, without repeating the name."""
    below = heading.removeprefix(name).removeprefix(" › ")
    return f"{name} › {below}" if below else name


def _figures(source: Source, document: DocumentText) -> Iterator[_EmbeddedFigure]:
    if source.media_type in (DOCX, XLSX):
        yield from _figures_in_text(document)
    elif source.media_type == PPTX:
        yield from _slide_figures(source, document)


def _figures_in_text(document: DocumentText) -> Iterator[_EmbeddedFigure]:
    """Yield the pictures of a text; the place of each is its caption, or else the paragraph beside it."""
    done: set[str] = set()
    for number, part in enumerate(document.parts):
        name = part.block.part
        if part.block.kind != "figure" or not name or name in done:
            continue
        done.add(name)
        before = next((p for p in reversed(document.parts[:number]) if p.end > p.start), None)
        after = next((p for p in document.parts[number + 1 :] if p.end > p.start), None)
        named = next((p for p in (after, before) if p and CAPTION.match(document.text, p.start, p.end)), None)
        place = named or before or after
        words = " ".join(document.text[place.start : place.end].split()[:_NEARBY_WORDS]) if place else ""
        lines = [part.block.text, words if named or not part.block.text else ""]
        span = CharSpan(place.start, place.end) if place else CharSpan(0, 0)
        yield _EmbeddedFigure(name, span, "\n".join(line for line in lines if line))


def _slide_figures(source: Source, document: DocumentText) -> Iterator[_EmbeddedFigure]:
    pictures = slide_pictures(source.path)
    uses = Counter(picture.part for picture in pictures)
    words = {part.block.page: "" for part in document.parts}
    for part in document.parts:
        words[part.block.page] += f" {part.block.text}"
    for picture in pictures:
        if uses[picture.part] < _REPEATED:
            nearby = " ".join(words.get(picture.slide, "").split()[:_NEARBY_WORDS])
            yield _EmbeddedFigure(
                picture.part, PageBox(picture.slide, picture.box), picture.alt or nearby, picture.slide
            )


def _figure_segment(
    source: Source, figure: _EmbeddedFigure, ordinal: int, settings: Settings, ocr: Ocr
) -> Extracted | None:
    """Return the segment of a picture in the document; None for an icon or a damaged picture."""
    data = read_part(source.path, figure.part)
    if data is None:
        return None
    try:
        with open_image(BytesIO(data), settings.max_pixels) as image:
            pixels = rgb(image, DRAFT_PX)
    except MediaError:
        return None
    if min(pixels.size) < _MIN_FIGURE_PX:
        return None
    lines = ocr.read(pixels) if settings.ocr != "off" else []
    meta: dict[str, Scalar] = {"part": figure.part, "width_px": pixels.width, "height_px": pixels.height}
    segment = Segment(
        source.asset_id,
        ordinal,
        "image",
        "figure",
        figure.locator,
        text="\n".join(line.text for line in lines),
        caption=figure.caption,
        title=source.title,
        meta=meta | ({"page": figure.page} if figure.page else {}),
    )
    return Extracted(segment, for_segment(pixels))
