"""What the tour needs: tables, directions, typed titles, and the lists that its pictures show."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import klm_utils as klm
from klm_utils import course
from klm_utils.course import exercises
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


def test_parts_have_names():
    parts = tour.named([torch.tensor(-2.7), torch.ones(1), torch.tensor(0.5), torch.tensor(3.0)])
    assert list(parts.values()) == [pytest.approx(-2.7), 1.0, 0.5, 3.0] and "text, for this user" in parts
    assert "user's bias: watches much" in parts
    assert "user's bias: watches little" in tour.named([torch.zeros(1), -torch.ones(1), *torch.zeros(2)])


def test_the_way_of_a_film_begins_with_its_text():
    way = tour.way("Alien (1979). Action, Horror.", np.array([0.25, -0.5, 1.0]))
    assert (
        way["domain\ndata"] == "Alien\n(1979)\nAction,\nHorror." and way["embedding"] == "3 numbers:\n0.25, -0.50, ..."
    )
    assert list(way)[-1] == "list"


def test_a_new_film_has_nothing_of_its_own():
    known = torch.tensor([True, False])
    assert tour.own(torch.ones(2, 3), known).tolist() == [[1] * 3, [0] * 3, [0] * 3]
    assert tour.own(torch.full((2,), 5.0), known).tolist() == [5, 0, 0]


def test_two_new_users_of_whom_one_has_watched_the_sentence():
    rows, there = tour.two_users([1], torch.tensor([True, False, False]))
    assert rows.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]] and there.tolist() == [True, True, False, True]
    assert not tour.two_users([], torch.tensor([True]))[0][0].any(), "nothing typed"


def test_films_get_a_vector_and_a_bias_from_what_they_are_and_from_their_text():
    known, x = torch.tensor([True, False]), torch.tensor([[1.0], [2.0], [3.0]])
    W, w = torch.tensor([[10.0, 0.0]]), torch.tensor([0.5])
    b_film, Q = torch.tensor([7.0, 7.0]), torch.ones(2, 2)
    vectors, biases = tour.film_parts(x, known, (torch.zeros(1), b_film, torch.zeros(1), Q, W, w))
    assert vectors.tolist() == [[11, 1], [20, 0], [30, 0]] and biases.tolist() == [7.5, 1.0, 1.5]


def test_texts_without_their_titles():
    texts = ["Star Trek: First Contact (1996). Action, Sci-Fi.", "Big (Grande) (1988). Comedy.", "unkonwn. unknown."]
    assert tour.without_title(texts) == ["(1996). Action, Sci-Fi.", "(1988). Comedy.", "unkonwn. unknown."]


def test_lists_for_two_users_leave_out_what_they_have_seen(split):
    first, second = torch.arange(6.0).flip(0).repeat(4, 1), torch.zeros(4, 6)
    second[0, 2], second[2, 2] = 5, 5
    lists = tour.for_two(split, first, second, users=(1, 4), k=2)
    assert lists["first run: everybody"] == [("Alien", "1990 Drama · 3"), ("The Godfather", "1990 Drama · 2")]
    assert lists["second run: user 1"] == [("Big", "1990 Drama · 2")], "the new films and their own two are left out"
    assert [title for title, _ in lists["second run: user 4"]] == ["Alien", "The Godfather"]


def test_your_lists_are_of_known_and_of_new_films(split):
    known = tour.watched(split.train, split.dataset).sum(0) > 0
    lists = tour.yours(torch.arange(12.0).reshape(2, 6), known, [0], split, k=3)
    assert [title for title, _ in lists["your films: known"]] == ["Big", "The Godfather"], "Alien was typed"
    assert lists["your films: new"] == lists["your sentence: new"]
    assert lists["your films: new"] == [(title, "1990 Drama · new") for title in ("Heat", "Ran", "Big")]
    nothing = tour.yours(torch.zeros(2, 6), known, [], split)
    assert nothing["your films: known"][0] == ("Alien", "1990 Drama · 3")


@pytest.fixture
def forty():
    """40 users and 3 films: the first is watched by those with a high score, the second by those who watch most."""
    met = torch.zeros(40, 4)
    met[:20, :3] = 1
    met[30:, 3] = 1  # the older film of the series of the first
    really, scores = torch.zeros(40, 4), torch.zeros(40, 4)
    really[20:, 0], scores[20:, 0] = 1, 1
    really[:20, 1], scores[20:, 1] = 1, 1
    return met, really, scores, ["Alien: Two", "Private Parts", "Ran", "Alien: One"]


def test_twenty_are_found_in_each_way(forty):
    met, really, scores, names = forty
    met[:, 0] = 0
    rows = tour.twenty({"text": scores}, met, really, names, film=0, least=5)
    assert list(rows) == ["20 drawn users", "who watch most", "most Alien films", "score: text"]
    assert [sum(rows[name].hits) for name in rows][1:] == [0, 10, 20] and len(rows["20 drawn users"].hits) == 20
    assert rows["20 drawn users"].mean == pytest.approx(10), "half of the users watch each of the two films"
    assert rows["who watch most"].mean == pytest.approx(10) and rows["score: text"].mean == pytest.approx(10)
    assert np.isnan(rows["most Alien films"].mean)


def test_films_are_named_for_which_the_score_finds_fewer(forty):
    met, really, scores, names = forty
    text = tour.by_film(scores, met, really, names, least=5)
    assert text == "2 films, score against who watch most: more in 1, equal in 0, fewer in 1: Private Parts (0 and 20)"


def test_seen_films_of_a_series_and_what_to_trust(split):
    met = tour.watched(split.train, split.dataset)
    star = tour.seen(met, tour.titles(split.dataset), "The God")
    assert star.tolist() == [1, 0, 1, 0]
    assert tour.fan(split.dataset, 2, star) == "user 3, who has seen 1 of 6 older, not hidden Star Trek films"
    ways = {"highest score": [0, 2], "who watch most": [1]}
    text = tour.trust(torch.zeros(4), torch.tensor([1.0, 0, 0, 0]), star, ways)
    assert text.splitlines() == [
        "older Star Trek films seen: highest score 1.0, who watch most 0.0, all users 0.5",
        "all users: mean p 0.50, did watch 0.25",
    ]


def test_one_list_of_hidden_films_and_its_ndcg(split):
    scores = torch.zeros(4, 6)
    scores[3, 4] = 1
    assert tour.one_list(split, scores, 4) == (["Ran", "Heat"], [True, True], 2)
    assert tour.one_list(split, scores, 1)[1:] == ([False, False], 0)
    really = tour.watched(split.test, split.dataset)
    assert tour.ndcg({"right": scores}, really) == {"right": pytest.approx(1)}


def test_a_paired_difference_is_that_of_the_means_and_may_be_negative():
    really = torch.zeros(30, 12)
    really[:20, :3] = 1  # 20 of 30 users have watched some of the 3 films
    really[::2, 0] = 0
    models = {"bad": -really + torch.arange(12.0) / 100, "good": really}
    means = tour.ndcg(models, really)
    head, line = tour.paired(models, "bad", "good", {"these": really}).splitlines()
    low, high = map(float, line.partition("[")[2].partition("]")[0].split(", "))
    assert head == "bad minus good" and line.startswith(f"these: {means['bad'] - means['good']:+.3f}, other users [")
    assert low < means["bad"] - means["good"] < high < 0 and line.endswith("(20 users, 3 films)")


def test_biases_of_three_users_and_films():
    ds = klm.load_dataset("movielens-100k")
    b_user, b_film = torch.arange(943.0)[:, None].requires_grad_(), torch.arange(1682.0)
    c, users, films = tour.some_biases(ds, torch.tensor(-2.5), b_user, b_film)
    assert c == -2.5 and users == {"user 1": 0, "user 45": 44, "user 405": 404}
    assert films["Toy Story"] == 0 and films["Santa with Muscles"] == tour.titles(ds).index("Santa with Muscles")


def test_the_stored_folds_say_what_the_tour_says():
    runs = kept.load(course.stored("which_facts.json"))
    differences, gains = tour.beside(runs, tour.PAIRS)
    assert list(differences) == [*tour.PAIRS] == list(gains) and len(differences) == 10
    assert (differences["text"] > 0).all(), "exercise 0.3, c"
    low = {name: min(gain[1:]) for name, gain in gains.items()}
    assert low.pop("text and wrong facts") < 0 < min(low.values()), "exercise 0.3, a and d: no line reaches 0"
    assert [round(gains[name][0], 3) for name in ("both minus text", "both minus facts")] == [0.03, 0.026]
    assert "genre, year 0.365, text and facts 0.424" in tour.said(runs, gains)
    same = kept.load(course.stored("facts.json"))  # its fold 0 is of seed 0, as the tour
    assert "seed 0 |" in same.protocol and "seed 1 |" in runs.protocol
    assert [round(value, 3) for value in tour.first_fold(same).values()] == [0.329, 0.336]


def test_a_low_guess_is_right_with_a_remark(capsys):
    exercises.ch00.check_guess(lambda users: [3, 14, 17])
    assert "(your first is below 8" in capsys.readouterr().out
    exercises.ch00.check_guess(exercises.ch00.guess)
    assert "below" not in capsys.readouterr().out


def test_what_exercise_0_3_says_of_facts_and_text_is_stored():
    (gain,) = kept.load(course.stored("which_facts.json")).gains(("facts", "text")).values()
    value, low, high, film_low, film_high = (round(end, 3) for end in gain)
    text = exercises.ch00.SENTENCES["b"]
    assert f"is {value:+}: other users [{low}, {high}], other films too [{film_low}, {film_high}]" in text
