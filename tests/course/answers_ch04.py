"""Right, unfinished and wrong answers to the exercises of chapter 4, each with what its checker is to say."""

import torch
from torch.nn import functional as F

from klm_utils.course.exercises import DONE, STUB, ch04


def sigma(z):
    return torch.sigmoid(z)


derivatives = [
    (ch04.bce_grad, DONE),
    (lambda z, y: 1 / (1 + torch.exp(-z)) - y, DONE),
    (lambda z, y: torch.zeros_like(z), STUB),
    (lambda z, y: z @ y[:2], "it raises RuntimeError"),
    (lambda z, y: y - sigma(z), "too high must get a positive"),
    (lambda z, y: -y / sigma(z) + (1 - y) / (1 - sigma(z)), "dp/dz = p (1 - p) is missing"),
    (lambda z, y: sigma(z) * (1 - sigma(z)), "dp/dz alone"),
    (lambda z, y: -z, "the derivative in y"),
    (lambda z, y: z - y, "that of the squared error"),
    (lambda z, y: (sigma(z) - y) / len(z), "leave the division"),
    (lambda z, y: sigma(z) - y + 1e-3, "central differences give"),
    (lambda z, y: None, "central differences give"),
]


def naive(z, y):
    return -(y * torch.log(sigma(z)) + (1 - y) * torch.log(1 - sigma(z)))


stable = [
    (ch04.stable_bce, DONE),
    (lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none"), DONE),
    (lambda z, y: F.softplus(z, threshold=1e5) - y * z if z.abs().max() < 40 else ch04.stable_bce(z, y), DONE),
    (lambda z, y: ch04.stable_bce(z, y).numpy(), DONE),
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
    (lambda u, v, y, decay: (error(u, v, y) * v + decay * u, error(u, v, y) * u - decay * v), STUB),
    (lambda u, v, y, decay: u @ v, "it raises RuntimeError"),
    (lambda u, v, y, decay: ch04.dot_grads(u, v, y, decay)[0], "return two gradients"),
    (lambda u, v, y, decay: ch04.dot_grads(u, v, y, decay)[::-1], "swapped"),
    (
        lambda u, v, y, decay: (error(u, v, y) * v + decay * u, -error(u, v, y) * u + decay * v),
        "in v the other sign was right",
    ),
    (lambda u, v, y, decay: (error(u, v, y) * v - decay * u, error(u, v, y) * u + decay * v), "in u central"),
    (lambda u, v, y, decay: (error(u, v, y) * v + decay * u, error(u, v, y) * u), "in v central"),
]


def push(u, i, j):
    return sigma((u * j).sum(-1) - (u * i).sum(-1))[:, None]


pairs = [
    (ch04.bpr_grads, DONE),
    (
        lambda u, i, j: ((1 - sigma((u * (i - j)).sum(-1)))[:, None] * (j - i), -push(u, i, j) * u, push(u, i, j) * u),
        DONE,
    ),
    (lambda u, i, j: (torch.zeros_like(u), torch.zeros_like(i), torch.zeros_like(j)), STUB),
    (lambda u, i, j: u @ i, "it raises RuntimeError"),
    (lambda u, i, j: push(u, i, j), "return three gradients"),
    (lambda u, i, j: tuple(-one for one in ch04.bpr_grads(u, i, j)), "this is the way up"),
    (
        lambda u, i, j: ((1 - push(u, i, j)) * (j - i), (push(u, i, j) - 1) * u, (1 - push(u, i, j)) * u),
        "must push little",
    ),
    (lambda u, i, j: (push(u, i, j) * (j - i), push(u, i, j) * u, -push(u, i, j) * u), "i and j are swapped"),
    (lambda u, i, j: (-ch04.bpr_grads(u, i, j)[0], *ch04.bpr_grads(u, i, j)[1:]), "the sign in u"),
    (lambda u, i, j: tuple(list(one) for one in ch04.bpr_grads(u, i, j)), DONE),
    (lambda u, i, j: (-push(u, i, j) * i, *ch04.bpr_grads(u, i, j)[1:]), "u takes part in both"),
    (lambda u, i, j: [1.1 * one for one in ch04.bpr_grads(u, i, j)], "in u central differences"),
    (lambda u, i, j: (ch04.bpr_grads(u, i, j)[0], 0 * u, 0 * u), "in i central differences"),
    (lambda u, i, j: (*ch04.bpr_grads(u, i, j)[:2], 0 * u), "in j central differences"),
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
    ch04.check_bce_grad: derivatives,
    ch04.check_stable_bce: stable,
    ch04.check_dot_grads: dots,
    ch04.check_bpr_grads: pairs,
    ch04.check_corrected_loss: corrections,
    ch04.check_gate_back: gates,
}
