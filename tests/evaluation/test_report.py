"""evaluate, pooled, paired_gain: what they measure, what they refuse."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score
from worlds import Table, tasteful

import klm_utils as klm
from klm_utils.errors import ConfigError, DataError
from klm_utils.evaluation import evaluate, intervals, paired_gain, pooled, ranking
from klm_utils.evaluation.gain import Gain
from klm_utils.evaluation.report import plain
from klm_utils.models import baselines


def noisy(split, noise, seed=0, name="noisy", objective="label"):
    """Predicts the label of every row of the log, blurred."""
    rng, log = np.random.default_rng(seed), split.dataset.interactions
    p = np.clip(log["label"] * 0.4 + 0.3 + noise * rng.normal(size=len(log)), 0, 1)
    return Table(dict(zip(zip(log["user_id"], log["item_id"], strict=True), p, strict=True)), 0.2, name, objective)


def test_label_report_equals_scikit_learn(small):
    split = klm.split(small, "random")
    model = noisy(split, 0.3)
    report = klm.evaluate(model, split)
    p = model.predict(split.test["user_id"], split.test["item_id"])
    assert list(report.metrics) == ["auc", "user_auc", "logloss", "ece"]
    assert report.metrics["auc"] == pytest.approx(roc_auc_score(split.test["label"], p))
    assert report.metrics["logloss"] == pytest.approx(log_loss(split.test["label"], p))
    for metric, (low, high) in report.intervals.items():
        assert low < report.metrics[metric] < high, metric
    assert evaluate(model, split, part="valid").metrics["auc"] != report.metrics["auc"]


def test_text_table_and_dict_carry_everything(small):
    report = evaluate(noisy(klm.split(small, "random"), 0.3), klm.split(small, "random"), n_boot=50, level=0.9)
    text = str(report)
    assert report.name in text and "planted, random 80/10/10" in text and "test: labels of all 150 rows" in text
    assert "90 % bootstrap over users, 50 draws" in text
    for metric, value in report.metrics.items():
        low, high = report.intervals[metric]
        assert f"{value:.4f}  [{low:.4f}, {high:.4f}]" in text
        assert report.table().loc[metric].tolist() == [value, low, high, report.users[metric]]
    assert (
        f"]  rests on {report.users['user_auc']} of {report.n_users} users\n" in text
        and report.users["ece"] == report.n_users
    )
    again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (
        again["users"] == report.users and again["metrics"] == report.metrics and again["protocol"] == report.protocol
    )


class Coin:
    """Guesses."""

    def __init__(self, seed, name="coin"):
        self.rng, self.name = np.random.default_rng(seed), name

    def predict(self, user_ids, item_ids):
        return self.rng.random(len(user_ids))


def test_from_one_user_nothing_follows():
    split = klm.split(busy_user(users=[1] * 400 + [2] * 100), "temporal")
    assert split.test["user_id"].nunique() == 1
    a, b = (evaluate(Coin(seed), split) for seed in (1, 2))
    assert set(a.users.values()) == {1} and np.isnan(list(a.intervals.values())).all()
    assert "1 user: an interval needs two" in str(a)
    both = paired_gain(a, b)
    assert both.difference != 0 and np.isnan([both.low, both.high]).all() and not both.excludes_zero
    assert "its interval is undefined" in str(both) and "exclude" not in str(both) and "nan" not in str(both)
    assert json.loads(json.dumps(a.to_dict(), allow_nan=False))["intervals"]["auc"] == [None, None]


def test_each_metric_says_how_many_users_are_behind_it():
    """Of the thirty users in test one is new, and four have both labels: what is true of thirty is not of these."""
    users = np.r_[np.resize(np.arange(29), 900), np.resize(np.arange(29), 58), np.full(42, 99)]
    label = np.where(users == 99, np.arange(1000) % 2, users % 2)
    label[900:903] = 1 - label[900:903]
    split = klm.split(busy_user(users, label), "temporal")
    report = evaluate(Coin(0), split)
    test, text = split.test, str(report)
    sides = test.groupby("user_id")["label"].nunique()
    assert report.users["auc_new_users"] == 1 and report.users["user_auc"] == (sides == 2).sum() == 4
    assert (
        report.users["auc"] == min(test.loc[test["label"] == c, "user_id"].nunique() for c in (0, 1)) < report.n_users
    )
    assert np.isnan(report.intervals["auc_new_users"]).all() and np.isfinite(report.intervals["user_auc"]).all()
    assert f"1 of {report.n_users} users: an interval needs two" in text
    assert f"4 of {report.n_users} users: few, the interval is too narrow" in text and text.count("few") == 1
    few = str(paired_gain(report, evaluate(Coin(1), split), "user_auc"))
    assert "4 users: few" in few and "few" not in str(paired_gain(report, evaluate(Coin(1), split), "logloss"))


def busy_user(users, label=None, **ids):
    """A log in order of time, its first rows train."""
    log = pd.DataFrame({"user_id": users, "item_id": np.arange(len(users)) % 50, "timestamp": np.arange(len(users))})
    log["label"] = np.random.default_rng(0).integers(0, 2, len(log)) if label is None else label
    items = pd.DataFrame({"item_id": range(50), "title": [f"thing {n}" for n in range(50)]})
    return klm.RecDataset.from_frames(items, None, log)


def test_an_undefined_difference_is_called_so(small):
    split = klm.split(tasteful(rows=300, like_at=0), "random")
    text = str(paired_gain(evaluate(Table({}), split), evaluate(Coin(0), split)))
    assert "auc undefined\n" in text and "nan" not in text and "exclude" not in text


def test_one_draw_is_no_interval(small):
    split = klm.split(small, "random")
    a, b = (evaluate(Coin(seed), split, n_boot=1) for seed in (0, 1))
    assert np.isnan(a.intervals["auc"]).all() and not paired_gain(a, b, n_boot=1).excludes_zero


def test_undefined_metric_is_nan_and_null(small):
    split = klm.split(tasteful(rows=300, like_at=0), "random")  # every label is 1
    report = evaluate(Table({}), split)
    assert np.isnan(report.metrics["auc"]) and np.isnan(report.intervals["auc"]).all()
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["metrics"]["auc"] is None


def test_objective_of_the_model_is_the_default(small):
    split = klm.split(small, "random")
    report = evaluate(noisy(split, 0.1, objective="interaction"), split, k=5, n_boot=20)
    expected = ["ndcg@5", "recall@5", "hit_rate@5", "mrr", "map@5", "coverage@5"]
    assert list(report.metrics) == expected and report.objective == "interaction"
    assert "full ranking of all 40 items" in report.protocol
    assert (
        next(iter(evaluate(Table({}, objective="interaction"), split, objective="label", n_boot=20).metrics)) == "auc"
    )


def test_cold_items_have_two_rankings(small):
    report = evaluate(Table({}), klm.split(small, "cold_item"), objective="interaction", n_boot=20)
    plain, suffixed = (list(report.metrics)[i : i + 6] for i in (0, 6))
    assert [f"{name} (all items)" for name in plain] == suffixed
    assert "of the test part" in report.protocol and "all 40 items" in report.protocol


@pytest.mark.parametrize("ids", [int, "u{}".format])
def test_temporal_reports_new_users_apart(movielens, ids):
    log = movielens.interactions[["user_id", "item_id", "timestamp", "rating"]]
    log = log.assign(user_id=log["user_id"].map(ids))
    split = klm.split(klm.RecDataset.from_frames(movielens.items.reset_index(), None, log), "temporal")
    model = noisy(split, 0.2)
    report, seen = evaluate(model, split, n_boot=20), split.seen_users()
    for name, rows in (("auc_seen_users", seen), ("auc_new_users", ~seen)):
        part = split.test[rows]
        expected = roc_auc_score(part["label"], model.predict(part["user_id"], part["item_id"]))
        assert report.metrics[name] == pytest.approx(expected)
    ranked = evaluate(Table({}), split, objective="interaction", n_boot=20).metrics
    assert {"ndcg@10_seen_users", "ndcg@10_new_users"} <= set(ranked)


def test_paired_interval_is_narrower_than_two_single_ones(small):
    split = klm.split(small, "random")
    a, b = (
        evaluate(noisy(split, 0.30), split),
        evaluate(noisy(split, 0.33), split),
    )  # the same noise, a little more of it
    result = paired_gain(a, b)
    assert result.metric == "auc" and result.difference == pytest.approx(a.metrics["auc"] - b.metrics["auc"])
    (low, high), width = a.intervals["auc"], result.high - result.low
    assert result.low < result.difference < result.high and width < 0.5 * (high - low)
    back = paired_gain(b, a)
    assert back.difference == pytest.approx(-result.difference)
    np.testing.assert_allclose([back.low, back.high], [-result.high, -result.low], atol=1e-3)


def test_clear_and_absent_differences(small):
    split = klm.split(small, "random")
    good, bad = evaluate(noisy(split, 0.1, name="good"), split), evaluate(noisy(split, 2.0, name="bad"), split)
    assert paired_gain(good, bad).excludes_zero and paired_gain(bad, good, "logloss").excludes_zero
    text = str(paired_gain(good, bad))
    assert "good - bad: auc +" in text and "excludes 0" in text and split.protocol in text
    same = paired_gain(good, good)
    assert (same.difference, same.low, same.high) == (0, 0, 0) and not same.excludes_zero
    assert "does not exclude 0" in str(same)


def test_unlike_models_of_equal_worth_rarely_exclude_zero(small):
    split = klm.split(small, "random")
    reports = [evaluate(noisy(split, 1.0, seed), split, n_boot=1) for seed in range(40)]
    wrong = sum(paired_gain(a, b, n_boot=200).excludes_zero for a, b in zip(reports[::2], reports[1::2], strict=True))
    assert wrong <= 4  # expected 1 of 20


def test_seeds_are_pooled_over_the_same_users(small):
    splits = [klm.split(small, "random", seed=seed) for seed in range(3)]
    a = [evaluate(noisy(s, 0.3, seed, "a"), s) for seed, s in enumerate(splits)]
    b = [evaluate(noisy(s, 0.6, seed, "b"), s) for seed, s in enumerate(splits)]
    mean = pooled(a)
    assert mean.metrics["auc"] == pytest.approx(np.mean([r.metrics["auc"] for r in a]))
    assert mean.name == "a" and "mean of 3 runs" in mean.protocol and "seed 0/1/2" in mean.protocol
    low, high = mean.intervals["auc"]
    assert low < mean.metrics["auc"] < high and high - low < a[0].intervals["auc"][1] - a[0].intervals["auc"][0]
    result = paired_gain(a, b)
    assert result.difference == pytest.approx(
        np.mean([x.metrics["auc"] - y.metrics["auc"] for x, y in zip(a, b, strict=True)])
    )
    assert (result.low, result.high) == (paired_gain(mean, pooled(b)).low, paired_gain(mean, pooled(b)).high)
    assert result.high - result.low < paired_gain(a[0], b[0]).high - paired_gain(a[0], b[0]).low


def test_what_cannot_be_compared(small):
    splits = [klm.split(small, name, seed=seed) for name, seed in (("random", 0), ("random", 1), ("cold_user", 0))]
    a, b, c = (evaluate(noisy(s, 0.3), s, n_boot=5) for s in splits)
    ranked = evaluate(noisy(splits[0], 0.3), splits[0], objective="interaction", n_boot=5)
    valid = evaluate(noisy(splits[0], 0.3), splits[0], part="valid", n_boot=5)
    for x, y in ((a, b), (a, c), (a, ranked), (a, valid), ([a, b], [b, a]), ([a, b], a), ([], [])):
        with pytest.raises(ConfigError, match="cannot be p"):
            paired_gain(x, y)
    for wrong in ([a, c], [a, ranked], [a, "report"], []):
        with pytest.raises(ConfigError, match="cannot be pooled"):
            pooled(wrong)
    with pytest.raises(ConfigError, match="metric"):
        paired_gain(a, a, "accuracy")


def test_same_protocol_but_other_labels_is_refused():
    """Two data sets may share name and protocol: the rows decide."""
    a, b = (klm.split(tasteful(seed=seed), "random") for seed in (0, 1))
    with pytest.raises(ConfigError, match="rows"):
        paired_gain(evaluate(Table({}), a, n_boot=5), evaluate(Table({}), b, n_boot=5))


def test_bad_arguments(small):
    split = klm.split(small, "random")
    wrong = [{"k": 0}, {"part": "train"}, {"objective": "clicks"}, {"level": 1.0}, {"n_boot": 0}, {"k": "10"}]
    wrong += [{"level": "a"}, {"level": None}, {"level": 0}, {"seed": -1}, {"seed": None}, {"part": split.test}]
    for arguments in wrong:
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            evaluate(Table({}), split, **arguments)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "finite"), (np.inf, "finite"), (1.5, "probability")])
def test_bad_predictions_name_the_model(small, value, word):
    split = klm.split(small, "random")
    row = split.test.iloc[7]
    with pytest.raises(DataError, match=f"'table'.*\n.*user {row.user_id:.0f}.*item {row.item_id:.0f}") as error:
        evaluate(Table({(row.user_id, row.item_id): value}), split)
    assert word in str(error.value)


@pytest.mark.parametrize("kind", ["random", "temporal", "cold_item", "cold_user"])
@pytest.mark.parametrize("objective", ["label", "interaction"])
def test_text_ids_are_never_compared_each_with_each(small, kind, objective, monkeypatch):
    """As numpy.isin does with objects: 20 s for 100,000 rows, and four times as much for twice as many."""
    isin = np.isin

    def hashed(a, b, **options):
        assert object not in (np.asarray(a).dtype, np.asarray(b).dtype)
        return isin(a, b, **options)

    log = small.interactions.assign(user_id=small.interactions["user_id"].map("u{}".format))
    text = klm.RecDataset.from_frames(small.items.reset_index(), None, log.drop(columns="label"), name="planted")
    model, split = baselines.Popularity().fit(klm.split(text, kind)), klm.split(text, kind)
    monkeypatch.setattr(np, "isin", hashed)
    report = evaluate(model, split, objective=objective, n_boot=20)
    assert paired_gain(report, report).difference == 0


def test_an_interrupted_model_is_named_so_wherever_it_is_reported(small):
    split, name = klm.split(small, "random"), "KLM minilm (interrupted after 3 epochs)"
    cut, whole = evaluate(noisy(split, 0.3, name=name), split), evaluate(noisy(split, 0.6, name="whole"), split)
    for text in (
        cut,
        paired_gain(cut, whole),
        paired_gain([whole, cut], [cut, whole]),
        pooled([whole, cut]),
    ):
        assert name in str(text)


@pytest.mark.parametrize("wrong", [None, "a report", 5, {"a": 1}, pd.DataFrame({"auc": [0.7]}), [None]])
def test_what_is_no_report_is_told(small, wrong):
    report = evaluate(Table({}), klm.split(small, "random"), n_boot=5)
    for call in (
        lambda: paired_gain(wrong, report),
        lambda: paired_gain(report, wrong),
        lambda: pooled(wrong),
    ):
        with pytest.raises(ConfigError, match="cannot be pooled"):
            call()
    assert pooled(report) is report, "one report is a list of one"


@pytest.mark.parametrize("function", [evaluate, ranking.rank])
def test_model_and_split_in_the_wrong_place_are_told(small, function):
    split, model = klm.split(small, "random"), Table({})
    for wrong in (None, split, Table, "model", small):
        with pytest.raises(ConfigError, match=r"has no predict\n.*\(model\)"):
            function(wrong, split)
    for wrong in (None, model, "random", small, split.test):
        with pytest.raises(ConfigError, match=r"this is no split: it has no (?s:.*)\(split\)"):
            function(model, wrong)


# a model and the split it was made with


def test_a_model_is_measured_on_the_split_it_was_made_with_and_on_no_other(ds, tmp_path):
    """On any other it may have been trained on the rows of test: nothing in the numbers would show it."""
    own, other = klm.split(ds, "random"), klm.split(ds, "random", seed=1)
    learnt = [klm.KLMRecommender.from_split(own), baselines.Popularity().fit(own)]
    learnt[0].save_pretrained(tmp_path / "model")
    for model in [*learnt, klm.KLMRecommender.from_pretrained(tmp_path / "model")]:
        assert klm.evaluate(model, own, n_boot=1).protocol.startswith(model.protocol)
        for foreign in (other, klm.split(ds, "cold_item")):
            with pytest.raises(ConfigError, match="may know rows") as caught:
                klm.evaluate(model, foreign)
            assert own.protocol in str(caught.value) and foreign.protocol in str(caught.value)
    final = klm.KLMRecommender.from_split(own.all_in_train())
    with pytest.raises(ConfigError, match="may know rows"):
        klm.evaluate(final, own)


def test_a_p_value_says_at_which_level_its_interval_ends_at_zero():
    gain = Gain("ndcg@10", "a", "b", 0.3, 0.1, 0.5, "made up", 0.95, 1000, 50, (-0.1, 0.7), "folds", 10)
    assert gain.p == pytest.approx(2 * stats.norm.sf(0.3 / (0.2 / stats.norm.ppf(0.975))))
    assert gain.p_others == pytest.approx(2 * stats.t.sf(0.3 / (0.4 / stats.t.ppf(0.975, 9)), 9))
    assert gain.excludes_zero and gain.p < 0.05 and not gain.holds_for_others and gain.p_others > 0.05
    at_zero = replace(gain, low=0.0, high=0.6)
    assert at_zero.p == pytest.approx(0.05)
    assert np.isnan(replace(gain, others=intervals.NONE, how="").p_others)


def test_a_report_as_markdown_and_html_escapes_names(small):
    split = klm.split(small, "random")
    report = evaluate(noisy(split, 0.3, name="<b>|mine|</b> [a](b)"), split, n_boot=20)
    markdown, html = report.to_markdown(), report._repr_html_()
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(report.metrics) and all(line.count("|") == 6 for line in rows)
    assert "<b>" not in markdown and "[a]" not in markdown and "<b>|mine" not in html and "&lt;b&gt;" in html
    for name, value in report.metrics.items():
        assert f"| {name} | {value:.4f} |" in markdown and f"{value:.4f}" in html
    assert plain(report.protocol) in markdown and "20 draws" in html
