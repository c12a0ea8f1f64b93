"""The rules that the tables of a RecDataset keep, the loop that applies them, and the message for a broken one."""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from klm_utils.errors import DataError

SHOWN = 3  # so many wrong rows are named, the rest is counted
EVENT = ["user_id", "item_id", "timestamp"]
_NAMELESS = re.compile(r"Unnamed: \d+(\.\d+)*|")  # what read_csv makes of a column without a name
_HALF = re.compile("[\ud800-\udfff]")
TO_UTF8 = "t.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"


class Rule(NamedTuple):
    """What is wrong with a cell that breaks it, what was expected, what to do ("column" stands for the column's name),
    and which cells of a column keep it, bool [rows]."""

    what: str
    expected: str
    remedy: str
    holds: Callable[[pd.Series], Any]


class Fault(NamedTuple):
    """A broken rule: of a whole table (no rows), or of cells, the first few of which are named and all counted."""

    table: str
    what: str
    found: Any
    expected: str
    remedy: str
    column: str = ""
    rows: Sequence[int] = ()  # positions
    labels: Sequence[Any] = ()
    total: int = 0


class TableError(DataError):
    """Tables that break rules: `faults`, each in words in the message."""

    faults: Sequence[Fault] = ()


Rules = Mapping[str, list[Rule]]  # of each needed column


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy in which pyarrow's types and categories are pandas' own types: what is computed from them differs."""
    frame = frame.copy()
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.ArrowDtype | pd.CategoricalDtype):
            column, of = frame[name], dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype
            if pd.api.types.is_numeric_dtype(of):
                frame[name] = column.astype(object).convert_dtypes()
            else:
                frame[name] = lists(column).infer_objects() if isinstance(of, pd.ArrowDtype) else column.astype(of)
    return frame


def lists(column: pd.Series) -> pd.Series:
    """The cells as objects, arrays among them as lists."""
    cells = [cell.tolist() if isinstance(cell, np.ndarray) else cell for cell in column.astype(object)]
    return pd.Series(cells, index=column.index, dtype=object)


def plain_ids(ids: pd.Series) -> pd.Series | None:
    """Ids as int64 or text; None if some are neither, are missing or do not fit."""
    kind = pd.api.types.infer_dtype(ids, skipna=False)
    if kind not in ("integer", "string", "empty") or ids.isna().any():
        return None
    if kind != "integer":
        return ids.infer_objects()
    return ids.astype("int64") if ids.between(-(2**63), 2**63 - 1).all() else None


def _kind_of(ids: pd.Series | pd.Index) -> str:
    return "int" if pd.api.types.is_integer_dtype(ids.dtype) else "str"


def _kinds(ids: pd.Series) -> np.ndarray:
    """The kind of each id: "str", "int", "long" for an int that int64 does not hold, "float" for 2.0, "" for none."""

    def kind(value: Any) -> str:
        if isinstance(value, str):
            return "str"
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            return "int" if -(2**63) <= value < 2**63 else "long"
        return "float" if isinstance(value, float | np.floating) and value % 1 == 0 else ""

    if (there := plain_ids(ids)) is not None:
        return np.full(len(ids), _kind_of(there))
    return np.array([kind(value) for value in ids.astype(object)])


def _is_id(ids: pd.Series) -> np.ndarray:
    """Which ids are of the most frequent kind: of a mixture the rarer is wrong. A bool, a float, a tuple come back from
    JSON as something else; among floats the missing id that made ints floats is named, if there is one."""
    kinds = _kinds(ids)
    usual = kinds == max(("str", "int", "float"), key=lambda kind: (kinds == kind).sum())
    return usual & (kinds != "float") if usual.all() else usual


def _is_tags(tags: Any) -> bool:
    return isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)


def places(known: pd.Index, ids: Any) -> np.ndarray:
    """Positions of ids in an index, -1 for one that is not there; int [n]. Equal texts are looked up once: a million
    look-ups of text take seconds."""
    if pd.api.types.is_integer_dtype(getattr(ids, "dtype", None)):
        return known.get_indexer(ids)
    codes, unique = pd.factorize(ids, use_na_sentinel=False)
    return known.get_indexer(unique)[codes]


def holds_utf8(value: Any) -> bool:
    """Whether a text, or every text of a list, can be written as UTF-8; True for what is neither."""
    if isinstance(value, list | tuple):
        return all(map(holds_utf8, value))
    return not (isinstance(value, str) and _HALF.search(value))


def is_nameless(column: Any) -> bool:
    """Whether this is no name of a column, but what pandas writes where there is none."""
    return bool(_NAMELESS.fullmatch(column)) if isinstance(column, str) else bool(np.all(pd.isna(column)))


def number(column: pd.Series) -> pd.Series:
    """The column as float64, nan for what is no number (dates, periods and complex numbers are none)."""
    return pd.Series(exact(column).to_numpy(dtype="float64", na_value=np.nan), index=column.index)


def exact(column: pd.Series) -> pd.Series:
    """The same, but a column of whole numbers stays one: float64 holds 15 digits, a time in nanoseconds has 19."""
    if column.dtype.kind in "mM" or isinstance(column.dtype, pd.PeriodDtype):  # of which to_numeric gives an ordinal
        return pd.Series(np.nan, index=column.index)
    try:
        values = pd.to_numeric(column, errors="coerce")
    except (TypeError, UnicodeEncodeError):  # cells that hold lists, dicts or half a character
        readable = column.map(lambda v: np.isscalar(v) and holds_utf8(v)).astype(bool)
        values = pd.to_numeric(column.where(readable), errors="coerce")
    if pd.api.types.is_complex_dtype(values.dtype):
        values = pd.Series(np.where(np.imag(values) == 0, np.real(values), np.nan), index=column.index)
    return values


def seconds(times: pd.Series) -> pd.Series:
    """Datetimes as seconds since 1970, float64, those without a zone being UTC; any other column as it is."""
    if pd.api.types.infer_dtype(times, skipna=True) not in ("datetime64", "datetime", "date"):
        return times
    return (pd.to_datetime(times, utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)


def is_time(times: pd.Series) -> np.ndarray:
    """Whether each is a datetime from 1970 on, or a number from 0, below 2^63; bool [rows]."""
    values = exact(seconds(times))
    return ((values >= 0) & (values < 2**63)).to_numpy(dtype=bool, na_value=False)


def time_values(times: pd.Series) -> pd.Series:
    """Checked times as int64 if all are whole seconds, else as float64."""
    values = exact(seconds(times))
    return values.astype("int64" if (values % 1 == 0).all() else "float64")


def floats(values: Any) -> np.ndarray:
    """`values` as a float64 array, nan where they are masked.

    Raises:
        TypeError, ValueError: complex numbers, text, lists of unequal length.
    """
    values = np.ma.asarray(values)
    if np.iscomplexobj(values):
        raise TypeError("complex numbers")
    return np.ma.filled(values.astype("float64"), np.nan)


_TO_IDS = "drop missing ids, then frame[column].astype('Int64') for whole numbers, .astype(str) for all else"
_TO_TEXT_IDS = "give them as text, in every table: frame[column].astype(str)"  # int64 would wrap round, or cut 2.5
_TO_TITLES = "fill missing titles: frame[column].fillna(''), convert numbers with .astype(str)"
_TO_TAGS = (
    "give [] for none; texts, tuples and arrays become lists with "
    "frame[column].map(lambda tags: tags.split('|') if isinstance(tags, str) else list(tags))"
)
_TO_TIMES = (
    "from text: pd.to_datetime(log[column], utc=True), from periods: pd.PeriodIndex(log[column]).to_timestamp(); "
    "else drop such rows"
)
_TO_LABELS = "drop the row, or leave the label out and give rating and like_at to from_frames"
_TO_KEYS = "drop or merge the rows: frame.drop_duplicates(column)"
_TO_TEXT = f"repair each text t: {TO_UTF8}"
_SECONDS = "a datetime, or seconds since 1970: a finite number >= 0 and below 2^63"
_INT_OR_STR = "int or str, one of them throughout, none missing (ids are saved as JSON)"

UTF8 = Rule(
    "holds half a character (a lone surrogate)", "text that UTF-8 can hold", _TO_TEXT, lambda s: [*map(holds_utf8, s)]
)
IDS = [
    Rule("is too long a number for an id", "-2^63 to 2^63 - 1, or text", _TO_TEXT_IDS, lambda s: _kinds(s) != "long"),
    Rule("is not an id", _INT_OR_STR, _TO_IDS, _is_id),
]
KEYS = [*IDS, Rule("stands twice", "each id once", _TO_KEYS, lambda s: ~s.duplicated())]
TIMES = [Rule("is not a time", _SECONDS, _TO_TIMES, is_time)]
ITEMS: Rules = {
    "item_id": KEYS,
    "title": [Rule("is not text", "a str", _TO_TITLES, lambda s: [isinstance(title, str) for title in s])],
    "tags": [Rule("is not a list of str", "a list of str", _TO_TAGS, lambda s: [_is_tags(tags) for tags in s])],
}
USERS: Rules = {"user_id": KEYS}
LOG: Rules = {
    "user_id": IDS,
    "item_id": IDS,
    "timestamp": TIMES,
    "rating": [Rule("is not a finite number", "a finite number", "drop or fill it", lambda s: np.isfinite(number(s)))],
    "label": [Rule("is not 0 or 1", "0 (did not like, not bought) or 1", _TO_LABELS, lambda s: number(s).isin([0, 1]))],
}
_THERE = [Rule("is missing", "an entity or a relation", "drop incomplete triples", pd.Series.notna)]
TRIPLES: Rules = {"head": _THERE, "relation": _THERE, "tail": _THERE}


def known_rules(table: str, ids: pd.Index) -> list[Rule]:
    """The rules of a column of the log whose ids (kept as `plain_ids` has them) must be in another table."""
    kind, other = _kind_of(ids), f"has another type than the ids of {table}"
    convert = f"convert one of them, such as log[column].astype({kind})"
    drop = f"add it to {table}, or drop its rows: log[log[column].isin({table}[column])]"
    return [
        Rule(other, kind, convert, lambda s: np.full(len(s), _kind_of(s) == kind)),
        Rule(f"is not in the table {table}", f"an id of {table}", drop, lambda s: places(ids, s) >= 0),
    ]


def faults_of(frame: pd.DataFrame, table: str, rules: Rules) -> list[Fault]:
    """The first broken rule of each column: those of `rules`, and that text can be written as UTF-8."""
    found = []
    for name, dtype in frame.dtypes.items():
        text = pd.api.types.is_object_dtype(dtype) or isinstance(dtype, pd.StringDtype)
        text = text and getattr(dtype, "storage", "") != "pyarrow"  # which holds UTF-8 and nothing else
        for rule in [UTF8] * text + rules.get(name, []):
            good = np.asarray(rule.holds(frame[name]), dtype=bool)
            if not good.all():
                found.append(cell_fault(table, frame[name], ~good, *rule[:3]))
                break
    return found


def shape_faults(frame: Any, table: str, needed: Sequence[str], key: str | None = None, least: int = 1) -> list[Fault]:
    """What is wrong with the table as a whole: no table, a column twice, too few rows, or needed columns that it lacks.

    The column `key` may be the index.
    """
    if not isinstance(frame, pd.DataFrame):
        return [Fault(table, "is not a table", type(frame).__name__, "a pandas DataFrame", "see RecDataset")]
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        return [Fault(table, "has a column twice", twice, "unique column names", "rename or drop one")]
    if len(frame) < least:
        some = "at least one row" + ("; interactions=None if there is no log" if table == "interactions" else "")
        return [Fault(table, "is empty", "0 rows", some, "check the filter or the file it came from")]
    there, found = [str(column) for column in frame.columns], []
    for name in needed:
        if name not in frame and not name == key == frame.index.name:
            near = get_close_matches(name, there, n=1)
            remedy = f"rename {near[0]!r} to {name!r}?" if near else f"add the column {name!r}"
            remedy += f", or make it the index: frame.set_index({name!r})" if name == key else ""
            found.append(Fault(table, f"has no column {name!r}", there, f"a column {name!r}", remedy, name))
    return found


def repeats(log: pd.DataFrame) -> list[Fault]:
    """The fault of rows with user, item and time of an earlier row: on both sides of a split they give it away."""
    again = np.flatnonzero(log.duplicated(EVENT))
    rows = again[:SHOWN].tolist()
    found = [tuple(map(_short, row)) for row in log[EVENT].iloc[rows].itertuples(index=False, name=None)]
    remedy = (
        f"keep one of each: log.drop_duplicates({EVENT}), with keep='last' the later one; if they are several events, "
        "give the fraction of the second too, or no times (from_frames then only warns of copies): "
        "log.sort_values('timestamp', kind='stable').drop(columns='timestamp')"
    )
    what, once = "repeat an earlier row", "each event once; a pair may come again at another time"
    labels = log.index[rows].tolist()
    fault = Fault("interactions", what, _one(found), once, remedy, ", ".join(EVENT), rows, labels, len(again))
    return [fault] if rows else []


def complain(faults: Sequence[Fault], place: Callable[[Fault, int | None], str] | None = None) -> TableError:
    """One error for all faults.

    `place(fault, i)` says where the i-th named row is, or with i None the table; default: label and position.
    """
    fault, others = faults[0], faults[1:]
    where = f"table {fault.table}" + (f", column {fault.column}" if fault.column else "")
    for i, row in enumerate(fault.rows):
        where += ", " + (place(fault, i) if place else f"row {fault.labels[i]!r} (position {row})")
    if place and not fault.rows:
        where += f", {place(fault, None)}"
    if fault.total > len(fault.rows):
        where += f" and {fault.total - len(fault.rows):,} more"
    what = _sentence(fault) + "".join(f"; also {_sentence(other)}" for other in others)
    error = TableError(what, where, fault.found, fault.expected, fault.remedy)
    error.faults = faults
    return error


def _sentence(fault: Fault) -> str:
    if not fault.total:
        return f"the table {fault.table} {fault.what}"
    rows = "1 row" if fault.total == 1 else f"{fault.total:,} rows"
    return f"{fault.column} {fault.what} in {rows} of {fault.table}"


def cell_fault(table: str, column: pd.Series, bad: Any, what: str, expected: str, remedy: str) -> Fault:
    """A fault of the cells of a column where the mask `bad` is true; "column" in the remedy becomes its name."""
    at = np.flatnonzero(bad)
    rows = at[:SHOWN].tolist()
    found = [_short(value) for value in column.iloc[rows].astype(object)]
    labels = [*map(_short, column.index[rows])]
    remedy = remedy.replace("column", repr(column.name))
    return Fault(table, what, _one(found), expected, remedy, str(column.name), rows, labels, len(at))


def _one(found: list) -> Any:
    return found[0] if len(found) == 1 else found


def _short(value: Any) -> Any:
    """The value as a plain Python object, cropped if its text is long."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if len(repr(value)) <= 80 else repr(value)[:80] + "…"
