"""Checkers of 00_tour."""

from collections.abc import Callable

import numpy as np
import torch

from klm_utils.course.exercises import attempt, head, same, verdict


def nearest(vectors: np.ndarray, at: int, k: int) -> np.ndarray:
    """Reference: positions of the k vectors with the highest cosine to the one at `at`, itself left out."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(-unit @ unit[at], kind="stable")
    return order[order != at][:k]


def check_nearest(fn: Callable) -> None:
    """Say what is right or wrong with the learner's nearest neighbours."""
    vectors = np.random.default_rng(0).normal(size=(40, 6)) * np.linspace(0.2, 3, 40)[:, None]
    got, want = attempt(fn, vectors, 7, 5), nearest(vectors, 7, 5)
    cosine = vectors @ vectors[7] / np.linalg.norm(vectors, axis=1)
    product = np.argsort(-vectors @ vectors[7])
    fewer, want_fewer = attempt(fn, vectors, 11, 3), nearest(vectors, 11, 3)
    verdict(
        [
            (same(got, np.arange(5)), "not done yet: these are the first k films"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, np.argsort(-cosine)[:5]), "the film itself is its own nearest neighbour: leave it out"),
            (same(got, np.argsort(cosine)[:5]), "these are the farthest: sort from the highest cosine down"),
            (
                same(got, product[:5]) or same(got, product[1:6]),
                "long vectors win here: divide each vector by its length first",
            ),
            (not same(got, want), f"expected positions {want.tolist()}, got {head(got, 5)}"),
            (not same(fewer, want_fewer), f"at 11 with k = 3 expected {want_fewer.tolist()}, got {head(fewer)}"),
        ],
        "the k nearest films by cosine",
    )


def check_gradient(fn: Callable) -> None:
    """Say what is right or wrong with the learner's dl/dz of the binary cross-entropy."""
    z, y = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    got, p = attempt(fn, z, y), torch.sigmoid(z)
    far = attempt(fn, torch.tensor([1000.0, -1000.0]), torch.tensor([0.0, 1.0]))
    verdict(
        [
            (same(got, torch.zeros_like(z)), "not done yet: a gradient of zero would mean that nothing can be learned"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, y - p), "the sign is turned round: at y = 0 the loss grows with z, so the slope is positive"),
            (same(got, z - y), "z is a logit; put it through the sigmoid first"),
            (same(got, -y / p + (1 - y) / (1 - p)), "this is dl/dp (the article stops here): multiply by dp/dz"),
            (same(got, (p - y) / 3), "this is the gradient of the mean; here each row has its own loss"),
            (not same(got, p - y), f"expected {head(p - y)}, got {head(got)}"),
            (not same(far, [1.0, -1.0]), f"z = [1000, -1000], y = [0, 1] has slopes 1 and -1; got {head(far)}"),
        ],
        "dl/dz = p - y",
    )
