"""What notebook 02 says of vectors without training, against slow or known answers."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

import klm_utils as klm
from klm_utils.course.lessons import embedding_worth as worth
from klm_utils.evaluation import intervals


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


def test_letters_know_only_letters_and_have_the_products_of_the_counts():
    texts = ["green tea", "black tea", "basketball", "table tennis", "teapot", "teapot"]
    green, black, ball, *_ = rows = worth.letters(texts)
    counts = TfidfVectorizer(analyzer="char", ngram_range=(3, 5)).fit_transform(texts)
    assert green @ black > green @ ball and rows @ rows.T == pytest.approx((counts @ counts.T).toarray(), abs=1e-6)
    assert worth.letters(["绿茶", "红茶", "篮球"])[0] @ worth.letters(["绿茶", "红茶", "篮球"])[1] > 0.1, (
        "one character"
    )


def test_letters_are_fitted_on_train_only():
    texts, fit = ["green tea", "black tea", "zzzz", "yyyy zzzz"], np.array([True, True, False, False])
    assert worth.letters(texts)[2] @ worth.letters(texts)[3] > 0.1
    assert worth.letters(texts, fit)[2] @ worth.letters(texts, fit)[3] == pytest.approx(0, abs=1e-6)


def test_genres_are_worth_something_the_year_more_and_shuffled_ones_nothing(ds):
    readers = {"genres": worth.genres(ds), "genres, year": worth.genres_and_year}
    films = worth.films_worth(ds, readers, [0, 1], shuffles=3)
    table = films.table
    assert table.shape == films.one_list.shape == films.another.shape == (2, 2) and 0.05 < films.shared < 0.2
    for name, band in films.bands.items():
        assert band.shape == (3,) and table[name].min() > 0.54 > 0.53 > band.max()
        assert (films.another[name] < table[name]).all()
    assert table["genres, year"].mean() > table["genres"].mean() + 0.01
    pairs = [("genres", "chance"), ("genres", worth.ONE_LIST), ("genres", worth.ANOTHER)]
    found = worth.gains(films._replace(table=table.assign(chance=[0.5, 0.51])), pairs)
    assert found["mean"].tolist() == pytest.approx(
        [
            table["genres"].mean() - other
            for other in (0.505, films.one_list["genres"].mean(), films.another["genres"].mean())
        ]
    )
    assert found["item interval from"].iloc[0] < found["mean"].iloc[0] < found["to"].iloc[0]


def test_everybody_is_the_mean_of_directions():
    assert worth.everybody(np.array([[9.0, 0], [0, 1]])) == pytest.approx(np.full((2, 2), 0.5))


def test_the_auc_of_some_rows_is_theirs(ds, split):
    items = worth.centred(worth.genres(ds))
    users, rows = worth.tastes(split) @ items, np.arange(len(split.test)) % 2 == 0
    test = split.test[rows]
    at = ds.users.index.get_indexer(test["user_id"]), ds.items.index.get_indexer(test["item_id"])
    scores = (users[at[0]] * items[at[1]]).sum(axis=1).round(7)
    slow = intervals.user_auc(test["user_id"].to_numpy(), test["label"].to_numpy(float), scores).estimate()
    assert worth.auc(split, users, items, rows).estimate() == pytest.approx(slow, abs=1e-4)


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
        found = worth.shuffled(one, users, items, draws=1)
        assert found == pytest.approx([worth.auc(one, users, dealt).estimate()], abs=1e-6)
        taste = rng.integers(0, 2, (len(users), len(items))).astype("float32")
        found = worth.shuffled(one, taste.dot, items, draws=1)
        assert found == pytest.approx([worth.auc(one, taste @ dealt, dealt).estimate()], abs=1e-6)


def test_shop_worth_has_a_row_and_a_band_for_each_reader(shop, minilm):
    found, bands, apart = worth.shop_worth({"en": shop.dataset}, {"minilm": minilm}, shuffles=2)
    assert set(found) == set(bands) == set(apart.index) == {"minilm, en", "letters, en"}
    assert apart.loc["letters, en", "new"] < 0.53 < 0.58 < apart.loc["letters, en", "older"]
    value, low, high = found["minilm, en"]
    assert low < value < high and value > 0.6 > 0.55 > bands["minilm, en"].max()


def test_the_table_of_centrings_has_a_row_each(shop):
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(len(shop.dataset.users), 8)) + 9, rng.normal(size=(len(shop.dataset.items), 8))
    table = worth.alike(shop, worth.centrings(shop, users, items))
    assert table.index.tolist() == ["nothing", "items", "users", "both", "mean user alone"]
    assert table.columns.tolist() == ["AUC of a user", "agreement", "top ten shared"]
    assert table["agreement"]["mean user alone"] == pytest.approx(1) and table["agreement"][
        "nothing"
    ] > 0.9 > 0.1 > abs(table["agreement"]["users"])
