"""Measure encoders on a set: embed all items and queries, and compare every pair exactly."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.encoders.base import Vectors
from rag.evaluation.cached_vectors import Embedder, EncoderSet, OnProgress
from rag.evaluation.perturb import VARIANTS, Variant
from rag.evaluation.results import PLAIN, SHOWN, EvalOptions, Evaluation, Trial, assemble, judge
from rag.evaluation.retrieval_sets import Direction, EvaluationSet, Item

_LEAST_DEPTH = 1000  # of a ranking; deeper items count as not found, as in trec_eval


def evaluate(
    chosen: EvaluationSet,
    runs: Mapping[str, EncoderSet],
    options: EvalOptions,
    *,
    cache: Path | None = None,
    on_progress: OnProgress = lambda label, done, total: None,
) -> Evaluation:
    """Measure one configuration on a set, or compare two.

    Args:
        chosen: the set.
        runs: the configuration under the name ``""``, or two under ``A`` and ``B``.
        options: cut-offs, and whether to measure robustness.
        cache: folder that stores vectors.
        on_progress: called with the progress of embedding.

    Raises:
        MediaError: a file of the set cannot be read.
        ModelError, SettingsError: an encoder cannot encode the set.
    """
    started = time.monotonic()
    trials: list[Trial] = []
    for name, encoders in runs.items():
        embedder = Embedder(encoders, cache, on_progress)
        trials += [trial for direction in chosen.directions for trial in _trials(direction, name, embedder, options)]
    configuration = {
        " ".join((name, space)).strip(): f"{card.name} {card.revision}"
        for name, encoders in runs.items()
        for space, card in encoders.cards().items()
    }
    made = assemble(chosen.name, chosen.about, trials, options)
    return replace(made, configuration=configuration, notes=tuple(chosen.notes), seconds=time.monotonic() - started)


def _trials(direction: Direction, run: str, embedder: Embedder, options: EvalOptions) -> Iterator[Trial]:
    if not direction.queries:
        return
    queries = embedder.vectors(direction.queries, direction.space, "query")
    items = embedder.vectors(direction.items, direction.space, "item")
    yield _trial(direction, run, None, queries @ items.T, options)
    for variant in VARIANTS if options.robust else ():
        # A variant changes the queries of its medium, or else the searched items; words are only changed in queries.
        if direction.queries[0].medium in variant.media:
            changed = embedder.vectors(direction.queries, direction.space, "query", variant)
            yield _trial(direction, run, variant, changed @ items.T, options)
        elif direction.items[0].medium in variant.media - {"text"}:
            changed = embedder.vectors(direction.items, direction.space, "item", variant)
            yield _trial(direction, run, variant, queries @ changed.T, options)


def _trial(direction: Direction, run: str, variant: Variant | None, cosines: Vectors, options: EvalOptions) -> Trial:
    depth = max(_LEAST_DEPTH, options.ks[-1])
    named, targets = _ranked_items(direction)
    at = {key: n for n, key in enumerate(targets)}
    columns = _columns(direction)
    made = []
    for query, row in zip(direction.queries, cosines, strict=True):
        best = row if columns is None else np.maximum.reduceat(row[columns[0]], columns[1])
        order = np.argsort(-best, kind="stable")[: depth + 1]
        ranking = [named[i] for i in order if (named[i].id, named[i].medium) != (query.id, query.medium)][:depth]
        expected = [targets[key] for key in sorted(direction.relevant[query.id])]
        why = {t.id: f"cosine {best[at[t.id]]:.2f}" for t in (*ranking[:SHOWN], *expected[:SHOWN])}
        made.append(judge(query, ranking, expected, options.ks, why))
    return Trial(direction.name, run, variant.name if variant else PLAIN, made)


def _ranked_items(direction: Direction) -> tuple[Sequence[Item], dict[str, Item]]:
    """Return what is ranked, by column and by id: the items, or one item for each family."""
    if not direction.by_family:
        return direction.items, {item.id: item for item in direction.items}
    first = {item.family: item for item in reversed(direction.items)}
    named = [replace(first[family], id=family) for family in sorted(first)]
    return named, {thing.id: thing for thing in named}


def _columns(direction: Direction) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Return the order of items by family and the start of each family, or None if items are ranked."""
    if not direction.by_family:
        return None
    families = np.array([item.family for item in direction.items])
    order = np.argsort(families, kind="stable")
    _, starts = np.unique(families[order], return_index=True)
    return order, starts
