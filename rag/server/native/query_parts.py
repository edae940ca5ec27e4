"""A question as JSON to one in the language of `rag.query.language`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag.query.language import Audio, Image, Not, Text
from rag.server.native.schemas import NotPart, TextPart, Wanted
from rag.server.openai import messages
from rag.server.problems import Problem

_MOST_MEDIA = 8


def asked(question: str | Sequence[Wanted | NotPart], field: str) -> list[Text | Image | Audio | Not]:
    """The question with its media decoded.

    Args:
        question: as it was sent.
        field: what it is called in the request.

    Raises:
        Problem: 400, it is empty, or one of its media is no data URL or no base64.
    """
    try:
        sent = [TextPart(type="text", text=question)] if isinstance(question, str) else question
        parts = [_part(part) for part in sent]
    except Problem as problem:
        problem.param = field
        raise
    media = sum(not isinstance(part.part if isinstance(part, Not) else part, Text) for part in parts)
    if media > _MOST_MEDIA:
        raise Problem(400, f"At most {_MOST_MEDIA} pictures and recordings can be asked with.", param=field)
    return parts


def _part(part: Wanted | NotPart) -> Text | Image | Audio | Not:
    if isinstance(part, NotPart):
        return Not(_wanted(part.part))
    return _wanted(part)


def _wanted(part: Wanted) -> Text | Image | Audio:
    """The part; pictures and recordings are read as those of chats are."""
    if part.type == "text":
        if not part.text.strip():
            raise Problem(400, "There are no words in it; ask in words, with a picture or with a recording.")
        return Text(part.text, part.weight)
    content = part.model_dump(include={"type", part.type})
    (read,) = messages.read([{"role": "user", "content": [content]}]).question
    return replace(read, weight=part.weight)
