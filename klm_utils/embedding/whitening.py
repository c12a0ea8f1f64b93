"""Vectors of a language model point into a narrow cone; whitening takes out what they have in common.

Fit on the vectors of the train items, never on a handful of texts: with fewer texts than dimensions, full whitening
puts any set of texts at equal distances, whatever they mean.
"""

from dataclasses import dataclass

import numpy as np

from klm_utils.errors import ConfigError, DataError, check_choice, check_flag, check_number, check_whole

KINDS = ("center", "pca", "zca")
RANK = 1e-6  # directions whose standard deviation is below this share of the largest are noise of rounding


@dataclass(frozen=True, eq=False)
class Whitening:
    """x -> (x - mean) @ matrix. mean: float64 [d]; matrix: float64 [d, width]; rank: directions that vary."""

    mean: np.ndarray
    matrix: np.ndarray
    rank: int

    def __call__(self, vectors: np.ndarray, normalize: bool = True) -> np.ndarray:
        """Float32 [n, width]; with `normalize` of length 1 (a vector that is the mean itself stays zero)."""
        moved = (_table(vectors, self.mean.shape[0]) - self.mean) @ self.matrix
        if check_flag("normalize", normalize):
            moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
        return moved.astype(np.float32)


def fit_whitening(vectors: np.ndarray, kind: str = "zca", strength: float = 1.0, width: int | None = None) -> Whitening:
    """Learn mean and covariance of vectors, and the map that evens them out.

    With the covariance U diag(v) U' the matrix is U diag(v ** (-strength / 2)), times U' for "zca", which turns the
    result back, near the vectors it came from. `strength` 1 whitens fully (covariance I), 0 only turns; between lies
    relaxed whitening, which evens out less. "center" subtracts the mean and no more. Directions that do not vary
    become zero.

    Args:
        vectors: float [n, d], n >= 2, of train items only.
        kind: "center", "pca" or "zca".
        strength: in [0, 1].
        width: keep so many leading directions ("pca" only); default all that vary.

    Raises:
        ConfigError: an unknown kind, a strength outside [0, 1], a width that is not between 1 and the rank.
        DataError: not a table of finite numbers with two rows or more.

    Source: Su et al. 2021, Whitening sentence representations for better semantics and faster retrieval, section 3
    (PCA, with reduction); Kessy et al. 2018, Optimal whitening and decorrelation, section 3 (ZCA against PCA); a
    strength below 1 as in the relaxed whitening of Zhang et al. 2024, Are ID embeddings necessary?
    """
    check_choice("kind", kind, KINDS)
    strength = check_number("strength", strength, 0, 1, "1 whitens fully, 0.5 half, 0 not at all")
    width = None if width is None else check_whole("width", width)
    x = _table(vectors)
    if len(x) < 2:
        expected = "2 rows or more; more rows than dimensions for full whitening"
        remedy = "fit on the vectors of all train items"
        raise DataError("one vector has no spread", "fit_whitening(vectors)", f"{len(x)} rows", expected, remedy)
    mean = x.mean(0)
    # the singular values of the centred rows give the covariance without squaring it
    _, spread, directions = np.linalg.svd(x - mean, full_matrices=False)
    spread /= np.sqrt(len(x) - 1)
    rank = int((spread > RANK * max(spread[0], 1e-30)).sum())
    if kind == "center":
        return Whitening(mean, np.eye(x.shape[1]), rank)
    if width is not None and (kind == "zca" or not 1 <= width <= rank):
        expected = f"1 to {rank} with kind='pca'; None with 'zca', which keeps all dimensions"
        raise ConfigError("no such width", "fit_whitening(width)", width, expected, "leave it out, or use kind='pca'")
    kept = rank if width is None else width
    u, scale = directions[:kept].T, spread[:kept] ** -strength
    matrix = u * scale if kind == "pca" else (u * scale) @ u.T
    return Whitening(mean, matrix, rank)


def _table(vectors, width: int | None = None) -> np.ndarray:
    try:
        x = np.asarray(vectors)
        real = x.dtype.kind in "biuf" and not np.ma.is_masked(vectors)  # numpy cuts complex numbers and unmasks
        x = x.astype(np.float64) if real else np.zeros(0)
        found = f"shape {x.shape}" if real else f"{type(vectors).__name__} of {np.asarray(vectors).dtype}"
    except (ValueError, TypeError, RuntimeError) as fault:  # ragged, or a tensor that wants a gradient
        x, found = np.zeros(0), str(fault)
    finite = bool(np.isfinite(x).all())
    if x.ndim != 2 or (width is not None and x.shape[1] != width) or not finite:
        found, expected = (
            found + ", with nan or infinity" * (not finite),
            f"finite numbers of shape [n, {width or 'd'}]",
        )
        remedy = "pass what TextEncoder.encode returns"
        raise DataError("not a table of vectors", "whitening(vectors)", found, expected, remedy)
    return x
