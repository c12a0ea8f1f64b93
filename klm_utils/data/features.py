"""Side features: what a table says of an item or a user besides its id, as numbers."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from klm_utils.data.rules import places
from klm_utils.data.splits import Split
from klm_utils.errors import ConfigError, DataError, check_kind, check_whole


class SideFeatures:
    """A vocabulary fitted on one table and applied to others, unseen values being zeros.

    Each column becomes, by its kind: a list of str, one 0/1 feature per tag; a str, one per value; a number, one per
    quantile bucket; a bool, one. A missing value is zero everywhere. Values in fewer than `min_count` rows are left
    out, so that titles and other columns of unique values vanish by themselves.
    """

    def __init__(self, columns: list[dict[str, Any]]):
        self.columns = columns

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, columns: Sequence[str] | None = None, min_count: int = 5, buckets: int = 10
    ) -> "SideFeatures":
        """Learn the vocabulary of a table of items or users: of those in train only, see `item_features`.

        Args:
            frame: one row per item or user.
            columns: names to use; default every column of a known kind.
            min_count: rows that a tag or a str needs to become a feature.
            buckets: at most so many per number.

        Raises:
            DataError: a column that is not in the frame.
            ConfigError: no DataFrame; a named column of another kind; a `min_count` or `buckets` that is no int >= 1.
        """
        check_kind("SideFeatures.fit(frame)", frame, pd.DataFrame, "a DataFrame", "pass ds.items or ds.users")
        min_count, buckets = check_whole("min_count", min_count), check_whole("buckets", buckets)
        fitted: list[dict[str, Any]] = []
        for name in frame.columns if columns is None else columns:
            column = _column(frame, name)
            kind = _kind(column)
            if kind is None and columns is not None and column.notna().any():
                what, value = f"the column {name!r} is of no kind that becomes features", column.dropna().iloc[0]
                kinds, remedy = "lists of str, str, numbers or bools", "convert the column, or leave it out"
                raise ConfigError(what, "SideFeatures.fit(columns)", value, kinds, remedy)
            if kind in ("list", "str"):
                counts = _tags(column, kind).value_counts()
                fitted.append({"name": name, "kind": kind, "values": sorted(counts.index[counts >= min_count])})
            elif kind == "number":
                fitted.append({"name": name, "kind": kind, "edges": _edges(_numbers(column), buckets)})
            elif kind == "bool":
                fitted.append({"name": name, "kind": kind})
        return cls([column for column in fitted if _names(column)])

    @property
    def names(self) -> list[str]:
        """One name per feature, in the order of `transform`: "tags=Comedy", "year<=1990", "1990<year<=1993"."""
        return [name for column in self.columns for name in _names(column)]

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """The features of each row, float32 [len(frame), len(names)].

        Raises:
            DataError: a fitted column is not in the frame.
            ConfigError: no DataFrame.
        """
        check_kind("SideFeatures.transform(frame)", frame, pd.DataFrame, "a DataFrame", "pass ds.items or ds.users")
        blocks = [np.zeros((len(frame), 0), dtype="float32")]
        for column in self.columns:
            blocks.append(np.zeros((len(frame), len(_names(column))), dtype="float32"))
            blocks[-1][_ones(column, _column(frame, column["name"]))] = 1
        return np.concatenate(blocks, axis=1)

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, in types that JSON keeps."""
        return {"columns": self.columns}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "SideFeatures":
        return cls(saved["columns"])


def item_features(split: Split, **options: Any) -> tuple[SideFeatures, np.ndarray]:
    """Fitted on the items that occur in `split.train`; and the features of all items, float32 [items, features].

    Columns of facts (`RecDataset.facts`) become features only where `columns` names them.
    """
    items = split.dataset.items
    if options.get("columns") is None:
        items = items.drop(columns=list(split.dataset.facts))
    return _fit_on_train(items, split.train["item_id"], options)


def user_features(split: Split, **options: Any) -> tuple[SideFeatures, np.ndarray]:
    """Fitted on the users that occur in `split.train`; and the features of all users, float32 [users, features]."""
    return _fit_on_train(split.dataset.users, split.train["user_id"], options)


def _fit_on_train(frame: pd.DataFrame, ids: pd.Series, options: dict[str, Any]) -> tuple[SideFeatures, np.ndarray]:
    features = SideFeatures.fit(frame.iloc[np.unique(places(frame.index, ids))], **options)
    return features, features.transform(frame)


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        there, remedy = list(map(str, frame.columns)), "use the columns that were there when the features were fitted"
        raise DataError(f"the table has no column {name!r}", "SideFeatures", there, f"a column {name!r}", remedy)
    return frame[name]


def _kind(column: pd.Series) -> str | None:
    """ "list", "str", "number", "bool", or None for anything else and for a column without values."""
    values = column.dropna()
    if values.empty:
        return None
    if pd.api.types.is_bool_dtype(values.dtype):
        return "bool"
    if pd.api.types.is_numeric_dtype(values.dtype):
        return None if pd.api.types.is_complex_dtype(values.dtype) else "number"
    if all(isinstance(value, str) for value in values):
        return "str"
    lists = all(isinstance(value, list) and all(isinstance(tag, str) for tag in value) for value in values)
    return "list" if lists else None


def _tags(column: pd.Series, kind: str) -> pd.Series:
    """Every value once per row, indexed by the row's position; missing values left out."""
    column = column.reset_index(drop=True).astype(object)
    if kind == "str":
        return column[column.map(lambda value: isinstance(value, str)).astype(bool)]
    return column.map(lambda tags: sorted(set(tags)) if isinstance(tags, list) else []).explode().dropna()


def _numbers(column: pd.Series) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _edges(values: np.ndarray, buckets: int) -> list[float]:
    """Inner quantiles, each the upper end of its bucket; none for a column of one value."""
    values = values[~np.isnan(values)]
    if not len(values):
        return []
    inner = np.unique(np.quantile(values, np.arange(1, buckets) / buckets, method="inverted_cdf"))
    return inner[inner < values.max()].tolist()


def _names(column: dict[str, Any]) -> list[str]:
    name, kind = column["name"], column["kind"]
    if kind == "bool":
        return [name]
    if kind == "number":
        ends = [f"{edge:.12g}" for edge in column["edges"]]
        middle = [f"{low}<{name}<={high}" for low, high in pairwise(ends)]
        return [f"{name}<={ends[0]}", *middle, f"{name}>{ends[-1]}"] if ends else []
    return [f"{name}={value}" for value in column["values"]]


def _ones(column: dict[str, Any], values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Where the features of a column are 1: rows and features, int [n] each."""
    if column["kind"] == "bool":
        rows = np.flatnonzero([not pd.isna(value) and bool(value) for value in values])
        return rows, np.zeros_like(rows)
    if column["kind"] == "number":
        numbers = _numbers(values)
        rows = np.flatnonzero(~np.isnan(numbers))
        return rows, np.searchsorted(column["edges"], numbers[rows])
    tags = _tags(values, column["kind"])
    place = places(pd.Index(column["values"]), tags)
    return tags.index.to_numpy()[place >= 0], place[place >= 0]
