"""Language models behind one protocol, their prompts, and the tokens they use.

`create_language_model` picks an implementation of `base.LanguageModel` by the name in the settings:
`bundled.BundledLanguageModel` (llama.cpp in this process) or `litellm_client.LiteLLMClient` (every provider).
Messages come from `prompts`; `usage` counts tokens. Encoders and transcribers behind an API call litellm through
`litellm_api`, the only module that imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.llm.base import Completion, LanguageModel, Message, Schema

if TYPE_CHECKING:
    from rag.config import Settings

__all__ = ["Completion", "LanguageModel", "Message", "Schema", "create_language_model"]


BUNDLED = "bundled/"  # prefix of a model that is installed as a package


def create_language_model(settings: Settings) -> LanguageModel:
    """Create the language model that the settings name; it is checked and loaded when first used."""
    if settings.llm.startswith(BUNDLED):
        from rag.llm.bundled import BundledLanguageModel
        from rag.llm.llama_cpp import shared_engine

        engine = shared_engine(settings.home, settings.threads)
        return BundledLanguageModel(engine, model=settings.llm, timeout_s=settings.llm_timeout_s)
    from rag.llm.litellm_client import LiteLLMClient

    return LiteLLMClient(settings.llm, timeout_s=settings.llm_timeout_s)
