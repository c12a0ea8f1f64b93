"""Checkers of 05_end_to_end_training."""

import numpy as np
import torch

from klm_utils.course.exercises import attempt, head, same, verdict


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


def check_groups(fn) -> bool:
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
    return verdict(
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


def check_best_epoch(fn) -> bool:
    """Say what is right or wrong with the learner's early stopping."""
    valid = [0.60, 0.70, 0.69, 0.71, 0.70, 0.70, 0.69, 0.68, 0.90, 0.80]
    got, at_once, spare = attempt(fn, valid, 3), attempt(fn, valid, 1), attempt(fn, [0.1, 0.2], 5)
    return verdict(
        [
            (same(got, (10, 10)), "not done yet: this runs all epochs and keeps the last one"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, (9, 7)), "the best of all epochs lies behind the stop: you cannot know it yet"),
            (same(got, (7, 7)), "it stops in time but keeps the last weights: keep those of the best epoch"),
            (same(got, (4, 6)), "patience 3 means three epochs without a better value, you stop after two"),
            (same(got, (4, 8)), "patience 3 means three epochs without a better value, you stop after four"),
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
        ],
        "valid picks, and the best weights are kept",
    )


def paired_interval(a: np.ndarray, b: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    """Reference: 2.5 and 97.5 percentile of the mean difference over resampled users, int [draws, users]."""
    means = (a - b)[draws].mean(axis=1)
    return tuple(np.percentile(means, [2.5, 97.5]))


def check_paired_interval(fn) -> bool:
    """Say what is right or wrong with the learner's paired bootstrap."""
    rng = np.random.default_rng(0)
    b = rng.uniform(size=200)
    a = b + rng.normal(0.02, 0.05, size=200)
    draws = rng.integers(200, size=(1000, 200))
    got, want = attempt(fn, a, b, draws), paired_interval(a, b, draws)
    ends = np.percentile(a[draws].mean(axis=1), [2.5, 97.5]) - np.percentile(b[draws].mean(axis=1), [2.5, 97.5])
    crossed = np.percentile(a[draws].mean(1) - b[draws[::-1]].mean(1), [2.5, 97.5])
    return verdict(
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
