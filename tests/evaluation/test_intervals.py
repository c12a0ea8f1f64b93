"""Weights of one give the metric, integer weights give the metric of the repeated rows, intervals cover."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from klm_utils.errors import ConfigError
from klm_utils.evaluation import intervals, metrics

RNG = np.random.default_rng(0)
N, USERS = 400, 30
USER = RNG.integers(0, USERS, N) + 100
Y = RNG.integers(0, 2, N)
P = np.round(np.clip(0.5 + 0.2 * (Y - 0.5) + 0.2 * RNG.normal(size=N), 0, 1), 1)  # many ties
ROW_STATISTICS = [
    (intervals.pooled_auc, metrics.auc),
    (intervals.logloss, metrics.logloss),
    (intervals.ece, metrics.ece),
]


@pytest.mark.parametrize(("statistic", "metric"), ROW_STATISTICS)
def test_weights_repeat_the_rows_of_a_user(statistic, metric):
    stat = statistic(USER, Y, P)
    assert stat.estimate() == pytest.approx(metric(Y, P), abs=1e-12)
    weights = RNG.integers(0, 4, (5, len(stat.users)))
    place = {user: i for i, user in enumerate(stat.users)}
    for row, got in zip(weights, stat.value(weights.astype(float)), strict=True):
        times = row[[place[u] for u in USER]]
        assert got == pytest.approx(metric(np.repeat(Y, times), np.repeat(P, times)), abs=1e-12)


def test_pooled_auc_is_the_pair_matrix_form():
    stat = intervals.pooled_auc(USER, Y, P)
    of = [u == USER for u in stat.users]
    won = (P[:, None] > P[None, :]) + 0.5 * (P[:, None] == P[None, :])
    matrix = np.array([[won[np.ix_(a & (Y == 1), b & (Y == 0))].sum() for b in of] for a in of])
    w = RNG.multinomial(len(of), np.full(len(of), 1 / len(of))).astype(float)
    positives, negatives = (np.array([(Y[a] == c).sum() for a in of]) for c in (1, 0))
    assert stat.value(w[None])[0] == pytest.approx(w @ matrix @ w / ((w @ positives) * (w @ negatives)), abs=1e-12)


def test_user_auc_is_the_mean_over_users_with_both_classes():
    user, y = np.append(USER, [999, 999]), np.append(Y, [1, 1])  # 999 has one class only
    p = np.append(P, [0.1, 0.2])
    per_user = [roc_auc_score(Y[u == USER], P[u == USER]) for u in np.unique(USER) if len(set(Y[u == USER])) == 2]
    assert intervals.user_auc(user, y, p).estimate() == pytest.approx(np.mean(per_user), abs=1e-12)


def test_mean_and_coverage():
    users = np.array(["a", "b", "c"])
    stat = intervals.mean_over_users(users, np.array([1.0, np.nan, 0.0]))
    np.testing.assert_allclose(stat.value(np.array([[1, 1, 1], [3, 0, 1], [0, 2, 0]])), [0.5, 0.75, np.nan])
    stat = intervals.coverage(np.array(list("aabbc")), np.array([0, 1, 1, 2, 3]), 8)
    np.testing.assert_allclose(stat.value(np.array([[1, 1, 1], [3, 0, 0], [0, 0, 3]])), [4 / 8, 2 / 8, 1 / 8])


def test_intervals_of_a_mean_cover_it_about_as_often_as_they_say():
    rng, users, hits = np.random.default_rng(1), np.arange(60), 0
    for _ in range(300):
        stat = intervals.mean_over_users(users, (rng.random(60) < 0.3).astype(float))
        low, high = intervals.interval(stat, level=0.9, n_boot=300)
        hits += low <= 0.3 <= high
    assert 0.85 <= hits / 300 <= 0.95


def test_rows_of_one_user_are_not_independent():
    """Ten copies of every row must not narrow the interval: the users are as many as before."""
    low, high = intervals.interval(intervals.pooled_auc(USER, Y, P))
    ten = intervals.interval(intervals.pooled_auc(*(np.repeat(a, 10) for a in (USER, Y, P))))
    assert ten == pytest.approx((low, high), abs=1e-9)
    alone_low, alone_high = intervals.interval(
        intervals.pooled_auc(np.arange(10 * N), np.repeat(Y, 10), np.repeat(P, 10))
    )
    assert alone_high - alone_low < 0.5 * (high - low), "rows drawn one by one would pretend to know more"


def test_intervals_hold_the_metric_even_where_the_bootstrap_is_biased():
    top = np.random.default_rng(2).integers(0, 500, (60, 10))
    stat = intervals.coverage(np.repeat(np.arange(60), 10), top.ravel(), 500)
    weights = np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), 200).astype(float)
    assert stat.value(weights).max() < stat.estimate(), "every draw lies below: plain percentiles would miss"
    low, high = intervals.interval(stat)
    assert low < stat.estimate() < high
    calibrated = np.random.default_rng(3).random(4000)
    y = (np.random.default_rng(4).random(4000) < calibrated).astype(int)
    stat = intervals.ece(np.arange(4000) % 100, y, calibrated)
    low, high = intervals.interval(stat)
    assert 0 <= low < stat.estimate() < high


def test_seeded_and_level():
    stat = intervals.logloss(USER, Y, P)
    assert intervals.interval(stat, seed=1) == intervals.interval(stat, seed=1) != intervals.interval(stat, seed=2)
    (low, high), (inner_low, inner_high) = intervals.interval(stat, 0.99), intervals.interval(stat, 0.5)
    assert low < inner_low < inner_high < high


def test_undefined_everywhere():
    stat = intervals.pooled_auc(np.array([1, 2]), np.array([1, 1]), np.array([0.1, 0.2]))
    assert np.isnan(stat.estimate()) and np.isnan(intervals.interval(stat)).all()


def test_an_auc_rests_on_the_smaller_of_its_two_groups_of_users():
    """One buyer among twenty: the draws move the others only, and would call the buyer certain."""
    user, y = np.arange(20), (np.arange(20) == 3).astype(int)
    stat = intervals.pooled_auc(user, y, np.linspace(0, 1, 20))
    assert stat.support == 1 and np.isfinite(stat.estimate()) and np.isnan(intervals.interval(stat)).all()
    y[4] = 1
    two = intervals.pooled_auc(user, y, np.linspace(0, 1, 20))
    assert two.support == 2 and np.isfinite(intervals.interval(two)).all()


def test_a_mean_over_seeds_is_as_weak_as_its_weakest_seed():
    one = intervals.mean_over_users(np.arange(3), np.array([0.5, np.nan, np.nan]))
    other = intervals.mean_over_users(np.arange(3), np.array([np.nan, 0.1, 0.4]))
    assert (one.support, other.support) == (1, 2)
    for joint in (intervals.average([other, one]), intervals.difference(other, one)):
        assert joint.support == 1 and np.isnan(intervals.interval(joint)).all()


@pytest.mark.parametrize("wrong", [{"level": 1}, {"level": "a"}, {"n_boot": 0}, {"n_boot": 9.5}, {"seed": -1}])
def test_an_interval_of_nothing(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        intervals.interval(intervals.logloss(USER, Y, P), **wrong)


def test_pairing_and_pooling_follow_the_users():
    a = intervals.mean_over_users(np.array([1, 2, 3]), np.array([0.5, 0.7, 0.9]))
    b = intervals.mean_over_users(np.array([3, 1, 2]), np.array([0.8, 0.4, 0.6]))
    difference = intervals.difference(a, b)
    low, high = intervals.interval(difference)
    assert difference.estimate() == pytest.approx(low) == pytest.approx(high) == pytest.approx(0.1), (
        "same for everybody"
    )
    pooled = intervals.average([a, intervals.mean_over_users(np.array([3, 4]), np.array([0.0, 1.0]))])
    assert pooled.users.tolist() == [1, 2, 3, 4] and pooled.estimate() == pytest.approx((0.7 + 0.5) / 2)
    assert pooled.value(np.array([[0, 0, 1.0, 0]]))[0] == pytest.approx((0.9 + 0.0) / 2)


def test_a_thousand_draws_cost_less_than_a_fifth_of_sorting_anew():
    rng = np.random.default_rng(0)
    user, y, p = rng.integers(0, 943, 10_000), rng.integers(0, 2, 10_000), rng.random(10_000)
    stat = intervals.pooled_auc(user, y, p)
    start = time.perf_counter()
    intervals.interval(stat)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(20):
        roc_auc_score(y, p, sample_weight=rng.integers(0, 3, 943)[user])
    assert ours < 50 * (time.perf_counter() - start) / 5


# for other items too


@pytest.mark.parametrize("metric", ["auc", "logloss"])
def test_a_row_counts_as_its_user_times_its_item(metric):
    """Weights are what copying the rows gives; with weights of one for the items, what `value` gives."""
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 7, 60), rng.integers(0, 5, 60)
    y, p = rng.integers(0, 2, 60), rng.choice([0.1, 0.4, 0.4, 0.8], 60)  # with ties
    stat = {"auc": intervals.pooled_auc, "logloss": intervals.logloss}[metric](users, y, p, items=items)
    w, v = (rng.integers(0, 4, (6, len(ids))).astype(float) for ids in (stat.users, stat.items))
    u, i = pd.Index(stat.users).get_indexer(users), pd.Index(stat.items).get_indexer(items)
    copies = [np.repeat(np.arange(60), (wu[u] * vi[i]).astype(int)) for wu, vi in zip(w, v, strict=True)]
    score = {"auc": roc_auc_score, "logloss": log_loss}[metric]
    np.testing.assert_allclose(stat.crossed(w, v), [score(y[at], p[at]) for at in copies])
    np.testing.assert_allclose(stat.crossed(w, np.ones_like(v)), stat.value(w))


def test_items_drawn_along_widen_the_interval_where_items_differ():
    """A gain that depends on the item alone: users of any number do not make it certain."""
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(400), 10), np.tile(np.arange(10), 400)
    worth = rng.normal(size=10)[items]
    y = (rng.random(4000) < 1 / (1 + np.exp(-worth))).astype(int)
    both = [intervals.logloss(users, y, p, items=items) for p in (1 / (1 + np.exp(-worth)), np.full(4000, 0.5))]
    gain = intervals.difference(*both)
    (low, high), (wide_low, wide_high) = intervals.interval(gain), intervals.two_way(gain)
    assert wide_high - wide_low > 3 * (high - low)
    assert np.isnan(intervals.two_way(intervals.difference(both[0], intervals.logloss(users, y, worth)))).all()


def test_an_item_drawn_counts_in_every_report_that_is_pooled():
    a = intervals.logloss(np.array([1, 2]), np.array([1, 0]), np.array([0.5, 0.25]), items=np.array([7, 8]))
    b = intervals.logloss(np.array([2, 3]), np.array([1, 1]), np.array([0.5, 0.125]), items=np.array([8, 9]))
    both = intervals.average([a, b])
    assert both.users.tolist() == [1, 2, 3] and both.items.tolist() == [7, 8, 9]
    found = both.crossed(np.array([[1.0, 1, 1]]), np.array([[1.0, 0, 1]]))  # item 8 is not drawn
    assert found[0] == pytest.approx((np.log(2) + np.log(8)) / 2)


def test_the_corrected_t_interval_by_hand():
    """Values 1, 2, 3: mean 2, variance 1; t of 2 degrees of freedom is 4.3027; 1/3 + 1/9 = 4/9."""
    low, high = intervals.over_splits(np.array([1.0, 2.0, 3.0]), shared=1 / 9)
    assert (low, high) == pytest.approx((2 - 4.30265 * 2 / 3, 2 + 4.30265 * 2 / 3), abs=1e-4)
    assert np.isnan(intervals.over_splits(np.array([1.0]), 0.1)).all()


def test_holm_by_hand():
    """Sorted .01 .02 .04 times 3, 2, 1; none may be below the one before it."""
    assert intervals.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert intervals.holm([0.9, 0.5]) == pytest.approx([1.0, 1.0]) and intervals.holm([]).shape == (0,)
