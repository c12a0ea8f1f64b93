"""Checkers of 02_embedding."""

import hashlib
import json
from collections.abc import Callable

import numpy as np
import torch

from klm_utils.course.exercises import attempt, has_nan, head, same, shape, verdict
from klm_utils.embedding.pooling import masked_mean
from klm_utils.embedding.whitening import fit_whitening


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three texts of 4, 2 and 0 tokens; what stands in the padding is large."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
    return hidden + 50.0 * (1 - mask)[..., None], mask


def check_masked_mean(fn: Callable) -> None:
    """Say what is right or wrong with the learner's mean over the tokens of each text."""
    hidden, mask = _batch()
    got, want = attempt(fn, hidden, mask), masked_mean(hidden, mask)
    rows = got[:2] if isinstance(got, torch.Tensor) and got.ndim == 2 else got
    verdict(
        [
            (same(got, hidden[:, 0]), "not done yet: this is the first token of each text"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, hidden.mean(1)), "padding is averaged too: multiply by the mask before you add up"),
            (
                same(got, (hidden * mask[..., None]).mean(1)),
                "the sum is right; divide by the number of real tokens, not by the length of the batch",
            ),
            (
                isinstance(got, torch.Tensor) and got.ndim == 0,
                "one number is left of the whole batch: add up over the tokens only (dim=1)",
            ),
            (shape(got) != (3, 5), f"expected shape (3, 5), a vector for each text; got {head(got)}"),
            (same(rows, want[:2]) and has_nan(got), "a text without any token gives nan: divide by at least 1"),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
        ],
        "padding has no say, and no text divides by zero",
    )


def padding_change(pool, hidden: torch.Tensor, mask: torch.Tensor, extra: int = 5) -> float:
    """Reference: the largest change of a vector when `extra` padded positions are added to each text."""
    filler = 100 * torch.ones(len(hidden), extra, hidden.shape[2], dtype=hidden.dtype)
    longer = torch.cat([hidden, filler], 1), torch.cat([mask, torch.zeros(len(mask), extra, dtype=mask.dtype)], 1)
    return float((pool(*longer) - pool(hidden, mask)).abs().max())


def check_padding_change(fn: Callable) -> None:
    """Say what is right or wrong with the learner's test of padding invariance."""
    hidden, mask = _batch()
    hidden, mask = hidden[:2], mask[:2]

    def naive(hidden, mask):
        return hidden.mean(1)

    def last_row(hidden, mask):  # wrong for the shorter text only
        return torch.stack([hidden[0, 3], hidden[1, -1]])

    def total(hidden, mask):
        return hidden.sum(1)

    lengths = []

    def spied(hidden, mask):  # two entries fall by 1 for each added position
        lengths.append(hidden.shape[1])
        out = torch.zeros(2, 5, dtype=hidden.dtype)
        out[1, 2:4] = -float(hidden.shape[1])
        return out

    got = {pool.__name__: attempt(fn, pool, hidden, mask) for pool in (masked_mean, naive, last_row, total, spied)}
    added = max(lengths, default=0) - hidden.shape[1]
    numbers = {name: value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
               for name, value in got.items()}  # fmt: skip
    plain = all(isinstance(value, int | float | np.number) and value == value for value in numbers.values())
    first = next((value for value in got.values() if isinstance(value, Exception)), got["naive"])
    verdict(
        [
            (plain and all(value == -1 for value in numbers.values()), "not done yet: -1 is no change"),
            (isinstance(first, Exception), f"it raises {head(first)}"),
            (not plain or isinstance(first, bool), f"return one number, the largest change; got {head(first)}"),
            (
                plain and numbers["masked_mean"] > 1e-9,
                "masked_mean changes? Then the added positions have mask 1: they must be padding, mask 0",
            ),
            (added < 1, "no position was added: append padded positions to those of the batch"),
            (plain and not numbers["naive"] > 0, "the naive mean passes, and must not: compare before with after"),
            (
                plain and not numbers["total"] > 0,
                "a plain sum passes: fill the added positions with something large, not 0",
            ),
            (
                plain and not numbers["last_row"] > 0,
                "a pooling that is wrong for one text only passes: take the largest change of all, not that of one row",
            ),
            (plain and not numbers["spied"] > 0, "a change downwards is a change: take .abs() before .max()"),
            (plain and abs(numbers["spied"] - added) > 1e-6, "return the largest change, not a mean or a sum"),
        ],
        "a pooling passes if padding cannot move it",
    )


def check_whitening(fn: Callable) -> None:
    """Say what is right or wrong with the learner's ZCA whitening."""
    rng = np.random.default_rng(0)
    train = (rng.normal(size=(300, 6)) * [4, 2, 1, 1, 0.5, 0.2]) @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 3
    new = rng.normal(size=(20, 6)) + 3
    got = attempt(fn, train, new)
    zca, pca = (fit_whitening(train, kind)(new, normalize=False) for kind in ("zca", "pca"))
    of_new = fit_whitening(new)(new, normalize=False)
    values, vectors = np.linalg.eigh(np.cov(train.T))
    centred = new - train.mean(0)
    absolute = np.sort(np.abs(got), axis=1) if shape(got) == (20, 6) and not has_nan(got) else None

    def near(want, value=got):
        return same(value, want, rtol=2e-2, atol=2e-2)  # n or n - 1 under the covariance is not the point

    verdict(
        [
            (same(got, new), "not done yet: the vectors come back as they were"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (near(centred), "this is centring alone; now even out the directions"),
            (near(of_new), "mean and covariance come from the new vectors: learn them on train, apply them to new"),
            (
                near(centred @ vectors / values @ vectors.T),
                "divide by the standard deviation, sqrt(v), not by the variance",
            ),
            (near(new @ vectors / np.sqrt(values) @ vectors.T), "the mean of train was not subtracted"),
            (
                absolute is not None and near(np.sort(np.abs(pca), axis=1), absolute),
                "this is PCA whitening, also white; for ZCA turn back with U.T at the end",
            ),
            (not near(zca), f"expected {head(zca)}, got {head(got)}"),
        ],
        "covariance I on train, and as near as can be to where it came from",
    )


def check_nearest_tags(fn: Callable) -> None:
    """Say what is right or wrong with the learner's nearest tags after centring."""
    rng = np.random.default_rng(3)
    words = [f"tag{i}" for i in range(12)]
    vectors = rng.normal(size=(12, 4)) * rng.uniform(0.2, 5, (12, 1)) + [3, 0, 0, 0]

    def ranked(x, unit=True):
        x = x / np.linalg.norm(x, axis=1, keepdims=True) if unit else x
        return [words[i] for i in np.argsort(-x @ x[2], kind="stable")]

    centred = vectors - vectors.mean(0)
    want = [word for word in ranked(centred) if word != "tag2"][:3]
    raw = [word for word in ranked(vectors) if word != "tag2"][:3]
    long = [word for word in ranked(centred, unit=False) if word != "tag2"][:3]
    got = attempt(fn, words, vectors, "tag2", 3)
    if isinstance(got, tuple) or (isinstance(got, np.ndarray) and got.dtype.kind in "UO"):
        got = [str(word) for word in got]
    verdict(
        [
            (same(got, words[:3]), "not done yet: these are the first three"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, ranked(centred)[:3]), "the tag itself is its own nearest neighbour: leave it out"),
            (same(got, ranked(centred)[::-1][:3]), "these are the farthest"),
            (same(got, raw), "the cone is still there: subtract the mean of all vectors first"),
            (same(got, long), "long vectors win: divide by the length, after centring"),
            (not same(got, want), f"expected {want}, got {head(got)}"),
        ],
        "centred, of length one, and not itself",
    )


def cache_key(texts: list[str], settings: dict) -> str:
    """Reference: equal for equal inputs, whatever the process; different for different ones."""
    return hashlib.sha256(json.dumps([texts, settings], sort_keys=True).encode()).hexdigest()


def check_cache_key(fn: Callable) -> None:
    """Say what is right or wrong with the learner's key of a cache."""
    base, settings = ["red", "car"], {"model": "e5", "max_length": 256}
    pairs = [  # two inputs that must have two keys, and what to say if they share one
        ((base, settings), (["blue", "car"], settings), "other texts have the same key"),
        ((base, settings), (base, settings | {"max_length": 16}), "other settings, other vectors, and the same key"),
        (
            (["ab", "c"], settings),
            (["a", "bc"], settings),
            "['ab', 'c'] and ['a', 'bc'] share a key: mark where a text ends",
        ),
        ((["a", "a"], settings), (["a"], settings), "a text that comes twice counts once"),
        ((["x" * 500 + "a"], settings), (["x" * 500 + "b"], settings), "only the beginning of the texts is in the key"),
        (
            (base, settings),
            (base, settings | {"pooling": "cls"}),
            "a setting that you did not foresee is not in the key",
        ),
        ((base, {"a": 1}), (base, {"b": 1}), "only the values of the settings are in the key, not their names"),
        ((base, {"a": 1}), (base, {"a": "1"}), "1 and '1' share a key"),
        ((base, settings), (base[::-1], settings), "the order of the texts is lost, but vectors come in that order"),
    ]
    separator = "a text may hold your separator, and two lists share a key: json.dumps keeps texts apart"
    for mark in ("|", "\n", ",", " ", "\t", ";", "\0", ", ", "||", "|||", "__", "\x1f", "<sep>", "[SEP]"):
        pairs.append((([f"a{mark}b", "c"], settings), (["a", f"b{mark}c"], settings), separator))
    keys = [(attempt(fn, *a), attempt(fn, *b), text) for a, b, text in pairs]
    first, turned = keys[0][0], attempt(fn, base, dict(reversed(settings.items())))
    key = first if isinstance(first, str) else ""
    shared = next((message for a, b, message in keys if key and same(a, b)), "")
    verdict(
        [
            (same(first, ""), "not done yet: the key is empty"),
            (isinstance(first, Exception), f"it raises {head(first)}"),
            (not key, f"return a text; got {head(first)}"),
            (key.lstrip("-").isdigit() and len(key) < 25, "hash() differs from process to process: use hashlib"),
            (bool(shared), f"{shared}; got {head(first)}"),
            (not same(turned, first), "the same settings in another order have another key: sort_keys=True"),
            (len(key) < 32, f"{first!r} is short: with many entries two will collide; use all of sha256"),
        ],
        "equal inputs meet, different ones never do",
    )
