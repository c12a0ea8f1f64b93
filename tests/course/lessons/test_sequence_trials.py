"""What notebook 08 tries on sequences knows nothing of what it asks, and its controls change what they name alone."""

import numpy as np
import pytest

import klm_utils as klm
from klm_utils.course.lessons import domains, labels
from klm_utils.course.lessons import sequence_trials as lesson
from klm_utils.evaluation.next_item import asked, evaluate_next, sequences
from klm_utils.models.next_item import NextEASE, Popular
from klm_utils.models.sequence import SASRec


@pytest.fixture(scope="module")
def films():
    return klm.load_dataset("movielens-100k")


@pytest.mark.parametrize("reads", ["all", "liked"])
def test_the_last_liked_film_is_asked_and_nothing_later_is_known(films, reads):
    split = lesson.last_liked(films, reads)
    assert split.test["user_id"].is_unique and (split.test["rating"] >= 4).all()
    last = split.test.set_index("user_id").index
    log = split.dataset.interactions
    of_asked = log[log["user_id"].isin(last)]
    assert (of_asked.groupby("user_id").tail(1).index == np.sort(split.test.index)).all()
    assert (split.train["rating"] >= 4).all() == (reads == "liked")


def test_both_ways_to_read_ask_about_the_same_films(films):
    rows = [asked(lesson.last_liked(films, reads), ties="order") for reads in ("all", "liked")]
    assert rows[0]["user_id"].tolist() == rows[1]["user_id"].tolist()
    assert rows[0]["item_id"].tolist() == rows[1]["item_id"].tolist()
    assert rows[0]["history"].map(len).sum() > rows[1]["history"].map(len).sum()


def test_out_of_order_is_another_order_of_the_same_films(small):
    split = klm.split(small, "temporal")
    mixed = lesson.out_of_order(split, seed=0)
    assert [sorted(one) for one in sequences(mixed)] == [sorted(one) for one in sequences(split)]
    assert sequences(mixed) != sequences(split) and mixed.test.equals(split.test)
    model = lesson.Mixed(NextEASE(small.items.index).fit(sequences(split)))
    past = [sequences(split)[0]]
    np.testing.assert_allclose(model.predict(past), model.model.predict(past)), "a sum has no order"


def test_first_vectors_are_white_and_know_nothing_of_new_items():
    rng = np.random.default_rng(0)
    x, known = rng.normal(size=(60, 10)) @ rng.normal(size=(10, 10)), np.arange(60) < 50
    first = lesson.principal(x, known, width=4, scale=1.0)
    np.testing.assert_allclose(first[known].T @ first[known] / known.sum(), np.eye(4) / 4, atol=1e-6)
    moved = x.copy()
    moved[~known] += 9
    np.testing.assert_allclose(lesson.principal(moved, known, width=4)[known], first[known] * 0.3, atol=1e-5)
    assert lesson.principal(x[:, :2], known, width=4).shape == (60, 4)


def test_who_does_not_listen_gives_the_same_list_to_everybody(small):
    split = klm.split(small, "temporal")
    rows = asked(split)
    deaf = lesson.listening(Popular(small.items.index).fit(sequences(split)), rows)
    assert deaf["shared"] == 1.0
    hearing = lesson.listening(NextEASE(small.items.index, 1.0).fit(sequences(split)), rows)
    assert hearing["shared"] < 0.9 and hearing["own"] != hearing["other"]


def test_a_slot_holds_the_nearest_new_item_and_moves_only_what_is_behind_it():
    x = np.eye(6)[[0, 0, 1, 2, 0, 1]] + 0.01 * np.arange(6)[:, None]
    known = np.array([True, True, True, True, False, False])
    model = Popular(range(6)).fit([[1, 2, 3, 0], [1, 2, 3], [1, 2], [1]])
    scores = lesson.Slot(model, x, known, at=2, last=1).predict([[0], [2]])
    scores[[0, 1], [0, 2]] = -1  # what was met is no candidate
    assert np.argsort(-scores, axis=1)[:, :3].tolist() == [[1, 4, 2], [1, 5, 3]]


def test_times_of_a_log(films):
    found = lesson.tied(films.interactions)
    assert sum(found.values()) == pytest.approx(1.0) and 0.4 < found["the same second"] < 0.6


def test_what_comes_next_has_titles(small):
    model = Popular(small.items.index).fit([small.items.index[:3].tolist()])
    titles = small.items["title"]
    assert lesson.top(model, [small.items.index[0]], titles, 2) == titles.iloc[1:3].tolist()


def test_a_moved_model_is_the_same_on_the_same_vectors():
    x = np.random.default_rng(0).normal(size=(9, 5))
    model = SASRec(range(9), vectors=x, ids=False, width=8, length=4)
    other = domains.moved(model, [f"item {n}" for n in range(9)], x)
    p = other.predict([["item 1", "item 2"]])
    np.testing.assert_allclose(p, model.predict([[1, 2]]), atol=1e-7)
    far = domains.moved(model, range(4), x[:4] + 1)
    assert far.predict([[0]]).shape == (1, 4)
    assert np.linalg.norm(domains.centred(x), axis=1) == pytest.approx(3.0)


@pytest.fixture(scope="module")
def shop():
    return domains.behaviours(klm.load_dataset("shop"))


def test_purchases_are_asked_and_what_was_shown_is_read(shop):
    assert (shop.test["item_id"] >= domains.BOUGHT).all() and (shop.shown["item_id"] < domains.BOUGHT).all()
    rows = asked(shop, most=50)
    kinds = {item >= domains.BOUGHT for past in rows["history"] for item in past}
    assert kinds == {True, False}
    times = shop.dataset.interactions["timestamp"]
    assert times[shop.train.index].max() <= times[shop.test.index].min()


@pytest.mark.parametrize("kind", ["bought", "all as bought", "both"])
def test_a_model_reads_what_it_is_to_read(shop, kind):
    part = domains.reading(shop, kind)
    assert part.test["timestamp"].tolist() == shop.test["timestamp"].tolist()
    only_bought = bool((part.train["item_id"] >= domains.BOUGHT).all())
    assert only_bought == (kind != "both") and (len(part.train) == len(shop.train)) == (kind != "bought")
    seen = []

    class Listener(Popular):
        def predict(self, histories):
            seen.extend(histories)
            return super().predict(histories)

    model = domains.Reads(Listener(shop.dataset.items.index).fit(sequences(part)), kind)
    evaluate_next(model, shop, among="part", most=20, n_boot=2)
    assert all(item >= domains.BOUGHT for past in seen for item in past) == (kind != "both")


def test_a_share_of_users_is_left(small):
    split = klm.split(small, "temporal")
    part = domains.share_of_users(split, 0.5)
    assert part.train["user_id"].nunique() == round(0.5 * split.train["user_id"].nunique())
    assert part.test["item_id"].tolist() == split.test["item_id"].tolist()


def test_labels_that_the_vectors_say_are_found_and_others_are_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    y = np.stack([x[:, 0] > 0.5, x[:, 1] > 1.0, rng.random(300) < 0.3], 1).astype(int)
    part = np.arange(300) % 3
    cut = [part == n for n in range(3)]
    found, share = labels.predict_labels(x, y, *cut), labels.share_of_each(y, *cut)
    assert found.scores["LRAP"] > share.scores["LRAP"] + 0.1
    assert found.scores["micro-F1"] > share.scores["micro-F1"] and np.ptp(share.probabilities, 0).max() == 0
    assert found.probabilities.shape == (100, 3) and 0.05 <= found.threshold <= 0.6


def test_marks_are_of_labels_that_are_frequent_enough(films):
    table = labels.marks(films.items, ["tags", "countries"], least=40)
    assert "tags=Drama" in table and table.sum().min() >= 40
    first = films.items.iloc[0]
    assert table.iloc[0]["tags=Animation"] == ("Animation" in first["tags"])
