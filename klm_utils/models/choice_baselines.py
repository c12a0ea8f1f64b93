"""The baselines of "what will this user choose?": from the choices of others, and from what is known of the items.

Each learns a table of scores from the choices of train; its settings are picked by nDCG@10 on valid.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np
from scipy import linalg, sparse
from scipy.special import expit

from klm_utils.data.catalogue import choices, past
from klm_utils.data.features import item_features
from klm_utils.data.shop.world import uniform
from klm_utils.data.splits import Split
from klm_utils.errors import DataError, check_seed, check_whole
from klm_utils.evaluation import metrics
from klm_utils.evaluation.ranking import rank
from klm_utils.knowledge.vectors import FactVectors
from klm_utils.models.baseline import SMALLEST, Baseline, check_settings

SIDE = 0.7  # weight of the side features beside a text, by a look at valid of three folds of MovieLens


class Random(Baseline):
    """A number drawn for each pair, whatever was chosen: chance itself."""

    name = "random"
    objective = "interaction"

    def __init__(self, seed: int = 0):
        self.seed = check_seed(seed, "Random(seed)")

    def _fit(self, split):
        pass

    def _score(self, u, i):
        return uniform(self.seed, "random baseline", u, i)


class Chooser(Baseline):
    """Of several settings valid picks one by nDCG@10, on a cold_item split among the cold items.

    A subclass sets `settings` and writes `_prepare(split)`, what all settings share, and `_learn(setting)`, which
    returns scores, float [users, items], from `self._x`, the choices of train, and `self._known`, those of the past
    (train and what is shown of cold users), sparse [users, items] with 1 for each. predict squashes a score with a
    sigmoid: the order stays, but it is *not* a calibrated probability.
    """

    objective = "interaction"
    settings: list

    def _fit(self, split):
        self._x, self._known = self._choices(split, split.train), self._choices(split, past(split))
        self._prepare(split)
        part, best = "part" if split.name == "cold_item" else "all", -1.0
        for setting in self.settings:
            self._table = np.round(self._learn(setting), 9)  # equal but for rounding is equal
            several = len(self.settings) > 1
            reached = rank(self, split, part="valid", among=part).values["ndcg@10"].mean() if several else 0.0
            if reached > best:
                best, table, self.setting = reached, self._table, setting
        self._table = table

    def _choices(self, split: Split, frame) -> sparse.csr_array:
        u, i = choices(split, frame)
        return sparse.csr_array((np.ones(len(u)), (u, i)), (len(self._users), len(self._items)))

    def _score(self, u, i):
        return expit(self._table[u, i])

    def _prepare(self, split: Split) -> None:
        pass

    def _learn(self, setting) -> np.ndarray:
        raise NotImplementedError


class EASE(Chooser):
    """Linear item-to-item model in closed form: who chose these also chose those.

    X [users, items] holds 1 for what was chosen in train; B minimises |X - XB|^2 + reg |B|^2 with a diagonal of zero:
    P = (X'X + reg I)^-1, B_ij = -P_ij / P_jj. The score of item j is (x_u B)_j, x_u the user's history. Equal scores
    are ordered by popularity, which is all there is for a user without history; an item not in train has 0.

    Source: Steck 2019, Embarrassingly shallow autoencoders for sparse data, eq. 8.
    """

    name = "EASE"

    def __init__(self, regs: Iterable[float] = (100.0, 300.0, 1000.0)):
        self.settings = list(check_settings("regs", regs))

    def _prepare(self, split):
        self._gram = (self._x.T @ self._x).toarray()
        self._popularity = 1e-6 * self._gram.diagonal() / max(self._gram.diagonal().max(), 1)

    def _learn(self, setting):
        inverse = np.linalg.inv(self._gram + setting * np.eye(len(self._gram)))
        return self._known @ (np.eye(len(self._gram)) - inverse / np.diag(inverse)) + self._popularity


class ItemKNN(Chooser):
    """Who chose this also chose its neighbours: cosine between the columns of choices, the nearest `n` of each item.

    similarity(i, j) = n_ij / (sqrt(n_i n_j) + shrink), n_ij the users who chose both; the score of j is the sum over
    the user's history of the similarities of j's neighbours in it.

    Source: Sarwar et al. 2001, Item-based collaborative filtering; Ferrari Dacrema et al. 2019, section 3.2 (shrink).
    """

    name = "item kNN"

    def __init__(self, neighbours: Iterable[int] = (20, 50, 100), shrinks: Iterable[float] = (0.0, 10.0, 100.0)):
        sizes = [int(n) for n in check_settings("neighbours", neighbours, 1)]
        self.settings = list(product(sizes, check_settings("shrinks", shrinks, 0.0)))

    def _prepare(self, split):
        self._both = (self._x.T @ self._x).toarray()

    def _learn(self, setting):
        n, shrink = setting
        own = np.sqrt(self._both.diagonal())
        near = self._both / np.maximum(own[:, None] * own + shrink, SMALLEST)
        np.fill_diagonal(near, 0)
        if n < len(near):
            near[near < np.partition(near, -n, axis=0)[-n]] = 0
        return self._known @ near


class ImplicitALS(Chooser):
    """Matrix factorisation of the choices, all other pairs counted as weak zeros, by alternating least squares.

    Minimises sum over all pairs of c_ui (x_ui - p_u . q_i)^2 + reg (|p_u|^2 + |q_i|^2) with c = 1 + alpha for what
    was chosen and 1 for the rest. An item or user without choices has zeros; cold users are solved from their shown
    rows.

    Source: Hu, Koren and Volinsky 2008, Collaborative filtering for implicit feedback datasets, eq. 3-5.
    """

    name = "implicit ALS"

    def __init__(
        self,
        width: int = 32,
        alphas: Iterable[float] = (2.0, 8.0),
        regs: Iterable[float] = (3.0, 10.0, 30.0),
        sweeps: int = 8,
        seed: int = 0,
    ):
        self.width, self.sweeps = check_whole("width", width), check_whole("sweeps", sweeps)
        self.seed = check_seed(seed, "ImplicitALS(seed)")
        self.settings = list(product(check_settings("alphas", alphas), check_settings("regs", regs)))

    def _learn(self, setting):
        alpha, reg = setting
        items = np.random.default_rng(self.seed).normal(0, 0.1, (self._x.shape[1], self.width))
        back = self._x.T.tocsr()
        for _ in range(self.sweeps):
            items = weighted_least_squares(back, weighted_least_squares(self._x, items, alpha, reg), alpha, reg)
        return weighted_least_squares(self._known, items, alpha, reg) @ items.T


def weighted_least_squares(chosen: sparse.csr_array, other: np.ndarray, alpha: float, reg: float) -> np.ndarray:
    """For each row of the table its factors, those of the columns (`other`) held fixed; float [rows, width].

    Row u solves (Y'Y + alpha Y_u'Y_u + reg I) p = (1 + alpha) Y_u' 1, Y the factors of the columns, Y_u of the chosen.
    """
    width = other.shape[1]
    outer = (other[:, :, None] * other[:, None, :]).reshape(len(other), -1)
    whole = other.T @ other + reg * np.eye(width)
    out = np.empty((chosen.shape[0], width))
    for rows in _pieces(chosen.shape[0]):
        squares = whole + alpha * (chosen[rows] @ outer).reshape(-1, width, width)
        out[rows] = np.linalg.solve(squares, (1 + alpha) * (chosen[rows] @ other)[..., None])[..., 0]
    return out


def _pieces(rows: int, size: int = 2000) -> Iterator[slice]:
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


class KernelRidge(Chooser):
    """Whoever chose an item may choose one like it: ridge regression on a kernel of the items' features, closed form.

    score(u, i) = k_i (K + reg I)^-1 x_u with x_u the user's choices among the items of train (1, else 0), K the kernel
    between these, k_i that of item i with them: exp(-gamma d^2 / m), d the distance of their features and m the median
    d^2 of train. Features are centred on train and of length 1, the side features `SIDE` beside text or facts.

    Args:
        text: vectors of the items' texts in the order of `ds.items`, float [items, dim]; None: none.
        facts: columns of the items with lists of facts, which become vectors (`FactVectors`).

    Source: Saunders et al. 1998, Ridge regression learning algorithm in dual variables.
    """

    name = "kernel ridge"

    def __init__(
        self,
        text: np.ndarray | None = None,
        gammas: Iterable[float] = (0.5, 1.0, 2.0),
        regs: Iterable[float] = (1.0, 3.0, 10.0),
        facts: Sequence[str] = (),
    ):
        self.text = None if text is None else metrics.numbers(text, "KernelRidge(text)")
        self.facts = tuple(facts)
        self.name += " + text" * (text is not None) + " + facts" * bool(self.facts)
        self.settings = list(product(check_settings("gammas", gammas), check_settings("regs", regs)))

    def _prepare(self, split):
        self._there = np.flatnonzero(self._x.sum(0))
        alone = self.text is None and not self.facts
        features = _unit(item_features(split)[1], self._there) * (1.0 if alone else SIDE)
        if self.text is not None:
            if self.text.shape[:1] != (len(self._items),) or self.text.ndim != 2:
                found, remedy = f"shape {self.text.shape}", "text=encoder.encode(item_texts(ds))"
                expected = f"{len(self._items)} vectors"
                raise DataError("there is not one vector per item", "KernelRidge", found, expected, remedy)
            features = np.hstack([features, _unit(self.text, self._there)])
        if self.facts:
            items = split.dataset.items
            facts = FactVectors.fit(items.iloc[self._there], self.facts).transform(items)
            features = np.hstack([features, _unit(facts, self._there)])
        square = (features**2).sum(1)
        apart = np.maximum(square[:, None] + square[self._there] - 2 * features @ features[self._there].T, 0)
        self._apart = apart / max(float(np.median(apart[self._there])), SMALLEST)
        self._axes: dict = {}

    def _learn(self, setting):
        gamma, reg = setting
        if len(self.settings) == 1:  # one solution; where there are several, the eigenvectors serve all of a gamma
            kernel = np.exp(-gamma * self._apart)
            ridge = kernel[self._there] + reg * np.eye(len(self._there))
            return (kernel @ linalg.solve(ridge, self._known[:, self._there].toarray().T, assume_a="pos")).T
        if gamma not in self._axes:
            kernel = np.exp(-gamma * self._apart)
            size, axes = np.linalg.eigh(kernel[self._there])
            self._axes = {gamma: (size, kernel @ axes, (self._known[:, self._there] @ axes).T)}
        size, left, right = self._axes[gamma]
        return ((left / (size + reg)) @ right).T


def _unit(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Centred on the rows that are known, each row of length 1 (one of zeros stays)."""
    features = features - features[known].mean(0)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), SMALLEST)
