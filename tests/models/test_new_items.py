"""Your own data at call time: columns of your own as text, items nobody has seen, lists for many or a stranger."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from worlds import FAST, all_pairs, planted, same, tiny_encoder

import klm_utils as klm
from klm_utils.errors import ConfigError, DataError
from klm_utils.fusion import FUSIONS
from klm_utils.knowledge.templates import item_text

NEW = pd.DataFrame(
    {
        "item_id": [901, 902, 903],
        "title": ["red car x", "big phone y", "red car x"],
        "tags": [["plus"], ["minus", "unheard of"], ["plus"]],
    }
)


@pytest.fixture(scope="module")
def more(model):
    return model.with_items(NEW)


def test_old_items_keep_their_scores_and_the_model_is_left_alone(model, ds, more):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    again = model.with_items(NEW)
    assert same(state, dict(model.state_dict())) and len(model.items) == len(ds.items) and len(again.items) == 33
    np.testing.assert_allclose(more.predict(*all_pairs(ds)), model.predict(*all_pairs(ds)), atol=1e-6)
    with pytest.raises(DataError, match="not in the data set"):
        model.predict([1], [901])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_new_item_is_scored_as_one_that_the_model_had_known_of_from_the_start(split, ds, encoder, fusion):
    """A cold item of the data set, and the same item once more under a new id."""
    split = klm.split(ds, "cold_item")
    model = klm.KLMRecommender.from_split(split, encoder, fusion)
    klm.fit(model, split, klm.TrainConfig(**FAST))
    cold = split.test["item_id"].unique()[:3]
    twins = ds.items.loc[cold].reset_index().assign(item_id=[901, 902, 903])
    more, users = model.with_items(twins), ds.users.index
    for old, new in zip(cold, twins["item_id"], strict=True):
        np.testing.assert_allclose(
            more.predict(users, [new] * len(users)), model.predict(users, [old] * len(users)), atol=1e-6
        )
        assert more.explain(1, new)["item id"] == 0
    assert not np.allclose(model.predict(users, [cold[0]] * len(users)), model.predict(users, [cold[1]] * len(users)))


def test_text_and_tags_of_a_new_item_count(model):
    def score(title, tags):
        frame = pd.DataFrame({"item_id": [901], "title": [title], "tags": [tags]})
        return model.with_items(frame).predict([1], [901])[0]

    base = score("red car", ["plus"])
    assert abs(score("big phone", ["plus"]) - base) > 1e-4 and abs(score("red car", ["minus"]) - base) > 1e-4


def test_new_items_are_listed_explained_and_found_similar(more, ds):
    every = more.recommend(1, k=100, exclude_seen=False)
    assert set(every["item_id"]) == {*ds.items.index, 901, 902, 903}
    np.testing.assert_allclose(every["score"], more.predict([1] * 33, every["item_id"]), atol=1e-6)
    assert more.similar_items(901, k=1)["item_id"].tolist() == [903], "the twin"
    parts = more.explain(1, 901)
    assert parts.name == "red car x" and parts["item text"] != 0 != parts["item tags"]


def test_a_saved_model_takes_new_items_too(model, encoder, tmp_path):
    model.save_pretrained(tmp_path)
    again = klm.KLMRecommender.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="not here") as caught:
        again.with_items(NEW)
    assert "tiny" in caught.value.expected and "encoder=" in caught.value.remedy
    want = model.with_items(NEW)
    more = again.with_items(NEW, encoder=encoder)
    assert np.array_equal(more.predict([1, 2, 3], NEW["item_id"]), want.predict([1, 2, 3], NEW["item_id"]))
    more.save_pretrained(tmp_path / "more")
    more = klm.KLMRecommender.from_pretrained(tmp_path / "more")
    pd.testing.assert_frame_equal(more.recommend(1), want.recommend(1))


def test_another_encoder_is_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    for other in (tiny_encoder(layers=2), tiny_encoder()):
        other.prefix = "" if other.model.config.num_hidden_layers == 2 else "red "
        with pytest.raises(ConfigError, match="not the encoder of the model"):
            klm.KLMRecommender.from_pretrained(tmp_path).with_items(NEW, encoder=other)


def test_an_encoder_in_a_folder_is_found_by_its_name(split, tmp_path):
    tiny = tiny_encoder()
    tiny.tokenizer.save_pretrained(tmp_path / "tiny")
    tiny.model.save_pretrained(tmp_path / "tiny")
    named = klm.TextEncoder.from_pretrained(str(tmp_path / "tiny"), pooling="cls", max_length=16)
    model = klm.KLMRecommender.from_split(split, named)
    model.save_pretrained(tmp_path / "model")
    again = klm.KLMRecommender.from_pretrained(tmp_path / "model").with_items(NEW)
    assert torch.equal(again.fusion.text, model.with_items(NEW).fusion.text)


@pytest.mark.parametrize("mode", ["full", "adapter"])
def test_a_trained_encoder_reads_new_items_here_and_from_its_folder(split, mode, tmp_path):
    model = klm.KLMRecommender.from_split(split, tiny_encoder(), mode=mode)
    klm.fit(model, split, klm.TrainConfig(**FAST | {"head_epochs": 0}))
    more = model.with_items(NEW)
    want = model.texts.encoder.encode([item_text(row) for row in NEW.to_dict("records")])
    np.testing.assert_allclose(more.fusion.text[-3:], want, atol=1e-6)
    stored = more.fusion.text.clone()
    more.store()
    torch.testing.assert_close(more.fusion.text, stored, msg="the new texts are read along")
    more.save_pretrained(tmp_path)
    again = klm.KLMRecommender.from_pretrained(tmp_path).with_items(NEW.assign(item_id=[1, 2, 3]))
    np.testing.assert_allclose(again.fusion.text[-3:], want, atol=1e-5)


def test_copies_share_the_encoder_and_pickles_leave_it(model, encoder):
    assert copy.deepcopy(model).encoder.encoder is encoder
    there = pickle.loads(pickle.dumps(model))
    assert there.encoder.encoder is None and there.with_items(NEW, encoder=encoder).predict([1], [901]).size


def test_without_text_and_with_texts_of_ones_own(split, ds, encoder):
    plain = klm.KLMRecommender.from_split(split)
    assert plain.with_items(NEW).predict([1], [901]).size
    own = klm.KLMRecommender.from_split(split, encoder, texts=["red"] * len(ds.items))
    more = own.with_items(NEW, texts=["red", "green", "car"])
    np.testing.assert_array_equal(more.fusion.text[-3:], encoder.encode(["red", "green", "car"]))
    for wrong in (lambda: own.with_items(NEW), lambda: plain.with_items(NEW, texts=["red"] * 3)):
        with pytest.raises(ConfigError, match="texts of your own"):
            wrong()
    with pytest.raises(DataError, match="one text for each item"):
        own.with_items(NEW, texts=["red"])


@pytest.mark.parametrize("knowledge", ["absent", "shuffled", "random"])
def test_a_control_knows_no_text_of_new_items(split, encoder, knowledge):
    model = klm.KLMRecommender.from_split(split, encoder, knowledge=knowledge)
    if knowledge == "absent":
        assert not model.with_items(NEW).fusion.text[-3:].any()
    else:
        with pytest.raises(ConfigError, match="control"):
            model.with_items(NEW)


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (NEW.assign(item_id=[101, 902, 903]), "no ids of new items"),
        (NEW.assign(item_id=["a", "b", "c"]), "no ids of new items"),
        (NEW.assign(item_id=[901, 901, 903]), "twice"),
        (NEW.drop(columns="tags"), "no such column"),
        (NEW.drop(columns="title"), "no such column"),
        (NEW.drop(columns="item_id").assign(title=None), "title"),
    ],
)
def test_a_table_of_no_new_items(model, frame, what):
    with pytest.raises(DataError, match=what):
        model.with_items(frame)
    with pytest.raises(ConfigError, match="wrong kind"):
        model.with_items(frame.to_dict("records"))


# which columns are read


def described(**columns):
    ds = planted()
    items = ds.items.reset_index().assign(description=[f"book {n % 3}" for n in range(30)], made=pd.Timestamp("2020"))
    return klm.RecDataset.from_frames(items.assign(**columns), ds.users.reset_index(), ds.interactions)


def test_the_text_is_made_of_the_columns_named(encoder):
    split = klm.split(described(), "random")
    model = klm.KLMRecommender.from_split(split, encoder, text=("title", "description"))
    want = [f"{row.title}. {row.description}." for row in split.dataset.items.itertuples()]
    np.testing.assert_array_equal(model.fusion.text, encoder.encode(want))
    with pytest.raises(DataError, match="no such column of the items") as caught:
        klm.KLMRecommender.from_split(split, encoder, text=("title", "blurb"))
    assert caught.value.found == "blurb" and "description" in caught.value.expected
    for wrong, kind in (("title", "wrong kind"), (None, "text needs an encoder")):
        with pytest.raises(ConfigError, match=kind):
            klm.KLMRecommender.from_split(split, encoder if wrong else None, text=wrong or ("title",))


def test_a_printed_model_says_what_it_reads_and_what_not(encoder, split):
    given = klm.split(described(), "random")
    model = klm.KLMRecommender.from_split(given, encoder, "gate", text=("title", "tags"))
    text = repr(model)
    assert str(model) == text and "text of title, tags (tiny, frozen)" in text and "features of tags, desc" in text
    assert "not read  made" in text and "features of gender" in text and "gate (width=32" in text
    assert "30: id" in text and "40: id, history" in text
    assert "no text" in repr(klm.KLMRecommender.from_split(split))
    assert "texts of your own" in repr(klm.KLMRecommender.from_split(split, encoder, texts=["a"] * 30))
    assert "profile as text" in repr(klm.KLMRecommender.from_split(split, encoder, profile="text"))


# many users, strangers, some of the items


def test_a_list_for_many_users_holds_the_lists_of_each(model):
    table = model.recommend([3, 1, 3], k=4)
    assert list(table.columns) == ["user_id", "item_id", "title", "score", "because"]
    for place, user in enumerate([3, 1, 3]):
        part = table.iloc[4 * place : 4 * place + 4]
        assert (part["user_id"] == user).all()
        pd.testing.assert_frame_equal(part.drop(columns="user_id").reset_index(drop=True), model.recommend(user, k=4))
    assert list(model.recommend([]).columns) == list(table.columns)
    with pytest.raises(DataError, match="user_id, position 1"):
        model.recommend([1, 999])
    with pytest.raises(ConfigError, match="belongs to one user"):
        model.recommend([1, 2], history=[101])


def test_only_some_items_are_chosen_from(model):
    every = model.recommend(1, k=100, exclude_seen=False)
    some = [101, 107, 120]
    want = every[every["item_id"].isin(some)].reset_index(drop=True)
    pd.testing.assert_frame_equal(model.recommend(1, exclude_seen=False, among=some), want)
    assert set(model.recommend(1, among=some)["item_id"]) <= set(some) and not len(model.recommend(1, among=[]))
    with pytest.raises(DataError, match="among, position 1"):
        model.recommend(1, among=[101, 999])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_of_a_stranger_only_the_history_counts(ds, split, encoder, fusion):
    """As of a user without profile, whose id the model has not learnt."""
    model = klm.KLMRecommender.from_split(split, encoder, fusion)
    klm.fit(model, split, klm.TrainConfig(**FAST))
    history = [103, 101, 107]
    table = model.recommend(None, k=100, history=history)
    assert set(table["item_id"]) == set(ds.items.index) - set(history)
    assert not model.recommend(None, k=100, history=[120])["score"].equals(table["score"])
    parts = model.explain(None, 110, history)
    with torch.no_grad():
        for name in ("user_ids", "user_bias", "user_map"):
            getattr(model.fusion, name).zero_()
    again = model.recommend(2, k=100, history=history, exclude_seen=False)
    scores = again.set_index("item_id")["score"][table["item_id"]]
    np.testing.assert_allclose(scores, table["score"], atol=1e-6)
    pd.testing.assert_series_equal(model.explain(2, 110, history), parts, atol=1e-5)
    for call in (model.recommend, lambda user: model.explain(user, 101)):
        with pytest.raises(DataError, match="nobody is asked for"):
            call(None)


def test_similar_items_are_near_by_cosine(model, ds):
    with torch.no_grad():
        rows = sum(model.fusion.item_rows(torch.arange(30), None, (None, None)).values())[:, :-1].numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    want = pd.Series(unit @ unit[4], index=ds.items.index).drop(105).nlargest(6)
    table = model.similar_items(105, k=6)
    assert list(table.columns) == ["item_id", "title", "similarity"]
    assert table["item_id"].tolist() == want.index.tolist()
    np.testing.assert_allclose(table["similarity"], want, atol=1e-6)
    assert (table["title"] == ds.items["title"][table["item_id"]].to_numpy()).all()
    assert len(model.similar_items(105, k=1000)) == 29
    with pytest.raises(DataError, match="item_id"):
        model.similar_items(999)
