"""`compare`: several ways to one gradient, side by side."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
import torch

from klm_utils.errors import ConfigError, check_kind, check_number

AUTOGRAD = "autograd"
STEP = torch.finfo(torch.float64).eps ** (1 / 3)  # where the error of the formula meets that of the arithmetic


@dataclass(frozen=True)
class Comparison:
    """Each gradient against central differences.

    rows: (name, max_abs, max_rel, ok) for each; max_abs is the largest |difference|, max_rel the largest
        |difference| / (|true value| + atol / rtol), and ok means that max_rel <= rtol, which is the same as
        |difference| <= atol + rtol |true value| everywhere. A missing gradient, one of another shape or one that is
        not finite has inf in both.
    """

    rows: tuple[tuple[str, float, float, bool], ...]

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return all(row[-1] for row in self.rows)

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a table, by name."""
        return pd.DataFrame(self.rows, columns=["name", "max_abs", "max_rel", "ok"]).set_index("name")

    def __str__(self) -> str:
        return self.frame.to_string(float_format="{:.1e}".format, index_names=False)


def compare(
    f: Callable[..., torch.Tensor],
    grads: Callable | torch.Tensor | Mapping[str, Callable | torch.Tensor],
    *tensors: torch.Tensor,
    rtol: float = 1e-6,
    atol: float = 1e-9,
) -> Comparison:
    """Hold gradients of `f` in its first tensor against central differences in float64; autograd is always a row.

    Args:
        f: the tensors -> one number, the same at each call.
        grads: a gradient in the first tensor, or {name: gradient}: a tensor of its shape, or a function of the tensors
            that returns one.
        tensors: the first one of floating point; all of them are copied, those of floating point as float64.
        rtol, atol: see `Comparison`. Differences in float64 are good to about 1e-10 of the value of `f`, if it computes
            in float64 and its arguments are of the order of 1: take the mean of many losses, not the sum, and scale
            what is large, or a right gradient is not ok.

    Raises:
        ConfigError: no floating-point tensor first; no function `f`; a gradient that is neither tensor nor function,
            or is named "autograd"; limits that let all or nothing pass; `f` gives no single finite number, or another
            one at each call; the gradient nowhere exceeds atol / rtol, so that a wrong one would pass. (An element far
            below that beside larger ones is not checked: it is lost in the differences.)

    Source: Baydin et al. 2018, Automatic differentiation in machine learning: a survey, section 2.1 (differences).
    """
    given = bool(tensors) and all(isinstance(t, torch.Tensor) for t in tensors)
    if not given or not tensors[0].is_floating_point() or not tensors[0].numel():
        kinds, expected = [_kind(t) for t in tensors], "tensors, the first of floating point and not empty"
        remedy = "compare(f, grads, z, y), the tensors one by one; z.double() makes one of whole numbers"
        raise ConfigError("compare needs something to differentiate", "compare(tensors)", kinds, expected, remedy)
    named = grads if isinstance(grads, Mapping) else {"by hand": grads}
    _check_arguments(f, named, rtol, atol)

    def fresh() -> list[torch.Tensor]:
        return [t.detach().to(torch.float64 if t.is_floating_point() else t.dtype, copy=True) for t in tensors]

    def of_first(x: torch.Tensor) -> torch.Tensor:
        return f(x, *fresh()[1:])  # new copies, whatever f did to the last ones

    true = differences(of_first, fresh()[0])
    if not true.abs().max() * rtol > atol:
        what = "the gradient is so small, or 0, everywhere that a wrong one would look right"
        largest, expected = f"largest |value| {true.abs().max():.1e}", f"values above atol / rtol, {atol / rtol:.1e}"
        remedy = "start from random numbers, not from zeros or where the loss is flat; or lower atol"
        raise ConfigError(what, "compare(f)", largest, expected, remedy)
    found = {name: g(*fresh()) if callable(g) else g for name, g in named.items()}
    found[AUTOGRAD] = _autograd(of_first, fresh()[0])
    return Comparison(tuple((name, *_gaps(g, true, rtol, atol)) for name, g in found.items()))


def differences(f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Central differences (f(x + h) - f(x - h)) / 2h for each element of x, with h = 6e-6 max(1, |x|).

    Two calls of `f` per element. The error is of the order of h^2 from the formula and of 1e-16 f / h from the
    arithmetic; where f and its derivatives are of the order of 1, this h makes their sum about the smallest.

    Args:
        f: x -> one number, the same at each call.
        x: float64, any shape.

    Raises:
        ConfigError: `f` gives no single finite number, at x or beside it, or another one at each call; x not float64.
    """
    check_kind("differences(f)", f, Callable, "a function of x", "lambda z: loss(z, y)")
    check_kind("differences(x)", x, torch.Tensor, "a tensor", "torch.as_tensor(x).double()")
    if x.dtype != torch.float64:
        raise ConfigError("too few digits", "differences(x)", str(x.dtype), "torch.float64", "x.double()")
    _check_function(f, x)
    with torch.no_grad():
        steps, found = STEP * x.abs().clamp_min(1).flatten(), torch.empty(x.numel(), dtype=torch.float64)
        for at, h in enumerate(steps):
            above, below = x.flatten().clone(), x.flatten().clone()
            above[at] += h
            below[at] -= h
            width = above[at] - below[at]  # 2 h, as far as numbers near x can tell
            found[at] = (f(above.view_as(x)) - f(below.view_as(x))).squeeze() / width
    if not found.isfinite().all():
        at = int((~found.isfinite()).nonzero()[0, 0])
        where, expected = f"differences(x), element {at}", "finite values at x + h and x - h"
        remedy = "take out -inf and nan, and stay away from the ends of a logarithm"
        raise ConfigError("this function is not finite beside x", where, x.flatten()[at].item(), expected, remedy)
    return found.view_as(x)


@torch.no_grad()
def _check_function(f: Callable, x: torch.Tensor) -> None:
    value, again = f(x.clone()), f(x.clone())
    if not isinstance(value, torch.Tensor) or value.numel() != 1 or not torch.isfinite(value):
        expected, remedy = "a tensor with one finite number", 'reduction="mean" makes one of many'
        raise ConfigError("this function has no gradient", "f", _kind(value), expected, remedy)
    if not torch.equal(value, again):
        what, found = "this function gives another number at each call", (value.item(), again.item())
        remedy = "switch dropout off with .eval(), or draw with a generator that f seeds itself"
        raise ConfigError(what, "f", found, "the same number", remedy)


def _check_arguments(f: Callable, named: Mapping, rtol: float, atol: float) -> None:
    """Refuse what would only look like a wrong gradient, limits that let all or nothing pass, a name that is taken."""
    check_kind("compare(f)", f, Callable, "a function of the tensors", "lambda z: loss(z, y)")
    for name, g in named.items():
        where, kinds = f"compare(grads), {name}", (Callable, torch.Tensor)
        check_kind(where, g, kinds, "a tensor or a function that returns one", "torch.as_tensor(g)")
    check_number("rtol", rtol, torch.finfo(torch.float64).tiny, 0.5, "leave rtol out")  # at 1 a gradient of 0 is right
    check_number("atol", atol, torch.finfo(torch.float64).tiny, math.inf, "leave atol out")
    if AUTOGRAD in named:
        expected = f"names other than {AUTOGRAD!r}, which is always a row"
        raise ConfigError("a gradient needs another name", "compare(grads)", [*named], expected, "rename it")


def _autograd(f: Callable, x: torch.Tensor) -> torch.Tensor | None:
    """None where the way from x to f is cut."""
    x = x.clone().requires_grad_()
    with torch.enable_grad():
        value = f(x)
        return torch.autograd.grad(value.sum(), x, allow_unused=True)[0] if value.requires_grad else None


def _gaps(found, true: torch.Tensor, rtol: float, atol: float) -> tuple[float, float, bool]:
    if not isinstance(found, torch.Tensor) or found.shape != true.shape or not found.isfinite().all():
        return float("inf"), float("inf"), False
    gap = (found.detach().double() - true).abs()
    relative = (gap / (true.abs() + atol / rtol)).max().item()
    return gap.max().item(), relative, relative <= rtol


def _kind(value) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{value.dtype} {tuple(value.shape)}" if value.numel() != 1 else f"{value.dtype} {value.item()}"
