"""What comes next, in closed form: everybody's favourites, the last item's followers, the whole past at once."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from klm_utils.data.catalogue import find
from klm_utils.data.histories import counted, padded
from klm_utils.errors import check_number


class NextItem(Protocol):
    """What can be asked what comes next."""

    name: str
    items: pd.Index

    def predict(self, histories: Sequence[Sequence]) -> np.ndarray:
        """A score of each item for each history of ids, oldest first; more is likelier, float64 [n, items]."""


class Popular:
    """How often each item was chosen: the same for every history."""

    name = "popularity"

    def __init__(self, items: Sequence):
        self.items = pd.Index(items, name="item_id")

    def fit(self, histories: Sequence[Sequence]) -> "Popular":
        """histories: of the users in train, ids, oldest first."""
        self.share = counted(histories, self.items).sum(0)
        self.share /= self.share.sum()
        return self

    def predict(self, histories: Sequence[Sequence]) -> np.ndarray:
        return np.tile(self.share, (len(histories), 1))


class Markov(Popular):
    """P(next = j | last = i) = (n_ij + a share_j) / (n_i + a): how often j came right after i, else its popularity.

    Args:
        a: how many transitions the popularity counts for.

    Source: Jurafsky and Martin, Speech and language processing, 3rd ed., chapter 3 (bigrams, interpolation).
    """

    name = "Markov table"

    def __init__(self, items: Sequence, a: float = 30.0):
        super().__init__(items)
        self.a = check_number("Markov(a)", a, 1e-9, np.inf)

    def fit(self, histories: Sequence[Sequence]) -> "Markov":
        super().fit(histories)
        self.follows = np.zeros((len(self.items), len(self.items)))
        for history in histories:
            place = find(self.items, pd.Index(history, dtype=self.items.dtype), "histories")
            np.add.at(self.follows, (place[:-1], place[1:]), 1.0)
        return self

    def predict(self, histories: Sequence[Sequence]) -> np.ndarray:
        last = padded(histories, self.items, 1)[:, 0]
        after = self.follows[last] * (last >= 0)[:, None]
        return (after + self.a * self.share) / (after.sum(1, keepdims=True) + self.a)


class NextEASE(Popular):
    """EASE on the whole past, whose order does not count: what `EASE` learns, asked with any history.

    Source: Steck 2019, Embarrassingly shallow autoencoders for sparse data, eq. 8.
    """

    name = "EASE"

    def __init__(self, items: Sequence, reg: float = 100.0):
        super().__init__(items)
        self.reg = check_number("NextEASE(reg)", reg, 1e-9, np.inf)

    def fit(self, histories: Sequence[Sequence]) -> "NextEASE":
        super().fit(histories)
        x = np.minimum(counted(histories, self.items), 1)
        inverse = np.linalg.inv(x.T @ x + self.reg * np.eye(len(self.items)))
        self.weights = np.eye(len(self.items)) - inverse / np.diag(inverse)
        return self

    def predict(self, histories: Sequence[Sequence]) -> np.ndarray:
        x = np.minimum(counted(histories, self.items), 1)
        return x @ self.weights + 1e-6 * self.share  # where nothing is known, popularity
