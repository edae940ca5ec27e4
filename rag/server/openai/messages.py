"""Messages of a chat, in the forms of OpenAI's APIs, to a question with its media and what was said before it.

Media come inside the request, as data URLs or base64; nothing is fetched from elsewhere, for a server that opens any
address it is told can be sent to look into the network that it stands in.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag.query.language import Audio, Image, Text
from rag.server.problems import Problem

Turn = tuple[str, str]
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,(?P<data>.*)", re.S | re.I)
_MOST_MEDIA = 8
# What our own answers end with is no part of what was said: pictures and the definitions of links.
_APPENDIX = re.compile(r"^(?:!\[.*\]\(.*\)|\[\d{1,3}\]: .*)$", re.M)


@dataclass(frozen=True, slots=True)
class Chat:
    """What a client sent.

    Attributes:
        question: the last message's words, pictures and recordings.
        turns: question and answer of what was said before, oldest first.
        ignored: what was sent and has no effect here.
    """

    question: tuple[Text | Image | Audio, ...]
    turns: tuple[Turn, ...]
    ignored: tuple[str, ...]


def read(messages: Sequence[Mapping[str, Any]], *, field: str = "messages") -> Chat:
    """The chat in the messages.

    Args:
        messages: as chat completions or responses have them.
        field: what they are called in the request.

    Raises:
        Problem: 400, they hold nothing to answer or something that cannot be part of a question.
    """
    try:
        return _read(messages)
    except Problem as problem:
        problem.param = field
        raise


def words(message: Mapping[str, Any]) -> str:
    """What a message says, without the pictures and links that our own answers end with.

    Raises:
        Problem: 400, it is malformed.
    """
    said = " ".join(
        part["text"].strip() for part in _listed(message.get("content")) if isinstance(part.get("text"), str)
    )
    return (_APPENDIX.sub("", said) if message.get("role") == "assistant" else said).strip()


def _read(messages: Sequence[Mapping[str, Any]]) -> Chat:
    said = [message for message in messages if message.get("role") in ("user", "assistant")]
    if not said or said[-1].get("role") != "user":
        raise Problem(400, "The last message must be the user's question.")
    question = tuple(_parts(said[-1].get("content")))
    if not question:
        raise Problem(400, "The last message is empty; ask in words, with a picture or with a recording.")
    if sum(not isinstance(part, Text) for part in question) > _MOST_MEDIA:
        raise Problem(400, f"At most {_MOST_MEDIA} pictures and recordings can be asked with.")
    others = sorted({str(message.get("role")) for message in messages} - {"user", "assistant"})
    return Chat(question, tuple(_turns(said[:-1])), tuple(f"{role} messages" for role in others))


def _turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    """What was asked in words, each with what was answered."""
    asked = ""
    for message in messages:
        if message["role"] == "user":
            asked = words(message)
        elif asked:
            yield asked, words(message)
            asked = ""


def _parts(content: Any) -> Iterator[Text | Image | Audio]:
    for part in _listed(content):
        match part:
            case {"type": "text" | "input_text", "text": str(words)}:
                if words.strip():
                    yield Text(words)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield Image(_from_url(url))
            case {"type": "input_image" | "image_url", "image_url": str(url)}:
                yield Image(_from_url(url))
            case {"type": "input_audio", "input_audio": {"data": str(data)}}:
                yield Audio(_decoded(data))
            case _:
                kind = str(part.get("type"))[:40]
                raise Problem(
                    400,
                    f"A part of the question is a `{kind}`, or is malformed; it is made of text, of pictures as data "
                    "URLs and of `input_audio`.",
                )


def _listed(content: Any) -> list[Mapping[str, Any]]:
    """The content of a message as a list of parts."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        return content
    raise Problem(400, "The content of a message is a text or a list of parts.")


def _from_url(url: str) -> bytes:
    found = _DATA_URL.fullmatch(url)
    if found is None:
        raise Problem(
            400,
            "A picture comes inside the request, as a data URL such as `data:image/jpeg;base64,…`; "
            "this server opens no addresses of others.",
            code="image_url_not_allowed",
        )
    return _decoded(found["data"])


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(400, f"A picture or recording is not base64: {error}.") from error
