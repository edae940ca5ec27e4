"""Metrics against trec_eval, intervals and tests of significance against what must hold, the split against its rule."""

from __future__ import annotations

import random

import numpy as np
import pytest
import pytrec_eval

from rag.encoders.training_split import held_out
from rag.evaluation.metrics import (
    Estimate,
    bootstrap,
    first_rank,
    gaps,
    hit,
    intervals,
    ndcg,
    permutation_test,
    recall,
    scores,
)

KS = (1, 3, 5, 10, 100)
THEIRS = {
    **{f"recall@{k}": f"recall_{k}" for k in KS},
    **{f"hit@{k}": f"success_{k}" for k in KS},
    **{f"ndcg@{k}": f"ndcg_cut_{k}" for k in KS},
    "mrr": "recip_rank",
}


def random_run(rng: random.Random) -> tuple[list[str], set[str]]:
    """A ranking and its relevant ids, some of which it may lack, or hold all of, or none."""
    ids = [f"d{n}" for n in range(rng.choice([1, 2, 5, 20, 200]))]
    relevant = set(rng.sample(ids, rng.randint(1, min(len(ids), 12)))) | (
        {"never found"} if rng.random() < 0.2 else set()
    )
    return rng.sample(ids, rng.randint(0 if rng.random() < 0.1 else 1, len(ids))), relevant


def test_metrics_agree_with_trec_eval_on_a_thousand_random_runs() -> None:
    rng = random.Random(7)
    runs = {f"q{n}": random_run(rng) for n in range(1000)}
    qrels = {query: dict.fromkeys(relevant, 1) for query, (_, relevant) in runs.items()}
    theirs = pytrec_eval.RelevanceEvaluator(
        qrels, {f"{name}.{','.join(map(str, KS))}" for name in ("recall", "success", "ndcg_cut")} | {"recip_rank"}
    ).evaluate({query: {d: -float(rank) for rank, d in enumerate(found)} for query, (found, _) in runs.items()})
    for query, (found, relevant) in runs.items():
        ours = scores(found, relevant, KS)
        if found:  # trec_eval leaves out queries that found nothing; ours count as 0
            assert ours == pytest.approx({name: theirs[query][their] for name, their in THEIRS.items()}), query
        else:
            assert set(ours.values()) == {0.0}
    assert sum(not found for found, _ in runs.values()) > 5


def test_the_ends_of_the_scale() -> None:
    assert scores(["a", "b"], {"a", "b"}, [2]) == {"recall@2": 1.0, "hit@2": 1.0, "ndcg@2": 1.0, "mrr": 1.0}
    assert recall(["x", "a", "b"], {"a", "b"}, 2) == 0.5
    assert hit(["x", "a", "b"], {"a", "b"}, 2) == 1.0
    assert ndcg(["x"], {"a"}, 1) == 0.0
    assert first_rank(["x", "a"], {"a"}) == 2
    assert first_rank(["x"], {"a"}) is None
    with pytest.raises(ValueError, match="relevant"):
        recall(["x"], (), 1)


def test_an_interval_holds_the_mean_and_shrinks_with_more_queries() -> None:
    rng = np.random.default_rng(0)
    few, many = (bootstrap(list(rng.random(n)), seed=1) for n in (30, 3000))
    for estimate in (few, many):
        assert estimate.low < estimate.mean < estimate.high
    # 1.96 standard errors of a uniform value on both sides
    assert few.high - few.low == pytest.approx(2 * 1.96 * 12**-0.5 / 30**0.5, rel=0.25)
    assert many.high - many.low == pytest.approx(2 * 1.96 * 12**-0.5 / 3000**0.5, rel=0.1)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    estimates = [bootstrap(list((rng.random(200) < 0.3).astype(float)), seed=n, resamples=300) for n in range(200)]
    covered = np.mean([estimate.low <= 0.3 <= estimate.high for estimate in estimates])
    assert 0.9 <= covered <= 0.98


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 0.5]
    assert bootstrap(values, seed=4) == bootstrap(values, seed=4)
    assert intervals({"a": values, "b": values}, seed=4)["b"] == bootstrap(values, seed=4)


def test_five_equal_captions_of_a_photo_are_one_observation() -> None:
    photos = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    captions = [value for value in photos for _ in range(5)]
    clusters = [f"photo {n // 5}" for n in range(len(captions))]
    clustered, naive = bootstrap(captions, clusters=clusters), bootstrap(captions)
    assert clustered == bootstrap(photos)
    assert clustered.high - clustered.low > 1.8 * (naive.high - naive.low)
    with pytest.raises(ValueError, match="clusters"):
        bootstrap([1.0], clusters=["a", "b"])


def test_constant_values_have_no_spread_and_no_values_no_mean() -> None:
    assert bootstrap([0.25] * 9).low == bootstrap([0.25] * 9).high == 0.25
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])


def test_a_real_gap_is_detected_and_chance_is_not() -> None:
    rng = np.random.default_rng(5)
    inside = [n < 60 for n in range(300)]
    apart = gaps({"a": list(rng.normal(0, 1, 300) + 0.8 * np.array(inside)), "b": [0.5] * 300}, inside)
    assert apart["a"].low > 0
    # 1.96 standard errors of a difference of means on both sides
    assert apart["a"].high - apart["a"].low == pytest.approx(2 * 1.96 * (1 / 60 + 1 / 240) ** 0.5, rel=0.2)
    assert apart["b"] == Estimate(0, 0, 0)
    same = [gaps({"": list(rng.normal(0, 1, 300))}, inside, seed=n, resamples=200)[""] for n in range(100)]
    assert 0.86 <= np.mean([gap.low <= 0 <= gap.high for gap in same]) <= 0.99
    with pytest.raises(ValueError, match="one side"):
        gaps({"": [1.0, 2.0]}, [True, True])


def test_the_gap_within_a_book_is_surer_than_that_between_books() -> None:
    rng = np.random.default_rng(6)
    books = [f"book {n // 2}" for n in range(80)]
    values = list(np.repeat(rng.normal(0, 1, 40), 2) + rng.normal(0, 0.1, 80))
    within = gaps({"": values}, [n % 2 == 0 for n in range(80)], clusters=books)[""]
    between = gaps({"": values}, [n < 40 for n in range(80)], clusters=books)[""]
    assert within.high - within.low < 0.2 * (between.high - between.low)
    alone = gaps({"": [1.0, 0.0, 0.0]}, [True, False, False])[""]  # a third of all resamples have none of the one
    assert alone == Estimate(1, 1, 1)


def test_a_real_difference_is_detected_and_chance_is_not() -> None:
    rng = np.random.default_rng(2)
    assert permutation_test(list(rng.normal(0.3, 1, 400)), seed=1) < 0.001
    p_values = [permutation_test(list(rng.normal(0, 1, 40)), seed=n, flips=500) for n in range(200)]
    assert 0.01 <= np.mean([p < 0.05 for p in p_values]) <= 0.1
    assert permutation_test([0.0, 0.0]) == 1.0
    assert permutation_test([1.0]) == 1.0  # a single query proves nothing


def test_all_captions_of_a_photo_are_flipped_together() -> None:
    gains = [1.0] * 20
    assert permutation_test(gains) < 0.001
    assert permutation_test(gains, clusters=["one photo"] * 20) == 1.0


def test_modules_are_split_as_in_the_encoder_training() -> None:
    # Counted once by the rule written out: int(sha256(id).hexdigest()[:8], 16) % 100.
    assert [held_out(f"m{n}") for n in (90490, 58797, 58787)] == ["test", "validation", "train"]
    parts = [held_out(f"m{n}") for n in range(20_000)]
    assert parts.count("test") / 20_000 == pytest.approx(0.08, abs=0.01)
    assert parts.count("validation") / 20_000 == pytest.approx(0.08, abs=0.01)
