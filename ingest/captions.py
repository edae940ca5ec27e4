"""What other files say about pictures: alternative texts, captions, sidecar files, product tables.

The child process reads each document (`ingest.picture.mentions`); the parent matches the names it finds with the
pictures of the run. Only pictures among the given files get captions, so no path outside them is opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from ingest.formats.sniff import PICTURE_SUFFIX
from ingest.picture.mentions import DOCUMENT_SUFFIXES, MAX_CAPTIONS, SIDECAR_SUFFIXES, TABLE_SUFFIXES, Mention
from ingest.reading.protocol import ItemEvent
from rag.types import Scalar

if TYPE_CHECKING:
    from ingest.reading.worker import WorkerPool


class PictureNotes(NamedTuple):
    """What other files say about one picture.

    Attributes:
        captions: texts, in the order of the files that hold them.
        fields: from the row of a product table; None where no table covers the picture's folder.
    """

    captions: tuple[str, ...] = ()
    fields: Mapping[str, Scalar] | None = None


class GatheredNotes(NamedTuple):
    """The notes on all pictures of a run.

    Attributes:
        notes: by picture.
        missing: by product table, the pictures that its rows name but that are not among the files.
    """

    notes: Mapping[Path, PictureNotes]
    missing: Mapping[Path, Sequence[str]]


def gather_notes(paths: Sequence[Path], workers: WorkerPool) -> GatheredNotes:
    """Collect what the other files say about the pictures among them.

    Readers open Markdown, HTML and XML (CNXML, DocBook, JATS, TEI) that show a picture, sidecar files (``photo.txt``,
    ``photo.jpg.json``, ``photo.xmp``), and tables (``.csv``, ``.tsv``) whose rows name pictures
    (`ingest.picture.product_table`). An unreadable document adds nothing here; its own ingest reports why.
    """
    names = _PictureNames(paths)
    documents = [path for path in paths if names.may_describe(path)]
    mentions = {
        event.argument: event.value
        for event in workers.each("read_mentions", documents)
        if isinstance(event, ItemEvent)
    }
    captions: dict[Path, dict[str, None]] = {}
    fields: dict[Path, dict[str, Scalar]] = {}
    missing: dict[Path, dict[str, None]] = {}
    for path in documents:
        for mention in mentions.get(path, ()):
            picture = names.find(path, mention)
            if picture is None:
                if path.suffix.lower() in TABLE_SUFFIXES:
                    missing.setdefault(path, {})[mention.reference] = None
            elif not isinstance(mention.content, str):
                fields.setdefault(picture, {}).update(mention.content)
            elif len(texts := captions.setdefault(picture, {})) < MAX_CAPTIONS:
                texts[mention.content] = None
    folders = {picture.parent for picture in fields}  # a picture there whose row was deleted has no fields any more
    for picture in names.pictures:
        if picture.parent in folders:
            fields.setdefault(picture, {})
    notes = {each: PictureNotes(tuple(captions.get(each, ())), fields.get(each)) for each in captions | fields}
    return GatheredNotes(notes, {path: tuple(references) for path, references in missing.items()})


class _PictureNames:
    """The pictures among the files of a run, by path and by path without suffix."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._by_path = {os.path.normpath(path): path for path in paths if PICTURE_SUFFIX.fullmatch(path.suffix)}
        self._by_stem = {os.path.splitext(name)[0]: path for name, path in self._by_path.items()}

    @property
    def pictures(self) -> Sequence[Path]:
        """All pictures, in the order of the files."""
        return tuple(self._by_path.values())

    def may_describe(self, path: Path) -> bool:
        """Return whether a file may say something about one of the pictures."""
        suffix = path.suffix.lower()
        if not self._by_path:
            return False
        return suffix in DOCUMENT_SUFFIXES or (suffix in SIDECAR_SUFFIXES and self._match(_stem(path)) is not None)

    def find(self, document: Path, mention: Mention) -> Path | None:
        """Return the picture that a mention means; a sidecar file, whose mention names none, means its own name."""
        if not mention.reference:
            return self._match(_stem(document))
        # The reference may be a file name with # or % in it; only then is it read as a URL.
        named = self._by_path.get(os.path.normpath(document.parent / mention.reference))
        return named or self._match(_resolve(document, mention.reference))

    def _match(self, name: str) -> Path | None:
        """Return the picture of this name, with or without its suffix: converting a picture changes the suffix."""
        by_stem = self._by_stem
        return self._by_path.get(name) or by_stem.get(name) or by_stem.get(os.path.splitext(name)[0])


def _stem(path: Path) -> str:
    return os.path.splitext(os.path.normpath(path))[0]


def _resolve(document: Path, reference: str) -> str:
    """Return the path that a reference in a document leads to; empty for an address on the web."""
    try:
        parts = urlsplit(reference.strip())
    except ValueError:
        return ""
    if parts.scheme or parts.netloc or not parts.path:
        return ""
    return os.path.normpath(document.parent / unquote(parts.path))
