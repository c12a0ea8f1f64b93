"""Checkers of 03_fusion."""

from collections.abc import Callable
from typing import Any

import torch

from klm_utils.course.exercises import attempt, has_nan, head, same, shape, verdict


def _normal(*sizes: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def additive(weight: torch.Tensor, bias: torch.Tensor, items: torch.Tensor, users: torch.Tensor):
    """Reference: a [items] and b [users] with weight @ [item; user] + bias = a(item) + b(user)."""
    width = items.shape[1]
    return items @ weight[:width] + bias, users @ weight[width:]


def check_additive(fn: Callable) -> None:
    """Say what is right or wrong with the learner's proof that a linear layer on joined vectors cannot personalise."""
    items, users, weight, bias = _normal(7, 3), _normal(4, 2, seed=1), _normal(5, seed=2), _normal(1, seed=3)[0]
    got = attempt(fn, weight, bias, items, users)
    a, b = additive(weight, bias, items, users)
    scores = a[None, :] + b[:, None]
    pair = isinstance(got, tuple | list) and [shape(part) for part in got] == [(7,), (4,)]
    total: Any = torch.as_tensor(got[0])[None, :] + torch.as_tensor(got[1])[:, None] if pair else None
    turned = isinstance(got, tuple | list) and [shape(part) for part in got] == [(4,), (7,)]
    verdict(
        [
            (pair and not torch.any(total), "not done yet: zeros everywhere"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (turned, "a belongs to the items and comes first, b to the users"),
            (not pair, f"return a, one number per item [7], and b, one per user [4]; got {head(got)}"),
            (same(total, scores - bias), "the bias is missing: put it into a or into b, once"),
            (same(total, scores + bias), "the bias is counted twice: put it into a or into b"),
            (
                not same(total, scores),
                f"a(i) + b(u) of user 0: expected {head(scores[0])}, got {head(total[0] if pair else got)}",
            ),
        ],
        "the order of the items is that of a: the same for every user",
    )


def gate(item: torch.Tensor, text: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Reference: g * item + (1 - g) * text with g = sigmoid(W [item; text] + bias), [n, d]."""
    g = torch.sigmoid(torch.cat([item, text], -1) @ weight.T + bias)
    return g * item + (1 - g) * text


def check_gate(fn: Callable) -> None:
    """Say what is right or wrong with the learner's gate between id and text."""
    item, text, weight, bias = _normal(5, 3), _normal(5, 3, seed=1), _normal(3, 6, seed=2), _normal(3, seed=3)
    got, want = attempt(fn, item, text, weight, bias), gate(item, text, weight, bias)
    z = torch.cat([item, text], -1) @ weight.T + bias
    other = torch.cat([text, item], -1) @ weight.T + bias
    g = torch.sigmoid(z)
    verdict(
        [
            (same(got, (item + text) / 2), "not done yet: half and half, whatever the item"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (
                same(got, z * item + (1 - z) * text),
                "the gate is a share from 0 to 1: put W [item; text] + bias through the sigmoid",
            ),
            (same(got, (1 - g) * item + g * text), "g belongs to the item, 1 - g to the text"),
            (same(got, g * item + g * text), "the text gets what the item leaves: 1 - g"),
            (
                same(got, torch.sigmoid(other) * item + (1 - torch.sigmoid(other)) * text),
                "join [item; text] in this order",
            ),
            (
                same(got, z.softmax(-1) * item + (1 - z.softmax(-1)) * text),
                "each factor has a gate of its own: sigmoid, not softmax",
            ),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
        ],
        "factor by factor, id or text",
    )


def attended(query: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Reference: softmax of query . key / sqrt(d) over the real keys, times these, [n, d]; zeros where none is real."""
    keys = keys.masked_fill(mask[..., None] == 0, 0)
    score = (query[:, None, :] * keys).sum(-1) / query.shape[-1] ** 0.5
    weight = score.masked_fill(mask == 0, torch.finfo(score.dtype).min).softmax(-1) * mask
    return (weight[..., None] * keys).sum(1)


def check_attended(fn: Callable) -> None:
    """Say what is right or wrong with the learner's masked attention."""
    query, keys, mask = (
        _normal(3, 4),
        _normal(3, 5, 4, seed=1),
        torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0] * 5]),
    )
    got, want = attempt(fn, query, keys, mask), attended(query, keys, mask)
    raw = (query[:, None, :] * keys).sum(-1)

    def mixed(score, by=None):
        weight = score.softmax(-1) if by is None else score.softmax(-1) * by
        return (weight[..., None] * keys).sum(1)

    rows = got[:2] if isinstance(got, torch.Tensor) and got.ndim == 2 else got
    verdict(
        [
            (same(got, keys.mean(1)), "not done yet: the plain mean of all keys, padding too"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, mixed(raw / 2)), "padding takes part: fill its scores with -inf before the softmax"),
            (
                same(rows, mixed(raw / 2, mask)[:2]),
                "the weights no longer sum to 1: mask before the softmax, not after it",
            ),
            (
                same(rows, mixed(raw / 2 * mask)[:2]),
                "a score of 0 still gets weight exp(0): fill with -inf instead of 0",
            ),
            (same(rows, mixed(raw.masked_fill(mask == 0, -1e30))[:2]), "divide the scores by sqrt(d), here 2"),
            (same(rows, want[:2]) and has_nan(got), "who has no key at all gets nan: -inf everywhere; give zeros"),
            (same(rows, want[:2]) and not same(got, want), "who has no key at all must get zeros"),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
        ],
        "only what is there is asked, and who has nothing gets zeros",
    )


def id_dropout(vectors: torch.Tensor, rate: float, training: bool, draw: torch.Generator) -> torch.Tensor:
    """Reference: in training a share `rate` of the rows becomes zero, as if the items were new; nothing is rescaled."""
    if not training:
        return vectors
    return vectors * (torch.rand(len(vectors), 1, generator=draw) >= rate)


def check_id_dropout(fn: Callable) -> None:
    """Say what is right or wrong with the learner's dropout of whole ids."""
    vectors = _normal(4000, 3) + 5

    def run(training: bool, seed: int = 0):
        return attempt(fn, vectors, 0.25, training, torch.Generator().manual_seed(seed))

    got, again, other, resting = run(True), run(True), run(True, 1), run(False)
    fits = isinstance(got, torch.Tensor) and got.shape == vectors.shape
    zero = (got == 0) if fits else torch.zeros(4000, 3, dtype=torch.bool)
    whole, share = zero.all(1), zero.double().mean().item()
    kept: Any = (got[~whole], vectors[~whole]) if fits else (None, None)
    verdict(
        [
            (same(got, vectors) and same(resting, vectors), "not done yet: nothing is dropped"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not fits, f"return the vectors, [4000, 3], some rows zero; got {head(got)}"),
            (
                bool((zero.any(1) & ~whole).any()),
                "single numbers are dropped: an item is new as a whole, draw one number per row",
            ),
            (
                fits and not same(*kept) and same(kept[0] * 0.75, kept[1]),
                "the others are scaled up: an id vector is not a sum to keep, leave it",
            ),
            (fits and not same(*kept), "rows that stay must stay as they are"),
            (abs(share - 0.75) < 0.05, "rate is the share that is dropped, not the share that stays"),
            (abs(share - 0.25) > 0.05, f"a quarter of the rows should be zero, not {share:.0%}"),
            (not same(resting, vectors), "outside of training nothing is dropped"),
            (not same(got, again) or same(got, other), "draw with the generator that you are given"),
        ],
        "in training a share of the items is new, at prediction none",
    )


def squared_error(score: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Reference: mean of (score - y)^2 over the rows, score of shape [n] or [n, 1], y [n]."""
    return (score.reshape(-1) - y).square().mean()


def check_squared_error(fn: Callable) -> None:
    """Say what is right or wrong with the learner's loss, mended from one with a broadcast bug."""
    score, y = _normal(6, 1), _normal(6, seed=1)
    got, flat = attempt(fn, score, y), attempt(fn, score[:, 0], y)
    want = squared_error(score, y)
    verdict(
        [
            (
                same(got, (score - y).square().mean()),
                "not done yet: [6, 1] minus [6] is [6, 6], every score against every label; torch says nothing",
            ),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (isinstance(flat, Exception), f"with scores of shape [6] it raises {head(flat)}"),
            (same(got, want * 6), "the sum is right; return the mean over the rows"),
            (shape(got) != (), f"return one number, the mean; got {head(got)}"),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
            (not same(flat, want), f"with scores of shape [6] expected {head(want)}, got {head(flat)}"),
        ],
        "row against row, and nothing else",
    )
