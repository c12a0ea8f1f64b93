"""The rules that the tables of a RecDataset keep, written with pandera, and the message when one is broken."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from klm_utils.errors import DataError

SHOWN = 3  # so many wrong rows are named, the rest is counted
_NAMELESS = re.compile(r"Unnamed: \d+(\.\d+)*|")  # what read_csv makes of a column without a name
TO_SECONDS = "(pd.to_datetime(log[column], utc=True) - pd.Timestamp(0, tz='UTC')) // pd.Timedelta(seconds=1)"
TO_DATES = "log[column] = pd.PeriodIndex(log[column]).to_timestamp()"  # of periods, whose numbers are no seconds
# astype('int64') would cut 2.5 and wrap round what is too long; 'Int64' refuses both
_TO_IDS = "drop missing ids, then frame[column].astype('Int64') for whole numbers, .astype(str) for all else"
_TO_UTF8 = "repair each text t: t.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"


@dataclass(frozen=True)
class Fault:
    """One rule broken in one column: the first few rows and how many there are (0: the column itself is wrong)."""

    table: str
    column: str
    what: str
    found: list
    expected: str
    remedy: str
    rows: list  # positions
    labels: list
    count: int


def item_rules() -> dict[str, list[pa.Check]]:
    """What must hold of the columns of items."""
    fill = "fill missing titles: frame[column].fillna(''), convert numbers with .astype(str)"
    split_them = (
        "give [] for none; texts, tuples and arrays become lists with "
        "frame[column].map(lambda tags: tags.split('|') if isinstance(tags, str) else list(tags))"
    )
    return {
        "item_id": _key_rules(),
        "title": [_rule("is not text", "a str", fill, _is_text)],
        "tags": [_rule("is not a list of str", "a list of str", split_them, _is_tags)],
    }


def user_rules() -> dict[str, list[pa.Check]]:
    """What must hold of the columns of users."""
    return {"user_id": _key_rules()}


def triple_rules() -> dict[str, list[pa.Check]]:
    """What must hold of the columns of triples."""
    there = _rule("is missing", "an entity or a relation", "drop incomplete triples", lambda s: s.notna())
    return {"head": [there], "relation": [there], "tail": [there]}


def interaction_rules(item_ids: pd.Index, user_ids: pd.Index) -> dict[str, list[pa.Check]]:
    """Rules of the log, given the ids that the other tables hold."""
    time = _rule(
        "is not a time",
        "seconds since 1970, a finite number >= 0 and below 2^63",
        f"from dates, as datetimes or as text: {TO_SECONDS}; else drop such rows (periods become dates by {TO_DATES})",
        is_time,
    )
    return {
        "user_id": [*id_rules(), *_known_rules("users", user_ids)],
        "item_id": [*id_rules(), *_known_rules("items", item_ids)],
        "timestamp": [time],
        "rating": [_rule("is not a finite number", "a finite number", "drop the row or fill the rating", _finite)],
        "label": [
            _rule(
                "is not 0 or 1",
                "0 (did not like, not bought) or 1",
                "drop the row, or leave the label out and give rating and like_at to from_frames",
                lambda s: number(s).isin([0, 1]),
            )
        ],
    }


def faults_of(frame, table: str, rules: dict[str, list[pa.Check]], index: str | None = None) -> list[Fault]:
    """Every rule that the table breaks, the first one of each column; `index` names the index to check with them.

    Text in any column must be such that UTF-8 can hold it: else the model that reads it could not be saved.
    """
    if found := shape_faults(frame, table, list(rules), index):
        return found
    checked = frame.assign(**{index: frame.index}) if index and frame.index.name == index else frame
    if found := _half_characters(checked, table):  # first, for pandas with pyarrow stumbles over them
        return found
    schema = pa.DataFrameSchema({name: pa.Column(checks=checks, nullable=True) for name, checks in rules.items()})
    checked = checked[list(rules)]
    try:
        schema.validate(checked.reset_index(drop=True), lazy=True)
        return []
    except SchemaErrors as error:
        found = [_fault(one, checked, table) for one in error.schema_errors]
    first = {}
    for fault in found:
        first.setdefault(fault.column, fault)
    return [first[name] for name in rules if name in first]


def shape_faults(frame, table: str, needed: list[str], index: str | None = None) -> list[Fault]:
    """What is wrong with the table as a whole: no table, a column twice, no row, or needed columns that it lacks."""
    if not isinstance(frame, pd.DataFrame):
        return [table_fault(table, "is not a table", type(frame).__name__, "a pandas DataFrame", "see RecDataset")]
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()].tolist()
        return [table_fault(table, "has a column twice", twice[0], "unique column names", "rename or drop one")]
    if not len(frame):
        some = "at least one row" + ("; interactions=None if there is no log" if table == "interactions" else "")
        return [table_fault(table, "is empty", "0 rows", some, "check the filter or the file it came from")]
    there = [str(column) for column in frame.columns]
    lacking = [name for name in needed if name not in frame and not name == index == frame.index.name]
    return [_lacks(table, name, there, index) for name in lacking]


def _lacks(table: str, name: str, there: list[str], index: str | None) -> Fault:
    near = get_close_matches(name, there, n=1)
    remedy = f"rename {near[0]!r} to {name!r}?" if near else f"add the column {name!r}"
    remedy += f", or make it the index: frame.set_index({name!r})" if name == index else ""
    return table_fault(table, f"has no column {name!r}", there, f"a column {name!r}", remedy, column=name)


def no_label(log: pd.DataFrame) -> Fault:
    """The fault of a log that says neither how much a thing was liked nor whether."""
    there = [str(column) for column in log.columns]
    near = [(n, m) for n in ("rating", "label") for m in get_close_matches(n, there, n=1)]
    remedy = f"rename {near[0][1]!r} to {near[0][0]!r}?" if near else "add the ratings"
    remedy += "; log['label'] = 1 if every row is a choice (a click, a purchase)"
    what = "has no column 'rating' and no column 'label'"
    return table_fault("interactions", what, there, "a column 'rating' or a column 'label'", remedy, column="label")


def repeats(log: pd.DataFrame) -> list[Fault]:
    """The fault of rows with user, item and time of an earlier row: on both sides of a split they give it away."""
    event = ["user_id", "item_id", "timestamp"]
    again = np.flatnonzero(log.duplicated(event))
    rows = again[:SHOWN].tolist()
    found = [tuple(_short(value) for value in row) for row in log[event].iloc[rows].itertuples(index=False, name=None)]
    fault = Fault(
        "interactions",
        ", ".join(event),
        "repeat an earlier row",
        found,
        "each event once; a pair may come again at another time",
        f"keep one of each: log.drop_duplicates({event}), with keep='last' the later one; if they are several events, "
        "give the fraction of the second too (of dates: / in place of // pd.Timedelta), or no times (from_frames then "
        "only warns of copies): log.sort_values('timestamp', kind='stable').drop(columns='timestamp')",
        rows,
        log.index[rows].tolist(),
        len(again),
    )
    return [fault] if rows else []


def complain(faults: list[Fault], place: Callable[[Fault, int], str] | None = None) -> DataError:
    """One DataError for all faults.

    `place(fault, i)` says where the i-th named row is, or with i None the table; default: label and position.
    """
    named = place is not None
    place = place or (lambda fault, i: f"row {fault.labels[i]!r} (position {fault.rows[i]})")
    fault, others = faults[0], faults[1:]
    where = f"table {fault.table}" + (f", column {fault.column}" if fault.column else "")
    where += "".join(f", {place(fault, i)}" for i in range(len(fault.rows)))
    where += f", {place(fault, None)}" if named and not fault.rows else ""
    if fault.count > len(fault.rows):
        where += f" and {fault.count - len(fault.rows):,} more"
    what = _sentence(fault) + "".join(f"; also {_sentence(other)}" for other in others)
    found = fault.found[0] if len(fault.found) == 1 else fault.found
    error = DataError(what, where=where, found=found, expected=fault.expected, remedy=fault.remedy)
    error.faults = faults
    return error


def number(column: pd.Series) -> pd.Series:
    """The column as float64, nan for what is no number (dates, periods and complex numbers are none)."""
    return pd.Series(exact(column).to_numpy(dtype="float64", na_value=np.nan), index=column.index)


def exact(column: pd.Series) -> pd.Series:
    """The same, but a column of whole numbers stays one: float64 holds 15 digits, a time in nanoseconds has 19."""
    dated = pd.api.types.is_datetime64_any_dtype(column.dtype) or pd.api.types.is_timedelta64_dtype(column.dtype)
    if dated or isinstance(column.dtype, pd.PeriodDtype):  # of a period to_numeric gives its ordinal
        return pd.Series(np.nan, index=column.index)
    try:
        values = pd.to_numeric(column, errors="coerce")
    except (TypeError, UnicodeEncodeError):  # cells that hold lists, dicts or half a character
        readable = column.map(lambda v: np.isscalar(v) and holds_utf8(v)).astype(bool)
        values = pd.to_numeric(column.where(readable), errors="coerce")
    if pd.api.types.is_complex_dtype(values.dtype):
        values = pd.Series(np.where(np.imag(values) == 0, np.real(values), np.nan), index=column.index)
    return values


def floats(values) -> np.ndarray:
    """`values` as a float64 array, nan where they are masked.

    Raises:
        TypeError, ValueError: complex numbers, text, lists of unequal length.
    """
    values = np.ma.asarray(values)
    if np.iscomplexobj(values):
        raise TypeError("complex numbers")
    return np.ma.filled(values.astype("float64"), np.nan)


def is_time(column: pd.Series) -> pd.Series:
    """Whether each value is a finite number from 0, below 2^63."""
    values = exact(column)
    fits = (values >= 0) & (values < 2**63)
    return pd.Series(fits.to_numpy(dtype=bool, na_value=False), index=column.index) & _finite(column)


def is_nameless(column) -> bool:
    """Whether this is no name of a column, but what pandas writes where there is none."""
    return bool(_NAMELESS.fullmatch(column)) if isinstance(column, str) else bool(np.all(pd.isna(column)))


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy in which pyarrow's types are pandas' own: `%` fails on them, and their text is no StringDtype."""
    frame = frame.copy()
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.ArrowDtype):
            cells = [cell.tolist() if isinstance(cell, np.ndarray) else cell for cell in frame[name].astype(object)]
            column = pd.Series(cells, index=frame.index, dtype=object)
            frame[name] = column.convert_dtypes() if pd.api.types.is_numeric_dtype(dtype) else column.infer_objects()
    return frame


def _rule(what: str, expected: str, remedy: str, holds: Callable[[pd.Series], pd.Series]) -> pa.Check:
    # one failure case is enough for pandera: rows are counted from the check's output, which stays fast for a million
    return pa.Check(holds, error=what, title=expected, description=remedy, ignore_na=False, n_failure_cases=1)


def id_rules() -> list[pa.Check]:
    """Ids are int or text."""
    long = "give them as text, in every table: frame[column].astype(str)"
    kind = "int or str, one of them throughout, none missing (ids are saved as JSON)"
    return [
        _rule("is too long a number for an id", "-2^63 to 2^63 - 1, or text", long, _fits_int64),
        _rule("is not an id", kind, _TO_IDS, _is_id),
    ]


def _key_rules() -> list[pa.Check]:
    once = _rule("stands twice", "each id once", "drop or merge the rows: frame.drop_duplicates(column)", _is_new)
    return [*id_rules(), once]


def _known_rules(table: str, ids: pd.Index) -> list[pa.Check]:
    kind = kind_of(ids)
    convert = f"convert one of them, such as log[column].astype({kind})"
    drop = f"add it to {table}, or drop its rows: log[log[column].isin({table}[column])]"
    return [
        _rule(f"has another type than the ids of {table}", kind, convert, lambda s: s.notna() & (kind_of(s) == kind)),
        _rule(f"is not in the table {table}", f"an id of {table}", drop, lambda s: _isin(s, ids)),
    ]


def kind_of(ids: pd.Series | pd.Index) -> str:
    """ "int" or "str"; numpy's whole numbers of several widths are ints too."""
    ids = ids.astype(object) if isinstance(ids.dtype, pd.CategoricalDtype) else ids
    return "int" if pd.api.types.infer_dtype(ids, skipna=True) == "integer" else "str"


def _isin(ids: pd.Series, known: pd.Index) -> pd.Series:
    good = _is_id(ids)
    found = pd.Series(False, index=ids.index)
    found[good.to_numpy()] = ids[good.to_numpy()].isin(known).to_numpy()
    return found


def _fits_int64(ids: pd.Series) -> pd.Series:
    if pd.api.types.is_integer_dtype(ids.dtype):
        return ids.fillna(0) <= np.iinfo("int64").max
    whole = ids.astype(object).map(lambda v: isinstance(v, int | np.integer) and not -(2**63) <= v < 2**63)
    return ~whole.astype(bool)


def _is_id(ids: pd.Series) -> pd.Series:
    """Whether each value is an id: int64 or str. A bool, a float, a tuple come back from JSON as something else."""
    if isinstance(ids.dtype, pd.CategoricalDtype):
        ids = ids.astype(object)
    if pd.api.types.is_integer_dtype(ids.dtype):
        return ids.notna() & (ids.fillna(0) <= np.iinfo("int64").max)
    if isinstance(ids.dtype, pd.StringDtype):
        return ids.notna()
    if pd.api.types.is_float_dtype(ids.dtype):
        whole = (number(ids) % 1).eq(0)
        return (
            whole if not whole.all() else ~whole
        )  # name the missing id that made a column of ints float, if there is one
    if ids.dtype != object:
        return pd.Series(False, index=ids.index)
    text = ids.map(lambda v: isinstance(v, str)).astype(bool)
    whole = ids.map(lambda v: isinstance(v, int | np.integer) and not isinstance(v, bool) and -(2**63) <= v < 2**63)
    return text if text.sum() >= whole.sum() else whole.astype(bool)  # of a mixture the rarer type is wrong


def _is_new(ids: pd.Series) -> pd.Series:
    good = _is_id(ids).to_numpy()
    new = pd.Series(True, index=ids.index)
    new[good] = ~ids[good].duplicated().to_numpy()
    return new


def _is_text(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.StringDtype):
        return column.notna()
    return column.map(lambda value: isinstance(value, str)).astype(bool)


def _half_characters(frame: pd.DataFrame, table: str) -> list[Fault]:
    found = []
    for name, dtype in frame.dtypes.items():
        if not pd.api.types.is_object_dtype(dtype) and not isinstance(dtype, pd.StringDtype | pd.CategoricalDtype):
            continue
        if getattr(dtype, "storage", "") == "pyarrow":  # which holds UTF-8 and nothing else
            continue
        bad = [not holds_utf8(value) for value in frame[name].astype(object)]
        if any(bad):
            what, expected = "holds half a character (a lone surrogate)", "text that UTF-8 can hold"
            found.append(cell_fault(table, name, what, frame[name], bad, expected, _TO_UTF8))
    return found


def holds_utf8(value) -> bool:
    """Whether a text, or every text of a list, can be written as UTF-8; True for what is neither."""
    if isinstance(value, list | tuple):
        return all(map(holds_utf8, value))
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_tags(column: pd.Series) -> pd.Series:
    return column.map(lambda tags: isinstance(tags, list) and all(isinstance(t, str) for t in tags)).astype(bool)


def _finite(column: pd.Series) -> pd.Series:
    return pd.Series(np.isfinite(number(column).to_numpy()), index=column.index)


def _sentence(fault: Fault) -> str:
    if not fault.count:
        return f"the table {fault.table} {fault.what}"
    rows = "1 row" if fault.count == 1 else f"{fault.count:,} rows"
    return f"{fault.column} {fault.what} in {rows} of {fault.table}"


def table_fault(table: str, what: str, found, expected: str, remedy: str, column: str = "") -> Fault:
    """A fault of a whole table or column, not of single rows."""
    return Fault(table, column, what, [found], expected, remedy, rows=[], labels=[], count=0)


def _fault(error, frame: pd.DataFrame, table: str) -> Fault:
    """pandera's finding in our words."""
    name, check = error.schema.name, error.check
    if not isinstance(error.check_output, pd.Series):  # the check itself stumbled: say so rather than hide it
        what, stumbled = f"has values in {name!r} that cannot be checked", str(error).split("\n")[0]
        return table_fault(table, what, stumbled, check.title, check.description, name)
    bad = ~error.check_output.to_numpy(dtype=bool)
    return cell_fault(table, name, check.error, frame[name], bad, check.title, check.description)


def cell_fault(table: str, name: str, what: str, column: pd.Series, bad, expected: str, remedy: str) -> Fault:
    """A fault of the cells of a column where the mask `bad` is true; "column" in the remedy becomes its name."""
    bad = np.flatnonzero(bad)
    rows = bad[:SHOWN].tolist()
    found = [_short(value) for value in column.iloc[rows].astype(object)]
    remedy = remedy.replace("column", repr(name))
    labels = [_short(label) for label in column.index[rows]]
    return Fault(table, name, what, found, expected, remedy, rows, labels, len(bad))


def _short(value):
    """The value as a plain Python object, cropped if its text is long."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if len(repr(value)) <= 80 else repr(value)[:80] + "…"
