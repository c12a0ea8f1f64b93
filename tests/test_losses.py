"""Each loss against torch's own, each hand-written gradient against autograd and central differences."""

import pytest
import torch
from torch.nn import functional as F

from klm_utils import losses
from klm_utils.errors import ConfigError

PAIRS = {
    "bce": (losses.bce_with_logits, losses.bce_with_logits_grad, F.binary_cross_entropy_with_logits),
    "squared": (losses.squared_error, losses.squared_error_grad, F.mse_loss),
}
REDUCTIONS = ("mean", "sum", "none")


def naive_bce(z, y):
    """The textbook form, which needs log p and log(1 - p)."""
    p = torch.sigmoid(z)
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p))


@pytest.fixture(params=["bce", "squared"])
def pair(request):
    return PAIRS[request.param]


@pytest.fixture
def data():
    draw = torch.Generator().manual_seed(0)
    z = 3 * torch.randn(5, 4, generator=draw, dtype=torch.float64)
    return z, torch.rand(5, 4, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_value_is_that_of_torch(pair, data, reduction):
    loss, _, reference = pair
    torch.testing.assert_close(loss(*data, reduction), reference(*data, reduction=reduction), rtol=1e-12, atol=1e-12)
    assert loss(*data, reduction).shape == (data[0].shape if reduction == "none" else ())


def test_mean_is_the_default(pair, data):
    loss, grad, _ = pair
    assert loss(*data) == loss(*data, "mean") != loss(*data, "sum")
    assert torch.equal(grad(*data), grad(*data, "mean")) and not torch.equal(grad(*data), grad(*data, "sum"))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_is_that_of_autograd(pair, data, reduction):
    loss, grad, _ = pair
    z = data[0].clone().requires_grad_()
    loss(z, data[1], reduction).sum().backward()
    torch.testing.assert_close(grad(*data, reduction), z.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("z", [-1e4, -30.0, 0.0, 30.0, 1e4])
@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
def test_autograd_agrees_where_max_and_abs_have_a_corner_and_at_the_ends(pair, z, y):
    """A score is exactly 0 when the weights start at 0: there max(z, 0) - y z + log1p(exp(-|z|)) has 1 - y."""
    loss, grad, _ = pair
    z, y = torch.tensor([z], dtype=torch.float64, requires_grad=True), torch.tensor([y], dtype=torch.float64)
    loss(z, y).backward()
    torch.testing.assert_close(z.grad, grad(z.detach(), y), rtol=0, atol=1e-10)


def test_the_corner_is_real():
    z = torch.zeros(1, requires_grad=True)
    (z.clamp_min(0) - z + torch.log1p(torch.exp(-z.abs()))).sum().backward()
    assert z.grad.item() == 0, "y = 1: the true gradient is -1/2"


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_is_that_of_central_differences(pair, data, reduction):
    loss, grad, _ = pair
    (z, y), h = data, 1e-5
    found = torch.zeros_like(z)
    for at in range(z.numel()):
        step = torch.zeros_like(z).view(-1)
        step[at] = h
        step = step.view_as(z)
        found.view(-1)[at] = (loss(z + step, y, reduction).sum() - loss(z - step, y, reduction).sum()) / (2 * h)
    torch.testing.assert_close(grad(z, y, reduction), found, rtol=1e-7, atol=1e-9)


def test_no_logit_overflows():
    z, y = torch.tensor([1e4, 1e4, -1e4, -1e4]), torch.tensor([1.0, 0.0, 1.0, 0.0])
    assert losses.bce_with_logits(z, y, "none").tolist() == [0, 1e4, 1e4, 0]
    assert losses.bce_with_logits_grad(z, y, "none").tolist() == [0, 1, -1, 0]
    assert not naive_bce(z, y).isfinite().any(), "the naive form should fail here"
    z.requires_grad_()
    losses.bce_with_logits(z, y).backward()
    assert z.grad.isfinite().all()


def test_the_two_forms_are_one_number_in_the_middle(data):
    torch.testing.assert_close(losses.bce_with_logits(*data, "none"), naive_bce(*data), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("function", [function for pair in PAIRS.values() for function in pair[:2]])
@pytest.mark.parametrize("reduction", ["average", None, "Mean", 1])
def test_unknown_reduction(function, data, reduction):
    with pytest.raises(ConfigError, match="reduction") as caught:
        function(*data, reduction)
    assert caught.value.found == reduction and "'none'" in caught.value.expected
