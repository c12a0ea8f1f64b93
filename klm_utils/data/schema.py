"""RecDataset: the items, the users and the log of a recommender, checked whenever one is made."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from klm_utils.data.tables import (
    complain,
    faults_of,
    id_rule,
    interaction_rules,
    item_rules,
    number,
    table_fault,
    triple_rules,
    user_rules,
)
from klm_utils.errors import ConfigError, DataError

LOG_COLUMNS = ["user_id", "item_id", "timestamp", "rating", "label"]


@dataclass(frozen=True, eq=False)
class RecDataset:
    """Items, users, and who did what when. Copies the frames it is given and validates them.

    Args:
        name: what protocols and reports call it.
        items: index `item_id`; columns `title` (str), `tags` (list of str) and any others.
        users: index `user_id`; any profile columns.
        interactions: `user_id`, `item_id`, `timestamp` (seconds), `rating`, `label` (0 or 1), one row per event;
            kept sorted by time, ties in the given order, under a fresh RangeIndex. None: there is no log, and
            `interactions` is an empty table.
        triples: `head`, `relation`, `tail`, or None.
        optimum: true probability of label 1 of each row of `interactions`; simulated data only.
        chosen_by: "row" when every row is a choice, "label" when only rows with label 1 are.

    Raises:
        DataError: a table that breaks one of the rules of `klm_utils.data.tables`, with column, row and remedy.
        ConfigError: an unknown `chosen_by`.
    """

    name: str
    items: pd.DataFrame
    users: pd.DataFrame
    interactions: pd.DataFrame | None
    triples: pd.DataFrame | None = None
    license: str = "unknown"
    source: str = ""
    optimum: np.ndarray | None = None
    chosen_by: str = "row"

    def __post_init__(self):
        if self.chosen_by not in ("row", "label"):
            raise ConfigError(
                "unknown way to tell which rows are choices",
                where="RecDataset(chosen_by)",
                found=self.chosen_by,
                expected="'row' or 'label'",
                remedy="'row' if every row is a choice (ratings), 'label' if label 1 marks it (impressions)",
            )
        items = _checked(self.items, "items", item_rules(), index="item_id")
        users = _checked(self.users, "users", user_rules(), index="user_id")
        items["tags"] = [list(tags) for tags in items["tags"]]  # a frame's copy shares the lists
        log, order = _sorted_log(self.interactions, items.index, users.index)
        triples = None if self.triples is None else _checked(self.triples, "triples", triple_rules())
        optimum = None if self.optimum is None else _checked_optimum(self.optimum, len(log))[order]
        checked = {"items": items, "users": users, "interactions": log, "triples": triples, "optimum": optimum}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __repr__(self):
        rows, pairs = len(self.interactions), len(self.items) * len(self.users)
        log = f"{rows:,} interactions ({rows / pairs:.2%} of the pairs)" if rows else "no interactions"
        graph = "" if self.triples is None else f", {len(self.triples):,} triples"
        size = f"{len(self.items):,} items, {len(self.users):,} users"
        return f"RecDataset {self.name}: {size}, {log}{graph}; licence: {self.license}"

    def chosen(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of `frame` (a part of `interactions`) that are choices: the positives of objective "interaction"."""
        return frame if self.chosen_by == "row" else frame[frame["label"] == 1]

    @classmethod
    def from_frames(cls, items, users, interactions, *, name="custom", like_at=4, **fields) -> "RecDataset":
        """A data set from your own tables.

        `item_id` and `user_id` may be columns or the index. What may be left out: `tags` (then empty lists);
        `users` (None: the users of the log, without profile); `timestamp` (then the order of the rows);
        `rating` (then the label); `label` when there is a `rating` (then `rating >= like_at`).
        `interactions=None` stands for a data set without a log. `fields` are the other fields of RecDataset.

        Raises:
            DataError: as RecDataset; also an `interactions` without rows.
        """
        log = _completed_log(interactions, like_at)
        if users is None and isinstance(log, pd.DataFrame):
            if found := faults_of(log, "interactions", {"user_id": [id_rule()]}):
                raise complain(found)
            users = pd.DataFrame(index=pd.Index(log["user_id"].unique(), name="user_id"))
        items = _indexed(items, "item_id")
        if isinstance(items, pd.DataFrame) and "tags" not in items:
            items = items.assign(tags=[[] for _ in range(len(items))])
        return cls(name=name, items=items, users=_indexed(users, "user_id"), interactions=log, **fields)

    @classmethod
    def from_csv(cls, folder, *, name: str | None = None, **fields) -> "RecDataset":
        """The same from `items.csv`, `users.csv` and `interactions.csv` (UTF-8, with a header) in a folder.

        Tags are separated by `|`. Ids become int64 if all of them, in all three files, are plain whole numbers,
        else they stay text, leading zeros included.

        Raises:
            DataError: as from_frames, naming file and line.
        """
        from klm_utils.data.csv_folder import line_of, read_folder

        def place(fault, i):
            return line_of(Path(folder), fault.table, None if i is None else fault.rows[i])

        items, users, log = read_folder(Path(folder))
        try:
            return cls.from_frames(items, users, log, name=name or Path(folder).resolve().name, **fields)
        except DataError as error:
            if not hasattr(error, "faults"):
                raise
            raise complain(error.faults, place) from None


def _indexed(frame, key: str):
    """The frame with `key` as index, where it has such a column."""
    return frame.set_index(key) if isinstance(frame, pd.DataFrame) and key in frame.columns else frame


def _completed_log(log, like_at: float):
    """The log with timestamp, rating and label filled in from what is there."""
    if not isinstance(log, pd.DataFrame):
        return log
    if not len(log):
        at_least = "at least one row; interactions=None if there is no log"
        raise complain([table_fault("interactions", "is empty", "0 rows", at_least, "check where the table came from")])
    log = log.copy()
    if "timestamp" not in log:
        log["timestamp"] = np.arange(len(log))
    if "label" not in log and "rating" in log:
        log["label"] = (number(log["rating"]) >= like_at).astype("int64")  # a rating that is none is refused later
    elif "rating" not in log and "label" in log:
        log["rating"] = number(log["label"]).fillna(0.0)  # a label that is none is refused later
    return log


def _checked(frame, table: str, rules: dict, index: str | None = None, **known) -> pd.DataFrame:
    """A copy of the frame that keeps the rules, ids in plain int64 or text, or a DataError."""
    if found := faults_of(frame, table, rules, index=index):
        raise complain(found)
    frame = frame.copy()
    if index:
        frame.index = pd.Index(_plain_ids(frame.index.to_series()), name=index)
    return frame


def _sorted_log(log, item_ids: pd.Index, user_ids: pd.Index) -> tuple[pd.DataFrame, np.ndarray]:
    """The log checked and sorted by time, and the order that sorted it."""
    if log is None or (getattr(log, "attrs", {}).get("log") == "none" and log.empty):
        log = pd.DataFrame({c: pd.Series(dtype="float64" if c == "rating" else "int64") for c in LOG_COLUMNS})
        log.attrs["log"] = "none"  # tells a data set without a log from one whose log was lost, through replace() too
        return log, np.arange(0)
    log = _checked(log, "interactions", interaction_rules(item_ids, user_ids))
    log.attrs.pop("log", None)
    for column in ("user_id", "item_id"):
        log[column] = _plain_ids(log[column]).array
    for column, kind in {"timestamp": None, "rating": "float64", "label": "int64"}.items():
        values = log[column] if pd.api.types.is_integer_dtype(log[column].dtype) else number(log[column])
        whole = kind is None and (values % 1 == 0).all()
        log[column] = values.astype(kind or ("int64" if whole else "float64"))
    order = np.argsort(log["timestamp"].to_numpy(), kind="stable")
    return log.iloc[order].reset_index(drop=True), order


def _plain_ids(ids: pd.Series) -> pd.Series:
    """Checked ids as int64 or as text."""
    if isinstance(ids.dtype, pd.CategoricalDtype):
        ids = ids.astype(ids.cat.categories.dtype)
    ids = ids.infer_objects()
    return ids.astype("int64") if pd.api.types.is_integer_dtype(ids.dtype) else ids


def _checked_optimum(optimum, rows: int) -> np.ndarray:
    try:
        values = np.array(optimum, dtype="float64")
    except (TypeError, ValueError):
        values = np.array(np.nan)
    with np.errstate(invalid="ignore"):
        good = values.shape == (rows,) and bool(((values >= 0) & (values <= 1)).all())
    if not good:
        raise DataError(
            "optimum does not fit the interactions",
            where="RecDataset(optimum)",
            found=f"shape {values.shape}",
            expected=f"{rows} probabilities in [0, 1], one for each row of interactions",
            remedy="give it in the order of the interactions, or leave it out",
        )
    return values
