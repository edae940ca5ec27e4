"""Trains the two networks of the verifier, and measures them on books that were left out.

Support learns from bags (Ilse et al., 2018): of the passages of the right module at least one must support the right
answer, and none a wrong option or another question's answer; none of another module supports the right answer.
Relevance then learns, from the question alone, how far the support network finds the right answer in each passage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rag.verification.training.data import CLAIMS, CUT, FAR, NEAR, OWN, Example

HIDDEN = 16
EPOCHS, RATE, DECAY, BATCH = 10, 3e-3, 1e-2, 32
_SHARPNESS = 0.5  # of the soft maximum over the passages of a bag
_NEAR_WEIGHT, _FAR_WEIGHT, _CHOICE_WEIGHT = 0.25, 0.5, 1.0
_CALIBRATION_STEPS = 200
_MOST_FAR = 0.1  # relevance of a passage of another module
_ORDER_WEIGHT = 0.5

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as tensors; see `Example`."""

    support: Tensor
    relevance: Tensor
    is_there: Tensor
    has_claim: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Batch:
        """Stack examples."""
        return cls(
            torch.tensor(np.stack([each.support for each in examples])),
            torch.tensor(np.stack([each.relevance for each in examples])),
            torch.tensor(np.stack([each.is_there for each in examples])),
            torch.tensor([[bool(claim) for claim in each.claims] for each in examples]),
        )

    def __getitem__(self, rows: Tensor) -> Batch:
        """Return some of the examples."""
        return Batch(self.support[rows], self.relevance[rows], self.is_there[rows], self.has_claim[rows])

    def __len__(self) -> int:
        return len(self.support)


class Scorer(nn.Module):
    """One hidden layer over standardised features."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", features.mean(0))
        self.register_buffer("scale", features.std(0) + 1e-6)
        self.hidden = nn.Linear(features.shape[1], HIDDEN)
        self.output = nn.Linear(HIDDEN, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (...) of features (..., n)."""
        found: Tensor = self.output(torch.tanh(self.hidden((features - self.mean) / self.scale))).squeeze(-1)
        return found

    def exported(self, slope: float, shift: float) -> Weights:
        """Return the weights as `verifier.Network` reads them, with a calibrated logit."""
        arrays = {
            "mean": self.mean,
            "scale": self.scale,
            "hidden": self.hidden.weight.T,
            "hidden_bias": self.hidden.bias,
            "output": self.output.weight[0] * slope,
            "output_bias": self.output.bias[0] * slope + shift,
        }
        return {name: array.detach().numpy().astype(np.float32).copy() for name, array in arrays.items()}


def own_logit(logits: Tensor, is_there: Tensor) -> Tensor:
    """Return the soft maximum (examples, claims) over the passages of the module."""
    hidden = logits[..., OWN].masked_fill(~is_there[:, None, OWN], -1e4)
    return _SHARPNESS * torch.logsumexp(hidden / _SHARPNESS, -1)


def train_support(batch: Batch, seed: int = 0) -> Scorer:
    """Train the network of support."""
    torch.manual_seed(seed)
    scorer = Scorer(batch.support[:, 0][batch.is_there])

    def loss(part: Batch) -> Tensor:
        logits = scorer(part.support)
        best = own_logit(logits, part.is_there)
        truth = torch.zeros_like(best)
        truth[:, 0] = 1
        each = nn.functional.binary_cross_entropy_with_logits(best, truth, reduction="none")
        weights = part.has_claim.float()
        weights[:, 1:] /= weights[:, 1:].sum(1, keepdim=True).clamp(min=1)  # as much as the right answer, together
        own = (each * weights).sum() / weights.sum()
        choice = nn.functional.cross_entropy(
            best.masked_fill(~part.has_claim, -1e4), torch.zeros(len(part), dtype=torch.long)
        )
        found = own + _CHOICE_WEIGHT * choice
        for others, weight in ((NEAR, _NEAR_WEIGHT), (FAR, _FAR_WEIGHT)):
            found = found + weight * nn.functional.softplus(logits[:, 0, others][part.is_there[:, others]]).mean()
        return found

    return _fit(scorer, loss, batch)


def train_relevance(batch: Batch, support: Scorer, calibrate: Callable[[Tensor], Tensor], seed: int = 0) -> Scorer:
    """Train the network of relevance towards the calibrated support of the right answer, and towards its order."""
    torch.manual_seed(seed)
    is_used = batch.is_there.clone()
    is_used[:, NEAR] = is_used[:, CUT] = False  # kept to measure with: some answer all the same
    scorer = Scorer(batch.relevance[is_used])
    with torch.no_grad():
        target = torch.sigmoid(calibrate(support(batch.support[:, 0])))
    target[:, FAR] = torch.minimum(target[:, FAR], torch.tensor(_MOST_FAR))

    def loss(part: Batch, used: Tensor, aim: Tensor) -> Tensor:
        logits = scorer(part.relevance)
        share = aim.masked_fill(~used, 0)
        share = share / share.sum(1, keepdim=True).clamp(min=1e-6)
        order = -(share * torch.log_softmax(logits.masked_fill(~used, -1e4), 1)).sum(1).mean()
        each = nn.functional.binary_cross_entropy_with_logits(logits[used], aim[used])
        return each + _ORDER_WEIGHT * order

    return _fit(scorer, loss, batch, is_used, target)


def _fit(scorer: Scorer, loss: Callable[..., Tensor], batch: Batch, *more: Tensor) -> Scorer:
    optimiser = torch.optim.AdamW(scorer.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(batch) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(batch)).split(BATCH):
            optimiser.zero_grad()
            loss(batch[rows], *(extra[rows] for extra in more)).backward()
            optimiser.step()
            schedule.step()
    return scorer


@dataclass(frozen=True, slots=True)
class Calibration:
    """A line from logits to log-odds (Platt, 1999)."""

    slope: float
    shift: float

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the log-odds of logits."""
        return logits * self.slope + self.shift


def calibrate(logits: NDArray[np.floating], truth: NDArray[np.bool_]) -> Calibration:
    """Fit the line under which the logits are log-odds, right and wrong counting alike."""
    x, y = torch.tensor(logits, dtype=torch.float64), torch.tensor(truth, dtype=torch.float64)
    weight = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=_CALIBRATION_STEPS)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(x * line[0] + line[1], y, weight)
        loss.backward()
        return loss

    optimiser.step(closure)
    slope, shift = line.detach().tolist()
    return Calibration(slope, shift)


def right_and_wrong(best: NDArray[np.floating], batch: Batch) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return the logits of all statements of a batch, and which are right."""
    has = batch.has_claim.numpy()
    truth = np.zeros((len(best), CLAIMS), bool)
    truth[:, 0] = True
    return best[has], truth[has]
