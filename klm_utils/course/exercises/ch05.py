"""Checkers of 05_end_to_end_training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.nn.functional import gelu

from klm_utils.course.exercises import attempt, head, same, shape, verdict


def groups(parameters: dict, decay: dict) -> list[dict]:
    """Reference: one group for AdamW per name, with the weight decay of that name, 0 where none is given."""
    return [{"params": p, "weight_decay": decay.get(name, 0.0)} for name, p in parameters.items()]


def _decays(groups) -> list[tuple]:
    """(shape, weight decay or None) of each parameter; raises where AdamW would not take the groups."""
    if not isinstance(groups, list | tuple) or not all(isinstance(group, dict) for group in groups):
        raise TypeError("no list of dicts")
    pairs = []
    for group in groups:
        params = group["params"]
        tensors = [params] if isinstance(params, torch.Tensor) else params
        pairs += [(tuple(p.shape), group.get("weight_decay")) for p in tensors]
    return pairs


def check_groups(fn: Callable) -> None:
    """Say what is right or wrong with the learner's parameter groups."""
    parameters = {"ids": [torch.zeros(3, 2)], "maps": [torch.ones(2, 2), torch.ones(4)], "constant": [torch.ones(())]}
    decay = {"ids": 2.0, "maps": 10.0}
    got = attempt(fn, parameters, decay)
    want = {(3, 2): 2.0, (2, 2): 10.0, (4,): 10.0, (): 0.0}  # the shape tells which parameter it is
    read = attempt(lambda: _decays(got))  # no copy of `got`: an iterator in it cannot be copied
    listed = isinstance(read, list)
    found = read if listed else []
    shapes = [shape for shape, _ in found]
    off = [f"{decay!r} for shape {shape}" for shape, decay in found if not same(decay, want.get(shape))]
    bare = [decay is None for _, decay in found]
    verdict(
        [
            (listed and len(got) == 1 and all(bare), "not done yet: one group means one weight decay for everything"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not listed, f"AdamW wants a list of dicts with 'params' and 'weight_decay', got {head(got)}"),
            (not set(want) <= set(shapes), "some parameters are in no group: AdamW would never move them"),
            (len(shapes) > len(set(shapes)), "a parameter is in two groups: AdamW refuses that"),
            (any(bare), "a group without weight_decay takes AdamW's default of 0.01: say 0.0"),
            (bool(off), f"expected decays 2.0 for ids, 10.0 for maps, 0.0 for constant; got {', '.join(off)}"),
        ],
        "each kind of parameter has its own decay",
    )


def best_epoch(valid: list[float], patience: int) -> tuple[int, int]:
    """Reference: (epoch kept, last epoch run), counted from 1; stop once `patience` epochs brought nothing better."""
    best = 1
    for epoch, value in enumerate(valid, start=1):
        if value > valid[best - 1]:
            best = epoch
        if epoch - best >= patience:
            return best, epoch
    return best, len(valid)


def check_best_epoch(fn: Callable) -> None:
    """Say what is right or wrong with the learner's early stopping."""
    valid = [0.60, 0.70, 0.69, 0.71, 0.70, 0.70, 0.69, 0.68, 0.90, 0.80]
    got, at_once, spare = attempt(fn, valid, 3), attempt(fn, valid, 1), attempt(fn, [0.1, 0.2], 5)
    verdict(
        [
            (same(got, (10, 10)), "not done yet: this runs all epochs and keeps the last one"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, (9, 7)), "the best of all epochs lies behind the stop: you cannot know it yet"),
            (same(got, (7, 7)), "it stops in time but keeps the last weights: keep those of the best epoch"),
            (same(got, (4, 6)), "patience 3 means three in a row without a better value: you stop too early"),
            (same(got, (4, 8)), "patience 3 means three in a row without a better value: you stop too late"),
            (same(got, (4, 10)) or same(got, (9, 10)), "it never stops: epochs after the seventh are wasted"),
            (same(got, (3, 6)), "count the epochs from 1"),
            (not same(got, (4, 7)), f"expected (4, 7): best in 4, three in vain, stop after 7; got {head(got)}"),
            (not same(at_once, (2, 3)), f"with patience 1 expected (2, 3), got {head(at_once)}"),
            (
                not same(attempt(fn, [0.70, 0.60, 0.65, 0.62], 2), (1, 3)),
                "compare with the best value so far, not with the one before",
            ),
            (not same(attempt(fn, [0.5, 0.5, 0.5], 2), (1, 3)), "an equal value is not a better one"),
            (not same(spare, (2, 2)), f"with patience to spare it runs to the end: expected (2, 2), got {head(spare)}"),
            (not same(attempt(fn, [-3.0, -4.0], 1), (1, 2)), "start from the first value, it may lie below zero"),
        ],
        "valid picks, and the best weights are kept",
    )


def paired_interval(a: np.ndarray, b: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    """Reference: 2.5 and 97.5 percentile of the mean difference over resampled users, int [draws, users]."""
    means = (a - b)[draws].mean(axis=1)
    return tuple(np.percentile(means, [2.5, 97.5]))


def check_paired_interval(fn: Callable) -> None:
    """Say what is right or wrong with the learner's paired bootstrap."""
    rng = np.random.default_rng(0)
    b = rng.uniform(size=200)
    a = b + rng.normal(0.02, 0.05, size=200)
    draws = rng.integers(200, size=(1000, 200))
    got, want = attempt(fn, a, b, draws), paired_interval(a, b, draws)
    ends = np.percentile(a[draws].mean(axis=1), [2.5, 97.5]) - np.percentile(b[draws].mean(axis=1), [2.5, 97.5])
    crossed = np.percentile(a[draws].mean(1) - b[draws[::-1]].mean(1), [2.5, 97.5])
    verdict(
        [
            (same(got, (0.0, 0.0)), "not done yet: an interval of no width"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, np.percentile(a - b, [2.5, 97.5])), "this is the spread of the users, not of their mean"),
            (same(got, ends), "the difference of two intervals is no interval of the difference"),
            (same(got, crossed), "a and b need the same users in each draw: that is what pairs them"),
            (same(got, np.negative(want)[::-1]), "this is b - a"),
            (same(got, np.percentile((a - b)[draws].mean(1), [5, 95])), "these are the ends of a 90 % interval"),
            (same(got, np.percentile((a - b)[draws].mean(1), [0.025, 0.975])), "np.percentile takes 2.5 and 97.5"),
            (not same(got, want), f"from these draws expected about {head(want)}, got {head(got)}"),
        ],
        "both models meet the same resampled users",
    )


def freeze(layers: list, last: int, step) -> list[int]:
    """Reference: only the `last` layers want a gradient; the places of the layers that a step has changed."""
    for place, layer in enumerate(layers):
        layer.requires_grad_(place >= len(layers) - last)
    before = [[weight.detach().clone() for weight in layer.parameters()] for layer in layers]
    step()
    pairs = [zip(old, layer.parameters(), strict=True) for old, layer in zip(before, layers, strict=True)]
    return [place for place, pair in enumerate(pairs) if not all(torch.equal(a, b) for a, b in pair)]


def check_freeze(fn: Callable) -> None:
    """Say what is right or wrong with the learner's freezing, and with the proof."""

    def run(last, sleeping=None):
        draw = torch.Generator().manual_seed(0)
        layers = [nn.Linear(3, 3) for _ in range(4)]
        with torch.no_grad():
            for layer in layers:
                layer.weight.copy_(torch.eye(3) + 0.1 * torch.rand(3, 3, generator=draw))
                layer.bias.fill_(0.1)
        x, steps = torch.rand(5, 3, generator=draw), []

        def step():
            steps.append(1)
            weights = [p for n, layer in enumerate(layers) if n != sleeping for p in layer.parameters()]
            with torch.enable_grad():
                y = x
                for layer in layers:
                    y = layer(y)
                y.square().sum().backward()
            with torch.no_grad():
                for weight in weights:
                    if weight.grad is not None:
                        weight.sub_(weight.grad, alpha=1e-6)  # so small that "nearly equal" does not see it

        got = fn(layers, last, step)
        return got, [all(p.requires_grad for p in layer.parameters()) for layer in layers], len(steps)

    # No copies of the layers: `step` must move those that fn has.
    found, asleep, single = attempt(run, 2), attempt(run, 2, 3), attempt(run, 1)
    got, wants, steps = found if isinstance(found, tuple) else (found, [], 0)
    other, one = (run[0] if isinstance(run, tuple) else run for run in (asleep, single))
    listed = isinstance(got, list | tuple) and all(isinstance(place, int | np.integer) for place in got)
    verdict(
        [
            (same(got, []) and all(wants) and not steps, "not done yet: nothing is frozen and no step is taken"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not listed, f"return a list of the places that changed, got {head(got)}"),
            (steps != 1, f"call step() once, it was called {steps} times"),
            (wants == [True, True, False, False], "the layers at the end are nearest to the task: train those"),
            (all(wants), "every layer still wants a gradient: use layer.requires_grad_(False)"),
            (not same(wants, [False, False, True, True]), f"of 4 layers with last = 2, these want a gradient: {wants}"),
            (
                same(got, []),
                "nothing has changed? Clone the weights before (a reference moves along), compare to the bit",
            ),
            (same(got, [0, 1]), "these are the layers that stayed: return those that changed"),
            (not same(got, [2, 3]), f"expected [2, 3], got {head(got)}"),
            (not same(other, [2]), "compare the weights, to the bit: a layer that may move need not have moved"),
            (not same(one, [3]), f"with last = 1 only layer 3 may change, got {head(one)}"),
        ],
        "the frozen layers are equal to the bit, and you have the proof",
    )


def lora(x: torch.Tensor, W: torch.Tensor, b: torch.Tensor, A: torch.Tensor, B: torch.Tensor, alpha: float):
    """Reference: x W' + b + alpha / r * x A' B', for A [r, in] and B [out, r]."""
    return x @ W.T + b + alpha / len(A) * (x @ A.T @ B.T)


def check_lora(fn: Callable) -> None:
    """Say what is right or wrong with the learner's LoRA."""
    draw = torch.Generator().manual_seed(0)
    x, W, b = (torch.randn(*size, generator=draw) for size in ((5, 4), (3, 4), (3,)))
    A, B, alpha = torch.randn(2, 4, generator=draw), torch.randn(3, 2, generator=draw), 6.0
    got, start = attempt(fn, x, W, b, A, B, alpha), attempt(fn, x, W, b, A, 0 * B, alpha)
    plain, extra = x @ W.T + b, x @ A.T @ B.T
    wide = torch.cat([A, A]), torch.cat([B, B], 1)  # of rank 4
    many = [(plain + extra, "alpha / r is missing"), (plain + alpha * extra, "divide alpha by the rank, len(A)")]
    verdict(
        [
            (same(got, plain), "not done yet: this is the map without LoRA"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            *((same(got, wrong), message) for wrong, message in many),
            (same(got, 3 * extra), "add it to the map, do not replace the map"),
            (same(got, plain - b + 3 * extra), "the bias is lost"),
            (same(got, plain + alpha / 4 * extra), "r is the rank, the smaller side of A"),
            (not same(start, plain), f"with B = 0 it must be the map itself, got {head(start)}"),
            (not same(got, plain + 3 * extra, 1e-4), f"expected {head(plain + 3 * extra)}, got {head(got)}"),
            (not same(attempt(fn, x, W, b, *wide, alpha), plain + 3 * extra, 1e-4), "r is not always 2: it is len(A)"),
        ],
        "as at the start where B is zero, and few numbers to train",
    )


class Houlsby(nn.Module):
    """Reference: h + up(gelu(down(h))), where up starts at zero."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.up(gelu(self.down(h)))


def check_houlsby(fn: Callable) -> None:
    """Say what is right or wrong with the learner's adapter block."""
    h = 3 * torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    h = torch.cat([h, -h])  # so that no unit of a relu, whose start is the learner's, is dead for all four
    block = attempt(fn, 6, 2)
    here = isinstance(block, nn.Module)
    found: Any = attempt(_facts_of_block, block, h) if here else None
    start, parameters, reached, bent, between, skips = found if isinstance(found, tuple) else (found, *[0] * 5)
    verdict(
        [
            (here and parameters == 0 and same(start, h), "not done yet: nothing to train"),
            (isinstance(block, Exception), f"it raises {head(block)}"),
            (not here, f"return a torch module, got {head(block)}"),
            (isinstance(start, Exception), f"calling it raises {head(start)}"),
            (shape(start) != (4, 6), f"from 4 vectors of width 6 come 4 of width 6, got shape {shape(start)}"),
            (same(start, 0 * h), "the way past the block is missing: add h"),
            (not same(start, h), "at the start it must give back h itself: let `up` start at zero, its bias too"),
            (parameters != 32, f"down 6 to 2 and up 2 to 6, with biases: 32 numbers to train, not {parameters}"),
            (reached == 0, "no gradient reaches `up`: if both maps start at zero, neither ever moves"),
            (not skips, "with all of its weights at zero it must be the identity"),
            (bent < 1e-4, "between down and up something must bend: without gelu both are one linear map"),
            (not between, "gelu stands between the maps: first down, then gelu, then up"),
        ],
        "the language model starts as it was, and can learn",
    )


def _facts_of_block(block: nn.Module, h: torch.Tensor) -> tuple:
    """Output at the start, parameters, entries of matrices with a gradient, how far from linear, bent between the two
    maps (else what it reads or writes is no plane of two dimensions), identity at 0?"""
    weights = list(block.parameters())
    h = h.to(weights[0].dtype) if weights else h
    start = block(h).detach()
    if weights:
        (block(h) * torch.sin(torch.arange(start.numel())).reshape(start.shape)).sum().backward()
    reached = sum(int((w.grad != 0).sum()) for w in weights if w.grad is not None and w.ndim == 2)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in weights:
            weight.copy_(torch.randn(weight.shape, generator=draw))
        bent = (block(h) + block(-h) - 2 * block(0 * h)).abs().max().item()
    between = False
    if start.shape == h.shape:
        slopes = [jacobian(lambda x: block(x[None])[0] - x, row) for row in h]
        between = all(torch.linalg.matrix_rank(torch.cat(slopes, side), rtol=1e-4) <= 2 for side in (0, 1))
    with torch.no_grad():
        for weight in weights:
            weight.zero_()
        skips = torch.equal(block(h), h)
    return start, sum(w.numel() for w in weights), reached, bent, between, skips


def grouped(items: torch.Tensor, read, users: torch.Tensor) -> torch.Tensor:
    """Reference: scores of rows, where each item is read once: read(int [k]) -> [k, width]; users float [n, width]."""
    some, place = items.unique(return_inverse=True)
    return (read(some)[place] * users).sum(1)


def check_grouped(fn: Callable) -> None:
    """Say what is right or wrong with the learner's item-grouped batch."""
    draw = torch.Generator().manual_seed(0)
    items = torch.tensor([7, 2, 7, 7, 9, 2, 7])
    users, table = torch.randn(7, 3, generator=draw), torch.randn(10, 3, generator=draw)
    true, log = torch.zeros(10, 3).index_add(0, items, users), []

    def run():
        vectors = table.clone().requires_grad_(True)

        def read(some):
            log.append(len(some))
            return vectors[some]

        scores = fn(items.clone(), read, users.clone())
        if not torch.is_grad_enabled():  # turned off by fn: then there is no gradient to look at
            return scores, true
        return scores, torch.autograd.grad(scores.sum(), vectors)[0] if getattr(scores, "grad_fn", None) else None

    found = attempt(run)
    got, slope = found if isinstance(found, tuple) else (found, None)
    want, calls, texts = (table[items] * users).sum(1), len(log), sum(log)
    verdict(
        [
            (same(got, want, 1e-4) and texts == 7 and calls == 1, "not done yet: 7 rows, 7 texts read, 3 would do"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (shape(got) != (7,), f"one score for each row: expected shape (7,), got {head(got)}"),
            (calls == 0, "nothing was read: call read with the items"),
            (not same(got, want, 1e-4), f"expected {head(want)}, got {head(got)}: bring each vector to its rows"),
            (texts > 3, f"{texts} texts were read for 3 different items"),
            (calls > 1, f"read was called {calls} times: one call makes one batch"),
            (not same(slope, true, 1e-4), "the gradient of all rows of an item must reach its text: no detach"),
        ],
        "each text is read once, and all of its rows share the gradient",
    )
