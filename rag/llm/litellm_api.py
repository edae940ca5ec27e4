"""litellm, which calls every model behind an API: imported here, its errors translated, failures retried.

Nothing else imports it, because that takes 2 s and reads environment variables. litellm reads the keys of cloud
services from their usual variables (``OPENAI_API_KEY``…).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rag.errors import ContextOverflow, LLMError, LLMUnavailable
from rag.llm.retries import retry

# Its modules import each other in circles: a second thread may get one that is half initialised.
_IMPORT_LOCK = threading.RLock()
_LLM, _WHEN_LATE = "EXHIBIT_LLM", "raise EXHIBIT_LLM_TIMEOUT_S"

_T = TypeVar("_T")


def import_litellm() -> Any:
    """Return the litellm module, offline and quiet."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it fetches a price list
    # Pydantic's warnings about litellm's own code.
    warnings.filterwarnings("ignore", ".* (is|are) using the `ReadOnly` qualifier", UserWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"litellm\.")
    with _IMPORT_LOCK:
        try:
            import litellm
        except BaseException:
            # Its submodules that were imported would be missing as attributes after the next import.
            for name in [name for name in sys.modules if name.partition(".")[0] == "litellm"]:
                del sys.modules[name]
            raise

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.DEFAULT_MAX_RETRIES = 0  # `rag.llm.retries` counts; embeddings use this when asked for 0
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


async def close() -> None:
    """Close the connections that litellm keeps open for the event loop that ends."""
    if "litellm" in sys.modules:
        await import_litellm().close_litellm_async_clients()


def embed(model: str, inputs: Sequence[str], options: Mapping[str, Any], *, setting: str) -> list[list[float]]:
    """Return the vectors that the provider gives, in the order of the inputs.

    Args:
        model: litellm's name of the model.
        inputs: texts, or pictures as data URLs.
        options: further arguments of litellm's `embedding`.
        setting: the setting that names the model.

    Raises:
        LLMError: as `translated_errors` raises it.
    """

    def call() -> Any:
        return import_litellm().embedding(model=model, input=list(inputs), max_retries=0, **options)

    response = call_with_retries(call, model, setting=setting, when_late="try again later")
    return [row["embedding"] for row in sorted(response.data, key=lambda row: int(row["index"]))]


def transcribe(model: str, wav: bytes, *, language: str | None, timeout_s: float) -> Any:
    """Return litellm's transcription of a WAV file, with the times of its words.

    Raises:
        LLMError: as `translated_errors` raises it.
    """

    def call() -> Any:
        return import_litellm().transcription(
            model=model,
            file=("speech.wav", wav, "audio/wav"),
            language=language,
            response_format="verbose_json",
            timestamp_granularities=["word"],
            timeout=timeout_s,
            max_retries=0,
        )

    return call_with_retries(call, model, setting="EXHIBIT_TRANSCRIBER")


def call_with_retries(call: Callable[[], _T], model: str, *, setting: str = _LLM, when_late: str = _WHEN_LATE) -> _T:
    """Return what a call of litellm returns, trying it up to three times.

    Raises:
        LLMError: as `translated_errors` raises it.
    """

    def translated() -> _T:
        with translated_errors(model, setting=setting, when_late=when_late):
            return call()

    return retry(translated, is_retryable)


@contextmanager
def translated_errors(model: str, *, setting: str = _LLM, when_late: str = _WHEN_LATE) -> Iterator[None]:
    """Raise Exhibit's errors for those of litellm; nothing else in the project does.

    Args:
        model: the model that is called.
        setting: the setting that names it.
        when_late: what to do if it does not answer in time.
    """
    import openai

    try:
        yield
    except openai.OpenAIError as error:  # the base of litellm's
        raise _translate(error, model, setting, when_late) from error


def is_retryable(error: LLMUnavailable) -> bool:
    """Return whether a retry may succeed soon; a call that waited its full time is not made again."""
    import openai

    return not isinstance(error.__cause__, openai.APITimeoutError)


def is_refused(error: LLMError) -> bool:
    """Return whether the provider refused an option of the request, not its length, content or sender."""
    from litellm import exceptions as known

    cause = error.__cause__
    other = (known.ContextWindowExceededError, known.ContentPolicyViolationError)
    return isinstance(cause, (known.BadRequestError, known.UnprocessableEntityError)) and not isinstance(cause, other)


def _translate(error: Exception, model: str, setting: str, when_late: str) -> LLMError:
    # litellm's errors derive from OpenAI's; for transcriptions OpenAI's own come through.
    import openai
    from litellm import exceptions as known

    reason = str(getattr(error, "message", error)).strip()
    match error:
        case known.ContextWindowExceededError():
            return ContextOverflow(f"The prompt is too long for `{model}`: {reason}")
        case openai.APITimeoutError():
            return LLMUnavailable(f"`{model}` did not answer in time; {when_late}. {reason}")
        case openai.RateLimitError():
            return LLMUnavailable(f"`{model}` takes no more requests for now; wait, or use another model. {reason}")
        case (
            openai.APIConnectionError()
            | openai.InternalServerError()
            | known.ServiceUnavailableError()
            | known.BadGatewayError()
        ):
            return LLMUnavailable(f"`{model}` cannot be reached or failed; is its server up? {reason}")
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return LLMError(f"`{model}` refused the key; set the provider's variable, such as OPENAI_API_KEY. {reason}")
        case openai.NotFoundError():
            return LLMError(f"There is no model `{model}`; check {setting} and the address of its server. {reason}")
    return LLMError(f"`{model}` refused the request: {reason}")
