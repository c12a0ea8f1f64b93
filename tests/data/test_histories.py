import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import klm_utils as klm
from klm_utils.data import histories as sequences
from klm_utils.data.histories import histories


def reference(log, targets, length):
    """The same by brute force."""
    found = []
    for user, now in zip(targets["user_id"], targets["timestamp"], strict=True):
        before = log[(log["user_id"] == user) & (log["timestamp"] < now)]
        found.append(before.sort_values("timestamp", kind="stable")["item_id"].tolist()[-length:])
    return found


def frame(rows, n_users, kind=int):
    """Rows (user, time) with an item of its own in each, so that an item tells its row."""
    users = [kind(user % n_users) for user, _ in rows]
    times = pd.Series([when for _, when in rows], dtype="int64")
    items = [kind(i) for i in range(len(rows))]
    return pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times})


rows = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(rows, rows, st.integers(1, 6), st.integers(1, 8), st.sampled_from([int, str]))
def test_equal_to_brute_force(log, targets, length, n_users, kind):
    log, targets = frame(log, n_users, kind), frame(targets, n_users + 1, kind)
    found = histories(log, targets, length)
    assert found == reference(log, targets, length)
    of_row = log.set_index("item_id")
    for user, now, history in zip(targets["user_id"], targets["timestamp"], found, strict=True):
        mine = of_row.loc[history]
        assert len(history) <= length and len(set(history)) == len(history)
        assert (mine["user_id"] == user).all() and (mine["timestamp"] < now).all()
        assert mine["timestamp"].is_monotonic_increasing
        assert all(isinstance(item, kind) for item in history)


@settings(max_examples=50, deadline=None)
@given(rows, st.integers(1, 8), st.integers(0, 12))
def test_what_comes_later_changes_nothing(log, n_users, now):
    log = frame(log, n_users)
    targets = log[log["timestamp"] <= now]
    assert histories(log, targets) == histories(log[log["timestamp"] < now], targets)


def test_ties_are_not_before_and_keep_the_order_of_the_log():
    log = pd.DataFrame({"user_id": 1, "item_id": list("dcba"), "timestamp": [7, 5, 5, 7]}, index=[9, 9, 3, 0])
    targets = pd.DataFrame({"user_id": 1, "timestamp": [5, 6, 7, 8, 7.5]})
    assert histories(log, targets) == [[], ["c", "b"], ["c", "b"], ["c", "b", "d", "a"], ["c", "b", "d", "a"]]
    assert histories(log, targets, 1) == [[], ["b"], ["b"], ["a"], ["a"]]


def test_shift_leaks_where_times_tie(movielens):
    log = movielens.interactions
    by_user = log.groupby("user_id")
    same_second = (by_user["timestamp"].shift() == log["timestamp"]).to_numpy()
    assert same_second.mean() > 0.4, "the item that shift calls the last one was rated in the same second"
    wrong, right = by_user["item_id"].shift(), histories(log, log, 1)
    last = pd.Series([history[0] if history else np.nan for history in right])
    assert (wrong[~same_second].dropna() == last[~same_second].dropna()).all()
    assert not (wrong[same_second] == last[same_second]).any()


def test_every_row_of_movielens_as_a_target(movielens):
    log = movielens.interactions
    found = histories(log, log)
    assert len(found) == len(log) and max(map(len, found)) == 20


def test_the_parts_of_a_split(movielens):
    split = klm.split(movielens, "temporal")
    chosen = movielens.chosen(split.train)
    found = histories(chosen, split.test)
    known = chosen["user_id"].unique()
    assert all(bool(h) == (user in known) for h, user in zip(found, split.test["user_id"], strict=True))


@pytest.mark.parametrize("dtype", ["int64", "int32", "Int64", "object", "category", "str"])
def test_other_types_of_column(dtype):
    log = frame([(0, 1), (1, 2), (0, 3)], 2)
    typed = log.astype({"user_id": dtype, "item_id": dtype})
    expected = [[str(item) if dtype == "str" else item for item in history] for history in [[], [], [0]]]
    assert histories(typed, typed) == expected
    if dtype != "str":
        assert histories(typed, log) == histories(log, typed) == expected


def test_large_times_are_compared_exactly():
    log = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "timestamp": [2**60, 2**60 + 1]})
    assert histories(log, log) == [[], [1]]


@pytest.mark.parametrize("kind", [object, str, "uint64", "Int64"])
def test_large_times_of_any_type_are_compared_exactly(kind):
    times = pd.Series([2**60, 2**60 + 1]).astype(kind)
    log = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2], "timestamp": times})
    assert histories(log, log) == [[], [1]]


@pytest.mark.parametrize("kind", [int, str])
def test_empty_frames(kind):
    log = frame([(0, 1)], 1, kind)
    assert histories(log[:0], log) == [[]]
    assert histories(log, log[:0]) == []
    assert histories(klm.load_dataset("article").interactions, log) == [[]]


@pytest.mark.parametrize("length", [0, -1, 1.5, True, None, "3"])
def test_length_is_a_whole_number(length):
    log = frame([(0, 1)], 1)
    with pytest.raises(klm.ConfigError, match="length must be a whole number"):
        histories(log, log, length)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda log: (log.drop(columns="item_id"), log), "log has no column 'item_id'"),
        (lambda log: (log.drop(columns="user_id"), log), "log has no column 'user_id'"),
        (lambda log: (log, log.drop(columns="timestamp")), "targets has no column 'timestamp'"),
        (lambda log: (log, [1, 2]), "targets is not a table"),
        (lambda log: (log, log.assign(timestamp=[1, np.nan])), "timestamp is not a time in 1 row of targets"),
        (
            lambda log: (log.assign(timestamp=["1970-01-01", "1970-01-02"]), log),
            "timestamp is not a time in 2 rows of log",
        ),
        (
            lambda log: (log.assign(timestamp=np.array([5, 2**63 + 4096], dtype="uint64")), log),
            "timestamp is not a time",
        ),
        (lambda log: (log, log.assign(user_id=[1.5, 1])), "user_id is not an id"),
        (lambda log: (log, log.astype({"user_id": str})), "of two types"),
    ],
)
def test_faults(change, what):
    with pytest.raises(klm.DataError, match=what) as caught:
        histories(*change(frame([(0, 1), (1, 2)], 2)))
    assert caught.value.where and caught.value.expected and caught.value.remedy and caught.value.found is not None


def test_the_example_in_the_docstring():
    assert doctest.testmod(sequences).failed == 0
