"""What notebook 01 runs: checks that find, books that balance, and leaks that are worth what they are worth."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.course.lessons import cleaning
from klm_utils.course.notebook import code_cells, read
from klm_utils.data.shop.cleaning import clean

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def films():
    return klm.load_dataset("movielens-100k")


@pytest.fixture(scope="module")
def today():
    return klm.split(klm.load_dataset("shop", language="zh"), "temporal")


def test_the_checks_find_what_was_spoilt_and_the_books_balance():
    raw = cleaning.raw_shop()
    found = {name: int(bad.sum()) for name, bad in cleaning.checks(raw).items()}
    assert found["price with full-width digits"] == 12 and found["item that the catalogue lacks"] == 30
    assert len(found) == 12 and all(found.values())
    books = cleaning.books(raw, clean(**raw))
    assert books["balanced"].all() and books.loc["interactions", "out"] == 125_606
    assert books.loc["items"].tolist()[:4] == [606, 0, 6, 600]


def test_a_lost_row_unbalances_the_books():
    raw = cleaning.raw_shop()
    done = clean(**raw)
    object.__setattr__(done, "users", done.users.iloc[1:])
    assert cleaning.books(raw, done)["balanced"].tolist() == [True, False, True]


def test_what_times_say_of_users_and_days(films):
    people = cleaning.of_users(films)
    assert people["ratings"].min() == 20 and people["ratings"].sum() == 100_000 and people["minutes"].min() >= 0
    days = cleaning.of_days(films)
    assert days["rows"].sum() == 100_000 and (days["first"] <= days["rows"]).all()
    assert days["first"].iloc[0] == days["rows"].iloc[0], "on the first day everybody is new"


def test_the_window_cuts_the_target_out(films):
    near = cleaning.window(films, 484, 183)
    assert near["title"].tolist()[-3:] == ["Terminator 2: Judgment Day", "Alien", "The Terminator"]
    assert near["seconds"].tolist() == [-25, -25, -1, 0, 0, 26] and near["target"].sum() == 1


def test_shift_counts_ties_and_strictly_before_does_not():
    log = pd.DataFrame({"user_id": [1, 1, 2, 1], "item_id": [5, 6, 7, 8], "timestamp": [1, 2, 2, 2]})
    assert cleaning.shifted(log.iloc[:3], log.iloc[[0, 3]], 5) == [[], [5, 6]]
    assert cleaning.shifted(log.iloc[:3], log.iloc[[3]].assign(user_id=9), 5) == [[]]
    assert cleaning.shifted(log, log.iloc[[3]], 1) == [[6]]


def test_ties_are_worth_something_on_movielens(films):
    found = cleaning.worth_of_ties(klm.split(films, "random"), length=5)
    assert found["worth"] == pytest.approx(found["leak"] - found["honest"])
    assert 0 < found["low"] < found["worth"] < found["high"] < 0.03


def test_a_table_that_knows_the_label_is_worth_all_and_a_table_is_worth_nothing_more_than_itself(today):
    def knows(split):
        return split.dataset.interactions[["label"]]

    def place(split):
        return split.dataset.interactions[["position"]]

    found = cleaning.worth({"all": (knows, place), "none": (place, place)}, today)
    assert found.loc["all", "leak"] == 1 and found.loc["all", "low"] > 0.4
    assert found.loc["none", ["worth", "low", "high"]].abs().max() == 0


def test_a_share_leaks_more_the_fewer_rows_it_is_counted_on():
    found = [cleaning.worth_of_sharing(*by) for by in (("category",), ("item_id",), ("category", "user_id"))]
    assert found[0]["rows"] > found[1]["rows"] > found[2]["rows"]
    assert found[0]["worth"] < found[1]["low"] and found[1]["high"] < 0.1 < 0.25 < found[2]["low"]


def test_before_is_strictly_before_by_hand():
    log = pd.DataFrame({"label": [1, 0, 1, 1, 1], "group": [0, 0, 1, 0, 0], "time": [1, 2, 2, 3, 3]})
    assert cleaning.before(log["label"], log["group"], log["time"]).tolist() == [0, 1, 0, 1, 1]


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
        share = [cleaning.share_by(["item_id"], counted)(one)["share"][row] for one in (other, zero)]
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

    counts = {"position": cleaning.position, "later": cleaning.later, "earlier": cleaning.earlier}
    found = cleaning.aucs(counts | {"all": all_of_them, "but the row": but_the_row}, today)
    assert found.loc["all", "low"] > 0.7 > 0.57 > found.drop("all")["high"].max()
    log = today.dataset.interactions
    parts = [f(today).iloc[:, 1] for f in (cleaning.later, all_of_them)]
    assert (parts[0] + log["label"] <= parts[1]).all(), "what is later and the row itself are parts of all"


def test_shares_of_train_with_the_own_label_are_worse_than_the_position(today):
    by = ["user_id", "category"]
    shares = {c: cleaning.share_by(by, c) for c in ("train", "before", "all")}
    found = cleaning.aucs({"position": cleaning.position} | shares, today)["auc"]
    assert found["train"] < found["position"] - 0.02 < found["before"] < found["all"]


def test_random_groups_leak_by_their_size_alone():
    found = cleaning.worth_of_chance(2, 5, 200)
    assert found[2] > 0.35 > found[5] > 0.2 > 0.06 > found[200]
    assert abs(found[5] - cleaning.worth_of_sharing("category", "user_id")["worth"]) < 0.05


def test_a_tree_for_each_table(today):
    fit = cleaning.trees({"place": cleaning.position, "later": cleaning.later})
    assert fit["later"](today).name == "later" and fit["place"](today).p.between(0, 1).all()


def test_the_honest_share_is_of_train_alone(today):
    leak, honest = (cleaning.share_by(["item_id"], counted)(today) for counted in ("all", "before"))
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

    found = cleaning.alarms({"reads": label, "record": record, "share": cleaning.share_by(["brand"], "before")}, today)
    assert found["alone_heard"].tolist() == [True, True, False] == found["truth_heard"].tolist()
    assert found["moved_heard"].tolist() == [True, False, False]
    assert found.loc["record", "alone"] == 1 and found.loc["record", "truth"] > 0 > found.loc["share", "truth"]


def test_new_goods_have_tags_that_nobody_has_met():
    found = cleaning.coverage(klm.load_dataset("shop"))
    assert found.loc["tags"].tolist() == [1, 1, 0] and found.loc["graph: category", "met"] == 1
    assert (found["met"] <= found["newer"]).all()


def test_the_mislinked_sequels_are_no_more_alike_than_shuffled_ones():
    wrong = klm.load_dataset("movielens-100k-mislinked")
    pairs = cleaning.sequels(wrong)
    assert {"film": "Roseanna's Grave (For Roseanna)", "sequel": "Back to the Future"} in pairs.to_dict("records")
    found = cleaning.common_genres(wrong, shuffles=50)
    assert found.loc["graph: a sequel", "alike"] < found.loc["graph: a sequel", "high"]
    assert found.loc["title: begins alike", "alike"] > found.loc["title: begins alike", "high"]
    right = cleaning.common_genres(klm.load_dataset("movielens-100k"), shuffles=50).loc["graph: one director"]
    assert right["alike"] > 2 * right["high"] and found.loc["graph: one director", "alike"] < right["high"] + 0.05


def test_the_graph_takes_two_other_films_for_the_terminators():
    wrong = klm.load_dataset("movielens-100k-mislinked")
    entity, facts = wrong.items["entity"], wrong.triples[wrong.triples["relation"] == "film.film.sequel"]
    assert (facts["head"].eq(entity[1240]) & facts["tail"].eq(entity[589])).any()
    assert wrong.items.loc[[1240, 589], "title"].str[:9].tolist() == ["Ghost in ", "Wild Bunc"]


def test_jaccard_by_hand():
    sets = pd.Series({"a": {1, 2}, "b": {2, 3}, "c": {1, 2}})
    assert cleaning.jaccard(sets, ["a", "a"], ["b", "c"]) == pytest.approx((1 / 3 + 1) / 2)


def test_twins_and_those_that_a_split_divides(films):
    both = cleaning.twins(films.items)
    assert len(both) == 36 and both["title"].eq("Chasing Amy").sum() == 2
    log = films.interactions
    test = log["item_id"].isin([246, 304, 500])
    assert cleaning.divided(log[test], log[~test], films.items) == 1, "Chasing Amy alone; Fly Away Home is whole"
    careless = [cleaning.careless(log, films.items, 0.15, np.random.default_rng(seed)) for seed in range(5)]
    assert sum(cleaning.divided(test, train, films.items) for train, test in careless) > 10
    cut = klm.split(films, "cold_item")
    assert cleaning.divided(cut.test, cut.train, films.items) == 0


def test_the_twenty_lines_are_those_of_the_readme():
    """But for the printing, and for the epochs."""
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    notebook = read(ROOT / "notebooks" / "01_data_preparation.ipynb")
    cell = next(
        c.source for c in code_cells(notebook) if "RecDataset.from_frames(items, None, clicks, name" in c.source
    )
    lines = [re.sub(r"TrainConfig\(.*?\)", "TrainConfig()", line) for line in cell.split("\npopular =")[0].splitlines()]
    lines = [line for line in lines if line and not line.startswith("print")]
    assert len(lines) >= 10
    assert [line for line in lines if line not in readme] == []
    assert np.all([part in readme for part in (".with_items(new)", "history=[50, 172, 181]")])
