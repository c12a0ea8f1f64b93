"""Losses of a score z, each with the gradient that autograd must find, written by hand.

All of them take `reduction` ("mean", "sum", "none") and `weight`, one number >= 0 per loss: 0 leaves a loss out, as a
mask does (its scores must still be finite), and "mean" divides by the sum of the weights, so that it does not count.
`NAME_grad` is the gradient of `NAME` in its first argument, under the same reduction ("none": of the sum) and of its
shape.

`ConfigError` is raised by each of them for what is no tensor, for shapes that torch would pair up all with all, for
values that the loss is not made for, and for a result that is no number (nan scores, a mean of nothing). The scores of
a network under training may be nan, and so is then the loss: whoever steps the optimiser looks at it. And on an
accelerator values are not looked at in training, since each look waits for the device: wrong ones make the loss nan.
"""

import functools
import inspect
import re
from collections.abc import Callable
from numbers import Real
from typing import Any, ParamSpec

import torch
from torch.nn.functional import logsigmoid, one_hot, pad

from klm_utils.errors import ConfigError, check_choice, check_kind

Tensor = torch.Tensor
Maybe = Tensor | None
P = ParamSpec("P")
Rule = tuple[str, Tensor, str, str]  # an argument, whether each of its values is right, the expected, the remedy


def _loss(
    shapes: str, rules: Callable[..., list[Rule]] = lambda **_: []
) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Check the arguments of a loss or its gradient; weight and reduce what the body returns for each element or row.

    shapes: "z [n, C], y [n]": equal letters are equal numbers, m is 2 or more; with ... a loss is an element's.
    """
    axes, rows = dict(re.findall(r"(\w+) \[(.*?)\]", shapes)), "..." not in shapes
    axes["weight"] = axes[next(iter(axes))].split(", ")[0]  # one for each loss

    def decorate(body: Callable[P, Tensor]) -> Callable[P, Tensor]:
        signature, grad = inspect.signature(body), body.__name__.endswith("_grad")

        @functools.wraps(body)
        def reduced(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            reduction, z, weight = given.pop("reduction"), next(iter(given.values())), given["weight"]
            check_choice("reduction", reduction, ("mean", "sum", "none"))
            _check_shapes(given, axes, shapes)
            found = rules(**given)
            if weight is not None:
                found = [*found, ("weight", (weight >= 0) & (weight < torch.inf), "numbers >= 0", "a mask of 0 and 1")]
            looks = z.grad_fn is None or z.device.type == "cpu"
            for name, right, expected, remedy in found if looks else ():
                if not right.all():
                    raise ConfigError("these fit no loss", name, given[name][~right][:9].tolist(), expected, remedy)
            value = body(*args, **kwargs)
            n = len(value) if rows else value.numel()
            if weight is not None:
                weight = weight.to(value.dtype)
                n, weight = 1, weight / weight.sum() if reduction == "mean" else weight
                value = value * (weight[:, None] if value.ndim > weight.ndim else weight)
            if reduction != "none" and not grad:
                value = value.sum() if n == 1 or reduction == "sum" else value.mean()
            elif reduction == "mean":
                value = value / n
            for rule in () if looks else found:
                value = value.where(rule[1].all(), torch.nan)
            if z.grad_fn is None and value.isnan().any():
                at, nan = "scores, targets, weight", f"{int(z.isnan().sum())} nan of {z.numel()} scores"
                remedy = "leave out what has no score or no target"
                raise ConfigError("the loss is no number", at, nan, "finite numbers, a mean of at least one", remedy)
            return value

        return reduced

    return decorate


def _check_shapes(given: dict[str, Any], axes: dict[str, str], expected: str) -> None:
    """Raise `ConfigError` unless these are tensors whose axes agree."""
    for name, value in given.items():
        kind = Maybe if name in ("weight", "hits", "items") else Tensor | Real if name == "log_q" else Tensor
        check_kind(name, value, kind, "a tensor", f"torch.as_tensor({name})")
    shapes = {name: tuple(given[name].shape) for name in axes if given[name] is not None}
    sizes: dict[str, Any] = {}
    for name, shape in shapes.items():
        letters = axes[name].split(", ")
        shape = (shape,) if letters == ["..."] else shape
        agree = len(letters) == len(shape)
        agree = agree and all(sizes.setdefault(a, n) == n for a, n in zip(letters, shape, strict=True))
        if not agree or sizes.get("m", 2) < 2:
            where = ", ".join(name for name in axes if name != "weight")
            raise ConfigError("these shapes fit no loss", where, shapes, expected, "for example y.reshape(z.shape)")


def _probabilities(z: Tensor, y: Tensor, weight: Maybe) -> list[Rule]:
    right = (y >= 0) & (y <= 1) & (y.dtype != torch.bool)
    return [("y", right, "numbers from 0 to 1", "0/1 labels as y.float(); ratings want squared_error or ordinal")]


def _whole(y: Tensor, below: int) -> list[Rule]:
    right = (y >= 0) & (y < below) & (not y.is_floating_point() and y.dtype != torch.bool)
    return [("y", right, f"whole numbers from 0 to {below - 1}", "count from 0: ratings 1 to 5 are grades 0 to 4")]


def _classes(z: Tensor, y: Tensor, weight: Maybe) -> list[Rule]:
    return _whole(y, z.shape[1])


def _grades(z: Tensor, y: Tensor, thresholds: Tensor, weight: Maybe) -> list[Rule]:
    right = thresholds > pad(thresholds[:-1], (1, 0), value=-torch.inf)
    increasing = ("thresholds", right, "numbers that increase", "for example the log-odds of P(grade <= k)")
    return [increasing, *_whole(y, len(thresholds) + 1)]


def _no_first_hit(z: Tensor, log_q: Tensor | float, hits: Maybe, weight: Maybe) -> list[Rule]:
    if hits is None:
        return []
    right = (hits == 0) | (hits == 1)
    right[:, 0] = hits[:, 0] == 0
    return [("hits", right, "True or False; the chosen one is never a hit", "the chosen item's score comes first")]


@_loss("z [...], y [...]", _probabilities)
def bce_with_logits(z: Tensor, y: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """Negative log-likelihood of y in {0, 1} (or a target in [0, 1]) under p = sigmoid(z).

    l = (1 - y) z - log sigmoid(z) = max(z, 0) - y z + log(1 + exp(-|z|)), which no z overflows, unlike
    -[y log p + (1 - y) log(1 - p)]. As in torch's own, up to 1e-7 |z| of a small loss may be lost in float32. With
    a matrix y it is the multi-label loss.

    Args:
        z: logits, any shape.
        y: targets, the same shape.
    """
    # logsigmoid(z) = min(z, 0) - log(1 + exp(-|z|)); from max and abs autograd finds 1 - y at z = 0, not 1/2 - y
    return (1 - y) * z - logsigmoid(z)


@_loss("z [...], y [...]", _probabilities)
def bce_with_logits_grad(z: Tensor, y: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """sigmoid(z) - y: what was predicted minus what was seen."""
    return torch.sigmoid(z) - y


@_loss("z [...], y [...]")
def squared_error(z: Tensor, y: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """(z - y)^2: the negative log-likelihood of a Gaussian with mean z, up to constants. Shapes as above."""
    return (z - y) ** 2


@_loss("z [...], y [...]")
def squared_error_grad(z: Tensor, y: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """2 (z - y)."""
    return 2 * (z - y)


@_loss("z [n], y [n], thresholds [K]", _grades)
def ordinal(z: Tensor, y: Tensor, thresholds: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """-log P(y) of an ordered grade, where P(grade <= k) = sigmoid(thresholds[k] - z).

    P(y) = sigmoid(a) - sigmoid(b) with a = thresholds[y] - z and b = thresholds[y - 1] - z (infinite at the ends), and

        -log P(y) = -log sigmoid(a) - log sigmoid(-b) - log(1 - exp(b - a)),

    in which nothing overflows and nothing cancels.

    Args:
        z: scores, [n].
        y: grades 0 ... K, int [n].
        thresholds: strictly increasing, [K].

    Source: McCullagh 1980, Regression models for ordinal data, section 2 (proportional odds).
    """
    lower, upper = _edges(y, thresholds)
    gap = torch.log(-torch.expm1(lower - upper))  # of the thresholds alone; 0 at the ends
    return -logsigmoid(upper - z) - logsigmoid(z - lower) - gap


@_loss("z [n], y [n], thresholds [K]", _grades)
def ordinal_grad(z: Tensor, y: Tensor, thresholds: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """sigmoid(z - thresholds[y]) - sigmoid(thresholds[y - 1] - z): pushed down from above, up from below."""
    lower, upper = _edges(y, thresholds)
    return torch.sigmoid(z - upper) - torch.sigmoid(lower - z)


def _edges(y: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """The thresholds below and above each grade, [n] each."""
    edges = pad(pad(thresholds, (1, 0), value=-torch.inf), (0, 1), value=torch.inf)
    return edges.gather(0, y.long()), edges.gather(0, y.long() + 1)


@_loss("positive [...], negative [...]")
def bpr(positive: Tensor, negative: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """-log sigmoid(positive - negative): the chosen item should score above the other one.

    Args:
        positive, negative: scores of one user's chosen and other item, any shape, the same.

    Source: Rendle et al. 2009, BPR: Bayesian personalized ranking from implicit feedback, section 4.
    """
    return -logsigmoid(positive - negative)


@_loss("positive [...], negative [...]")
def bpr_grad(positive: Tensor, negative: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """-sigmoid(negative - positive), in `positive`; in `negative` it is the same with the other sign."""
    return -torch.sigmoid(negative - positive)


@_loss("z [n, C], y [n]", _classes)
def cross_entropy(z: Tensor, y: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """-log softmax(z)[y]: one of C things was chosen.

    Args:
        z: scores, [n, C]; -inf takes a thing out of the choice.
        y: the chosen one, 0 ... C - 1, int [n].
    """
    return _nll(z, y)


@_loss("z [n, C], y [n]", _classes)
def cross_entropy_grad(z: Tensor, y: Tensor, reduction: str = "mean", weight: Maybe = None) -> Tensor:
    """softmax(z) minus 1 at y."""
    return _nll_grad(z, y)


@_loss("z [n, m], hits [n, m]", _no_first_hit)
def sampled_softmax(
    z: Tensor, log_q: Tensor | float = 0.0, reduction: str = "mean", weight: Maybe = None, *, hits: Maybe = None
) -> Tensor:
    """`cross_entropy` over the chosen thing and a sample of the others: -log softmax(z - log_q)[0].

    What is drawn often stands in the sample more often than it should; log q takes that off, so that the scores become
    those of the softmax over all things (with hits masked: as long as every q is small, since an item then counts as a
    negative for others more often than for itself). Without it popular things are pushed down.

    Args:
        z: scores, [n, m], the chosen one first, at least one other behind it.
        log_q: log of the probability, up to a constant, with which each is drawn, broadcast to z; 0: evenly.
        hits: bool [n, m], what was drawn though it is the chosen one: masked with -inf. Not in the first column.

    Source: Bengio and Senecal 2008, Adaptive importance sampling to accelerate training of a neural probabilistic
    language model; Jean et al. 2015, On using very large target vocabulary, section 3.
    """
    return _nll(*_corrected(z, log_q, hits))


@_loss("z [n, m], hits [n, m]", _no_first_hit)
def sampled_softmax_grad(
    z: Tensor, log_q: Tensor | float = 0.0, reduction: str = "mean", weight: Maybe = None, *, hits: Maybe = None
) -> Tensor:
    """softmax(z - log_q) minus 1 in the first column; 0 at the hits."""
    return _nll_grad(*_corrected(z, log_q, hits))


@_loss("z [m, m], items [m]")
def info_nce(
    z: Tensor, log_q: Tensor | float = 0.0, reduction: str = "mean", weight: Maybe = None, *, items: Maybe = None
) -> Tensor:
    """`sampled_softmax` whose negatives are the other rows' items: -log softmax(z - log_q)[i] of row i.

    Args:
        z: scores of m users and the m items that they chose, [m, m], own pairs on the diagonal, m > 1. A temperature is
            the caller's: pass z / temperature.
        log_q: as in `sampled_softmax`; in a batch of choices an item's q is its share of the choices.
        items: ids of the m items, [m]. The same item elsewhere in the batch is no negative: masked with -inf.

    Source: van den Oord et al. 2018, Contrastive predictive coding, section 2.3; Yi et al. 2019, Sampling-bias-
    corrected neural modeling for large corpus item recommendations, section 3 (log q in the batch).
    """
    return _nll(*_in_batch(z, log_q, items))


@_loss("z [m, m], items [m]")
def info_nce_grad(
    z: Tensor, log_q: Tensor | float = 0.0, reduction: str = "mean", weight: Maybe = None, *, items: Maybe = None
) -> Tensor:
    """softmax(z - log_q) minus the identity; 0 where the item is the row's own."""
    return _nll_grad(*_in_batch(z, log_q, items))


def _nll(z: Tensor, y: Tensor) -> Tensor:
    return z.logsumexp(-1) - z.gather(-1, y[:, None].long())[:, 0]


def _nll_grad(z: Tensor, y: Tensor) -> Tensor:
    return z.softmax(-1) - one_hot(y.long(), z.shape[1]).to(z.dtype)


def _corrected(z: Tensor, log_q: Tensor | float, hits: Maybe) -> tuple[Tensor, Tensor]:
    """Scores without log q (which must broadcast to them, not they to it) and hits, and the column that was chosen."""
    z = z - (log_q.expand_as(z) if isinstance(log_q, Tensor) else log_q)
    z = z if hits is None else z.masked_fill(hits.bool(), -torch.inf)
    return z, torch.zeros(len(z), dtype=torch.long, device=z.device)


def _in_batch(z: Tensor, log_q: Tensor | float, items: Maybe) -> tuple[Tensor, Tensor]:
    own = torch.arange(len(z), device=z.device)
    same = None if items is None else (items[:, None] == items) & (own[:, None] != own)
    return _corrected(z, log_q, same)[0], own
