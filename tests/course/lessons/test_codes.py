"""Codes say what they should, and the speller gives each item the probability of its way down the tree."""

import numpy as np
import pytest
import torch

from klm_utils.course.lessons import codes as lesson


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    groups, inner = np.repeat(np.eye(4) * 10, 10, 0), np.tile(np.eye(4)[:2] * 2, (20, 1))
    return groups + inner + 0.01 * rng.normal(size=(40, 4))


def test_the_first_code_is_the_group_and_the_second_what_is_left(vectors):
    codes = lesson.residual_codes(vectors, np.ones(40, dtype=bool), size=4, levels=2)
    firsts = codes[:, 0].reshape(4, 10)
    assert (firsts == firsts[:, :1]).all() and len(set(firsts[:, 0])) == 4
    even, odd = (set(map(tuple, codes[kind::2])) for kind in (0, 1))
    assert not even & odd, "the two kinds in each group"


def test_the_centres_know_nothing_of_new_items(vectors):
    known = np.arange(40) < 30
    moved = vectors.copy()
    moved[~known] += 100
    codes = lesson.residual_codes(vectors, known, size=3)
    assert (lesson.residual_codes(moved, known, size=3)[known] == codes[known]).all()


def test_how_many_collide_and_how_many_can_be_reached():
    codes = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [0, 1], [2, 0]])
    found = lesson.sharing(codes, np.array([True, True, True, True, False, False]))
    assert found == {"known that collide": 0.5, "new that can be reached": 0.5}
    assert sorted(map(tuple, lesson.dealt(codes))) == sorted(map(tuple, codes))
    assert lesson.drawn(6, 4).shape == (6, 3) and lesson.drawn(6, 4).max() < 4


@pytest.fixture(scope="module")
def speller():
    codes = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [0, 1], [2, 0], [1, 0]])
    known = np.array([True, True, True, True, False, False, False])
    return lesson.Speller(list("abcdefg"), codes, known, width=8, length=4, dropout=0.0), known


def test_all_known_items_have_probability_one_in_all(speller):
    model, known = speller
    states, table = model(torch.tensor([[0, 3], [2, 1]]), model.table())[:, -1], model.table()
    p = model.scores(states, table).exp()
    assert p[:, known].sum(1).tolist() == pytest.approx([1.0, 1.0])
    assert torch.equal(p[:, 0], p[:, 1]), "they share a code"
    assert torch.equal(p[:, 4], p[:, 2]), "a new item is as likely as the known one of its code"
    assert p[:, 5:].max() == 0, "and no item at all if nobody has its code, or only a part of it"


def test_what_it_learns_by_is_what_it_says(speller):
    model, known = speller
    states, table = torch.randn(4, 8), model.table()
    target = torch.arange(4)
    log_p = model.scores(states, table)[target, target]
    torch.testing.assert_close(model.surprise(states, table, target, torch.from_numpy(known)), -log_p)


def test_a_history_is_its_codes_and_nothing_else(speller):
    model, _ = speller
    assert np.array_equal(model.predict([["a", "d"]]), model.predict([["b", "d"]]))
    assert not np.array_equal(model.predict([["a", "d"]]), model.predict([["c", "d"]]))
