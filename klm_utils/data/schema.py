"""RecDataset: the items, the users and the log of a recommender, checked whenever one is made."""

import os
import re
import warnings
from dataclasses import dataclass
from dataclasses import fields as fields_of
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from klm_utils.data import rules
from klm_utils.data.rules import complain, shape_faults
from klm_utils.errors import ConfigError, DataError, check_choice, check_kind, check_number, check_options

_ARTICLE_LAST = re.compile(r"^(.+?), (The|An?|Las?|Les?|Los|El|Il|Das|Der|Die)(?= \(|$)")
LOG_COLUMNS = ["user_id", "item_id", "timestamp", "rating", "label"]


@dataclass(frozen=True, eq=False)
class RecDataset:
    """Items, users, and who did what when. Copies the frames it is given and validates them.

    A column without a name, such as the row number that `to_csv` writes, is left out with a warning. Further columns
    are kept; categories and pyarrow's types become pandas' own.

    Args:
        name: what protocols and reports call it.
        items: index `item_id`; columns `title` (str), `tags` (list of str) and any others.
        users: index `user_id`; any profile columns.
        interactions: `user_id`, `item_id`, `timestamp` (seconds since 1970, or datetimes: without a zone they are
            UTC), `rating`, `label` (0 or 1), one row per event, none twice; kept sorted by time, ties in the given
            order, under a fresh RangeIndex. None: there is no log, and `interactions` is an empty table.
        triples: `head`, `relation`, `tail`, or None.
        optimum: true probability of label 1 of each row of `interactions`; simulated data only.
        facts: columns of `items` with facts from outside, lists of str: they are no side features unless asked for.
        chosen_by: "row" when every row is a choice, "label" when only rows with label 1 are.

    Raises:
        DataError: a table that breaks one of the rules of `klm_utils.data.rules`, with column, row and remedy.
        ConfigError: an unknown `chosen_by`; a name, licence or source that is no text; `facts` that are no names.
    """

    name: str
    items: pd.DataFrame
    users: pd.DataFrame
    interactions: pd.DataFrame
    triples: pd.DataFrame | None = None
    license: str = "unknown"
    source: str = ""
    optimum: np.ndarray | None = None
    chosen_by: str = "row"
    facts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("chosen_by", self.chosen_by, ("row", "label"))
        for name in ("name", "license", "source"):
            _check_words(name, getattr(self, name))
        items = _checked(self.items, "items", rules.ITEMS, key="item_id")
        users = _checked(self.users, "users", rules.USERS, key="user_id")
        items["tags"] = [list(tags) for tags in items["tags"]]  # a frame's copy shares the lists
        log, order = _sorted_log(self.interactions, items.index, users.index)
        check_kind("RecDataset(facts)", self.facts, tuple, "a tuple of columns of items")
        for name in self.facts:
            _check_lists(items, name)
        triples = None if self.triples is None else _checked(self.triples, "triples", rules.TRIPLES)
        optimum = None if self.optimum is None else _checked_optimum(self.optimum, len(log))[order]
        checked = {"items": items, "users": users, "interactions": log, "triples": triples, "optimum": optimum}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        rows, again = len(self.interactions), int(self.interactions.duplicated(["user_id", "item_id"]).sum())
        density = (rows - again) / (len(self.items) * len(self.users))
        more = f", {again:,} repeats" if again else ""
        log = f"{rows:,} interactions ({density:.2%} of the pairs{more})" if rows else "no interactions"
        log += "; each a choice, none graded" if rows and not self.graded else ""
        log += f"; {scale}" if (scale := scale_of(self.interactions)) else ""
        graph = "" if self.triples is None else f", {len(self.triples):,} triples"
        size = f"{len(self.items):,} items, {len(self.users):,} users"
        return f"RecDataset {self.name}: {size}, {log}{graph}; licence: {self.license}"

    @property
    def graded(self) -> bool:
        """Whether the log has rows that were not liked. A log of clicks has none: it says what was chosen, no more."""
        return bool((self.interactions["label"] == 0).any())

    def chosen(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of `frame` (a part of `interactions`) that are choices: the positives of objective "interaction"."""
        return frame if self.chosen_by == "row" else frame[frame["label"] == 1]

    @classmethod
    def from_frames(
        cls, items: Any, users: Any, interactions: Any, *, name: str = "custom", like_at: float = 4, **fields: Any
    ) -> "RecDataset":
        """A data set from your own tables.

        `item_id` and `user_id` may be columns or the index. What may be left out: `tags` (then empty lists);
        `users` (None: the users of the log, without profile); `timestamp` (then the order of the rows);
        `rating` (then the label); `label` when there is a `rating` (then `rating >= like_at`: 4 is for ratings of 1
        to 5; where it cuts another scale, the printed data set and its splits say so). A log with neither is one of
        clicks: each row is a choice, with label 1 and rating 1.
        `interactions=None` stands for a data set without a log. `fields` are the other fields of RecDataset.
        A table of another library (polars, pyarrow, ...) is taken if it has a `to_pandas()`.

        Raises:
            DataError: as RecDataset; also an `interactions` without rows, a `to_pandas()` that fails.
            ConfigError: a `like_at` that is no number; an unknown field.
        """
        own = {field.name for field in fields_of(cls)} - {"items", "users", "interactions", "name"}
        check_options("RecDataset.from_frames", fields, own | {"name", "like_at"})
        like_at = check_number("like_at", like_at, -1e15, 1e15, "like_at=4 is for ratings of 1 to 5")
        given = {"items": items, "users": users, "interactions": interactions, "triples": fields.get("triples")}
        items, users, log, fields["triples"] = (_in_pandas(frame, table) for table, frame in given.items())
        for frame, table, needed, key in (
            (items, "items", ["item_id", "title"], "item_id"),
            (users, "users", ["user_id"], "user_id"),
            (log, "interactions", ["user_id", "item_id"], None),
        ):  # before anything is filled in: the message lists the columns that the caller gave
            if (frame is not None or table == "items") and (found := shape_faults(frame, table, needed, key)):
                raise complain(found)
        log = None if log is None else _completed_log(log, like_at)
        if users is None and log is not None:
            if found := rules.faults_of(log[["user_id"]], "interactions", {"user_id": rules.IDS}):
                raise complain(found)
            users = pd.DataFrame(index=pd.Index(log["user_id"].unique(), name="user_id"))
        if "tags" not in items:
            items = items.assign(tags=[[] for _ in range(len(items))])
        return cls(name=name, items=items, users=users, interactions=log, **fields)

    @classmethod
    def from_csv(cls, folder: str | os.PathLike[str], *, name: str | None = None, **fields: Any) -> "RecDataset":
        """The same from `items.csv`, `users.csv` and `interactions.csv` (UTF-8, with a header) in a folder.

        Tags are separated by `|`. Lists as `to_csv` writes them ("['a', 'b']") are read as lists, among the tags
        (where tuples are lists too) and in any other column of items or users that holds nothing else. An empty title
        is one (""), not a missing one. Ids become int64 if all of them, in all three
        files, are plain whole numbers, else they stay text, leading zeros included.

        Raises:
            DataError: as from_frames, naming file and line; also tags that only commas separate.
            ConfigError: as from_frames; a folder that is no path.
        """
        check_kind("from_csv(folder)", folder, str | os.PathLike, "the path of a folder with three CSV files")
        from klm_utils.data.csv_folder import line_of, read_folder

        def place(fault: rules.Fault, i: int | None) -> str:
            return line_of(Path(folder), fault.table, None if i is None else fault.rows[i])

        try:
            items, users, log = read_folder(Path(folder))
            return cls.from_frames(items, users, log, name=name or Path(folder).resolve().name, **fields)
        except rules.TableError as error:
            raise complain(error.faults, place) from None


def scale_of(log: pd.DataFrame) -> str:
    """Which ratings have label 1, in words; "" where that is 4 and 5 of 5, or where the ratings tell no label."""
    rating, liked = log["rating"], log["label"] == 1
    low, high = rating[liked].min(), rating[~liked].max()  # nan where there are none
    usual = rating.max() == 5 and not low < 4 and not high >= 4
    if log.empty or usual or low <= high or (rating == liked).all():
        return ""
    if not liked.any():
        return f"label 1: no rating, the largest is {high:g}"
    return f"label 1: ratings from {low:g} to {rating.max():g}, {liked.mean():.1%} of the rows"


def _check_lists(items: pd.DataFrame, name: str) -> None:
    """A column of facts is there and has lists of str."""
    if name not in items:
        raise DataError(
            "no such column of the items", "RecDataset(facts)", name, ", ".join(map(str, items)), "name columns"
        )
    for i, value in enumerate(items[name]):
        if not (isinstance(value, list) and all(isinstance(fact, str) for fact in value)):
            where, remedy = f"items, column {name}, item_id {items.index[i]!r}", "write [] where nothing is known"
            raise DataError("facts are no list of texts", where, value, "a list of str", remedy)


def _check_words(name: str, value: Any) -> None:
    check_kind(f"RecDataset({name})", value, str, "a str", f"pass {name}='...'")
    if not rules.holds_utf8(value):
        half, remedy = f"{name} holds half a character (a lone surrogate)", rules.TO_UTF8.replace("t.", f"{name}.")
        raise ConfigError(half, f"RecDataset({name})", value, "text that UTF-8 can hold", remedy)


def _in_pandas(frame: Any, table: str) -> Any:
    """A frame of another library as one of pandas, arrays in its cells as lists; anything else as it is."""
    if isinstance(frame, pd.DataFrame) or not callable(getattr(frame, "to_pandas", None)):
        return frame
    try:
        frame = frame.to_pandas()
    except Exception as fault:  # whatever that library raises, such as polars for want of pyarrow
        found = f"{type(fault).__name__}: {fault}"[:300]
        remedy = "install what is missing (polars needs pyarrow for it), or make a pandas DataFrame of it yourself"
        raise complain([rules.Fault(table, "cannot be made a table of pandas", found, "a table", remedy)]) from fault
    if isinstance(frame, pd.DataFrame):
        frame = frame.copy(deep=False)  # it may be that library's own
        for at in [at for at, dtype in enumerate(frame.dtypes) if pd.api.types.is_object_dtype(dtype)]:
            frame.isetitem(at, rules.lists(frame.iloc[:, at]))
    return frame


def _completed_log(log: pd.DataFrame, like_at: float) -> pd.DataFrame:
    """The log with timestamp, rating and label filled in from what is there."""
    log, names = rules.plain(log), {str(column).lower(): column for column in log}
    for column in {"timestamp", "rating", "label"} - set(log):
        if near := get_close_matches(column, names, n=1, cutoff=0.8):
            told = f"interactions: no column {column!r}, so it is filled in; if {names[near[0]]!r} is it, rename that"
            warnings.warn(told, stacklevel=3)
    if "timestamp" not in log:
        if copies := int(log[[column for column in LOG_COLUMNS if column in log]].duplicated().sum()):
            told = (
                f"interactions: {copies:,} rows are copies of others; without a timestamp nobody can tell whether they "
            )
            warnings.warn(f"{told}are repeats. If they are not: log.drop_duplicates()", stacklevel=3)
        log["timestamp"] = np.arange(len(log))
    if "label" not in log:  # a rating that is none is refused later
        log["label"] = (rules.number(log["rating"]) >= like_at).astype("int64") if "rating" in log else 1
    if "rating" not in log:
        log["rating"] = rules.number(log["label"]).fillna(0.0)  # a label that is none is refused later
    return log


def _checked(frame: Any, table: str, own: rules.Rules, key: str | None = None) -> pd.DataFrame:
    """A copy of the frame that keeps its own rules, under the index `key`, ids in int64 or text, or a DataError."""
    if found := shape_faults(frame, table, list(own), key):
        raise complain(found)
    frame = _named(frame.reset_index() if key not in (None, *frame) else frame, table)
    frame = rules.plain(frame.set_axis(frame[key]) if key else frame)
    if found := rules.faults_of(frame, table, own):
        raise complain(found)
    for column in {"user_id", "item_id"} & set(own):
        frame[column] = rules.plain_ids(frame[column])
    return frame.set_index(key) if key else frame


def _named(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """The frame without columns that have no name: a row number would become a feature, and tell the file's order."""
    nameless = [column for column in frame if rules.is_nameless(column)]
    if nameless:
        told = f"{table}: the column {nameless[0]!r} has no name and is left out; to_csv writes the row number so, "
        warnings.warn(f"{told}to_csv(index=False) does not", stacklevel=5)  # about where the data set is made
    return frame.drop(columns=nameless)


def _sorted_log(log: Any, item_ids: pd.Index, user_ids: pd.Index) -> tuple[pd.DataFrame, np.ndarray]:
    """The log checked and sorted by time, and the order that sorted it."""
    if log is None or (getattr(log, "attrs", {}).get("log") == "none" and log.empty):
        log = pd.DataFrame({c: pd.Series(dtype="float64" if c == "rating" else "int64") for c in LOG_COLUMNS})
        log.attrs["log"] = "none"  # tells a data set without a log from one whose log was lost, through replace() too
        return log, np.arange(0)
    log = _checked(log, "interactions", rules.LOG)
    log.attrs.pop("log", None)
    known = {"user_id": rules.known_rules("users", user_ids), "item_id": rules.known_rules("items", item_ids)}
    log["timestamp"] = rules.time_values(log["timestamp"])
    log["rating"], log["label"] = rules.number(log["rating"]), rules.number(log["label"]).astype("int64")
    if found := rules.faults_of(log, "interactions", known) or rules.repeats(log):
        raise complain(found)
    order = np.argsort(log["timestamp"].to_numpy(), kind="stable")
    return log.iloc[order].reset_index(drop=True), order


def _checked_optimum(optimum: Any, rows: int) -> np.ndarray:
    try:
        values = rules.floats(optimum)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape != (rows,) or not ((values >= 0) & (values <= 1)).all():
        expected = f"{rows} probabilities in [0, 1], one for each row of interactions"
        remedy = "give it in the order of the interactions, or leave it out"
        found = f"shape {values.shape}"
        raise DataError("optimum does not fit the interactions", "RecDataset(optimum)", found, expected, remedy)
    return values


def title_text(title: str) -> str:
    """The title as `item_text` writes it: on one line, without outer blanks, its article in front."""
    return _ARTICLE_LAST.sub(r"\2 \1", value_text(title))


def value_text(value: Any) -> str:
    """The value as text on one line, "" for a missing one; 1995.0 is 1995."""
    if pd.isna(value):
        return ""
    if isinstance(value, float | np.floating) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())
