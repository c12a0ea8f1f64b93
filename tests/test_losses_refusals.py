"""A loss that is no number, or of what is no tensor, is told and not returned."""

import numpy as np
import pytest
import torch
from test_losses import FUNCTIONS, REDUCTIONS, case, normal

from klm_utils import losses
from klm_utils.errors import ConfigError


@pytest.fixture(params=FUNCTIONS)
def one(request):
    return case(request.param)


@pytest.mark.parametrize("wrong", [[0.5, 1.0], np.zeros(2), "a"], ids=["a list", "numpy", "text"])
def test_what_is_no_tensor_is_told(one, wrong):
    """In the place of each argument, the weight too."""
    loss, grad, _, args, options = one
    for f in (loss, grad):
        for place in range(len(args)):
            with pytest.raises(ConfigError, match="expected: a tensor"):
                f(*args[:place], wrong, *args[place + 1 :], **options)
        for name in ("weight", *options):
            with pytest.raises(ConfigError, match=f"where: +{name}\n(?s:.*)a tensor"):
                f(*args, **options | {name: wrong})


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_loss_that_is_no_number_is_told(one, reduction):
    loss, grad, _, args, options = one
    scores = args[0].clone()
    scores.view(-1)[0] = torch.nan
    for f in (loss, grad):
        with pytest.raises(ConfigError, match=r"no number(?s:.*)1 nan"):
            f(scores, *args[1:], reduction=reduction, **options)
        with pytest.raises(ConfigError, match="no number"):
            f(scores.requires_grad_(), *args[1:], reduction=reduction, **options)
    weight = torch.ones(len(args[0]), dtype=torch.float64)
    weight[0] = 0
    if args[0].ndim == 1:
        with pytest.raises(ConfigError, match="no number"):
            loss(scores, *args[1:], weight=weight, **options)


def test_targets_that_are_no_number_are_told():
    z, nan = normal(3), torch.tensor([0.0, torch.nan, 1.0])
    for f in (losses.squared_error, losses.squared_error_grad, losses.bpr, losses.bpr_grad):
        with pytest.raises(ConfigError, match="no number"):
            f(z, nan)
    for f in (losses.sampled_softmax, losses.sampled_softmax_grad):
        with pytest.raises(ConfigError, match="no number"):
            f(normal(2, 3), float("nan"))
        with pytest.raises(ConfigError, match="no number"):
            f(torch.full((1, 3), -torch.inf))


def test_of_nothing_there_is_a_sum_but_no_mean():
    z, y = torch.zeros(0), torch.zeros(0)
    assert losses.bce_with_logits(z, y, "sum") == 0 and losses.bce_with_logits(z, y, "none").shape == (0,)
    for call in (
        lambda: losses.bce_with_logits(z, y),
        lambda: losses.bpr(z, y),
        lambda: losses.cross_entropy(torch.zeros(0, 3), y.long()),
        lambda: losses.sampled_softmax(torch.zeros(0, 3)),
    ):
        with pytest.raises(ConfigError, match="of 0 scores"):
            call()


def test_an_infinite_score_that_has_a_loss_is_let_through():
    """A thing out of the choice; a pair that is decided."""
    z = torch.tensor([[0.0, -torch.inf, 1.0]])
    assert torch.isfinite(losses.cross_entropy(z, torch.tensor([0])))
    assert losses.bpr(torch.zeros(1), torch.tensor([-torch.inf])) == 0


def test_scores_of_a_network_may_become_nan_and_the_loss_shows_it():
    """`klm.fit` sees that the loss of an epoch is no longer finite, and says which lr to lower."""
    w = torch.tensor([torch.inf], requires_grad=True)
    assert losses.bce_with_logits(0 * w, torch.ones(1)).isnan()


@pytest.mark.parametrize("hits", [[[0.0, 0.5, 0.0]], [[0, 2, 0]], [[0, -1, 0]]])
def test_a_hit_is_yes_or_no(hits):
    for f in (losses.sampled_softmax, losses.sampled_softmax_grad):
        with pytest.raises(ConfigError, match="True or False"):
            f(torch.zeros(1, 3), hits=torch.tensor(hits))
    with_ints, with_bools = (
        losses.sampled_softmax(torch.ones(1, 3), hits=torch.tensor([[0, 1, 0]]).to(kind))
        for kind in (torch.int64, torch.bool)
    )
    assert with_ints == with_bools


@pytest.mark.skipif(not torch.cuda.is_available(), reason="wants an accelerator")
def test_in_training_on_an_accelerator_wrong_values_make_the_loss_nan():
    """To look at them would make each step wait for the device."""
    z, y = torch.ones(2, device="cuda", requires_grad=True), torch.tensor([0.0, 5.0], device="cuda")
    assert losses.bce_with_logits(2 * z, y).isnan() and losses.bce_with_logits(2 * z, y.clamp(0, 1)).isfinite()
    assert losses.squared_error(2 * z, y, weight=-y).isnan()
    with pytest.raises(ConfigError, match="from 0 to 1"):
        losses.bce_with_logits(z, y)


def test_a_training_step_on_an_accelerator_waits_for_no_value(one):
    """On the device "meta" there are none to look at."""
    loss, _, _, args, options = one
    args, weight = [a.to("meta") for a in args], torch.ones(len(args[0]), device="meta")
    options = {name: value.to("meta") for name, value in options.items()}
    z = 2 * args[0].requires_grad_()
    assert loss(z, *args[1:], weight=weight, **options).device.type == "meta"
    with pytest.raises((RuntimeError, NotImplementedError)):
        loss(args[0].detach(), *args[1:], weight=weight, **options)
