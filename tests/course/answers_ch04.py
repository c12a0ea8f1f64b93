"""Right, unfinished and wrong answers to the exercises of chapter 4, each with what its checker is to say."""

import math

import torch
from torch.nn import functional as F

from klm_utils.course.exercises import DONE, STUB, ch04


def sigma(z):
    return torch.sigmoid(z)


def step(p, factor=2.0):
    """The rate that brings z to the log-odds of p."""
    return lambda x: factor * math.log(p / (1 - p)) / float(x.square().sum())


rates = [
    (ch04.rate, DONE),
    (step(0.9), DONE),
    (lambda x: torch.tensor(ch04.rate(x)), DONE),
    (lambda x: 1.0, STUB),
    (lambda x: x @ x[:2], "it raises RuntimeError"),
    (lambda x: ch04.rate(x) * torch.ones(2), "return one number"),
    (step(0.9, 1.0), "p is only .75"),
    (lambda x: 1.8 / float(x.square().sum()), "The log-odds of .9"),
    (lambda x: 2 * math.log(9) / float(x.norm()), "divide by the sum of the squares"),
    (lambda x: -ch04.rate(x), "with a positive rate"),
    (step(0.8), "one step brings p to 0.8"),
    (lambda x: 52.69, "with x = [1, 2] expected"),
]


def naive(z, y):
    return -(y * torch.log(sigma(z)) + (1 - y) * torch.log(1 - sigma(z)))


stable = [
    (ch04.stable_bce, DONE),
    (lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none"), DONE),
    (lambda z, y: F.softplus(z, threshold=1e5) - y * z if z.abs().max() < 40 else ch04.stable_bce(z, y), DONE),
    (lambda z, y: -y * F.logsigmoid(z) - (1 - y) * F.logsigmoid(-z), DONE),
    (lambda z, y: ch04.stable_bce(z, y).detach().numpy(), "finds no way back to z"),
    (lambda z, y: ch04.stable_bce(z.detach(), y), "finds no way back to z"),
    (lambda z, y: z.clamp_min(0) - y * z + torch.log1p(torch.exp(-z.abs())), "have a kink there"),
    (lambda z, y: F.softplus(z) - y * z, "must cancel before"),
    (naive, STUB),
    (lambda z, y: z @ y[:2], "it raises RuntimeError"),
    (lambda z, y: naive(z, y) if z.abs().max() < 50 else z @ y[:2], "far out it raises RuntimeError"),
    (lambda z, y: naive(z, y).mean(), "one loss per row"),
    (lambda z, y: z.clamp_min(0) - y * z, "without it the loss at z = 0 is 0"),
    (lambda z, y: ch04.stable_bce(z, y) - y * z, "there twice"),
    (lambda z, y: ch04.stable_bce(z, 1 - y), "expected ["),
    (lambda z, y: torch.log1p(torch.exp(z)) - y * z, "it is not finite"),
    (lambda z, y: naive(z.clamp(-10, 10), y), "nothing may be cut off"),
    (
        lambda z, y: z.clamp_min(0) - y * z + torch.log(1 + torch.exp(-z.abs())),
        "torch.log1p does not",
    ),
]


def error(u, v, y):
    return (sigma((u * v).sum(-1)) - y)[:, None]


dots = [
    (ch04.dot_grads, DONE),
    (lambda u, v, y, decay: [error(u, v, y) * v + decay * u, error(u, v, y) * u + decay * v], DONE),
    (lambda u, v, y, decay: (error(u, v, y) * v - decay * u, error(u, v, y) * u - decay * v), STUB),
    (lambda u, v, y, decay: u @ v, "it raises RuntimeError"),
    (lambda u, v, y, decay: ch04.dot_grads(u, v, y, decay)[0], "return two gradients"),
    (lambda u, v, y, decay: ch04.dot_grads(u, v, y, decay)[::-1], "swapped"),
    (
        lambda u, v, y, decay: (error(u, v, y) * v + decay * u, -error(u, v, y) * u + decay * v),
        "the sign of the error was right",
    ),
    (
        lambda u, v, y, decay: (-error(u, v, y) * v - decay * u, -error(u, v, y) * u - decay * v),
        "all signs are turned",
    ),
    (
        lambda u, v, y, decay: (-error(u, v, y) * v + decay * u, -error(u, v, y) * u + decay * v),
        "the sign of the error was right",
    ),
    (lambda u, v, y, decay: (error(u, v, y) * v - decay * u, error(u, v, y) * u + decay * v), "in u central"),
    (lambda u, v, y, decay: (error(u, v, y) * v + decay * u, error(u, v, y) * u), "in v central"),
]


claims = [
    (ch04.sentences, DONE),
    (lambda letters: ["d", "b"], DONE),
    (lambda letters: "B, D", DONE),
    (lambda letters: "", STUB),
    (lambda letters: letters + 1, "it raises TypeError"),
    (lambda letters: 2, "return the letters"),
    (lambda letters: "bf", "there are sentences a to e"),
    (lambda letters: "abd", "know the label only"),
    (lambda letters: "bcd", "not below BCE"),
    (lambda letters: "bde", "nothing is said of long ones"),
    (lambda letters: "b", "d is printed too"),
]

shifts = [
    (lambda life, sample: (life / (1 - life) * (1 - sample) / sample, math.log(life / (1 - life))), DONE),
    (lambda life, sample: [1 / (1 / life - 1), ch04.shift(1 / (1 / life - 1))], DONE),
    (lambda life, sample: torch.tensor([life / (1 - life), math.log(life / (1 - life))]).tolist(), DONE),
    (lambda life, sample: (1.0, 0.0), STUB),
    (lambda life, sample: life.log(), "it raises AttributeError"),
    (lambda life, sample: math.log(life), "return two numbers"),
    (lambda life, sample: (life, math.log(life)), "not 100"),
    (lambda life, sample: (99.0, math.log(99)), "is below 1"),
    (lambda life, sample: (life / sample, math.log(life / sample)), "expected a share of 0.0101"),
    (lambda life, sample: (1 / 99, math.log(99)), "so the logit must fall"),
    (lambda life, sample: (1 / 99, -4.0), "add log r"),
    (lambda life, sample: (1 / 99, math.log(1 / 99)), "bought by 1 in 5"),
]

saddles = [
    (ch04.stuck, DONE),
    (lambda starts: {"a", "c"}, DONE),
    (lambda starts: "", STUB),
    (lambda starts: starts["z"], "it raises KeyError"),
    (lambda starts: 2, "return the letters"),
    (lambda starts: "ax", "there are starts a to e"),
    (lambda starts: "c", "both gradients have a factor"),
    (lambda starts: "a", "shrink alike in every step"),
    (lambda starts: "abc", "so they get apart"),
    (lambda starts: "acd", "a long way"),
]


def chosen(z):
    return z.logsumexp(-1) - z[:, 0]


corrections = [
    (ch04.corrected_loss, DONE),
    (lambda z, count: chosen(z - torch.log(count / count.sum(-1, keepdim=True))), DONE),
    (lambda z, count: -F.log_softmax(z - count.log(), -1)[:, 0], DONE),
    (lambda z, count: chosen(z), STUB),
    (lambda z, count: z @ count, "it raises RuntimeError"),
    (lambda z, count: chosen(z - count.log()).mean(), "one loss per row"),
    (lambda z, count: -chosen(z - count.log()), "minus the logarithm"),
    (lambda z, count: chosen(z + count.log()), "take log q off"),
    (lambda z, count: chosen(z - count / count.sum(-1, keepdim=True)), "log q, not q"),
    (
        lambda z, count: chosen(torch.cat([z[:, :1], z[:, 1:] - count[:, 1:].log()], 1)),
        "the chosen item is corrected too",
    ),
    (lambda z, count: chosen(z - 2 * count.log()), "expected ["),
    (
        lambda z, count: torch.log((z - count.log()).exp().sum(-1)) - (z - count.log())[:, 0],
        "use logsumexp",
    ),
]


def gate_parts(dv, g, item, text, weight, factor=None, other=1.0):
    """d item, d text, d weight; `factor` is what dz is without dv."""
    dz = dv * (other * (item - text) * g * (1 - g) if factor is None else factor)
    a, b = (dz @ weight).chunk(2, -1)
    return g * dv + a, (1 - g) * dv + b, dz.T @ torch.cat([item, text], -1)


gates = [
    (ch04.gate_back, DONE),
    (gate_parts, DONE),
    (lambda dv, g, item, text, w: (g * dv, (1 - g) * dv, torch.zeros_like(w)), STUB),
    (lambda dv, g, item, text, w: w @ dv, "it raises RuntimeError"),
    (lambda dv, g, item, text, w: gate_parts(dv, g, item, text, w)[:2], "return d item, d text and d weight"),
    (lambda dv, g, item, text, w: gate_parts(dv, g, item, text, w, item - text), "derivative g (1 - g) is missing"),
    (lambda dv, g, item, text, w: gate_parts(dv, g, item, text, w, g * (1 - g)), "what does g weigh?"),
    (lambda dv, g, item, text, w: gate_parts(dv, g, item, text, w, other=-1.0), "not (text - item)"),
    (
        lambda dv, g, item, text, w: (
            *((dv * (item - text) * g * (1 - g)) @ w).chunk(2, -1),
            gate_parts(dv, g, item, text, w)[2],
        ),
        "straight through is missing",
    ),
    (
        lambda dv, g, item, text, w: (
            gate_parts(dv, g, item, text, w)[1],
            gate_parts(dv, g, item, text, w)[0],
            gate_parts(dv, g, item, text, w)[2],
        ),
        "swapped",
    ),
    (lambda dv, g, item, text, w: [1.1 * one for one in gate_parts(dv, g, item, text, w)], "in item central"),
    (lambda dv, g, item, text, w: (gate_parts(dv, g, item, text, w)[0], 0 * text, w), "in text central"),
    (lambda dv, g, item, text, w: (*gate_parts(dv, g, item, text, w)[:2], 2 * w), "in weight central"),
]

TABLES = {
    ch04.check_rate: rates,
    ch04.check_stable_bce: stable,
    ch04.check_dot_grads: dots,
    ch04.check_sentences: claims,
    ch04.check_shift: shifts,
    ch04.check_stuck: saddles,
    ch04.check_corrected_loss: corrections,
    ch04.check_gate_back: gates,
}
