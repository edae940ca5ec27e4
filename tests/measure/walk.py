"""Follow one question through the code: `python -m tests.measure.walk --kb FOLDER [QUESTION]`.

Prints the files that `KnowledgeBase.ask` enters, in the order of their first call, each with its layer in the import
contract of `pyproject.toml`. A *climb* is a step to a higher layer: the reader of the code climbs back up as often.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from types import FrameType

from rag import KnowledgeBase

ROOT = Path(__file__).parents[2]
QUESTION = "What do the chimpanzees at Fongoli use to hunt bush babies?"


def main() -> None:
    """Print the walk."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kb", type=Path, required=True, help="a knowledge base, such as the demo's")
    parser.add_argument("question", nargs="?", default=QUESTION)
    arguments = parser.parse_args()
    with KnowledgeBase.open(arguments.kb) as kb:
        kb.load()
        files = entered(kb, arguments.question)
    layers = layers_of_rag()
    for file in files:
        print(f"{layers[folder(file)]:>3}  {file}")
    folders = list(dict.fromkeys(map(folder, files)))
    print(
        f"{len(files)} files, {climbs(files, layers)} climbs; {len(folders)} folders, {climbs(folders, layers)} climbs"
    )


def entered(kb: KnowledgeBase, question: str) -> list[str]:
    """Return the modules of `rag` that answering a question enters, in the order of their first call."""
    files: dict[str, None] = {}

    def record(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and frame.f_code.co_name != "<module>" and path.is_relative_to(ROOT / "rag"):
            files[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = None

    sys.setprofile(record)
    try:
        kb.ask(question)
    finally:
        sys.setprofile(None)
    return list(files)


def layers_of_rag() -> dict[str, int]:
    """Return each folder and file directly in `rag` with the number of its layer, from the top."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["rag"])
    return {name: n for n, layer in enumerate(layers) for name in re.findall(r"\w+", layer)}


def folder(module: str) -> str:
    """Return the folder or file directly in `rag` that a module belongs to."""
    return module.split(".")[1] if "." in module else module


def climbs(steps: list[str], layers: dict[str, int]) -> int:
    """Count the steps to a layer above the one before."""
    ranks = [layers[folder(step) if "." in step else step] for step in steps]
    return sum(after < before for before, after in pairwise(ranks))


if __name__ == "__main__":
    main()
