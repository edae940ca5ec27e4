"""Models of the transformers library in torch; the only place where errors of either are mapped.

They run on the first of CUDA (in half precision), Apple's MPS and the CPU. No code that comes with a checkpoint is run,
and no pickle is read.
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

# What from_pretrained raises on files that are missing, damaged, for another class or for libraries not installed.
_BAD_FILES = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)


class TorchModel:
    """A model with its device; safe to use from several threads."""

    def __init__(self, model: Any, name: str, threads: int) -> None:
        """Take the model to its device.

        Args:
            model: a torch module.
            name: how messages call it.
            threads: cores that torch may use; one number for the whole process.
        """
        import torch

        torch.set_num_threads(threads)
        place = placed(has_cuda=torch.cuda.is_available(), has_mps=torch.backends.mps.is_available())
        self.device, self._dtype = place[0], getattr(torch, place[1])
        self._name = name
        self.model = model.to(self.device, self._dtype).eval()

    def run(self, method: str, inputs: Mapping[str, Any], field: str = "pooler_output") -> NDArray[np.float32]:
        """One output of a method of the model, as float32.

        Args:
            method: name of the method.
            inputs: tensors of a batch.
            field: which of its outputs, where it gives several.

        Raises:
            ModelError: the model cannot take the inputs, or the device has too little memory.
        """
        import torch

        try:
            with torch.inference_mode():
                moved = {key: self._moved(value) for key, value in inputs.items()}
                output = getattr(self.model, method)(**moved)
                found = output if isinstance(output, torch.Tensor) else getattr(output, field)
                numbers: NDArray[np.float32] = found.float().cpu().numpy()
        except (RuntimeError, ValueError, IndexError, AttributeError) as error:
            raise ModelError(f"`{self._name}` could not be run on {self.device}: {_first_line(error)}") from error
        return numbers

    def _moved(self, value: Any) -> Any:
        return value.to(self.device, self._dtype) if value.is_floating_point() else value.to(self.device)


def placed(*, has_cuda: bool, has_mps: bool) -> tuple[str, str]:
    """The device that a model runs on, and the type of its numbers, by their names in torch."""
    if has_cuda:
        return "cuda", "float16"
    return "mps" if has_mps else "cpu", "float32"


def libraries(name: str) -> Any:
    """The transformers library, quiet.

    Raises:
        ModelError: it or torch is not installed.
    """
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise ModelError(
            f'`{name}` runs on the transformers library; `pip install "exhibit-rag[hub]"` ({_first_line(error)}).'
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def load_model(found: Checkpoint, threads: int, *, unused: str = "") -> TorchModel:
    """The model of a checkpoint.

    Args:
        found: its files.
        threads: cores that it may use.
        unused: pattern of weights that may be missing, because what they are for is not used.

    Raises:
        SettingsError: it needs code of its own.
        ModelError: its files are damaged or incomplete.
    """
    transformers = libraries(found.name)
    kind = found.config.get("model_type", "")
    if kind not in transformers.CONFIG_MAPPING:
        own = "needs code of its own, which Exhibit does not run" if "auto_map" in found.config else "is unknown"
        raise SettingsError(f"`{found.name}` (of kind `{kind}`) {own}; choose one of another kind.")
    with reading(found):
        model, report = transformers.AutoModel.from_pretrained(
            found.folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    missing = sorted(key for key in report["missing_keys"] if not (unused and re.search(unused, key)))
    if missing:
        raise ModelError(f"`{found.name}` lacks {len(missing)} weights, such as {missing[0]}; it is not what it says.")
    return TorchModel(model, found.name, threads)


def load_part(found: Checkpoint, part: str, **options: Any) -> Any:
    """The tokenizer, image processor or feature extractor of a checkpoint.

    Args:
        found: its files.
        part: class of the transformers library that reads it, such as ``AutoTokenizer``.
        **options: for that class.

    Raises:
        ModelError: it has none, or it is damaged.
    """
    with reading(found):
        return getattr(libraries(found.name), part).from_pretrained(
            found.folder, local_files_only=True, trust_remote_code=False, **options
        )


@contextmanager
def reading(found: Checkpoint) -> Iterator[None]:
    """Maps what goes wrong while a checkpoint's files are read to ModelError."""
    from safetensors import SafetensorError

    try:
        yield
    except (*_BAD_FILES, SafetensorError) as error:
        raise ModelError(f"`{found.name}` could not be loaded from {found.folder}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
