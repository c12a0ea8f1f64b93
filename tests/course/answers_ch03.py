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
    (lambda w, c, i, u: (i @ w[2:] + c, u @ w[:2]), "the halves are swapped"),
    (lambda w, c, i, u: (i @ w[2:], u @ w[:2]), "the halves are swapped"),
    (lambda w, c, i, u: (i @ w[:3] + c, -u @ w[3:]), "of user 0: expected"),
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
    (lambda i, t, w, b: opened(logits(i, t, w, 0 * b).sigmoid(), i, t), "the bias is missing"),
    (lambda i, t, w, b: opened(logits(i, t, 2 * w, b).sigmoid(), i, t), "expected ["),
]


def attend(query, keys, mask, fill=float("-inf"), scale=True, zeros=True):
    score = torch.einsum("nd,ntd->nt", query, keys) / (query.shape[-1] ** 0.5 if scale else 1)
    weight = score.masked_fill(mask == 0, fill).softmax(-1)
    return weight.nan_to_num() if zeros else weight


def after(query, keys, mask):
    return (torch.einsum("nd,ntd->nt", query, keys) / query.shape[-1] ** 0.5).softmax(-1) * mask


def by_zero(query, keys, mask):
    return (torch.einsum("nd,ntd->nt", query, keys) / query.shape[-1] ** 0.5 * mask).softmax(-1)


attentions = [
    (ch03.weights, DONE),
    (attend, DONE),
    (lambda q, k, m: torch.full(m.shape, 1 / m.shape[1]), STUB),
    (lambda q, k, m: q @ k, "it raises RuntimeError"),
    (lambda q, k, m: torch.einsum("nt,ntd->nd", attend(q, k, m), k), "not the average of the keys"),
    (lambda q, k, m: attend(q, k, torch.ones_like(m)), "padding takes part"),
    (after, "the weights no longer sum to 1"),
    (by_zero, "still gets weight exp(0)"),
    (lambda q, k, m: by_zero(q, k, m) * m, "still gets weight exp(0)"),
    (lambda q, k, m: attend(q, k, m, scale=False), "divide the scores by sqrt(d)"),
    (lambda q, k, m: attend(q, k, m, zeros=False), "gets nan"),
    (lambda q, k, m: attend(q, k, m, fill=-1e30), "must get zeros"),
    (lambda q, k, m: attend(q, k, m) * 2, "row 0: expected ["),
    (lambda q, k, m: attend(q, k, m) * torch.tensor([[1.0], [2.0], [1.0]]), "row 1: expected ["),
    (lambda q, k, m: attend(q, k, m)[:, :2], "return the weights, [3, 5]"),
]

same_lists = [
    (lambda ways: "abcg", DONE),
    (lambda ways: "c, g, a, b", DONE),
    (lambda ways: "", STUB),
    (lambda ways: ways[9], "it raises IndexError"),
    (lambda ways: "ABCG", DONE),
    (lambda ways: ["a", "b", "c", "g"], DONE),
    (lambda ways: "a, b, c and g", 'such as "ab"'),
    (lambda ways: 3, "return letters"),
    (lambda ways: "abh", "return letters"),
    (lambda ways: "abcf", "f multiplies"),
    (lambda ways: "abce", "e has products"),
    (lambda ways: "abcd", "d adds"),
    (lambda ways: "bcg", "a adds a(film)"),
    (lambda ways: "acg", "two linear layers"),
    (lambda ways: "abg", "the sigmoid grows"),
    (lambda ways: "abc", "g bends each side"),
]


def fading(vectors, history, target, root=0.5, left=True):
    others = history[history != target]
    return vectors[others].sum(0) / max(len(others) if left else len(history), 1) ** root


pasts = [
    (ch03.past, DONE),
    (fading, DONE),
    (lambda v, h, t: v[h].sum(0) / len(h) ** 0.5, STUB),
    (lambda v, h, t: v[h[t]], "it raises IndexError"),
    (lambda v, h, t: v[h], "return one vector"),
    (lambda v, h, t: fading(v, h, t, left=False), "divide by the root of the number of films that are left"),
    (lambda v, h, t: fading(v, h, t, root=1), "not by the number"),
    (lambda v, h, t: fading(v, h, 4), "expected ["),
    (lambda v, h, t: (v[h].sum(0) - v[t]) / (len(h) - 1) ** 0.5, "takes nothing away"),
    (lambda v, h, t: v[h[h != t]].sum(0) / len(h[h != t]) ** 0.5, "must give zeros"),
]

factors = [
    (lambda films: 0.5, DONE),
    (lambda films: 0.51, DONE),
    (lambda films: 1.0, STUB),
    (lambda films: 1 / 0, "it raises ZeroDivisionError"),
    (lambda films: "half", "return a number"),
    (lambda films: 0.7, "must fade faster"),
    (lambda films: 0.3, "must fade more slowly"),
]

claims = [
    (lambda sentences: "ac", DONE),
    (lambda sentences: "c a", DONE),
    (lambda sentences: "", STUB),
    (lambda sentences: sentences[9], "it raises IndexError"),
    (lambda sentences: ["A", "C"], DONE),
    (lambda sentences: 3, "return letters"),
    (lambda sentences: "abc", "b: look"),
    (lambda sentences: "acd", "d: that row is grey"),
    (lambda sentences: "c", "a: look"),
    (lambda sentences: "a", "c: look"),
]

TABLES = {
    ch03.check_same_lists: same_lists,
    ch03.check_additive: proofs,
    ch03.check_gate: gates,
    ch03.check_recency: factors,
    ch03.check_weights: attentions,
    ch03.check_past: pasts,
    ch03.check_claims: claims,
}
