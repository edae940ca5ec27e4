"""Model files: frozen cards and verified folders of the bundled models, and checkpoints of the hub."""

from rag.models.cards import MODELS, BundledModel, HubFile, ModelFile, PackagePart, bundled_model
from rag.models.checkpoints import Checkpoint, resolve_checkpoint
from rag.models.files import ModelState, ensure, list_states

__all__ = [
    "MODELS",
    "BundledModel",
    "Checkpoint",
    "HubFile",
    "ModelFile",
    "ModelState",
    "PackagePart",
    "bundled_model",
    "ensure",
    "list_states",
    "resolve_checkpoint",
]
