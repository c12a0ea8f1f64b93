"""Right, unfinished and wrong answers to the exercises of chapter 3, each with what its checker is to say."""

import torch

from klm_utils.course.exercises import DONE, STUB, ch03


def split(weight, items):
    return weight[: items.shape[1]], weight[items.shape[1] :]


proofs = [
    (ch03.additive, DONE),
    (lambda w, c, i, u: (i @ w[:3], u @ w[3:] + c), DONE),
    (lambda w, c, i, u: (torch.zeros(len(i)), torch.zeros(len(u))), STUB),
    (lambda w, c, i, u: (i @ w, u @ w), "it raises RuntimeError"),
    (lambda w, c, i, u: ch03.additive(w, c, i, u)[::-1], "comes first"),
    (lambda w, c, i, u: ch03.additive(w, c, i, u)[0], "return a, one number per item"),
    (lambda w, c, i, u: (i @ w[:3], u @ w[3:]), "the bias is missing"),
    (lambda w, c, i, u: (i @ w[:3] + c, u @ w[3:] + c), "counted twice"),
    (lambda w, c, i, u: (i @ w[2:] + c, u @ w[:2]), "of user 0: expected"),
]


def opened(z, item, text):
    return z * item + (1 - z) * text


def logits(item, text, weight, bias):
    return torch.cat([item, text], -1) @ weight.T + bias


gates = [
    (ch03.gate, DONE),
    (lambda i, t, w, b: torch.lerp(t, i, logits(i, t, w, b).sigmoid()), DONE),
    (lambda i, t, w, b: (i + t) / 2, STUB),
    (lambda i, t, w, b: i @ w.T, "it raises RuntimeError"),
    (lambda i, t, w, b: opened(logits(i, t, w, b), i, t), "through the sigmoid"),
    (lambda i, t, w, b: opened(logits(i, t, w, b).sigmoid(), t, i), "g belongs to the item"),
    (lambda i, t, w, b: logits(i, t, w, b).sigmoid() * (i + t), "what the item leaves"),
    (lambda i, t, w, b: opened(logits(t, i, w, b).sigmoid(), i, t), "in this order"),
    (lambda i, t, w, b: opened(logits(i, t, w, b).softmax(-1), i, t), "sigmoid, not softmax"),
    (lambda i, t, w, b: opened(logits(i, t, w, 0 * b).sigmoid(), i, t), "expected [0.732248"),
]


def attend(query, keys, mask, fill=float("-inf"), scale=True, zeros=True):
    score = torch.einsum("nd,ntd->nt", query, keys) / (query.shape[-1] ** 0.5 if scale else 1)
    weight = score.masked_fill(mask == 0, fill).softmax(-1)
    return torch.einsum("nt,ntd->nd", weight.nan_to_num() if zeros else weight, keys)


def after(query, keys, mask):
    score = torch.einsum("nd,ntd->nt", query, keys) / query.shape[-1] ** 0.5
    return torch.einsum("nt,ntd->nd", score.softmax(-1) * mask, keys)


attentions = [
    (ch03.attended, DONE),
    (attend, DONE),
    (lambda q, k, m: k.mean(1), STUB),
    (lambda q, k, m: q @ k, "it raises RuntimeError"),
    (lambda q, k, m: attend(q, k, torch.ones_like(m)), "padding takes part"),
    (after, "the weights no longer sum to 1"),
    (lambda q, k, m: attend(q, k, m, fill=0.0), "still gets weight exp(0)"),
    (lambda q, k, m: attend(q, k, m, scale=False), "divide the scores by sqrt(d)"),
    (lambda q, k, m: attend(q, k, m, zeros=False), "gets nan"),
    (lambda q, k, m: attend(q, k, m, fill=-1e30), "must get zeros"),
    (lambda q, k, m: attend(q, k, m) * 2, "expected ["),
]


def dropped(vectors, rate, training, draw, width=1, scale=1.0, always=False):
    if not (training or always):
        return vectors
    return vectors * (torch.rand(len(vectors), width, generator=draw) >= rate) * scale


dropouts = [
    (ch03.id_dropout, DONE),
    (dropped, DONE),
    (lambda v, rate, training, draw: v, STUB),
    (lambda v, rate, training, draw: torch.dropout(v), "it raises TypeError"),
    (lambda v, rate, training, draw: dropped(v, rate, training, draw)[:10], "some rows zero; got"),
    (lambda v, rate, training, draw: dropped(v, rate, training, draw, width=3), "single numbers are dropped"),
    (lambda v, rate, training, draw: dropped(v, rate, training, draw, scale=1 / 0.75), "the others are scaled up"),
    (lambda v, rate, training, draw: dropped(v, rate, training, draw, scale=2.0), "must stay as they are"),
    (lambda v, rate, training, draw: dropped(v, 1 - rate, training, draw), "not the share that stays"),
    (lambda v, rate, training, draw: dropped(v, 0.5, training, draw), "a quarter of the rows"),
    (lambda v, rate, training, draw: dropped(v, rate, training, draw, always=True), "outside of training"),
    (
        lambda v, rate, training, draw: dropped(v, rate, training, torch.Generator().manual_seed(3)),
        "with the generator",
    ),
]

errors = [
    (ch03.squared_error, DONE),
    (lambda s, y: torch.nn.functional.mse_loss(s.view(-1), y), DONE),
    (lambda s, y: ((s - y) ** 2).mean(), STUB),
    (lambda s, y: (s @ y).mean(), "it raises RuntimeError"),
    (lambda s, y: ((s[:, 0] - y) ** 2).mean(), "with scores of shape [6] it raises"),
    (lambda s, y: ((s.reshape(-1) - y) ** 2).sum(), "return the mean over the rows"),
    (lambda s, y: (s.reshape(-1) - y) ** 2, "return one number"),
    (lambda s, y: (s.reshape(-1) - y).abs().mean(), "expected 1."),
    (lambda s, y: ((s.reshape(-1) - y) ** 2).mean() if s.ndim == 2 else s.mean(), "with scores of shape [6] expected"),
]

TABLES = {
    ch03.check_additive: proofs,
    ch03.check_gate: gates,
    ch03.check_attended: attentions,
    ch03.check_id_dropout: dropouts,
    ch03.check_squared_error: errors,
}
