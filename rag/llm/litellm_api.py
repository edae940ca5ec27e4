"""litellm, the gateway to every model behind an API: loaded quietly, its errors mapped, passing failures tried again.

Keys of cloud services are read by litellm from their usual variables (``OPENAI_API_KEY``…).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rag.errors import ContextOverflow, LLMError, LLMUnavailable

# Seconds before the second and the third attempt.
RETRY_WAITS_S = (0.5, 2.0)

# Its modules import each other in circles: a second thread may be given one that is half there.
_IMPORTING = threading.RLock()
_LLM, _LATE = "EXHIBIT_LLM", "raise EXHIBIT_LLM_TIMEOUT_S"

_T = TypeVar("_T")


def litellm() -> Any:
    """The litellm module, offline and quiet; imported here alone because its import takes 2 s and reads variables."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it fetches a price list
    # What pydantic says of litellm's own code, about its types and its use of pydantic.
    warnings.filterwarnings("ignore", ".* (is|are) using the `ReadOnly` qualifier", UserWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"litellm\.")
    with _IMPORTING:
        import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.DEFAULT_MAX_RETRIES = 0  # ours count; where 0 is asked for, embeddings take this
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


async def close() -> None:
    """Close the connections that litellm keeps open for the event loop that ends."""
    if "litellm" in sys.modules:
        await litellm().close_litellm_async_clients()


@contextmanager
def errors(model: str, *, setting: str = _LLM, late: str = _LATE) -> Iterator[None]:
    """Turns litellm's errors into Exhibit's; nothing else in the project does.

    Args:
        model: the model that is called.
        setting: the setting that names it.
        late: what to do where it does not answer in time.
    """
    import openai

    try:
        yield
    except openai.OpenAIError as error:  # the base of litellm's
        raise _mapped(error, model, setting, late) from error


def retried(call: Callable[[], _T], model: str, *, setting: str = _LLM, late: str = _LATE) -> _T:
    """What a call gives, where failures that may pass are tried three times.

    Raises:
        LLMError: as `errors` maps them.
    """
    for wait_s in RETRY_WAITS_S:
        try:
            with errors(model, setting=setting, late=late):
                return call()
        except LLMUnavailable as error:
            if not is_retryable(error):
                raise
        time.sleep(wait_s)
    with errors(model, setting=setting, late=late):
        return call()


def is_retryable(error: LLMUnavailable) -> bool:
    """Whether another attempt may succeed soon; a call that has waited its full time is not made again."""
    import openai

    return not isinstance(error.__cause__, openai.APITimeoutError)


def is_refused(error: LLMError) -> bool:
    """Whether the provider refused what the request asks for, rather than its length, its content or its sender."""
    from litellm import exceptions as known

    cause = error.__cause__
    other = (known.ContextWindowExceededError, known.ContentPolicyViolationError)
    return isinstance(cause, (known.BadRequestError, known.UnprocessableEntityError)) and not isinstance(cause, other)


def _mapped(error: Exception, model: str, setting: str, late: str) -> LLMError:
    # litellm's derive from OpenAI's, and of transcriptions OpenAI's come through as they are.
    import openai
    from litellm import exceptions as known

    said = str(getattr(error, "message", error)).strip()
    match error:
        case known.ContextWindowExceededError():
            return ContextOverflow(f"The prompt is too long for `{model}`: {said}")
        case openai.APITimeoutError():
            return LLMUnavailable(f"`{model}` did not answer in time; {late}. {said}")
        case openai.RateLimitError():
            return LLMUnavailable(f"`{model}` allows no more requests for now; wait, or use another model. {said}")
        case (
            openai.APIConnectionError()
            | openai.InternalServerError()
            | known.ServiceUnavailableError()
            | known.BadGatewayError()
        ):
            return LLMUnavailable(f"`{model}` cannot be reached or failed; is its server up? {said}")
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return LLMError(f"`{model}` refused the key; set the provider's variable, such as OPENAI_API_KEY. {said}")
        case openai.NotFoundError():
            return LLMError(f"There is no model `{model}`; check {setting} and the address of its server. {said}")
    return LLMError(f"`{model}` refused the request: {said}")
