"""The rules of notebook 07: by hand, against the generator of the shop, and what training makes of them."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

import klm_utils as klm
from klm_utils import course
from klm_utils.course.lessons import logic, logic_pictures
from klm_utils.data import shop
from klm_utils.data.shop.world import in_season
from klm_utils.evaluation import metrics

FEW_KINDS = ("three", "complement", "wrong complement")


@pytest.fixture(scope="module")
def ds():
    return shop.with_facts(klm.load_dataset("shop"))


@pytest.fixture(scope="module")
def says(ds):
    log = ds.interactions
    return logic.bodies(ds, log["user_id"], log["item_id"], log["timestamp"])


@pytest.fixture(scope="module")
def small():
    """Rows of a world that is drawn here: 12 items of different quality, and three rules of known strength."""
    rng = np.random.default_rng(0)
    n, quality = 20_000, rng.normal(0, 0.7, 12)
    x = rng.integers(1, 13, (n, 1))
    says = np.column_stack([rng.random(n) < 0.2, rng.integers(-1, 2, n), -(rng.random(n) < 0.2).astype(int)]) * 1.0
    z = -1.0 + quality[x[:, 0] - 1] + says @ logic.STATED
    y = rng.random(n) < 1 / (1 + np.exp(-z))
    return x, says, y.astype(float), 1 / (1 + np.exp(-z))


def test_one_row_by_hand():
    """She has bought a phone (1), a case goes with a phone (.8, not quite sure), and buys it with p = .3."""
    body = logic.both(1.0, 0.8)
    assert body == 0.8 and logic.implies(body, 0.3) == pytest.approx(1 - 0.8 * 0.7) == pytest.approx(0.44)
    assert logic.either(0.8, 0.5) == pytest.approx(0.9)
    corners = [(logic.both(a, b), logic.either(a, b), logic.implies(a, b)) for a in (0, 1) for b in (0, 1)]
    assert corners == [(0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 1, 1)], "at 0 and 1 it is logic"


def test_the_loss_is_minus_log_truth_and_a_row_without_body_costs_nothing():
    z = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    rules = torch.tensor([[1.0, -1.0], [0.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    p = torch.sigmoid(z)
    truths = logic.implies(1, p[0]), logic.implies(1, 1 - p[0]), logic.implies(1, 1 - p[2])
    assert logic.rule_loss(z, rules).item() == pytest.approx(-sum(t.log().item() for t in truths) / 3)
    assert logic.rule_loss(z, torch.zeros_like(rules)) == 0


def test_the_gradient_of_the_rule_loss_against_central_differences():
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(30, generator=draw, dtype=torch.float64, requires_grad=True)
    rules = torch.randint(-1, 2, (30, 3), generator=draw).double()
    logic.rule_loss(z, rules).backward()
    h, by_hand = 1e-6, logic.rule_grad(z.detach(), rules)
    steps = torch.eye(30, dtype=torch.float64) * h
    numeric = [(logic.rule_loss(z + e, rules) - logic.rule_loss(z - e, rules)).item() / (2 * h) for e in steps]
    np.testing.assert_allclose(by_hand, numeric, atol=1e-8)
    np.testing.assert_allclose(by_hand, z.grad, atol=1e-12)


def test_bodies_are_those_of_the_generator(ds, says):
    log, (world, history) = ds.interactions, shop._shipped_world()
    u, i, t = log["user_id"].to_numpy() - 1, log["item_id"].to_numpy() - 1, log["timestamp"].to_numpy()
    complement, same = history.before(u, i, t)
    np.testing.assert_array_equal(says, np.column_stack([complement, in_season(world.season[i], t), -same.astype(int)]))
    taste = np.log(ds.optimum / (1 - ds.optimum)) - says @ logic.STATED
    np.testing.assert_allclose(taste, world.static[u, i], atol=0.01)


def test_nothing_of_the_future_is_used(ds, says):
    log = ds.interactions
    half = len(log) // 2
    later = log["label"].to_numpy().copy()
    later[half:] = np.random.default_rng(0).permutation(later[half:])
    other = replace(ds, interactions=log.assign(label=later))
    rows = log[log["timestamp"] <= log["timestamp"][half - 1]]
    again = logic.bodies(other, rows["user_id"], rows["item_id"], rows["timestamp"])
    np.testing.assert_array_equal(again, says[: len(rows)])


def test_facts_are_columns_and_change_nothing_else(ds):
    plain = klm.load_dataset("shop")
    assert plain.facts == () and ds.facts == shop.FACTS
    pd.testing.assert_frame_equal(ds.items[plain.items.columns], plain.items)
    english = shop.with_facts(klm.load_dataset("shop", language="en"), "en").items
    case = english.loc[english["kind"].str[0].str.contains("case")].iloc[0]
    assert "phone" in " ".join(case["goes_with"]), "a case goes with a phone"
    assert english["kind"].str[0].nunique() == ds.items["kind"].str[0].nunique()
    assert {s for own in english["season"] for s in own} <= {"spring", "summer", "autumn", "winter"}


def test_lambda_0_is_no_rule_and_more_of_it_obeys_more(small):
    x, says, y, truth = small
    none = logic.Logistic().fit(x, np.zeros_like(says), y).predict(x, says)
    np.testing.assert_allclose(logic.Logistic(lam=0.0).fit(x, says, y).predict(x, says), none)
    found = [logic.Logistic(True, lam).fit(x, says, y) for lam in (0.0, 0.3, 3.0)]
    measured = [logic.measures(model.predict(x, says), says, y, truth) for model in found]
    assert measured[0]["violation"] > measured[1]["violation"] > measured[2]["violation"]
    assert measured[0]["distance"] < measured[1]["distance"] < measured[2]["distance"], "a soft rule taken for a law"
    assert measured[0]["auc"] == pytest.approx(metrics.auc(y, found[0].predict(x, says)))


def test_training_finds_the_strength_that_the_world_has(small):
    x, says, y, truth = small
    model = logic.Logistic(feature=True).fit(x, says, y)
    low, high = model.intervals(x, says).T
    assert (model.strength > 0).all(), "for what each rule says: the signs of the generator"
    np.testing.assert_allclose(model.strength, logic.STATED, atol=0.15)
    assert ((low < model.strength) & (model.strength < high)).all() and (high - low > 0.05).all()
    assert (high - low < 0.4).all()
    value, _ = logic.given_taste(truth, says, y)
    np.testing.assert_allclose(value, model.strength, atol=0.1)


def test_where_the_tug_between_data_and_rule_ends(small):
    """The weight of a rule is free, so the mean p of its rows is (share + lambda) / (1 + lambda)."""
    x, says, y, _ = small
    held, lam = says[:, 0] > 0, 0.5
    p = logic.Logistic(True, lam).fit(x, says[:, :1], y).predict(x, says[:, :1])
    assert p[held].mean() == pytest.approx((y[held].mean() + lam) / (1 + lam), abs=1e-3)


def test_the_data_say_that_a_wrong_rule_is_worth_nothing(ds):
    log = ds.interactions
    split = klm.split(ds, "temporal")
    rows = log["user_id"], log["item_id"], log["timestamp"]
    table = logic.wrong_table(ds)
    wrong = logic.bodies(ds, *rows, kinds=table)[:, :1]
    assert sorted(table) == sorted(table.values()) and 500 < wrong.sum() < 10_000
    train, x = split.train.index, logic.crosses(ds, *rows[:2])[:, :1]  # the items alone: quick
    model = logic.Logistic(feature=True).fit(x[train], wrong[train], split.train["label"])
    ((low, high),) = model.intervals(x[train], wrong[train])
    assert low < 0 < high


def test_a_filter_leaves_no_second_of_the_same_type(ds, says):
    split, log = klm.split(ds, "temporal"), ds.interactions
    x, train = logic.crosses(ds, log["user_id"], log["item_id"]), split.train.index
    model, time = logic.Logistic(decay=1e-2).fit(x[train], says[train], split.train["label"]), split.test["timestamp"]
    plain, filtered = (logic.lists(ds, model, int(time.iloc[0]), drop=drop) for drop in (False, True))
    assert plain["same type"].mean() > 0 == filtered["same type"].max()
    assert 1 < plain["purchases"].mean() < 10 and len(plain) == len(filtered)


def test_pictures():
    test = {"a, loss, 0": {"auc": [0.6, 0.5, 0.7]}, "a, loss, 0.1": {"auc": [0.5, 0, 1]}, "loss, 0": {"auc": [0, 0, 0]}}
    run = logic_pictures.by_lambda(test, "a, loss")
    assert run["auc"].to_dict() == {0.0: 0.6, 0.1: 0.5} and run["auc low"].to_dict() == {0.0: 0.5, 0.1: 0.0}
    own = {"violation": [0.6, 0.5, 0.7], "strength": [2.0, 1.5, 2.5]}
    test = {"loss, 0": own, "loss, 1": {"violation": [0.5, 0, 1], "strength": [3.0, 2.5, 3.5]}, "truth, 0": own}
    ax, other = logic_pictures.over_lambda(test, {"true": "loss"}, ["violation", "strength"])
    assert len(ax.lines) == 2 and len(other.lines) == 1 and other.get_ylabel() == "strength, log-odds"
    assert [text.get_text() for text in ax.texts] == ["0.600", "0.500", "the truth 0.600"]
    assert [text.get_text() for text in other.texts] == ["2.00", "3.00"] and ax.lines[1].get_ydata()[0] == 0.6
    band = ax.collections[0].get_paths()[0].vertices
    assert {0.5, 0.7, 0.0, 1.0} <= set(np.round(band[:, 1], 3))
    assert "not to scale" in ax.get_xlabel() and ax.figure.legends[0].get_texts()[0].get_text() == "true"
    test |= {"loss, 2": {"violation": [0.4, 0, 1], "strength": [4.0, 3, 5]}}
    ax, other = logic_pictures.over_lambda(test, {"true": "loss"}, ["violation", "strength"])
    assert [len([text for text in axes.texts if "truth" not in text.get_text()]) for axes in (ax, other)] == [2, 3]
    ends = logic.STATED[:, None] + [0, -0.1, 0.1]
    ax = logic_pictures.strengths({"one": ends, "two": ends})
    assert [label.get_text() for label in ax.get_yticklabels()] == list(logic.RULES)
    plt.close("all")


def test_what_a_row_costs_is_drawn_at_its_p():
    ax = logic_pictures.truth_cost({"body 1": (1.0, 0.1), "body 0": (0.0, 0.1)})
    dots = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert [round(dot.get_ydata()[0], 3) for dot in dots] == [2.303, 0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["body 1", "body 0"]
    plt.close("all")


def test_the_lowest_point_moves_to_the_right_with_lambda():
    ax = logic_pictures.tug(0.4, (0.0, 1.0), lambda share, lam, sign: (share + lam) / (1 + lam))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "lambda 0: lowest at 0.40",
        "lambda 1: lowest at 0.70",
    ]
    dashed = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed == [0.4, 0.7]
    plt.close("all")


def test_lists_of_a_model_that_reads_one_rule(ds, says):
    log, split = ds.interactions, klm.split(ds, "temporal")
    x, part = logic.crosses(ds, log["user_id"], log["item_id"]), split.train.index[-3000:]
    y = log["label"].to_numpy()[part]
    model = logic.Logistic(feature=True, decay=1e-3).fit(x[part], says[part][:, 2:], y)
    model.weights[1] = 50.0  # never a second of the same type
    time = int(split.test["timestamp"].iloc[0])
    assert (
        logic.lists(ds, model, time, rules=[2])["same type"].max()
        == 0
        < logic.lists(ds, model, time)["same type"].max()
    )


def test_few_rows_have_their_intervals():
    ways = {**dict.fromkeys(logic_pictures.FEW_WAYS, 0), "0.1 minus shrunk": 9}
    own = {
        kind: {"1000": {way: [at + far, at - 1, at + 1] for way, far in ways.items()} | {"feature alone": 9}}
        for at, kind in enumerate(FEW_KINDS)
    }
    ax = logic_pictures.few_rows(own)
    assert [list(line.get_ydata()) for line in ax.lines[0:24:8]] == [[-1, 1], [0, 2], [1, 3]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.03", "0.1", "0.3", "no loss,\ndecay"]
    stored = course.results("few_rules")
    first, *others = logic_pictures.few_said(stored).splitlines()
    loss, low, high = stored["three"]["1000"]["0.1"]
    assert first == f"three rules, 1,000 rows, loss, lambda 0.1: {loss:+.4f} [{low:+.4f}, {high:+.4f}]"
    assert len(others) == 2
    assert {*logic_pictures.FEW_WAYS, "0.1 minus shrunk", "feature alone"} == {*stored["three"]["1000"]}
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["three true rules", "complement", "wrong complement"]
    plt.close("all")


def test_lists_of_three_rules_by_their_names():
    found = logic_pictures.three_rules(course.results("rules")["lists"])
    assert [*found][:2] == ["feature, three rules", "feature, three, and filter"] and len(found) == 5
    assert [*found][-1] == "loss, three, lambda 1"
    assert all(low <= value <= high for value, low, high in found.values())


def test_paired_differences():
    mean, low, high = logic_pictures.paired(np.array([0.0, 2.0, 0.0, 2.0]))
    assert mean == 1 and high - mean == pytest.approx(mean - low) == pytest.approx(1.96 * (4 / 3) ** 0.5 / 2)


def test_shares_of_what_a_rule_says():
    says, y = np.array([[1.0, 0, 0], [1, -1, 0], [0, -1, 0], [0, 1, 0]]), np.array([1, 0, 0, 1])
    table = logic.shares(says, y)
    assert table["rows of train"].tolist() == [2, 3, 0] and table["silent"].tolist() == [0.5, 1, 0.5]
    assert table.loc["complement", "share bought: says buys"] == 0.5 and table.loc["season", "says not"] == 0
    assert np.isnan(table.loc["same type", "says not"])
