"""Losses of a score z, each with the gradient that autograd must find, written by hand."""

import torch
from torch.nn.functional import logsigmoid

from klm_utils.errors import ConfigError, check_choice


def bce_with_logits(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Negative log-likelihood of y in {0, 1} (or a target in [0, 1]) under p = sigmoid(z).

    l = max(z, 0) - y z + log(1 + exp(-|z|)), which no z overflows; -[y log p + (1 - y) log(1 - p)] is the same number
    as long as p is neither 0 nor 1 in floating point.

    Args:
        z: logits, any shape.
        y: targets, the same shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ConfigError: another reduction; z and y of different shapes, which torch would pair up all with all.
    """
    _check(z, y, reduction)
    # logsigmoid(z) = min(z, 0) - log(1 + exp(-|z|)); from max and abs autograd finds 1 - y at z = 0, not 1/2 - y
    return _reduced((1 - y) * z - logsigmoid(z), reduction)


def bce_with_logits_grad(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Gradient of `bce_with_logits` in z: sigmoid(z) - y, over the number of elements for "mean". Shape of z."""
    _check(z, y, reduction)
    return _shared(torch.sigmoid(z) - y, reduction)


def squared_error(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """(z - y)^2: the negative log-likelihood of a Gaussian with mean z, up to constants. Shapes as above."""
    _check(z, y, reduction)
    return _reduced((z - y) ** 2, reduction)


def squared_error_grad(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Gradient of `squared_error` in z: 2 (z - y), over the number of elements for "mean". Shape of z."""
    _check(z, y, reduction)
    return _shared(2 * (z - y), reduction)


def _reduced(loss: torch.Tensor, reduction: str) -> torch.Tensor:
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def _shared(grad: torch.Tensor, reduction: str) -> torch.Tensor:
    return grad / grad.numel() if reduction == "mean" else grad


def _check(z: torch.Tensor, y: torch.Tensor, reduction: str) -> None:
    check_choice("reduction", reduction, ("mean", "sum", "none"))
    if z.shape != y.shape:
        raise ConfigError(
            "scores and targets differ in shape",
            where="z, y",
            found=(tuple(z.shape), tuple(y.shape)),
            expected="one target for each score",
            remedy="reshape one of them, for example y.reshape(z.shape)",
        )
