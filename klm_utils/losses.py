"""Losses of a score z, each with the gradient that autograd must find, written by hand."""

import torch

from klm_utils.errors import ConfigError


def bce_with_logits(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Negative log-likelihood of y in {0, 1} (or a target in [0, 1]) under p = sigmoid(z).

    l = max(z, 0) - y z + log(1 + exp(-|z|)), which no z overflows; -[y log p + (1 - y) log(1 - p)] is the same number
    as long as p is neither 0 nor 1 in floating point.

    Args:
        z: logits, any shape.
        y: targets, the same shape.
        reduction: "mean", "sum" or "none".
    """
    return _reduced(z.clamp_min(0) - y * z + torch.log1p(torch.exp(-z.abs())), reduction)


def bce_with_logits_grad(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Gradient of `bce_with_logits` in z: sigmoid(z) - y, over the number of elements for "mean". Shape of z."""
    return _shared(torch.sigmoid(z) - y, reduction)


def squared_error(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """(z - y)^2: the negative log-likelihood of a Gaussian with mean z, up to constants. Shapes as above."""
    return _reduced((z - y) ** 2, reduction)


def squared_error_grad(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Gradient of `squared_error` in z: 2 (z - y), over the number of elements for "mean". Shape of z."""
    return _shared(2 * (z - y), reduction)


def _reduced(loss: torch.Tensor, reduction: str) -> torch.Tensor:
    _check(reduction)
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


def _shared(grad: torch.Tensor, reduction: str) -> torch.Tensor:
    _check(reduction)
    return grad / grad.numel() if reduction == "mean" else grad


def _check(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ConfigError(
            "no such reduction",
            where="reduction",
            found=reduction,
            expected="'mean', 'sum' or 'none'",
            remedy="leave it out for the mean",
        )
