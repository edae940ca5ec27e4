"""Model files: the bundled models and the checkpoints of the hub.

`cards` lists the bundled models; `assembly` joins their parts from installed packages into verified folders;
`checkpoints` finds checkpoints in a folder or downloads them. Encoders, transcribers and the bundled language model
load the result.
"""

from rag.models.assembly import ModelState, ensure, list_states
from rag.models.cards import MODELS, BundledModel, HubFile, ModelFile, PackagePart, bundled_model
from rag.models.checkpoints import Checkpoint, resolve_checkpoint

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
