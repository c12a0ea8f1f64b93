"""Checkers of 04_loss_and_gradients. What they expect of a gradient they take from central differences."""

from collections.abc import Callable

import torch

from klm_utils import losses
from klm_utils.course.exercises import attempt, has_nan, head, same, shape, verdict
from klm_utils.gradients import differences


def _normal(*sizes: int, seed: int = 0) -> torch.Tensor:
    """Numbers of both signs, none near 0: at such a start no gradient is flat and no wrong sign looks right."""
    x = torch.randn(*sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x + x.sign() / 4


LABELS = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], dtype=torch.float64)


def bce_grad(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Reference: dl/dz of each row, [n]."""
    return torch.sigmoid(z) - y


def check_bce_grad(fn: Callable) -> None:
    """Say what is right or wrong with the learner's derivative of the cross-entropy in the logit."""
    z, y = 2 * _normal(6), LABELS
    got, p = attempt(fn, z, y), torch.sigmoid(z)
    want = differences(lambda z: losses.bce_with_logits(z, y, "sum"), z)
    verdict(
        [
            (same(got, torch.zeros_like(z)), "not done yet: zeros everywhere"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, y - p), "the sign: a score that is too high must get a positive derivative"),
            (same(got, (p - y) / (p * (1 - p))), "this is dl/dp: dp/dz = p (1 - p) is missing"),
            (same(got, p * (1 - p)), "this is dp/dz alone: times dl/dp"),
            (same(got, torch.log((1 - p) / p)), "this is the derivative in y; y is data, z is what the model can move"),
            (same(got, z - y), "this is that of the squared error: put z through the sigmoid"),
            (same(got, want / 6), "one number per row: leave the division by n to the mean"),
            (not same(got, want, atol=1e-6), f"central differences give {head(want)}, you {head(got)}"),
        ],
        "predicted minus seen, and central differences agree",
    )


def stable_bce(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Reference: max(z, 0) - y z + log(1 + exp(-|z|)) of each row, [n]."""
    return z.clamp_min(0) - y * z + torch.log1p(torch.exp(-z.abs()))


def check_stable_bce(fn: Callable) -> None:
    """Say what is right or wrong with the learner's cross-entropy that does not overflow."""
    z, y = 2 * _normal(6), LABELS
    far, labels = torch.tensor([1e4, 1e4, -1e4, -1e4, 800.0]), torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    small = torch.tensor([40.0], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    got, ends, tiny = attempt(fn, z, y), attempt(fn, far, labels), attempt(fn, *small)
    p, want = torch.sigmoid(z), losses.bce_with_logits(z, y, "none")
    naive = -(y * p.log() + (1 - y) * (1 - p).log())
    finite = shape(ends) == (5,) and bool(torch.as_tensor(ends).isfinite().all())
    verdict(
        [
            (same(got, naive) and has_nan(ends), "not done yet: far out this form gives inf and nan"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (isinstance(ends, Exception), f"far out it raises {head(ends)}"),
            (same(got, want.mean()), "one loss per row, without the mean"),
            (same(got, z.clamp_min(0) - y * z), "log(1 + exp(-|z|)) is missing: without it the loss at z = 0 is 0"),
            (same(got, want - y * z), "- y z is there twice"),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
            (not finite, f"at z = 10000 and -10000 it is not finite: {head(ends)}; exp may only see -|z|"),
            (
                not same(ends, losses.bce_with_logits(far, labels, "none")),
                f"far out expected [0, 10000, 10000, 0, 800], got {head(ends)}: nothing may be cut off",
            ),
            (
                not same(tiny, torch.full_like(small[0], 4.2483542552915889e-18), atol=1e-25),
                "at z = 40, y = 1 the loss is 4e-18, not 0: log(1 + x) loses a small x, torch.log1p does not, and "
                "max(z, 0) - y z must cancel before it is added",
            ),
        ],
        "the same number in the middle, and finite at both ends",
    )


def dot_grads(u, v, y, decay):
    """Reference: gradients in u and v, [n, d] each, of sum of bce(u . v, y) + decay / 2 (|u|^2 + |v|^2)."""
    error = (torch.sigmoid((u * v).sum(-1)) - y)[:, None]
    return error * v + decay * u, error * u + decay * v


def check_dot_grads(fn: Callable) -> None:
    """Say what is right or wrong with the learner's gradients of a dot product with decay, one of them mended."""
    u, v, y, decay = _normal(6, 3), _normal(6, 3, seed=1), LABELS, 0.3
    got = attempt(fn, u, v, y, decay)

    def loss(u, v):
        return losses.bce_with_logits((u * v).sum(-1), y, "sum") + decay / 2 * (u.square().sum() + v.square().sum())

    want = differences(lambda u: loss(u, v), u), differences(lambda v: loss(u, v), v)
    error = (torch.sigmoid((u * v).sum(-1)) - y)[:, None]
    pair = isinstance(got, tuple | list) and [shape(one) for one in got] == [(6, 3), (6, 3)]
    du, dv = got if pair else (got, got)
    stub = same(du, want[0], atol=1e-6) and same(dv, error * u - decay * v, atol=1e-6)
    verdict(
        [
            (stub, "not done yet: `compare` says that the gradient in v is wrong. Which of its two terms?"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not pair, f"return two gradients, in u and in v, [6, 3] each; got {head(got)}"),
            (
                same(du, want[1], atol=1e-6) and same(dv, want[0], atol=1e-6),
                "swapped: the gradient in u is error times v, and it comes first",
            ),
            (
                same(dv, -error * u + decay * v, atol=1e-6),
                "in v the other sign was right: this one belongs to the error",
            ),
            (not same(du, want[0], atol=1e-6), f"in u central differences give {head(want[0])}, you {head(du)}"),
            (not same(dv, want[1], atol=1e-6), f"in v central differences give {head(want[1])}, you {head(dv)}"),
        ],
        "decay pulls towards 0: added to the gradient, and so taken off the weight",
    )


def bpr_grads(u, i, j):
    """Reference: gradients in u, i and j, [n, d] each, of the sum of -log sigmoid(u . i - u . j)."""
    push = torch.sigmoid((u * j).sum(-1) - (u * i).sum(-1))[:, None]
    return push * (j - i), -push * u, push * u


def check_bpr_grads(fn: Callable) -> None:
    """Say what is right or wrong with the learner's gradients of BPR."""
    u, i, j = _normal(6, 3), _normal(6, 3, seed=1), _normal(6, 3, seed=2)
    got = attempt(fn, u, i, j)

    def loss(u, i, j):
        return losses.bpr((u * i).sum(-1), (u * j).sum(-1), "sum")

    want = (
        differences(lambda u: loss(u, i, j), u),
        differences(lambda i: loss(u, i, j), i),
        differences(lambda j: loss(u, i, j), j),
    )
    triple = isinstance(got, tuple | list) and [shape(one) for one in got] == [(6, 3)] * 3
    found = tuple(got) if triple else (None,) * 3
    share = torch.sigmoid((u * i).sum(-1) - (u * j).sum(-1))[:, None]

    def all_same(a, b):
        return all(same(x, y, atol=1e-6) for x, y in zip(a, b, strict=True))

    verdict(
        [
            (triple and all(same(one, 0 * u) for one in got), "not done yet: zeros everywhere"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not triple, f"return three gradients, in u, i and j, [6, 3] each; got {head(got)}"),
            (
                all_same(found, [-one for one in want]),
                "the sign: this is the way up. BPR as printed is maximised, ours is a loss",
            ),
            (
                all_same(found, (share * (j - i), -share * u, share * u)),
                "sigmoid(x) where 1 - sigmoid(x) belongs: a pair in the right order must push little, not much",
            ),
            (all_same(found[1:], (want[2], want[1])), "i and j are swapped: i was chosen, its score must rise"),
            (same(found[0], -want[0], atol=1e-6), "the sign in u: it moves towards i and away from j"),
            (
                all_same(found[1:], want[1:]) and not same(found[0], want[0], atol=1e-6),
                f"u takes part in both scores: in u central differences give {head(want[0])}, you {head(found[0])}",
            ),
            *[
                (not same(a, b, atol=1e-6), f"in {name} central differences give {head(b)}, you {head(a)}")
                for name, a, b in zip("uij", found, want, strict=True)
            ],
        ],
        "one sigmoid, three directions",
    )


def corrected_loss(z: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Reference: -log softmax(z - log q)[0] of each row, q in proportion to `count`, [n]."""
    corrected = z - count.log()
    return corrected.logsumexp(-1) - corrected[:, 0]


def check_corrected_loss(fn: Callable) -> None:
    """Say what is right or wrong with the learner's sampled softmax with the log-q correction."""
    z, count = _normal(6, 4), torch.tensor([[5.0, 500.0, 20.0, 1.0]], dtype=torch.float64).repeat(6, 1)
    count[3:] = count[3:].flip(1)
    got, far = attempt(fn, z, count), attempt(fn, 1e4 * z, count)
    want, log_q = losses.sampled_softmax(z, count.log(), "none"), count.log()
    others = z.clone()
    others[:, 1:] -= log_q[:, 1:]
    verdict(
        [
            (same(got, losses.sampled_softmax(z, 0.0, "none")), "not done yet: no correction at all"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, want.mean()), "one loss per row, without the mean"),
            (same(got, -want), "the sign: a loss is minus the logarithm"),
            (
                same(got, losses.sampled_softmax(z, -log_q, "none")),
                "take log q off: what is drawn often counts too much, not too little",
            ),
            (same(got, losses.sampled_softmax(z, count / count.sum(-1, keepdim=True), "none")), "log q, not q"),
            (
                same(got, losses.sampled_softmax(others, 0.0, "none")),
                "the chosen item is corrected too: it competes with its own q",
            ),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
            (has_nan(far) or not same(far, losses.sampled_softmax(1e4 * z, log_q, "none")), "at scores of 10000 it is "
             f"{head(far)}: use logsumexp in place of exp and log"),
        ],
        "popular items are no longer pushed down for being drawn",
    )  # fmt: skip


def gate_back(dv, g, item, text, weight):
    """Reference: d item, d text and d weight of v = g item + (1 - g) text, g = sigmoid([item; text] W' + b)."""
    dz = dv * (item - text) * g * (1 - g)
    through_item, through_text = (dz @ weight).chunk(2, -1)
    return g * dv + through_item, (1 - g) * dv + through_text, dz.T @ torch.cat([item, text], -1)


def check_gate_back(fn: Callable) -> None:
    """Say what is right or wrong with the learner's backward pass through the gate."""
    item, text, weight, bias, dv = (
        _normal(5, 3), _normal(5, 3, seed=1), _normal(3, 6, seed=2), _normal(3, seed=3), _normal(5, 3, seed=4),
    )  # fmt: skip

    def value(item, text, weight):
        g = torch.sigmoid(torch.cat([item, text], -1) @ weight.T + bias)
        return ((g * item + (1 - g) * text) * dv).sum()

    g = torch.sigmoid(torch.cat([item, text], -1) @ weight.T + bias)
    want = (
        differences(lambda x: value(x, text, weight), item),
        differences(lambda x: value(item, x, weight), text),
        differences(lambda x: value(item, text, x), weight),
    )
    got = attempt(fn, dv, g, item, text, weight)
    shapes = [(5, 3), (5, 3), (3, 6)]
    triple = isinstance(got, tuple | list) and [shape(one) for one in got] == shapes
    found = tuple(got) if triple else (None,) * 3
    dz = dv * (item - text) * g * (1 - g)
    joined = torch.cat([item, text], -1)
    right = [same(a, b, atol=1e-6) for a, b in zip(found, want, strict=True)]
    verdict(
        [
            (
                same(found[0], g * dv) and same(found[1], (1 - g) * dv) and same(found[2], 0 * weight),
                "not done yet: the gate itself depends on item and text, so a second way leads back through it",
            ),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not triple, f"return d item, d text and d weight, of shapes {shapes}; got {head(got)}"),
            (same(found[2], (dv * (item - text)).T @ joined), "the sigmoid's own derivative g (1 - g) is missing"),
            (same(found[2], (dv * g * (1 - g)).T @ joined), "what does g weigh? dg = dv (item - text)"),
            (same(found[2], -want[2]), "dg = dv (item - text), not (text - item): g belongs to the item"),
            (
                right[2] and same(found[0], (dz @ weight)[:, :3]),
                "the way straight through is missing: item gets g dv besides",
            ),
            (same(found[0], want[1]) or same(found[1], want[0]), "d item and d text are swapped"),
            *[
                (not same(a, b, atol=1e-6), f"in {name} central differences give {head(b)}, you {head(a)}")
                for name, a, b in zip(("item", "text", "weight"), found, want, strict=True)
            ],
        ],
        "two ways back to each input, and they are added",
    )
