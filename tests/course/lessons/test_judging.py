"""What notebook 06 measures with, against a few lines by hand."""

import numpy as np
import pandas as pd
import pytest
from worlds import Table

import klm_utils as klm
from klm_utils.course.lessons import judging
from klm_utils.errors import DataError
from klm_utils.evaluation import metrics
from klm_utils.models import baselines


def test_a_list_of_six_under_both_decisions():
    """Hits at 2, 3 and 6, four relevant items, k = 3."""
    table = judging.disagreements(np.array([0, 1, 1, 0, 0, 1]), relevant=4, k=3)
    log2 = 1 / np.log2([2, 3, 4])
    want = [
        ((log2[1] + log2[2]) / log2.sum(), (log2[1] + log2[2]) / log2.sum()),
        ((log2[1] + log2[2]) / log2.sum(), (1 / 2 + 1 / 3) / (1 + 1 / 2 + 1 / 3)),
        (2 / 4, 2 / 3),
        ((1 / 2 + 2 / 3) / 3, (1 / 2 + 2 / 3) / 2),
        (1 / 2, 1 / 2),
    ]
    np.testing.assert_allclose(table.to_numpy(), want)
    y, score = np.array([[0, 1, 1, 0, 0, 1, 1]]), -np.arange(7.0)[None]
    assert table["this course"].iloc[0] == pytest.approx(metrics.ndcg(y, score, 3)), "the same as the library's"
    assert table["this course"].iloc[3] == pytest.approx(metrics.average_precision(y, score, 3))
    assert judging.disagreements(np.zeros(6), 4, 3).to_numpy().max() == 0
    one = judging.disagreements(np.array([0, 0, 0, 1]), 1, 3)
    assert one.iloc[4].tolist() == [1 / 4, 0.0] and one.iloc[0, 1] == 0


def test_sampled_ranking_against_nothing_but_worse_items_is_perfect(small):
    split = klm.split(small, "random")
    good = dict.fromkeys(zip(split.test["user_id"], split.test["item_id"], strict=True), 1.0)
    assert judging.sampled(Table(good), split, negatives=5) == 1
    chance = judging.sampled(Table({}), split, k=1, negatives=1)
    assert chance == pytest.approx(1 / np.log2(2.5)), "one tie is half a place"
    bad = dict.fromkeys(good, -1.0)
    assert judging.sampled(Table(bad), split, k=1, negatives=3) == 0


def test_sampled_ranking_is_the_same_in_one_piece_or_many(small, monkeypatch):
    split = klm.split(small, "random")
    model = klm.baselines.Popularity().fit(split)
    whole = judging.sampled(model, split, negatives=5)
    monkeypatch.setattr(judging, "PAIRS_AT_ONCE", 6)
    assert judging.sampled(model, split, negatives=5) == whole


def test_of_the_settings_of_a_model_the_best_on_valid_is_picked(small):
    split = klm.split(small, "random")
    models = {
        "EASE": [klm.baselines.EASE((reg,)) for reg in (1.0, 100.0)],
        "item kNN": [klm.baselines.ItemKNN((n,), (0.0,)) for n in (1, 3)],
    }
    table = judging.tried(models, split)
    assert table["setting"].tolist() == [1.0, 100.0, (1, 0.0), (3, 0.0)]
    for _, own in table.groupby("model"):
        assert own["picked"].sum() == 1 and own["valid"][own["picked"]].item() == own["valid"].max()


def test_leave_one_out_takes_the_last_choice_of_each(small):
    split = judging.leave_one_out(small)
    chosen = small.chosen(small.interactions)
    assert split.test.groupby("user_id").size().max() == 1
    for _, row in split.test.iterrows():
        own = chosen[chosen["user_id"] == row["user_id"]]
        assert row.name == own.index[-1] and split.valid.query(f"user_id == {row['user_id']}").index == own.index[-2]
    assert 0 < judging.from_the_future(split) < 1
    assert judging.from_the_future(klm.split(small, "temporal")) == 0


def test_damaged_tags_are_as_many_and_at_others(small):
    tagged = klm.load_dataset("movielens-100k")
    half, none, all_ = (judging.damaged(tagged, share) for share in (0.5, 0, 1))
    moved = (half.items["tags"] != tagged.items["tags"]).mean()
    assert 0.3 < moved < 0.5, "some are dealt equal tags"
    assert none.items["tags"].tolist() == tagged.items["tags"].tolist()
    counts = lambda ds: ds.items["tags"].map(tuple).value_counts().sort_index()  # noqa: E731
    pd.testing.assert_series_equal(counts(all_), counts(tagged))


def test_a_part_of_train_and_all_of_test(small):
    split = klm.split(small, "random")
    part = judging.learning_split(split, 0.2)
    assert len(part.train) == round(0.2 * len(split.train)) and len(part.test) == len(split.test)
    columns = ["user_id", "item_id", "label"]
    np.testing.assert_array_equal(part.test[columns], split.test[columns])
    merged = part.train[columns].merge(split.train[columns], how="left", indicator=True)
    assert (merged["_merge"] == "both").all()
    baselines.EASE((10.0,)).fit(part)
    with pytest.raises(DataError, match="nothing is left"):
        judging.learning_split(split, 0.0)


def test_a_band_of_deals_lies_below_what_the_vectors_know(small):
    """Vectors that know who chose an item, also of the new ones: no honest vectors, but clear ones."""
    split = klm.split(small, "cold_item")
    told = small.chosen(small.interactions).pivot_table(
        index="item_id", columns="user_id", values="label", aggfunc="size"
    )
    told = told.reindex(small.items.index).fillna(0).to_numpy()
    value, dealt = judging.band(lambda v: baselines.KernelRidge(v, (1.0,), (1.0,)).fit(split), told, split, deals=3)
    assert len(dealt) == 3 and len(set(dealt)) == 3 and value > dealt.max()


def test_lists_by_hand():
    """Six items, of which two users choose 4 and 5 all the time; the list of user 1 is 0, 1."""
    log = pd.DataFrame({"user_id": [1, 2] * 4 + [2, 1], "item_id": [4, 5, 5, 4] * 2 + [3, 0], "timestamp": range(10)})
    items = pd.DataFrame({"item_id": range(6), "title": list("abcdef")})
    split = klm.split(klm.RecDataset.from_frames(items, None, log), "temporal")
    model = Table({(1, i): 1.0 - i / 10 for i in range(6)})
    vectors = np.array([[1.0, 0], [0, 2], [1, 1], [1, 1], [1, 1], [1, 1]])
    found = judging.of_lists(model, split, vectors, k=2)
    assert found["ndcg@2"] == 1 and found["coverage"] == pytest.approx(2 / 6) and found["diversity"] == 1
    assert found["novelty"] == pytest.approx(np.log2(3)) and found["gini"] == pytest.approx(8 / 12)


def test_the_gap_of_the_truth_is_none():
    ds = klm.load_dataset("shop")
    split = klm.split(ds, "random")
    pairs = zip(split.test["user_id"], split.test["item_id"], strict=True)
    truth = Table(dict(zip(pairs, ds.optimum[split.test.index], strict=True)))
    half = np.arange(len(split.test)) % 2 == 0
    table = judging.gap_to_the_optimum(
        {"truth": truth, "chance": Table({})}, split, {"all": half | ~half, "half": half}
    )
    assert table["truth"].abs().max() == 0 and table["rows"].tolist() == [len(half), half.sum()]
    assert (table["chance"] == table["ceiling"] - 0.5).all()
    movielens = klm.load_dataset("movielens-100k")
    with pytest.raises(DataError, match="nobody knows"):
        judging.gap_to_the_optimum({}, klm.split(movielens, "random"), {})


def test_tags_become_columns_that_two_items_share():
    found = judging.as_vectors([["a", "b"], [], ["b", "b", "c"], ["c"]])
    assert found.tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]], "b and c; a stands at one item"


def test_controls_are_the_vectors_of_others_random_ones_and_none(movielens):
    split = klm.split(movielens, "cold_item", fold=0)
    vectors = judging.as_vectors(movielens.items["tags"])
    builds = judging.controls(vectors, seed=3)
    models = {kind: build(split, 0) for kind, build in builds.items()}
    assert list(models) == ["true", "shuffled", "random", "absent"]
    assert models["absent"].text is None
    assert np.array_equal(models["true"].text, vectors.astype("float32"))
    moved = (models["shuffled"].text != vectors).any(1)
    assert moved.mean() > 0.5 and np.array_equal(models["shuffled"].text.sum(0), vectors.sum(0))
    assert len({model.setting for model in models.values()}) == 1, "none is tuned better than another"


def test_both_new_asks_four_questions_of_one_training(movielens):
    new = judging.both_new(movielens, fold=2)
    nobody = new["nobody is new"]
    users, items = set(nobody.train["user_id"]), set(nobody.train["item_id"])
    wanted = {"nobody is new": (1, 1), "the user is new": (0, 1), "the item is new": (1, 0), "both are new": (0, 0)}
    for name, split in new.items():
        assert split.train["item_id"].tolist() == nobody.train["item_id"].tolist()
        known = split.test["user_id"].isin(users).mean(), split.test["item_id"].isin(items).mean()
        assert known == pytest.approx(wanted[name], abs=0.01), name
    rows = sum(len(split.test) for split in new.values()) + len(nobody.train) + len(nobody.valid)
    assert rows == len(movielens.interactions)


def test_a_model_without_an_opinion_gets_what_chance_gets_unless_ties_follow_the_catalogue(movielens):
    split = klm.split(movielens, "random")
    found = judging.recall_of_a_constant(split, baselines.Popularity().fit(split))
    assert found["ties in random order"] < 0.02 < 0.1 < found["ties in the order of popularity"]


@pytest.mark.parametrize("name", ["text", "tags", "mislinked graph", "shop graph"])
def test_knowledge_that_is_controlled_has_a_vector_for_each_item(movielens, name):
    source, vectors = judging.knowledge_of(name, movielens, np.ones((len(movielens.items), 3)))
    assert len(vectors) == len(source.items)
    assert (source.name == "shop") is (name == "shop graph")
    assert bool(source.items["tags"].map(len).max()) == (name != "tags"), "tags that are controlled stand nowhere else"
