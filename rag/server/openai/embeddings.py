"""``/v1/embeddings``: the encoders of a knowledge base as models, for those who search, sort or compare on their own.

``museum/text`` is the encoder of passages, ``museum/joint`` that of pictures and of the words that find them. They are
not in the list of models, for chat clients offer all of that to talk to; each knowledge base in it names its own.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast, get_args

import numpy as np
from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from rag.encoders.base import Vectors
from rag.knowledge_base import KnowledgeBase, Space
from rag.server.access import Caller, CurrentCaller
from rag.server.problems import Problem
from rag.server.state import server_state
from rag.server.streams import until_gone

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_MOST_TEXTS, _MOST_CHARS = 2048, 32_768
_AT_ONCE = 64  # texts; when the client goes away, no more than these are still worked on
_EXAMPLE = {"model": "museum/text", "input": ["a chimpanzee with a spear", "an orangutan"]}


class EmbeddingRequest(BaseModel):
    """Texts, as OpenAI's clients send them; fields that are not here have no effect."""

    model: str = Field(description="A knowledge base and its encoder.", examples=["museum/text"])
    input: str | list[Any] = Field(description="A text or a list of texts.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, description="Only the encoder's own.")
    input_type: Literal["document", "query"] = Field(
        default="document", description="Exhibit's own: some encoders tell what is asked from what is found."
    )


def names(base: str) -> list[str]:
    """The models of a knowledge base that embed."""
    return [f"{base}/{space}" for space in get_args(Space)]


@router.post("/embeddings", summary="Vectors of texts, by the encoders of a knowledge base")
async def embed(
    request: Request, caller: CurrentCaller, sent: Annotated[EmbeddingRequest, Body(examples=[_EXAMPLE])]
) -> Response:
    """Vectors of unit length, one for each text in its order; what is beyond an encoder's sight has no effect.

    Tokens are not counted, so `usage` is null.
    """
    base, space = _encoder(caller, sent.model)
    texts = _texts(sent.input)
    gate = server_state(request.app).gates.embed
    vectors = await until_gone(request, _embedded(base, space, texts, sent), gate)
    return await asyncio.to_thread(_answer, vectors, sent)  # a million numbers take their time


def _encoder(caller: Caller, model: str) -> tuple[KnowledgeBase, Space]:
    """The knowledge base and the encoder that a model names.

    Raises:
        Problem: 404, there is none of this name for this caller.
    """
    base, _, space = model.rpartition("/")
    if base not in caller.names or space not in get_args(Space):
        known = ", ".join(f"`{name}`" for base in caller.names for name in names(base)) or "none"
        hint = f"There is no model `{model[:80]}` here that embeds; there is {known}."
        raise Problem(404, hint, code="model_not_found", param="model")
    return caller.viewer(base).base, cast(Space, space)


def _texts(sent: str | Sequence[Any]) -> list[str]:
    """What is to be embedded.

    Raises:
        Problem: 400, it is no text, blank, too long or too much.
    """
    texts = [sent] if isinstance(sent, str) else list(sent)
    wrong = ""
    if not 1 <= len(texts) <= _MOST_TEXTS:
        wrong = f"There are {len(texts)} texts; send 1 to {_MOST_TEXTS} at once."
    elif not all(isinstance(text, str) for text in texts):
        wrong = "Send texts, not tokens: those of other models mean nothing to this encoder."
    elif not all(text.strip() for text in texts):
        wrong = "A text is blank and has no vector; leave it out."
    elif max(map(len, texts)) > _MOST_CHARS:
        wrong = f"A text has more than {_MOST_CHARS} characters; cut it into passages."
    if wrong:
        raise Problem(400, wrong, param="input")
    return texts


async def _embedded(base: KnowledgeBase, space: Space, texts: Sequence[str], sent: EmbeddingRequest) -> Vectors:
    found: list[Vectors] = []
    for start in range(0, len(texts), _AT_ONCE):
        found.append(
            await base.aembed(texts[start : start + _AT_ONCE], space=space, is_query=sent.input_type == "query")
        )
        own = found[0].shape[1]
        if sent.dimensions not in (None, own):
            hint = f"`{sent.model}` gives {own} dimensions, not {sent.dimensions}; leave `dimensions` out."
            raise Problem(400, hint, param="dimensions")
    return np.concatenate(found)


def _answer(vectors: Vectors, sent: EmbeddingRequest) -> Response:
    formed = [_formed(vector, sent.encoding_format) for vector in vectors]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(formed)]
    return JSONResponse({"object": "list", "model": sent.model, "data": data, "usage": None})


def _formed(vector: Vectors, form: str) -> str | list[float]:
    """A vector as numbers, or as the base64 of its float32, least byte first."""
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return cast(list[float], vector.tolist())
