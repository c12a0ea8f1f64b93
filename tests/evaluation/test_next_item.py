"""What comes next is asked of the past alone, and ranked among what is new to the user."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import klm_utils as klm
from klm_utils.errors import ConfigError, DataError
from klm_utils.evaluation import intervals, paired_gain
from klm_utils.evaluation.next_item import asked, evaluate_next, rank_next, sequences


@pytest.fixture(scope="module")
def log():
    """Two users; 1 chooses b and c in one second."""
    rows = [(1, "a", 1), (1, "b", 5), (1, "c", 5), (2, "a", 2), (2, "b", 6), (1, "d", 9), (2, "c", 9)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    items = pd.DataFrame({"item_id": list("abcd"), "title": list("ABCD")})
    ds = klm.RecDataset.from_frames(items, None, frame)
    log = ds.interactions
    return klm.Split(log[:2], log[2:4], log[4:], "by hand", ds, "by hand", log[:0])


def test_the_history_is_what_came_before(log):
    rows = asked(log, "test", "none")
    assert dict(zip(zip(rows["user_id"], rows["item_id"], strict=True), rows["history"], strict=True)) == {
        (2, "b"): ["a"],
        (1, "d"): ["a", "b", "c"],
        (2, "c"): ["a", "b"],
    }


def test_what_bears_the_same_second_is_before_it_only_in_order_of_the_log(log):
    [row] = [row for row in asked(log, "valid", "none").itertuples() if row.item_id == "c"]
    assert row.history == ["a"]
    [row] = [row for row in asked(log, "valid", "order").itertuples() if row.item_id == "c"]
    assert row.history == ["a", "b"]


def test_ranks_are_among_what_is_new(log):
    rows = asked(log, "test")
    model = SimpleNamespace(
        items=log.dataset.items.index, predict=lambda past: np.tile([4.0, 3.0, 2.0, 1.0], (len(past), 1))
    )
    found = rank_next(model, rows, 1)
    assert found["mrr"].tolist() == [1.0, 1.0, 1.0], "all better ones were met"
    backwards = SimpleNamespace(items=model.items, predict=lambda past: -model.predict(past))
    assert rank_next(backwards, rows, 1)["mrr"].tolist() == [1 / 3, 1.0, 1 / 2]


def test_items_of_the_part_can_be_ranked_among_themselves(log):
    model = SimpleNamespace(items=log.dataset.items.index, predict=lambda past: np.tile([1.0, 2, 3, 4], (len(past), 1)))
    found = {among: evaluate_next(model, log, 1, part="valid", among=among, n_boot=2) for among in ("all", "part")}
    assert found["all"].metrics["mrr"] == pytest.approx((1 / 3 + 1 / 2) / 2), "d is better, and b and c are asked"
    assert found["part"].metrics["mrr"] == pytest.approx((1 / 2 + 1) / 2)


def test_a_report_has_both_intervals(log):
    model = SimpleNamespace(items=log.dataset.items.index, predict=lambda past: np.ones((len(past), 4)), name="same")
    report = evaluate_next(model, log, n_boot=20)
    assert report.metrics["mrr"] == pytest.approx(rank_next(model, asked(log), 10)["mrr"].mean())
    assert "each from those before it" in report.protocol and report.n_users == 2
    gain = paired_gain(report, report, n_boot=20)
    assert gain.difference == 0 and np.isfinite(gain.others).all()


def test_a_mean_over_rows_is_the_log_loss_of_those_rows():
    rng = np.random.default_rng(0)
    users, items, y, p = rng.integers(5, size=50), rng.integers(7, size=50), rng.integers(2, size=50), rng.random(50)
    loss = intervals.logloss(users, y, p, items=items)
    mean = intervals.mean_over_rows(users, intervals.row_losses(y, p), items, (0.0, np.inf))
    assert intervals.two_way(loss, n_boot=30) == intervals.two_way(mean, n_boot=30)


def test_sequences_are_those_of_train(log):
    assert sequences(log) == []
    assert sequences(log.all_in_train()) == [["a", "b", "c", "d"], ["a", "b", "c"]]


@pytest.mark.parametrize(
    ("predict", "says"),
    [
        (lambda past: np.ones((len(past), 3)), "score for each item"),
        (lambda past: np.full((len(past), 4), np.nan), "finite"),
    ],
)
def test_scores_that_are_none_are_refused(log, predict, says):
    with pytest.raises(DataError, match=says):
        evaluate_next(SimpleNamespace(items=log.dataset.items.index, predict=predict), log)


def test_a_model_of_other_items_is_refused(log):
    with pytest.raises(ConfigError, match="does not score the items"):
        evaluate_next(SimpleNamespace(items=pd.Index(["x"]), predict=None), log)
    with pytest.raises(ConfigError, match="Unknown ties"):
        evaluate_next(None, log, ties="all")
