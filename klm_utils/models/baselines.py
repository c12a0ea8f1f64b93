"""The baselines that need no text: what a recommender must beat before its text is worth anything.

`BASELINES[objective][name]` is the class; `BASELINES["label"]["bias_als"]().fit(split)` is ready for `evaluate`.
"""

from collections.abc import Iterable

import numpy as np
from scipy import sparse

from klm_utils.data.catalogue import choices, past, positions
from klm_utils.data.splits import Split
from klm_utils.errors import check_choice, check_number, check_whole
from klm_utils.models.baseline import SMALLEST, Baseline, Calibrated, check_settings
from klm_utils.models.choice_baselines import EASE, ImplicitALS, ItemKNN, KernelRidge, Random
from klm_utils.models.side_baselines import GradientBoosting, Logistic

__all__ = [
    "BASELINES",
    "EASE",
    "Baseline",
    "BiasALS",
    "GlobalMean",
    "GradientBoosting",
    "ImplicitALS",
    "ItemKNN",
    "KernelRidge",
    "Logistic",
    "Popularity",
    "Random",
    "UserItemBias",
]


class GlobalMean(Baseline):
    """One probability for everything: the floor of calibration, and chance in any order.

    label: share of the rows of train with label 1. interaction: share of all (user, item) pairs that were chosen.
    """

    name = "global mean"

    def __init__(self, objective: str = "label"):
        check_choice("objective", objective, ("label", "interaction"))
        self.objective = objective

    def _fit(self, split):
        if self.objective == "label":
            self._mean = float(split.train["label"].mean())
        else:
            self._mean = len(choices(split, split.train)[0]) / (len(self._users) * len(self._items))

    def _score(self, u, i):
        return np.full(len(u), self._mean)


class Popularity(Baseline):
    """Share of the users in train who chose the item; the same list for everybody. An item not in train has 0.

    It answers "interaction" only: that many chose an item does not say that they liked it (for that see
    `UserItemBias`, whose item bias is the smoothed mean).

    Source: Ferrari Dacrema et al. 2019, Are we really making much progress? (TopPopular).
    """

    name = "popularity"
    objective = "interaction"

    def _fit(self, split):
        _, i = choices(split, split.train)
        self._share = np.bincount(i, minlength=len(self._items)) / split.train["user_id"].nunique()

    def _score(self, u, i):
        return self._share[i]


class BiasALS(Calibrated):
    """Matrix factorisation with biases on the ratings, by alternating least squares.

    rating ~ mu + b_u + b_i + p_u . q_i, minimising the squared error plus sqrt(n_u) (reg |p_u|^2 + bias_reg b_u^2) and
    the same for items, n the number of rows: users with all items held fixed (a small linear system for each), then
    items. The mean of `starts` random starts. `reg` is picked by AUC on valid, then a logistic fit on valid
    (`platt`) turns the rating into a probability of label 1. Who is not in train has zeros: an unknown item is
    predicted by the user's bias, an unknown user by the item's. Cold users are solved from their shown rows.

    Source: Zhou et al. 2008, Large-scale parallel collaborative filtering for the Netflix prize, section 3; Koren et
    al. 2009, Matrix factorization techniques for recommender systems, eq. 5; the root of n between Zhou's n and a
    constant as in Rendle et al. 2022, Revisiting the performance of iALS.
    """

    name = "bias + ALS"

    def __init__(
        self,
        width: int = 8,
        regs: Iterable[float] = (0.8, 1.2, 1.8),
        bias_reg: float = 2.0,
        sweeps: int = 10,
        starts: int = 4,
    ):
        self.width, self.sweeps = check_whole("width", width, least=0), check_whole("sweeps", sweeps)
        self.settings = check_settings("regs", regs, SMALLEST if width else 0.0)
        self.bias_reg, self.starts = check_number("bias_reg", bias_reg, SMALLEST, np.inf), check_whole("starts", starts)

    def _learn(self, split, setting):
        return [self._solve(split, setting, seed) for seed in range(self.starts)]

    def _raw(self, learnt, u, i):
        return np.mean([_rating(mean, users, items, u, i) for mean, users, items in learnt], axis=0)

    def _solve(self, split: Split, reg: float, seed: int) -> tuple[float, np.ndarray, np.ndarray]:
        mean, shape = split.train["rating"].mean(), (len(self._users), len(self._items))
        ratings = ((f["rating"].to_numpy() - mean, *positions(split.dataset, f)) for f in (split.train, past(split)))
        by_user, by_user_known = (_tables(rows, shape) for rows in ratings)
        by_item = by_user[0].T.tocsr(), by_user[1].T.tocsr()
        regs = np.r_[np.full(self.width, reg), self.bias_reg]
        items = np.zeros((shape[1], self.width + 1))  # last column: bias
        items[:, :-1] = np.random.default_rng(seed).normal(0, 0.1, (shape[1], self.width))
        for _ in range(self.sweeps):
            items = _least_squares(*by_item, _least_squares(*by_user, items, regs), regs)
        return mean, _least_squares(*by_user_known, items, regs), items


class UserItemBias(BiasALS):
    """rating ~ mu + b_u + b_i: `BiasALS` without factors. How kind is the user, how good is the item?

    b_u = sum over the user's rows of (rating - mu - b_i) / (n_u + reg sqrt(n_u)), and the same for items, alternating.

    Source: Koren et al. 2009, Matrix factorization techniques for recommender systems, eq. 3.
    """

    name = "user + item bias"

    def __init__(self, reg: float = 1.0):
        reg = check_number("reg", reg, SMALLEST, np.inf)
        super().__init__(width=0, regs=(0.0,), bias_reg=reg, starts=1)


BASELINES = {
    "label": {
        "global_mean": GlobalMean,
        "user_item_bias": UserItemBias,
        "logistic": Logistic,
        "gradient_boosting": GradientBoosting,
        "bias_als": BiasALS,
    },
    "interaction": {
        "global_mean": lambda: GlobalMean("interaction"),
        "random": Random,
        "popularity": Popularity,
        "item_knn": ItemKNN,
        "implicit_als": ImplicitALS,
        "ease": EASE,
        "kernel_ridge": KernelRidge,
    },
}


def _tables(rows, shape) -> tuple[sparse.csr_array, sparse.csr_array]:
    """(seen, residual): a table of ones and one of ratings less their mean, both sparse `shape`."""
    residual, u, i = rows
    return tuple(sparse.csr_array((values, (u, i)), shape) for values in (np.ones(len(u)), residual))


def _least_squares(seen, residual, other: np.ndarray, regs: np.ndarray) -> np.ndarray:
    """For each row of the table its factors and bias, those of the columns (`other`) held fixed; [rows, width + 1].

    Row u solves (sum_i z_i z_i' + sqrt(n_u) diag(regs)) x = sum_i z_i (residual_ui - b_i) with z_i = (q_i, 1).
    """
    z = np.c_[other[:, :-1], np.ones(len(other))]
    squares = (seen @ (z[:, :, None] * z[:, None, :]).reshape(len(z), -1)).reshape(-1, z.shape[1], z.shape[1])
    n = np.maximum(seen.sum(1), 1)  # who has no row gets zeros
    right = residual @ z - seen @ (z * other[:, -1:])
    return np.linalg.solve(squares + np.sqrt(n)[:, None, None] * np.diag(regs), right[..., None])[..., 0]


def _rating(mean: float, users: np.ndarray, items: np.ndarray, u: np.ndarray, i: np.ndarray) -> np.ndarray:
    return mean + users[u, -1] + items[i, -1] + (users[u, :-1] * items[i, :-1]).sum(1)
