"""`compare` finds a wrong gradient, and only a wrong one."""

import pytest
import torch

from klm_utils import losses
from klm_utils.errors import ConfigError
from klm_utils.gradients import compare, differences

DRAW = torch.Generator().manual_seed(0)
N, D = 5, 3
X = torch.randn(N, D, generator=DRAW, dtype=torch.float64)
W = torch.randn(D, D, generator=DRAW, dtype=torch.float64)
Y = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0], dtype=torch.float64)


def loss(w, x, y):
    """Mean cross-entropy of z = x w 1, for a square matrix w, so that a transposed gradient has the right shape."""
    return losses.bce_with_logits((x @ w @ FACTORS), y)


FACTORS = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def grad(w, x, y):
    error = torch.sigmoid(x @ w @ FACTORS) - y
    return (x.T @ error)[:, None] * FACTORS / len(y)


def sigmoid_forgotten(w, x, y):
    return (x.T @ (x @ w @ FACTORS - y))[:, None] * FACTORS / len(y)


def errors(w, x, y):
    return torch.sigmoid(x @ w @ FACTORS) - y


MUTATIONS = {
    "sign": lambda w, x, y: -grad(w, x, y),
    "missing factor": lambda w, x, y: grad(w, x, y) * len(y),
    "factor of two": lambda w, x, y: 2 * grad(w, x, y),
    "transposed": lambda w, x, y: grad(w, x, y).T,
    "detached": lambda w, x, y: torch.zeros_like(w),
    "off by one": lambda w, x, y: grad(w, x, y).roll(1, 0),
    "relative error of 1e-3": lambda w, x, y: grad(w, x, y) * 1.001,
    "relative error of 1e-5": lambda w, x, y: grad(w, x, y) * (1 + 1e-5),
    "one element": lambda w, x, y: grad(w, x, y) + 1e-7 * torch.eye(D, dtype=w.dtype),
    "sigmoid forgotten": sigmoid_forgotten,
    "sigma' forgotten": lambda w, x, y: grad(w, x, (y - errors(w, x, y) / torch.sigmoid(x @ w @ FACTORS))),
    "label and prediction swapped": lambda w, x, y: grad(w, x, 2 * torch.sigmoid(x @ w @ FACTORS) - y),
    "one row left out": lambda w, x, y: grad(w, x[:-1], y[:-1]) * (N - 1) / N,
    "nan": lambda w, x, y: grad(w, x, y) * torch.nan,
    "broadcast": lambda w, x, y: grad(w, x, y).sum(0),
    "nothing": lambda w, x, y: None,
}


def test_the_right_gradient_agrees_in_every_row():
    found = compare(loss, {"by hand": grad, "as a tensor": grad(W, X, Y)}, W, X, Y)
    assert found.ok and [row[0] for row in found.rows] == ["by hand", "as a tensor", "autograd"]
    assert all(row[1] < 1e-9 and row[2] < 1e-6 for row in found.rows)
    assert list(found.frame.columns) == ["max_abs", "max_rel", "ok"] and "by hand" in str(found)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_gradient_is_caught(name):
    found = compare(loss, {"right": grad, "wrong": MUTATIONS[name]}, W, X, Y)
    assert not found.ok and dict(zip(found.frame.index, found.frame["ok"], strict=True)) == {
        "right": True,
        "wrong": False,
        "autograd": True,
    }


@pytest.mark.parametrize("name", ["nan", "broadcast", "nothing"])
def test_what_is_no_gradient_is_infinitely_far_off(name):
    assert compare(loss, MUTATIONS[name], W, X, Y).frame.loc["by hand", "max_abs"] == float("inf")


@pytest.mark.parametrize(
    "cut",
    [
        lambda w, x, y: loss(w.detach(), x, y),
        lambda w, x, y: loss(w, x, y) + loss(w.detach(), x, y),
        lambda w, x, y: torch.tensor(loss(w, x, y).item(), dtype=torch.float64),
    ],
    ids=["all of it", "half of it", "through a number"],
)
def test_a_cut_graph_is_caught_though_the_hand_is_right(cut):
    factor = 2 if cut(W, X, Y) > 1.5 * loss(W, X, Y) else 1
    found = compare(cut, lambda *args: factor * grad(*args), W, X, Y)
    assert [row[-1] for row in found.rows] == [True, False], "differences see the function, autograd the graph"


def test_float32_and_whole_numbers():
    assert compare(loss, grad, W.float(), X.float(), Y.long()).ok


def test_nothing_is_changed():
    w, x = W.clone(), X.clone()

    def careless(w, x, y):
        value = loss(w, x.clone(), y)
        x.zero_()
        w.detach().zero_()
        return value

    def careless_grad(w, x, y):
        value = grad(w, x, y)
        w.zero_(), x.zero_()
        return value

    assert compare(careless, {"one": careless_grad, "two": careless_grad}, w.requires_grad_(), x, Y).ok
    assert torch.equal(w, W) and torch.equal(x, X) and w.grad is None


def test_differences_of_a_cubic():
    x = torch.tensor([[-2.0, 0.0], [1.0, 30.0]], dtype=torch.float64)
    torch.testing.assert_close(differences(lambda x: (x**3).sum(), x), 3 * x**2, rtol=1e-8, atol=1e-5)
    torch.testing.assert_close(differences(lambda x: (2 * x).sum(), x), torch.full_like(x, 2.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("f", "tensors", "message"),
    [
        (loss, (), "something to differentiate"),
        (loss, (torch.ones(3, dtype=torch.long),), "something to differentiate"),
        (loss, (1.0,), "something to differentiate"),
        (lambda w: w, (W,), "no gradient"),
        (lambda w: 1.0, (W,), "no gradient"),
        (lambda w: w.sum() * torch.inf, (W,), "no gradient"),
        (lambda w: (w * torch.rand(D)).sum(), (W,), "another number at each call"),
        (lambda w: (w - W).square().sum(), (W,), "or 0, everywhere"),
        (lambda w: 1.5e-9 * w.sum(), (W,), "so small"),
        (lambda w: w.abs().sum(), (W[:0],), "something to differentiate"),
        (lambda w: w.log().sum(), (torch.tensor([1e-6, 0.5], dtype=torch.float64),), "not finite beside x"),
    ],
)
def test_what_cannot_be_compared(f, tensors, message):
    with pytest.raises(ConfigError, match=message):
        compare(f, lambda *args: args[0], *tensors)


WRONG_LIMITS = [0, -1, "a", None, float("nan"), float("inf"), True]


@pytest.mark.parametrize(
    "options", [{name: value} for name in ("rtol", "atol") for value in WRONG_LIMITS] + [{"rtol": 1}]
)
def test_limits_that_let_nothing_or_all_pass(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        compare(loss, grad, W, X, Y, **options)


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda: compare(None, grad, W, X, Y), r"compare\(f\)"),
        (lambda: compare(W, grad, W, X, Y), r"compare\(f\)"),
        (lambda: compare(loss, None, W, X, Y), r"compare\(grads\), by hand"),
        (lambda: compare(loss, grad(W, X, Y).numpy(), W, X, Y), r"compare\(grads\), by hand"),
        (lambda: compare(loss, [grad], W, X, Y), r"compare\(grads\), by hand"),
        (lambda: compare(loss, {"right": grad, "left out": None}, W, X, Y), r"compare\(grads\), left out"),
        (lambda: compare(loss, grad, [W, X, Y]), r"compare\(tensors\)"),
        (lambda: compare(loss, grad, W.numpy(), X.numpy(), Y.numpy()), r"compare\(tensors\)"),
        (lambda: compare(loss, grad, None), r"compare\(tensors\)"),
        (lambda: differences(None, W), r"differences\(f\)"),
        (lambda: differences(lambda x: x, [1.0, 2.0]), r"differences\(x\)"),
        (lambda: differences(lambda x: x, W.numpy()), r"differences\(x\)"),
    ],
)
def test_arguments_of_the_wrong_kind_are_told_and_not_called_a_wrong_gradient(call, where):
    with pytest.raises(ConfigError, match=rf"where: +{where}"):
        call()


def test_the_name_autograd_is_taken():
    with pytest.raises(ConfigError, match="autograd"):
        compare(loss, {"autograd": MUTATIONS["sign"]}, W, X, Y)


def test_differences_want_double_precision():
    with pytest.raises(ConfigError, match="float64"):
        differences(lambda x: x.sum(), torch.zeros(2))
