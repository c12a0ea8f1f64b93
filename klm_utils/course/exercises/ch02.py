"""Checkers of 02_embedding."""

import builtins
import hashlib
import json
import string
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import torch

from klm_utils.course.exercises import attempt, has_nan, head, letters, same, shape, verdict
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


NEAR_SEED = 33  # here each mistake that the checker names gives another list


def check_nearest_tags(fn: Callable) -> None:
    """Say what is right or wrong with the learner's nearest tags after centring. Two words share one vector."""
    rng = np.random.default_rng(NEAR_SEED)
    words = [f"tag{i}" for i in range(12)]
    vectors = rng.normal(size=(12, 4)) * rng.uniform(0.2, 5, (12, 1)) + [3, 0, 0, 0]
    vectors[0] = vectors[2]

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def ranked(x):
        return [words[i] for i in np.argsort(-(x @ x[2]).round(9), kind="stable")]

    def others(x, k=3):
        return [word for word in ranked(x) if word != "tag2"][:k]

    centred = vectors - vectors.mean(0)
    short = unit(vectors) - unit(vectors).mean(0)
    got, more = (attempt(fn, words, vectors, "tag2", k) for k in (3, 5))
    if isinstance(got, tuple) or (isinstance(got, np.ndarray) and got.dtype.kind in "UO"):
        got, more = [str(word) for word in got], [str(word) for word in more]
    want = others(unit(centred))
    verdict(
        [
            (same(got, words[:3]), "not done yet: these are the first three"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (
                same(got, ranked(unit(centred))[:3]) or same(got, ["tag2", *want][:3]),
                "the tag itself is its own nearest neighbour: leave it out",
            ),
            (
                same(got, ranked(unit(centred))[1:4]),
                "the tag itself is among them: another tag has the same vector and came first; leave out the word",
            ),
            (same(got, ranked(unit(centred))[::-1][:3]), "these are the farthest"),
            (same(got, others(unit(vectors))), "the cone is still there: subtract the mean of all vectors first"),
            (same(got, others(centred)), "long vectors win: divide by the length, after centring"),
            (same(got, others(short)), "after you subtract the mean, the lengths are not 1 any more: divide last"),
            (same(got, others(unit(short))), "you divide twice, first before centring: subtract the mean as they come"),
            (not same(got, want), f"expected {want}, got {head(got)}"),
            (not same(more, others(unit(centred), 5)), f"with k = 5 you return {head(more)}: use k"),
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
    single = [
        *map(chr, range(33)),
        *string.punctuation,
        "\x7f",
        "\x85",
        "\xa0",
        "¦",
        "§",
        "¶",
        "\u2028",
        "\u2029",
        "␟",
        "\uffff",
    ]
    double = [2 * mark for mark in single] + [3 * mark for mark in single]
    for mark in (*single, *double, ", ", " | ", "<sep>", "<SEP>", "[SEP]", "[sep]", "</s>", "\r\n"):
        pairs.append((([f"a{mark}b", "c"], settings), (["a", f"b{mark}c"], settings), separator))
    with patch.object(builtins, "hash", side_effect=hash) as own:  # differs from process to process, but not in one
        attempt(fn, base, settings)
    keys = [(attempt(fn, *a), attempt(fn, *b), text) for a, b, text in pairs]
    first, turned = keys[0][0], attempt(fn, base, dict(reversed(settings.items())))
    key = first if isinstance(first, str) else ""
    shared = next((message for a, b, message in keys if key and same(a, b)), "")
    verdict(
        [
            (same(first, first_key(base, settings)), "not done yet: this is the key as it was"),
            (isinstance(first, Exception), f"it raises {head(first)}"),
            (not key, f"return a text; got {head(first)}"),
            (own.called, "hash() differs from process to process: use hashlib"),
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
    chosen = letters(got)
    told = chosen or set()
    verdict(
        [
            (chosen == set(), "not done yet: return letters, such as 'ad'"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (chosen is None or not told <= set(SENTENCES), f"return letters from a to d; got {head(got)}"),
            ("b" in told, f"b: the interval of 'minilm minus genres, year' contains 0; got {head(got)}"),
            ("d" in told, "d: what would one list for all reach? See the interval of 'minilm minus one list for all'"),
            ("a" not in told, "a: compare the orange bar of minilm with the grey band"),
            ("c" not in told, "c: where does the item interval of 'minilm minus genres' begin?"),
        ],
        "better than genres; not shown to be better than genres and year, or than one list for all",
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

    def divided(by: float) -> torch.Tensor:
        return (q @ k.T / by).masked_fill(mask == 0, float("-inf")).softmax(-1)

    verdict(
        [
            (same(got, torch.full((4, 4), 0.25)), "not done yet: each token looks at all tokens alike"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (shape(got) != (4, 4), f"expected shape (4, 4): a row for each token that looks; got {head(got)}"),
            (
                same(got, q @ k.T) or same(got, score) or same(got, score.masked_fill(mask == 0, float("-inf"))),
                "these are scores; the softmax makes shares of them",
            ),
            (same(got, divided(1)), "divide by the root of the width"),
            (same(got, divided(8)), "you divide by the width; it should be its root"),
            (
                same(got, divided(32**0.5)) or same(got, divided(2)),
                "the width is q.shape[1]: 32 in this model, 8 in this test; not the number of tokens",
            ),
            (same(got, (score * mask).softmax(-1)), "a score of 0 still gets a share: padding needs minus infinity"),
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
