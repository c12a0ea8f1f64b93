"""Metrics as functions of how often each user counts, and intervals for other users, and for other items too.

`interval`: same items, other users. The rows of one user depend on each other, so whole users are drawn with
replacement (Field and Welsh 2007, Bootstrapping clustered data). A draw is a vector of weights, how often each user was
drawn, and every metric here is an exact function of that vector: nothing is sorted or scored again for a draw.
`over_splits` and `two_way` answer for other items too. docs/results/06_coverage.json has how often each of the three
holds the truth.

How far an interval can be trusted hangs on the number of users behind it. Models of equal worth, which should be told
apart in 5 % of the trials, were so in half of them with 2 users, in a fifth with 4, a tenth with 8 and in 7 to 8 % with
12 (`HANDFUL`) or more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse, stats

from klm_utils.errors import ConfigError, check_number, check_seed, check_whole

EPS = float(np.finfo(np.float64).eps)
DRAWS_AT_ONCE = 100
HANDFUL = 12
NONE = (float("nan"), float("nan"))  # no interval


@dataclass(frozen=True, eq=False)
class Statistic:
    """A metric as a function of how often each user counts.

    users: the users it depends on, [users].
    value: weights [draws, users] -> values [draws]; weights of one give the metric itself. nan where undefined.
    bounds: the range of the metric.
    values: of a mean over users the value of each, float [users], nan where undefined; else None.
    rows: of a mean over rows the user, the item and the value of each; else None.
    items, crossed: of a metric of rows the items it depends on, [items], and the metric where a row counts as often as
        its user times its item: weights [draws, users], [draws, items] -> values [draws]; else None.
    rowwise: of a metric of rows its values where rows are drawn one by one: seed, draws -> [draws]; equal seeds draw
        equal rows. Else None.
    support: the number of users that it rests on: those who have a value. Of an AUC, which needs two groups, those
        with a positive or those with a negative, whichever are fewer.
    """

    users: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]
    support: int
    bounds: tuple[float, float] = (0.0, 1.0)
    values: np.ndarray | None = None
    rows: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    items: np.ndarray | None = None
    crossed: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    rowwise: Callable[[int, int], np.ndarray] | None = None

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
        return NONE
    weights = _drawn(len(stat.users), n_boot, np.random.default_rng(seed))
    return _percentiles(stat, [stat.value(weights[i]) for i in _chunks(n_boot)], level)


def two_way(
    stat: Statistic, level: float = 0.95, n_boot: int = 1000, seed: int = 0, *, pigeonhole: bool = False
) -> tuple[float, float]:
    """Interval of a metric of rows for other users *and* other items: both are drawn, a row counts as their product.

    For AUC and log loss, whose rows share users and items. The draws alone are the pigeonhole bootstrap, which counts
    the noise of a row about three times: where that is much of the whole, it holds the truth nearly always. So the
    draws are shrunk to the variance of users plus that of items minus that of rows, which both of these hold.

    Args:
        stat, level, n_boot, seed: as in `interval`, and its errors.
        pigeonhole: leave the draws as they are.

    Returns:
        (low, high); (nan, nan) where the statistic is none of rows, or rests on fewer than two users or items.

    Source: Owen 2007, The pigeonhole bootstrap, sections 3-4; Owen and Eckles 2012, Bootstrapping data arrays of
    arbitrary order; Cameron, Gelbach and Miller 2011, Robust inference with multiway clustering, section 2.2.
    """
    check_draws(level, n_boot, seed)
    if stat.crossed is None or stat.rowwise is None or stat.items is None or min(stat.support, len(stat.items)) < 2:
        return NONE
    rng = np.random.default_rng(seed)
    users, items = (_drawn(n, n_boot, rng) for n in (len(stat.users), len(stat.items)))
    draws = [stat.crossed(users[i], items[i]) for i in _chunks(n_boot)]
    if pigeonhole:
        return _percentiles(stat, draws, level)
    alone = [
        np.concatenate([stat.value(users[i]) for i in _chunks(n_boot)]),
        np.concatenate([stat.crossed(np.ones_like(users[i]), items[i]) for i in _chunks(n_boot)]),
        stat.rowwise(seed, n_boot),
    ]
    of_users, of_items, of_rows = (np.nanvar(values) for values in alone)
    wanted, there = max(of_users + of_items - of_rows, of_users, of_items), np.nanvar(np.concatenate(draws))
    return _percentiles(stat, draws, level, shrink=np.sqrt(wanted / there) if there > 0 else 1.0)


def over_splits(values: np.ndarray, shared: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of a mean over splits, float [splits], for other splits of the same kind: other items, other users.

    t with splits - 1 degrees of freedom, variance times 1 / splits + shared: the splits train on rows in common, so
    their values agree more than independent ones would, by about the correlation shared / (1 + shared).

    Args:
        values: the metric, or the paired difference, of each split.
        shared: rows of test over rows of train, in one split.

    Returns:
        (low, high), or (nan, nan) of fewer than two splits.

    Source: Nadeau and Bengio 2003, Inference for the generalization error, section 5 (corrected resampled t-test).
    """
    if len(values) < 2:
        return NONE
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * np.sqrt((1 / len(values) + shared) * np.var(values, ddof=1))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def holm(p: ArrayLike) -> np.ndarray:
    """P-values corrected for being several, float [n]: reject where this is below .05, and hardly ever err in any.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    order = np.argsort(p)
    stepped = np.asarray(p, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    return np.maximum.accumulate(np.minimum(1, stepped))[np.argsort(order)]


def _drawn(n: int, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of n is drawn, float [n_boot, n]."""
    return rng.multinomial(n, np.full(n, 1 / n), size=n_boot).astype(float)


def _chunks(n_boot: int) -> list[slice]:
    return [slice(i, min(i + DRAWS_AT_ONCE, n_boot)) for i in range(0, n_boot, DRAWS_AT_ONCE)]


def _rowwise(n: int, weighted: Callable[[np.ndarray], np.ndarray]) -> Callable[[int, int], np.ndarray]:
    """`Statistic.rowwise` of a metric as a function of the weights of its rows, [draws, n] -> [draws]."""

    def rowwise(seed: int, draws: int) -> np.ndarray:
        rng = np.random.default_rng(seed)  # Poisson weights: those of the multinomial, but for their sum
        return np.concatenate([weighted(rng.poisson(1.0, (i.stop - i.start, n))) for i in _chunks(draws)])

    return rowwise


def _percentiles(
    stat: Statistic, found: Sequence[np.ndarray], level: float, shrink: float = 1.0
) -> tuple[float, float]:
    draws = np.concatenate(found)
    draws = draws[np.isfinite(draws)]
    if len(draws) < 2:
        return NONE
    draws = stat.estimate() + shrink * (draws - draws.mean())
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
    value = _ratio(np.where(defined, values, 0.0), defined.astype(float))
    return Statistic(users, value, int(defined.sum()), values=np.asarray(values, dtype=np.float64))


def pooled_auc(users: np.ndarray, y: np.ndarray, s: np.ndarray, items: np.ndarray | None = None) -> Statistic:
    """AUC over the pairs of all rows, of whatever users; ties count half.

    Args:
        users, y, s: user, label and score of each row, [n].
        items: item of each row, [n], for `two_way`.

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

    support = min(len(np.unique(user[y == c])) for c in (0, 1))
    if items is None:
        return Statistic(ids, value, support)
    item_ids, item = _codes(items)
    order = np.argsort(s, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(np.asarray(s)[order]) > 0])  # of equal scores
    user, item, liked = user[order], item[order], np.asarray(y)[order] == 1

    def weighted(weights: np.ndarray) -> np.ndarray:
        positive, negative = (np.add.reduceat(weights * which, starts, axis=1) for which in (liked, ~liked))
        below = np.cumsum(negative, 1) - negative / 2
        return divide((positive * below).sum(1), positive.sum(1) * negative.sum(1))

    def crossed(by_user: np.ndarray, by_item: np.ndarray) -> np.ndarray:
        return weighted(by_user[:, user] * by_item[:, item])

    if not len(s):
        return Statistic(ids, value, support)
    return Statistic(ids, value, support, items=item_ids, crossed=crossed, rowwise=_rowwise(len(s), weighted))


def user_auc(users: np.ndarray, y: np.ndarray, s: np.ndarray) -> Statistic:
    """Mean over users of the AUC among their own rows; users with one class only are left out."""
    ids, user = _codes(users)
    rank = pd.Series(s).groupby(user).rank().to_numpy()
    rows = np.bincount(user, minlength=len(ids))
    positives = np.bincount(user, weights=y, minlength=len(ids))
    won = np.bincount(user, weights=rank * y, minlength=len(ids)) - positives * (positives + 1) / 2
    return mean_over_users(ids, divide(won, positives * (rows - positives)))


def logloss(
    users: np.ndarray, y: np.ndarray, p: np.ndarray, eps: float = EPS, items: np.ndarray | None = None
) -> Statistic:
    """Mean log loss of the rows, each row weighted like its user."""
    return mean_over_rows(users, row_losses(y, p, eps), items, (0.0, np.inf))


def mean_over_rows(
    users: np.ndarray, values: np.ndarray, items: np.ndarray | None = None, bounds: tuple[float, float] = (0.0, 1.0)
) -> Statistic:
    """Mean of one value per row, each row weighted like its user.

    Args:
        users, values: user and value of each row, [n].
        items: item of each row, [n], for `two_way`.
        bounds: the range of the metric.
    """
    ids, user = _codes(users)
    total = np.bincount(user, weights=values, minlength=len(ids))
    count = np.bincount(user, minlength=len(ids)).astype(float)
    stat = Statistic(ids, _ratio(total, count), len(ids), bounds)
    if items is None:
        return stat
    item_ids, item = _codes(items)
    shape = (len(ids), len(item_ids))
    total_of, rows_of = (sparse.csr_array((v, (user, item)), shape) for v in (values, np.ones(len(values))))

    def crossed(by_user: np.ndarray, by_item: np.ndarray) -> np.ndarray:
        total, count = (((of.T @ by_user.T) * by_item.T).sum(0) for of in (total_of, rows_of))
        return divide(total, count)

    weighted = _rowwise(len(values), lambda weights: divide(weights @ values, weights.sum(1).astype(float)))
    rows = np.asarray(users), np.asarray(items), np.asarray(values, dtype=np.float64)
    return replace(stat, rows=rows, items=item_ids, crossed=crossed, rowwise=weighted)


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


def average(several: Sequence[Statistic]) -> Statistic:
    """Mean of several statistics (one per seed); a user drawn counts in all of them, and the weakest bears the mean."""
    bounds = (min(s.bounds[0] for s in several), max(s.bounds[1] for s in several))
    return _combined(several, np.full(len(several), 1 / len(several)), bounds, apart=1)


def difference(a: Statistic, b: Statistic) -> Statistic:
    """a - b, paired: both see the same draw of users."""
    return _combined([a, b], np.array([1.0, -1.0]), (-np.inf, np.inf))


def _combined(
    several: Sequence[Statistic], factors: np.ndarray, bounds: tuple[float, float], apart: int = 0
) -> Statistic:
    """The sum of several statistics times these factors; who is drawn counts equally in all of them.

    apart: 0 if they are of the same rows, which are then drawn together, else 1.
    """
    users, user_at = _union([s.users for s in several])

    def value(w: np.ndarray) -> np.ndarray:
        return factors @ [s.value(w[:, at]) for s, at in zip(several, user_at, strict=True)]

    stat = Statistic(users, value, min(s.support for s in several), bounds)
    if any(s.items is None or s.crossed is None for s in several):
        return stat
    items, item_at = _union([s.items for s in several if s.items is not None])

    def crossed(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        places = zip(several, user_at, item_at, strict=True)
        return factors @ [s.crossed(w[:, u], v[:, i]) for s, u, i in places if s.crossed is not None]

    def rowwise(seed: int, draws: int) -> np.ndarray:
        found = [s.rowwise(seed + at * apart, draws) for at, s in enumerate(several) if s.rowwise is not None]
        return factors @ found

    return replace(stat, items=items, crossed=crossed, rowwise=rowwise)


def _union(several: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """All ids, each once, and where those of each list stand among them."""
    ids = pd.unique(np.concatenate(several))
    return ids, [pd.Index(ids).get_indexer(some) for some in several]


def _codes(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, ids = pd.factorize(users)
    return np.asarray(ids), codes


def divide(value: np.ndarray, by: np.ndarray) -> np.ndarray:
    """value / by, nan where by is 0."""
    return np.divide(value, by, out=np.full(np.shape(value), np.nan), where=by > 0)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: divide(weights @ top, weights @ bottom)
