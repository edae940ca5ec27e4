"""What the rest of Exhibit needs of a language model: `LanguageModel`, and what its implementations share."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

# A message as OpenAI's chat API takes it; a JSON schema.
Message = Mapping[str, Any]
Schema = Mapping[str, Any]

# The options of OpenAI's chat API that ask for log-probabilities, of as many tokens as OpenAI allows.
LOGPROBS: dict[str, Any] = {"logprobs": True, "top_logprobs": 20}

_PICTURE_SIDE_PX = 1024
_YES, _NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished reply of a language model, and the tokens it took."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class LanguageModel(Protocol):
    """A language model; threads and tasks may share it.

    Every method raises `LLMUnavailable` when the model cannot be reached (retryable failures are tried three times),
    `ContextOverflow` when the prompt is too long, `ModelError` when a local model is missing, and `LLMError` when the
    request is refused. Tokens are counted in `rag.llm.usage`.
    """

    @property
    def model(self) -> str:
        """Its name, as in EXHIBIT_LLM."""

    @property
    def context_tokens(self) -> int:
        """Most tokens of a prompt and its reply together."""

    @property
    def sees_images(self) -> bool:
        """Whether messages may hold pictures (`picture_part`)."""

    @property
    def gives_logprobs(self) -> bool:
        """Whether `judge` is expected to give a number."""

    def load(self) -> None:
        """Import and load now what the first call would wait for."""

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text."""

    def complete(self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None) -> Completion:
        """Write a reply; with a JSON schema, JSON that follows it if the model supports that."""

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Generator[str]:
        """Write a reply in pieces, none of them empty; closing the generator stops the model."""

    def judge(self, messages: Sequence[Message]) -> float | None:
        """Return the logit of Yes minus the logit of No for the next word; 0 means that both are equally likely.

        None if the model gives no log-probabilities; from then on `gives_logprobs` is False, and none are requested.
        """

    async def acomplete(
        self, messages: Sequence[Message], *, max_tokens: int, schema: Schema | None = None
    ) -> Completion:
        """Async twin of `complete`; cancelling it stops the model."""

    def astream(self, messages: Sequence[Message], *, max_tokens: int) -> AsyncGenerator[str]:
        """Async twin of `stream`."""

    async def ajudge(self, messages: Sequence[Message]) -> float | None:
        """Async twin of `judge`."""


def yes_no_log_odds(logprobs: Mapping[str, float]) -> float:
    """Return the log-odds of all spellings of Yes against all spellings of No.

    Args:
        logprobs: log-probabilities of the likeliest next tokens. A word that is not among them counts as the least
            likely of them.
    """
    floor = min(logprobs.values())

    def total(word: str) -> float:
        values = [value for token, value in logprobs.items() if token.strip().lower() == word]
        return math.log(sum(math.exp(value) for value in values)) if values else floor

    return total(_YES) - total(_NO)


def response_format(schema: Schema) -> dict[str, Any]:
    """Return the option of OpenAI's chat API that holds a reply to a JSON schema."""
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": dict(schema), "strict": True}}


def picture_part(picture: Image) -> dict[str, Any]:
    """Return a picture as a part of a message: a JPEG of at most 1024 pixels a side."""
    return {"type": "image_url", "image_url": {"url": data_url(picture, _PICTURE_SIDE_PX)}}


def data_url(picture: Image, side_px: int) -> str:
    """Return a picture as JPEG in a data URL, with at most this many pixels a side."""
    small = picture.convert("RGB")
    small.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
