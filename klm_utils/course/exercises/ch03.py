"""Checkers of 03_fusion."""

from collections.abc import Callable
from typing import Any

import torch

from klm_utils.course.exercises import attempt, has_nan, head, letters, same, shape, verdict


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
    swapped = (items @ weight[2:])[None, :] + (users @ weight[:2])[:, None]
    verdict(
        [
            (pair and not torch.any(total), "not done yet: zeros everywhere"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (turned, "a belongs to the items and comes first, b to the users"),
            (not pair, f"return a, one number per item [7], and b, one per user [4]; got {head(got)}"),
            (
                same(total, swapped) or same(total, swapped + bias),
                "the halves are swapped: the film comes first in the joined vector, so the first weights are its own",
            ),
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
            (
                same(got, torch.sigmoid(z - bias) * item + (1 - torch.sigmoid(z - bias)) * text),
                "the bias is missing: add it before the sigmoid",
            ),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
        ],
        "factor by factor, id or text",
    )


def weights(query: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Reference: softmax of query . key / sqrt(d) over the real keys, [n, T]; zeros in a row where none is real."""
    score = (query[:, None, :] * keys).sum(-1) / query.shape[-1] ** 0.5
    return score.masked_fill(mask == 0, torch.finfo(score.dtype).min).softmax(-1) * mask


def check_weights(fn: Callable) -> None:
    """Say what is right or wrong with the learner's masked weights of attention."""
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0] * 5])
    query, keys = _normal(3, 4), _normal(3, 5, 4, seed=1)
    got, want = attempt(fn, query, keys, mask), weights(query, keys, mask)
    raw = (query[:, None, :] * keys).sum(-1)
    rows = got[:2] if isinstance(got, torch.Tensor) and got.ndim == 2 else got
    zeroed = (raw / 2 * mask).softmax(-1)
    whole = isinstance(got, torch.Tensor) and shape(got) == (3, 5)
    row = next((r for r in range(3) if whole and not same(got[r], want[r])), 0)
    verdict(
        [
            (same(got, torch.full((3, 5), 0.2)), "not done yet: every place has the same weight, padding too"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (shape(got) == (3, 4), "return the weights, [n, T], not the average of the keys"),
            (same(got, (raw / 2).softmax(-1)), "padding takes part: fill its scores before the softmax"),
            (
                same(rows, ((raw / 2).softmax(-1) * mask)[:2]),
                "the weights no longer sum to 1: mask before the softmax, not after it",
            ),
            (
                same(rows, zeroed[:2]) or same(rows, (zeroed * mask)[:2]),
                "a score of 0 still gets weight exp(0): fill with the lowest number instead of 0",
            ),
            (same(rows, raw.masked_fill(mask == 0, -1e30).softmax(-1)[:2]), "divide the scores by sqrt(d), here 2"),
            (same(rows, want[:2]) and has_nan(got), "who has no key at all gets nan: -inf everywhere; give zeros"),
            (same(rows, want[:2]) and not same(got, want), "who has no key at all must get zeros"),
            (not whole, f"return the weights, [3, 5]; got {head(got)}"),
            (
                not same(got, want),
                f"row {row}: expected {head(want[row], 5)}, got {head(got[row] if whole else got, 5)}",
            ),
        ],
        "only what is there is asked, divided by the root of d, and who has nothing gets zeros",
    )


SAME_FOR_ALL = "abcg"


def check_same_lists(fn: Callable) -> None:
    """Say whether the learner's letters name the ways that give everybody the same list."""
    got = attempt(fn, "abcdefg")
    named = letters(got)
    verdict(
        [
            (same(got, ""), "not done yet: return letters"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (
                named is None or not named <= set("abcdefg"),
                f'return letters from a to g, such as "ab"; got {head(got)}',
            ),
            ("f" in (named or ""), "f multiplies: each number of the film meets the same number of the person"),
            ("e" in (named or ""), "e has products among its inputs: no sum of a(film) and b(person)"),
            (
                "d" in (named or ""),
                "d adds film and person, then bends: what is cut off depends on both",
            ),
            (
                "a" not in (named or ""),
                "a adds a(film) and b(person): what does b(person) move?",
            ),
            ("b" not in (named or ""), "two linear layers without a kink are one linear layer"),
            ("c" not in (named or ""), f"the sigmoid grows with its input: does it change an order?; got {head(got)}"),
            ("g" not in (named or ""), "g bends each side by itself: what does it add up in the end?"),
        ],
        "a, b, c and g: each is a(film) + b(person), or only grows with it",
    )


def past(vectors: torch.Tensor, history: torch.Tensor, target: int) -> torch.Tensor:
    """Reference: the sum of the vectors of the history without the target, over the root of their number, [d]."""
    others = history[history != target]
    return vectors[others].sum(0) / max(len(others), 1) ** 0.5


def check_past(fn: Callable) -> None:
    """Say whether the learner has found the fault in the vector of a history."""
    vectors, history = _normal(9, 3), torch.tensor([4, 7, 1, 2])
    got, away = attempt(fn, vectors, history, 7), attempt(fn, vectors, history, 8)
    alone, want = attempt(fn, vectors, history[1:2], 7), past(vectors, history, 7)
    kept = vectors[history].sum(0) - vectors[7]
    verdict(
        [
            (same(got, vectors[history].sum(0) / 2), "not done yet: whose vector must not be in this sum?"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (shape(got) != (3,), f"return one vector, [3]; got {head(got)}"),
            (same(got, kept / 2), "the sum is right; divide by the root of the number of films that are left"),
            (same(got, kept / 3), "divide by the root of the number, as the stub does, not by the number"),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
            (not same(away, past(vectors, history, 8)), "a target that is not in the history takes nothing away"),
            (isinstance(alone, Exception) or has_nan(alone), "a history of the target alone must give zeros"),
        ],
        "the film is no reason for itself",
    )


def check_recency(fn: Callable) -> None:
    """Say whether the learner's factor gives the last of ten films half of all weight."""
    got = attempt(fn, 10)
    number = isinstance(got, int | float) and not isinstance(got, bool)
    last = 1 / sum(got**place for place in range(10)) if number and got >= 0 else -1.0
    verdict(
        [
            (number and got == 1, "not done yet: with 1 all ten films weigh alike"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not number or not 0 < got <= 1, f"return a number above 0 and at most 1; got {head(got)}"),
            (last > 0.52, f"the last film gets {last:.0%} of the weight: too much; the past must fade more slowly"),
            (last < 0.48, f"the last film gets {last:.0%} of the weight: too little; the past must fade faster"),
        ],
        "the last film gets half, all nine others together the other half",
    )


def check_claims(fn: Callable) -> None:
    """Say whether the learner's letters name what the picture of four tables supports."""
    got = attempt(fn, "abcd")
    named = letters(got)
    verdict(
        [
            (same(got, ""), "not done yet: return letters"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (
                named is None or not named <= set("abcd"),
                f'return letters from a to d, such as "bd"; got {head(got)}',
            ),
            ("b" in (named or ""), f"b: look for a blue row in all four panels; is there one?; got {head(got)}"),
            ("d" in (named or ""), "d: that row is grey: which interval contains 0?"),
            ("a" not in (named or ""), "a: look at the row of target in each of the four panels"),
            ("c" not in (named or ""), "c: look at the panel of known films: is any row there not orange?"),
        ],
        "a grey row decides nothing, whatever its dot says",
    )
