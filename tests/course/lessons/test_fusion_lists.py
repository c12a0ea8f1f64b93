"""Notebook 03: lists that joined vectors give, the seven ways of exercise 3.1, and who agrees with whom."""

import numpy as np
import pytest
import torch

import klm_utils as klm
from klm_utils.course.exercises import ch03
from klm_utils.course.lessons import fusion_boxes as boxes
from klm_utils.course.lessons import fusion_lists as lists
from klm_utils.evaluation import experiment


@pytest.fixture(scope="module")
def drawn(split, encoder):
    return boxes.small(split, encoder, epochs=2, rows=200, steps=5)


def ways(width, seed):
    """Seven ways to score a film [n, width] for a person [n, width], with random weights; [n]."""
    torch.manual_seed(seed)
    linear, wider = torch.nn.Linear(2 * width, 1), torch.nn.Linear(3 * width, 1)
    deep = torch.nn.Sequential(torch.nn.Linear(2 * width, 64), torch.nn.Linear(64, 1))
    mlp = torch.nn.Sequential(torch.nn.Linear(2 * width, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    bent = [torch.nn.Sequential(torch.nn.Linear(width, 64), torch.nn.ReLU()) for _ in range(2)]
    last = torch.nn.Linear(128, 1)
    return {
        "a: linear([film; person])": lambda i, u: linear(torch.cat([i, u], -1))[..., 0],
        "b: two linear layers": lambda i, u: deep(torch.cat([i, u], -1))[..., 0],
        "c: sigmoid of the linear layer": lambda i, u: linear(torch.cat([i, u], -1))[..., 0].sigmoid(),
        "d: linear, ReLU, linear (MLP)": lambda i, u: mlp(torch.cat([i, u], -1))[..., 0],
        "e: linear([film; person; film * person])": lambda i, u: wider(torch.cat([i, u, i * u], -1))[..., 0],
        "f: film · person": lambda i, u: (i * u).sum(-1),
        "g: linear([ReLU(A film); ReLU(B person)])": lambda i, u: last(torch.cat([bent[0](i), bent[1](u)], -1))[..., 0],
    }


def test_the_joined_layer_is_a_sum_and_gives_one_order(drawn, split, ds):
    films, people = lists.vectors(drawn.model)
    weight, bias = lists.joined_fit(films, people, drawn.model, split)
    a, b = ch03.additive(weight, bias, films, people)
    scores = a + b[:4, None]
    assert min(lists.kendall(scores)) == 1.0
    users, items = drawn.model.positions(split.train["user_id"], split.train["item_id"])
    error = torch.tensor(split.train["rating"].to_numpy()) - a[items] - b[users]
    assert abs(error.mean()) < 1e-6, "least squares with a bias"
    assert [len(own) for own in lists.best(scores, np.arange(10), ds, k=3)] == [3] * 4


def test_the_seven_ways_are_what_the_exercise_says():
    torch.manual_seed(0)
    films, people = torch.randn(50, 8), torch.randn(4, 8)
    same = ""
    for name, way in ways(8, seed=0).items():
        scores = torch.stack([way(films, one.expand(50, -1)) for one in people])
        same += name[0] if min(lists.kendall(scores)) > 0.999 else ""
    assert same == ch03.SAME_FOR_ALL


def test_titles_are_written_as_people_write_them(movielens):
    found = lists.titles(movielens)
    assert found.iloc[lists.place(movielens, "The Godfather")] == "The Godfather"
    assert set(lists.PEOPLE) <= set(movielens.users.index)
    writer = movielens.users.loc[548]
    assert lists.PEOPLE[548] == f"{writer['occupation']}, {writer['age']}"


def test_rated_counts_what_the_same_person_has_rated(movielens):
    cut = klm.split(movielens, "random", seed=0)
    person = lists.PEOPLE[548]
    assert lists.rated({person: ["Alien", "Aladdin"], lists.PEOPLE[38]: ["Alien", "Aladdin"]}, cut) == 2


def test_agreements_are_those_of_the_lists_of_the_items_of_test(drawn, split):
    runs = experiment.run({"dot": lambda cut, seed: drawn.model}, split, n_boot=10)
    (taus,) = lists.agreements(runs, people=3).values()
    users = drawn.model.users[np.random.default_rng(0).choice(len(drawn.model.users), 3, replace=False)[:2]]
    scores = drawn.model.predict_grid(users, split.test["item_id"].unique())
    assert len(taus) == 3 and taus[0] == pytest.approx(lists.kendall(torch.tensor(scores))[0], abs=0.01)
