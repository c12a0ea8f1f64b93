"""The metrics of the course: arrays in, a float out, each with its range, its tie rule and its undefined case.

Two families. *Row* metrics (`auc`, `logloss`, `ece`) compare labels with scores of the same length.
*Ranking* metrics (`ndcg`, `recall`, `hit_rate`, `mrr`, `average_precision`) take the candidates of one user [n] or of
several [users, n] and average over users. They share four rules:

- relevance is 0 or 1; a user without a relevant item is left out; without any user left the value is nan;
- a score of -inf excludes the candidate: it fills no place, and if it is relevant it counts as missed;
- equal scores are put in a random order drawn from `seed`, afresh for each user, so that a constant score has the
  expected value of a random list (chance) wherever the relevant items stand in the table;
- NaN, labels other than 0 and 1, shapes that differ, and what is no array of numbers raise `DataError`.

Each is the estimate of a `Statistic` (`intervals`), which `evaluate` resamples.
"""

from collections.abc import Callable, Iterable
from numbers import Real

import numpy as np
import pandas as pd

from klm_utils.errors import DataError, check_number, check_seed, check_whole
from klm_utils.evaluation import intervals
from klm_utils.evaluation.intervals import EPS, divide


def auc(y_true, y_score) -> float:
    """Share of the pairs (a positive, a negative) in which the positive has the higher score. Range [0, 1].

    Ties count half, so a constant score has .5 exactly. nan if only one class is present: there is no pair.

    Source: Hanley and McNeil 1982, The meaning and use of the area under a ROC curve (Mann-Whitney form).
    """
    y, s = rows(y_true, y_score)
    return intervals.pooled_auc(np.zeros(len(y)), y, s).estimate()


def logloss(y_true, y_prob, eps: float = EPS) -> float:
    """Mean of -log(probability given to what happened), in nats. Range [0, -log(eps)]; lower is better.

    Probabilities are clipped to [eps, 1 - eps], eps = 2.2e-16 as in scikit-learn, so one certain mistake costs 36 and
    not infinity. No order, so no ties; constant scores have at best the entropy of the base rate. nan without rows.

    Source: Good 1952, Rational decisions; Bishop 2006, Pattern Recognition and Machine Learning, eq. 4.90.
    """
    y, p = rows(y_true, y_prob, probabilities=True)
    eps = check_number("eps", eps, EPS / 2, np.nextafter(0.5, 0), "leave eps out")  # 1 - eps must be below 1
    return intervals.logloss(np.zeros(len(y)), y, p, eps).estimate()


def ece(y_true, y_prob, bins: int = 15) -> float:
    """Expected calibration error: |mean label - mean probability| per bin, averaged over rows. Range [0, 1].

    Bins of equal width over [0, 1], closed to the left (the last one on both sides). A constant probability has
    |base rate - constant|. nan without rows. A perfect *ranking* may have a bad ece, and the base rate alone has 0.

    Source: Guo et al. 2017, On calibration of modern neural networks, eq. 3 (after Naeini et al. 2015).
    """
    y, p = rows(y_true, y_prob, probabilities=True)
    return intervals.ece(np.zeros(len(y)), y, p, check_whole("bins", bins)).estimate()


def coverage(top_items: Iterable[Iterable], n_items: int) -> float:
    """Share of the catalogue that stands in at least one list. Range [0, 1].

    Args:
        top_items: one list of items for each user, [users, k] or lists of several lengths.
        n_items: number of items that could have been listed.

    No scores, so no ties; one list of k items for everybody has k / n_items. 0 without lists. More different items
    than `n_items` raise `DataError`.

    Source: Ge et al. 2010, Beyond accuracy: evaluating recommender systems by coverage and serendipity
    (catalogue coverage).
    """
    check_whole("n_items", n_items)
    lists = list(top_items) if isinstance(top_items, Iterable) else [top_items]
    if any(isinstance(own, str) or not isinstance(own, Iterable) or getattr(own, "ndim", 1) == 0 for own in lists):
        where, expected = "coverage(top_items)", "one list of items for each user"
        raise DataError("These are no lists of items", where, top_items, expected, "for one user pass [items]")
    pairs = [(user, item) for user, own in enumerate(lists) for item in np.asarray(own).tolist()]
    places, items = pd.factorize(pd.Series([item for _, item in pairs], dtype=object), use_na_sentinel=False)
    if len(items) > n_items:
        what, where = "The lists hold more different items than the catalogue", "coverage(top_items, n_items)"
        remedy = "pass the number of all items that could have been listed"
        raise DataError(what, where, len(items), f"at most n_items = {n_items}", remedy)
    return intervals.coverage(np.array([user for user, _ in pairs]), places, n_items).estimate()


def ndcg(y_true, y_score, k: int | None = 10, *, seed: int = 0) -> float:
    """Normalised discounted cumulative gain of the first k places. Range [0, 1].

    DCG = sum over the relevant items at rank r <= k of 1 / log2(r + 1); divided by the DCG of the ideal list, which
    has min(k, |R|) relevant items on top. Binary gain; k=None ranks to the end. Ties, exclusion, users without a
    relevant item: see the head of the module.

    Source: Järvelin and Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques, section 2; the
    discount 1 / log2(r + 1) as in Burges et al. 2005, Learning to rank using gradient descent.
    """
    return _over_users(user_ndcg, y_true, y_score, k, seed)


def recall(y_true, y_score, k: int | None = 10, *, seed: int = 0) -> float:
    """Share of the user's relevant items that stand in the first k places. Range [0, 1]; below 1 where |R| > k.

    The denominator is |R|, not min(k, |R|). A constant score has k / n. Ties, exclusion, users without a relevant
    item: see the head of the module.

    Source: Herlocker et al. 2004, Evaluating collaborative filtering recommender systems (recall).
    """
    return _over_users(user_recall, y_true, y_score, k, seed)


def hit_rate(y_true, y_score, k: int | None = 10, *, seed: int = 0) -> float:
    """Share of users with at least one relevant item in the first k places. Range [0, 1].

    Per user, not hits over positives (that is `recall`). Ties, exclusion, users without a relevant item: see the head
    of the module.

    Source: Deshpande and Karypis 2004, Item-based top-N recommendation algorithms (hit rate).
    """
    return _over_users(user_hit, y_true, y_score, k, seed)


def mrr(y_true, y_score, k: int | None = None, *, seed: int = 0) -> float:
    """Mean over users of 1 / rank of the first relevant item, over the whole list unless k is given. Range [0, 1].

    0 for a user whose first relevant item stands behind k. Ties, exclusion, users without a relevant item: see the
    head of the module.

    Source: Voorhees 1999, The TREC-8 question answering track report.
    """
    return _over_users(user_reciprocal_rank, y_true, y_score, k, seed)


def average_precision(y_true, y_score, k: int | None = None, *, seed: int = 0) -> float:
    """Mean average precision: precision at the rank of each relevant item, over min(k, |R|). Range [0, 1].

    AP@k = sum over the relevant items at rank r <= k of (relevant items in the first r places) / r, divided by
    min(k, |R|). k=None takes the whole list, which is scikit-learn's `average_precision_score` of each user. Libraries
    differ in the denominator (|R|, k, min): state it with the number. Ties, exclusion, users without a relevant item:
    see the head of the module.

    Source: Manning et al. 2008, Introduction to Information Retrieval, section 8.4; Tamm et al. 2021, Quality metrics
    in recommender systems: do we calculate metrics consistently?
    """
    return _over_users(user_average_precision, y_true, y_score, k, seed)


# The value of each user, [users], nan without a relevant item. `hits` is [users, n], 1 where the place holds a relevant
# item; `relevant` is |R|, [users].


def ranked_hits(y_true, y_score, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort the candidates of each user, best first, ties in random order.

    Args:
        y_true: relevance 0 or 1, [users, n].
        y_score: scores, [users, n]; -inf excludes.
        rng: draws the order of ties. Row after row, so the result does not depend on how users are cut into chunks.

    Returns:
        hits: float [users, n], 1 where the place holds a relevant item that is not excluded.
        relevant: number of relevant items of each user, float [users].
        order: the columns, best first, int [users, n].
    """
    order, chance = np.argsort(-y_score, axis=-1), rng.random(y_score.shape)
    ranked = np.take_along_axis(y_score, order, axis=-1)
    tied = ((ranked[..., 1:] == ranked[..., :-1]) & np.isfinite(ranked[..., 1:])).any(-1)
    if tied.any():  # sorting by two keys takes twice as long, so only where it matters
        order[tied] = np.lexsort((chance[tied], -y_score[tied]), axis=-1)
    hits = np.take_along_axis(np.where(np.isneginf(y_score), 0.0, y_true), order, axis=-1)
    return hits, y_true.sum(-1, dtype=np.float64), order


def user_ndcg(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """nDCG@k of each user, [users], from `ranked_hits`: 0/1 hits [users, n] in ranked order, relevant items [users]."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(relevant, k).astype(np.int64)]
    return divide(hits[:, :k] @ discount[: hits.shape[1]], ideal)


def user_recall(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Share of the relevant items among the first k of each user, [users]; arguments as `user_ndcg`."""
    return divide(hits[:, :k].sum(-1), relevant)


def user_hit(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """1 for a user with a relevant item among the first k, else 0, [users]; arguments as `user_ndcg`."""
    return divide((hits[:, :k].sum(-1) > 0) * relevant, relevant)


def user_reciprocal_rank(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """1 / rank of the first relevant item among the first k of each user, [users]; as `user_ndcg`."""
    first = hits[:, :k].argmax(-1)
    found = hits[:, :k].sum(-1) > 0
    return divide(found * relevant / (first + 1), relevant)


def user_average_precision(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """AP@k of each user, [users], divided by min(relevant, k); arguments as `user_ndcg`."""
    top = hits[:, :k]
    precision = np.cumsum(top, -1) / np.arange(1, top.shape[1] + 1)
    return divide((precision * top).sum(-1), np.minimum(relevant, k))


def _over_users(values: Callable[..., np.ndarray], y_true, y_score, k: int | None, seed: int) -> float:
    y, s = _arrays(y_true, y_score, "y_score")
    if y.ndim not in (1, 2):
        what, remedy = "Ranking metrics take one user or a table of users", "flatten the leading axes into one of users"
        raise DataError(what, "y_true", y.shape, "shape [n] or [users, n]", remedy)
    y, s, seed = np.atleast_2d(y), np.atleast_2d(s), check_seed(seed, "seed")
    k = max(y.shape[1], 1) if k is None else check_whole("k", k)
    if not y.size:
        return float("nan")
    hits, relevant, _ = ranked_hits(y, s, np.random.default_rng(seed))
    return intervals.mean_over_users(np.arange(len(y)), values(hits, relevant, k)).estimate()


def numbers(values, where: str) -> np.ndarray:
    """`values` as a float64 array.

    What is no array of numbers (text, None, lists of several lengths), and what numpy would cut to one in silence
    (complex numbers, dates, masked values), raises `DataError`.
    """
    try:
        found = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as fault:  # lists of several lengths; tensors with a graph
        why = str(fault)
    else:
        real = found.dtype.kind in "biuf" or all(isinstance(value, Real) for value in found.astype(object).flat)
        if real and found.ndim and not np.ma.is_masked(values):
            return found.astype(np.float64)
        why = "masked values" if np.ma.is_masked(values) else f"{type(values).__name__}: {values!r}"
    remedy = "pass plain arrays or lists: of a tensor x.detach().numpy(), of a column only the rows without gaps"
    raise DataError("These are no numbers", where, why, "an array of real numbers", remedy)


def rows(y_true, y_score, probabilities: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores as two float64 arrays [n], or `DataError`; see the head of the module."""
    name = "y_prob" if probabilities else "y_score"
    y, s = _arrays(y_true, y_score, name)
    if y.ndim != 1:
        what = "This metric takes one label and one score for each row"
        raise DataError(what, "y_true", y.shape, "shape [n]", "flatten both arrays")
    if probabilities and len(s) and not (s.min() >= 0 and s.max() <= 1):
        at = int(np.flatnonzero((s < 0) | (s > 1))[0])
        what, remedy = "A probability lies outside [0, 1]", "turn logits into probabilities with a sigmoid first"
        raise DataError(what, f"{name}, row {at}", float(s[at]), "a value in [0, 1]", remedy)
    return y, s


def _arrays(y_true, y_score, name: str) -> tuple[np.ndarray, np.ndarray]:
    y, s = numbers(y_true, "y_true"), numbers(y_score, name)
    if y.shape != s.shape:
        what, where = "Labels and scores differ in shape", f"y_true and {name}"
        raise DataError(what, where, (y.shape, s.shape), "equal shapes", "pass one score for each label")
    for array, where, wrong, expected in (
        (y, "y_true", (y != 0) & (y != 1), "0 or 1"),
        (s, name, np.isnan(s), "a number"),
    ):
        if wrong.any():
            at = tuple(int(i[0]) for i in np.nonzero(wrong))
            where = f"{where}, position {at[0] if len(at) == 1 else at}"
            raise DataError("A value cannot be evaluated", where, float(array[at]), expected, "drop or mend this row")
    return y, s
