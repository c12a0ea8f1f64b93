"""What every baseline shares: ids, and the rule that train fits, valid picks and test stays closed."""

from collections.abc import Iterable
from typing import Self

import numpy as np
import pandas as pd

from klm_utils.data.catalogue import find, paired
from klm_utils.errors import ConfigError, check_number
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
