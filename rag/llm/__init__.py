"""Language models behind one protocol, their prompts, and the tokens they use.

`create_language_model` picks the implementation of `base.LanguageModel`: `bundled.BundledModel` (llama.cpp in this
process) or `litellm_client.LiteLLMClient` (every provider). Messages come from `prompts`; `usage` counts tokens.
Only this folder imports litellm (`litellm_api`), because that takes 2 s; encoders and transcribers behind an API call
it through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.llm.base import Completion, LanguageModel, Message, Schema

if TYPE_CHECKING:
    from rag.config import Settings

__all__ = ["Completion", "LanguageModel", "Message", "Schema", "create_language_model"]


def create_language_model(settings: Settings) -> LanguageModel:
    """Create the language model that the settings name; it is loaded when first used."""
    from rag.llm.litellm_client import LiteLLMClient

    return LiteLLMClient(settings.llm, home=settings.home, threads=settings.threads, timeout_s=settings.llm_timeout_s)
