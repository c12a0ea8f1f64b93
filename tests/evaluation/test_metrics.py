"""Each metric against scikit-learn, hand-computed lists, its limits, and chance."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from klm_utils.errors import ConfigError, DataError
from klm_utils.evaluation import metrics

RANKING = [metrics.ndcg, metrics.recall, metrics.hit_rate, metrics.mrr, metrics.average_precision]
ROWS = [metrics.auc, metrics.logloss, metrics.ece]


def users_and_scores(users=40, n=30, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random((users, n)) < 0.2).astype(int)
    y[:, 0] = 1  # everybody has something relevant
    return y, rng.normal(size=(users, n)) + y


def test_row_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 500)
    p = np.round(rng.random(500), 2)  # with ties, and with 0 and 1 for the wrong class
    p[:2], y[:2] = (0, 1), (1, 0)
    assert metrics.auc(y, p) == pytest.approx(sk.roc_auc_score(y, p), abs=1e-12)
    assert metrics.logloss(y, p) == pytest.approx(sk.log_loss(y, p), abs=1e-12)


def test_ranking_metrics_equal_scikit_learn():
    y, s = users_and_scores()
    for k in (1, 5, 10, 30):
        assert metrics.ndcg(y, s, k) == pytest.approx(sk.ndcg_score(y, s, k=k, ignore_ties=True), abs=1e-12)
    expected = np.mean([sk.average_precision_score(a, b) for a, b in zip(y, s, strict=True)])
    assert metrics.average_precision(y, s) == pytest.approx(expected, abs=1e-12)
    one = np.eye(30)[np.random.default_rng(1).integers(0, 30, 40)]  # one relevant item each: LRAP is MRR and AP
    assert metrics.mrr(one, s) == pytest.approx(sk.label_ranking_average_precision_score(one, s), abs=1e-12)
    top = [
        sk.top_k_accuracy_score(a.argmax()[None], b[None], k=5, labels=range(30)) for a, b in zip(one, s, strict=True)
    ]
    assert metrics.hit_rate(one, s, 5) == metrics.recall(one, s, 5) == pytest.approx(np.mean(top))


def test_a_list_by_hand():
    y, s = [0, 1, 0, 1, 0, 1], [6, 5, 4, 3, 2, 1]  # relevant at ranks 2, 4, 6
    log2 = np.log2
    assert metrics.ndcg(y, s, 4) == pytest.approx((1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4)))
    assert metrics.ndcg(y, s, 2) == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))  # the ideal has min(k, |R|) = 2
    assert metrics.recall(y, s, 4) == pytest.approx(2 / 3)
    assert metrics.hit_rate(y, s, 1) == 0 and metrics.hit_rate(y, s, 2) == 1
    assert metrics.mrr(y, s) == 1 / 2 and metrics.mrr(y, s, 1) == 0
    assert metrics.average_precision(y, s) == pytest.approx((1 / 2 + 2 / 4 + 3 / 6) / 3)
    assert metrics.average_precision(y, s, 4) == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert metrics.average_precision(y, s, 2) == pytest.approx((1 / 2) / 2)  # min(k, |R|), not |R|
    assert metrics.auc(y, s) == pytest.approx((2 + 1 + 0) / 9)


def test_calibration_by_hand():
    y, p = [0, 1, 1, 1], [0.1, 0.1, 0.9, 1.0]  # two bins of two: |.5 - .1| and |1 - .95|
    assert metrics.ece(y, p, bins=2) == pytest.approx((2 * 0.4 + 2 * 0.05) / 4)
    assert metrics.ece([0, 1], [0.5, 0.5]) == 0, "the base rate is calibrated"
    assert metrics.ece([1, 0], [0.0, 1.0]) == 1
    assert metrics.ece([0, 1, 0, 1], [0.25, 0.25, 0.75, 0.75], bins=1) == 0, "one bin hides what two show"
    assert metrics.ece([0, 1, 0, 1], [0.25, 0.25, 0.75, 0.75], bins=2) == 0.25


def test_limits():
    y, _ = users_and_scores()
    for metric in RANKING:
        assert metric(y, y.astype(float), None) == pytest.approx(1), metric.__name__
        assert metric([1, 0, 0, 0], [0, 1, 2, 3], 3) == 0, metric.__name__
    assert metrics.auc([0, 1], [0, 1]) == 1 and metrics.auc([0, 1], [1, 0]) == 0
    assert metrics.logloss([0, 1], [0, 1]) == pytest.approx(0, abs=1e-15)
    assert metrics.logloss([1], [0]) == pytest.approx(-np.log(metrics.EPS))
    assert metrics.logloss([1, 0], [0, 1], eps=0.1) == pytest.approx(-np.log(0.1))
    assert metrics.ece([0, 1], [0, 1]) == 0


def chance(metric, n, relevant, k):
    """The expected value of a list in random order."""
    if metric is metrics.ndcg:
        discount = 1 / np.log2(np.arange(2, k + 2))
        return relevant / n * discount.sum() / discount[: min(k, relevant)].sum()
    if metric is metrics.recall:
        return k / n
    miss = np.cumprod([(n - relevant - i) / (n - i) for i in range(n - relevant + 1)])  # no hit in the first i + 1
    if metric is metrics.hit_rate:
        return 1 - miss[k - 1]
    if metric is metrics.mrr:
        first = -np.diff(np.concatenate([[1.0], miss]))[:k]
        return (first / np.arange(1, len(first) + 1)).sum()
    # AP: a relevant item at rank r has (r - 1)(R - 1)/(n - 1) relevant ones before it on average
    ranks = np.arange(1, k + 1)
    return relevant / n * ((1 + (ranks - 1) * (relevant - 1) / (n - 1)) / ranks).sum() / min(k, relevant)


@pytest.mark.parametrize("metric", RANKING)
@pytest.mark.parametrize("place", ["relevant first", "relevant last"])
def test_constant_scores_are_chance(metric, place):
    users, n, relevant, k = 6000, 25, 4, 5
    y = np.zeros((users, n))
    y[:, :relevant] = 1
    y = y if place == "relevant first" else y[:, ::-1]
    expected = chance(metric, n, relevant, k)
    assert metric(y, np.zeros((users, n)), k) == pytest.approx(expected, abs=0.02)
    in_order = metric(y, -np.arange(float(n)) * np.ones((users, 1)), k)  # what a stable sort would have given
    assert abs(in_order - expected) > 0.1


def test_constant_scores_are_chance_row_metrics():
    y = np.array([1] * 30 + [0] * 70)
    assert metrics.auc(y, np.full(100, 0.7)) == 0.5
    assert metrics.ece(y, np.full(100, 0.7)) == pytest.approx(0.4)
    assert metrics.logloss(y, np.full(100, 0.3)) == pytest.approx(-(0.3 * np.log(0.3) + 0.7 * np.log(0.7)))


def test_partial_ties_are_random_and_seeded():
    y, s = np.tile([1, 0, 0], (3000, 1)), np.tile([1.0, 1.0, 0.0], (3000, 1))
    assert metrics.mrr(y, s) == pytest.approx(0.75, abs=0.02)
    assert metrics.mrr(y, s, seed=3) == metrics.mrr(y, s, seed=3) != metrics.mrr(y, s, seed=4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.integers(1, 12))
def test_order_of_the_candidates_does_not_matter(seed, n, k):
    rng = np.random.default_rng(seed)
    y, s, order = rng.integers(0, 2, n), rng.permutation(n) / n, rng.permutation(n)
    y[0] = 1
    for metric in RANKING:
        assert metric(y, s, k) == pytest.approx(metric(y[order], s[order], k)), metric.__name__
        assert metric(y, s, k) == pytest.approx(metric(y, 5 * s - 3, k)), "only the order counts"
    y[-1] = 0
    assert metrics.auc(y, s) == pytest.approx(metrics.auc(y[order], s[order]))
    assert metrics.logloss(y, s) == pytest.approx(metrics.logloss(y[order], s[order]))
    assert metrics.ece(y, s) == pytest.approx(metrics.ece(y[order], s[order]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 15), st.integers(1, 20))
def test_values_stay_in_their_range(seed, n, k):
    rng = np.random.default_rng(seed)
    y, s = rng.integers(0, 2, (4, n)), rng.integers(0, 4, (4, n)) / 3
    y[0, 0] = 1
    for metric in RANKING:
        assert -1e-12 <= metric(y, s, k) <= 1 + 1e-12, metric.__name__


def test_excluded_candidates():
    y, s = [0, 1, 1, 0], [9.0, 5.0, -np.inf, -np.inf]
    assert metrics.recall(y, s, 4) == 0.5, "an excluded relevant item is missed, though the list is long enough"
    assert metrics.mrr([0, 1], [-np.inf, 0.0]) == 1, "an excluded item fills no place"
    assert metrics.ndcg([1, 0], [-np.inf, 0.0]) == 0


def test_users_without_a_relevant_item_are_left_out():
    y, s = users_and_scores(5)
    more_y, more_s = np.vstack([y, np.zeros((3, 30))]), np.vstack([s, np.ones((3, 30))])
    for metric in RANKING:
        assert metric(more_y, more_s) == pytest.approx(metric(y, s))
        assert np.isnan(metric(np.zeros(4), np.arange(4.0)))
        assert np.isnan(metric(np.zeros((2, 0)), np.zeros((2, 0))))


def test_undefined_is_nan():
    assert np.isnan(metrics.auc([1, 1], [0.1, 0.2])) and np.isnan(metrics.auc([], []))
    assert np.isnan(metrics.logloss([], [])) and np.isnan(metrics.ece([], []))


@pytest.mark.parametrize("metric", ROWS + RANKING)
def test_bad_input_is_refused(metric):
    with pytest.raises(DataError, match="position 1"):
        metric([1, 0], [0.1, np.nan])
    with pytest.raises(DataError, match="y_true, position 0"):
        metric([2, 0], [0.1, 0.2])
    with pytest.raises(DataError, match="y_true, position 0"):
        metric([np.nan, 0], [0.1, 0.2])
    with pytest.raises(DataError, match="shape"):
        metric([1, 0, 1], [0.1, 0.2])
    with pytest.raises(DataError, match="shape"):
        metric(np.ones((2, 2, 2)), np.ones((2, 2, 2)))


def test_bad_arguments_are_refused():
    with pytest.raises(DataError, match="row 1"):
        metrics.logloss([1, 0], [0.5, 1.5])
    with pytest.raises(DataError, match="row 0"):
        metrics.ece([1, 0], [-0.5, 0.5])
    with pytest.raises(DataError, match=r"shape \[n\]"):
        metrics.auc(np.eye(2), np.eye(2))
    for k in (0, -1, 2.0, True, "10"):
        with pytest.raises(ConfigError, match="k must be"):
            metrics.ndcg([1, 0], [0.1, 0.2], k)


NO_NUMBERS = {
    "nothing": None,
    "one number": 1,
    "text": "101",
    "numbers as text": ["1", "0", "1"],
    "lists of several lengths": [[1, 0], [1]],
    "a list with a gap": [1, None, 0],
    "complex numbers": np.array([1 + 2j, 0, 1]),
    "dates": np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="datetime64[D]"),
    "masked": np.ma.masked_array([1, 0, 1], [0, 1, 0]),
    "with a graph": torch.ones(3, requires_grad=True),
    "a table": {"y": [1, 0, 1]},
}


@pytest.mark.parametrize("metric", ROWS + RANKING)
@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_array_of_numbers_is_told_and_not_cut_to_one(metric, kind):
    for arguments, name in (([1, 0, 1], NO_NUMBERS[kind]), "y_(score|prob)"), ((NO_NUMBERS[kind], [1, 0, 1]), "y_true"):
        with pytest.raises(DataError, match=rf"no numbers\n +where: +{name}"):
            metric(*arguments)


@pytest.mark.parametrize("metric", ROWS + RANKING)
def test_arrays_of_all_sorts_are_the_same_numbers(metric):
    y, s = [1, 0, 1], [0.5, 0.25, 0.75]
    for same in (np.array, tuple, pd.Series, torch.tensor, lambda x: np.array(x, object), np.ma.masked_array):
        assert metric(same(y), same(s)) == metric(y, s)
    assert metric(pd.Series(y, dtype="Int64"), pd.Series(s, dtype="Float64")) == metric(np.array(y, bool), s)
    with pytest.raises(DataError, match="y_true"):
        metric(pd.Series([1, 0, None], dtype="Int64"), [0.5, 0.25, 0.75])


@pytest.mark.parametrize("eps", [0, 0.5, 0.7, -1e-9, 1e-17, np.nan, None, "a"])
def test_probabilities_are_clipped_on_both_sides_or_the_clip_is_told(eps):
    with pytest.raises(ConfigError, match="eps"):
        metrics.logloss([1, 0], [0.1, 1.0], eps=eps)


@pytest.mark.parametrize("seed", [-1, None, 1.5, "a"])
@pytest.mark.parametrize("metric", RANKING)
def test_the_order_of_ties_wants_a_seed(metric, seed):
    with pytest.raises(ConfigError, match="seed"):
        metric([1, 0], [0.5, 0.5], seed=seed)


@pytest.mark.parametrize("lists", [None, 5, [1, 2, 3], ["ab", "cd"], "abc", [None], torch.ones(3)])
def test_coverage_wants_a_list_for_each_user(lists):
    with pytest.raises(DataError, match="no lists of items"):
        metrics.coverage(lists, 10)


def test_coverage():
    assert metrics.coverage([[1, 2], [2, 3]], 6) == 0.5
    assert metrics.coverage([["a", "b"], ["a"]], 4) == 0.5
    assert metrics.coverage(np.tile(np.arange(10), (50, 1)), 100) == 0.1
    assert metrics.coverage([], 5) == 0
    with pytest.raises(DataError, match="catalogue"):
        metrics.coverage([[1, 2, 3]], 2)
