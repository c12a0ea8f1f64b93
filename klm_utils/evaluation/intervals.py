"""Metrics as functions of how often each user counts, and intervals by the bootstrap over users.

The rows of one user depend on each other, so whole users are drawn with replacement (Field and Welsh 2007,
Bootstrapping clustered data). A draw is a vector of weights, how often each user was drawn, and every metric here is an
exact function of that vector: nothing is sorted or scored again for a draw.

How far an interval can be trusted hangs on the number of users behind it. Models of equal worth, which should be told
apart in 5 % of the trials, were so in half of them with 2 users, in a fifth with 4, a tenth with 8 and in 7 to 8 % with
12 (`HANDFUL`) or more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from klm_utils.errors import ConfigError, check_number, check_seed, check_whole

EPS = float(np.finfo(np.float64).eps)
DRAWS_AT_ONCE = 100
HANDFUL = 12


@dataclass(frozen=True, eq=False)
class Statistic:
    """A metric as a function of how often each user counts.

    users: the users it depends on, [users].
    value: weights [draws, users] -> values [draws]; weights of one give the metric itself. nan where undefined.
    bounds: the range of the metric.
    support: the number of users that it rests on: those who have a value. Of an AUC, which needs two groups, those
        with a positive or those with a negative, whichever are fewer.
    """

    users: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]
    support: int
    bounds: tuple[float, float] = (0.0, 1.0)

    def estimate(self) -> float:
        """The metric itself: every user once."""
        return float(self.value(np.ones((1, len(self.users))))[0])


def interval(stat: Statistic, level: float = 0.95, n_boot: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of a statistic over resampled users.

    The percentiles are moved by the bootstrap's own estimate of its bias, mean of the draws minus the metric. That is
    next to nothing for a mean or an AUC, but a draw holds only 63 % of the users, which lowers coverage, and its noise
    raises the calibration error: without the shift the interval may lie beside the metric.

    Args:
        stat: the statistic.
        level: share of the draws inside, in (0, 1).
        n_boot: number of draws.
        seed: equal seeds draw equal users.

    Returns:
        (low, high); (nan, nan) if the statistic rests on fewer than two users, or is defined in fewer than two draws:
        an interval of width 0 would say that nothing is uncertain.

    Raises:
        ConfigError: level, n_boot or seed has no meaning.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, sections 10.2 (bias) and 13.3 (percentiles);
    the shift by the bias is ours, section 10.6 there warns that such corrections add variance.
    """
    check_draws(level, n_boot, seed)
    if stat.support < 2:
        return float("nan"), float("nan")
    n = len(stat.users)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_boot)
    draws = np.concatenate(
        [stat.value(weights[i : i + DRAWS_AT_ONCE].astype(float)) for i in range(0, n_boot, DRAWS_AT_ONCE)]
    )
    draws = draws[np.isfinite(draws)]
    if len(draws) < 2:
        return float("nan"), float("nan")
    draws = draws - (draws.mean() - stat.estimate())
    low, high = np.clip(np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]), *stat.bounds)
    return float(low), float(high)


def check_draws(level: float, n_boot: int, seed: int) -> None:
    """Raise `ConfigError` unless these describe an interval; see `interval`."""
    check_whole("n_boot", n_boot)
    check_seed(seed, "seed")
    if check_number("level", level, 0, 1) in (0, 1):
        raise ConfigError("level must be a share", "level", level, "0 < level < 1", "pass level=0.95")


def mean_over_users(users: np.ndarray, values: np.ndarray) -> Statistic:
    """Mean of one value per user, [users]; users whose value is nan are left out."""
    defined = np.isfinite(values)
    return Statistic(users, _ratio(np.where(defined, values, 0.0), defined.astype(float)), int(defined.sum()))


def pooled_auc(users: np.ndarray, y: np.ndarray, s: np.ndarray) -> Statistic:
    """AUC over the pairs of all rows, of whatever users; ties count half.

    Args:
        users, y, s: user, label and score of each row, [n].

    A pair (row of u, row of v) counts w_u w_v times: with M[u, v] the pairs won by a positive of u over a negative of
    v, AUC(w) = w'Mw / (w'P w'N). We never build M: with rows sorted by score once, w'Mw is a cumulative sum.
    """
    ids, user = _codes(users)
    _, level = np.unique(s, return_inverse=True)
    shape = (level.max() + 1, len(ids)) if len(s) else (0, len(ids))
    table = {c: sparse.csr_array((np.ones((y == c).sum()), (level[y == c], user[y == c])), shape) for c in (0, 1)}

    def value(weights: np.ndarray) -> np.ndarray:
        positive, negative = table[1] @ weights.T, table[0] @ weights.T  # [levels, draws]
        below = np.cumsum(negative, 0) - negative / 2
        return divide((positive * below).sum(0), positive.sum(0) * negative.sum(0))

    return Statistic(ids, value, min(len(np.unique(user[y == c])) for c in (0, 1)))


def user_auc(users: np.ndarray, y: np.ndarray, s: np.ndarray) -> Statistic:
    """Mean over users of the AUC among their own rows; users with one class only are left out."""
    ids, user = _codes(users)
    rank = pd.Series(s).groupby(user).rank().to_numpy()
    rows = np.bincount(user, minlength=len(ids))
    positives = np.bincount(user, weights=y, minlength=len(ids))
    won = np.bincount(user, weights=rank * y, minlength=len(ids)) - positives * (positives + 1) / 2
    return mean_over_users(ids, divide(won, positives * (rows - positives)))


def logloss(users: np.ndarray, y: np.ndarray, p: np.ndarray, eps: float = EPS) -> Statistic:
    """Mean log loss of the rows, each row weighted like its user."""
    ids, user = _codes(users)
    loss = np.bincount(user, weights=row_losses(y, p, eps), minlength=len(ids))
    rows = np.bincount(user, minlength=len(ids)).astype(float)
    return Statistic(ids, _ratio(loss, rows), len(ids), (0.0, np.inf))


def row_losses(y: np.ndarray, p: np.ndarray, eps: float = EPS) -> np.ndarray:
    """-log(probability given to what happened) of each row, clipped to [eps, 1 - eps], float [n]."""
    p = np.clip(p, eps, 1 - eps)
    return -np.where(y == 1, np.log(p), np.log1p(-p))


def ece(users: np.ndarray, y: np.ndarray, p: np.ndarray, bins: int = 15) -> Statistic:
    """Expected calibration error of the rows, in bins of equal width, each row weighted like its user."""
    ids, user = _codes(users)
    cell = user * bins + np.minimum((p * bins).astype(np.int64), bins - 1)
    gap = np.bincount(cell, weights=y - p, minlength=len(ids) * bins).reshape(len(ids), bins)
    rows = np.bincount(user, minlength=len(ids)).astype(float)
    return Statistic(ids, lambda weights: divide(np.abs(weights @ gap).sum(1), weights @ rows), len(ids))


def coverage(users: np.ndarray, listed: np.ndarray, n_items: int) -> Statistic:
    """Share of the candidates that stand in the list of somebody drawn.

    Args:
        users, listed: a user and a candidate of the user's list, by position in 0..n_items-1, [n].
    """
    ids, user = _codes(users)
    table = sparse.csr_array((np.ones(len(user)), (listed, user)), (n_items, len(ids)))
    return Statistic(ids, lambda weights: (table @ weights.T > 0).mean(0), len(ids))


def average(stats: Sequence[Statistic]) -> Statistic:
    """Mean of several statistics (one per seed); a user drawn counts in all of them, and the weakest bears the mean."""
    users, places = _union(stats)
    bounds = (min(s.bounds[0] for s in stats), max(s.bounds[1] for s in stats))
    return Statistic(
        users,
        lambda w: np.mean([s.value(w[:, at]) for s, at in zip(stats, places, strict=True)], axis=0),
        min(s.support for s in stats),
        bounds,
    )


def difference(a: Statistic, b: Statistic) -> Statistic:
    """a - b, paired: both see the same draw of users."""
    users, (in_a, in_b) = _union([a, b])
    support = min(a.support, b.support)
    return Statistic(users, lambda w: a.value(w[:, in_a]) - b.value(w[:, in_b]), support, (-np.inf, np.inf))


def _union(stats: Sequence[Statistic]) -> tuple[np.ndarray, list[np.ndarray]]:
    users = pd.unique(np.concatenate([s.users for s in stats]))
    return users, [pd.Index(users).get_indexer(s.users) for s in stats]


def _codes(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, ids = pd.factorize(users)
    return np.asarray(ids), codes


def divide(value: np.ndarray, by: np.ndarray) -> np.ndarray:
    """value / by, nan where by is 0."""
    return np.divide(value, by, out=np.full(np.shape(value), np.nan), where=by > 0)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: divide(weights @ top, weights @ bottom)
