"""Runs an ONNX model on the CPU; the only place where errors of onnxruntime are mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rag.errors import ModelError


class OnnxModel:
    """An ONNX model, loaded once; safe to use from several threads."""

    def __init__(self, path: Path, threads: int, *, weights: Path | None = None) -> None:
        """Load the model.

        Args:
            path: the file.
            threads: cores that one run may use.
            weights: the safetensors file with the weights of a model that has none inside.

        Raises:
            ModelError: the file is missing or is no model that onnxruntime can run.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads take the cores that decoders and the language model want.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._path = path
        with self._mapped_errors():
            self._weights = _given(options, weights) if weights else {}  # the session reads them where they are
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The named outputs for these inputs.

        Raises:
            ModelError: the model cannot take the inputs.
        """
        with self._mapped_errors():
            results: list[NDArray[Any]] = self._session.run(list(outputs), dict(inputs))
        return results

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
        from safetensors import SafetensorError

        # They have no common base but Exception; ValueError is for inputs that the model does not have.
        known = (
            SafetensorError,
            FileNotFoundError,
            state.Fail,
            state.InvalidArgument,
            state.InvalidGraph,
            state.InvalidProtobuf,
            state.NoSuchFile,
            state.NotImplemented,
            state.RuntimeException,
            ValueError,
        )
        try:
            yield
        except known as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(f"{self._path.name} could not be run: {reason} Remove {self._path.parent}.") from error


def _given(options: Any, weights: Path) -> dict[str, NDArray[Any]]:
    """The weights of a file, put in the place of those that a graph says lie outside of it."""
    from onnxruntime import OrtValue
    from safetensors.numpy import load_file

    found: dict[str, NDArray[Any]] = load_file(weights)
    options.add_external_initializers(list(found), [OrtValue.ortvalue_from_numpy(values) for values in found.values()])
    return found
