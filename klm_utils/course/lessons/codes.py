"""Notebook 08: items as short codes (semantic ids), how many share one, and a model that spells what comes next."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional as F

from klm_utils.models.sequence import SASRec


def residual_codes(
    vectors: np.ndarray, known: np.ndarray, size: int = 32, levels: int = 3, seed: int = 0
) -> np.ndarray:
    """The nearest of `size` centres, then the nearest to what is left of the vector, and so on; int [items, levels].

    Args:
        vectors: float [items, dim].
        known: the items that the centres are fitted on, bool [items]; the others are only given codes.

    Source: Rajput et al. 2023, Recommender systems with generative retrieval, section 3.1 (with k-means in place of the
    RQ-VAE, as in Deng et al. 2025, OneRec, section 3.1).
    """
    rest, codes = vectors.astype(np.float64), []
    for level in range(levels):
        centres = KMeans(size, n_init=1, random_state=seed + level).fit(rest[known])
        codes.append(centres.predict(rest))
        rest = rest - centres.cluster_centers_[codes[-1]]
    return np.stack(codes, 1)


def dealt(codes: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same codes, each given to another item: as many share one, but nothing that they say is true."""
    return codes[np.random.default_rng(seed).permutation(len(codes))]


def drawn(items: int, size: int, levels: int = 3, seed: int = 0) -> np.ndarray:
    """Codes drawn evenly: hardly anybody shares one, and no part of one says anything."""
    return np.random.default_rng(seed).integers(size, size=(items, levels))


def sharing(codes: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """Share of the known items that have a code in common with another one, and of the new ones whose code is known."""
    of = pd.Series(list(map(tuple, codes)))
    return {
        "known that collide": float(of[known].duplicated(keep=False).mean()),
        "new that can be reached": float(of[~known].isin(set(of[known])).mean()) if (~known).any() else float("nan"),
    }


class Speller(SASRec):
    """Spells the next item: P(first code), P(second | first), P(third | both), each among the codes that go on.

    An item's vector in the history is the sum of the vectors of its codes; nothing else is known of it. A code is a way
    down a tree (trie) that has only the known items' codes. Items with one code share its probability evenly, and an
    item whose code no known item has gets none.

    Args:
        items, options: as `SASRec`.
        codes: int [items, levels].
        known: the items of train, bool [items].
    """

    name = "speller"
    vectors: Tensor
    map: nn.Linear
    codes: Tensor
    leaf: Tensor
    sharers: Tensor

    def __init__(self, items: Sequence, codes: np.ndarray, known: np.ndarray, *, width: int = 64, **options):
        levels, size = codes.shape[1], int(codes.max()) + 1
        marks = np.eye(size)[codes].reshape(len(codes), -1)  # [items, levels * size]
        super().__init__(items, width=width, vectors=marks, ids=False, **options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.get("seed", 0))
            self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(levels))
            self.outputs = nn.ModuleList(nn.Linear(width, size) for _ in range(levels))
        self.register_buffer("codes", torch.from_numpy(codes))
        self.size = size
        node, self.levels = np.zeros(len(codes), dtype=np.int64), levels
        for level in range(levels):  # number the nodes of each level of the tree, -1 where it does not lead
            way = node * size + codes[:, level]
            ends = np.unique(way[known & (node >= 0)])
            goes_on = torch.zeros(int(node.max()) + 1, size, dtype=torch.bool)
            goes_on[torch.from_numpy(ends // size), torch.from_numpy(ends % size)] = True
            self.register_buffer(f"goes_on_{level}", goes_on)
            self.register_buffer(f"node_{level}", torch.from_numpy(node.copy()))
            place = np.searchsorted(ends, way)
            there = (node >= 0) & (place < len(ends)) & (ends[np.minimum(place, len(ends) - 1)] == way)
            node = np.where(there, place, -1)
        self.register_buffer("leaf", torch.from_numpy(node))
        self.register_buffer("sharers", torch.bincount(self.leaf[torch.from_numpy(known)]).float())

    def _step(self, level: int, states: Tensor, prefix: Tensor, node: Tensor) -> Tensor:
        """log P of each code of a level where the way so far ended at these nodes, [..., size]."""
        z = self.outputs[level](F.gelu(self.hidden[level](states + prefix)))
        return z.masked_fill(~self.get_buffer(f"goes_on_{level}")[node], -torch.inf).log_softmax(-1)

    def _prefix(self, items: Tensor, level: int) -> Tensor:
        """Sum of the vectors of the first codes of these items, [..., width]."""
        marks = self.vectors[items].unflatten(-1, (self.levels, self.size))[..., :level, :].flatten(-2)
        return marks @ self.map.weight[:, : level * self.size].T

    def surprise(self, states: Tensor, table: Tensor, target: Tensor, known: Tensor) -> Tensor:
        total = self.sharers[self.leaf[target]].log()
        for level in range(self.levels):
            log_p = self._step(level, states, self._prefix(target, level), self.get_buffer(f"node_{level}")[target])
            total = total - log_p.gather(-1, self.codes[target, level, None])[:, 0]
        return total

    def scores(self, states: Tensor, table: Tensor) -> Tensor:
        """log P of all items; about -1e4 for what cannot be spelled."""
        total = torch.zeros(len(states), 1)
        for level in range(self.levels):
            node = self.get_buffer(f"node_{level}")
            first = torch.stack([(node == at).nonzero()[0, 0] for at in range(int(node.max()) + 1)])  # an item of each
            log_p = self._step(level, states[:, None], self._prefix(first, level), torch.arange(len(first)))
            ends = self.get_buffer(f"goes_on_{level}").nonzero()
            total = total[:, ends[:, 0]] + log_p[:, ends[:, 0], ends[:, 1]]
        total = total - self.sharers.log()
        return torch.where(self.leaf >= 0, total[:, self.leaf.clamp_min(0)], -1e4)
