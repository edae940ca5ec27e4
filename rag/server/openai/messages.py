"""Reads a question, its media and the turns before it from chat messages in the forms of OpenAI's APIs.

Media come inside the request, as data URLs or base64. Nothing is fetched: a server that opens any given address could
be used to look into its own network.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag.presentation.verdicts import SIGNS
from rag.query.language import Audio, Image, Text
from rag.query.options import Turn
from rag.server.problems import HTTPProblem

_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,(?P<data>.*)", re.S | re.I)
MOST_MEDIA = 8
# Our own answers end with pictures and link definitions, which are not part of the text.
_SIGN = f"[{''.join(SIGNS.values())}]"
_APPENDIX = re.compile(
    rf"^(?:!\[.*\]\(.*\)|\[\d{{1,3}}\]: .*|{_SIGN} \[\d{{1,3}}\] .*)$| \[{_SIGN}\]\(\S+ \"[^\"]*\"\)", re.M
)


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat that a client sent.

    Attributes:
        question: words, pictures and recordings of the last message.
        turns: earlier questions and answers, oldest first.
        ignored: names of what was sent and has no effect.
    """

    question: tuple[Text | Image | Audio, ...]
    turns: tuple[Turn, ...]
    ignored: tuple[str, ...]


def read(messages: Sequence[Mapping[str, Any]], *, field: str = "messages") -> Chat:
    """Return the chat in the messages.

    Args:
        messages: messages in the form of chat completions or responses.
        field: their name in the request.

    Raises:
        HTTPProblem: 400, they contain no question, or something that cannot be part of one.
    """
    try:
        return _read(messages)
    except HTTPProblem as problem:
        problem.param = field
        raise


def words(message: Mapping[str, Any]) -> str:
    """Return the text of a message, without the pictures and links at the end of our own answers.

    Raises:
        HTTPProblem: 400, it is malformed.
    """
    text = " ".join(
        part["text"].strip() for part in _as_parts(message.get("content")) if isinstance(part.get("text"), str)
    )
    return (_APPENDIX.sub("", text) if message.get("role") == "assistant" else text).strip()


def _read(messages: Sequence[Mapping[str, Any]]) -> Chat:
    turns = [message for message in messages if message.get("role") in ("user", "assistant")]
    if not turns or turns[-1].get("role") != "user":
        raise HTTPProblem(400, "The last message must be the user's question.")
    question = tuple(_read_parts(turns[-1].get("content")))
    if not question:
        raise HTTPProblem(400, "The last message is empty; ask in words, with a picture or with a recording.")
    if sum(not isinstance(part, Text) for part in question) > MOST_MEDIA:
        raise HTTPProblem(400, f"A question may have at most {MOST_MEDIA} pictures and recordings.")
    others = sorted({str(message.get("role")) for message in messages} - {"user", "assistant"})
    return Chat(question, tuple(_read_turns(turns[:-1])), tuple(f"{role} messages" for role in others))


def _read_turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    """Yield questions in words, each with its answer."""
    question = ""
    for message in messages:
        if message["role"] == "user":
            question = words(message)
        elif question:
            yield question, words(message)
            question = ""


def _read_parts(content: Any) -> Iterator[Text | Image | Audio]:
    for part in _as_parts(content):
        match part:
            case {"type": "text" | "input_text", "text": str(words)}:
                if words.strip():
                    yield Text(words)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield Image(_decode_url(url))
            case {"type": "input_image" | "image_url", "image_url": str(url)}:
                yield Image(_decode_url(url))
            case {"type": "input_audio", "input_audio": {"data": str(data)}}:
                yield Audio(_decode_base64(data))
            case _:
                kind = str(part.get("type"))[:40]
                raise HTTPProblem(
                    400,
                    f"A part of the question is a `{kind}`, or is malformed. Use text, pictures as data URLs, and "
                    "`input_audio`.",
                )


def _as_parts(content: Any) -> list[Mapping[str, Any]]:
    """Return the content of a message as a list of parts."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        return content
    raise HTTPProblem(400, "The content of a message must be a text or a list of parts.")


def _decode_url(url: str) -> bytes:
    media = _DATA_URL.fullmatch(url)
    if media is None:
        raise HTTPProblem(
            400,
            "Send pictures inside the request, as data URLs such as `data:image/jpeg;base64,…`; this server does not "
            "open other addresses.",
            code="image_url_not_allowed",
        )
    return _decode_base64(media["data"])


def _decode_base64(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPProblem(400, f"A picture or recording is not base64: {error}.") from error
