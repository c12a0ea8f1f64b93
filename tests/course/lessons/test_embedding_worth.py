"""What notebook 02 says of vectors without training, against slow or known answers."""

import numpy as np
import pytest

import klm_utils as klm
from klm_utils.course.lessons import embedding_worth as worth


@pytest.fixture(scope="module")
def ds():
    return klm.load_dataset("movielens-100k")


@pytest.fixture(scope="module")
def split(ds):
    return klm.split(ds, "cold_item", fold=0)


@pytest.fixture(scope="module")
def minilm():
    return klm.TextEncoder.from_pretrained("minilm")


@pytest.fixture(scope="module")
def shop():
    return klm.split(klm.load_dataset("shop", language="en"), "temporal")


def test_a_taste_is_the_label_minus_the_users_mean_of_train(ds, split):
    taste = worth.tastes(split)
    rows = split.train[split.train["user_id"] == 677]
    own = taste[[ds.users.index.get_loc(677)]].toarray()[0]
    at = ds.items.index.get_indexer(rows["item_id"])
    assert own[at] == pytest.approx(rows["label"] - rows["label"].mean()) and own.sum() == pytest.approx(0)
    assert np.count_nonzero(own) <= len(rows)


def test_the_true_labels_rank_best_and_constants_by_chance(ds, split):
    labels = np.zeros((len(ds.users), len(ds.items)))
    u, i = ds.users.index.get_indexer(split.test["user_id"]), ds.items.index.get_indexer(split.test["item_id"])
    labels[u, i] = split.test["label"]
    assert worth.auc(split, labels, np.eye(len(ds.items))).estimate() == 1
    assert worth.auc(split, 0 * labels, np.eye(len(ds.items))).estimate() == 0.5


def test_the_story_is_sorted_by_cosine_and_tells_what_came(ds, split):
    items = worth.centred(worth.genres(ds), worth.in_train(split))
    users = worth.unit(worth.tastes(split) @ items)
    history, ranked = worth.story(split, 677, users, items)
    assert [w > 0 for _, w in history] == [True] * 3 + [False] * 3
    assert [c for _, c, _ in ranked] == sorted((c for _, c, _ in ranked), reverse=True)
    assert len(ranked) == (split.test["user_id"] == 677).sum() and "Mission: Impossible" in [t for t, *_ in ranked]


def test_one_direction_for_all_makes_one_list_until_the_users_are_centred(shop):
    rng = np.random.default_rng(0)
    users = rng.normal(size=(len(shop.dataset.users), 16)) + 20
    items = rng.normal(size=(len(shop.dataset.items), 16))
    ways = worth.centrings(shop, users, items)
    assert worth.agreement(*ways["nothing"]) > 0.9 and abs(worth.agreement(*ways["users"])) < 0.1
    shared = [worth.shared_top(*ways[way]) for way in ("nothing", "users")]
    assert shared[0] > 5 > 1 > shared[1] and worth.shared_top(np.ones((3, 16)), items) == 10
    assert np.linalg.norm(ways["both"][0], axis=1) == pytest.approx(np.ones(len(users)))


def test_letters_know_only_letters():
    encode = worth.letters(["basketball", "table tennis", "green tea", "black tea", "teapot"] * 5, width=4)
    green, black, ball = encode(["green tea", "black tea", "basketball"])
    assert green @ black > green @ ball


def test_genres_are_worth_something_the_year_more_and_shuffled_ones_nothing(ds):
    readers = {"genres": worth.genres(ds), "genres, year": worth.genres_and_year}
    table, bands, shared = worth.films_worth(ds, readers, [0, 1], shuffles=3)
    assert table.shape == (2, 2) and 0.05 < shared < 0.2
    for name, band in bands.items():
        assert band.shape == (3,) and table[name].min() > 0.54 > 0.53 > band.max()
    assert table["genres, year"].mean() > table["genres"].mean() + 0.01
    found = worth.gains(table.assign(chance=[0.5, 0.51]), [("genres", "chance")], shared)
    assert found["mean"].iloc[0] == pytest.approx(table["genres"].mean() - 0.505)
    assert found["others low"].iloc[0] < found["mean"].iloc[0] < found["others high"].iloc[0]


def test_genres_and_year_are_columns_of_0_and_1(ds, split):
    columns = worth.genres_and_year(split)
    assert len(columns) == len(ds.items) and set(np.unique(columns)) == {0, 1}
    assert columns.shape[1] - worth.genres(ds).shape[1] in range(7, 11), "at most ten for the year"


def test_a_shuffle_is_the_auc_of_dealt_out_vectors(split, shop):
    rng = np.random.default_rng(0)
    for one in (split, shop):
        users = rng.normal(size=(len(one.dataset.users), 4)).astype("float32")
        items = rng.integers(0, 2, (len(one.dataset.items), 4)).astype("float32")  # many ties
        users = np.round(users)
        dealt = items[np.random.default_rng(0).permutation(len(items))]
        found = worth.shuffled(one, lambda _, users=users: users, items, draws=1)
        assert found == pytest.approx([worth.auc(one, users, dealt).estimate()], abs=1e-6)


def test_shop_worth_has_a_row_and_a_band_for_each_reader(shop, minilm):
    found, bands = worth.shop_worth({"en": shop.dataset}, {"minilm": minilm}, shuffles=2)
    assert set(found) == set(bands) == {"minilm, en", "letters, en"}
    value, low, high = found["minilm, en"]
    assert low < value < high and value > 0.6 > 0.55 > bands["minilm, en"].max()


def test_the_table_of_centrings_has_a_row_each(shop):
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(len(shop.dataset.users), 8)) + 9, rng.normal(size=(len(shop.dataset.items), 8))
    table = worth.alike(shop, worth.centrings(shop, users, items))
    assert table.index.tolist() == ["nothing", "items", "users", "both"]
    assert table.columns.tolist() == ["AUC of a user", "agreement", "top ten shared"]
    assert table["agreement"]["nothing"] > 0.9 > 0.1 > abs(table["agreement"]["users"])
