"""Measure the bundled encoders against the limit of this machine: `python -m tests.measure.throughput`.

The work of an item is counted, not taken from papers: the graph runs once without optimisation, and the shapes of each
convolution and matrix product give its multiply-adds. The limit is numpy's product of two large float32 matrices on as
many threads as the encoders have. It is timed in turn with them, so that other load slows both alike; medians are
printed. No encoder can reach it: `lite` and YAMNet spend much of their time in depthwise convolutions, which do few
multiply-adds for each number that they fetch and so wait for memory. MiniLM multiplies int8, for which processors with
VNNI have up to four times the float32 limit; its share is of the float32 limit all the same. Padding is not counted.
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
class Workload:
    """A workload: some items, how they are prepared and embedded, and the cost of one.

    Attributes:
        name: for people.
        items: the items, embedded all at once.
        embed: embeds them.
        prepare: prepares one for the graph, which is a part of `embed`.
        multiply_adds: of one item.
        seconds: time of `embed` in each round.
        prepare_s: time of `prepare` for all items in each round.
    """

    name: str
    items: Sequence[Any]
    embed: Callable[[Any], object]
    prepare: Callable[[Any], object]
    multiply_adds: float
    seconds: list[float] = field(default_factory=list)
    prepare_s: list[float] = field(default_factory=list)


def multiply_adds(model: Path, inputs: Sequence[Inputs]) -> int:
    """Count the multiply-adds of all convolutions and matrix products of a graph, over some runs."""
    options = onnxruntime.SessionOptions()
    # Fused nodes would hide their multiply-adds.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for each in inputs:
            session.run(None, dict(each))
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return sum(count_node(event["args"]) for event in events if event.get("name", "").endswith("_kernel_time"))


def count_node(args: Mapping[str, Any]) -> int:
    """Count the multiply-adds of one run of a node, from its operator and the shapes of its tensors."""
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


def encoders(settings: Settings) -> Iterator[Workload]:
    """Yield the workloads: photos, sounds, questions and passages."""
    folders = {name: ensure(name, settings.home) for name in ("minilm", "lite", "yamnet")}
    text = MiniLM(folders["minilm"], settings.threads)
    lite = LiteEncoder(folders["lite"], text, settings.threads)
    photos = [Image.open(path).convert("RGB") for path in sorted(HERE.rglob("photo-*.jpg"))]
    views = [{"pixels": preprocess(photos[0])[None]}]
    yield Workload(
        f"pictures, lite, {np.mean([p.width * p.height for p in photos]) / 1e6:.1f} megapixels, decoded",
        photos,
        lite.embed_images,
        lambda photo: (preprocess(photo), preprocess(photo, 0.8)),
        4 * multiply_adds(folders["lite"] / "lite.onnx", views),
    )
    guide = samples(Item("guide", "sound", path=HERE / "collection" / "audio-guide.m4a"), SAMPLE_RATE)
    sounds = np.split(guide[: SOUNDS * _SOUND_S * SAMPLE_RATE], SOUNDS)
    yield Workload(
        f"sounds, YAMNet, {_SOUND_S} s, decoded",
        sounds,
        LiteSounds(folders["yamnet"], text, settings.threads).embed_audio,
        make_patches,
        multiply_adds(folders["yamnet"] / "yamnet.onnx", [{"patches": make_patches(one)} for one in sounds]) / SOUNDS,
    )
    rotated = [" ".join((*UNRELATED_QUESTIONS[n:], *UNRELATED_QUESTIONS[:n])) for n in range(PASSAGES)]
    for name, texts in (("questions", UNRELATED_QUESTIONS), ("passages", rotated)):
        tokens = [text._tokens(one) for one in texts]
        yield Workload(
            f"{name}, MiniLM, {np.mean([*map(len, tokens)]):.0f} tokens",
            texts,
            text.embed_text,
            text._tokens,
            multiply_adds(folders["minilm"] / "model.onnx", [_tokens(ids) for ids in tokens]) / len(texts),
        )


def _tokens(ids: Sequence[int]) -> Inputs:
    row = np.array([ids], np.int64)
    return {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}


def _prepare_all(workload: Workload) -> None:
    for item in workload.items:
        workload.prepare(item)


def time_work(work: Callable[[], object]) -> float:
    """Return the seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Time all workloads in turn, and print the table."""
    settings = Settings()
    threads = str(settings.threads)
    if os.environ.get(_NUMPY_THREADS) != threads:
        os.execve(sys.executable, [sys.executable, "-m", __spec__.name], {**os.environ, _NUMPY_THREADS: threads})
    workloads = list(encoders(settings))
    a, b = np.random.default_rng(0).random((2, _SIDE, _SIDE), np.float32)
    limits = []
    for _ in range(ROUNDS + 1):
        for one in workloads:
            limits.append(2 * _SIDE**3 / time_work(partial(np.matmul, a, b)) / 1e9)
            one.seconds.append(time_work(partial(one.embed, one.items)))
            one.prepare_s.append(time_work(partial(_prepare_all, one)))
    limit = statistics.median(limits[len(workloads) :])  # the first round warms up
    print(f"{settings.threads} threads; the limit is {limit:.0f} GFLOP/s, a float32 matrix product by numpy\n")
    print(f"{'':<52}{'items/s':>9}{'GFLOP/item':>12}{'GFLOP/s':>9}{'of limit':>10}{'prepared':>12}")
    for one in workloads:
        rate = len(one.items) / statistics.median(one.seconds[1:])
        gflop = 2 * one.multiply_adds / 1e9
        ready = statistics.median(one.prepare_s[1:]) * rate / len(one.items)
        print(
            f"{one.name:<52}{rate:>9.1f}{gflop:>12.3f}{rate * gflop:>9.1f}{rate * gflop / limit:>10.0%}{ready:>12.0%}"
        )


if __name__ == "__main__":
    main()
