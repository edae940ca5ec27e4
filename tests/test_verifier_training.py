"""The training of the verifier: it learns from bags of passages, and exports what the product reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rag.verification.features import RELEVANCE_FEATURES, SUPPORT_FEATURES
from rag.verification.training.__main__ import auc
from rag.verification.training.data import CLAIMS, CUT, FAR, NEAR, OWN, PASSAGES, Example
from rag.verification.training.train import Batch, calibrate, own_logit, train_relevance, train_support
from rag.verification.verifier import Network

SIGNAL = 3.0


def examples(number: int) -> list[Example]:
    """Examples in which one passage of the module supports the right answer, told by the first feature alone."""
    chance = np.random.default_rng(0)
    made = []
    for _ in range(number):
        support = chance.normal(size=(CLAIMS, PASSAGES, len(SUPPORT_FEATURES))).astype(np.float32)
        relevance = chance.normal(size=(PASSAGES, len(RELEVANCE_FEATURES))).astype(np.float32)
        answers = chance.integers(OWN.stop)
        support[0, answers, 0] += SIGNAL
        relevance[answers, 0] += SIGNAL
        made.append(
            Example("a book", "What?", ("right", "a", "b", "c", "d"), support, relevance, np.ones(PASSAGES, bool))
        )
    return made


@pytest.fixture(scope="module")
def batch() -> Batch:
    return Batch.of(examples(400))


def test_the_right_answer_is_told_from_wrong_ones(batch: Batch) -> None:
    scorer = train_support(batch)
    with torch.no_grad():
        best = own_logit(scorer(batch.support), batch.is_there).numpy()
    assert auc(best[:, 0], best[:, 1:].ravel()) > 0.8


def test_relevance_learns_where_the_answer_is(batch: Batch) -> None:
    support = train_support(batch)
    scorer = train_relevance(batch, support, lambda logits: logits)
    with torch.no_grad():
        logits = scorer(batch.relevance).numpy()
    best = batch.relevance[:, OWN, 0].argmax(1).numpy()
    found = logits[np.arange(len(best)), best]
    assert auc(found, logits[:, FAR].ravel()) > 0.8


def test_exported_weights_give_the_calibrated_logits(batch: Batch) -> None:
    scorer = train_support(batch)
    features = batch.support[:20, 0, 0]
    with torch.no_grad():
        expected = 0.5 * scorer(features).numpy() + 0.25
    np.testing.assert_allclose(Network(scorer.exported(0.5, 0.25))(features.numpy()), expected, atol=1e-4)


def test_a_calibrated_logit_is_the_odds_of_being_right() -> None:
    chance = np.random.default_rng(1)
    odds = chance.normal(size=4000)
    truth = chance.random(4000) < 1 / (1 + np.exp(-odds))
    line = calibrate(2 * odds + 1, truth)
    assert (line.slope, line.shift) == pytest.approx((0.5, -0.5), abs=0.1)


def test_an_area_is_the_share_of_pairs_in_order() -> None:
    assert auc(np.array([2.0, 3.0]), np.array([1.0])) == 1.0
    assert auc(np.array([1.0, 3.0]), np.array([2.0])) == 0.5
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5


def test_the_passages_have_places_of_their_own() -> None:
    places = [set(range(part.start, part.stop)) for part in (OWN, NEAR, FAR, CUT)]
    assert sum(map(len, places)) == len(set().union(*places)) == PASSAGES
