"""``/v1/audio/transcriptions``: the speech of a recording or video, by the transcriber of a knowledge base."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse

from rag.answering.transcribe import Transcription
from rag.knowledge_base import KnowledgeBase
from rag.server.access import CurrentCaller
from rag.server.problems import HTTPProblem
from rag.server.state import server_state
from rag.server.streams import until_gone
from rag.types import Word

router = APIRouter(prefix="/v1/audio", tags=["OpenAI"])

# A subtitle is read at 12 to 17 characters a second: two lines of 42, at most 7 s (Netflix's style guide).
_MOST_CHARS, _MOST_S, _PAUSE_S = 84, 7.0, 0.8
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")
_KNOWN = {"file", "model", "language", "response_format", "timestamp_granularities[]", "stream"}

Granularity = Literal["word", "segment"]


@router.post("/transcriptions", summary="Transcribe a recording", response_model=None)
async def transcribe(  # noqa: PLR0913 - a field of the form is an argument
    request: Request,
    caller: CurrentCaller,
    file: Annotated[UploadFile, File(description="A recording or video in any format that FFmpeg reads.")],
    model: Annotated[str, Form(description="Name of a knowledge base.", examples=["museum"])],
    language: Annotated[str | None, Form(description="ISO 639-1 code; detected if left out.")] = None,
    response_format: Annotated[Literal["json", "text", "srt", "vtt", "verbose_json"], Form()] = "json",
    granularities: Annotated[list[Granularity] | None, Form(alias="timestamp_granularities[]")] = None,
    stream: Annotated[bool, Form()] = False,
) -> Response:
    """The words of a recording as text, as subtitles, or with their times."""
    base = caller.open_base(model).base
    if stream:
        raise HTTPProblem(400, "Transcriptions cannot be streamed; leave `stream` out.", param="stream")
    if granularities and response_format != "verbose_json":
        field = "timestamp_granularities"
        raise HTTPProblem(400, f"`{field}` needs `response_format=verbose_json`.", param=field)
    gate = server_state(request.app).gates.transcribe
    transcription = await until_gone(request, _transcribe(base, file, language), gate)
    match response_format:
        case "text":
            return PlainTextResponse(transcription.text + "\n")
        case "srt":
            return PlainTextResponse("".join(_format_srt(transcription)), media_type="application/x-subrip")
        case "vtt":
            return PlainTextResponse("".join(_format_vtt(transcription)), media_type="text/vtt")
    body: dict[str, Any] = {"text": transcription.text}
    if response_format == "verbose_json":
        body |= _verbose_json(transcription, granularities or ["segment"])
    ignored = sorted(set(await request.form()) - _KNOWN)
    usage = {"type": "duration", "seconds": transcription.duration_s}
    return JSONResponse(body | {"usage": usage, "exhibit": {"ignored": ignored}})


async def _transcribe(base: KnowledgeBase, file: UploadFile, language: str | None) -> Transcription:
    return await base.atranscribe(await file.read(), language=language)


def group_cues(words: Sequence[Word]) -> Iterator[tuple[Word, ...]]:
    """Group words into subtitles, which end with a sentence, at a pause, or before they get too long to read."""
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


def _timed_cues(transcription: Transcription) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and text of each subtitle."""
    for cue in group_cues(transcription.words):
        yield cue[0].start_s, cue[-1].end_s, transcription.join(cue)


def _format_srt(transcription: Transcription) -> Iterator[str]:
    for number, (start_s, end_s, text) in enumerate(_timed_cues(transcription), start=1):
        yield f"{number}\n{_clock(start_s, ',')} --> {_clock(end_s, ',')}\n{text}\n\n"


def _format_vtt(transcription: Transcription) -> Iterator[str]:
    yield "WEBVTT\n\n"
    for start_s, end_s, text in _timed_cues(transcription):
        yield f"{_clock(start_s, '.')} --> {_clock(end_s, '.')}\n{html.escape(text, quote=False)}\n\n"


def _verbose_json(transcription: Transcription, granularities: Sequence[Granularity]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": transcription.language,
        "duration": transcription.duration_s,
    }
    if "segment" in granularities:
        numbered = enumerate(_timed_cues(transcription))
        body["segments"] = [{"id": n, "start": start, "end": end, "text": text} for n, (start, end, text) in numbered]
    if "word" in granularities:
        body["words"] = [{"word": word.text, "start": word.start_s, "end": word.end_s} for word in transcription.words]
    return body


def _clock(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"
