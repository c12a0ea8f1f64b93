"""The baselines that see side features: genres, year, age, occupation, ..."""

from collections.abc import Iterable

import numpy as np
from scipy import sparse
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from klm_utils.data.catalogue import choices, need_both_labels, past, positions
from klm_utils.data.features import item_features, user_features
from klm_utils.errors import DataError, check_number, check_seed, check_whole
from klm_utils.evaluation import metrics
from klm_utils.evaluation.ranking import rank
from klm_utils.models.baseline import SMALLEST, Baseline, Calibrated, check_settings

SIDE = 0.7  # weight of the side features beside a text, by a look at valid of three folds of MovieLens


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


class KernelRidge(Baseline):
    """Whoever chose an item may choose one like it: ridge regression on a kernel of the items' features, closed form.

    score(u, i) = k_i (K + reg I)^-1 x_u with x_u the user's choices among the items of train (1, else 0), K the kernel
    between these, k_i that of item i with them: exp(-gamma d^2 / m), d the distance of their features and m the median
    d^2 of train. Features are centred on train and of length 1, the side features `SIDE` beside the text. `gamma` and
    `reg` are picked by nDCG@10 on valid. predict squashes the score with a sigmoid: the order stays, but it is *not* a
    calibrated probability.

    Args:
        text: vectors of the items' texts in the order of `ds.items`, float [items, dim]; None: side features alone.

    Source: Saunders et al. 1998, Ridge regression learning algorithm in dual variables; Steck 2019 for the closed form.
    """

    name = "kernel ridge"
    objective = "interaction"

    def __init__(
        self,
        text: np.ndarray | None = None,
        gammas: Iterable[float] = (0.5, 1.0, 2.0),
        regs: Iterable[float] = (1.0, 3.0, 10.0),
    ):
        self.text = None if text is None else metrics.numbers(text, "KernelRidge(text)")
        self.name = self.name if text is None else f"{self.name} + text"
        self.gammas, self.regs = check_settings("gammas", gammas), check_settings("regs", regs)

    def _fit(self, split):
        known, (u, i) = np.unique(choices(split, split.train)[1]), choices(split)
        x = np.zeros((len(self._items), len(self._users)))
        x[i, u] = 1
        features = _unit(item_features(split)[1], known) * (1.0 if self.text is None else SIDE)
        if self.text is not None:
            if self.text.shape[:1] != (len(self._items),) or self.text.ndim != 2:
                found, remedy = f"shape {self.text.shape}", "text=encoder.encode(item_texts(ds))"
                raise DataError("there is not one vector per item", "KernelRidge", found, f"{len(x)} vectors", remedy)
            features = np.hstack([features, _unit(self.text, known)])
        square = (features**2).sum(1)
        apart = np.maximum(square[:, None] + square - 2 * features @ features.T, 0)
        apart /= max(float(np.median(apart[np.ix_(known, known)])), SMALLEST)
        part, best = "part" if split.name == "cold_item" else "all", -1.0
        for gamma in self.gammas:
            kernel = np.exp(-gamma * apart[:, known])
            size, axes = np.linalg.eigh(kernel[known])
            left, right = kernel @ axes, axes.T @ x[known]
            for reg in self.regs:
                self._table = (left / (size + reg)) @ right
                reached = rank(self, split, part="valid", among=part).values["ndcg@10"].mean()
                if reached > best:
                    best, table = reached, self._table
        self._table = table

    def _score(self, u, i):
        return expit(self._table[i, u])


def _unit(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Centred on the rows that are known, each row of length 1 (one of zeros stays)."""
    features = features - features[known].mean(0)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), SMALLEST)


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
