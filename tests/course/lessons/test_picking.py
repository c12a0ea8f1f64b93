"""What each way of picking reaches, worked by hand on three folds."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from klm_utils.course.exercises import ch05
from klm_utils.course.lessons.picking import (
    beside,
    differences,
    equal_epochs,
    kept_epochs,
    picks,
    same_for_all,
    stopped,
)

CURVES = {
    "a": {
        "0": {"valid": [0.1, 0.3], "test": [0.5, 0.6]},
        "1": {"valid": [0.9, 0.1], "test": [0.1, 0.2]},
        "2": {"valid": [0.2, 0.4], "test": [0.7, 0.8]},
    },
    "b": {
        "0": {"valid": [0.2, 0.8], "test": [0.3, 0.4]},
        "1": {"valid": [0.3, 0.2], "test": [0.9, 0.3]},
        "2": {"valid": [0.3, 0.1], "test": [0.9, 0.5]},
    },
}


def test_each_way_of_picking_by_hand():
    found = picks(CURVES, ["a"])
    assert found["valid, each fold"].tolist() == [0.6, 0.1, 0.8]
    # fold 0 asks folds 0 and 1: .50 against .20; fold 1 asks 1 and 2: .55 against .25; fold 2 asks 0 and 2: .15, .35
    assert found["valid, all folds"].tolist() == [0.5, 0.1, 0.8]
    assert found["test (cheating)"].tolist() == [0.6, 0.2, 0.8]


def test_a_setting_is_picked_along_with_its_epoch():
    assert picks(CURVES, ["a", "b"])["valid, each fold"].tolist() == [0.4, 0.1, 0.8]


def test_the_fold_whose_valid_items_are_tested_has_no_say():
    changed = {"a": CURVES["a"] | {"2": {"valid": [9.0, -9.0], "test": [0.7, 0.8]}}}
    before, after = picks(CURVES, ["a"]), picks(changed, ["a"])
    assert after.loc[0].equals(before.loc[0]), "the valid items of fold 2 are the test items of fold 0"
    assert after.loc[2, "valid, all folds"] == 0.7


def test_a_single_fold_picks_for_itself():
    found = picks({"a": {"0": CURVES["a"]["0"]}}, ["a"])
    assert found.equals(pd.DataFrame([[0.6, 0.6, 0.6]], index=found.index, columns=found.columns))


def test_differences_are_paired_and_have_the_corrected_interval():
    picked = {name: picks(CURVES, [name]) for name in ("a", "b")}
    table, found = differences(picked, [("a", "b"), ("b", "a")], "valid, each fold", 0.5)
    d = [0.6 - 0.4, 0.1 - 0.9, 0.8 - 0.9]
    assert table["a minus b"].tolist() == pytest.approx(d)
    error = np.sqrt((1 / 3 + 0.5) * np.var(d, ddof=1))
    mean, low, high, p = found.loc["a minus b", ["difference", "others low", "others high", "p others"]]
    half = 4.302653 * error  # t with two degrees of freedom
    assert (mean, low, high) == pytest.approx((np.mean(d), np.mean(d) - half, np.mean(d) + half))
    assert p == pytest.approx(min(1.0, 2 * 2 * stats.t.sf(abs(np.mean(d)) / error, 2))), "Holm: two claims"
    assert found[["low", "high"]].isna().all(axis=None)


def test_epochs_before_the_first_or_after_the_last_are_not_picked():
    assert picks(CURVES, ["a"], first=2)["valid, each fold"].tolist() == [0.6, 0.2, 0.8]
    assert picks(CURVES, ["a"], last=1)["valid, each fold"].tolist() == [0.5, 0.1, 0.7]
    assert kept_epochs(CURVES, "a") == {0: 2, 1: 1, 2: 2}


def test_a_rule_stops_each_fold():
    one = {"valid": [0.3, 0.2, 0.1, 0.9], "test": [0.5, 0.6, 0.7, 0.8]}
    assert stopped({"0": one}, ch05.best_epoch, 2) == (0.5, 3)
    assert stopped({"0": one, "1": one}, ch05.best_epoch, 9) == (pytest.approx(0.8), 4)


def test_time_and_teaching_are_picked_on_their_own():
    curves = dict.fromkeys(("no text, all epochs", "frozen, shuffled, all epochs", "still"), CURVES["a"])
    curves |= {"frozen, setting 0": CURVES["a"], "frozen, 68 epochs": CURVES["b"], "taught": CURVES["b"]}
    curves["full"] = CURVES["b"]
    found = equal_epochs(curves, "taught", "still", starts=1)
    assert found["full 68"].equals(picks(curves, ["taught"])) and len(found) == 10
    assert found["full 28"].equals(picks(CURVES, ["b"])) and found["frozen 28"].equals(picks(CURVES, ["a"]))
    assert found["frozen 68"].equals(picks(CURVES, ["b"])) and found["frozen 60"].equals(picks(CURVES, ["a"]))
    assert found["full late"]["valid, each fold"].tolist() == [0.4, 0.3, 0.5]
    assert found["still late"]["valid, each fold"].tolist() == [0.6, 0.2, 0.8]
    assert found["still early"]["valid, each fold"].tolist() == [0.5, 0.1, 0.7]


def test_a_model_without_epochs_has_one_value():
    found = same_for_all(pd.Series([0.1, 0.2]))
    assert list(found) == list(picks(CURVES, ["a"])) and found.iloc[1].tolist() == [0.2] * 3


def test_two_ways_stand_side_by_side():
    row = {"difference": 0.0123, "others low": -0.004, "others high": 0.02, "p others": 0.104}
    found = beside({"each": pd.DataFrame([row], index=["a minus b"]), "all": pd.DataFrame([row], index=["a minus b"])})
    assert found.loc["a minus b"].tolist() == ["+0.012 [-0.004, +0.020]", "0.10"] * 2
    assert list(found) == ["each", "p (each)", "all", "p (all)"]
