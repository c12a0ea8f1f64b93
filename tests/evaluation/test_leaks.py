"""The two alarms for answers among the inputs: better than the truth, and predictions that follow the test labels."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from worlds import Table, tasteful

import klm_utils as klm
from klm_utils.evaluation import intervals
from klm_utils.evaluation.leaks import changes_with_labels, leak_alarm

ITEMS = 40


def world(seed=0, users=80, rows=2400, base=0.0, spread=1.0, known=True):
    """A log in random order of time, its labels drawn from probabilities that are known; logit = base + user + item."""
    rng = np.random.default_rng(seed)
    u, i = np.divmod(rng.choice(users * ITEMS, rows, replace=False), ITEMS)
    p = expit(base + rng.normal(0, spread, users)[u] + rng.normal(0, spread, ITEMS)[i])
    label = (rng.random(rows) < p).astype(int)
    log = pd.DataFrame({"user_id": u + 1, "item_id": i + 1, "timestamp": rng.permutation(rows), "label": label})
    items = pd.DataFrame({"item_id": np.arange(ITEMS) + 1, "title": [f"thing {n}" for n in range(ITEMS)]})
    return klm.RecDataset.from_frames(items, None, log, name="world", optimum=p if known else None)


def labels(split):
    return split.dataset.interactions["label"].to_numpy()


def check(split, p, part="test", **fields):
    """Evaluate a model that predicts p for the rows of the log."""
    log = split.dataset.interactions
    table = Table(dict(zip(zip(log["user_id"], log["item_id"], strict=True), p, strict=True)), **fields)
    return klm.evaluate(table, split, part=part, n_boot=1)


def alarms(split, p):
    try:
        return not check(split, p)
    except klm.LeakError:
        return True


@pytest.fixture(scope="module")
def split():
    return klm.split(world(), "random")


@pytest.fixture(scope="module")
def truth(split):
    return split.dataset.optimum


@pytest.mark.parametrize("part", ["test", "valid"])
def test_the_model_is_compared_with_the_optimum_of_the_same_rows(split, truth, part, monkeypatch):
    seen = SimpleNamespace()
    monkeypatch.setattr(
        "klm_utils.evaluation.report.leak_alarm", lambda *a, **names: seen.__dict__.update(a=a, **names)
    )
    report, frame = check(split, truth, part), getattr(split, part)
    users, y, _, optimum = seen.a
    assert (seen.model, seen.where) == ("table", f"split.{part} of 'random'")
    assert users.tolist() == frame["user_id"].tolist() and y.tolist() == frame["label"].tolist()
    assert klm.metrics.logloss(y, optimum) == report.metrics["logloss"] < 0.62, "aligned, and with the labels"


def test_the_optimum_and_noisy_versions_of_it_pass(split, truth):
    for part in ("test", "valid"):
        check(split, truth, part)
    for seed, noise in enumerate([0.001, 0.01, 0.1, 0.5, 2.0] * 4):
        check(split, expit(logit(truth) + noise * np.random.default_rng(seed).normal(size=len(truth))))


def test_who_knows_the_labels_is_told_where_to_look(split):
    with pytest.raises(klm.LeakError) as error:
        check(split, 0.1 + 0.8 * labels(split), name="cheat")
    assert isinstance(error.value, klm.DataError)
    text = str(error.value)
    assert "'cheat'" in text and "split.test of 'random'" in text and "auc 1.0000, of the true probabilities 0." in text
    assert "[0." in text and "99.9 %" in text and "history" in text and "file order" in text


@pytest.mark.parametrize("part", ["test", "valid"])
def test_who_knows_them_a_little_is_found_too(split, truth, part):
    with pytest.raises(klm.LeakError, match=f"split.{part}"):
        check(split, 0.9 * truth + 0.1 * labels(split), part)


def test_a_wrong_calibration_is_no_leak(split, truth):
    for p in (truth**2, truth / 2, 0.25 + truth / 2, expit(3 * logit(truth))):
        assert check(split, p).metrics["auc"] == pytest.approx(check(split, truth).metrics["auc"])


def test_a_leak_that_shows_in_one_metric_only_is_found():
    """Of a fair coin 40 % of the heads are known. The other heads stand below every tail: the AUC is below .5."""
    split = klm.split(world(spread=0), "random")
    y, known = labels(split), np.random.default_rng(0).random(2400) < 0.4
    p = np.where(y == 0, 0.4901, np.where(known, 0.99, 0.49))
    frame = split.test
    assert klm.metrics.auc(frame["label"], p[frame.index]) < 0.5
    with pytest.raises(klm.LeakError, match=r"logloss 0\.5.*true probabilities 0\.6931"):
        check(split, p)
    with pytest.raises(klm.LeakError, match="auc 0"):  # an order that knows, by odds that mislead
        check(split, 0.01 * (1 + np.where(known, y, 0.5)))


def test_no_truth_no_alarm(split):
    unknown = klm.split(world(known=False), "random")
    assert check(unknown, labels(unknown)).metrics["auc"] == 1
    assert "ndcg@10" in check(split, labels(split), objective="interaction").metrics


def test_honest_models_hardly_ever_set_it_off():
    """As good as the optimum but for chance: a logistic fit on the true log-odds and noise, and the blurred optimum.

    The bootstrap alone accuses the fitted one 4 times: where two orders differ in a few pairs, it trusts these pairs.
    """
    fitted = blurred = 0
    for seed in range(200):
        split, rng = klm.split(world(seed, users=50, rows=1000, base=-1), "random", seed), np.random.default_rng(seed)
        x = np.column_stack([logit(split.dataset.optimum), rng.normal(size=1000)])
        model = LogisticRegression(C=100.0).fit(x[split.train.index], split.train["label"])
        fitted += alarms(split, model.predict_proba(x)[:, 1])
        blurred += alarms(split, expit(x[:, 0] + 0.05 * x[:, 1]))
    assert fitted <= 1 and blurred <= 1  # expected: 2 metrics of 1 in 2,000, one-sided


def test_few_users_and_rare_labels_are_no_excuse_for_a_false_alarm():
    """Where nobody or one user bought, whoever says less is better for all other users: that is chance, not a leak."""
    splits = [klm.split(world(seed, users=12, rows=240, base=-3.5), "random") for seed in range(40)]
    assert not any(alarms(s, s.dataset.optimum * 0.5) for s in splits)


def knowing(users, n, share, seed=0):
    """users, labels, predictions that know `share`, true probabilities: of n rows for each user."""
    rng = np.random.default_rng(seed)
    optimum = np.repeat(rng.uniform(0.05, 0.95, users), n)
    y = (rng.random(users * n) < optimum).astype(float)
    return np.repeat(np.arange(users), n), y, (1 - share) * optimum + share * y, optimum


@pytest.mark.parametrize("users", [1, 3, 40])
def test_few_users_do_not_hide_a_clear_leak(users):
    with pytest.raises(klm.LeakError):
        leak_alarm(*knowing(users, 100, 0.2), model="sly", where="here")


def test_the_pairing_decides():
    """A small gain for everybody: each log loss by itself is far too uncertain to tell the two apart."""
    users, y, p, optimum = knowing(40, 10, 0.04)
    p[np.lexsort((p, optimum))] = np.sort(p)  # the order of the optimum
    single = intervals.interval(intervals.logloss(users, y, p), 0.999)
    assert single[0] < klm.metrics.logloss(y, optimum) < single[1]
    with pytest.raises(klm.LeakError):
        leak_alarm(users, y, p, optimum, model="sly", where="here")


def test_labels_that_hang_together_are_left_to_the_bootstrap():
    """All 40 labels of a user are one draw: as if independent, the luck of 12 users would look like knowledge."""
    rng, raised = np.random.default_rng(0), 0
    for _ in range(60):
        users, optimum = np.repeat(np.arange(30), 40), np.full(1200, 0.5)
        y = np.repeat((rng.random(30) < 0.5).astype(float), 40)
        p = np.repeat(expit(0.3 * rng.normal(size=30)), 40)
        try:
            leak_alarm(users, y, p, optimum, model="lucky", where="here")
        except klm.LeakError:
            raised += 1
    assert raised <= 1


# The second alarm.


class ItemMean:
    """The share of label 1 of each item, or its mean of another column, in the rows that `rows_of(split)` hands out."""

    def __init__(self, rows_of, column="label"):
        self.rows_of, self.column = rows_of, column

    def fit(self, split):
        self.means = self.rows_of(split).groupby("item_id")[self.column].mean()
        return self

    def predict(self, user_ids, item_ids):
        return self.means.reindex(item_ids).fillna(0).to_numpy()


def everything(split):
    return split.dataset.interactions


@pytest.fixture(scope="module", params=["random", "temporal", "cold_item", "cold_user"])
def any_split(request):
    return klm.split(tasteful(), request.param, **({"shown": 2} if request.param == "cold_user" else {}))


def test_a_fit_that_does_not_read_test_predicts_the_same(any_split):
    for baseline in (klm.baselines.BASELINES["label"][name] for name in ("user_item_bias", "logistic")):
        assert changes_with_labels(lambda s, baseline=baseline: baseline().fit(s), any_split) == 0.0


@pytest.mark.parametrize("rows_of", [everything, lambda s: pd.concat([s.train, s.test])])
@pytest.mark.parametrize("column", ["label", "rating"])
def test_a_mean_over_rows_of_test_is_seen(any_split, rows_of, column):
    assert changes_with_labels(lambda s: ItemMean(rows_of, column).fit(s), any_split) > 0.01


def test_rows_of_valid_and_train_stay_as_they_are(any_split):
    for rows_of in (
        lambda s: pd.concat([s.train, s.valid, s.shown]),
        lambda s: s.dataset.interactions.drop(s.test.index),
    ):
        assert changes_with_labels(lambda s, rows_of=rows_of: ItemMean(rows_of, "rating").fit(s), any_split) == 0.0


def test_the_optimum_counts_as_an_answer(split):
    def fit(split):
        return ItemMean(lambda s: s.dataset.interactions.assign(label=s.dataset.optimum)).fit(split)

    assert changes_with_labels(fit, split) > 0.01


def test_the_twin_is_the_same_split_with_the_other_labels(any_split):
    seen, before = [], any_split.dataset.interactions.copy()
    changes_with_labels(lambda s: (seen.append(s), ItemMean(lambda s: s.train).fit(s))[1], any_split)
    assert seen[0] is any_split
    pd.testing.assert_frame_equal(any_split.dataset.interactions, before)
    pd.testing.assert_frame_equal(any_split.test, before.loc[any_split.test.index])
    twin = seen[1]
    for part in ("train", "valid", "shown"):
        pd.testing.assert_frame_equal(getattr(twin, part), getattr(any_split, part))
    pd.testing.assert_frame_equal(twin.test, twin.dataset.interactions.loc[any_split.test.index])
    fixed = ["user_id", "item_id", "timestamp"]
    pd.testing.assert_frame_equal(twin.test[fixed], any_split.test[fixed])
    assert (twin.test["label"] == 1 - any_split.test["label"]).all()
    assert (twin.test["label"] == (twin.test["rating"] >= 4)).all(), "label and rating agree"
    assert (twin.protocol, twin.name) == (any_split.protocol, any_split.name)


def test_a_rating_that_is_the_label_stays_the_label(split):
    seen = []
    changes_with_labels(lambda s: (seen.append(s), ItemMean(lambda s: s.train).fit(s))[1], split)
    twin = seen[1]
    assert (twin.test["rating"] == twin.test["label"]).all() and (twin.test["label"] == 1 - split.test["label"]).all()
    optimum, rows = split.dataset.optimum, split.test.index
    np.testing.assert_array_equal(twin.dataset.optimum[rows], 1 - optimum[rows])
    np.testing.assert_array_equal(np.delete(twin.dataset.optimum, rows), np.delete(optimum, rows))


def test_one_model_fitted_twice_is_compared_with_its_first_predictions(split):
    model = ItemMean(everything)
    assert changes_with_labels(model.fit, split) > 0.01


def test_the_search_for_a_leak_wants_a_fit_and_a_split(split):
    for fit, of in ((None, split), (split, split), (lambda split: None, split), (lambda s: world, None)):
        with pytest.raises(klm.ConfigError, match="changes_with_labels"):
            changes_with_labels(fit, of)
