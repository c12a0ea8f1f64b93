"""What every baseline shares: ids, and the rule that train fits, valid picks and test stays closed."""

from collections.abc import Iterable
from typing import Self

import numpy as np
import pandas as pd

from klm_utils.errors import ConfigError, DataError, check_number
from klm_utils.evaluation.ranking import check_split

SMALLEST = 1e-9  # of what must be above 0


class Baseline:
    """A model with `fit(split) -> self` and `predict(user_ids, item_ids) -> float64 [n]` in [0, 1].

    A subclass sets `name` and `objective` and writes `_fit(split)` and `_score(u, i)`, where u and i are positions in
    the tables of users and items. Parameters come from `split.train`; `split.valid` picks settings and calibrates;
    `split.shown` (cold_user only) is the history of users who are not in train.

    Raises:
        DataError: `predict` meets an id that is not in the data set, or arrays of different lengths. An id that is
            only absent from train has a prediction, from what else is known.
        ConfigError: a setting that has no meaning; `fit` of what is no split; `predict` before `fit`.
    """

    name = "baseline"
    objective = "label"

    def fit(self, split) -> Self:
        check_split(f"{type(self).__name__}().fit(split)", split)
        self._users, self._items = split.dataset.users.index, split.dataset.items.index
        self._fit(split)
        return self

    def predict(self, user_ids, item_ids) -> np.ndarray:
        if not hasattr(self, "_users"):
            raise ConfigError(
                f"The baseline {self.name!r} is not fitted",
                where="predict",
                expected="a call of fit before",
                remedy=f"call {type(self).__name__}().fit(split) first",
            )
        user_ids, item_ids = paired(user_ids, item_ids)
        u, i = find(self._users, user_ids, "user_ids"), find(self._items, item_ids, "item_ids")
        return np.asarray(self._score(u, i), dtype=np.float64) if len(u) else np.zeros(0)

    def _fit(self, split) -> None:
        raise NotImplementedError

    def _score(self, u: np.ndarray, i: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _places(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Positions (u, i) of the rows of a frame."""
        return self._users.get_indexer(frame["user_id"]), self._items.get_indexer(frame["item_id"])


def choices(name: str, values, least: float = SMALLEST) -> tuple[float, ...]:
    """Settings among which valid picks, one or more finite numbers >= least, or `ConfigError`."""
    if not isinstance(values, Iterable) or isinstance(values, str) or not len(values := tuple(values)):
        raise ConfigError(
            f"{name} are no settings to choose from",
            where=name,
            found=values,
            expected="one or more numbers",
            remedy=f"of a single one pass {name}=(1.0,)",
        )
    return tuple(check_number(f"each of {name}", value, least, np.inf, f"leave {name} out") for value in values)


def known(split) -> pd.DataFrame:
    """The rows that may describe a *user* at prediction: train, and the shown rows of cold users."""
    return pd.concat([split.train, split.shown]) if len(split.shown) else split.train


def need_both_labels(split, part: str = "train") -> None:
    """Raise `DataError` if all labels of a part are equal: there is nothing to tell apart."""
    labels = getattr(split, part)["label"]
    if labels.nunique() < 2:
        raise DataError(
            f"All labels of {part} are equal",
            where=f"split.{part}, column label",
            found=int(labels.iloc[0]),
            expected="rows with label 0 and rows with label 1",
            remedy="use more data, another seed of the split, or set the label by another threshold",
        )


def paired(user_ids, item_ids) -> tuple[np.ndarray, np.ndarray]:
    """Two flat arrays of equal length, or `DataError`."""
    try:
        users, items = np.asarray(user_ids), np.asarray(item_ids)
    except ValueError:  # lists of several lengths
        users = items = np.zeros(())
    if users.ndim != 1 or users.shape != items.shape:
        raise DataError(
            "Users and items do not pair up",
            where="predict(user_ids, item_ids)",
            found=(users.shape, items.shape) if users.ndim else (user_ids, item_ids),
            expected="two flat lists of equal length",
            remedy="pass one user and one item for each prediction",
        )
    return users, items


def find(index: pd.Index, ids: np.ndarray, argument: str) -> np.ndarray:
    """Positions of ids in an index, int [n]; an id that is not there raises `DataError`."""
    places = index.get_indexer(ids)
    if (places < 0).any():
        at = int(np.flatnonzero(places < 0)[0])
        raise DataError(
            "This id is not in the data set",
            where=f"{argument}, position {at}" if len(ids) > 1 else argument,
            found=ids[at].item() if isinstance(ids[at], np.generic) else ids[at],
            expected=f"one of {len(index)} ids of the kind of {index[:1].tolist()[0]!r}",
            remedy="use ids of the data set that the split was made from",
        )
    return places
