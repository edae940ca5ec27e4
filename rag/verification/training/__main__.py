"""Prepare the features, train the verifier, and print what it reaches on books that were left out.

Run once, by hand; `../README.md` has what it printed::

    python -m rag.verification.training prepare --data EXHIBIT_DATA/textbook_questions --folder build/verifier
    python -m rag.verification.training train --folder build/verifier        # writes to rag/verification/data
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.numpy import save_file

from rag.config import Settings
from rag.encoders.minilm import MiniLM
from rag.models import ensure
from rag.verification.encoded_text import DATA, Rarity
from rag.verification.training.data import CUT, FAR, NEAR, OWN, Example, make_examples, measure_rarity, read_modules
from rag.verification.training.train import (
    Batch,
    Calibration,
    Scorer,
    calibrate,
    own_logit,
    right_and_wrong,
    train_relevance,
    train_support,
)

_AREAS = (
    "wrong options",
    "other answers",
    "near passages",
    "far passages",
    "relevance: near",
    "relevance: far",
    "relevance: answer cut out",
)


def main() -> None:
    """Run the step that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["prepare", "train"])
    parser.add_argument("--data", type=Path, help="folder of questions.jsonl and modules.jsonl.gz")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the prepared features")
    parser.add_argument("--most", type=int, help="most questions of each book")
    parser.add_argument("--to", type=Path, default=DATA, help="folder for rarity.npy and verifier.safetensors")
    arguments = parser.parse_args()
    if arguments.step == "prepare":
        _prepare(arguments.data, arguments.folder, arguments.most)
    else:
        _train(arguments.folder, arguments.to)


def _prepare(data: Path, folder: Path, most: int | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    encoder = MiniLM(ensure("minilm", Settings().home), threads=torch.get_num_threads())
    rarity = measure_rarity(encoder, read_modules(data))
    np.save(folder / "rarity.npy", rarity)
    examples = list(track(make_examples(data, encoder, Rarity(rarity), most), "Reading", total=most))
    with (folder / "examples.pkl").open("wb") as file:
        pickle.dump(examples, file)


def _train(folder: Path, to: Path) -> None:
    with (folder / "examples.pkl").open("rb") as file:
        examples: list[Example] = pickle.load(file)
    held_out = _leave_one_out(examples)
    support_line, relevance_line = _lines(held_out)
    batch = Batch.of(examples)
    support = train_support(batch)
    relevance = train_relevance(batch, support, support_line)
    weights = {
        f"{name}.{key}": array
        for name, scorer, line in (("support", support, support_line), ("relevance", relevance, relevance_line))
        for key, array in scorer.exported(line.slope, line.shift).items()
    }
    save_file(weights, to / "verifier.safetensors")
    np.save(to / "rarity.npy", np.load(folder / "rarity.npy"))


class _HeldOut:
    """A book that was left out, with the logits of networks trained on the others."""

    def __init__(self, book: str, batch: Batch, support: Scorer, relevance: Scorer) -> None:
        self.book, self.batch = book, batch
        with torch.no_grad():
            logits = support(batch.support)
            self.best = own_logit(logits, batch.is_there).numpy()
            self.support = logits.numpy()
            self.relevance = relevance(batch.relevance).numpy()


def _leave_one_out(examples: Sequence[Example]) -> list[_HeldOut]:
    """Train on all books but one, for each; print what each reaches."""
    columns = ("book left out", "questions", "right of four", *_AREAS)
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    found = []
    for book in sorted({each.book for each in examples}):
        rest = Batch.of([each for each in examples if each.book != book])
        own = Batch.of([each for each in examples if each.book == book])
        if len(own) < 50:
            continue
        support = train_support(rest)
        line = calibrate(*right_and_wrong(_best(support, rest), rest))
        held = _HeldOut(book, own, support, train_relevance(rest, support, line))
        found.append(held)
        print(f"| {book} | {len(own)} | " + " | ".join(f"{value:.3f}" for value in _measures(held)) + " |", flush=True)
    return found


def _best(support: Scorer, batch: Batch) -> NDArray[np.float32]:
    with torch.no_grad():
        found: NDArray[np.float32] = own_logit(support(batch.support), batch.is_there).numpy()
        return found


def _measures(held: _HeldOut) -> list[float]:
    """Return the share of four options, then areas under the curve."""
    batch, best = held.batch, held.best
    has, there = batch.has_claim.numpy(), batch.is_there.numpy()
    four = has[:, 1:4].all(1)
    right = (best[four, :1] > best[four, 1:4]).all(1).mean()
    own = np.where(there[:, OWN], held.relevance[:, OWN], -np.inf).max(1)
    return [
        float(right),
        auc(best[:, 0], best[:, 1:4][has[:, 1:4]]),
        auc(best[:, 0], best[:, 4][has[:, 4]]),
        *(auc(best[:, 0], held.support[:, 0, others][there[:, others]]) for others in (NEAR, FAR)),
        *(auc(own, held.relevance[:, others][there[:, others]]) for others in (NEAR, FAR, CUT)),
    ]


def _lines(held_out: Sequence[_HeldOut]) -> tuple[Calibration, Calibration]:
    """Return the calibrations of support and relevance on the books that were left out."""
    pairs = [right_and_wrong(held.best, held.batch) for held in held_out]
    support = calibrate(np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs]))
    logits, truth = [], []
    for held in held_out:
        there = held.batch.is_there.numpy()
        own = np.where(there[:, OWN], held.relevance[:, OWN], -np.inf).max(1)
        others = np.concatenate([held.relevance[:, part][there[:, part]] for part in (FAR, CUT)])
        logits += [own, others]
        truth += [np.ones(len(own), bool), np.zeros(len(others), bool)]
    return support, calibrate(np.concatenate(logits), np.concatenate(truth))


def auc(right: NDArray[np.floating], wrong: NDArray[np.floating]) -> float:
    """Return the share of pairs in which the right one is above the wrong one; ties count half."""
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, "left") + np.searchsorted(ordered, right, "right")
    return float(below.mean() / (2 * len(wrong)))


if __name__ == "__main__":
    main()
