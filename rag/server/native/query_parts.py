"""Turns a question in JSON into parts of `rag.query.language`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag.query.language import Audio, Image, Not, Text
from rag.server.native.schemas import NotPart, TextPart, Wanted
from rag.server.openai import messages
from rag.server.problems import HTTPProblem


def read_parts(question: str | Sequence[Wanted | NotPart], field: str) -> list[Text | Image | Audio | Not]:
    """Return the parts of a question, with their media decoded.

    Args:
        question: the question as sent.
        field: its name in the request.

    Raises:
        HTTPProblem: 400, it is empty, or a medium is not a data URL or not base64.
    """
    try:
        sent = [TextPart(type="text", text=question)] if isinstance(question, str) else question
        parts = [_read_part(part) for part in sent]
    except HTTPProblem as problem:
        problem.param = field
        raise
    media = sum(not isinstance(part.part if isinstance(part, Not) else part, Text) for part in parts)
    if media > messages.MOST_MEDIA:
        raise HTTPProblem(
            400, f"A question may have at most {messages.MOST_MEDIA} pictures and recordings.", param=field
        )
    return parts


def _read_part(part: Wanted | NotPart) -> Text | Image | Audio | Not:
    if isinstance(part, NotPart):
        return Not(_read_wanted(part.part))
    return _read_wanted(part)


def _read_wanted(part: Wanted) -> Text | Image | Audio:
    """Return one part. Pictures and recordings are read like those of chats."""
    if part.type == "text":
        if not part.text.strip():
            raise HTTPProblem(400, "The question is empty; ask in words, with a picture or with a recording.")
        return Text(part.text, part.weight)
    content = part.model_dump(include={"type", part.type})
    (read,) = messages.read([{"role": "user", "content": [content]}]).question
    return replace(read, weight=part.weight)
