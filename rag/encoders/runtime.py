"""ONNX models on the CPU; the only place that maps errors of onnxruntime."""

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
            weights: safetensors file with the weights, for a model file without weights.

        Raises:
            ModelError: the file is missing, or onnxruntime cannot run it.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads take cores from the decoders and the language model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._path = path
        with self._mapped_errors():
            # The session reads the weights in place, so they must live as long as it does.
            self._weights = _bind_weights(options, weights) if weights else {}
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the model and return the named outputs.

        Raises:
            ModelError: the inputs do not fit the model.
        """
        with self._mapped_errors():
            results: list[NDArray[Any]] = self._session.run(list(outputs), dict(inputs))
        return results

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
        from safetensors import SafetensorError

        # Their only common base is Exception; ValueError means an input that the model does not have.
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


def _bind_weights(options: Any, path: Path) -> dict[str, NDArray[Any]]:
    """Load a file's weights, bind them to the graph's external initializers, and return them."""
    from onnxruntime import OrtValue
    from safetensors.numpy import load_file

    weights: dict[str, NDArray[Any]] = load_file(path)
    options.add_external_initializers(
        list(weights), [OrtValue.ortvalue_from_numpy(values) for values in weights.values()]
    )
    return weights
