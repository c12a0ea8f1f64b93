"""Checkers of 04_loss_and_gradients. What they expect of a gradient they take from central differences."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from klm_utils import losses
from klm_utils.course.exercises import attempt, has_nan, head, same, shape, verdict
from klm_utils.gradients import differences


def _normal(*sizes: int, seed: int = 0) -> torch.Tensor:
    """Numbers of both signs, none near 0: at such a start no gradient is flat and no wrong sign looks right."""
    x = torch.randn(*sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x + x.sign() / 4


LABELS = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], dtype=torch.float64)


def rate(x: torch.Tensor) -> float:
    """Reference: the learning rate with which one step from w = 0, y = 1, brings p to .9."""
    return 2 * math.log(9) / float(x.square().sum())


def check_rate(fn: Callable) -> None:
    """Say where one step with the learner's rate brings p, for the phone and for another customer."""
    phone = torch.tensor([0.02, 0.06, 0.13, 0.25], dtype=torch.float64)
    other = torch.tensor([1.0, 2.0], dtype=torch.float64)
    got, again = attempt(fn, phone), attempt(fn, other)
    size, want = float(phone.square().sum()), rate(phone)
    number = shape(got) == () and isinstance(got, int | float | np.number | torch.Tensor)
    p = float(torch.sigmoid(torch.as_tensor(float(got) / 2 * size))) if number else 0.0
    verdict(
        [
            (same(got, 1.0), "not done yet: with a rate of 1 the first step brings p to .51"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not number, f"return one number, the rate; got {head(got)}"),
            (same(got, want / 2), "p - y is -.5, so w is half of rate times x: p is only .75"),
            (same(got, 1.8 / size), ".9 is the probability; what must z be? The log-odds of .9"),
            (same(got, 2 * math.log(9) / math.sqrt(size)), "z = w . x holds x twice: divide by the sum of the squares"),
            (same(got, -want), "the sign: a step goes against the gradient, with a positive rate"),
            (not same(got, want, rtol=1e-2), f"with this rate one step brings p to {p:.3f}"),
            (not same(again, rate(other), rtol=1e-2), f"with x = [1, 2] expected {rate(other):.3f}, got {head(again)}"),
        ],
        "p is .9 after one step",
    )


def stable_bce(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Reference: max(z, 0) - y z + log(1 + exp(-|z|)) of each row, [n], with a slope that is right at 0 too."""
    return (1 - y) * z - logsigmoid(z)


def check_stable_bce(fn: Callable) -> None:
    """Say what is right or wrong with the learner's cross-entropy that does not overflow."""
    z, y = 2 * _normal(6), LABELS
    far, labels = torch.tensor([1e4, 1e4, -1e4, -1e4, 800.0]), torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    small = torch.tensor([40.0], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    got, ends, tiny = attempt(fn, z, y), attempt(fn, far, labels), attempt(fn, *small)
    slope = attempt(_slope, fn, torch.tensor([0.0, 0.0, 3.0]), torch.tensor([1.0, 0.0, 1.0]))
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
            (isinstance(slope, Exception), f"the loss is right; but autograd finds no way back to z: {head(slope)}"),
            (
                slope is not None
                and not same(slope, [-0.5, 0.5, float(torch.sigmoid(torch.tensor(3.0))) - 1], rtol=1e-4),
                "the loss is right everywhere, but the slope that autograd finds is not: at z = 0 it must be -.5 for "
                f"y = 1 and .5 for y = 0, yours are {head(slope)[:24]}. max and |z| have a kink there; "
                "logsigmoid(z) has none",
            ),
        ],
        "finite at both ends, and the slope is right at 0 too",
    )


def _slope(fn: Callable, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor | None:
    """What autograd finds for the sum of the learner's losses, [n]; None if the answer turns autograd off."""
    with torch.enable_grad():
        z = z.requires_grad_()
        loss = fn(z, y).sum()
        return torch.autograd.grad(loss, z)[0] if torch.is_grad_enabled() else None


def dot_grads(u, v, y, decay):
    """Reference: gradients in u and v, [n, d] each, of sum of bce(u . v, y) + decay / 2 (|u|^2 + |v|^2)."""
    error = (torch.sigmoid((u * v).sum(-1)) - y)[:, None]
    return error * v + decay * u, error * u + decay * v


def check_dot_grads(fn: Callable) -> None:
    """Say what is right or wrong with the learner's gradients of a dot product with decay, both of them mended."""
    u, v, y, decay = _normal(6, 3), _normal(6, 3, seed=1), LABELS, 0.3
    got = attempt(fn, u, v, y, decay)

    def loss(u, v):
        return losses.bce_with_logits((u * v).sum(-1), y, "sum") + decay / 2 * (u.square().sum() + v.square().sum())

    want = differences(lambda u: loss(u, v), u), differences(lambda v: loss(u, v), v)
    error = (torch.sigmoid((u * v).sum(-1)) - y)[:, None]
    pair = isinstance(got, tuple | list) and [shape(one) for one in got] == [(6, 3), (6, 3)]
    du, dv = got if pair else (got, got)
    stub = same(du, error * v - decay * u, atol=1e-6) and same(dv, error * u - decay * v, atol=1e-6)
    turned = same(du, -error * v + decay * u, atol=1e-6) and same(dv, -error * u + decay * v, atol=1e-6)
    verdict(
        [
            (stub, "not done yet: `compare` says that both gradients are wrong. Which of the two terms?"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not pair, f"return two gradients, in u and in v, [6, 3] each; got {head(got)}"),
            (
                same(du, want[1], atol=1e-6) and same(dv, want[0], atol=1e-6),
                "swapped: the gradient in u is error times v, and it comes first",
            ),
            (turned or same(dv, -error * u + decay * v, atol=1e-6), "the sign of the error was right: it is p - y"),
            (
                same(du, -error * v - decay * u, atol=1e-6),
                "now all signs are turned: this climbs; let p be too high and take a step against it",
            ),
            (not same(du, want[0], atol=1e-6), f"in u central differences give {head(want[0])}, you {head(du)}"),
            (not same(dv, want[1], atol=1e-6), f"in v central differences give {head(want[1])}, you {head(dv)}"),
        ],
        "decay pulls towards 0: added to the gradient, and so taken off the weight",
    )


KNOWS = {"a": False, "b": True, "c": False, "d": True, "e": False}


def sentences(letters: str) -> str:
    """Reference: the sentences that the comparison of section 8 supports."""
    return "".join(letter for letter in letters if KNOWS[letter])


def check_sentences(fn: Callable) -> None:
    """Say whether these are the sentences that the comparison of losses supports."""
    got = attempt(fn, "abcde")
    listed = isinstance(got, str | list | tuple | set | frozenset) and all(isinstance(one, str) for one in got)
    letters = {one.strip().lower() for one in got} - {"", ",", " "} if listed else set()
    verdict(
        [
            (listed and not letters, "not done yet: return the letters of the sentences, such as 'ab'"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not listed, f"return the letters of the sentences, such as 'ab'; got {head(got)}"),
            (not letters <= set(KNOWS), f"there are sentences a to e here; got {head(got)}"),
            ("a" in letters, f"a: two means know the label only, and are ahead of BCE too; got {head(got)}"),
            ("c" in letters, f"c: look at AUC within users: there BPR is not below BCE; got {head(got)}"),
            ("e" in letters, f"e: few steps were run here, so nothing is said of long ones; got {head(got)}"),
            (letters != {"b", "d"}, f"{', '.join(sorted({'b', 'd'} - letters))} is printed too; got {head(got)}"),
        ],
        "a control says which explanation is left",
    )


def shift(kept: float) -> float:
    """Reference: what is added to the logits of a model that has seen all positives and this share of the negatives."""
    return math.log(kept)


def check_shift(fn: Callable) -> None:
    """Say what is right or wrong with the learner's share of kept negatives and the shift that undoes it."""
    got = attempt(fn, 0.01, 0.5)
    again = attempt(fn, 0.2, 0.5)
    want = 1 / 99, math.log(1 / 99)
    pair = isinstance(got, tuple | list) and len(got) == 2 and shape(got) == (2,)
    r, moved = got if pair else (got, got)
    verdict(
        [
            (same(got, (1.0, 0.0)), "not done yet: a share of 1 keeps everything"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not pair, f"return two numbers, the share and the shift; got {head(got)}"),
            (same(r, 0.01), "1 purchase in 100 rows: 99 negatives became 1, not 100"),
            (same(r, 99.0), "this is how many negatives stood for one: the share that is kept is below 1"),
            (not same(r, want[0]), f"of 99 negatives one is kept: expected a share of {want[0]:.4f}, got {head(got)}"),
            (same(moved, -want[1]), "the sign: the sample makes buying look too likely, so the logit must fall"),
            (not same(moved, want[1]), f"add log r = {want[1]:.3f}; got {head(moved)}"),
            (
                not same(again, (0.25, math.log(0.25))),
                f"bought by 1 in 5, half of the sample: of 4 negatives one is kept, r = .25; got {head(again)}",
            ),
        ],
        "a predicted .5 is worth .01",
    )


STUCK = {"a": True, "b": False, "c": True, "d": False, "e": False}


def stuck(starts: dict[str, tuple[float, float]]) -> str:
    """Reference: the starts from which gradient descent never leaves, or runs into, the saddle."""
    return "".join(letter for letter in starts if STUCK[letter])


def check_stuck(fn: Callable) -> None:
    """Say whether these are the starts from which the descent ends in the saddle."""
    starts = {"a": (0.0, 0.0), "b": (0.1, -0.05), "c": (1.0, -1.0), "d": (-2.2, 0.9), "e": (2.3, -0.2)}
    got = attempt(fn, starts)
    listed = isinstance(got, str | list | tuple | set | frozenset) and all(isinstance(one, str) for one in got)
    letters = {one.strip().lower() for one in got} - {"", ",", " "} if listed else set()
    verdict(
        [
            (listed and not letters, "not done yet: return the letters of the starts, such as 'bd'"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not listed, f"return the letters of the starts, such as 'bd'; got {head(got)}"),
            (not letters <= set(STUCK), f"there are starts a to e here; got {head(got)}"),
            ("a" not in letters, "a: both gradients have a factor a or b, and both are 0"),
            ("b" in letters, f"b: near the saddle, but the two differ in size, so they get apart; got {head(got)}"),
            ("c" not in letters, "c: with a = -b both numbers shrink alike in every step, and never get apart"),
            (bool(letters & {"d", "e"}), "d and e: a long way, but nothing keeps the two numbers equal and opposite"),
        ],
        "two of five never arrive",
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
