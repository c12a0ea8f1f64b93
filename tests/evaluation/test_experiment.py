"""Variants on several splits: what is run, pooled, compared and shown is what `evaluate` and `paired_gain` say."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy import stats
from worlds import Table

import klm_utils as klm
from klm_utils.errors import ConfigError
from klm_utils.evaluation import evaluate, experiment, intervals, paired_gain, pooled
from klm_utils.models import baselines

SEEDS = (0, 1)


def bias(split, seed):
    return baselines.UserItemBias().fit(split)


def factors(split, seed):
    return baselines.BiasALS(starts=1).fit(split)


def trees(split, seed):
    return baselines.GradientBoosting(trees=5, seed=seed).fit(split)


@pytest.fixture(scope="module")
def splits(small):
    return [klm.split(small, "random", seed=seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def runs(splits):
    return experiment.run({"bias": bias, "factors": factors}, iter(splits), n_boot=200)


@pytest.fixture(scope="module")
def reports(splits):
    """The same by hand."""
    return {
        name: [evaluate(build(split, seed), split, n_boot=200) for seed, split in enumerate(splits)]
        for name, build in (("bias", bias), ("factors", factors))
    }


def test_each_variant_is_built_and_measured_on_each_split(runs, reports, splits):
    assert runs.variants == ["bias", "factors"] and len(runs.runs) == 4
    assert runs.frame[["variant", "split", "seed"]].to_numpy().tolist() == [
        ["bias", 0, 0],
        ["factors", 0, 0],
        ["bias", 1, 1],
        ["factors", 1, 1],
    ]
    for name, own in reports.items():
        assert [r.to_dict() for r in runs.reports(name)] == [r.to_dict() for r in own]
        assert runs.values()[name].tolist() == [r.metrics["auc"] for r in own]
        np.testing.assert_array_equal(
            runs.models[name].predict([1, 2], [3, 4]),
            {"bias": bias, "factors": factors}[name](splits[1], 1).predict([1, 2], [3, 4]),
        )
    assert runs.values("ece").loc[(1, 1), "bias"] == reports["bias"][1].metrics["ece"]
    assert (runs.frame["seconds"] > 0).all() and runs.protocol == pooled(reports["bias"]).protocol


def test_a_gain_is_paired_and_pooled_and_named_by_its_variants(runs, reports):
    found, want = runs.gain("factors", "bias"), paired_gain(reports["factors"], reports["bias"], n_boot=200)
    assert (found.difference, found.low, found.high) == (want.difference, want.low, want.high)
    assert (found.a, found.b, found.metric) == ("factors", "bias", "auc") and found.excludes_zero
    assert runs.gain("bias", "factors", "logloss").metric == "logloss"


def test_a_table_of_variants_has_values_intervals_and_paired_differences(runs, reports):
    table, gain = runs.table("bias"), runs.gain("factors", "bias")
    minus = ["minus bias", "minus low", "minus high", "others low", "others high"]
    assert list(table) == ["auc", "low", "high", *minus]
    for name, own in reports.items():
        mean = pooled(own, n_boot=200)
        assert tuple(table.loc[name].iloc[:3]) == (mean.metrics["auc"], *mean.intervals["auc"])
    assert tuple(table.loc["factors"].iloc[3:]) == (gain.difference, gain.low, gain.high, *gain.others)
    assert table.loc["bias"].iloc[3:].isna().all()
    assert list(runs.table(metric="logloss")) == ["logloss", "low", "high"]


def test_rows_are_what_a_full_scale_run_stores(runs):
    rows, gains = runs.to_rows("bias"), runs.gains(("factors", "bias"), ("factors", "not run"))
    assert list(rows) == ["factors"] and list(gains) == ["factors minus bias"]
    gain = runs.gain("factors", "bias")
    want = [round(x, 4) for x in (gain.difference, gain.low, gain.high, *gain.others)]
    assert rows["factors"] == gains["factors minus bias"] == want
    assert json.loads(json.dumps(runs.to_rows())) == runs.to_rows() and list(runs.to_rows()) == runs.variants


def test_what_is_undefined_is_null_in_rows_and_missing_in_tables(small):
    split = klm.split(small, "random")
    one = split.test["user_id"] == 1  # a user alone has no interval
    split = replace(split, train=pd.concat([split.train, split.test[~one]]), test=split.test[one], name="by hand")
    runs = experiment.run({"a": lambda s, seed: Table({}), "b": bias}, split)
    assert runs.to_rows()["a"][1:] == [None, None] and runs.to_rows("a")["b"][1:] == [None] * 4
    assert runs.table("a").loc["b", ["low", "high", "minus low", "minus high"]].isna().all()
    assert "nan" in runs.table("a", stored=runs.to_rows("a")).loc["b", "full scale"]


def test_stored_rows_stand_beside_the_small_run(runs):
    stored = {"factors": [0.1, 0.05, 0.15, -0.02, 0.2], "only stored": [0.01, -0.1, 0.1, None, None]}
    table = runs.table("bias", stored=stored)
    both = "+0.1000 [+0.0500, +0.1500]* [-0.0200, +0.2000]"
    assert table["full scale"].tolist() == ["", both, "+0.0100 [-0.1000, +0.1000] [+nan, +nan]"]
    assert table.index.tolist() == ["bias", "factors", "only stored"] and np.isnan(table.loc["only stored", "auc"])
    assert runs.table(stored={"bias": [0.7, 0.6, 0.8]})["full scale"].tolist() == ["0.7000 [0.6000, 0.8000]", ""]
    alone = experiment.beside(pd.DataFrame(), stored, signed=True)
    assert alone["full scale"].tolist() == table["full scale"].tolist()[1:], "nothing was run here"


def test_the_plot_has_a_row_for_each_difference_here_and_at_full_scale(runs):
    ax = runs.plot("bias", stored={"factors": [0.1, 0.05, 0.15], "only stored": [0.01, None, None]})
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert shown == ["factors", "factors, full scale", "only stored, full scale"]
    assert ax.get_xlabel() == "auc minus that of bias, 95 %: thick other users, thin other items too"
    assert [line.get_linewidth() for line in ax.lines[:2]] == [3.5, 1.2], "two intervals of a difference"
    assert [text.get_text() for text in runs.plot().get_yticklabels()] == runs.variants
    plt.close("all")


def test_seeds_are_start_values_where_they_are_given(splits):
    asked = []

    def build(split, seed):
        asked.append((split, seed))
        return Table({})

    experiment.run({"a": build}, splits[0], seeds=(3, 5), n_boot=5)
    experiment.run({"a": build}, splits, seeds=[7], n_boot=5)
    assert asked == [(splits[0], 3), (splits[0], 5), (splits[0], 7), (splits[1], 7)]
    numbered = experiment.run({"a": build}, {4: splits[1], 2: splits[0]}, n_boot=5)
    assert asked[4:] == [(splits[1], 4), (splits[0], 2)] and numbered.frame["split"].tolist() == [4, 2]


def test_runs_of_the_same_splits_are_joined_and_parted(runs, splits):
    more = experiment.run({"trees": trees, "bias": trees}, splits, n_boot=200)
    both = runs | more
    assert both.variants == ["factors", "trees", "bias"] and both.gain("bias", "trees").difference == 0
    assert both.only("trees", "factors").variants == ["trees", "factors"]
    assert list(both.only("trees").models) == ["trees"] and runs.variants == ["bias", "factors"]
    other = runs | experiment.run({"other": bias}, splits[:1], n_boot=200)
    assert other.gain("factors", "other").n_splits == 1, "where both were run"
    assert other.table("bias")["splits"].tolist() == [2, 2, 1]
    apart = experiment.run({"apart": bias}, {9: splits[1]}, n_boot=200)
    with pytest.raises(ConfigError, match="not run on the same split"):
        (other | apart).gain("other", "apart")


def test_the_long_table_has_a_row_for_each_user(splits):
    runs = experiment.run({"bias": bias, "trees": trees}, splits, objective="interaction", n_boot=20)
    long = runs.users("ndcg@10")
    assert list(long) == ["variant", "split", "seed", "user_id", "ndcg@10"]
    means = long.groupby(["variant", "split"])["ndcg@10"].mean()
    for (variant, split), mean in means.items():
        assert mean == pytest.approx(runs.values("ndcg@10").loc[(split, split), variant])
    with pytest.raises(ConfigError, match="no value for a user") as caught:
        experiment.run({"bias": bias}, splits[:1], n_boot=5).users()
    assert "user_auc" in str(caught.value)


def test_lists_on_several_splits_have_an_interval_for_other_items_too(small):
    """That of the corrected t-test by hand; seeds of one split are no further splits."""
    folds = {fold: klm.split(small, "cold_item", fold=fold, folds=4) for fold in range(4)}
    variants = {"bias": bias, "trees": trees}
    runs = experiment.run(variants, folds, seeds=(0, 1), objective="interaction", n_boot=20)
    gain, values = runs.gain("trees", "bias"), runs.values()
    by_fold = (values["trees"] - values["bias"]).groupby("split").mean()
    shared = np.mean([len(split.test) / len(split.train) for split in folds.values()])
    half = stats.t.ppf(0.975, 3) * np.sqrt((1 / 4 + shared) * by_fold.var())
    assert gain.others == pytest.approx((by_fold.mean() - half, by_fold.mean() + half))
    assert (gain.how, gain.n_splits) == ("folds", 4) and "other items too" in str(gain) and "4 splits" in str(gain)
    alone = experiment.run(variants, folds[0], objective="interaction", n_boot=20).gain("trees", "bias")
    assert alone.how == "" and np.isnan(alone.others).all() and "other items" not in str(alone)
    assert not alone.holds_for_others


def test_options_of_evaluate_are_passed_on(splits):
    runs = experiment.run({"a": bias}, splits[:1], k=5, part="valid", objective="interaction", level=0.9, n_boot=20)
    (report,) = runs.reports("a")
    assert "ndcg@5" in report.metrics and (report.part, report.level, report.n_boot) == ("valid", 0.9, 20)


def test_an_interrupted_model_is_named_so(splits):
    cut = experiment.run(
        {"cut": lambda s, seed: Table({}, name="KLM (interrupted after 3 epochs)"), "whole": bias}, splits, n_boot=20
    )
    assert (
        "interrupted after 3" in str(cut.gain("whole", "cut"))
        and "interrupted after 3" in cut.table("whole").to_string()
    )
    assert "model" not in experiment.run({"whole": bias}, splits, n_boot=20).table()


def test_what_cannot_be_run_or_shown(runs, splits):
    for call, word in (
        (lambda: experiment.run({}, splits), "nothing to run"),
        (lambda: experiment.run({"a": bias}, []), "nothing to run"),
        (lambda: experiment.run({"a": baselines.EASE()}, splits), "wrong kind"),
        (lambda: experiment.run([bias], splits), "wrong kind"),
        (lambda: experiment.run({"a": lambda split, seed: None}, splits), "no predict"),
        (lambda: experiment.run({"a": bias}, [splits[0].test]), "no split"),
        (lambda: runs.table("other"), "base"),
        (lambda: runs.table(metric="ndcg@10"), "metric"),
        (lambda: runs.gain("bias", "other"), "variant"),
        (lambda: runs.only("other"), "variant"),
    ):
        with pytest.raises(ConfigError, match=word):
            call()


def test_several_differences_have_corrected_p_values(runs, splits):
    both = runs | experiment.run({"trees": trees}, splits, n_boot=200)
    table, gains = both.table("bias"), [both.gain(name, "bias") for name in ("factors", "trees")]
    want = intervals.holm([gain.p_others for gain in gains])
    assert table.loc[["factors", "trees"], "p others"].tolist() == pytest.approx(want.tolist())
    assert np.isnan(table.loc["bias", "p others"]) and "p others" not in runs.table("bias")
    one = experiment.run({"bias": bias, "trees": trees, "more": trees}, splits[0], objective="interaction", n_boot=20)
    assert "p users" in one.table("bias") and "p others" not in one.table("bias"), "one split says nothing of others"
