"""Each baseline does what its name says, sees nothing but train, and reaches what it should on MovieLens."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import sklearn.kernel_ridge
from scipy import sparse
from scipy.special import expit
from sklearn.metrics.pairwise import euclidean_distances
from worlds import tasteful

import klm_utils as klm
from klm_utils.data.features import item_features
from klm_utils.errors import ConfigError, DataError
from klm_utils.evaluation import evaluate, metrics
from klm_utils.evaluation.calibration import apply_platt, platt
from klm_utils.models import baselines, side_baselines
from klm_utils.models.choice_baselines import SIDE, weighted_least_squares

SMALL = {"gradient_boosting": lambda: baselines.GradientBoosting(trees=20)}
ALL = [(objective, name) for objective, table in baselines.BASELINES.items() for name in table]
KINDS = ["random", "temporal", "cold_item", "cold_user"]


def make(objective, name):
    return SMALL.get(name, baselines.BASELINES[objective][name])()


def all_pairs(ds):
    pairs = pd.MultiIndex.from_product([ds.users.index, ds.items.index])
    return pairs.get_level_values(0).to_numpy(), pairs.get_level_values(1).to_numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("objective", "name"), ALL)
def test_probabilities_for_every_pair_of_every_split(small, objective, name, kind):
    model = make(objective, name).fit(klm.split(small, kind))
    p = model.predict(*all_pairs(small))
    assert p.dtype == np.float64 and np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1
    assert model.objective == objective and model.name
    u, i = all_pairs(small)
    order = np.random.default_rng(0).permutation(len(u))[:50]
    np.testing.assert_allclose(model.predict(u[order], i[order]), p[order], rtol=1e-12)


@pytest.mark.parametrize("kind", ["random", "cold_item"])
@pytest.mark.parametrize(("objective", "name"), ALL)
def test_test_rows_change_nothing_and_train_rows_do(small, objective, name, kind):
    split = klm.split(small, kind)
    before = make(objective, name).fit(split).predict(*all_pairs(small))
    other = split.test.assign(label=1 - split.test["label"], rating=6 - split.test["rating"])
    np.testing.assert_array_equal(
        make(objective, name).fit(dataclasses.replace(split, test=other)).predict(*all_pairs(small)), before
    )
    cut = len(split.train) // 3
    less = split.train.iloc[cut:]
    less = less.assign(label=1 - less["label"], rating=6 - less["rating"])
    fewer = dataclasses.replace(split, train=less, test=pd.concat([split.train.iloc[:cut], split.test]), name="by hand")
    moved = np.abs(make(objective, name).fit(fewer).predict(*all_pairs(small)) - before).max()
    assert moved == 0 if name == "random" else moved > 1e-9


@pytest.mark.parametrize(("objective", "name"), ALL)
def test_bad_ids_and_no_fit(small, objective, name):
    model = make(objective, name)
    with pytest.raises(ConfigError, match="not fitted"):
        model.predict([1], [1])
    model.fit(klm.split(small, "random"))
    with pytest.raises(DataError, match=r"item_ids, position 1(?s:.*)99"):
        model.predict([1, 1], [1, 99])
    with pytest.raises(DataError, match=r"user_ids, position 0(?s:.*)77"):
        model.predict([77, 1], [1, 1])
    for users, items in (([1, 2], [1]), (None, None), (1, 1), ([[1], [1, 2]], [1, 1]), ([[1]], [[1]])):
        with pytest.raises(DataError, match="pair up"):
            model.predict(users, items)
    assert model.predict([], []).shape == (0,)


def test_planted_structure_is_found_by_those_who_can(small):
    split = klm.split(small, "random")
    auc = {n: evaluate(make("label", n).fit(split), split, n_boot=1).metrics["auc"] for o, n in ALL if o == "label"}
    assert auc["global_mean"] == 0.5
    assert auc["user_item_bias"] > 0.6
    assert auc["bias_als"] > auc["user_item_bias"] + 0.1, "only factors see that taste meets trait"
    assert auc["gradient_boosting"] > auc["user_item_bias"] + 0.05, "trees cross gender and tag"
    assert abs(auc["logistic"] - auc["user_item_bias"]) < 0.06, "an additive model cannot"


def test_cold_items_are_told_apart_by_side_features_only():
    rng = np.random.default_rng(0)
    u, i = np.divmod(rng.choice(60 * 80, 2400, replace=False), 80)
    good = np.arange(80) % 2  # half of the films have the tag, and are liked
    log = pd.DataFrame(
        {"user_id": u, "item_id": i, "rating": np.where(rng.random(2400) < 0.2 + 0.6 * good[i], 5.0, 2.0)}
    )
    items = pd.DataFrame({"item_id": range(80), "title": [f"film {n}" for n in range(80)]})
    items["tags"] = [["good"] if g else ["bad"] for g in good]
    split = klm.split(klm.RecDataset.from_frames(items, None, log), "cold_item")
    auc = {
        n: evaluate(make("label", n).fit(split), split, n_boot=1).metrics["user_auc"] for o, n in ALL if o == "label"
    }
    assert auc["user_item_bias"] == auc["bias_als"] == auc["global_mean"] == 0.5
    assert auc["logistic"] > 0.7 and auc["gradient_boosting"] > 0.7


def test_means_and_popularity_by_hand(small):
    split = klm.split(small, "random")
    assert baselines.GlobalMean().fit(split).predict([1], [1])[0] == pytest.approx(split.train["label"].mean())
    share = split.train[["user_id", "item_id"]].drop_duplicates().shape[0] / (60 * 40)
    assert baselines.GlobalMean("interaction").fit(split).predict([1], [1])[0] == pytest.approx(share)
    popularity = baselines.Popularity().fit(split)
    counts = split.train.groupby("item_id")["user_id"].nunique()
    np.testing.assert_allclose(
        popularity.predict(np.ones(len(counts), int), counts.index), counts / split.train["user_id"].nunique()
    )
    liked = klm.split(tasteful(chosen_by="label"), "random")
    counts = liked.train[liked.train["label"] == 1].groupby("item_id")["user_id"].nunique()
    got = baselines.Popularity().fit(liked).predict(np.ones(len(counts), int), counts.index)
    np.testing.assert_allclose(got, counts / 60)
    with pytest.raises(ConfigError, match="objective"):
        baselines.GlobalMean("clicks")


def test_ease_is_steck_equation_8(small):
    split = klm.split(small, "random")
    model = baselines.EASE(regs=(50.0,)).fit(split)
    x = np.zeros((60, 40))
    x[split.train["user_id"] - 1, split.train["item_id"] - 1] = 1
    for j in (0, 7):  # column j of B is a ridge regression of item j on the other items
        others = np.delete(np.arange(40), j)
        weights = np.linalg.solve(x[:, others].T @ x[:, others] + 50 * np.eye(39), x[:, others].T @ x[:, j])
        got = model.predict(np.arange(60) + 1, np.full(60, j + 1))
        np.testing.assert_allclose(got, expit(x[:, others] @ weights), atol=1e-6)


def test_implicit_als_solves_its_equations(small):
    """A row by hand, and each sweep lowers the loss over all pairs."""
    rng, x = np.random.default_rng(0), sparse.csr_array((np.random.default_rng(1).random((9, 12)) < 0.3).astype(float))
    other = rng.normal(size=(12, 4))
    rows, weight = weighted_least_squares(x, other, alpha=3.0, reg=0.5), 1 + 3.0 * x.toarray()
    for row, w, chosen in zip(rows, weight, x.toarray(), strict=True):
        left = (other * w[:, None]).T @ other + 0.5 * np.eye(4)
        np.testing.assert_allclose(row, np.linalg.solve(left, (other * w[:, None]).T @ chosen))
    split, losses = klm.split(small, "random"), []
    for sweeps in (1, 2, 4, 8):
        model = baselines.ImplicitALS(4, (3.0,), (0.5,), sweeps).fit(split)
        losses.append((((model._table - model._x) ** 2) * (1 + 3.0 * model._x.toarray())).sum())
    assert losses == sorted(losses, reverse=True)


def test_neighbours_by_hand():
    """a and b together for two users, b and c for one; a for three, b for three, c for one."""
    bought = {1: "ab", 2: "ab", 3: "bc", 4: "d", 5: "d", 6: "d", 7: "ad"}
    log = pd.DataFrame([(user, item) for user, some in bought.items() for item in some], columns=["user_id", "item_id"])
    items = pd.DataFrame({"item_id": list("abcd"), "title": list("wxyz")})
    split = klm.split(klm.RecDataset.from_frames(items, None, log), "random").all_in_train()
    model = baselines.ItemKNN((3,), (0.0,)).fit(split)
    of_3_to_a, of_1_to_c = 2 / np.sqrt(3 * 3), 1 / np.sqrt(3 * 1)  # over b, which both users have
    np.testing.assert_allclose(model.predict([3, 1], ["a", "c"]), expit([of_3_to_a, of_1_to_c]))
    nearest = baselines.ItemKNN((1,), (0.0,)).fit(split)
    assert nearest.predict([7], ["b"]) == model.predict([7], ["b"]), "a is the nearest of b"
    assert nearest.predict([7], ["c"]) == 0.5, "b alone is near c"


@pytest.mark.parametrize("regs", [(2.0,), (2.0, 2.0)], ids=["solved", "by eigenvectors"])
def test_kernel_ridge_is_that_of_scikit_learn(small, regs):
    split = klm.split(small, "cold_item")
    vectors = np.random.default_rng(0).normal(size=(len(small.items), 6))
    model = baselines.KernelRidge(vectors, gammas=(0.7,), regs=regs).fit(split)
    known = small.items.index.isin(split.train["item_id"])
    blocks = [item_features(split)[1], vectors]
    blocks = [block - block[known].mean(0) for block in blocks]
    lengths = [np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-9) for block in blocks]
    x = np.hstack([SIDE * blocks[0] / lengths[0], blocks[1] / lengths[1]])
    kernel = np.exp(
        -0.7 * euclidean_distances(x, squared=True) / np.median(euclidean_distances(x[known], squared=True))
    )
    chosen = small.chosen(split.train).pivot_table(index="item_id", columns="user_id", values="label", aggfunc="size")
    chosen = chosen.notna().reindex(index=small.items.index[known], columns=small.users.index, fill_value=False)
    ridge = sklearn.kernel_ridge.KernelRidge(alpha=2.0, kernel="precomputed")
    want = ridge.fit(kernel[np.ix_(known, known)], chosen.astype(float)).predict(kernel[:, known])
    got = model.predict(*all_pairs(small)).reshape(len(small.users), len(small.items)).T
    np.testing.assert_allclose(got, expit(want), atol=1e-7)


def test_kernel_ridge_reads_vectors_in_the_order_of_the_items(small):
    split = klm.split(small, "cold_item")
    for vectors in (np.zeros((3, 2)), np.zeros(len(small.items))):
        with pytest.raises(DataError, match="one vector per item"):
            baselines.KernelRidge(vectors).fit(split)
    assert baselines.KernelRidge(np.eye(3)).name == "kernel ridge + text"


def test_als_solves_its_equations():
    """The gradient of the stated objective is zero in the users after the last step."""
    split = klm.split(tasteful(seed=3), "random")
    model = baselines.BiasALS(width=3, regs=(1.0,), bias_reg=2.0, sweeps=4, starts=1).fit(split)
    (mean, users, items), u, i = model._learnt[0], split.train["user_id"] - 1, split.train["item_id"] - 1
    error = split.train["rating"] - mean - users[u, -1] - items[i, -1] - (users[u, :-1] * items[i, :-1]).sum(1)
    for user in (0, 31):
        rows = (u == user).to_numpy()
        z = np.c_[items[i[rows], :-1], np.ones(rows.sum())]
        gradient = -z.T @ error[rows] + np.sqrt(rows.sum()) * np.array([1, 1, 1, 2.0]) * users[user]
        np.testing.assert_allclose(gradient, 0, atol=1e-9)


def test_shown_rows_make_cold_users_known(small):
    none, some = klm.split(small, "cold_user"), klm.split(small, "cold_user", shown=6)
    for model in (baselines.BiasALS, baselines.UserItemBias):
        without, shown = (evaluate(model().fit(s), s, n_boot=1).metrics["auc"] for s in (none, some))
        assert shown > without + 0.03, model.name
    ease = baselines.EASE().fit(some)
    cold = some.shown["user_id"].unique()[:2]
    lists = [ease.predict(np.full(40, user), small.items.index) for user in cold]
    assert not np.allclose(*lists), "two cold users with a history each have a list of their own"


def test_users_without_history_get_the_popular_list(small):
    split = klm.split(small, "cold_user")
    cold = np.full(40, split.test["user_id"].iloc[0])
    ease, popular = (m().fit(split).predict(cold, small.items.index) for m in (baselines.EASE, baselines.Popularity))
    assert np.array_equal(np.argsort(ease, kind="stable"), np.argsort(popular, kind="stable"))


def test_out_of_fold_means_do_not_give_the_label_away():
    """Labels are coin tosses; within a user the mean of the *other* rows is the label upside down."""
    rng = np.random.default_rng(0)
    user, y = np.repeat(np.arange(5), 1000), rng.integers(0, 2, 5000)
    leave_one_out = (np.bincount(user, weights=y)[user] - y) / 999
    folds = side_baselines.out_of_fold(user, y.astype(float), 6, rng.integers(0, 5, 5000))
    for u in range(5):
        rows = user == u
        assert metrics.auc(y[rows], -leave_one_out[rows]) == 1
        assert abs(metrics.auc(y[rows], folds[rows, 0]) - 0.5) < 0.06
    np.testing.assert_allclose(folds[:, 1], 1000, rtol=0.06)
    alone = side_baselines.out_of_fold(np.array([0, 1, 1]), np.array([5.0, 1, 1]), 2, np.array([0, 0, 1]))
    assert np.isnan(alone[0]).all(), "a user of one row has no other rows"


@pytest.mark.parametrize("once", [["item_id"], ["user_id"], ["user_id", "item_id"]])
@pytest.mark.parametrize("kind", ["random", "temporal"])
@pytest.mark.parametrize(("objective", "name"), ALL)
def test_goods_that_are_sold_once_and_people_who_come_once(small, once, kind, objective, name):
    """Nothing can be said of an id from its other rows: there are none."""
    log = small.interactions.iloc[:400][["user_id", "item_id", "timestamp", "rating"]]
    log = log.assign(**{column: np.arange(len(log)) for column in once})
    items = pd.DataFrame({"item_id": np.sort(log["item_id"].unique())})
    ds = klm.RecDataset.from_frames(items.assign(title="thing " + items["item_id"].astype(str)), None, log)
    split = klm.split(ds, kind)
    p = make(objective, name).fit(split).predict(split.test["user_id"], split.test["item_id"])
    assert np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1


def test_where_one_column_is_missing_everywhere_the_others_still_tell(small):
    log = small.interactions.iloc[:400][["user_id", "item_id", "timestamp", "rating"]]
    log = log.assign(item_id=np.arange(400))
    tags = [["plus"] if rating > 3 else ["minus"] for rating in log["rating"]]
    items = pd.DataFrame({"item_id": np.arange(400), "title": [f"thing {n}" for n in range(400)], "tags": tags})
    split = klm.split(klm.RecDataset.from_frames(items, small.users.reset_index(), log), "random")
    model = baselines.GradientBoosting().fit(split)
    assert metrics.auc(split.test["label"], model.predict(split.test["user_id"], split.test["item_id"])) > 0.9


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: baselines.EASE(regs=(-1e9,)), "each of regs"),
        (lambda: baselines.EASE(regs=()), "regs"),
        (lambda: baselines.ItemKNN(neighbours=()), "neighbours"),
        (lambda: baselines.ItemKNN(neighbours=(0,)), "each of neighbours"),
        (lambda: baselines.ImplicitALS(alphas=(0,)), "each of alphas"),
        (lambda: baselines.ImplicitALS(width=0), "width"),
        (lambda: baselines.EASE(regs=300.0), "regs"),
        (lambda: baselines.EASE(regs=None), "regs"),
        (lambda: baselines.EASE(regs=("a",)), "each of regs"),
        (lambda: baselines.EASE(regs=(np.nan,)), "each of regs"),
        (lambda: baselines.BiasALS(regs=(0.0,)), "each of regs"),
        (lambda: baselines.BiasALS(sweeps=0), "sweeps"),
        (lambda: baselines.BiasALS(starts=0), "starts"),
        (lambda: baselines.BiasALS(width=-1), "width"),
        (lambda: baselines.BiasALS(bias_reg=0.0), "bias_reg"),
        (lambda: baselines.UserItemBias(reg=-1), "reg"),
        (lambda: baselines.UserItemBias(reg=None), "reg"),
        (lambda: baselines.Logistic(strengths=()), "strengths"),
        (lambda: baselines.Logistic(strengths=(0,)), "each of strengths"),
        (lambda: baselines.GradientBoosting(trees=0), "trees"),
        (lambda: baselines.GradientBoosting(learning_rate=0), "learning_rate"),
        (lambda: baselines.GradientBoosting(blank=1.5), "blank"),
        (lambda: baselines.GradientBoosting(seed=-1), "seed"),
        (lambda: baselines.GlobalMean(None), "objective"),
    ],
)
def test_settings_that_fit_nothing_are_told_before_the_fit(make, name):
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.where == name and caught.value.remedy


@pytest.mark.parametrize(("objective", "name"), ALL)
def test_a_baseline_is_fitted_on_a_split(small, objective, name):
    for wrong in (None, small, klm.split(small, "random").train, "random"):
        with pytest.raises(ConfigError, match="no split"):
            make(objective, name).fit(wrong)


def test_one_class_has_nothing_to_learn():
    split = klm.split(tasteful(rows=300, like_at=0), "random")
    for model in (baselines.Logistic(), baselines.GradientBoosting()):
        with pytest.raises(DataError, match="labels of train are equal"):
            model.fit(split)
    assert baselines.BiasALS().fit(split).predict([1], [1])[0] > 0.8


def test_platt_recovers_a_logistic_curve():
    rng = np.random.default_rng(0)
    score = rng.normal(3, 2, 50_000)
    y = (rng.random(50_000) < expit(1.5 * score - 4)).astype(int)
    a, b = platt(score, y)
    assert (a, b) == (pytest.approx(1.5, abs=0.05), pytest.approx(-4, abs=0.1))
    assert metrics.ece(y, apply_platt(score, a, b)) < 0.01 < metrics.ece(y, expit(score))


def test_platt_at_the_limits():
    for scores, labels in (([1, 2, 3, 4], [0, 0, 1, 1]), ([1, 2], [1, 1]), ([5, 5, 5], [0, 1, 1])):
        a, b = platt(scores, labels)
        p = apply_platt(scores, a, b)
        assert np.isfinite([a, b]).all() and (p > 0).all() and (p < 1).all()
    assert a == 0 and p[0] == pytest.approx((2 * 3 / 4 + 1 / 3) / 3), "constant scores: the smoothed base rate"


@pytest.mark.parametrize("scores", [None, "a", [], [0.1, 0.2], [np.nan, 0.0, 1.0], [[0.1], [0.2], [0.3]]])
def test_platt_wants_a_score_for_each_label(scores):
    for labels in ([0, 1, 1], scores):
        with pytest.raises(DataError):
            platt(scores, labels)


@pytest.fixture(scope="module")
def random_split(movielens):
    return klm.split(movielens, "random")


def test_bias_als_on_movielens(random_split):
    als, bias = (evaluate(m().fit(random_split), random_split) for m in (baselines.BiasALS, baselines.UserItemBias))
    assert als.metrics["auc"] >= 0.79 and als.metrics["ece"] < 0.03
    assert klm.evaluation.paired_gain(als, bias).low > 0.01


def test_ease_beats_popularity_on_movielens(random_split):
    models = baselines.EASE(regs=(300.0,)), baselines.Popularity()
    ease, popular = (evaluate(m.fit(random_split), random_split) for m in models)
    assert ease.metrics["ndcg@10"] > 0.3 and klm.evaluation.paired_gain(ease, popular).low > 0.1


def test_no_id_model_knows_a_cold_item(movielens):
    split = klm.split(movielens, "cold_item")
    for model in (baselines.Popularity(), baselines.EASE(regs=(300.0,))):
        ranked = evaluate(model.fit(split), split, n_boot=20).metrics
        assert ranked["recall@10"] == pytest.approx(10 / split.test["item_id"].nunique(), rel=0.15), model.name
    assert evaluate(baselines.BiasALS(starts=1).fit(split), split, n_boot=1).metrics["user_auc"] == 0.5
