"""Model files: frozen cards and verified folders of the bundled models, and checkpoints of the hub."""

from rag.models.cards import MODELS, BundledModel, HubFile, ModelFile, Part, model
from rag.models.files import ModelState, ensure, states
from rag.models.hub import Checkpoint, checkpoint

__all__ = [
    "MODELS",
    "BundledModel",
    "Checkpoint",
    "HubFile",
    "ModelFile",
    "ModelState",
    "Part",
    "checkpoint",
    "ensure",
    "model",
    "states",
]
