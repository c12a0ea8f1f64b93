"""Ten lists worked out with a pencil, and torchmetrics wherever its definition is ours."""

from math import log2

import numpy as np
import pytest
import torch
from torchmetrics import retrieval
from torchmetrics.classification import BinaryAUROC, BinaryCalibrationError
from torchmetrics.functional.classification import binary_auroc

from klm_utils.evaluation import metrics

DISCOUNT = [1 / log2(place + 1) for place in range(1, 7)]
GOLDEN = [  # hits from the first place down, k, then nDCG, recall, hit rate, MRR, AP at k
    ([1, 0, 0, 0], 3, 1.0, 1.0, 1.0, 1.0, 1.0),
    ([0, 1, 0, 0], 3, DISCOUNT[1], 1.0, 1.0, 1 / 2, 1 / 2),
    ([0, 0, 0, 1], 3, 0.0, 0.0, 0.0, 0.0, 0.0),
    ([1, 1, 0, 0], 2, 1.0, 1.0, 1.0, 1.0, 1.0),
    ([1, 0, 1, 0], 3, (1 + DISCOUNT[2]) / (1 + DISCOUNT[1]), 1.0, 1.0, 1.0, (1 + 2 / 3) / 2),
    ([0, 1, 1, 0], 2, DISCOUNT[1] / (1 + DISCOUNT[1]), 1 / 2, 1.0, 1 / 2, (1 / 2) / 2),
    ([1, 1, 1, 1], 2, 1.0, 1 / 2, 1.0, 1.0, 1.0),
    ([0, 0, 1, 1, 1, 0], 3, DISCOUNT[2] / sum(DISCOUNT[:3]), 1 / 3, 1.0, 1 / 3, (1 / 3) / 3),
    ([1, 0, 0, 0, 0, 1], 6, (1 + DISCOUNT[5]) / (1 + DISCOUNT[1]), 1.0, 1.0, 1.0, (1 + 2 / 6) / 2),
    ([0, 1, 0, 1, 0, 1], 1, 0.0, 0.0, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("hits", "k", "ndcg", "recall", "hit", "mrr", "precision"), GOLDEN)
def test_a_list_that_was_worked_out_by_hand(hits, k, ndcg, recall, hit, mrr, precision):
    scores = np.arange(len(hits), 0, -1)
    assert metrics.ndcg(hits, scores, k) == pytest.approx(ndcg)
    assert metrics.recall(hits, scores, k) == pytest.approx(recall)
    assert metrics.hit_rate(hits, scores, k) == hit
    assert metrics.mrr(hits, scores, k) == pytest.approx(mrr)
    assert metrics.average_precision(hits, scores, k) == pytest.approx(precision)


@pytest.fixture
def lists():
    """40 users with 30 candidates each, no ties: relevance, and scores above 0."""
    rng = np.random.default_rng(0)
    relevant = (rng.random((40, 30)) < 0.2).astype(int)
    relevant[:, 0] = 1
    return relevant, np.exp(rng.normal(size=(40, 30)) + relevant)


def of_torchmetrics(metric, lists):
    y, s = map(torch.as_tensor, lists)
    users = torch.arange(len(y)).repeat_interleave(y.shape[1])
    return float(metric(s.flatten(), y.flatten(), indexes=users))


@pytest.mark.parametrize("k", [1, 5, 10, 30])
def test_torchmetrics_agrees_where_it_means_the_same(lists, k):
    pairs = {
        metrics.ndcg: retrieval.RetrievalNormalizedDCG(top_k=k),
        metrics.recall: retrieval.RetrievalRecall(top_k=k),
        metrics.hit_rate: retrieval.RetrievalHitRate(top_k=k),
        metrics.mrr: retrieval.RetrievalMRR(top_k=k),
    }
    for ours, theirs in pairs.items():
        assert ours(*lists, k) == pytest.approx(of_torchmetrics(theirs, lists), abs=1e-6), ours.__name__
    assert metrics.average_precision(*lists) == pytest.approx(of_torchmetrics(retrieval.RetrievalMAP(), lists))


def test_average_precision_cut_at_k_means_something_else_in_torchmetrics(lists):
    """It divides by the hits among the first k, we by min(k, |R|): the kind of difference notebook 06 warns of."""
    hits, scores = [0, 1, 1, 0], [4, 3, 2, 1]
    theirs = of_torchmetrics(retrieval.RetrievalMAP(top_k=2), ([hits], [[float(s) for s in scores]]))
    assert (metrics.average_precision(hits, scores, 2), theirs) == pytest.approx((1 / 4, 1 / 2))


def test_recall_of_torchmetrics_finds_nothing_at_or_below_zero():
    """Logits are ranked like any score here; there half of them are thrown away without a word."""
    y, logits = [[1, 1, 0, 0]], [[-1.0, 2.0, -2.0, -3.0]]
    assert metrics.recall(y, logits, 2) == 1.0
    assert of_torchmetrics(retrieval.RetrievalRecall(top_k=2), (y, logits)) == 0.5


def test_metrics_of_rows_equal_torchmetrics():
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 2, 500), np.round(rng.random(500), 2)
    assert metrics.auc(y, p) == pytest.approx(float(BinaryAUROC()(torch.as_tensor(p), torch.as_tensor(y))), abs=1e-6)
    away = np.clip(p, 0.001, 0.999) + 1e-4  # off the edges of the bins, which they close on the other side
    theirs = float(BinaryCalibrationError(n_bins=15, norm="l1")(torch.as_tensor(away), torch.as_tensor(y)))
    assert metrics.ece(y, away) == pytest.approx(theirs, abs=1e-6)
    assert metrics.auc(y, np.full(500, 0.3)) == float(binary_auroc(torch.full((500,), 0.3), torch.as_tensor(y))) == 0.5
