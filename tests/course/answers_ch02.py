"""Right, unfinished and wrong answers to the exercises of chapter 2, each with what its checker is to say."""

import hashlib
import json

import numpy as np
import torch

from klm_utils.course.exercises import DONE, STUB, ch02
from klm_utils.embedding.pooling import masked_mean


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


def nearest(words, vectors, word, k, center=True, unit=True, itself=False, far=False):
    x = vectors - vectors.mean(0) if center else vectors
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if unit else x
    order = [words[i] for i in np.argsort(-(x @ x[words.index(word)]).round(9), kind="stable")]
    order = order[::-1] if far else order
    return [w for w in order if itself or w != word][:k]


def unit_first(words, vectors, word, k, again=True):
    x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return nearest(words, x, word, k, unit=again)


def by_distance(words, vectors, word, k):
    far = ((vectors - vectors[words.index(word)]) ** 2).sum(1)
    return [words[i] for i in np.argsort(far, kind="stable") if words[i] != word][:k]


neighbours = [
    (nearest, DONE),
    (lambda *a: tuple(nearest(*a)), DONE),
    (lambda words, vectors, word, k: words[:k], STUB),
    (lambda words, vectors, word, k: words[word], "it raises TypeError"),
    (lambda *a: nearest(*a, itself=True), "its own nearest"),
    (lambda *a: [a[2], *nearest(*a)][: a[3]], "its own nearest"),
    (lambda words, vectors, word, k: nearest(words, vectors, word, k + 1, itself=True)[1:], "among them"),
    (lambda *a: nearest(*a, far=True), "these are the farthest"),
    (lambda *a: nearest(*a, center=False), "the cone is still there"),
    (lambda *a: nearest(*a, unit=False), "long vectors win"),
    (lambda *a: unit_first(*a, again=False), "divide last"),
    (unit_first, "you divide twice"),
    (lambda *a: nearest(*a)[::-1], "expected ['tag"),
    (by_distance, "expected ['tag"),
    (lambda words, vectors, word, k: nearest(words, vectors, word, 3), "use k"),
]


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


keys = [
    (ch02.cache_key, DONE),
    (lambda texts, settings: sha(repr((texts, sorted(settings.items())))), DONE),
    (lambda texts, settings: "", "return a text"),
    (lambda texts, settings: hashlib.sha256(texts).hexdigest(), "it raises TypeError"),
    (lambda texts, settings: hashlib.sha256(json.dumps([texts, settings]).encode()).digest(), "return a text"),
    (lambda texts, settings: str(hash((tuple(texts), json.dumps(settings, sort_keys=True)))), "hash() differs"),
    (lambda texts, settings: sha(json.dumps([len(texts), settings], sort_keys=True)), "other texts have the same key"),
    (lambda texts, settings: sha(json.dumps(texts)), "other settings, other vectors"),
    (lambda texts, settings: repr(hash(tuple(texts))) + sha(json.dumps(settings)), "hash() differs"),
    (lambda texts, settings: sha("".join(texts) + json.dumps(settings, sort_keys=True)), "mark where a text ends"),
    (lambda texts, settings: sha("\x1e".join(texts) + json.dumps(settings, sort_keys=True)), "may hold your separator"),
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

keys.append((ch02.first_key, STUB))
keys.append((lambda texts, settings: sha("".join(texts) + str(settings["max_length"])), "mark where a text ends"))

readings = [
    (lambda sentences: "ac", DONE),
    (lambda sentences: "C, a", DONE),
    (lambda sentences: ["a", "c"], DONE),
    (lambda sentences: "", STUB),
    (lambda sentences: sentences[9], "it raises IndexError"),
    (lambda sentences: 3, "return letters"),
    (lambda sentences: "xy", "return letters from a to d"),
    (lambda sentences: "abc", "contains 0"),
    (lambda sentences: "acd", "one list for all reach"),
    (lambda sentences: "c", "grey band"),
    (lambda sentences: "a", "where does the item interval"),
]

twins = [
    (lambda words: ["ab", "cd", "ef"], DONE),
    (lambda words: ["FE", "dc", "ba"], DONE),
    (lambda words: [], STUB),
    (lambda words: words[9], "it raises IndexError"),
    (lambda words: "abcdef", "return a list of texts"),
    (lambda words: ["xy"], "return a list of texts"),
    (lambda words: ["ab", "cd", "ef", "a"], "two words or more"),
    (lambda words: ["ab", "bc"], "one group only"),
    (lambda words: ["abcd", "ef"], "tells them apart"),
    (lambda words: ["ab", "cd"], "no known character"),
    (lambda words: ["ab", "ef"], "on paper"),
]


def attend(q, k, mask, root=None, hide=True, dim=-1):
    score = q @ k.T / (root or k.shape[1] ** 0.5)
    score = score.masked_fill(mask == 0, float("-inf")) if hide else score
    return score.softmax(dim)


attentions = [
    (attend, DONE),
    (lambda q, k, mask: attend(q, k, mask).numpy(), DONE),
    (lambda q, k, mask: torch.full((len(q), len(k)), 1 / len(k)), STUB),
    (lambda q, k, mask: q @ k, "it raises RuntimeError"),
    (lambda q, k, mask: attend(q, k, mask).sum(1), "expected shape (4, 4)"),
    (lambda q, k, mask: q @ k.T, "these are scores"),
    (lambda q, k, mask: attend(q, k, mask, root=1), "root of the width"),
    (lambda q, k, mask: attend(q, k, mask, root=q.shape[1]), "it should be its root"),
    (lambda q, k, mask: attend(q, k, mask, root=32**0.5), "the width is q.shape[1]"),
    (lambda q, k, mask: attend(q, k, mask, root=len(k) ** 0.5), "the width is q.shape[1]"),
    (lambda q, k, mask: (q @ k.T / k.shape[1] ** 0.5 * mask).softmax(-1), "still gets a share"),
    (lambda q, k, mask: attend(q, k, mask, hide=False), "minus infinity first"),
    (lambda q, k, mask: attend(q, k, mask, hide=False) * mask, "too late"),
    (lambda q, k, mask: attend(q, k, mask, hide=False, dim=0), "dim=-1"),
    (lambda q, k, mask: attend(q, k, mask).T, "turn it"),
    (lambda q, k, mask: attend(q, k, mask) ** 2, "expected ["),
]

rows = [
    (lambda width: 385, DONE),
    (lambda width: width + 1, DONE),
    (lambda width: 2, STUB),
    (lambda width: width.max(), "it raises AttributeError"),
    (lambda width: 385.0, "a whole number"),
    (lambda width: True, "a whole number"),
    (lambda width: 5000, "a whole number"),
    (lambda width: 1000, "too many"),
    (lambda width: 384, "a larger number"),
    (lambda width: 15, "a larger number"),
]

TABLES = {
    ch02.check_masked_mean: means,
    ch02.check_nearest_tags: neighbours,
    ch02.check_cache_key: keys,
    ch02.check_reading: readings,
    ch02.check_twins: twins,
    ch02.check_attention: attentions,
    ch02.check_rows: rows,
}
