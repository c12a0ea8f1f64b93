"""KLMRecommender: what it is built from, and ids in, probabilities out."""

import inspect
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logit
from worlds import FAST, all_pairs, altered, planted, rows_of, same, tiny_encoder

import klm_utils as klm
from klm_utils import course
from klm_utils.errors import ConfigError, DataError
from klm_utils.knowledge.templates import user_texts

# prediction


def test_probabilities_in_the_order_of_the_input(model, ds):
    users, items = all_pairs(ds)
    p = model.predict(users, items)
    assert p.dtype == np.float64 and p.shape == users.shape and 0 <= p.min() < p.max() <= 1
    order = np.random.default_rng(0).permutation(len(users))
    np.testing.assert_allclose(model.predict(users[order], items[order]), p[order], atol=1e-6)
    np.testing.assert_allclose(model.predict(users[5:6], items[5:6]), p[5:6], atol=1e-6)


def test_kinds_of_input(model, ds):
    u, i = ds.users.index[:3], ds.items.index[:3]
    want = model.predict(u.to_numpy(), i.to_numpy())
    for given in ((list(u), list(i)), (u, i), (pd.Series(u), pd.Series(i)), (tuple(u), tuple(i))):
        assert np.array_equal(model.predict(*given), want)


def test_pieces_give_what_the_whole_gives(model, ds, monkeypatch):
    users, items = all_pairs(ds)
    whole = model.predict(users, items)
    monkeypatch.setattr(type(model.fusion), "pairs_at_once", 7)
    np.testing.assert_allclose(model.predict(users[:50], items[:50]), whole[:50], atol=1e-6)


@pytest.mark.parametrize("text_ids", [False, True])
def test_no_pair_has_no_prediction(text_ids):
    ds = planted(text_ids=text_ids)
    model = klm.KLMRecommender.from_split(klm.split(ds, "random"))
    for empty in ([], np.array([]), ds.users.index[:0]):
        assert model.predict(empty, empty).shape == (0,) and model.predict(empty, empty).dtype == np.float64
    assert model.predict_grid([], ds.items.index[:2]).shape == (0, 2)
    assert "history" not in " ".join(model.recommend(ds.users.index[0], history=[]).because)


def test_predict_grid_is_predict_on_all_pairs(model, ds):
    users, items = ds.users.index[::-1], ds.items.index[[4, 2, 9]]
    flat = model.predict(np.repeat(users, 3), np.tile(items, len(users)))
    grid = model.predict_grid(users, items)
    assert grid.dtype == np.float64
    np.testing.assert_allclose(grid, flat.reshape(len(users), 3), atol=1e-6)


def test_predict_means_the_same_in_training_mode(model, ds):
    users, items = all_pairs(ds)
    want = model.predict(users, items)
    model.train()
    assert np.array_equal(model.predict(users, items), want) and not model.training


@pytest.mark.parametrize(
    ("users", "items", "place", "found"),
    [
        ([1, 2, 999], [101, 102, 103], "user_ids, position 2", 999),
        ([1, 2, 3], [101, -1, 103], "item_ids, position 1", -1),
        ([1, 2], [101, float("nan")], "item_ids, position 1", None),
        (["1", "2"], [101, 102], "user_ids, position 0", "1"),
        ([1, None], [101, 102], "user_ids, position 1", None),
        ([10**30, 1], [101, 102], "user_ids, position 0", 10**30),
    ],
)
def test_unknown_ids_are_named_with_their_position(model, users, items, place, found):
    with pytest.raises(DataError) as caught:
        model.predict(users, items)
    assert caught.value.where == place and (found is None or caught.value.found == found)
    with pytest.raises(DataError):
        model.predict_grid(users, items)


@pytest.mark.parametrize(("users", "items"), [([1, 2], [101]), (1, 101), ([[1, 2]], [[101, 102]]), ([], [101])])
def test_users_and_items_that_do_not_pair_up(model, users, items):
    with pytest.raises(DataError, match="pair"):
        model.predict(users, items)


def test_evaluate_takes_the_model_as_it_is(model, split):
    report = klm.evaluate(model, split, n_boot=20)
    assert report.metrics["auc"] > 0.6 and split.protocol in report.protocol


# building


@pytest.mark.parametrize(
    "wrong", [{"fusion": "cross"}, {"mode": "full-ish"}, {"knowledge": "wrong"}, {"seed": -1}, {"seed": "0"}]
)
@pytest.mark.parametrize("with_text", [False, True])
def test_names_without_meaning(ds, split, encoder, wrong, with_text):
    with pytest.raises(ConfigError) as caught:
        klm.KLMRecommender.from_split(split, encoder if with_text else None, **wrong)
    assert next(iter(wrong)) in caught.value.where and caught.value.found == next(iter(wrong.values()))


def test_building_and_training_change_neither_encoder_nor_data(ds, split):
    encoder = tiny_encoder()
    before = {name: p.clone() for name, p in encoder.model.state_dict().items()}
    frames = [ds.items, ds.users, ds.interactions, split.train, split.valid, split.test]
    copies = [frame.copy(deep=True) for frame in frames]
    model = klm.KLMRecommender.from_split(split, encoder)
    klm.fit(model, split, klm.TrainConfig(**FAST))
    model.recommend(1)
    assert same(before, dict(encoder.model.state_dict())), "frozen"
    for frame, old in zip(frames, copies, strict=True):
        pd.testing.assert_frame_equal(frame, old)


def test_text_reaches_the_score_and_controls_are_what_they_say(ds, split, encoder):
    def text(knowledge):
        made = klm.KLMRecommender.from_split(split, encoder, knowledge=knowledge, seed=3)
        return made, made.fusion.text

    model, true = text("true")
    assert (true.numpy() == encoder.encode(klm.knowledge.templates.item_texts(ds))).all()
    _, shuffled = text("shuffled")
    assert not torch.equal(shuffled, true) and torch.equal(shuffled.sort(0).values, true.sort(0).values)
    assert not torch.equal(text("random")[1], true)
    absent = text("absent")[0]
    absent.fusion.text_map.data.fill_(1)
    model.fusion.text_map.data.fill_(1)
    assert (absent.explain(1, 101)["item text"], model.explain(1, 101)["item text"] != 0) == (0, True)
    assert (model.name, absent.name) == ("KLM tiny", "KLM tiny absent")


def test_without_an_encoder(ds, split, tmp_path):
    model = klm.KLMRecommender.from_split(split, encoder=None)
    klm.fit(model, split, klm.TrainConfig(**FAST))
    assert model.name == "KLM without text" and model.explain(1, 101)["item text"] == 0
    model.save_pretrained(tmp_path / "m")
    users, items = all_pairs(ds)
    again = klm.KLMRecommender.from_pretrained(tmp_path / "m")
    assert np.array_equal(again.predict(users, items), model.predict(users, items))


@pytest.mark.parametrize("name", ["random", "cold_item", "cold_user", "temporal"])
def test_nothing_of_test_reaches_the_weights_and_nothing_but_the_choice_of_valid(ds, name):
    """Two data sets that differ in one part only. The same change in train shows."""

    def trained(part=None):
        split = klm.split(ds, name)
        if part:
            given = altered(ds, getattr(split, part).index)
            other = klm.split(given, name)
            assert other.protocol == split.protocol and getattr(other, part).index.equals(getattr(split, part).index)
            assert not getattr(other, part).equals(getattr(split, part))
            split = other
        model = klm.KLMRecommender.from_split(split)
        history = klm.fit(model, split, klm.TrainConfig(epochs=2, patience=2, batch=128, lr=0.02))
        return model, history

    (base, history), (test, test_history), (_, valid_history) = trained(), trained("test"), trained("valid")
    assert same(base, test) and rows_of(history).equals(rows_of(test_history))
    assert (base.scale, base.shift) == (test.scale, test.shift)
    assert history.epochs["loss"].equals(valid_history.epochs["loss"])
    assert not history.epochs["valid"].equals(valid_history.epochs["valid"])
    if name in ("random", "temporal"):
        assert not same(base, trained("train")[0]), "the comparison sees a change"


@pytest.mark.parametrize("shown", [0, 3])
def test_shown_rows_of_a_cold_user_are_history(ds, shown):
    split = klm.split(ds, "cold_user", shown=shown)
    model = klm.KLMRecommender.from_split(split)
    klm.fit(model, split, klm.TrainConfig(**FAST))
    user, item = split.test.iloc[0][["user_id", "item_id"]]
    past = [name for name in model.explain(user, item).index if name.startswith("history: ")]
    want = split.shown.query("user_id == @user").item_id
    assert past == [f"history: {title}" for title in ds.items.title[sorted(want)]] and len(past) == shown
    before, place = model.predict([user], [item]), model.users.get_loc(user)
    model.fusion.user_ids.data[place] += 1
    model.fusion.user_bias.data[place] += 1
    assert model.predict([user], [item]) == before, "the id of a cold user is unknown"
    model.fusion.history.data += 0.5
    assert (model.predict([user], [item]) != before) == bool(shown)


def test_a_cold_item_is_scored_without_its_id(ds):
    split = klm.split(ds, "cold_item")
    model = klm.KLMRecommender.from_split(split)
    item = split.test.item_id.iloc[0]
    before = model.predict([1, 2], [item, item])
    model.fusion.item_ids.data[model.items.index.get_loc(item)] += 1
    assert np.array_equal(model.predict([1, 2], [item, item]), before) and model.explain(1, item)["item id"] == 0


# the real thing


def test_movielens_from_end_to_end(movielens, tmp_path):
    """Twins of equal title, missing years and 100,000 ratings; a few epochs are far better than chance."""
    split = klm.split(movielens, "random")
    model = klm.KLMRecommender.from_split(split)
    history = klm.fit(model, split, klm.TrainConfig(epochs=4))
    assert history.epochs["valid"].max() > 0.75
    user = split.train["user_id"].value_counts().index[0]
    table = model.recommend(user)
    assert len(table) == 10 and table["because"].str.len().gt(0).all()
    twins = movielens.items[movielens.items.duplicated("title", keep=False)].index
    seen = split.train.loc[split.train.item_id.isin(twins[:10]), "user_id"].iloc[0]
    for item in (*twins[:4], 267, 1412):
        got = model.explain(seen, item, history=[*twins[:6], 267, 1412]).sum()
        own = model.explain(seen, item).sum()
        assert own == pytest.approx(logit(model.predict([seen], [item])[0]), abs=1e-3) and np.isfinite(got)
    model.save_pretrained(tmp_path)
    again = klm.KLMRecommender.from_pretrained(tmp_path)
    rows = split.test
    assert np.array_equal(again.predict(rows.user_id, rows.item_id), model.predict(rows.user_id, rows.item_id))


@pytest.mark.parametrize(("profile", "features", "text"), [("features", 2, 0), ("text", 0, 8), ("both", 2, 8)])
def test_the_profile_as_features_as_text_or_both(ds, split, encoder, profile, features, text):
    model = klm.KLMRecommender.from_split(split, encoder, profile=profile)
    assert model.fusion.user_features.shape == (len(ds.users), features)
    assert model.fusion.user_text.shape == (len(ds.users), text) and model.about["profile"] == profile
    if text:
        np.testing.assert_array_equal(model.fusion.user_text, encoder.encode(user_texts(ds)))


@pytest.mark.parametrize("profile", ["text", "both"])
def test_a_profile_as_text_needs_an_encoder(ds, split, profile):
    with pytest.raises(ConfigError, match="profile needs an encoder"):
        klm.KLMRecommender.from_split(split, profile=profile)


def test_texts_of_ones_own(ds, split, encoder):
    texts = [f"red car {i}" for i in range(len(ds.items))]
    model = klm.KLMRecommender.from_split(split, encoder, texts=texts)
    np.testing.assert_array_equal(model.fusion.text, encoder.encode(texts))
    other = klm.KLMRecommender.from_split(split, encoder, texts=[*texts[:-1], "big shoe"])
    assert model.about["texts"] != other.about["texts"]
    by_id = dict(zip(ds.items.index, texts, strict=True))
    for wrong in (texts[1:], "red car", by_id, pd.Series(by_id), 5):
        with pytest.raises(DataError, match="one text for each item"):
            klm.KLMRecommender.from_split(split, encoder, texts=wrong)
    with pytest.raises(ConfigError, match="texts needs an encoder"):
        klm.KLMRecommender.from_split(split, texts=texts)
    with pytest.raises(DataError, match="not a text"):
        klm.KLMRecommender.from_split(split, encoder, texts=[None, *texts[1:]])


def test_a_run_does_not_go_on_with_other_profiles(ds, split, encoder, tmp_path):
    """Profiles as text are no features: only the texts tell them apart."""
    model = klm.KLMRecommender.from_split(split, encoder, profile="text")
    klm.fit(model, split, klm.TrainConfig(**FAST), checkpoint_dir=tmp_path)
    others = replace(ds, users=ds.users.assign(gender=ds.users["gender"].to_numpy()[::-1]))
    again = klm.split(others, "random")
    model = klm.KLMRecommender.from_split(again, encoder, profile="text")
    with pytest.raises(klm.errors.CheckpointError, match="another run"):
        klm.fit(model, again, klm.TrainConfig(**FAST), checkpoint_dir=tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"profile": "both"},
        {"start": "text"},
        {"fusion": "target", "past": 3, "recency": 0.5},
        {"fusion": "concat", "past": 0, "profile": "text", "hidden": 8},
    ],
)
def test_whatever_it_is_made_of_it_comes_back(ds, split, encoder, settings, tmp_path):
    model = klm.KLMRecommender.from_split(split, encoder, **settings)
    klm.fit(model, split, klm.TrainConfig(**FAST))
    model.save_pretrained(tmp_path)
    again = klm.KLMRecommender.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.predict(*all_pairs(ds)), model.predict(*all_pairs(ds)))
    pd.testing.assert_frame_equal(
        again.recommend(1, k=5, history=[103, 101]), model.recommend(1, k=5, history=[103, 101])
    )


@pytest.mark.parametrize("fusion", ["gate", "dot"])
def test_a_setting_that_a_fusion_does_not_have(ds, split, fusion):
    with pytest.raises(ConfigError, match="setting"):
        klm.KLMRecommender.from_split(split, fusion=fusion, layer="concat")


def test_ids_cannot_start_at_texts_that_are_not_there(ds, split):
    with pytest.raises(ConfigError, match="start needs an encoder"):
        klm.KLMRecommender.from_split(split, start="text")


def test_names_tell_fusions_apart(ds, split, encoder):
    names = [klm.KLMRecommender.from_split(split, e, fusion=f).name for e in (None, encoder) for f in ("dot", "gate")]
    assert names == ["KLM without text", "KLM gate without text", "KLM tiny", "KLM gate tiny"]


def test_the_default_fusion_is_the_one_that_the_docstring_claims():
    measured = course.results("03")["metrics"]
    default = inspect.signature(klm.KLMRecommender.from_split).parameters["fusion"].default
    assert default == max(measured["on_valid"], key=measured["on_valid"].get)
    assert default == min(measured["seconds_per_epoch"], key=measured["seconds_per_epoch"].get)
    assert set(measured["on_valid"]) == set(klm.fusion.FUSIONS)
