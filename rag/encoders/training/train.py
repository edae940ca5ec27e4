"""Train `lite`: a head for EfficientNet-Lite2 into MiniLM's space, then the upper blocks with it.

Run it with torch installed, after `data.prepare` has filled FOLDER (`python -m rag.encoders.training --help`).

Loss: a figure's vector must find its own texts among all training texts (several are right), and a text its own figure
among the batch and the last known vectors of all others. The classifier must keep its predictions, so that tags and the
knowledge from ImageNet stay. Weights are averaged over steps, and over two runs from the same start (model soup,
Wortsman et al. 2022). Validation: recall at 10, both ways, among the photos of the validation modules.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rag.encoders.training.data import VIEWS
from rag.encoders.training.network import DIMENSIONS, Head, Upper

unit = functional.normalize
State = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters, chosen on figures of validation modules and of books left out, never on Flickr."""

    head_epochs: int
    tune_epochs: int
    seed: int = 20261121
    centring: float = 0.7  # share of the mean text vector to subtract from each text
    class_share: float = 0.3  # weight of the class vectors beside the head's vector
    temperature: float = 0.05
    heads: int = 3
    head_rate: float = 1e-3
    head_batch: int = 256
    tune_rate: float = 5e-5
    tune_head_rate: float = 2e-4
    tune_batch: int = 64
    distillation: float = 0.5
    average_steps: float = 100.0


# A head trained longer finds more by alt text, one trained for less time finds more by photo; their mean does both.
RUNS = (Recipe(head_epochs=6, tune_epochs=7), Recipe(head_epochs=24, tune_epochs=4))


class Pairs:
    """The prepared arrays of one split of the figures."""

    def __init__(self, folder: Path, splits: set[str], mean: Tensor | None, centring: float) -> None:
        figures = json.loads((folder / "figures.json").read_text("utf-8"))
        self.acts = np.load(folder / "acts.npy", mmap_mode="r")
        self.features = np.load(folder / "features.npy", mmap_mode="r")
        self.logits = np.load(folder / "logits.npy", mmap_mode="r")
        self.rows = torch.tensor([n for n, figure in enumerate(figures) if figure[3] in splits])
        self.photos = torch.tensor([figures[n][2] == "photo" for n in self.rows.tolist()])
        texts = np.load(folder / "texts.npz")
        inside = np.isin(texts["figures"], self.rows.numpy())
        self.owners = torch.from_numpy(texts["figures"][inside])
        raw = torch.from_numpy(texts["vectors"][inside])
        self.mean = raw.mean(0) if mean is None else mean
        self.texts = unit(raw - centring * self.mean, dim=-1)
        self.texts_of: dict[int, list[int]] = {}
        for number, owner in enumerate(self.owners.tolist()):
            self.texts_of.setdefault(owner, []).append(number)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield rows of figures in random order, and for each the number of one of its texts."""
        order = self.rows[torch.randperm(len(self.rows))]
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            yield rows, torch.tensor([self._choose(self.texts_of[row]) for row in rows.tolist()])

    def random_views(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return activations and logits of figures, each in a random view."""
        views = torch.randint(0, VIEWS, (len(rows),)).numpy()
        acts = np.stack([self.acts[view, row] for view, row in zip(views, rows.tolist(), strict=True)])
        logits = np.stack([self.logits[view, row] for view, row in zip(views, rows.tolist(), strict=True)])
        return torch.from_numpy(acts).float(), torch.from_numpy(logits).float()

    def _choose(self, numbers: list[int]) -> int:
        return numbers[int(torch.randint(0, len(numbers), (1,)))]


class Contrast:
    """The loss between vectors of figures and texts, with the last known vectors of all figures as negatives."""

    def __init__(self, pairs: Pairs, temperature: float) -> None:
        self.pairs = pairs
        self.log_scale = nn.Parameter(torch.tensor(1 / temperature).log())
        self.known = torch.zeros(int(pairs.rows.max()) + 1, DIMENSIONS)

    def __call__(self, vectors: Tensor, rows: Tensor, texts: Tensor) -> Tensor:
        """Return the loss of vectors (b, 384) of the figures ``rows`` with the numbers of their texts."""
        scale = self.log_scale.exp().clamp(max=100)
        to_texts = scale * vectors @ self.pairs.texts.T
        right = rows[:, None] == self.pairs.owners[None]
        found_texts = to_texts.logsumexp(1) - to_texts.masked_fill(~right, -1e9).logsumexp(1)
        queries = self.pairs.texts[texts]
        others = self.known[self.pairs.rows]
        usable = (others.abs().sum(1) > 0) & ~torch.isin(self.pairs.rows, rows)
        to_figures = torch.cat([queries @ vectors.T, (queries @ others.T).masked_fill(~usable[None], -1e4)], 1)
        found_figure = functional.cross_entropy(scale * to_figures, torch.arange(len(rows)))
        self.known[rows] = vectors.detach()
        return found_texts.mean() + found_figure


class Average:
    """Running means of parameters; the last steps have the greatest weight."""

    def __init__(self, module: nn.Module, steps: float) -> None:
        self.module, self.steps, self.updates = module, steps, 0
        self.means = {name: value.detach().clone() for name, value in module.named_parameters()}

    def update(self) -> None:
        """Add the current parameters to the means."""
        self.updates += 1
        share = 1 / min(self.updates / 5 + 1, self.steps)
        for name, value in self.module.named_parameters():
            self.means[name].lerp_(value.detach(), share)

    def apply(self) -> None:
        """Replace the parameters by the means."""
        self.module.load_state_dict(self.means, strict=True)


def mix(head: Tensor, logits: Tensor, classes: Tensor, share: float) -> Tensor:
    """Return unit vectors from the head's vectors and the class vectors, weighted by class probabilities."""
    return unit(unit(head, dim=-1) + share * unit(logits.softmax(-1) @ classes, dim=-1), dim=-1)


class Trainer:
    """The training of head and backbone on prepared pairs."""

    def __init__(self, folder: Path, state: dict[str, Tensor], classes: Tensor, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.classes = recipe, classes
        self.train = Pairs(folder, {"train"}, None, recipe.centring)
        self.validation = Pairs(folder, {"validation"}, self.train.mean, recipe.centring)
        self.upper = Upper(state).to(memory_format=torch.channels_last)
        self.heads = nn.ModuleList(Head() for _ in range(recipe.heads))
        self.fc = state["_fc.weight"].float(), state["_fc.bias"].float()
        self.contrasts = [Contrast(self.train, recipe.temperature) for _ in self.heads]
        self.started = time.monotonic()

    def features(self, acts: Tensor) -> Tensor:
        """Return features (n, 1280) of activations, computed in bfloat16 where that is precise enough."""
        with torch.autocast("cpu", torch.bfloat16):
            features: Tensor = self.upper(acts.contiguous(memory_format=torch.channels_last))
        return features.float()

    def fit_head(self) -> None:
        """Train the heads alone, on the features of the untrained backbone."""
        recipe = self.recipe
        known = torch.from_numpy(self.train.features).float()
        optimiser = self._optimiser([(self.heads, recipe.head_rate)])
        average = Average(self.heads, recipe.average_steps)
        steps = recipe.head_epochs * (len(self.train.rows) // recipe.head_batch)
        for step, (rows, texts) in enumerate(self._epochs(recipe.head_epochs, recipe.head_batch)):
            views = torch.randint(0, VIEWS, (len(rows),))
            self._step(optimiser, self._contrast(known[views, rows], rows, texts), step / steps)
            average.update()
        average.apply()

    def tune(self) -> None:
        """Train the heads and the upper blocks together."""
        recipe = self.recipe
        self.heads.train()
        self.upper.train()
        optimiser = self._optimiser([(self.heads, recipe.tune_head_rate), (self.upper, recipe.tune_rate)])
        averages = [Average(self.heads, recipe.average_steps), Average(self.upper, recipe.average_steps)]
        per_epoch = len(self.train.rows) // recipe.tune_batch
        for step, (rows, texts) in enumerate(self._epochs(recipe.tune_epochs, recipe.tune_batch)):
            acts, before = self.train.random_views(rows)
            features = self.features(acts)
            now = functional.linear(features, *self.fc).log_softmax(-1)
            drift = functional.kl_div(now, before.log_softmax(-1), log_target=True, reduction="batchmean")
            loss = self._contrast(features, rows, texts) + recipe.distillation * drift
            self._step(optimiser, loss, step / (per_epoch * recipe.tune_epochs))
            for average in averages:
                average.update()
            if step % 10 == 0:
                self.log(f"epoch {step / per_epoch:.2f} loss {loss.item():.3f}, classes {drift.item():.3f}")
            if step % (per_epoch // 2) == per_epoch // 2 - 1:
                self.log(f"epoch {step / per_epoch:.2f} {self.validate_averages(averages)}")
        for average in averages:
            average.apply()

    def photos(self, count: int = 800) -> Tensor:
        """Return vectors (count, 384) of training photos, which show the passages that are near every image."""
        self.upper.eval()
        self.heads.eval()
        rows = self.train.rows[self.train.photos]
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.recipe.seed))[:count]]
        with torch.no_grad():
            return mix(*self._encode(self.train, rows), self.classes, self.recipe.class_share)

    def validate_averages(self, averages: list[Average]) -> str:
        """Return the result of `validate` with the means as parameters; restore the parameters."""
        now = [{name: value.detach().clone() for name, value in a.module.named_parameters()} for a in averages]
        for average in averages:
            average.apply()
        report = self.validate()
        for average, state in zip(averages, now, strict=True):
            average.module.load_state_dict(state)
            average.module.train()
        return report

    def validate(self) -> str:
        """Return recall at 1, 5 and 10 among the validation photos, from first sentence to photo and back."""
        self.upper.eval()
        self.heads.eval()
        pairs = self.validation
        rows = pairs.rows[pairs.photos]
        with torch.no_grad():
            head, logits = self._encode(pairs, rows)
            before = torch.from_numpy(pairs.logits[0][rows.numpy()]).float()
            queries = pairs.texts[torch.tensor([pairs.texts_of[row][0] for row in rows.tolist()])]
            report = [f"same class {(logits.argmax(1) == before.argmax(1)).float().mean():.2f}"]
            for share in (0.0, 0.3, 0.5, 0.8):
                scores = queries @ mix(head, logits, self.classes, share).T
                report.append(f"{share}: {recalls(scores)} {recalls(scores.T)}")
        return " | ".join(report)

    def state(self) -> State:
        """Return copies of the trained weights."""
        parts = {"heads": self.heads, "upper": self.upper}
        return {name: {n: v.detach().clone() for n, v in part.state_dict().items()} for name, part in parts.items()}

    def load_mean(self, runs: Sequence[State]) -> None:
        """Load the mean of the weights of some runs."""
        for name, part in (("heads", self.heads), ("upper", self.upper)):
            part.load_state_dict({n: torch.stack([run[name][n] for run in runs]).mean(0) for n in runs[0][name]})

    def save(self, path: Path) -> None:
        """Save the trained weights."""
        torch.save({**self.state(), "mean": self.train.mean, "photos": self.photos()}, path)

    def _encode(self, pairs: Pairs, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the heads' vectors and the logits of whole figures."""
        acts = (torch.from_numpy(pairs.acts[0][some.numpy()]).float() for some in rows.split(128))
        features = torch.cat([self.features(some) for some in acts])
        head = torch.stack([unit(head(features), dim=-1) for head in self.heads]).mean(0)
        return head, functional.linear(features, *self.fc)

    def log(self, text: str) -> None:
        """Print a text with the minutes since the start."""
        print(f"{(time.monotonic() - self.started) / 60:5.1f} min  {text}", flush=True)

    def _contrast(self, features: Tensor, rows: Tensor, texts: Tensor) -> Tensor:
        """Return the mean loss of the heads; each is trained as if alone, so that their errors are independent."""
        pairs = zip(self.contrasts, self.heads, strict=True)
        return torch.stack([contrast(unit(head(features), dim=-1), rows, texts) for contrast, head in pairs]).mean()

    def _epochs(self, epochs: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(epochs):
            yield from self.train.batches(size)

    def _optimiser(self, parts: list[tuple[nn.Module, float]]) -> torch.optim.Optimizer:
        groups = [{"params": list(part.parameters()), "lr": rate, "peak": rate} for part, rate in parts]
        scale = {
            "params": [contrast.log_scale for contrast in self.contrasts],
            "lr": 1e-3,
            "peak": 1e-3,
            "weight_decay": 0.0,
        }
        return torch.optim.AdamW([*groups, scale], weight_decay=0.05)

    def _step(self, optimiser: torch.optim.Optimizer, loss: Tensor, done: float) -> None:
        """Take one step; the rate rises for the first 3 % of the steps, then falls along a cosine."""
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * min(1.0, done / 0.03 + 0.01) * (0.5 + 0.5 * float(np.cos(np.pi * done)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def recalls(scores: Tensor) -> list[float]:
    """Return recall at 1, 5 and 10 in per cent, where column n is right for row n."""
    order = scores.argsort(1, descending=True)
    ranks = (order == torch.arange(len(scores))[:, None]).float().argmax(1)
    return [round(100 * (ranks < k).float().mean().item(), 1) for k in (1, 5, 10)]
