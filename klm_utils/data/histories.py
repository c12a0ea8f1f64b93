"""What a user did before a moment: the history that a sequence model reads, with nothing of that moment in it."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from klm_utils.data import rules
from klm_utils.data.catalogue import find
from klm_utils.errors import DataError, check_whole

_RULES: rules.Rules = {"user_id": rules.IDS, "timestamp": rules.TIMES}


def histories(log: pd.DataFrame, targets: pd.DataFrame, length: int = 20) -> list[list]:
    """For each target the last `length` items that its user has in the log strictly before its time, oldest first.

    Rows of the target's own second are not before it. Half the rows of MovieLens-100K bear the same second as their
    user's previous row: there `shift` tells a model of what was chosen together with the item to predict. Ties within
    a history keep the order of the log. A user who is not in the log has no history.

    Args:
        log: `user_id`, `item_id`, `timestamp`, in any order; what may be known, such as `ds.chosen(split.train)`.
        targets: `user_id`, `timestamp`.
        length: so many items at most, >= 1.

    Raises:
        ConfigError: `length` is not a whole number >= 1.
        DataError: a column is missing, a user id or a time is none, or the user ids are of two types.

    >>> log = pd.DataFrame({"user_id": [1, 1, 1, 2], "item_id": list("abcd"), "timestamp": [5, 7, 7, 6]})
    >>> histories(log, log)
    [[], ['a'], ['a'], []]
    """
    length = check_whole("length", length)
    log, targets = _checked(log, "log", [*_RULES, "item_id"]), _checked(targets, "targets", [*_RULES])
    if len(log) and len(targets) and log["user_id"].dtype.kind != targets["user_id"].dtype.kind:
        types, remedy = [str(frame["user_id"].dtype) for frame in (log, targets)], "targets['user_id'].astype('int64')"
        what, where = "the user ids of log and targets are of two types", "histories(log, targets)"  # none would match
        raise DataError(what, where, types, "int or str, the same in both", f"convert one of them: {remedy}")
    users, known = pd.factorize(log["user_id"])
    moments = np.unique(log["timestamp"])
    step = len(moments)  # one key for each user and moment: number of the user * step + number of the moment
    start = rules.places(pd.Index(known), targets["user_id"]) * step  # an unknown user is number -1, before every key
    keys = users * step + np.searchsorted(moments, log["timestamp"])
    order = np.argsort(keys, kind="stable")
    keys, items = keys[order], log["item_id"].iloc[order].tolist()
    stop = np.searchsorted(keys, start + np.searchsorted(moments, targets["timestamp"]))  # first row not before it
    first = np.maximum(np.searchsorted(keys, start), stop - length)
    return [items[a:b] for a, b in zip(first.tolist(), stop.tolist(), strict=True)]


def padded(histories: Sequence[Sequence], items: pd.Index, length: int) -> np.ndarray:
    """The last items of each history as positions, the last one at the right, -1 before the first; int [n, length]."""
    last = [list(history[-length:]) for history in histories]
    grid = np.full((len(last), length), -1)
    grid[np.arange(length) >= length - np.array([len(h) for h in last], dtype=int)[:, None]] = _places(last, items)
    return grid


def counted(histories: Sequence[Sequence], items: pd.Index) -> np.ndarray:
    """How often each item stands in each history, float64 [n, items]."""
    grid = np.zeros((len(histories), len(items)))
    row = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    np.add.at(grid, (row, _places(histories, items)), 1.0)
    return grid


def _checked(frame: pd.DataFrame, name: str, columns: list[str]) -> pd.DataFrame:
    """The columns with ids as int64 or text and times in seconds, or a DataError."""
    found = rules.shape_faults(frame, name, columns, least=0)
    found = found or rules.faults_of(frame := rules.plain(frame[columns]), name, _RULES)
    if found:
        raise rules.complain(found)
    return frame.assign(user_id=rules.plain_ids(frame["user_id"]), timestamp=rules.time_values(frame["timestamp"]))


def _places(histories: Iterable[Sequence], items: pd.Index) -> np.ndarray:
    ids = [item for history in histories for item in history]
    return find(items, pd.Index(ids, dtype=items.dtype), "histories") if ids else np.zeros(0, dtype=np.int64)
