"""Models of the transformers library in torch; the only place that maps errors of either.

They run on CUDA (in half precision), else on Apple's MPS, else on the CPU. Code that comes with a checkpoint is never
run, and pickles are never read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.errors import ModelError, SettingsError
from rag.models import Checkpoint

# Errors of from_pretrained for files that are missing, damaged or of another class, and for missing libraries.
_LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)


class TorchModel:
    """A model with its device; safe to use from several threads."""

    def __init__(self, model: Any, name: str, threads: int) -> None:
        """Move the model to its device.

        Args:
            model: a torch module.
            name: its name in messages.
            threads: cores that torch may use, in the whole process.
        """
        import torch

        torch.set_num_threads(threads)
        self.device, dtype = choose_device(
            has_cuda=torch.cuda.is_available(), has_mps=torch.backends.mps.is_available()
        )
        self._dtype = getattr(torch, dtype)
        self._name = name
        self.model = model.to(self.device, self._dtype).eval()

    def run(self, method: str, inputs: Mapping[str, Any], field: str = "pooler_output") -> NDArray[np.float32]:
        """Call a method of the model and return one output, as float32.

        Args:
            method: name of the method.
            inputs: tensors of a batch.
            field: the output to return if there are several.

        Raises:
            ModelError: the inputs do not fit the model, or the device has too little memory.
        """
        import torch

        try:
            with torch.inference_mode():
                on_device = {key: self._move(value) for key, value in inputs.items()}
                output = getattr(self.model, method)(**on_device)
                tensor = output if isinstance(output, torch.Tensor) else getattr(output, field)
                numbers: NDArray[np.float32] = tensor.float().cpu().numpy()
        except (RuntimeError, ValueError, IndexError, AttributeError) as error:
            raise ModelError(f"`{self._name}` could not be run on {self.device}: {_first_line(error)}") from error
        return numbers

    def _move(self, value: Any) -> Any:
        return value.to(self.device, self._dtype) if value.is_floating_point() else value.to(self.device)


def choose_device(*, has_cuda: bool, has_mps: bool) -> tuple[str, str]:
    """Return torch's names of the device that models run on and of the number type."""
    if has_cuda:
        return "cuda", "float16"
    return "mps" if has_mps else "cpu", "float32"


def import_transformers(name: str) -> Any:
    """Return the transformers library, with its log and progress bars off.

    Raises:
        ModelError: transformers or torch is not installed.
    """
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise ModelError(
            f'`{name}` needs the transformers library. Run `pip install "exhibit-rag[hub]"` ({_first_line(error)}).'
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def load_model(checkpoint: Checkpoint, threads: int, *, unused: str = "") -> TorchModel:
    """Load the model of a checkpoint.

    Args:
        checkpoint: its files.
        threads: cores that it may use.
        unused: pattern of weights that may be missing because they have no effect.

    Raises:
        SettingsError: it needs code of its own.
        ModelError: its files are damaged or incomplete.
    """
    transformers = import_transformers(checkpoint.name)
    kind = checkpoint.config.get("model_type", "")
    if kind not in transformers.CONFIG_MAPPING:
        own = "needs code of its own, which Exhibit does not run" if "auto_map" in checkpoint.config else "is unknown"
        raise SettingsError(f"`{checkpoint.name}` (of type `{kind}`) {own}; choose a model of another type.")
    with map_load_errors(checkpoint):
        model, report = transformers.AutoModel.from_pretrained(
            checkpoint.folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    missing = sorted(key for key in report["missing_keys"] if not (unused and re.search(unused, key)))
    if missing:
        raise ModelError(f"`{checkpoint.name}` lacks {len(missing)} weights, such as {missing[0]}. Get it again.")
    return TorchModel(model, checkpoint.name, threads)


def load_part(checkpoint: Checkpoint, part: str, **options: Any) -> Any:
    """Load the tokenizer, image processor or feature extractor of a checkpoint.

    Args:
        checkpoint: its files.
        part: class of the transformers library that reads it, such as ``AutoTokenizer``.
        **options: keyword arguments of its ``from_pretrained``.

    Raises:
        ModelError: the part is missing or damaged.
    """
    with map_load_errors(checkpoint):
        return getattr(import_transformers(checkpoint.name), part).from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False, **options
        )


@contextmanager
def map_load_errors(checkpoint: Checkpoint) -> Iterator[None]:
    """Map errors in reading a checkpoint's files to ModelError."""
    from safetensors import SafetensorError

    try:
        yield
    except (*_LOAD_ERRORS, SafetensorError) as error:
        raise ModelError(
            f"`{checkpoint.name}` could not be loaded from {checkpoint.folder}: {_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
