"""recommend and explain: the best items not yet seen, and reasons that sum to the score."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from worlds import FAST

import klm_utils as klm
from klm_utils.data import catalogue
from klm_utils.errors import ConfigError, DataError
from klm_utils.models import recommender as module


def test_recommend_gives_the_best_items_not_yet_seen(model, ds, split):
    table = model.recommend(1, k=5)
    assert list(table.columns) == ["item_id", "title", "score", "because"] and len(table) == 5
    assert table["score"].is_monotonic_decreasing and (table["title"] == ds.items.title[table.item_id].values).all()
    np.testing.assert_allclose(table["score"], model.predict([1] * 5, table["item_id"]), atol=1e-6)
    seen = set(split.train.query("user_id == 1").item_id)
    rest = [i for i in ds.items.index if i not in seen]
    best = sorted(rest, key=lambda i: -model.predict([1], [i])[0])
    assert table["item_id"].tolist() == best[:5] and len(seen) > 3
    assert len(model.recommend(1, k=1000)) == len(rest)
    every = model.recommend(1, k=1000, exclude_seen=False)
    assert sorted(every["item_id"]) == sorted(ds.items.index)


def by_all_parts(model, user, exclude_seen, history, split):
    """Every item taken apart: the slow way to the same list."""
    every = pd.DataFrame([model.explain(user, item, history) for item in model.items.index], index=model.items.index)
    score, gain = every.sum(axis=1), every - every.mean()
    met = {*(history or []), *split.train.query("user_id == @user").item_id} if exclude_seen else set()
    order = [item for item in score.sort_values(ascending=False, kind="stable").index if item not in met]
    because = [module._because(gain.loc[item], model.items[item]) for item in order]
    return pd.DataFrame({"item_id": order, "title": model.items[order].to_numpy(),
                         "score": expit(score[order].to_numpy()), "because": because})  # fmt: skip


@pytest.mark.parametrize("history", [None, [103, 101, 120, 103], []])
@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("fusion", ["dot", "gate"])
def test_the_list_is_that_of_all_parts_of_all_items(ds, split, encoder, fusion, exclude_seen, history, monkeypatch):
    model = klm.KLMRecommender.from_split(split, encoder, fusion)
    klm.fit(model, split, klm.TrainConfig(**FAST))
    monkeypatch.setattr(module, "WINNERS", 4)
    for user in (1, 7):
        want = by_all_parts(model, user, exclude_seen, history, split)
        for k in (3, 1000):
            found = model.recommend(user, k, exclude_seen, history)
            pd.testing.assert_frame_equal(without_zeros(found), without_zeros(want.head(k)), atol=1e-6, rtol=0)


def without_zeros(table):
    """A share of 1e-8 is a reason in one way of adding up, and none in the other."""
    return table.assign(
        because=[re.sub(r"(, )?(item \w+|history( \(.*?\))?) \+0\.00", "", b) for b in table["because"]]
    )


def test_only_the_winners_are_taken_apart(model, monkeypatch):
    asked, parts = [], model.fusion.parts
    monkeypatch.setattr(model.fusion, "parts", lambda *given: asked.append(len(given[1])) or parts(*given))
    model.recommend(1, k=3)
    assert asked == [3]


@pytest.mark.parametrize("flag", ["no", None, 2, "True"])
def test_exclude_seen_is_yes_or_no(model, flag):
    with pytest.raises(ConfigError, match="exclude_seen"):
        model.recommend(1, exclude_seen=flag)


@pytest.mark.parametrize("k", [0, -1, 2.0, True, None, "10"])
def test_k_is_a_number_of_items(model, k):
    with pytest.raises(ConfigError, match="k must be"):
        model.recommend(1, k=k)


@pytest.mark.parametrize("user", [999, "1", None, 1.5, float("nan")])
def test_recommend_and_explain_for_nobody(model, user):
    for call in (lambda: model.recommend(user), lambda: model.explain(user, 101)):
        with pytest.raises(DataError, match="user_id"):
            call()
    with pytest.raises(DataError, match="item_id"):
        model.explain(1, user)


def test_an_unknown_item_in_the_history_is_named(model):
    with pytest.raises(DataError, match="history, position 1"):
        model.recommend(1, history=[101, 999])


def test_reasons_and_scores_change_with_the_history(model, split):
    own = model.recommend(1, k=10, exclude_seen=False)
    liked = split.train.query("user_id == 1").item_id.tolist()
    again = model.recommend(1, k=10, exclude_seen=False, history=[*liked, liked[0]])
    pd.testing.assert_frame_equal(again, own, check_exact=False, atol=1e-6)
    other = model.recommend(1, k=10, exclude_seen=False, history=[101, 102])
    assert other["because"].tolist() != own["because"].tolist() and not np.allclose(other["score"], own["score"])
    texts = [text for text in other["because"] if "history" in text]
    titles = {model.items[101], model.items[102]}
    assert texts and all(any(title in text for title in titles) for text in texts)
    none = model.recommend(1, k=10, exclude_seen=False, history=[])
    assert not any("history" in text for text in none["because"])
    assert {101, 102}.isdisjoint(model.recommend(1, k=100, history=[101, 102])["item_id"])


def test_the_numbers_of_a_reason_are_against_the_average_item(model, ds):
    table = model.recommend(3, k=4)
    every = pd.DataFrame([model.explain(3, item) for item in ds.items.index], index=ds.items.index)
    gain = every - every.mean()
    for item, because in zip(table["item_id"], table["because"], strict=True):
        past = [name for name in gain if name.startswith("history: ")]
        best = ", ".join(name.removeprefix("history: ") for name in gain.loc[item, past].nlargest(2).index)
        want = gain.loc[item, ["item id", "item text", "item tags"]].to_dict()
        want[f"history ({best})"] = gain.loc[item, past].sum()
        got = dict(re.findall(r"(item \w+|history \(.*?\)) ([+-][\d.]+)", because))
        assert set(got) == {name for name, value in want.items() if value > 0}
        values = [float(value) for value in got.values()]
        assert values == sorted(values, reverse=True)
        assert all(float(value) == pytest.approx(want[name], abs=0.0051) for name, value in got.items())


def test_no_item_is_a_reason_for_itself(model, ds):
    """Its own share is 0, which is more than the average where the history speaks against most items."""
    shares = []
    for item in ds.items.index:
        table = model.recommend(1, k=100, exclude_seen=False, history=[item]).set_index("item_id")
        assert table.title[item] not in table.because[item]
        shares.append(
            np.mean([model.explain(1, i, [item])[f"history: {ds.items.title[item]}"] for i in ds.items.index])
        )
    assert min(shares) < -0.005, "else this shows nothing"


@pytest.mark.parametrize("user", [1, 7])
def test_explain_sums_to_the_log_odds_of_predict(model, ds, user):
    """For items of the history, other items of train, all of them."""
    for item in ds.items.index:
        parts = model.explain(user, item)
        assert parts.dtype == np.float64
        assert parts.sum() == pytest.approx(logit(model.predict([user], [item])[0]), abs=1e-4)
    assert {"average", "user", "item id", "item text", "item tags"} < set(parts.index)


def test_explain_holds_what_the_score_used(model, split):
    """The share of an item of the history is what its vector gives: a larger vector, a larger share, nothing else."""
    past = split.train.query("user_id == 1").item_id.tolist()
    item = next(i for i in model.items.index if i not in past)
    name = f"history: {model.items[past[0]]}"
    before, score = model.explain(1, item), model.scores([1], [item])[0]
    vector = model.fusion.history.data[model.items.index.get_loc(past[0])]
    old = vector.clone()
    vector.mul_(3)
    after, gain = model.explain(1, item), model.scores([1], [item])[0] - score
    vector.copy_(old)
    assert after[name] == pytest.approx(3 * before[name], rel=1e-4)
    assert model.scale * gain == pytest.approx(2 * before[name], abs=1e-4)
    pd.testing.assert_series_equal(after.drop(name), before.drop(name))


def test_an_item_of_a_history_stands_where_it_was_chosen_last(ds):
    log = pd.DataFrame(
        {"user_id": 1, "item_id": [101, 102, 103, 101], "timestamp": range(4), "rating": 5.0, "label": 1}
    )
    rest = ds.interactions[ds.interactions["user_id"] > 1]
    again = klm.RecDataset.from_frames(
        ds.items.reset_index(), ds.users.reset_index(), pd.concat([log, rest], ignore_index=True)
    )
    user, item = catalogue.choices(klm.split(again, "temporal"))
    assert again.items.index[item[user == 0]].tolist() == [102, 103, 101]
