"""What is ranked, for whom, and that no way of cutting the work changes the result."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from worlds import Table

import klm_utils as klm
from klm_utils.errors import ConfigError, DataError
from klm_utils.evaluation import metrics, ranking


class Oracle:
    """Scores 1 for every (user, item) of the given frames."""

    def __init__(self, *frames):
        pairs = pd.concat(frames)
        self.pairs = set(zip(pairs["user_id"], pairs["item_id"], strict=True))

    def predict(self, user_ids, item_ids):
        return np.array([float(pair in self.pairs) for pair in zip(user_ids, item_ids, strict=True)])


def hand_made(**frames):
    """Users 1, 2, 3 and items 1 to 6; a split small enough to rank on paper."""
    log = pd.DataFrame(
        {
            "user_id": [1, 1, 2, 3, 1, 2, 1, 1, 2, 2, 3],
            "item_id": [1, 2, 1, 6, 3, 3, 4, 1, 5, 4, 6],
            "timestamp": [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2],  # 0 train, 1 valid, 2 test
            "label": [1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1],
        }
    )
    ds = klm.RecDataset.from_frames(
        pd.DataFrame({"item_id": range(1, 7), "title": list("abcdef")}), None, log, name="hand", **frames
    )
    train, valid, test = (ds.interactions[ds.interactions["timestamp"] == t] for t in range(3))
    return SimpleNamespace(train=train, valid=valid, test=test, shown=test.iloc[:0], dataset=ds, name="random")


def test_candidates_and_relevant_items_by_hand():
    asked = []

    class Spy(Table):
        def predict(self, user_ids, item_ids):
            asked.append((user_ids, item_ids))
            return super().predict(user_ids, item_ids)

    scores = {(1, 5): 0.9, (1, 4): 0.8, (1, 6): 0.7, (2, 6): 0.9, (2, 2): 0.8, (2, 4): 0.7, (2, 5): 0.6}
    scores |= {(u, i): 1.0 for u in (1, 2) for i in (1, 2, 3) if (u, i) != (2, 2)}  # all of these were met before
    result = ranking.rank(Spy(scores), hand_made(), 3)
    # user 1 met 1 2 3, chose 4 (and 1 again, which is no candidate); user 2 met 1 3, chose 4 and 5; user 3 only 6 again
    assert result.users.tolist() == [1, 2]
    assert result.candidates[result.top[0]].tolist() == [5, 4, 6]
    assert result.candidates[result.top[1]].tolist() == [6, 2, 4]
    np.testing.assert_allclose(result.values["mrr"], [1 / 2, 1 / 3])
    np.testing.assert_allclose(result.values["recall@3"], [1, 1 / 2])
    assert len(asked) == 1 and len(asked[0][0]) == 12, "every item of the data set is scored for every user"


def test_valid_does_not_exclude_itself():
    result = ranking.rank(Table({}), hand_made(), 3, part="valid")
    assert result.users.tolist() == [1, 2]
    assert (np.sort(ranking.rank(Table({}), hand_made(), 6, part="valid").top[0]) == [-1, -1, 2, 3, 4, 5]).all()


def test_only_choices_are_relevant_when_labels_choose():
    result = ranking.rank(Table({(2, 5): 1.0, (2, 4): 0.9}, default=0.0), hand_made(chosen_by="label"), 1)
    assert result.users.tolist() == [1, 2] and result.values["recall@1"][1] == 0, "5 was shown to user 2, not chosen"


@pytest.mark.parametrize("name", ["random", "temporal", "cold_item", "cold_user"])
def test_oracle_is_perfect_and_sees_no_met_item(small, name):
    split = klm.split(small, name)
    perfect = ranking.rank(Oracle(split.test), split, 5)
    for metric in ("ndcg@5", "hit_rate@5", "mrr", "map@5"):
        np.testing.assert_allclose(perfect.values[metric], 1, err_msg=metric)
    met = pd.concat([split.train, split.valid])
    top = ranking.rank(Oracle(met), split, 40)
    listed = {(u, top.candidates[c]) for u, row in zip(top.users, top.top, strict=True) for c in row if c >= 0}
    assert not listed & Oracle(met).pairs
    wrong = ranking.rank(Table(dict.fromkeys(Oracle(split.test).pairs, 0.0), default=1.0), split, 1)
    assert max(values.mean() for values in wrong.values.values()) < 0.2


def test_shown_rows_are_no_candidates(small):
    split = klm.split(small, "cold_user", shown=3)
    top = ranking.rank(Oracle(split.shown), split, 40)
    listed = {(u, top.candidates[c]) for u, row in zip(top.users, top.top, strict=True) for c in row if c >= 0}
    assert not listed & Oracle(split.shown).pairs


def test_cold_items_among_themselves(small):
    split = klm.split(small, "cold_item")
    cold, everything = (ranking.rank(Table({}), split, 5, among=among) for among in ("part", "all"))
    assert set(cold.candidates) == set(split.test["item_id"]) and len(everything.candidates) == 40
    assert "5 items of the test part" in cold.protocol.replace(str(len(cold.candidates)), "5")
    assert cold.values["recall@5"].mean() > 2 * everything.values["recall@5"].mean(), "chance among fewer is higher"


def test_constant_model_is_at_chance(movielens):
    split = klm.split(movielens, "cold_item")
    result = ranking.rank(Table({}), split, 10, among="part")
    assert result.values["recall@10"].mean() == pytest.approx(10 / len(result.candidates), rel=0.1)
    assert len(np.unique(result.top)) == len(result.candidates)


def test_chunks_do_not_matter_and_metrics_agree(small, monkeypatch):
    split = klm.split(small, "random")
    rng = np.random.default_rng(0)
    scores = {(u, i): rng.integers(0, 5) / 4 for u in small.users.index for i in small.items.index}  # many ties
    whole = ranking.rank(Table(scores), split, 10)
    monkeypatch.setattr(ranking, "PAIRS_AT_ONCE", 100)
    parts = ranking.rank(Table(scores), split, 10)
    np.testing.assert_array_equal(whole.top, parts.top)
    y = np.array(
        [[pair in Oracle(split.test).pairs for pair in ((u, i) for i in whole.candidates)] for u in whole.users]
    )
    s = np.array([[scores[u, i] for i in whole.candidates] for u in whole.users])
    met = Oracle(split.train, split.valid).pairs
    s[[[(u, i) in met for i in whole.candidates] for u in whole.users]] = -np.inf
    for name, metric in (("ndcg", metrics.ndcg), ("recall", metrics.recall), ("hit_rate", metrics.hit_rate)):
        assert whole.values[f"{name}@10"].mean() == pytest.approx(metric(y, s, 10))
    assert whole.values["map@10"].mean() == pytest.approx(metrics.average_precision(y, s, 10))
    assert whole.values["mrr"].mean() == pytest.approx(metrics.mrr(y, s))


def test_text_ids(small):
    log = small.interactions.assign(
        user_id=small.interactions["user_id"].map("u{}".format), item_id=small.interactions["item_id"].map("i{}".format)
    )
    items = small.items.set_axis(small.items.index.map("i{}".format)).rename_axis("item_id")
    split = klm.split(klm.RecDataset.from_frames(items, None, log), "random")
    assert ranking.rank(Oracle(split.test), split, 5).values["mrr"].mean() == 1


def test_bad_models_and_arguments(small):
    split = klm.split(small, "random")
    bad = {
        "shape": lambda u, i: np.zeros((len(u), 1)),
        "finite": lambda u, i: np.where(np.arange(len(u)) == 3, np.nan, 0.5),
    }
    for word, predict in bad.items():
        model = type("Broken", (), {})()
        model.predict = predict
        with pytest.raises(DataError, match=f"'Broken'.*{word}"):
            ranking.rank(model, split)
    for answer in (None, "text", ["a"] * 2400, [[1.0], [1.0, 2.0]], np.ma.masked_all(2400), np.ones(2400) * 1j):
        model.predict = lambda u, i, answer=answer: answer
        with pytest.raises(DataError, match=r"no numbers(?s:.*)Broken.predict"):
            ranking.rank(model, split)
    for arguments in ({"k": 0}, {"part": "train"}, {"among": "cold"}, {"seed": -1}, {"seed": None}):
        with pytest.raises(ConfigError):
            ranking.rank(Table({}), split, **arguments)
