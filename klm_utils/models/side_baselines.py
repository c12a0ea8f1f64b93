"""The baselines that see side features: genres, year, age, occupation, ..."""

from collections.abc import Iterable

import numpy as np
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from klm_utils.data.catalogue import need_both_labels, past, positions
from klm_utils.data.features import item_features, user_features
from klm_utils.errors import check_number, check_seed, check_whole
from klm_utils.models.baseline import SMALLEST, Calibrated, check_settings


class Logistic(Calibrated):
    """Logistic regression on the ids and the side features of user and item, one-hot, with an L2 penalty.

    logit = b + w_user + w_item + w . features(user) + w . features(item): additive, so every user has the same order
    of items. The penalty 1/C is picked by AUC on valid, which also calibrates (`platt`). An id that is not in train has
    weight 0, its features remain.

    Source: Richardson et al. 2007, Predicting clicks: estimating the click-through rate for new ads.
    """

    name = "logistic regression"

    def __init__(self, strengths: Iterable[float] = (0.3, 1.0, 3.0)):
        self.settings = check_settings("strengths", strengths)

    def _fit(self, split):
        need_both_labels(split)
        self._tables = [
            sparse.hstack([sparse.eye_array(len(features)), sparse.csr_array(features, dtype=float)], format="csr")
            for features in (user_features(split)[1], item_features(split)[1])
        ]
        super()._fit(split)

    def _learn(self, split, setting):
        rows = self._features(*positions(split.dataset, split.train))
        return LogisticRegression(C=setting, max_iter=300).fit(rows, split.train["label"])

    def _features(self, u, i):
        users, items = self._tables
        return sparse.hstack([users[u], items[i]], format="csr")

    def _raw(self, learnt, u, i):
        return learnt.decision_function(self._features(u, i))


class GradientBoosting(Calibrated):
    """Boosted trees on side features and on what train says of the user and of the item: mean rating and count.

    A row of train must not see its own rating in these means, or the trees would read the label off them: they are
    taken out of fold (5 folds; leaving only the row itself out leaks, since the mean is then the higher the lower the
    row's own rating). Rows to predict use all of train. Where train says nothing the statistics are missing; so that
    the trees know what to do then, they are blanked in a part of the training rows. A column that is missing in every
    row of train (each item, or each user, occurs once) is left out. Valid calibrates (`platt`).

    Source: Ke et al. 2017, LightGBM (histogram trees, as in scikit-learn); Micci-Barreca 2001, A preprocessing scheme
    for high-cardinality categorical attributes (smoothed means); Prokhorenkova et al. 2018, CatBoost, section 3.2 (the
    leak).
    """

    name = "gradient boosting"

    def __init__(self, trees: int = 100, learning_rate: float = 0.1, blank: float = 0.2, seed: int = 0):
        self.trees = check_whole("trees", trees)
        self.learning_rate = check_number("learning_rate", learning_rate, SMALLEST, np.inf)
        self.blank, self.seed = check_number("blank", blank, 0, 1), check_seed(seed, "seed")

    def _learn(self, split, setting):
        need_both_labels(split)
        rng = np.random.default_rng(self.seed)
        self._side = user_features(split)[1], item_features(split)[1]
        u, i = positions(split.dataset, split.train)
        rating, fold = split.train["rating"].to_numpy(), rng.integers(0, 5, len(u))
        statistics = []
        for places, n in ((u, len(self._users)), (i, len(self._items))):
            statistics.append(out_of_fold(places, rating, n, fold))
            statistics[-1][rng.random(len(u)) < self.blank] = np.nan
        rows = past(split)
        self._known = (
            _statistics(positions(split.dataset, rows)[0], rows["rating"].to_numpy(), len(self._users)),
            _statistics(i, rating, len(self._items)),
        )
        table = self._features(u, i, *statistics)
        self._unknown = np.isnan(table).all(0)
        return HistGradientBoostingClassifier(
            max_iter=self.trees, learning_rate=self.learning_rate, early_stopping=False, random_state=self.seed
        ).fit(np.where(self._unknown, 0.0, table), split.train["label"])

    def _features(self, u, i, user_statistics, item_statistics):
        return np.hstack([user_statistics, item_statistics, self._side[0][u], self._side[1][i]])

    def _raw(self, learnt, u, i):
        table = self._features(u, i, self._known[0][u], self._known[1][i])
        return learnt.decision_function(np.where(self._unknown, 0.0, table))  # no tree asks for a constant


def out_of_fold(places: np.ndarray, rating: np.ndarray, n: int, fold: np.ndarray) -> np.ndarray:
    """For each row the mean and count of its id over the rows of the other folds, [rows, 2]; see `_statistics`."""
    out = np.empty((len(places), 2))
    for f in np.unique(fold):
        inside, others = fold == f, fold != f
        out[inside] = _statistics(places[others], rating[others], n, share=others.mean())[places[inside]]
    return out


def _statistics(places: np.ndarray, rating: np.ndarray, n: int, share: float = 1.0, smooth: float = 5.0) -> np.ndarray:
    """Smoothed mean rating and count of each id, [n, 2], nan for an id without rows; `share` of the rows are given."""
    count = np.bincount(places, minlength=n).astype(float)
    total = np.bincount(places, weights=rating, minlength=n)
    table = np.c_[(total + smooth * rating.mean()) / (count + smooth), count / share]
    table[count == 0] = np.nan
    return table
