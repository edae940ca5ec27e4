"""What is said in a recording, read in a process of its own as the recordings of questions are."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rag.answering.open_question import at
from rag.config import Settings
from rag.errors import MediaError, QueryError
from rag.types import Segment, Word

if TYPE_CHECKING:
    from ingest.reading.worker import Worker

# What Whisper knows; a service may know fewer.
_LANGUAGES = frozenset(
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
    """What is said in a recording.

    Attributes:
        passages: of speech, in their order; none where nobody speaks.
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
        """The language in which most is said; empty where nothing is."""
        spoken = [str(passage.meta["language"]) for passage in self.passages for _ in passage.words]
        return max(dict.fromkeys(spoken), key=spoken.count, default="")

    @property
    def text(self) -> str:
        """All that is said."""
        return self._space.join(passage.text for passage in self.passages)

    def spelled(self, words: Sequence[Word]) -> str:
        """Some of the words as running text."""
        return self._space.join(word.text for word in words)

    @property
    def _space(self) -> str:
        """What stands between words; in some languages nothing does."""
        return " " if any(" " in passage.text for passage in self.passages) else ""


def transcribed(recording: str | Path | bytes, settings: Settings, language: str | None = None) -> Transcription:
    """What is said in a recording or film.

    Raises:
        QueryError: the transcriber does not know the language.
        MediaError: the recording cannot be read.
    """
    return _transcribed(recording, _listener(settings, language))


async def atranscribed(recording: str | Path | bytes, settings: Settings, language: str | None = None) -> Transcription:
    """Async twin of `transcribed`; cancelling it stops the reader."""
    reader = _listener(settings, language)
    working = asyncio.ensure_future(asyncio.to_thread(_transcribed, recording, reader))
    try:
        return await asyncio.shield(working)
    finally:
        while not working.done():  # the thread may be starting the reader just now
            reader.interrupt()
            await asyncio.wait({working}, timeout=0.1)
        await asyncio.gather(working, return_exceptions=True)


def _listener(settings: Settings, language: str | None) -> Worker:
    """A reader that hears this language, and nothing besides words."""
    if language is not None and language not in _LANGUAGES:
        raise QueryError(f"`{language[:20]}` is no language that the transcriber knows; give a code such as `en`.")
    if language not in (None, "en") and settings.transcriber.endswith(".en"):
        raise QueryError(f"The transcriber {settings.transcriber} knows English alone; EXHIBIT_TRANSCRIBER=base more.")
    from ingest.reading.worker import Worker

    return Worker(settings.model_copy(update={"audio_encoder": "off", "language": language or settings.language}))


def _transcribed(recording: str | Path | bytes, reader: Worker) -> Transcription:
    with closing(reader), at(recording, "recording") as path:
        try:
            heard = [extracted.segment for extracted in reader.run("extract_audio", path)]
            (source,) = reader.run("identify", path)
            (measured,) = reader.run("measure", source)
        except MediaError as error:
            raise type(error)(f"The recording cannot be used. {error}") from error
    spoken = tuple(segment for segment in heard if segment.kind == "speech")
    ends_s = [passage.words[-1].end_s for passage in spoken]
    return Transcription(spoken, round(max([measured.audio_s, measured.video_s, *ends_s]), 3))
