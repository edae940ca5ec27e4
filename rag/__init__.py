"""Exhibit: answers from documents, images, audio and video in which every statement points at evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag.config import Settings
    from rag.errors import ExhibitError
    from rag.knowledge_base import KnowledgeBase
    from rag.query.language import Audio, Image, Not, Text, Video
    from rag.types import Answer, AnswerChunk, Evidence, Hit

__all__ = [
    "Answer",
    "AnswerChunk",
    "Audio",
    "Evidence",
    "ExhibitError",
    "Hit",
    "Image",
    "KnowledgeBase",
    "Not",
    "Settings",
    "Text",
    "Video",
]

_HOMES = {
    "KnowledgeBase": "rag.knowledge_base",
    "Settings": "rag.config",
    "ExhibitError": "rag.errors",
    **dict.fromkeys(("Audio", "Image", "Not", "Text", "Video"), "rag.query.language"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `exhibit --help` does not pay for all of them."""
    if name not in __all__:
        raise AttributeError(f"module `rag` has no attribute `{name}`")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "rag.types")), name)
