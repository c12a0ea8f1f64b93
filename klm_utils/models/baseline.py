"""What every baseline shares: ids, and the rule that train fits, valid picks and test stays closed."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from klm_utils.data.catalogue import find, paired, positions
from klm_utils.data.splits import Split
from klm_utils.errors import ConfigError, check_number
from klm_utils.evaluation import metrics
from klm_utils.evaluation.calibration import apply_platt, platt
from klm_utils.evaluation.ranking import check_split

SMALLEST = 1e-9  # of what must be above 0
Places = tuple[np.ndarray, np.ndarray]


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

    def fit(self, split: Split) -> Self:
        """Learn from train and valid."""
        check_split(f"{type(self).__name__}().fit(split)", split)
        self._users, self._items = split.dataset.users.index, split.dataset.items.index
        self.protocol = split.protocol
        self._fit(split)
        return self

    def predict(self, user_ids, item_ids) -> np.ndarray:
        """Probability of each pair, float64 [n]."""
        if not hasattr(self, "_users"):
            remedy = f"call {type(self).__name__}().fit(split) first"
            raise ConfigError(f"The baseline {self.name!r} is not fitted", where="predict", remedy=remedy)
        user_ids, item_ids = paired(user_ids, item_ids)
        u, i = find(self._users, user_ids, "user_ids"), find(self._items, item_ids, "item_ids")
        return np.asarray(self._score(u, i), dtype=np.float64) if len(u) else np.zeros(0)

    def _fit(self, split: Split) -> None:
        raise NotImplementedError

    def _score(self, u: np.ndarray, i: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Calibrated(Baseline):
    """A baseline of labels. Of several settings valid picks one by AUC; then it turns the score into a probability.

    A subclass sets `settings` and writes `_learn(split, setting)`, which returns what was learnt, and
    `_raw(learnt, u, i)`, its score.
    """

    settings: tuple = (None,)

    def _fit(self, split: Split) -> None:
        valid, labels, best = positions(split.dataset, split.valid), split.valid["label"], -1.0
        for setting in self.settings:
            learnt = self._learn(split, setting)
            score = self._raw(learnt, *valid)
            reached = np.nan_to_num(metrics.auc(labels, score))
            if reached > best:
                best, self._learnt, self._platt = reached, learnt, platt(score, labels)

    def _score(self, u: np.ndarray, i: np.ndarray) -> np.ndarray:
        return apply_platt(self._raw(self._learnt, u, i), *self._platt)

    def _learn(self, split: Split, setting) -> Any:
        raise NotImplementedError

    def _raw(self, learnt: Any, u: np.ndarray, i: np.ndarray) -> np.ndarray:
        raise NotImplementedError


def check_settings(name: str, values: Iterable, least: float = SMALLEST) -> tuple[float, ...]:
    """Settings among which valid picks, one or more finite numbers >= least, or `ConfigError`."""
    if not isinstance(values, Iterable) or isinstance(values, str) or not len(values := tuple(values)):
        raise ConfigError(f"{name} are no settings to choose from", name, values, "numbers", f"pass {name}=(1.0,)")
    return tuple(check_number(f"each of {name}", value, least, np.inf, f"leave {name} out") for value in values)
