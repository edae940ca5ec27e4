"""The operations of the reader process: each takes plain values and yields plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ingest import audio, documents, images, video
from ingest.load import Measure, Source, identify
from ingest.ocr import Ocr
from ingest.speech import Transcriber, load_transcriber
from rag.config import Settings
from rag.errors import QueryError
from rag.types import Extracted


class Readers:
    """Readers for every medium over one set of engines, which load when first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def identify(self, path: Path, captions: tuple[str, ...]) -> Iterator[Source]:
        """Yield what the file is, by its content."""
        yield replace(identify(path, self._settings), captions=captions)

    def measure(self, source: Source) -> Iterator[Measure]:
        """Yield how much there is to read, without reading it."""
        yield _READERS[source.medium].measure(source, self._settings)

    def extract(self, source: Source) -> Iterator[Extracted]:
        """Yield the segments of the file."""
        match source.medium:
            case "document":
                yield from documents.segments(source, self._settings, self._ocr)
            case "image":
                yield from images.segments(source, self._settings, self._ocr)
            case "audio":
                yield from audio.segments(source, self._settings, self._transcriber)
            case "video":
                yield from video.segments(source, self._settings, self._transcriber, self._ocr)

    def question(self, path: Path) -> Iterator[Extracted]:
        """Yield the passages that are spoken in a recording or video, and what else is heard."""
        source = identify(path, self._settings)
        if source.medium not in ("audio", "video"):
            raise QueryError(f"{path} is no recording ({source.media_type}).")
        yield from audio.segments(source, self._settings, self._transcriber)

    @cached_property
    def _ocr(self) -> Ocr:
        return Ocr(self._settings.threads)

    @cached_property
    def _transcriber(self) -> Transcriber:
        return load_transcriber(self._settings)


_READERS = {"document": documents, "image": images, "audio": audio, "video": video}
