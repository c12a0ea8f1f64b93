"""From scores to probabilities."""

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from klm_utils.errors import DataError
from klm_utils.evaluation.metrics import rows


def platt(scores, labels) -> tuple[float, float]:
    """Fit a, b so that sigmoid(a * score + b) is the probability of label 1.

    Args:
        scores: any finite numbers, [n], of rows that the model was not fitted on (valid).
        labels: 0 or 1, [n].

    Returns:
        (a, b). The targets are smoothed, (N1 + 1) / (N1 + 2) and 1 / (N0 + 2), so that one class alone, or classes that
        a threshold separates, still have finite answers. Constant scores yield a = 0. Where a > 0 the order stays.

    Raises:
        DataError: no rows, or not one finite score and one label for each.

    Source: Platt 1999, Probabilistic outputs for support vector machines (smoothed targets).
    """
    y, s = rows(labels, scores)
    if not len(y):
        what, remedy = "There is nothing to calibrate on", "use another split or more data"
        raise DataError(what, "platt(scores, labels)", "0 rows", "at least one row of valid", remedy)
    positives = y.sum()
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (len(y) - positives + 2))
    mean, scale = s.mean(), s.std()
    x = (s - mean) / (scale if scale > 0 else 1)
    # a soft target t is a row with label 1 and weight t plus one with label 0 and weight 1 - t
    model = LogisticRegression(C=1e8, tol=1e-8, max_iter=1000)
    model.fit(np.r_[x, x][:, None], np.repeat([1, 0], len(y)), sample_weight=np.r_[target, 1 - target])
    a = float(model.coef_[0, 0]) / scale if scale > 0 else 0.0
    return a, float(model.intercept_[0]) - a * mean


def apply_platt(scores, a: float, b: float) -> np.ndarray:
    """sigmoid(a * score + b), float64 [n]."""
    return expit(a * np.asarray(scores, dtype=np.float64) + b)
