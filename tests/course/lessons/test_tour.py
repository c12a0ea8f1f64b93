"""What the tour needs: tables, directions, typed titles, and the lists that its pictures show."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import klm_utils as klm
from klm_utils import course
from klm_utils.course.lessons import tour
from klm_utils.evaluation import kept


@pytest.fixture(scope="module")
def split():
    """What the tour reads of a split: six films of which two are new, four users."""
    items = pd.DataFrame(
        {"item_id": range(10, 16), "title": ["Alien", "Godfather, The", "Big", "Big", "Ran", "Heat"], "year": 1990}
    ).assign(tags=[["Drama"]] * 6)
    rows = [(1, 10, 5), (1, 11, 5), (2, 10, 3), (2, 12, 4), (3, 10, 4), (3, 11, 4), (4, 12, 5), (4, 14, 5), (4, 15, 1)]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "rating"]).assign(timestamp=range(9), label=1)
    users = pd.DataFrame({"user_id": [1, 2, 3, 4]})
    ds = klm.RecDataset.from_frames(items, users, log, name="six films")
    new = ds.interactions["item_id"].isin([14, 15])
    return SimpleNamespace(dataset=ds, train=ds.interactions[~new], test=ds.interactions[new])


def test_titles_are_written_as_people_write_them(split):
    assert tour.titles(split.dataset)[:2] == ["Alien", "The Godfather"]


def test_watched_is_one_where_somebody_has_rated(split):
    table = tour.watched(split.train, split.dataset)
    assert table.shape == (4, 6) and table.sum() == 7 and table[0].tolist() == [1, 1, 0, 0, 0, 0]
    assert tour.counts(split) == [3, 2, 2, 0, 0, 0]


def test_biases_start_at_zero_and_vectors_do_not(split):
    b_user, b_film, P, Q = tour.start(split.dataset, width=3, seed=1)
    assert [tuple(t.shape) for t in (b_user, b_film, P, Q)] == [(4, 1), (6,), (4, 3), (6, 3)]
    assert not b_user.any() and not b_film.any() and P.requires_grad and b_film.is_leaf
    assert 0.02 < float(Q.detach().std()) < 0.3 and not torch.equal(P.detach(), Q.detach()[:4])
    again = tour.start(split.dataset, width=3, seed=1)
    assert torch.equal(again[2], P), "the same seed, the same start"


def test_one_more_row_of_zeros():
    assert tour.and_zero(torch.ones(2, 3))[2].tolist() == [0, 0, 0] and tour.and_zero(torch.ones(2)).tolist() == [
        1,
        1,
        0,
    ]


def test_directions_are_those_in_which_the_texts_differ_most():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 5)) * [10, 5, 0.1, 0.1, 0.1] + 3
    x = tour.Directions(vectors, 2)(vectors)
    assert x.shape == (50, 2) and float(x.norm(dim=1).mean()) == pytest.approx(1, abs=1e-5)
    assert abs(np.corrcoef(x[:, 0], vectors[:, 0])[0, 1]) > 0.99
    assert torch.allclose(x.mean(0), torch.zeros(2), atol=1e-5)


def test_top_leaves_out_what_it_is_told_and_the_second_of_a_name():
    names = ["Alien", "Big", "Big", "Ran"]
    scores, without = torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([True, False, False, False])
    assert tour.top(scores, without, names, 2) == [1, 3]


def test_typed_titles_are_found_in_any_case_and_the_others_are_named(capsys):
    names = ["Alien", "The Godfather", "Big", "Big", "Friday the 13th Part 3: Heat"]
    assert tour.places(["alien ", "THE GODFATHER", "Alien", "Big"], names, [1, 1, 2, 9, 1]) == [0, 1, 3]
    assert capsys.readouterr().out == ""
    assert tour.places(["Godfather", "Heat", "qqqq", ""], names, [1] * 5) == []
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    assert "'Godfather'" in first and "did you mean The Godfather?" in first
    assert "Friday the 13th Part 3: Heat" in second
    assert "did you mean" not in third and "end in 1998" in third and "''" in fourth


def test_a_corner_of_the_ratings_with_the_new_film_in_the_fourth_column():
    split = klm.split(klm.load_dataset("movielens-100k"), "cold_item", fold=0)
    names = tour.titles(split.dataset)
    ratings, users, titles = tour.corner(split, names, names.index("Star Trek: First Contact"))
    assert ratings.shape == (len(users), len(titles)) == (6, 7) and titles[3] == "Star Trek: First Contact"
    assert np.isnan(ratings[:, 3]).all() and (~np.isnan(ratings)).sum(0)[[0, 1, 2, 4, 5, 6]].min() >= 1
    assert ratings[users.index("user 279"), titles.index("Santa with Muscles")] == 5
    few = tour.best_rated(split, 6)["by mean rating"]
    assert ("Santa with Muscles", "mean 5.0, 2 ratings") in few, "the text of the tour says so"


def test_the_best_rated_and_the_most_rated(split):
    lists = tour.best_rated(split, 2)
    assert lists["by mean rating"] == [("The Godfather", "mean 4.5, 2 ratings"), ("Big", "mean 4.5, 2 ratings")]
    assert lists["by number of ratings"][0] == ("Alien", "mean 4.0, 3 ratings")
    assert [tour.noted(n) for n in (0, 1, 2)] == ["new", "1 rating", "2 ratings"]


def test_lists_for_two_users_leave_out_what_they_have_seen(split):
    first, second = torch.arange(6.0).flip(0).repeat(4, 1), torch.zeros(4, 6)
    second[0, 2], second[2, 2] = 5, 5
    lists = tour.for_two(split, first, second, users=(1, 4), k=2)
    assert lists["first run: everybody"] == [("Alien", "3"), ("The Godfather", "2")]
    assert lists["second run: user 1"] == [("Big", "2")], "the new films and their own two are left out"
    assert lists["second run: user 4"] == [("Alien", "3"), ("The Godfather", "2")]


def test_users_are_chosen_by_score_and_by_how_much_they_watch(split):
    met = tour.watched(split.train, split.dataset)
    met[3] = 1
    ways = tour.chosen(torch.tensor([0.0, 9.0, 1.0, 2.0]), met, k=1)
    assert (
        ways["highest score"] == [1]
        and ways["who watch most"] == [3]
        and ways == tour.chosen(torch.tensor([0.0, 9.0, 1.0, 2.0]), met, k=1)
    )
    assert sorted(tour.chosen(torch.zeros(4), met, k=4)["any users"]) == [0, 1, 2, 3]


def test_hits_name_the_film_where_the_scores_are_worst():
    met = torch.zeros(40, 3)
    met[:20] = 1
    really, scores = torch.zeros(40, 3), torch.zeros(40, 3)
    really[20:, 0], scores[20:, 0] = 1, 1  # found by score
    really[:20, 1], scores[20:, 1] = 1, 1  # found by watching much
    text = tour.hits(scores, met, really, ["Alien", "Private Parts", "Ran"], least=5)
    assert text.startswith("mean of 2 hidden films with 5 viewers or more: highest score 10.0 of 20")
    assert "watch most 10.0" in text and text.endswith("Private Parts: 0 and 20")


def test_parts_have_names():
    parts = tour.named([torch.tensor(-2.7), torch.ones(1), torch.tensor(0.5), torch.tensor(3.0)])
    assert list(parts.values()) == [pytest.approx(-2.7), 1.0, 0.5, 3.0] and "text, for this user" in parts


def test_a_user_in_the_words_of_their_nearest_films(split):
    text = tour.near_and_rated(split, 0, np.array([0.1, 0.9, 1.0, 1.0, 1.0, 1.0]), k=2)
    assert text == "user 1, who has rated\nThe Godfather, Alien"


def test_your_lists_are_of_known_and_of_new_films(split):
    known = tour.watched(split.train, split.dataset).sum(0) > 0
    lists = tour.yours(torch.arange(12.0).reshape(2, 6), known, [0], split, k=3)
    assert lists["your films: known"] == [("Big", "2"), ("The Godfather", "2")], "Alien was typed"
    assert lists["your films: unrated"] == lists["your sentence: unrated"]
    assert lists["your films: unrated"] == [("Heat", "new"), ("Ran", "new"), ("Big", "new")]
    assert tour.yours(torch.zeros(2, 6), known, [], split)["your films: known"][0] == ("Alien", "3"), "nothing typed"


def test_the_way_of_a_film_begins_with_its_text():
    way = tour.way("Alien (1979). Action, Horror.", np.array([0.25, -0.5, 1.0]))
    assert (
        way["domain\ndata"] == "Alien\n(1979)\nAction,\nHorror." and way["embedding"] == "3 numbers:\n0.25, -0.50, ..."
    )
    assert list(way)[-1] == "list"


def test_the_stored_folds_say_what_the_tour_says():
    runs = kept.load(course.stored("which_facts.json"))
    names = {"text": "title text", "text and facts": "text and facts"}
    differences, gains = tour.beside(runs, names, "genre, year")
    assert list(differences) == list(names.values()) == list(gains) and len(differences) == 10
    assert (differences > 0).all(axis=None), "exercise 0.3, d"
    difference, *ends = gains["text and facts"]
    assert difference == pytest.approx(differences["text and facts"].mean(), abs=1e-3) and min(ends) > 0
    means = runs.values().mean()
    assert round(means["genre, year"], 3) == 0.365 and round(means["text and facts"], 3) == 0.424
