"""The operations of a reading process: each takes plain values and yields plain values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from ingest.audio_video import audio, video
from ingest.audio_video.transcribers import Transcriber, load_english_transcriber, load_transcriber
from ingest.document import documents
from ingest.formats.identify import Measure, identify
from ingest.picture import images
from ingest.picture.mentions import Mention, read_mentions
from ingest.picture.ocr import Ocr, OcrLine
from rag.config import Settings
from rag.errors import MediaError, UnsupportedMedia
from rag.types import Extracted, Locator, Medium, Source, TimeSpan, Word

# How a recording is heard again: by another model, which knows only English, or by the same one without a beam.
Hearing = Literal["other model", "no beam"]


class Readers:
    """Readers for every medium over one set of engines, which load when first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read_mentions(self, path: Path) -> Iterator[list[Mention]]:
        """Yield what a document says about pictures, as one list."""
        yield read_mentions(path)

    def identify(self, path: Path) -> Iterator[Source]:
        """Yield the file's identity, decided by its content."""
        yield identify(path, self._settings)

    def measure(self, source: Source) -> Iterator[Measure]:
        """Yield how much there is to read, without reading it."""
        yield _READERS[source.medium].measure(source, self._settings)

    def extract(self, source: Source) -> Iterator[Extracted]:
        """Yield the segments of a file; fail if its content changes in the meantime."""
        yield from self._segments(source)
        status = os.stat(source.path)
        if (status.st_size, status.st_mtime_ns) != (source.size, source.mtime_ns):
            raise MediaError("The file changed while it was read; ingest it again.")

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

    def extract_audio(self, path: Path) -> Iterator[Extracted]:
        """Yield the passages of speech in a recording or video, then its other sounds."""
        yield from audio.segments(self._source(path, "audio", "video"), self._settings, self._transcriber)

    def hear_again(self, path: Path, span: TimeSpan, language: str, hearing: Hearing) -> Iterator[tuple[Word, ...]]:
        """Yield the words in a span of a recording or video, transcribed in another way than the first time."""
        transcriber = self._english_transcriber if hearing == "other model" else self._beamless_transcriber
        yield audio.words_within(path, span, transcriber, language=language)

    def read_again(self, path: Path, locator: Locator, sharpened: bool) -> Iterator[list[OcrLine]]:
        """Yield the lines of text in a place, read larger than at ingest; their boxes are fractions of the whole."""
        yield images.lines_within(path, locator, self._ocr, sharpened=sharpened)

    def sound_windows(self, path: Path) -> Iterator[NDArray[np.float32]]:
        """Yield the sound of a recording or video in windows of at most 10 s, speech included, silence left out."""
        yield from audio.sound_windows(self._source(path, "audio", "video"), self._settings)

    def first_picture(self, path: Path) -> Iterator[Image]:
        """Yield the first picture in a file."""
        yield images.first_picture(self._source(path, "image"), self._settings)

    def spread_frames(self, path: Path, count: int) -> Iterator[Image]:
        """Yield frames spread evenly over a video."""
        yield from video.spread_frames(self._source(path, "video"), self._settings, count)

    def _source(self, path: Path, *media: Medium) -> Source:
        source = identify(path, self._settings)
        if source.medium not in media:
            raise UnsupportedMedia(f"Expected {' or '.join(media)}, but the file is {source.media_type}.")
        return source

    @cached_property
    def _ocr(self) -> Ocr:
        return Ocr(self._settings.threads)

    @cached_property
    def _transcriber(self) -> Transcriber:
        return load_transcriber(self._settings)

    @cached_property
    def _english_transcriber(self) -> Transcriber:
        return load_english_transcriber(self._settings)

    @cached_property
    def _beamless_transcriber(self) -> Transcriber:
        return load_transcriber(self._settings, beam_size=1)


_READERS = {"document": documents, "image": images, "audio": audio, "video": video}
