"""Leaks are worth what they are worth, their honest forms know nothing, and each alarm hears its own."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.course.lessons import leaks


@pytest.fixture(scope="module")
def films():
    return klm.load_dataset("movielens-100k")


@pytest.fixture(scope="module")
def today():
    return klm.split(klm.load_dataset("shop", language="zh"), "temporal")


def test_shift_counts_ties_and_strictly_before_does_not():
    log = pd.DataFrame({"user_id": [1, 1, 2, 1], "item_id": [5, 6, 7, 8], "timestamp": [1, 2, 2, 2]})
    assert leaks.shifted(log.iloc[:3], log.iloc[[0, 3]], 5) == [[], [5, 6]]
    assert leaks.shifted(log.iloc[:3], log.iloc[[3]].assign(user_id=9), 5) == [[]]
    assert leaks.shifted(log, log.iloc[[3]], 1) == [[6]]


def test_ties_are_worth_something_on_movielens(films):
    found = leaks.worth_of_ties(klm.split(films, "random"), length=5)
    assert found["worth"] == pytest.approx(found["leak"] - found["honest"])
    assert 0 < found["low"] < found["worth"] < found["high"] < 0.03


def test_a_table_that_knows_the_label_is_worth_all_and_a_table_is_worth_nothing_more_than_itself(today):
    def knows(split):
        return split.dataset.interactions[["label"]]

    def place(split):
        return split.dataset.interactions[["position"]]

    found = leaks.worth({"all": (knows, place), "none": (place, place)}, today)
    assert found.loc["all", "leak"] == 1 and found.loc["all", "low"] > 0.4
    assert found.loc["none", ["worth", "low", "high"]].abs().max() == 0


def test_a_share_leaks_more_the_fewer_rows_it_is_counted_on():
    found = [leaks.worth_of_sharing(*by) for by in (("category",), ("item_id",), ("category", "user_id"))]
    assert found[0]["rows"] > found[1]["rows"] > found[2]["rows"]
    assert found[0]["worth"] < found[1]["low"] and found[1]["high"] < 0.1 < 0.25 < found[2]["low"]


def test_before_is_strictly_before_by_hand():
    log = pd.DataFrame({"label": [1, 0, 1, 1, 1], "group": [0, 0, 1, 0, 0], "time": [1, 2, 2, 3, 3]})
    assert leaks.before(log["label"], log["group"], log["time"]).tolist() == [0, 1, 0, 1, 1]


def test_in_train_no_share_contains_the_label_of_its_own_row(today):
    """A label of train is reversed: with "before" the row's own share stays, with "train" it moves."""
    log = today.dataset.interactions
    row = today.train.index[5000]
    other = replace(
        today, dataset=replace(today.dataset, interactions=log.assign(label=log["label"].where(log.index != row, 1)))
    )
    zero = replace(
        today, dataset=replace(today.dataset, interactions=log.assign(label=log["label"].where(log.index != row, 0)))
    )
    for counted, moves in {"before": False, "train": True, "all": True}.items():
        share = [leaks.share_by(["item_id"], counted)(one)["share"][row] for one in (other, zero)]
        assert (share[0] != share[1]) == moves, counted


def test_the_count_knows_itself_and_not_the_future(today):
    """Leak C is the row's own purchase: later purchases alone are no better than the position."""

    def all_of_them(split):
        log = split.dataset.interactions.join(split.dataset.items["subcategory"], on="item_id")
        alike = log.groupby(["user_id", "subcategory"])["label"].transform("sum")
        return pd.DataFrame({"position": log["position"], "alike": alike})

    def but_the_row(split):
        found = all_of_them(split)
        return found.assign(alike=found["alike"] - split.dataset.interactions["label"])

    counts = {"position": leaks.position, "later": leaks.later, "earlier": leaks.earlier}
    found = leaks.aucs(counts | {"all": all_of_them, "but the row": but_the_row}, today)
    assert found.loc["all", "low"] > 0.7 > 0.57 > found.drop("all")["high"].max()
    log = today.dataset.interactions
    parts = [f(today).iloc[:, 1] for f in (leaks.later, all_of_them)]
    assert (parts[0] + log["label"] <= parts[1]).all(), "what is later and the row itself are parts of all"


def test_shares_of_train_with_the_own_label_are_worse_than_the_position(today):
    by = ["user_id", "category"]
    shares = {c: leaks.share_by(by, c) for c in ("train", "before", "all")}
    found = leaks.aucs({"position": leaks.position} | shares, today)["auc"]
    assert found["train"] < found["position"] - 0.02 < found["before"] < found["all"]


def test_a_share_of_the_other_rows_leaks_in_reverse(today):
    found = leaks.aucs({c: leaks.share_by(["item_id"], c) for c in ("before", "all", "others")}, today)
    assert found.loc["before", "high"] < found.loc["all", "low"] < found.loc["all", "high"] < found.loc["others", "low"]
    log = today.dataset.interactions
    own = log[log["item_id"] == log["item_id"].iloc[0]]
    share = leaks.share_by(["item_id"], "others")(today)["share"][own.index]
    assert share.iloc[0] == pytest.approx(own["label"].iloc[1:].mean())


def test_the_own_label_in_train_harms_where_a_row_of_test_has_a_share(today):
    found = leaks.own_label(["user_id", "category"], today).iloc[0]
    assert 0.2 < found["rows with a share"] < 0.4 and found["high"] < 0 and found["strictly before"] > 0.55
    assert found["difference"] == pytest.approx(found["the row itself too"] - found["strictly before"])


def test_random_groups_leak_by_their_size_alone():
    draws = leaks.worth_of_chance(2, 5, 200, draws=2)
    assert draws.shape == (3, 2) and (draws[0] != draws[1]).all() and np.abs(draws[0] - draws[1]).max() < 0.03
    found = draws.mean(axis=1)
    assert found[2] > 0.35 > found[5] > 0.2 > 0.06 > found[200]
    assert abs(found[5] - leaks.worth_of_sharing("category", "user_id")["worth"]) < 0.05


def test_a_tree_for_each_table(today):
    fit = leaks.trees({"place": leaks.position, "later": leaks.later})
    assert fit["later"](today).name == "later" and fit["place"](today).p.between(0, 1).all()


def test_the_honest_share_is_of_train_alone(today):
    leak, honest = (leaks.share_by(["item_id"], counted)(today) for counted in ("all", "before"))
    item = today.test["item_id"].iloc[0]
    rows = today.train[today.train["item_id"] == item]
    where = today.dataset.interactions["item_id"] == item
    assert honest["share"][where].iloc[-1] == pytest.approx(rows["label"].mean()) != leak["share"][where].iloc[-1]
    assert np.isnan(honest["share"][where].iloc[0]), "nothing came before the first"


def test_each_alarm_hears_its_own(today):
    def label(split):
        return split.dataset.interactions[["label"]]

    written = today.dataset.interactions["label"].to_numpy()  # before the fit: no second fit can move it

    def record(split):
        return pd.DataFrame({"record": written * 10})

    found = leaks.alarms({"reads": label, "record": record, "share": leaks.share_by(["brand"], "before")}, today)
    assert found["alone_heard"].tolist() == [True, True, False] == found["truth_heard"].tolist()
    assert found["moved_heard"].tolist() == [True, False, False]
    assert found.loc["record", "alone"] == 1 and found.loc["record", "truth"] > 0 > found.loc["share", "truth"]


def test_the_visit_ends_with_a_purchase_of_the_item(today):
    rows = leaks.visit(today.dataset, 57)
    assert len(rows) == 6 and rows["bought"].iloc[-1] == 1
    last = today.dataset.interactions.loc[rows.index]
    assert last["item_id"].iloc[-1] == 57 and last["user_id"].nunique() == last["list"].nunique() == 1
    assert np.diff(last["position"]).tolist() == [1] * 5


def test_a_column_has_no_empty_cell_and_is_of_test_alone(today):
    found = leaks.columns(leaks.share_by(["item_id"], "before"), today)
    assert found.index.equals(today.test.index) and found.notna().all(axis=None)
    assert (found.dtypes == "float64").all()
