"""Transcribes recordings, in a process of its own, as the recordings of questions are read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rag.answering.open_question import as_file
from rag.config import Settings
from rag.errors import MediaError, QueryError
from rag.types import Segment, Word

if TYPE_CHECKING:
    from ingest.reading.worker import Worker

# The languages of Whisper; a service may know fewer.
LANGUAGES = frozenset(
    re.findall(
        r"\w+",
        """
        af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy
        id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa
        sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh yue
        """,
    )
)


@dataclass(frozen=True, slots=True)
class Transcription:
    """The speech of a recording.

    Attributes:
        passages: the passages of speech, in order; none in a recording without speech.
        duration_s: length of the recording.
    """

    passages: tuple[Segment, ...]
    duration_s: float

    @property
    def words(self) -> tuple[Word, ...]:
        """All words with their times."""
        return tuple(word for passage in self.passages for word in passage.words)

    @property
    def language(self) -> str:
        """The language of most words; empty without speech."""
        spoken = [str(passage.meta["language"]) for passage in self.passages for _ in passage.words]
        return max(dict.fromkeys(spoken), key=spoken.count, default="")

    @property
    def text(self) -> str:
        """All words as running text."""
        return self._space.join(passage.text for passage in self.passages)

    def join(self, words: Sequence[Word]) -> str:
        """Return some of the words as running text."""
        return self._space.join(word.text for word in words)

    @property
    def _space(self) -> str:
        """The space between words; empty in languages that write none."""
        return " " if any(" " in passage.text for passage in self.passages) else ""


def transcribe(recording: str | Path | bytes, settings: Settings, language: str | None = None) -> Transcription:
    """Transcribe a recording or video.

    Raises:
        QueryError: the transcriber does not know the language.
        MediaError: the recording cannot be read.
    """
    return _transcribe(recording, _create_reader(settings, language))


async def atranscribe(recording: str | Path | bytes, settings: Settings, language: str | None = None) -> Transcription:
    """Async twin of `transcribe`; cancelling it stops the reader."""
    reader = _create_reader(settings, language)
    working = asyncio.ensure_future(asyncio.to_thread(_transcribe, recording, reader))
    try:
        return await asyncio.shield(working)
    finally:
        while not working.done():  # the thread may be starting the reader just now
            reader.interrupt()
            await asyncio.wait({working}, timeout=0.1)
        await asyncio.gather(working, return_exceptions=True)


def _create_reader(settings: Settings, language: str | None) -> Worker:
    """Create a reader that hears this language, and no sounds besides words."""
    if language is not None and language not in LANGUAGES:
        raise QueryError(f"The transcriber does not know the language `{language[:20]}`; give a code such as `en`.")
    if language not in (None, "en") and settings.transcriber.endswith(".en"):
        raise QueryError(
            f"The transcriber {settings.transcriber} knows only English; for others set EXHIBIT_TRANSCRIBER=base."
        )
    from ingest.reading.worker import Worker

    return Worker(settings.model_copy(update={"audio_encoder": "off", "language": language or settings.language}))


def _transcribe(recording: str | Path | bytes, reader: Worker) -> Transcription:
    with closing(reader), as_file(recording, "recording") as path:
        try:
            segments = [extracted.segment for extracted in reader.run("extract_audio", path)]
            (source,) = reader.run("identify", path)
            (measured,) = reader.run("measure", source)
        except MediaError as error:
            raise type(error)(f"The recording cannot be used. {error}") from error
    spoken = tuple(segment for segment in segments if segment.kind == "speech")
    ends_s = [passage.words[-1].end_s for passage in spoken]
    return Transcription(spoken, round(max([measured.audio_s, measured.video_s, *ends_s]), 3))
