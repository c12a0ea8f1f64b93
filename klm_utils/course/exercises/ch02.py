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


def first_key(texts: list[str], settings: dict) -> str:
    """The key of the exercise, with its faults."""
    return str(hash("".join(texts) + str(settings["max_length"])))


def check_cache_key(fn: Callable) -> None:
    """Say which fault of the given key of a cache is left."""
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
            (same(first, first_key(base, settings)), "not done yet: this is the key as it was"),
            (isinstance(first, Exception), f"it raises {head(first)}"),
            (not key, f"return a text; got {head(first)}"),
            (key.lstrip("-").isdigit() and len(key) < 25, "hash() differs from process to process: use hashlib"),
            (bool(shared), f"{shared}; got {head(first)}"),
            (not same(turned, first), "the same settings in another order have another key: sort_keys=True"),
            (len(key) < 32, f"{first!r} is short: with many entries two will collide; use all of sha256"),
        ],
        "equal inputs meet, different ones never do",
    )


SENTENCES = "abcd"
TWINS = {frozenset("ab"), frozenset("cd"), frozenset("ef")}


def check_reading(fn: Callable) -> None:
    """Say which of the four sentences was read wrongly."""
    got = attempt(fn, SENTENCES)
    told = isinstance(got, str)
    letters = set(got.lower()) - set(" ,") if isinstance(got, str) else set()
    verdict(
        [
            (told and not letters, "not done yet: return letters, such as 'ad'"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not told or not letters <= set(SENTENCES), f"return letters from a to d; got {head(got)}"),
            ("c" in letters, "c: the interval of 'minilm minus genres, year' contains 0"),
            ("d" in letters, "d: the shop is simulated from matching topics; what does its data card say?"),
            ("a" not in letters, "a: compare the orange bar of minilm with the grey band"),
            ("b" not in letters, "b: what does 'others low' of 'minilm minus genres' say?"),
        ],
        "better than genres, and not better than genres and year as far as these ten folds can tell",
    )


def check_twins(fn: Callable) -> None:
    """Say what is right or wrong with the pairs of words that one tokenizer cannot tell apart."""
    got = attempt(fn, "abcdef")
    listed = isinstance(got, list | tuple) and all(isinstance(one, str) for one in got)
    groups = {frozenset(one.lower()) for one in got} if listed else set()
    letters = "".join(sorted("".join(map("".join, map(sorted, groups)))))
    verdict(
        [
            (isinstance(got, list) and not got, "not done yet: return groups, such as ['ab', 'cde']"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not groups or not set(letters) <= set("abcdef"), f"return a list of texts; got {head(got)}"),
            (any(len(one) == 1 for one in groups), f"a group has two words or more; got {head(got)}"),
            (len(letters) != len(set(letters)), "a word is in one group only"),
            (
                any({"a", "c"} <= one or {"b", "d"} <= one for one in groups),
                "the known character tells them apart: 手 is one token, 小 another",
            ),
            (frozenset("ef") not in groups, "two words have no known character at all: what is left of them?"),
            (groups != TWINS, f"write the tokens of each word on paper; got {sorted(map(sorted, groups))}"),
        ],
        "phone = watch, Xiaomi = wheat, digital = books",
    )


def check_attention(fn: Callable) -> None:
    """Say what is right or wrong with the learner's weights of one attention head."""
    generator = torch.Generator().manual_seed(0)
    q, k = (3 * torch.randn(4, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.tensor([1, 1, 1, 0])
    score = q @ k.T / 8**0.5
    want = score.masked_fill(mask == 0, float("-inf")).softmax(-1)
    got = attempt(fn, q, k, mask)
    late = score.softmax(-1) * mask
    verdict(
        [
            (same(got, torch.full((4, 4), 0.25)), "not done yet: each token looks at all tokens alike"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (shape(got) != (4, 4), f"expected shape (4, 4): a row for each token that looks; got {head(got)}"),
            (
                same(got, q @ k.T) or same(got, score) or same(got, score.masked_fill(mask == 0, float("-inf"))),
                "these are scores; the softmax makes shares of them",
            ),
            (same(got, (q @ k.T).masked_fill(mask == 0, float("-inf")).softmax(-1)), "divide by the root of the width"),
            (same(got, score.softmax(-1)), "the padding is looked at: set its scores to minus infinity first"),
            (same(got, late), "the mask comes too late: the rows do not sum to 1 any more"),
            (
                same(got, score.softmax(0)) or same(got, (score.masked_fill(mask == 0, float("-inf"))).softmax(0)),
                "the softmax goes along the keys (dim=-1), so that each row sums to 1",
            ),
            (same(got, want.T), "turn it: a row is a token that looks, a column one that is looked at"),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
        ],
        "each row sums to 1, and padding gets nothing",
    )


def check_rows(fn: Callable, width: int = 384) -> None:
    """Say whether the learner's number of texts is the largest for which full whitening makes all pairs alike."""
    got = attempt(fn, width)
    n = int(got) if isinstance(got, int | np.integer) and not isinstance(got, bool) else 0
    fits = 2 <= n <= 2000
    white = fit_whitening(np.random.default_rng(0).normal(size=(n if fits else 2, width)))
    rows = white(np.random.default_rng(0).normal(size=(n if fits else 2, width))).astype(float)
    pairs = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    low, high = pairs.min(), pairs.max()
    verdict(
        [
            (same(got, 2), "not done yet: two points are always alike; how many can be?"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not fits, f"return a whole number from 2 to 2000; got {head(got)}"),
            (n > width + 1, f"with {n} texts the cosines go from {low:.4f} to {high:.4f}: too many"),
            (n <= width, f"with {n} texts all pairs have cosine {high:.4f}, but a larger number has this fault too"),
        ],
        f"{n} points can be equally far from each other in {width} dimensions, and no more",
    )
