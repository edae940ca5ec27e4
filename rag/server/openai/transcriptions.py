"""``/v1/audio/transcriptions``: what is said in a recording or film, by the transcriber of a knowledge base."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse

from rag.answering.transcribe import Transcription
from rag.knowledge_base import KnowledgeBase
from rag.server.access import CurrentCaller
from rag.server.problems import Problem
from rag.server.state import server_state
from rag.server.streams import until_gone
from rag.types import Word

router = APIRouter(prefix="/v1/audio", tags=["OpenAI"])

# A subtitle is read at 12 to 17 characters a second: two lines of 42, at most 7 s (Netflix's style guide).
_MOST_CHARS, _MOST_S, _PAUSE_S = 84, 7.0, 0.8
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")
_KNOWN = {"file", "model", "language", "response_format", "timestamp_granularities[]", "stream"}

Granularity = Literal["word", "segment"]


@router.post("/transcriptions", summary="What is said in a recording", response_model=None)
async def transcribe(  # noqa: PLR0913 - a field of the form is an argument
    request: Request,
    caller: CurrentCaller,
    file: Annotated[UploadFile, File(description="A recording or film in any format that FFmpeg reads.")],
    model: Annotated[str, Form(description="Name of a knowledge base.", examples=["museum"])],
    language: Annotated[str | None, Form(description="ISO 639-1 code; detected where it is left out.")] = None,
    response_format: Annotated[Literal["json", "text", "srt", "vtt", "verbose_json"], Form()] = "json",
    granularities: Annotated[list[Granularity] | None, Form(alias="timestamp_granularities[]")] = None,
    stream: Annotated[bool, Form()] = False,
) -> Response:
    """The words of a recording, as a text, as subtitles, or with their times."""
    base = caller.viewer(model).base
    if stream:
        raise Problem(400, "A transcription is not streamed; leave `stream` out.", param="stream")
    if granularities and response_format != "verbose_json":
        field = "timestamp_granularities"
        raise Problem(400, f"`{field}` needs `response_format=verbose_json`.", param=field)
    gate = server_state(request.app).gates.transcribe
    found = await until_gone(request, _heard(base, file, language), gate)
    match response_format:
        case "text":
            return PlainTextResponse(found.text + "\n")
        case "srt":
            return PlainTextResponse("".join(_srt(found)), media_type="application/x-subrip")
        case "vtt":
            return PlainTextResponse("".join(_vtt(found)), media_type="text/vtt")
    told: dict[str, Any] = {"text": found.text}
    if response_format == "verbose_json":
        told |= _verbose(found, granularities or ["segment"])
    ignored = sorted(set(await request.form()) - _KNOWN)
    usage = {"type": "duration", "seconds": found.duration_s}
    return JSONResponse(told | {"usage": usage, "exhibit": {"ignored": ignored}})


async def _heard(base: KnowledgeBase, file: UploadFile, language: str | None) -> Transcription:
    return await base.atranscribe(await file.read(), language=language)


def cues(words: Sequence[Word]) -> Iterator[tuple[Word, ...]]:
    """Words as subtitles: cut where a sentence ends, at a pause, or where it gets too long to be read."""
    cue: list[Word] = []
    for word in words:
        if cue and (
            cue[-1].text.endswith(_SENTENCE_ENDS)
            or word.start_s - cue[-1].end_s > _PAUSE_S
            or word.end_s - cue[0].start_s > _MOST_S
            or sum(len(each.text) + 1 for each in (*cue, word)) - 1 > _MOST_CHARS
        ):
            yield tuple(cue)
            cue = []
        cue.append(word)
    if cue:
        yield tuple(cue)


def _cued(found: Transcription) -> Iterator[tuple[float, float, str]]:
    """Start, end and text of each subtitle."""
    for cue in cues(found.words):
        yield cue[0].start_s, cue[-1].end_s, found.join(cue)


def _srt(found: Transcription) -> Iterator[str]:
    for number, (start_s, end_s, text) in enumerate(_cued(found), start=1):
        yield f"{number}\n{_clock(start_s, ',')} --> {_clock(end_s, ',')}\n{text}\n\n"


def _vtt(found: Transcription) -> Iterator[str]:
    yield "WEBVTT\n\n"
    for start_s, end_s, text in _cued(found):
        yield f"{_clock(start_s, '.')} --> {_clock(end_s, '.')}\n{html.escape(text, quote=False)}\n\n"


def _verbose(found: Transcription, granularities: Sequence[Granularity]) -> dict[str, Any]:
    told: dict[str, Any] = {"task": "transcribe", "language": found.language, "duration": found.duration_s}
    if "segment" in granularities:
        cued = enumerate(_cued(found))
        told["segments"] = [{"id": n, "start": start, "end": end, "text": text} for n, (start, end, text) in cued]
    if "word" in granularities:
        told["words"] = [{"word": word.text, "start": word.start_s, "end": word.end_s} for word in found.words]
    return told


def _clock(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"
