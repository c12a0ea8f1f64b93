"""What notebook 08 tries on sequences: protocols, what items start from, histories out of order or exchanged."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd
import torch

from klm_utils.data.histories import counted, padded
from klm_utils.data.schema import RecDataset
from klm_utils.data.splits import Split
from klm_utils.evaluation.next_item import rank_next
from klm_utils.knowledge.vectors import FactVectors
from klm_utils.models.next_item import NextItem
from klm_utils.models.sequence import Block, SASRec, may_read


def last_liked(ds: RecDataset, reads: str = "all") -> Split:
    """The last film that each user rated 4 or 5 is test, the one before it valid.

    What is rated after the test row is left out. Users with fewer than three such films are in train alone.

    Args:
        reads: which ratings a history holds: "all", or "liked" ones only, as sequence papers have it.
    """
    log = ds.interactions if reads == "all" else ds.interactions[ds.interactions["rating"] >= 4]
    liked = log[log["rating"] >= 4]
    last = pd.Series(liked.index, index=liked["user_id"]).groupby(level=0).max()
    log = log[log.index <= log["user_id"].map(last).fillna(np.inf)].reset_index(drop=True)
    liked = log[log["rating"] >= 4]
    place = liked.groupby("user_id").cumcount(ascending=False)
    many = liked.groupby("user_id")["item_id"].transform("size") >= 3
    test, valid = (log.loc[liked.index[many & (place == at)]] for at in (0, 1))
    train = log.drop(test.index).drop(valid.index)
    how = f"{ds.name}, the last film rated 4 or 5 of each user is test, the one before it valid; histories: {reads}"
    return Split(train, valid, test, how, replace(ds, interactions=log), "last_liked", log[:0])


def principal(vectors: np.ndarray, known: np.ndarray, width: int = 64, scale: float = 0.3) -> np.ndarray:
    """The vectors in their first principal directions, each of equal variance (whitened), float [items, width].

    known: the items that mean and directions are of, bool [items]. scale: the length of a mean vector.
    """
    centred = vectors - vectors[known].mean(0)
    _, sizes, axes = np.linalg.svd(centred[known], full_matrices=False)
    width_there = min(width, len(sizes))
    out = centred @ axes[:width_there].T / sizes[:width_there] * np.sqrt(known.sum() / width) * scale
    return np.pad(out, ((0, 0), (0, width - width_there))).astype(np.float32)


def known_items(split: Split) -> np.ndarray:
    """Which items stand in train, bool [items]."""
    return split.dataset.items.index.isin(split.train["item_id"])


def fact_vectors(split: Split) -> np.ndarray:
    """The facts of the items, learnt on the items of train, float [items, 64]."""
    items = split.dataset.items
    return FactVectors.fit(items[known_items(split)], split.dataset.facts).transform(items)


def out_of_order(split: Split, seed: int = 0) -> Split:
    """The same split, but what each user chose in train stands in an order drawn by chance."""
    rng = np.random.default_rng(seed)
    mixed = split.train.groupby("user_id")["item_id"].transform(lambda items: rng.permutation(items.to_numpy()))
    log = split.dataset.interactions.copy()
    log.loc[split.train.index, "item_id"] = mixed
    parts = {part: log.loc[getattr(split, part).index] for part in ("train", "valid", "test", "shown")}
    return Split(
        **parts, protocol=split.protocol, dataset=replace(split.dataset, interactions=log, optimum=None), name="mixed"
    )


class Mixed:
    """A model that is asked with each history in an order drawn by chance."""

    def __init__(self, model: NextItem, seed: int = 0):
        self.model, self.items, self.seed = model, model.items, seed
        self.name = f"{model.name}, out of order"

    def predict(self, histories: Sequence[Sequence]) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        return self.model.predict([[past[at] for at in rng.permutation(len(past))] for past in histories])


class Slot:
    """A model whose list ends, at place `at`, with the new item that is nearest to the last items of the history.

    Args:
        vectors: of the items' texts, float [items, dim]. known: which items train has, bool [items].
        last: so many items of the history are averaged.
    """

    def __init__(self, model: NextItem, vectors: np.ndarray, known: np.ndarray, at: int = 10, last: int = 3):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.model, self.items, self.unit, self.known, self.at, self.last = model, model.items, unit, known, at, last
        self.name = f"{model.name} and a slot for new items"

    def predict(self, histories: Sequence[Sequence]) -> np.ndarray:
        scores = self.model.predict(histories)
        met = counted(histories, self.items) > 0
        ranked = np.sort(np.where(met | ~self.known, -np.inf, scores), axis=1)[:, ::-1]
        scores = np.where(self.known, scores, scores.min() - 1)  # one new item at a time, and it in the slot
        place = padded(histories, self.items, self.last)
        near = np.stack([self.unit[row[row >= 0]].mean(0) for row in place]) @ self.unit.T
        nearest = np.where(self.known | met, -np.inf, near).argmax(1)
        scores[np.arange(len(scores)), nearest] = (ranked[:, self.at - 2] + ranked[:, self.at - 1]) / 2
        return scores


def listening(model: NextItem, rows: pd.DataFrame, k: int = 10, seed: int = 0) -> dict[str, float]:
    """Does a model listen to the history? Each row is asked with its own history, and with that of another row.

    Returns:
        own, other: nDCG@k of both. shared: of the first k items, the share that both lists have in common, among all
        items and with nothing left out.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    other = order[np.argsort(order) - 1]  # a cycle through all rows: nobody keeps their own
    own, theirs = rows["history"].tolist(), rows["history"].iloc[other].tolist()
    lists = [np.argsort(-model.predict(past), axis=1)[:, :k] for past in (own, theirs)]
    shared = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*lists, strict=True)])
    exchanged = rows.assign(history=pd.Series(theirs, index=rows.index))
    values = [float(rank_next(model, r, k)[f"ndcg@{k}"].mean()) for r in (rows, exchanged)]
    return {"own": values[0], "other": values[1], "shared": float(shared)}


def tied(log: pd.DataFrame) -> dict[str, float]:
    """How a log of MovieLens came about: shares of rows by the time since the same user's row before."""
    gap = log.sort_values(["user_id", "timestamp"], kind="stable").groupby("user_id")["timestamp"].diff().dropna()
    edges = {"the same second": 0, "within a minute": 60, "within an hour": 3600, "later": np.inf}
    below = [float((gap <= edge).mean()) for edge in edges.values()]
    return dict(zip(edges, np.diff([0.0, *below]), strict=True))


def top(model: NextItem, history: Sequence, titles: Mapping, k: int = 5) -> list[str]:
    """Titles of the k likeliest next items that are not in the history."""
    scores = model.predict([history])[0]
    scores[model.items.isin(history)] = -np.inf
    return [titles[item] for item in model.items[np.argsort(-scores)[:k]]]


@torch.no_grad()
def attention(model: SASRec, history: Sequence) -> np.ndarray:
    """How much each place of a history reads each other one in the first block, mean of the heads, float [t, t]."""
    past = torch.from_numpy(padded([history], model.items, min(len(history), model.length)))
    block, x = cast(Block, model.blocks[0]), model.places_of(past, model.table())
    return block.attention.weights(block.before(x), may_read(past >= 0)).mean((0, 1)).numpy()
