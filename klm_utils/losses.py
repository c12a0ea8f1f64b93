"""Losses of a score z, each with the gradient that autograd must find, written by hand.

All of them take `reduction` ("mean", "sum", "none") and `weight`, one number >= 0 per loss: 0 leaves a loss out, as a
mask does (its scores must still be finite), and "mean" divides by the sum of the weights, so that it does not count.
`NAME_grad` is the gradient of `NAME` in its first argument, under the same reduction ("none": of the sum) and of its
shape.
What is no tensor, or has a loss that is no number (nan scores or targets, a mean of nothing), raises `ConfigError`. The
scores of a network under training may be nan, and so is then the loss: whoever steps the optimiser looks at it.
"""

from numbers import Real

import torch
from torch.nn.functional import logsigmoid

from klm_utils.errors import ConfigError, check_choice

Weight = torch.Tensor | None
SCORES = ("z", "positive", "negative", "thresholds")


def bce_with_logits(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean", weight: Weight = None) -> torch.Tensor:
    """Negative log-likelihood of y in {0, 1} (or a target in [0, 1]) under p = sigmoid(z).

    l = (1 - y) z - log sigmoid(z) = max(z, 0) - y z + log(1 + exp(-|z|)), which no z overflows, unlike
    -[y log p + (1 - y) log(1 - p)]. As in torch's own, up to 1e-7 |z| of a small loss may be lost in float32. With
    a matrix y it is the multi-label loss.

    Args:
        z: logits, any shape.
        y: targets, the same shape.

    Raises:
        ConfigError: z and y of different shapes, which torch would pair up all with all; y outside of [0, 1]; another
            reduction; weights of another shape, below 0 or (for "mean") all 0.
    """
    _check_targets(z, y)
    # logsigmoid(z) = min(z, 0) - log(1 + exp(-|z|)); from max and abs autograd finds 1 - y at z = 0, not 1/2 - y
    return _reduced(z, (1 - y) * z - logsigmoid(z), reduction, weight)


def bce_with_logits_grad(
    z: torch.Tensor, y: torch.Tensor, reduction: str = "mean", weight: Weight = None
) -> torch.Tensor:
    """sigmoid(z) - y: what was predicted minus what was seen."""
    _check_targets(z, y)
    return _shared(z, torch.sigmoid(z) - y, reduction, weight)


def squared_error(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean", weight: Weight = None) -> torch.Tensor:
    """(z - y)^2: the negative log-likelihood of a Gaussian with mean z, up to constants. Shapes as above."""
    _check_shapes(z=z, y=y)
    return _reduced(z, (z - y) ** 2, reduction, weight)


def squared_error_grad(
    z: torch.Tensor, y: torch.Tensor, reduction: str = "mean", weight: Weight = None
) -> torch.Tensor:
    """2 (z - y)."""
    _check_shapes(z=z, y=y)
    return _shared(z, 2 * (z - y), reduction, weight)


def ordinal(
    z: torch.Tensor, y: torch.Tensor, thresholds: torch.Tensor, reduction: str = "mean", weight: Weight = None
) -> torch.Tensor:
    """-log P(y) of an ordered grade, where P(grade <= k) = sigmoid(thresholds[k] - z).

    P(y) = sigmoid(a) - sigmoid(b) with a = thresholds[y] - z and b = thresholds[y - 1] - z (infinite at the ends), and

        -log P(y) = -log sigmoid(a) - log sigmoid(-b) - log(1 - exp(b - a)),

    in which nothing overflows and nothing cancels.

    Args:
        z: scores, [n].
        y: grades 0 ... K - 1, int [n].
        thresholds: strictly increasing, [K - 1].

    Raises:
        ConfigError: as `bce_with_logits`; a grade outside of 0 ... K - 1, thresholds that do not increase.

    Source: McCullagh 1980, Regression models for ordinal data, section 2 (proportional odds).
    """
    lower, upper = _edges(z, y, thresholds)
    gap = torch.log(-torch.expm1(lower - upper))  # of the thresholds alone; 0 at the ends
    return _reduced(z, -logsigmoid(upper - z) - logsigmoid(z - lower) - gap, reduction, weight)


def ordinal_grad(
    z: torch.Tensor, y: torch.Tensor, thresholds: torch.Tensor, reduction: str = "mean", weight: Weight = None
) -> torch.Tensor:
    """sigmoid(z - thresholds[y]) - sigmoid(thresholds[y - 1] - z): pushed down from above, up from below."""
    lower, upper = _edges(z, y, thresholds)
    return _shared(z, torch.sigmoid(z - upper) - torch.sigmoid(lower - z), reduction, weight)


def bpr(positive: torch.Tensor, negative: torch.Tensor, reduction: str = "mean", weight: Weight = None) -> torch.Tensor:
    """-log sigmoid(positive - negative): the chosen item should score above the other one.

    Args:
        positive, negative: scores of one user's chosen and other item, any shape, the same.

    Raises:
        ConfigError: as `bce_with_logits`.

    Source: Rendle et al. 2009, BPR: Bayesian personalized ranking from implicit feedback, section 4.
    """
    _check_shapes(positive=positive, negative=negative)
    return _reduced(positive, -logsigmoid(positive - negative), reduction, weight)


def bpr_grad(
    positive: torch.Tensor, negative: torch.Tensor, reduction: str = "mean", weight: Weight = None
) -> torch.Tensor:
    """-sigmoid(negative - positive), in `positive`; in `negative` it is the same with the other sign."""
    _check_shapes(positive=positive, negative=negative)
    return _shared(positive, -torch.sigmoid(negative - positive), reduction, weight)


def cross_entropy(z: torch.Tensor, y: torch.Tensor, reduction: str = "mean", weight: Weight = None) -> torch.Tensor:
    """-log softmax(z)[y]: one of C things was chosen.

    Args:
        z: scores, [n, C]; -inf takes a thing out of the choice.
        y: the chosen one, int [n].

    Raises:
        ConfigError: as `bce_with_logits`; a y outside of 0 ... C - 1.
    """
    _check_chosen(z, y)
    return _reduced(z, z.logsumexp(-1) - z.gather(-1, y[:, None].long())[:, 0], reduction, weight)


def cross_entropy_grad(
    z: torch.Tensor, y: torch.Tensor, reduction: str = "mean", weight: Weight = None
) -> torch.Tensor:
    """softmax(z) minus 1 at y."""
    _check_chosen(z, y)
    return _shared(
        z, z.softmax(-1) - torch.nn.functional.one_hot(y.long(), z.shape[1]).to(z.dtype), reduction, weight, rows=True
    )


def sampled_softmax(
    z: torch.Tensor,
    log_q: torch.Tensor | float = 0.0,
    reduction: str = "mean",
    weight: Weight = None,
    *,
    hits: torch.Tensor | None = None,
) -> torch.Tensor:
    """`cross_entropy` over the chosen thing and a sample of the others: -log softmax(z - log_q)[0].

    What is drawn often stands in the sample more often than it should; log q takes that off, so that the scores become
    those of the softmax over all things (with hits masked: as long as every q is small, since an item then counts as a
    negative for others more often than for itself). Without it popular things are pushed down.

    Args:
        z: scores, [n, 1 + m], the chosen one first.
        log_q: log of the probability, up to a constant, with which each is drawn, broadcast to z; 0: evenly.
        hits: bool [n, 1 + m], what was drawn though it is the chosen one: masked with -inf. Not in the first column.

    Raises:
        ConfigError: as `bce_with_logits`; no column besides the first; hits in the first column.

    Source: Bengio and Senecal 2008, Adaptive importance sampling to accelerate training of a neural probabilistic
    language model; Jean et al. 2015, On using very large target vocabulary, section 3.
    """
    corrected = _corrected(z, log_q, hits)
    return _reduced(z, corrected.logsumexp(-1) - corrected[:, 0], reduction, weight)


def sampled_softmax_grad(
    z: torch.Tensor,
    log_q: torch.Tensor | float = 0.0,
    reduction: str = "mean",
    weight: Weight = None,
    *,
    hits: torch.Tensor | None = None,
) -> torch.Tensor:
    """softmax(z - log_q) minus 1 in the first column; 0 at the hits."""
    grad = _corrected(z, log_q, hits).softmax(-1)
    grad[:, 0] -= 1
    return _shared(z, grad, reduction, weight, rows=True)


def info_nce(
    z: torch.Tensor,
    log_q: torch.Tensor | float = 0.0,
    reduction: str = "mean",
    weight: Weight = None,
    *,
    items: torch.Tensor | None = None,
) -> torch.Tensor:
    """`sampled_softmax` whose negatives are the other rows' items: -log softmax(z - log_q)[i] of row i.

    Args:
        z: scores of n users and the n items that they chose, [n, n], own pairs on the diagonal. A temperature is the
            caller's: pass z / temperature.
        log_q: as in `sampled_softmax`; in a batch of choices an item's q is its share of the choices.
        items: ids of the n items, [n]. The same item elsewhere in the batch is no negative: masked with -inf.

    Raises:
        ConfigError: as `bce_with_logits`; z not square.

    Source: van den Oord et al. 2018, Contrastive predictive coding, section 2.3; Yi et al. 2019, Sampling-bias-
    corrected neural modeling for large corpus item recommendations, section 3 (log q in the batch).
    """
    corrected = _in_batch(z, log_q, items)
    return _reduced(z, corrected.logsumexp(-1) - corrected.diagonal(), reduction, weight)


def info_nce_grad(
    z: torch.Tensor,
    log_q: torch.Tensor | float = 0.0,
    reduction: str = "mean",
    weight: Weight = None,
    *,
    items: torch.Tensor | None = None,
) -> torch.Tensor:
    """softmax(z - log_q) minus the identity; 0 where the item is the row's own."""
    grad = _in_batch(z, log_q, items).softmax(-1)
    return _shared(z, grad - torch.eye(len(z), dtype=z.dtype, device=z.device), reduction, weight, rows=True)


def _reduced(z: torch.Tensor, loss: torch.Tensor, reduction: str, weight: Weight) -> torch.Tensor:
    """The losses of scores z under a reduction."""
    check_choice("reduction", reduction, ("mean", "sum", "none"))
    if weight is not None:
        loss, reduction = loss * _shares(loss.shape, reduction, weight, loss.dtype), reduction.replace("mean", "sum")
    return _told(z, loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss)


def _shared(z: torch.Tensor, grad: torch.Tensor, reduction: str, weight: Weight, rows: bool = False) -> torch.Tensor:
    """Gradient of the reduced loss, from that of each loss, which stands in an element or (`rows`) in a row of it."""
    check_choice("reduction", reduction, ("mean", "sum", "none"))
    if weight is not None:
        shares = _shares(grad.shape[:1] if rows else grad.shape, reduction, weight, grad.dtype)
        return _told(z, grad * (shares[:, None] if rows else shares))
    return _told(z, grad / (len(grad) if rows else grad.numel()) if reduction == "mean" else grad)


def _told(z: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """What was computed from scores z, unless it is no number and nobody else looks."""
    if z.grad_fn is None and result.isnan().any():
        raise ConfigError(
            "the loss of these scores and targets is no number",
            where="scores, targets, weight",
            found=f"{int(z.isnan().sum())} nan and {int(z.isinf().sum())} infinite ones of {z.numel()} scores",
            expected="finite numbers, and for a mean at least one",
            remedy="leave out the rows without a score or a target",
        )
    return result


def _check_tensors(**given) -> None:
    """Raise `ConfigError` unless these are tensors, those that are scores of floating point."""
    for name, value in given.items():
        there = isinstance(value, torch.Tensor)
        if not there or value.is_complex() or (name in SCORES and not value.is_floating_point()):
            raise ConfigError(
                "a loss takes tensors",
                where=name,
                found=f"{value.dtype} {tuple(value.shape)}" if there else value,
                expected="a tensor of floating point" if name in SCORES else "a tensor of real numbers",
                remedy=f"torch.as_tensor({name}), and .float() for scores",
            )


def _shares(shape: torch.Size, reduction: str, weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What each loss counts for: its weight, for "mean" over the sum of the weights."""
    _check_tensors(weight=weight)
    weight = weight.to(dtype)
    total = weight.sum()
    fits = weight.shape == shape and total.isfinite() and (weight >= 0).all()
    if not fits or (reduction == "mean" and not total > 0):
        raise ConfigError(
            "these weights fit no losses",
            where="weight",
            found=f"shape {tuple(weight.shape)}, sum {total}, {int((weight < 0).sum())} below 0",
            expected=f"shape {tuple(shape)}, one number >= 0 per loss, not all 0 for a mean",
            remedy="pass a mask of 0 and 1, or leave weight out",
        )
    return weight / total if reduction == "mean" else weight


def _edges(z: torch.Tensor, y: torch.Tensor, thresholds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The thresholds below and above each grade, [n] each."""
    _check_shapes(z=z, y=y)
    _check_tensors(thresholds=thresholds)
    if thresholds.ndim != 1 or not len(thresholds) or not (thresholds.diff() > 0).all():
        raise ConfigError(
            "these thresholds do not part the grades",
            where="thresholds",
            found=thresholds.tolist(),
            expected="numbers that increase, one less than there are grades",
            remedy="for example the log-odds of the share of grades up to each",
        )
    _check_class(y, len(thresholds) + 1)
    end = thresholds.new_tensor([torch.inf])
    edges = torch.cat([-end, thresholds, end])
    return edges[y.long()], edges[y.long() + 1]


def _corrected(z: torch.Tensor, log_q, hits: torch.Tensor | None) -> torch.Tensor:
    _check_tensors(z=z, **({} if hits is None else {"hits": hits}))
    misfit = hits is not None and (hits.shape != z.shape or ((hits != 0) & (hits != 1)).any() or hits[:, 0].any())
    if z.ndim != 2 or z.shape[1] < 2 or misfit:
        raise ConfigError(
            "these scores are no choice among a sample",
            where="z, hits",
            found=(tuple(z.shape), None if hits is None else tuple(hits.shape)),
            expected="[n, 1 + m], the chosen one first and never a hit; hits True or False",
            remedy="put the chosen item's score first: torch.cat([chosen[:, None], others], 1)",
        )
    z = z - _log_q(log_q, z)
    return z if hits is None else z.masked_fill(hits.bool(), -torch.inf)


def _in_batch(z: torch.Tensor, log_q, items: torch.Tensor | None) -> torch.Tensor:
    _check_tensors(z=z, **({} if items is None else {"items": items}))
    if z.ndim != 2 or z.shape[0] != z.shape[1] or len(z) < 2 or (items is not None and items.shape != z.shape[:1]):
        raise ConfigError(
            "these are not the scores of a batch with itself",
            where="z, items",
            found=(tuple(z.shape), None if items is None else tuple(items.shape)),
            expected="[n, n] and [n] with n > 1: user i chose item i, the others are the negatives",
            remedy="for example z = users @ items.T",
        )
    z = z - _log_q(log_q, z)
    if items is None:
        return z
    same = (items[:, None] == items) & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    return z.masked_fill(same, -torch.inf)


def _log_q(log_q, z: torch.Tensor):
    """log q, unless it would make more of the scores than there are."""
    if isinstance(log_q, bool) or not isinstance(log_q, Real):
        _check_tensors(log_q=log_q)
    shape = log_q.shape if isinstance(log_q, torch.Tensor) else ()
    if len(shape) > 2 or any(a not in (1, b) for a, b in zip(reversed(shape), reversed(z.shape), strict=False)):
        raise ConfigError(
            "log q fits no scores",
            where="log_q",
            found=tuple(shape),
            expected=f"a number, or a shape that broadcasts to {tuple(z.shape)}",
            remedy="one log q for each column, or for each score",
        )
    return log_q


def _check_targets(z: torch.Tensor, y: torch.Tensor) -> None:
    _check_shapes(z=z, y=y)
    if y.dtype == torch.bool or not ((y >= 0) & (y <= 1)).all():
        raise ConfigError(
            "a target is no probability",
            where="y",
            found=f"{y.dtype}, {y.unique().tolist()[:10]}",
            expected="numbers from 0 to 1",
            remedy="pass the 0/1 labels as y.float(); ratings want squared_error or ordinal",
        )


def _check_chosen(z: torch.Tensor, y: torch.Tensor) -> None:
    _check_tensors(z=z, y=y)
    if z.ndim != 2 or y.shape != z.shape[:1]:
        raise ConfigError(
            "scores and choices differ in shape",
            where="z, y",
            found=(tuple(z.shape), tuple(y.shape)),
            expected="[n, C] and [n]",
            remedy="one row of scores for each choice; y holds positions, not one-hot rows",
        )
    _check_class(y, z.shape[1])


def _check_class(y: torch.Tensor, n: int) -> None:
    if y.is_floating_point() or y.dtype == torch.bool or not ((y >= 0) & (y < n)).all():
        raise ConfigError(
            "a target is not among the classes",
            where="y",
            found=f"{y.dtype}, {y.unique().tolist()[:10]}",
            expected=f"whole numbers from 0 to {n - 1}",
            remedy="count from 0: ratings 1 to 5 are grades 0 to 4",
        )


def _check_shapes(**given: torch.Tensor) -> None:
    _check_tensors(**given)
    names, (a, b) = ", ".join(given), given.values()
    if a.shape != b.shape:
        raise ConfigError(
            f"{names} differ in shape",
            where=names,
            found=(tuple(a.shape), tuple(b.shape)),
            expected="one for each of the other",
            remedy="reshape one of them, for example y.reshape(z.shape)",
        )
