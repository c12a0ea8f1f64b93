"""Notebook 03: the lists that people get from a model, and how much the lists of two people agree."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import cast

import numpy as np
import pandas as pd
import torch
from scipy import stats

from klm_utils.data.schema import RecDataset, title_text
from klm_utils.data.splits import Split
from klm_utils.evaluation.experiment import Runs
from klm_utils.models.recommender import KLMRecommender

PEOPLE = {2: "woman, 53", 38: "woman, 28", 83: "man, 40", 239: "artist, 39", 548: "writer, 51"}  # of MovieLens


def titles(ds: RecDataset) -> pd.Series:
    """The titles as people write them, by item id."""
    return ds.items["title"].map(title_text)


def known_by_many(model: KLMRecommender, cut: Split, least: int = 150) -> np.ndarray:
    """Positions of the films with so many rows in train."""
    rows = cut.train["item_id"].value_counts()
    return np.flatnonzero(model.items.index.map(rows).to_numpy() >= least)


def best(scores: torch.Tensor, among: np.ndarray, ds: RecDataset, k: int = 5) -> list[list[str]]:
    """The titles of the k best of these films in each row of scores [users, items]."""
    names = titles(ds).to_numpy()
    return [[names[i] for i in among[np.argsort(-row[among], kind="stable")[:k]]] for row in scores.numpy()]


def rated(lists: Mapping[str, Sequence[str]], cut: Split) -> int:
    """How many titles of these lists of `PEOPLE` their own person has rated in train."""
    names = titles(cut.dataset)
    rows = cut.train[cut.train["user_id"].isin(list(PEOPLE))]
    own = set(zip(rows["user_id"].map(PEOPLE), rows["item_id"].map(names), strict=True))
    return sum((person, title) in own for person, shown in lists.items() for title in shown)


def place(ds: RecDataset, title: str) -> int:
    """The position of the first film of this title."""
    return int(np.flatnonzero(titles(ds) == title)[0])


@torch.no_grad()
def vectors(model: KLMRecommender) -> tuple[torch.Tensor, torch.Tensor]:
    """What a trained `dot` model knows of each film [items, d] and of each person, their history too [users, d]."""
    fusion = model.fusion
    items, users = torch.arange(len(model.items)), torch.arange(len(model.users))
    history = fusion.totals(users) * fusion.history_size[:, None].clamp_min(1).rsqrt()
    rows = fusion.whole_rows(items, None, (None, None))
    return rows[:, :-1].double(), (fusion.user_rows(users, (None, None))[0] + history).double()


def joined_fit(films: torch.Tensor, people: torch.Tensor, model: KLMRecommender, cut: Split):
    """The linear layer on [film; person] that is best for the ratings of train: weight [2d] and bias."""
    users, items = model.positions(cut.train["user_id"], cut.train["item_id"])
    x = torch.cat([films[items], people[users], torch.ones(len(items), 1)], dim=1)
    rating = torch.tensor(cut.train["rating"].to_numpy(), dtype=torch.float64)
    solution = torch.linalg.lstsq(x, rating[:, None]).solution[:, 0]
    return solution[:-1], solution[-1]


def kendall(scores: torch.Tensor) -> list[float]:
    """Kendall's tau of the lists of every two users; scores [users, items], whose last bits are rounded away."""
    lists = scores.detach().double().round(decimals=5).numpy()
    return [float(stats.kendalltau(lists[a], lists[b]).statistic) for a, b in combinations(range(len(lists)), 2)]


@torch.no_grad()
def agreements(runs: Runs, people: int = 20, seed: int = 0) -> dict[str, list[float]]:
    """Of each variant the `kendall` of every two of so many random people: the items of test, on the last split."""
    cut = list(runs.splits.values())[-1]
    found = {}
    for name, built in runs.models.items():
        model = cast(KLMRecommender, built)
        users = torch.as_tensor(np.random.default_rng(seed).choice(len(model.users), people, replace=False))
        items = torch.as_tensor(model.items.index.get_indexer(cut.test["item_id"].unique()))
        found[name] = kendall(model.fusion.grid(users, items))
    return found
