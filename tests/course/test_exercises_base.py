import random

import numpy as np
import pytest
import torch

from klm_utils.course.exercises import attempt, has_nan, head, is_zero, same, shape, verdict

ERROR = attempt(lambda: 1 / 0)
VALUES = [1.5, [1.0, 2.0], np.array([1.0, 2.0]), torch.tensor([[1.0, 2.0]]), True, "text", None]


def test_attempt_gives_the_value_or_the_exception():
    assert attempt(lambda a, b: a + b, 1, b=2) == 3
    assert isinstance(ERROR, ZeroDivisionError)
    with pytest.raises(KeyboardInterrupt):
        attempt(lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_attempt_lets_nothing_of_the_learner_leak():
    def careless(x, xs):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        x += 1
        xs.append(1)
        return torch.rand(1), np.random.rand(), random.random()

    x, xs = torch.zeros(2), []
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    attempt(careless, x, xs)
    assert before[:2] == (random.getstate(), np.random.get_state()[1].tolist())
    assert torch.equal(before[2], torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    assert x.eq(0).all() and xs == [], "the arguments are copies"


def test_verdict_says_the_first_wrong_thing(capsys):
    verdict([(False, "a"), (True, "b is off"), (True, "c")])
    assert capsys.readouterr().out == "not yet: b is off\n"
    verdict([(True, "not done yet: this is the stub")])
    assert capsys.readouterr().out == "not done yet: this is the stub\n"
    verdict([(False, "a")], done="padding no longer matters")
    assert capsys.readouterr().out == "[OK] padding no longer matters\n"


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_the_same_as_itself_and_as_no_other(value):
    assert same(value, value)
    assert not same(value, ERROR) and not same(ERROR, value)
    assert (value is None) == same(value, None)
    assert not same(value, np.array([1.0, 2.5, 3.0]))


def test_same_compares_numbers_within_a_tolerance_across_libraries():
    assert same(torch.tensor([1.0, 2.0]), np.array([1.0, 2.0 + 1e-6]))
    assert same([torch.tensor(1.0), torch.tensor(2.0)], [1, 2])
    assert same(torch.tensor([1.0], dtype=torch.bfloat16), [1.0])
    assert same(torch.ones(2, requires_grad=True), np.ones(2))
    assert not same(np.array([1.0, 2.0]), np.array([1.0, 2.001]))
    assert not same(np.ones((2, 1)), np.ones(2)), "no broadcasting"
    assert not same(np.array([np.nan]), np.array([np.nan]))
    assert not same([[1, 2], [3]], [1, 2]), "ragged lists"
    assert not same(ERROR, ERROR)


def test_small_questions():
    assert has_nan(torch.tensor([0.0, float("nan")])) and not has_nan([1.0])
    assert is_zero(np.zeros((2, 2))) and is_zero(0) and not is_zero([0.0, 1e-9]) and not is_zero([])
    for value in (None, ERROR, "text"):
        assert not has_nan(value) and not is_zero(value)
    assert not is_zero(float("nan"))
    assert shape(torch.ones(2, 3)) == (2, 3) and shape(1.0) == () and shape(ERROR) is shape(None) is None


def test_head_says_what_came():
    assert head(torch.arange(5.0)) == "[0, 1, 2, ...] of shape (5,)"
    assert head(np.array([[1.23456789]])) == "[1.23457] of shape (1, 1)"
    assert head(0.5) == "0.5" and head(None) == "None" and head("text") == "'text'"
    assert head("x" * 200).endswith("...") and len(head("x" * 200)) == 80
    assert head(ValueError("bare")) == "ValueError: bare"


CELL = """
def learner(x):
    y = x + 1
    return y + undefined


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(2, 3)

    def forward(self, x):
        return self.map(x)
"""


def test_an_exception_names_the_line_of_the_notebook_or_none():
    cell = {"__name__": "__main__", "torch": torch}
    exec(compile(CELL, "a cell", "exec"), cell)
    assert head(attempt(cell["learner"], 1)) == "NameError: name 'undefined' is not defined (line 4 of your cell)"
    block = cell["Block"]()
    through_the_checker = attempt(lambda: block(torch.ones(4, 5)))  # checker, torch, the learner's forward, torch
    assert head(through_the_checker).endswith("(line 13 of your cell)")
    assert "line" not in head(attempt(cell["learner"])), "too few arguments: no line of the cell ran"
    assert "line" not in head(attempt(torch.ones(2).reshape, 3)), "a library alone"
