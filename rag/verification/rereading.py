"""Reads cited places again from the file itself, independently of how they were read when the file was indexed.

Files are untrusted, so they are read in a child process, as they are at ingest. One child is kept, because loading
Whisper takes seconds; it ends after two minutes without a reading, because it holds up to 1.6 GB. The pure functions
that compare readings with a statement are in `rag.verification.narrowing`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.config import Settings
from rag.errors import MediaError, MediaTooLarge
from rag.media.files import check_same
from rag.media.opening import read_errors
from rag.segments import to_fragment
from rag.types import Locator, Segment, TimeSpan, Word
from rag.verification.narrowing import Agreement, agreement

if TYPE_CHECKING:
    from ingest.picture.ocr import OcrLine
    from ingest.reading.readers import Hearing
    from ingest.reading.worker import Worker

LONGEST_S = 60.0  # of sound in one check
_TIMEOUT_S = 60.0  # of silence, after which the child is stopped
_IDLE_S = 120.0  # without a reading, after which the child ends
_KEPT = 256  # readings


class Rereader:
    """A reader of cited places that keeps its models and its last readings; threads may share it.

    Args:
        settings: name the transcriber and limit what is read.
        idle_s: seconds without a reading, after which the child process ends.
    """

    def __init__(self, settings: Settings, *, idle_s: float = _IDLE_S) -> None:
        timeout_s = min(settings.file_timeout_s, _TIMEOUT_S)
        # Sounds besides words are not listened to.
        self._settings = settings.model_copy(update={"file_timeout_s": timeout_s, "audio_encoder": "off"})
        self._idle_s = idle_s
        self._worker: Worker | None = None
        self._idle: threading.Timer | None = None
        self._reading = threading.Lock()
        self._readings: dict[tuple[Any, ...], Any] = {}
        self._checked: dict[Path, tuple[str, _Stamp]] = {}

    def confirm(self, statement: str, path: Path, speech: Segment, span: TimeSpan) -> Agreement:
        """Hear a span again, and compare it with the first hearing by the words that matter to a statement.

        English is heard by another model, and where that disagrees also by the first one without a beam: a word counts
        as misheard if neither heard it again.

        Args:
            statement: what is checked.
            path: of the recording or video.
            speech: the segment with the words of the first hearing.
            span: the cited seconds, or the part that `narrow` finds.

        Raises:
            ExhibitError: as `hear`.
        """
        language = str(speech.meta.get("language", ""))
        first = [word for word in speech.words if word.end_s > span.start_s and word.start_s < span.end_s]
        again: list[Word] = []
        hearings: list[Hearing] = ["other model", "no beam"] if language == "en" else ["no beam"]
        for hearing in hearings:
            again += self.hear(path, speech.asset_id, span, language=language, hearing=hearing)
            found = agreement(statement, first, again)
            if not found.misheard:
                break
        return found

    def hear(
        self, path: Path, asset_id: str, span: TimeSpan, *, language: str = "", hearing: Hearing = "no beam"
    ) -> tuple[Word, ...]:
        """Return the words that are spoken in a span, transcribed again without the rest of the recording.

        Args:
            path: of the recording or video.
            asset_id: id of the content that was indexed.
            span: at most `LONGEST_S`.
            language: that was found there before, as a code such as ``en``; empty if unknown.
            hearing: by another model, which hears everything as English, or by the same one without a beam.

        Returns:
            The words in order, with times in seconds of the whole recording.

        Raises:
            MediaTooLarge: the span is longer.
            MediaError: the file has gone, has changed since it was indexed, or cannot be read.
            ModelError: the transcriber's model is missing or damaged.
            LLMError: a transcription service failed.
        """
        if span.end_s - span.start_s > LONGEST_S:
            raise MediaTooLarge(
                f"These {span.end_s - span.start_s:.0f} s of {path.name} are more than are heard again at once "
                f"(limit {LONGEST_S:.0f} s); cite a shorter place."
            )
        words: tuple[Word, ...] = self._read("hear_again", path, asset_id, span, language, hearing)
        return words

    def readings(self, path: Path, asset_id: str, locator: Locator) -> Iterator[tuple[OcrLine, ...]]:
        """Yield the text in a place, read in two ways; the second is made only if it is asked for.

        A value counts as printed there if either has it. Of 292 numbers in blurred print and in small print on photos,
        the first lacks 1.7 %, the second 7 %, and both together none; neither has a number of which a digit was
        altered. The reading at ingest lacks 13 %.

        Raises:
            MediaError: as `read_lines`.
        """
        for sharpened in (True, False):
            yield self.read_lines(path, asset_id, locator, sharpened=sharpened)

    def read(self, path: Path, asset_id: str, locator: Locator) -> str:
        """Return the text in a place as lines; see `read_lines`."""
        return "\n".join(line.text for line in self.read_lines(path, asset_id, locator))

    def read_lines(self, path: Path, asset_id: str, locator: Locator, *, sharpened: bool = True) -> tuple[OcrLine, ...]:
        """Return the lines of text in a page, picture or frame or a part of it, read as large as the file allows.

        Args:
            path: of the file.
            asset_id: id of the content that was indexed.
            locator: the place.
            sharpened: whether to sharpen blurred letters first.

        Returns:
            The lines in reading order, with boxes in fractions of the whole page, picture or frame.

        Raises:
            UnsupportedMedia: the place has no picture, such as characters of a text or a slide.
            MediaError: the file has gone, has changed since it was indexed, or cannot be read.
        """
        return tuple(self._read("read_again", path, asset_id, locator, sharpened))

    def close(self) -> None:
        """Stop the child process and discard its models; a later reading starts a new one."""
        with self._reading:
            if self._idle is not None:
                self._idle.cancel()
            if self._worker is not None:
                self._worker.close()
            self._worker = self._idle = None

    def _read(self, operation: str, path: Path, asset_id: str, locator: Locator, *arguments: Any) -> Any:
        """Return the reading of a place, a kept one if there is one; the file is checked in either case."""
        key = (operation, asset_id, to_fragment(locator), *arguments)
        with self._reading:
            stamp = self._check(path, asset_id)
            if key not in self._readings:
                try:
                    (reading,) = self._child().run(operation, path, locator, *arguments)
                finally:
                    self._rest_later()
                if _stamp(path) != stamp:
                    raise MediaError(f"{path.name} changed while it was read again; ingest it again.")
                _keep(self._readings, key, reading)
            return self._readings[key]

    def _check(self, path: Path, asset_id: str) -> _Stamp:
        """Check that the file has the content that was indexed; that is read only if its stamp is new."""
        stamp = _stamp(path)
        if self._checked.get(path) != (asset_id, stamp):
            check_same(path, asset_id)
            _keep(self._checked, path, (asset_id, stamp))
        return stamp

    def _child(self) -> Worker:
        if self._worker is None:
            from ingest.reading.worker import Worker

            self._worker = Worker(self._settings)
        return self._worker

    def _rest_later(self) -> None:
        """End the child after a while, counted from now."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = threading.Timer(self._idle_s, self.close)
        self._idle.daemon = True
        self._idle.start()


_Stamp = tuple[int, int, int]


def _stamp(path: Path) -> _Stamp:
    """Return what changes with a file's content: size, and times of the last change to content and to entry."""
    with read_errors(path):
        status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    """Store a value, and discard the oldest one if there are too many."""
    kept[key] = value
    if len(kept) > _KEPT:
        del kept[next(iter(kept))]
