"""What a user did before a moment: the history that a sequence model reads, with nothing of that moment in it."""

import numpy as np
import pandas as pd

from klm_utils.data.rules import TO_DATES, TO_SECONDS, exact, number
from klm_utils.errors import DataError, check_whole

_TO_SECONDS, _TO_DATES = (code.replace("log[column]", "frame['timestamp']") for code in (TO_SECONDS, TO_DATES))


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
        DataError: a column is missing, a time is not a finite number, or the user ids are of two types.

    >>> log = pd.DataFrame({"user_id": [1, 1, 1, 2], "item_id": list("abcd"), "timestamp": [5, 7, 7, 6]})
    >>> histories(log, log)
    [[], ['a'], ['a'], []]
    """
    length = check_whole("length", length)
    times, wanted_times = _times(log, "log", ("user_id", "item_id", "timestamp")), _times(targets, "targets")
    users, wanted_users = pd.Index(log["user_id"].to_numpy()), pd.Index(targets["user_id"].to_numpy())
    _refuse_two_types(users, wanted_users)

    known, moments = users.unique(), np.unique(times)
    step = len(moments)  # one key for each user and moment: number of the user * step + number of the moment
    start = known.get_indexer(wanted_users) * step  # an unknown user is number -1, before every key
    keys = known.get_indexer(users) * step + np.searchsorted(moments, times)
    order = np.argsort(keys, kind="stable")
    keys, items = keys[order], log["item_id"].iloc[order].tolist()
    stop = np.searchsorted(keys, start + np.searchsorted(moments, wanted_times))  # the first row not before the target
    first = np.maximum(np.searchsorted(keys, start), stop - length)
    return [items[a:b] for a, b in zip(first.tolist(), stop.tolist(), strict=True)]


def _times(frame: pd.DataFrame, name: str, columns: tuple = ("user_id", "timestamp")) -> np.ndarray:
    """The times of a frame that has the columns, integers as they are."""
    there = list(frame.columns) if isinstance(frame, pd.DataFrame) else []
    if missing := [column for column in columns if column not in there]:
        raise DataError(
            f"{name} has no column {missing[0]!r}",
            where=f"histories({name})",
            found=there if isinstance(frame, pd.DataFrame) else type(frame).__name__,
            expected=f"a DataFrame with {', '.join(columns)}",
            remedy="pass rows of ds.interactions, or rename the columns of your own",
        )
    times = frame["timestamp"]
    finite = np.isfinite(number(times).to_numpy())
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            "timestamp is not a finite number",
            where=f"histories({name}), row {frame.index[row]!r} (position {row})",
            found=times.iloc[row],
            expected="seconds since 1970",
            remedy=f"from dates: {_TO_SECONDS}; else drop such rows (periods become dates by {_TO_DATES})",
        )
    times = exact(times)
    whole = pd.api.types.is_integer_dtype(times.dtype) and not (times >= 2**63).any()
    return times.to_numpy(dtype="int64" if whole else "float64")


def _refuse_two_types(users: pd.Index, wanted: pd.Index) -> None:
    """An int is never equal to a text: every history would be empty without a word."""
    types = [ids.inferred_type for ids in (users, wanted) if len(ids)]
    if len({kind == "string" for kind in types}) > 1:
        raise DataError(
            "the user ids of log and targets are of two types",
            where="histories(log, targets)",
            found=types,
            expected="int or str, the same in both",
            remedy="convert one of them: targets['user_id'].astype('int64') or .astype(str)",
        )
