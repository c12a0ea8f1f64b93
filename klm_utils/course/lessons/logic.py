"""What notebook 07 does with rules: the shop's three as a feature, as a loss and as a filter of one small model.

A rule "body => head" says +1 of a row whose body holds where the head is "buys", -1 where it is "does not buy", and 0
of a row whose body does not hold. `says` has a column for each of `RULES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.linalg import solve
from scipy.optimize import minimize
from scipy.special import expit, logit
from torch.nn.functional import softplus

from klm_utils import losses
from klm_utils.data import shop
from klm_utils.data.rules import places
from klm_utils.data.schema import RecDataset
from klm_utils.data.shop.world import COMPLEMENT, DAY, SAME_TYPE, SEASON, START
from klm_utils.evaluation import metrics

RULES = ("complement", "season", "same type")
STATED = np.array([COMPLEMENT, SEASON, -SAME_TYPE])  # log-odds in favour of what the rule says


def both(a, b):
    """Truth of "a and b", the product t-norm."""
    return a * b


def either(a, b):
    """Truth of "a or b", its dual."""
    return a + b - a * b


def implies(body, head):
    """Truth of "if body, then head" (Reichenbach): "not (body and not head)" under the product t-norm."""
    return 1 - both(body, 1 - head)


def rule_loss(z: torch.Tensor, says: torch.Tensor) -> torch.Tensor:
    """Mean over rows of -log truth, summed over the rules; where a body does not hold the truth is 1 and costs 0.

    Where it holds the truth is that of the head, p or 1 - p, and -log sigmoid(z) = softplus(-z).

    Args:
        z: logits, [n].
        says: -1, 0 or 1, [n, rules].
    """
    return (softplus(-says * z[:, None]) * says.abs()).sum() / len(z)


def rule_grad(z: torch.Tensor, says: torch.Tensor) -> torch.Tensor:
    """Gradient of `rule_loss` in z, [n]: where a body holds, minus what is missing to the truth, with the sign."""
    return -(says * torch.sigmoid(-says * z[:, None])).sum(1) / len(z)


def bodies(ds: RecDataset, users: ArrayLike, items: ArrayLike, times: ArrayLike, kinds=None) -> np.ndarray:
    """What each rule says of each row, float [n, 3], from what the user bought in the log strictly before its time.

    complement: the user has bought what this goes with: buys. season: buys in its season, does not out of it.
    same type: the user has bought one of this kind: does not buy.

    Args:
        ds: `shop.with_facts(...)`.
        users, items, times: ids and seconds, [n].
        kinds: {kind: kind} to read `goes_with` by: a wrong table of complements, see `wrong_table`.
    """
    kind = ds.items["kind"].str[0]
    names = pd.Index(sorted(set(kind)))
    bought = ds.interactions[ds.interactions["label"] == 1]
    first = np.full((len(ds.users), len(names)), np.inf)  # when each user first bought one of each kind
    of_item = names.get_indexer(kind)
    own = places(ds.users.index, bought["user_id"]), of_item[places(ds.items.index, bought["item_id"])]
    np.minimum.at(first, own, bought["timestamp"].to_numpy())
    partner = np.full_like(first, np.inf)
    for name, partners in zip(kind, ds.items["goes_with"], strict=True):
        name, partners = (name, partners) if kinds is None else (kinds[name], [kinds[p] for p in partners])
        if partners:
            partner[:, names.get_loc(name)] = first[:, names.get_indexer(partners)].min(axis=1)
    u, i, t = places(ds.users.index, users), places(ds.items.index, items), np.asarray(times)
    season = ds.items["season"].str[0].fillna("").to_numpy()[i]
    now = np.where(t < START + 30 * DAY, "autumn", "winter")
    in_season = np.where(season == "", 0, np.where(season == now, 1, -1))
    return np.column_stack([partner[u, of_item[i]] < t, in_season, -(first[u, of_item[i]] < t).astype(int)]) * 1.0


def shares(says: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    """How many rows each rule speaks of, and the share bought where it says "buys", where not, where it is silent."""
    table = pd.DataFrame({"rows of train": (says != 0).sum(0)}, index=RULES)
    for name, sign in (("share bought: says buys", 1), ("says not", -1), ("silent", 0)):
        table[name] = [pd.Series(y[own == sign], dtype=float).mean() for own in says.T]
    return table


def wrong_table(ds: RecDataset, seed: int = 0) -> dict[str, str]:
    """Each kind under the name of another: the table of complements keeps its shape, and says nothing true."""
    names = sorted(set(ds.items["kind"].str[0]))
    return dict(zip(names, np.random.default_rng(seed).permutation(names).tolist(), strict=True))


def crosses(ds: RecDataset, users: ArrayLike, items: ArrayLike) -> np.ndarray:
    """What the model reads of each row without rules: codes of the item, of each interest with the subcategory, and of
    gender and age with the category; int [n, 9], 0 for none."""
    u, i = places(ds.users.index, users), places(ds.items.index, items)
    interests = ds.users["interests"].explode()
    nth = interests.groupby(level=0, sort=False).cumcount().to_numpy()
    codes = np.full((len(ds.users), nth.max() + 1), -1)
    codes[places(ds.users.index, interests.index), nth] = pd.factorize(interests)[0]
    gender, decade = pd.factorize(ds.users["gender"])[0], ds.users["age"].to_numpy() // 10
    sub, category = (pd.factorize(ds.items[name])[0] for name in ("subcategory", "category"))
    parts, start = [np.arange(len(ds.items))[i][:, None]], len(ds.items)
    for who, what in ((codes, sub), (gender[:, None], category), (decade[:, None], category)):
        code = start + who[u] * (what.max() + 1) + what[i][:, None]
        parts.append(np.where(who[u] < 0, -1, code))
        start += (who.max() + 1) * (what.max() + 1)
    return np.column_stack(parts) + 1


@dataclass(eq=False)
class Logistic:
    """Logistic regression on `crosses`, with the rules as a feature, as a loss, or as neither.

    feature: whether what the rules say is read too; its weights are then `strength`, [rules]. lam: of `rule_loss`.
    decay: of the squared weights, but not of strength and constant.
    """

    feature: bool = False
    lam: float = 0.0
    decay: float = 1e-4

    def fit(self, x: np.ndarray, says: np.ndarray, y: ArrayLike) -> "Logistic":
        """To rows of train: codes [n, m], what the rules say [n, rules], labels [n]. The loss is convex: one bottom."""
        self.size, self.rules = int(x.max()), says.shape[1]
        self.free = 1 + self.rules * self.feature
        wide, rules, labels = self.columns(x, says), torch.from_numpy(says), torch.tensor(np.asarray(y, dtype=float))

        def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
            z, shrunk = torch.from_numpy(wide @ weights), self.decay * weights * self.shrinks
            value = losses.bce_with_logits(z, labels) + self.lam * rule_loss(z, rules)
            slope = losses.bce_with_logits_grad(z, labels) + self.lam * rule_grad(z, rules)
            return value.item() + shrunk @ weights / 2, wide.T @ slope.numpy() + shrunk

        start = np.zeros(wide.shape[1])
        self.weights = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "ftol": 1e-10}).x
        self.strength = self.weights[1 : self.free]
        return self

    @property
    def shrinks(self) -> np.ndarray:
        return np.arange(self.free + self.size) >= self.free

    def columns(self, x: np.ndarray, says: np.ndarray) -> sparse.csr_array:
        """1, what the rules say if it is read, and a column for each code that train knows."""
        there = (x > 0) & (x <= self.size)
        codes = sparse.csr_array((np.ones(there.sum()), (np.nonzero(there)[0], x[there] - 1)), (len(x), self.size))
        left = np.column_stack([np.ones(len(x)), says])[:, : self.free]
        return sparse.hstack([sparse.csr_array(left), codes]).tocsr()

    def predict(self, x: np.ndarray, says: np.ndarray) -> np.ndarray:
        """Probabilities, [n]."""
        return expit(self.columns(x, says) @ self.weights)

    def intervals(self, x: np.ndarray, says: np.ndarray) -> np.ndarray:
        """95 % intervals of `strength`, [rules, 2], from the curvature of the loss at the rows of train (Wald)."""
        wide, p = self.columns(x, says), self.predict(x, says)
        curvature = (wide.T @ wide.multiply((p * (1 - p))[:, None])).toarray()
        curvature += len(x) * self.decay * np.diag(self.shrinks * 1.0)
        own = np.eye(len(curvature))[:, 1 : self.free]
        spread = np.sqrt(np.diag(own.T @ solve(curvature, own, assume_a="pos")))
        return self.strength[:, None] + 1.96 * spread[:, None] * [-1, 1]


def strengths(model: Logistic, x: np.ndarray, says: np.ndarray) -> np.ndarray:
    """Strength, low and high of each rule that the model reads, [rules, 3], at the rows of train."""
    return np.column_stack([model.strength, model.intervals(x, says)])


def given_taste(optimum: np.ndarray, says: np.ndarray, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Strengths, [rules], and their 95 % intervals, [rules, 2], if everything else is known: the true log-odds without
    the rules are taken as given. Simulated data only."""
    taste, strength, labels = logit(optimum) - says @ STATED, np.zeros(len(STATED)), np.asarray(y)
    for _ in range(20):  # Newton
        p = expit(taste + says @ strength)
        inverse = np.linalg.inv(says.T @ (says * (p * (1 - p))[:, None]))
        strength = strength + inverse @ says.T @ (labels - p)
    return strength, strength[:, None] + 1.96 * np.sqrt(np.diag(inverse))[:, None] * [-1, 1]


def measures(p: np.ndarray, says: np.ndarray, y: ArrayLike, optimum: np.ndarray) -> dict[str, float]:
    """Log loss, AUC, the distance to the true probabilities (Kullback-Leibler, the part of the log loss that is not
    chance), and how false the rules are: 1 - truth, mean over the rows and rules whose body holds."""
    held, head = says != 0, np.where(says > 0, p[:, None], 1 - p[:, None])
    far = optimum * np.log(optimum / p) + (1 - optimum) * np.log((1 - optimum) / (1 - p))
    found = {"log loss": metrics.logloss(y, p), "auc": metrics.auc(y, p), "distance": far.mean()}
    return {name: float(value) for name, value in (found | {"violation": (1 - head)[held].mean()}).items()}


def lists(
    ds: RecDataset, model: Logistic, time: int, k: int = 10, drop: bool = False, rules: Sequence[int] | None = None
) -> pd.DataFrame:
    """The k best of each user who was there before `time`, of what she has not met; the shop that ships.

    A row per user: `purchases`, the sum of the true probabilities, and `same type`, the share of the list of a kind
    that she has bought before. drop: the rule as a filter, no such thing comes into a list. rules: which columns of
    `says` the model was fitted to; None: the first.
    """
    before = ds.interactions[ds.interactions["timestamp"] < time]
    users, items = before["user_id"].unique(), ds.items.index[ds.items["launched"] < time]
    u, i = np.repeat(users, len(items)), np.tile(items, len(users))
    says, own = bodies(ds, u, i, np.full(len(u), time)), list(range(model.rules) if rules is None else rules)
    score = model.predict(crosses(ds, u, i), says[:, own]).reshape(len(users), -1)
    score[places(pd.Index(users), before["user_id"]), places(items, before["item_id"])] = -1
    same = says[:, 2].reshape(score.shape) < 0
    top = np.argsort(-np.where(same & drop, -1, score), axis=1, kind="stable")[:, :k]
    true = shop.probability(np.repeat(users, k), items.to_numpy()[top].ravel(), np.full(top.size, time))
    found = {"purchases": true.reshape(top.shape).sum(1), "same type": np.take_along_axis(same, top, 1).mean(1)}
    return pd.DataFrame(found, index=pd.Index(users, name="user_id"))
