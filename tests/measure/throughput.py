"""How fast the bundled encoders are, and as a share of what this machine can do: `python -m tests.measure.throughput`.

The work of an item is counted, not taken from papers: the graph runs once, node by node as it is written, and from the
shapes that go in and out of each convolution and matrix product follow its multiply-adds. The limit is a product of two
large float32 matrices by numpy on as many threads as the encoders have, timed by turns with them, so that what else the
machine does slows both alike; medians are printed. No encoder can reach it: `lite` and YAMNet spend much of their time
in depthwise convolutions, which do few multiply-adds for each number that they fetch and so wait for memory. MiniLM
multiplies int8, for which processors with VNNI have up to four times the float32 limit; its share is of the float32
limit all the same. Padding counts as no work.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from rag.config import Settings
from rag.demo import HERE
from rag.encoders.lite import LiteEncoder, preprocess
from rag.encoders.mel import SAMPLE_RATE, make_patches
from rag.encoders.minilm import MiniLM
from rag.encoders.yamnet import LiteSounds
from rag.evaluation.retrieval_sets import Item, samples
from rag.models import ensure
from rag.retrieval.null_queries import UNRELATED_QUESTIONS

ROUNDS = 9
PASSAGES = 16
SOUNDS = 3
_SOUND_S = 10
_SIDE = 2048  # of the matrices whose product is the limit
_NUMPY_THREADS = "OPENBLAS_NUM_THREADS"  # read once, when numpy is imported

Inputs = Mapping[str, NDArray[Any]]
Shapes = Sequence[Sequence[int]]


@dataclass
class Measured:
    """What is timed: some items, how they are embedded and made ready, and what one of them costs.

    Attributes:
        name: for people.
        items: what is embedded, all at once.
        embed: embeds them.
        prepare: the part of that which makes one ready for the graph.
        multiply_adds: of one item.
        seconds, ready_s: what was timed, round by round.
    """

    name: str
    items: Sequence[Any]
    embed: Callable[[Any], object]
    prepare: Callable[[Any], object]
    multiply_adds: float
    seconds: list[float] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)


def multiply_adds(model: Path, inputs: Sequence[Inputs]) -> int:
    """Of all convolutions and matrix products of a graph, over some runs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # fused nodes hide theirs
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for each in inputs:
            session.run(None, dict(each))
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return sum(of_node(event["args"]) for event in events if event.get("name", "").endswith("_kernel_time"))


def of_node(args: Mapping[str, Any]) -> int:
    """Multiply-adds of one run of a node, from its operator and the shapes of its tensors."""
    given, (made, *_) = (_shapes(args[key]) for key in ("input_type_shape", "output_type_shape"))
    match args["op_name"]:
        case "Conv" | "ConvInteger":  # weights (out, in / groups, height, width)
            return math.prod(made) * math.prod(given[1][1:])
        case "MatMul" | "MatMulInteger":
            return math.prod(made) * given[0][-1]
        case "Gemm":
            return math.prod(made) * math.prod(given[0]) // made[0]
    return 0


def _shapes(tensors: Sequence[Mapping[str, Sequence[int]]]) -> Shapes:
    return [shape for tensor in tensors for shape in tensor.values()]


def encoders(settings: Settings) -> Iterator[Measured]:
    """What is measured: photos, sounds, questions and passages."""
    folders = {name: ensure(name, settings.home) for name in ("minilm", "lite", "yamnet")}
    text = MiniLM(folders["minilm"], settings.threads)
    lite = LiteEncoder(folders["lite"], text, settings.threads)
    photos = [Image.open(path).convert("RGB") for path in sorted(HERE.rglob("photo-*.jpg"))]
    views = [{"pixels": preprocess(photos[0])[None]}]
    yield Measured(
        f"pictures, lite, {np.mean([p.width * p.height for p in photos]) / 1e6:.1f} megapixels, decoded",
        photos,
        lite.embed_images,
        lambda photo: (preprocess(photo), preprocess(photo, 0.8)),
        4 * multiply_adds(folders["lite"] / "lite.onnx", views),
    )
    guide = samples(Item("guide", "sound", path=HERE / "collection" / "audio-guide.m4a"), SAMPLE_RATE)
    sounds = np.split(guide[: SOUNDS * _SOUND_S * SAMPLE_RATE], SOUNDS)
    yield Measured(
        f"sounds, YAMNet, {_SOUND_S} s, decoded",
        sounds,
        LiteSounds(folders["yamnet"], text, settings.threads).embed_audio,
        make_patches,
        multiply_adds(folders["yamnet"] / "yamnet.onnx", [{"patches": make_patches(one)} for one in sounds]) / SOUNDS,
    )
    turned = [" ".join((*UNRELATED_QUESTIONS[n:], *UNRELATED_QUESTIONS[:n])) for n in range(PASSAGES)]
    for name, texts in (("questions", UNRELATED_QUESTIONS), ("passages", turned)):
        tokens = [text._tokens(one) for one in texts]
        yield Measured(
            f"{name}, MiniLM, {np.mean([*map(len, tokens)]):.0f} tokens",
            texts,
            text.embed_text,
            text._tokens,
            multiply_adds(folders["minilm"] / "model.onnx", [_tokens(ids) for ids in tokens]) / len(texts),
        )


def _tokens(ids: Sequence[int]) -> Inputs:
    row = np.array([ids], np.int64)
    return {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}


def _each(measured: Measured) -> None:
    for item in measured.items:
        measured.prepare(item)


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure by turns, and print the table."""
    settings = Settings()
    threads = str(settings.threads)
    if os.environ.get(_NUMPY_THREADS) != threads:
        os.execve(sys.executable, [sys.executable, "-m", __spec__.name], {**os.environ, _NUMPY_THREADS: threads})
    measured = list(encoders(settings))
    a, b = np.random.default_rng(0).random((2, _SIDE, _SIDE), np.float32)
    limits = []
    for _ in range(ROUNDS + 1):
        for one in measured:
            limits.append(2 * _SIDE**3 / timed(partial(np.matmul, a, b)) / 1e9)
            one.seconds.append(timed(partial(one.embed, one.items)))
            one.ready_s.append(timed(partial(_each, one)))
    limit = statistics.median(limits[len(measured) :])  # the first round warms up
    print(f"{settings.threads} threads; the limit is {limit:.0f} GFLOP/s, a float32 matrix product by numpy\n")
    print(f"{'':<52}{'items/s':>9}{'GFLOP/item':>12}{'GFLOP/s':>9}{'of limit':>10}{'made ready':>12}")
    for one in measured:
        rate = len(one.items) / statistics.median(one.seconds[1:])
        gflop = 2 * one.multiply_adds / 1e9
        ready = statistics.median(one.ready_s[1:]) * rate / len(one.items)
        print(
            f"{one.name:<52}{rate:>9.1f}{gflop:>12.3f}{rate * gflop:>9.1f}{rate * gflop / limit:>10.0%}{ready:>12.0%}"
        )


if __name__ == "__main__":
    main()
