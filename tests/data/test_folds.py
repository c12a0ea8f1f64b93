"""Folds: every item (or user) with enough rows is new in one of them, once."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_logs import attempt, logs, twin_keys

import klm_utils as klm
from klm_utils import DataError


@pytest.mark.parametrize(("name", "key"), [("cold_item", "item_id"), ("cold_user", "user_id")])
def test_over_all_folds_every_eligible_id_is_new_once_in_test_and_once_in_valid(movielens, name, key):
    rows = movielens.interactions[key].value_counts()
    eligible, seen = set(rows[rows >= 5].index), {"test": Counter(), "valid": Counter()}
    for fold in range(10):
        split = klm.split(movielens, name, fold=fold)
        for part, counter in seen.items():
            counter.update(set(getattr(split, part)[key]))
        sizes = [len(set(getattr(split, part)[key]) & eligible) / len(eligible) for part in ("test", "valid")]
        assert sizes == pytest.approx([0.1, 0.1], abs=0.003)
        assert f"{name} fold {fold} of 10" in split.protocol and split.name == name
    for counter in seen.values():
        assert eligible <= set(counter) and set(counter.values()) == {1}
        assert all(id_ in eligible for id_ in counter) or name == "cold_item", "but for twins of the eligible"
    last, first = klm.split(movielens, name, fold=9), klm.split(movielens, name, fold=0)
    assert set(last.valid[key]) == set(first.test[key]), "valid is the next fold"


@settings(max_examples=40, deadline=None)
@given(ds=logs, seed=st.integers(0, 50), folds=st.integers(3, 6))
def test_twins_are_in_one_fold(ds, seed, folds):
    made = [attempt(ds, "cold_item", seed, fold=fold, folds=folds) for fold in range(folds)]
    assume(None not in made)
    titles = [set(split.test["item_id"].map(twin_keys(ds))) for split in made]
    assert all(not one & other for one, other in combinations(titles, 2))


def test_another_seed_deals_other_folds_and_the_old_form_stays(movielens):
    one, other = (klm.split(movielens, "cold_item", seed, fold=0) for seed in (0, 1))
    assert set(one.test["item_id"]) != set(other.test["item_id"])
    assert klm.split(movielens, "cold_item").test["item_id"].nunique() > 200


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"name": "cold_item", "fold": 10}, "no such fold"),
        ({"name": "cold_item", "fold": -1}, "fold"),
        ({"name": "cold_item", "fold": 1.5}, "fold"),
        ({"name": "cold_item", "fold": 0, "folds": 2}, "folds"),
        ({"name": "random", "fold": 0}, "has no folds"),
        ({"name": "temporal", "fold": 0}, "has no folds"),
    ],
)
def test_folds_that_there_are_none_of(movielens, arguments, match):
    with pytest.raises(klm.ConfigError, match=match):
        klm.split(movielens, **arguments)


def test_more_folds_than_items_are_refused(movielens):
    with pytest.raises(DataError, match="too few ids"):
        klm.split(movielens, "cold_item", fold=0, folds=5000)
