"""What notebook 01 runs: checks that find, books that balance, and leaks that are worth what they are worth."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.course.lessons import cleaning
from klm_utils.course.notebook import code_cells, read

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def films():
    return klm.load_dataset("movielens-100k")


def test_the_checks_find_what_was_spoilt():
    raw = cleaning.raw_shop()
    found = {name: int(bad.sum()) for name, bad in cleaning.checks(raw).items()}
    assert found["price with full-width digits"] == 12 and found["item that the catalogue lacks"] == 30
    assert len(found) == 12 and all(found.values())


def test_right_is_the_share_of_cells_that_say_what_is_true():
    true = pd.DataFrame({"age": pd.array([30, 40, pd.NA], dtype="Int64"), "gender": ["male"] * 3})
    raw = pd.DataFrame({"age": ["30", "４０", ""], "gender": ["M", "male", "male"], "tier": [1, 2, 3]})
    mine = pd.DataFrame({"age": [30.0, 40.0, None], "gender": ["male"] * 3})
    found = cleaning.right({"raw": raw, "mine": mine}, true)
    assert found["raw"].tolist() == pytest.approx([1 / 3, 2 / 3]) and found["mine"].tolist() == [
        pytest.approx(2 / 3),
        1,
    ]


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
    cut = klm.split(films, "cold_item")
    assert cleaning.divided(cut.test, cut.train, films.items) == 0


def test_each_fault_of_a_split_is_told_even_beside_others(films):
    both = cleaning.faults(cleaning.careless, films, seeds=3)
    assert both == ["7 films have one id in train and another in test", "3 different seeds give only 1 split"]

    def by_rows(log, items, share, rng):
        test = rng.random(len(log)) < share
        return log[~test], log[test]

    def whole(log, items, share, rng):
        test = log["item_id"] % 7 == rng.integers(7)  # twins aside
        test |= log["item_id"].isin(cleaning.twins(items).index)
        return log[~test], log[test]

    assert "rows of test are of a film that train has" in cleaning.faults(by_rows, films, seeds=2)[0]
    assert cleaning.faults(whole, films, seeds=2) == []


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
