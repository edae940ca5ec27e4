"""The bundled models: frozen cards, and the verified folders that hold their files."""

from rag.models.cards import MODELS, BundledModel, HubFile, ModelFile, Part, model
from rag.models.files import ModelState, ensure, fetch, states

__all__ = [
    "MODELS",
    "BundledModel",
    "HubFile",
    "ModelFile",
    "ModelState",
    "Part",
    "ensure",
    "fetch",
    "model",
    "states",
]
