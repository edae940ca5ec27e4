"""``/v1/embeddings``: the encoders of a knowledge base as models, for programs that search, sort or compare themselves.

``museum/text`` encodes passages, ``museum/joint`` pictures and the words that find them. They are not in the list of
models, because chat clients offer everything in it as a chat model; each knowledge base in the list names its own.
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
from rag.server.problems import HTTPProblem
from rag.server.state import server_state
from rag.server.streams import until_gone

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_MOST_TEXTS, _MOST_CHARS = 2048, 32_768
_AT_ONCE = 64  # texts; if the client leaves, at most these are still encoded
_EXAMPLE = {"model": "museum/text", "input": ["a chimpanzee with a spear", "an orangutan"]}


class EmbeddingRequest(BaseModel):
    """Texts, as OpenAI's clients send them. Other fields have no effect."""

    model: str = Field(description="A knowledge base and its encoder.", examples=["museum/text"])
    input: str | list[Any] = Field(description="A text, or a list of texts.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, description="Must be the encoder's own number.")
    input_type: Literal["document", "query"] = Field(
        default="document", description="Exhibit's own field: some encoders embed queries and documents differently."
    )


def model_names(base: str) -> list[str]:
    """Return the names of a knowledge base's embedding models."""
    return [f"{base}/{space}" for space in get_args(Space)]


@router.post("/embeddings", summary="Embed texts with the encoders of a knowledge base")
async def embed(
    request: Request, caller: CurrentCaller, sent: Annotated[EmbeddingRequest, Body(examples=[_EXAMPLE])]
) -> Response:
    """Vectors of unit length, one for each text, in order. Text beyond an encoder's limit has no effect.

    Tokens are not counted, so `usage` is null.
    """
    base, space = _find_encoder(caller, sent.model)
    texts = _read_texts(sent.input)
    gate = server_state(request.app).gates.embed
    vectors = await until_gone(request, _embed_texts(base, space, texts, sent), gate)
    return await asyncio.to_thread(_format_answer, vectors, sent)  # formatting a million numbers takes time


def _find_encoder(caller: Caller, model: str) -> tuple[KnowledgeBase, Space]:
    """Return the knowledge base and the encoder of a model name.

    Raises:
        HTTPProblem: 404, the caller has no model with this name.
    """
    base, _, space = model.rpartition("/")
    if base not in caller.names or space not in get_args(Space):
        known = ", ".join(f"`{name}`" for base in caller.names for name in model_names(base)) or "none"
        hint = f"There is no embedding model `{model[:80]}` here. Available: {known}."
        raise HTTPProblem(404, hint, code="model_not_found", param="model")
    return caller.open_base(base).base, cast(Space, space)


def _read_texts(sent: str | Sequence[Any]) -> list[str]:
    """Return the texts to embed.

    Raises:
        HTTPProblem: 400, a text is not a string, blank or too long, or there are too many.
    """
    texts = [sent] if isinstance(sent, str) else list(sent)
    wrong = ""
    if not 1 <= len(texts) <= _MOST_TEXTS:
        wrong = f"The request has {len(texts)} texts; send 1 to {_MOST_TEXTS} at once."
    elif not all(isinstance(text, str) for text in texts):
        wrong = "Send texts, not tokens: this encoder does not know the tokens of other models."
    elif not all(text.strip() for text in texts):
        wrong = "A text is blank; leave it out."
    elif max(map(len, texts)) > _MOST_CHARS:
        wrong = f"A text has more than {_MOST_CHARS} characters; split it into passages."
    if wrong:
        raise HTTPProblem(400, wrong, param="input")
    return texts


async def _embed_texts(base: KnowledgeBase, space: Space, texts: Sequence[str], sent: EmbeddingRequest) -> Vectors:
    batches: list[Vectors] = []
    for start in range(0, len(texts), _AT_ONCE):
        batches.append(
            await base.aembed(texts[start : start + _AT_ONCE], space=space, is_query=sent.input_type == "query")
        )
        own = batches[0].shape[1]
        if sent.dimensions not in (None, own):
            hint = f"`{sent.model}` gives {own} dimensions, not {sent.dimensions}; leave `dimensions` out."
            raise HTTPProblem(400, hint, param="dimensions")
    return np.concatenate(batches)


def _format_answer(vectors: Vectors, sent: EmbeddingRequest) -> Response:
    formatted = [_format_vector(vector, sent.encoding_format) for vector in vectors]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(formatted)]
    return JSONResponse({"object": "list", "model": sent.model, "data": data, "usage": None})


def _format_vector(vector: Vectors, form: str) -> str | list[float]:
    """Return a vector as numbers, or as the base64 of its little-endian float32 values."""
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return cast(list[float], vector.tolist())
