"""Model files: frozen cards and verified folders of the bundled models, and checkpoints of the hub."""

from rag.models.cards import MODELS, BundledModel, HubFile, ModelFile, Part, model
from rag.models.checkpoints import Checkpoint, checkpoint
from rag.models.files import ModelState, ensure, states

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
