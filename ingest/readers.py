"""The operations of the reader process: each takes plain values and yields plain values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from ingest import audio, captions, documents, images, video
from ingest.load import Measure, identify
from ingest.ocr import Ocr
from ingest.speech import Transcriber, load_transcriber
from rag.config import Settings
from rag.errors import MediaError, MediaTooLarge, QueryError
from rag.types import Extracted, Source


class Readers:
    """Readers for every medium over one set of engines, which load when first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def mentions(self, path: Path) -> Iterator[list[captions.Mention]]:
        """Yield what a document says of pictures, as one list."""
        yield captions.mentions(path)

    def identify(self, path: Path, captions: tuple[str, ...]) -> Iterator[Source]:
        """Yield what the file is, by its content."""
        yield identify(path, self._settings, captions=captions)

    def measure(self, source: Source) -> Iterator[Measure]:
        """Yield how much there is to read, without reading it."""
        found = _READERS[source.medium].measure(source)
        _check(found, self._settings)
        yield found

    def extract(self, source: Source) -> Iterator[Extracted]:
        """Yield the segments of the file, whose content is that of the source to the end."""
        yield from self._segments(source)
        status = os.stat(source.path)
        if (status.st_size, status.st_mtime_ns) != (source.size, source.mtime_ns):
            raise MediaError("It was changed while it was read; ingest it again.")

    def _segments(self, source: Source) -> Iterator[Extracted]:
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


def _check(measure: Measure, settings: Settings) -> None:
    """Refuse what reading would refuse for its length."""
    seconds = max(measure.audio_s, measure.video_s)
    for value, most, unit in ((measure.pages, settings.max_pages, "pages"), (seconds, settings.max_media_s, "s")):
        if value > most:
            raise MediaTooLarge(f"It has {value:,.0f} {unit}, more than the limit of {most:,.0f} {unit}; split it.")


_READERS = {"document": documents, "image": images, "audio": audio, "video": video}
