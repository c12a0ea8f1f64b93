"""Right, unfinished and wrong answers to the exercises of chapter 2, each with what its checker is to say."""

import hashlib
import json

import numpy as np
import torch

from klm_utils.course.exercises import DONE, STUB, ch02
from klm_utils.embedding.pooling import masked_mean
from klm_utils.embedding.whitening import fit_whitening


def by_sum(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


means = [
    (masked_mean, DONE),
    (by_sum, DONE),
    (lambda hidden, mask: hidden[:, 0], STUB),
    (lambda hidden, mask: hidden.average(1), "it raises AttributeError"),
    (lambda hidden, mask: hidden.mean(1), "padding is averaged too"),
    (lambda hidden, mask: (hidden * mask[..., None]).mean(1), "the number of real tokens"),
    (lambda hidden, mask: hidden.mean(), "one number is left"),
    (lambda hidden, mask: by_sum(hidden, mask).T, "expected shape (3, 5)"),
    (lambda hidden, mask: (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), "divide by at least 1"),
    (lambda hidden, mask: by_sum(hidden, mask) * 2, "expected [-0.73107"),
]


def change(pool, hidden, mask, fill=100.0, hide=0, reduce=torch.max, absolute=True):
    n, _, d = hidden.shape
    longer = torch.cat([hidden, torch.full((n, 3, d), fill, dtype=hidden.dtype)], 1)
    moved = pool(longer, torch.cat([mask, torch.full((n, 3), hide)], 1)) - pool(hidden, mask)
    return float(reduce(moved.abs() if absolute else moved))


def unmoved(pool, hidden, mask):
    change(pool, hidden, mask)
    return 0.0


def same_pooling(pool, hidden, mask):
    return float((pool(hidden, mask) - pool(hidden, mask)).abs().max())


changes = [
    (ch02.padding_change, DONE),
    (change, DONE),
    (lambda pool, hidden, mask: -1, STUB),
    (lambda pool, hidden, mask: pool(hidden), "it raises TypeError"),
    (lambda pool, hidden, mask: pool(hidden, mask), "return one number"),
    (lambda pool, hidden, mask: change(pool, hidden, mask) < 1e-6, "return one number"),
    (lambda pool, hidden, mask: change(pool, hidden, mask, hide=1), "they must be padding, mask 0"),
    (same_pooling, "no position was added"),
    (unmoved, "the naive mean passes"),
    (lambda pool, hidden, mask: change(pool, hidden, mask, fill=0.0), "a plain sum passes"),
    (lambda pool, hidden, mask: change(pool, hidden, mask, absolute=False), "take .abs() before .max()"),
    (lambda pool, hidden, mask: change(pool, hidden, mask, reduce=torch.sum), "not a mean or a sum"),
    (lambda pool, hidden, mask: change(pool, hidden, mask, reduce=lambda x: x[0].max()), "wrong for one text only"),
]


def zca(train, new, center=True, power=-0.5, turn=True):
    mean = train.mean(0)
    values, vectors = np.linalg.eigh(np.cov(train.T))
    moved = (new - mean if center else new) @ vectors * values**power
    return moved @ vectors.T if turn else moved


whitenings = [
    (zca, DONE),
    (lambda train, new: fit_whitening(train)(new, normalize=False), DONE),
    (lambda train, new: zca(train, new) * np.sqrt(300 / 299), DONE),
    (lambda train, new: new, STUB),
    (lambda train, new: np.linalg.sqrtm(train), "it raises AttributeError"),
    (lambda train, new: new - train.mean(0), "centring alone"),
    (lambda train, new: zca(new, new), "learn them on train"),
    (lambda train, new: zca(train, new, power=-1), "not by the variance"),
    (lambda train, new: zca(train, new, center=False), "the mean of train was not subtracted"),
    (lambda train, new: zca(train, new, turn=False), "turn back with U.T"),
    (lambda train, new: zca(train, new) / np.linalg.norm(zca(train, new), axis=1, keepdims=True), "expected ["),
]


def nearest(words, vectors, word, k, center=True, unit=True, itself=False, far=False):
    x = vectors - vectors.mean(0) if center else vectors
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if unit else x
    order = [words[i] for i in np.argsort(-x @ x[words.index(word)], kind="stable")]
    order = order[::-1] if far else order
    return [w for w in order if itself or w != word][:k]


def unit_first(words, vectors, word, k):
    x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return nearest(words, x, word, k)


neighbours = [
    (nearest, DONE),
    (lambda *a: tuple(nearest(*a)), DONE),
    (lambda words, vectors, word, k: words[:k], STUB),
    (lambda words, vectors, word, k: words[word], "it raises TypeError"),
    (lambda *a: nearest(*a, itself=True), "its own nearest"),
    (lambda *a: nearest(*a, far=True), "these are the farthest"),
    (lambda *a: nearest(*a, center=False), "the cone is still there"),
    (lambda *a: nearest(*a, unit=False), "long vectors win"),
    (lambda *a: nearest(*a)[::-1], "expected ['tag"),
    (unit_first, "expected ['tag"),
]


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


keys = [
    (ch02.cache_key, DONE),
    (lambda texts, settings: sha(repr((texts, sorted(settings.items())))), DONE),
    (lambda texts, settings: "", STUB),
    (lambda texts, settings: hashlib.sha256(texts).hexdigest(), "it raises TypeError"),
    (lambda texts, settings: hashlib.sha256(json.dumps([texts, settings]).encode()).digest(), "return a text"),
    (lambda texts, settings: str(hash((tuple(texts), json.dumps(settings, sort_keys=True)))), "hash() differs"),
    (lambda texts, settings: sha(json.dumps([len(texts), settings], sort_keys=True)), "other texts have the same key"),
    (lambda texts, settings: sha(json.dumps(texts)), "other settings, other vectors"),
    (lambda texts, settings: sha("".join(texts) + json.dumps(settings, sort_keys=True)), "mark where a text ends"),
    (lambda texts, settings: sha("|".join(texts) + json.dumps(settings, sort_keys=True)), "may hold your separator"),
    (
        lambda texts, settings: sha("<sep>".join(texts) + json.dumps(settings, sort_keys=True)),
        "may hold your separator",
    ),
    (lambda texts, settings: ch02.cache_key(list(dict.fromkeys(texts)), settings), "counts once"),
    (lambda texts, settings: sha(json.dumps([texts, settings], sort_keys=True)[:100]), "only the beginning"),
    (
        lambda texts, settings: ch02.cache_key(texts, [settings.get("model"), settings.get("max_length")]),
        "did not foresee",
    ),
    (lambda texts, settings: ch02.cache_key(texts, [v for _, v in sorted(settings.items())]), "not their names"),
    (lambda texts, settings: ch02.cache_key(texts, {k: str(v) for k, v in settings.items()}), "1 and '1' share"),
    (lambda texts, settings: str(int(ch02.cache_key(texts, settings), 16)), DONE),
    (lambda texts, settings: sha(json.dumps([sorted(texts), settings], sort_keys=True)), "the order of the texts"),
    (lambda texts, settings: sha(json.dumps([texts, settings])), "sort_keys=True"),
    (lambda texts, settings: "k" + ch02.cache_key(texts, settings)[:8], "use all of sha256"),
]

TABLES = {
    ch02.check_masked_mean: means,
    ch02.check_padding_change: changes,
    ch02.check_whitening: whitenings,
    ch02.check_nearest_tags: neighbours,
    ch02.check_cache_key: keys,
}
