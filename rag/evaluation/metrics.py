"""The quality of rankings, its uncertainty, and tests of differences: pure functions.

A ranking lists ids, best first, each once; at least one id is relevant. On random runs
all four metrics agree with trec_eval's ``recall``, ``success``, ``recip_rank`` and ``ndcg_cut``
(`tests/test_evaluation_metrics.py`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_FLIPS = 10_000
_AT_ONCE = 500  # resamples in memory together


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def recall(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return the share of the relevant ids among the first `k`."""
    return len(set(ranking[:k]) & _some(relevant)) / len(relevant)


def hit(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return 1 if any relevant id is among the first `k`, else 0; papers on image retrieval call this recall at k."""
    return float(not _some(relevant).isdisjoint(ranking[:k]))


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str]) -> float:
    """Return 1 over the rank of the first relevant id, counted from 1; 0 if none was found."""
    rank = first_rank(ranking, relevant)
    return 1 / rank if rank else 0.0


def ndcg(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return the gain of the first `k`, each relevant id discounted by log2(rank + 1), relative to the best ranking.

    Järvelin and Kekäläinen 2002, with gains of 0 and 1.
    """
    wanted = _some(relevant)
    gain = sum(1 / math.log2(rank + 1) for rank, found in enumerate(ranking[:k], 1) if found in wanted)
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))


def first_rank(ranking: Sequence[str], relevant: Collection[str]) -> int | None:
    """Return the rank of the first relevant id, from 1, or None."""
    wanted = _some(relevant)
    return next((rank for rank, found in enumerate(ranking, 1) if found in wanted), None)


def scores(ranking: Sequence[str], relevant: Collection[str], ks: Sequence[int]) -> dict[str, float]:
    """Return all metrics of one ranking by name: ``recall@k``, ``hit@k`` and ``ndcg@k`` for each k, and ``mrr``."""
    found = {f"recall@{k}": recall(ranking, relevant, k) for k in ks}
    found |= {f"hit@{k}": hit(ranking, relevant, k) for k in ks}
    found |= {f"ndcg@{k}": ndcg(ranking, relevant, k) for k in ks}
    return found | {"mrr": reciprocal_rank(ranking, relevant)}


def bootstrap(
    values: Sequence[float], *, clusters: Sequence[str] | None = None, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Return the mean of some values and its 95 % interval, by resampling with replacement (percentile bootstrap).

    Args:
        values: one for each query.
        clusters: the cluster of each query; None if all are independent. Five captions of one photo are not five
            independent queries, so photos are resampled, with all their captions.
        seed: the same seed gives the same interval.
        resamples: how often to resample.
    """
    return intervals({"": values}, clusters=clusters, seed=seed, resamples=resamples)[""]


def share(hits: int, of: int) -> Estimate:
    """Return a share of independent trials with its 95 % interval (Wilson 1927).

    Resampling says nothing of what was not seen: for 40 of 40 its interval is from 100 to 100 %, and this one begins at
    91 %.

    Raises:
        ValueError: there are no trials.
    """
    if of < 1:
        raise ValueError("no trials")
    mean, z = hits / of, 1.96
    middle = (mean + z * z / (2 * of)) / (1 + z * z / of)
    reach = z / (1 + z * z / of) * math.sqrt(mean * (1 - mean) / of + z * z / (4 * of * of))
    return Estimate(mean, max(0.0, middle - reach), min(1.0, middle + reach))


def intervals(
    table: Mapping[str, Sequence[float]],
    *,
    clusters: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Apply `bootstrap` to several metrics of the same queries, with the same resamples.

    Raises:
        ValueError: there are no values, or not one for each query.
    """
    matrix = np.array(list(table.values()), dtype=float).T
    sums, sizes = _by_cluster(matrix, clusters)
    means = [(times @ sums) / (times @ sizes)[:, None] for times in _resampled(len(sizes), seed, resamples)]
    return _estimates(table, matrix.mean(axis=0), means)


def gaps(
    table: Mapping[str, Sequence[float]],
    inside: Sequence[bool],
    *,
    clusters: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Return the mean of some queries minus that of the others, by metric, with 95 % intervals (percentile bootstrap).

    Clusters are resampled from all queries together, since one may hold queries of both sides; a resample without any
    query of one side has no difference and is left out.

    Args:
        table: values by metric, one for each query.
        inside: whether each query belongs to the first side; some must, and some must not.
        clusters, seed, resamples: as in `bootstrap`.

    Raises:
        ValueError: one side is empty, or there is not a value for each query.
    """
    matrix, side = np.array(list(table.values()), dtype=float).T, np.array(inside, dtype=float)[:, None]
    if not 0 < side.sum() < len(side):
        raise ValueError("no values on one side")
    ours, theirs = (_by_cluster(np.hstack([matrix * part, part]), clusters)[0] for part in (side, 1 - side))
    with np.errstate(invalid="ignore"):
        found = [_means(n @ ours) - _means(n @ theirs) for n in _resampled(len(ours), seed, resamples)]
    return _estimates(table, _means(ours.sum(axis=0)) - _means(theirs.sum(axis=0)), found)


def _means(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means (…, metrics) from sums (…, metrics + 1), whose last column counts the summed values."""
    means: NDArray[np.float64] = totals[..., :-1] / totals[..., -1:]
    return means


def _resampled(clusters: int, seed: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    """Yield how often each cluster is drawn (draws, clusters), a few hundred draws at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _AT_ONCE):
        draws = min(_AT_ONCE, resamples - start)
        yield rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=draws)


def _estimates(
    names: Iterable[str], mean: NDArray[np.float64], resampled: Sequence[NDArray[np.float64]]
) -> dict[str, Estimate]:
    low, high = np.nanpercentile(np.concatenate(resampled), [2.5, 97.5], axis=0)
    return {name: Estimate(float(mean[n]), float(low[n]), float(high[n])) for n, name in enumerate(names)}


def permutation_test(
    differences: Sequence[float], *, clusters: Sequence[str] | None = None, seed: int = 0, flips: int = _FLIPS
) -> float:
    """Return the two-sided p-value of paired differences, by flipping their signs at random.

    Fisher's randomisation test, which Smucker, Allan and Carterette (2007) recommend for comparing rankings. The
    observed signs count as one of the flips, so the value is never 0.

    Args:
        differences: differences of the same queries under two configurations.
        clusters: as in `bootstrap`; the queries of one cluster are flipped together.
        seed: the same seed gives the same value.
        flips: how often to flip.
    """
    sums, _ = _by_cluster(np.array(differences, dtype=float)[:, None], clusters)
    sums = sums[sums[:, 0] != 0, 0]
    observed = abs(sums.sum()) - 1e-9
    rng = np.random.default_rng(seed)
    reached = 1
    for start in range(0, flips, _AT_ONCE):
        signs = rng.choice([-1.0, 1.0], size=(min(_AT_ONCE, flips - start), len(sums)))
        reached += int((abs(signs @ sums) >= observed).sum())
    return reached / (flips + 1)


def _by_cluster(
    matrix: NDArray[np.float64], clusters: Sequence[str] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of the rows (n, metrics) of each cluster, and its number of rows."""
    if not len(matrix):
        raise ValueError("no values")
    if clusters is None:
        return matrix, np.ones(len(matrix))
    if len(clusters) != len(matrix):
        raise ValueError(f"{len(matrix)} values, {len(clusters)} clusters")
    _, which = np.unique(np.array(clusters), return_inverse=True)
    sums = np.zeros((which.max() + 1, matrix.shape[1]))
    np.add.at(sums, which, matrix)
    return sums, np.bincount(which).astype(float)


def _some(relevant: Collection[str]) -> frozenset[str]:
    if not relevant:
        raise ValueError("a query without a relevant id cannot be scored")
    return frozenset(relevant)
