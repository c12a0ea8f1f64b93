"""Three CSV files as tables, and the line of a file that a row came from."""

import ast
import csv
import json
import re
import warnings
from pathlib import Path

import pandas as pd

from klm_utils.data.rules import Fault, cell_fault, complain
from klm_utils.errors import DataError

_WHOLE = r"0|-?[1-9]\d{0,17}"  # what int() and str() turn into each other unchanged, and int64 holds
_LIST = re.compile(r"""\[\s*(['"].*['"])?\s*\]""", re.DOTALL)
_TAGS = re.compile(r"""[\[(]\s*(['"].*)?[\])]""", re.DOTALL)  # a list, a tuple, or one with something else in it
_JOINED = re.compile("[,;，；、]")
_TEXT = ("item_id", "user_id", "title", "tags")


def read_folder(folder: Path) -> list[pd.DataFrame]:
    """items, users, interactions as `RecDataset.from_frames` takes them: tags as lists, ids of one type throughout.

    Raises:
        DataError: a file that is missing, empty, not UTF-8 or not a CSV table; a column twice; tags or other lists
            that cannot be told apart.
    """
    tables = {name: _read(folder / f"{name}.csv") for name in ("items", "users", "interactions")}
    for name in ("items", "users"):
        frame = tables[name]
        for column in frame.columns[[not pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]]:
            if name == "items" and column == "tags":
                frame[column] = _tags(frame[column].fillna(""))
                continue
            if name == "items" and column == "title":
                frame[column] = frame[column].fillna("")  # so to_csv writes an empty title
                continue
            there = frame[column][frame[column].notna()]
            own = _TEXT if name == "items" else _TEXT[:2]  # ids, and in items titles, are no lists
            if column not in own and there.str.fullmatch(_LIST).eq(True).all():
                frame[column] = _lists(frame[column], name)
    for key in ("item_id", "user_id"):
        holders = [table for table in tables.values() if key in table]
        if holders and all(table[key].str.fullmatch(_WHOLE).eq(True).all() for table in holders):
            for table in holders:
                table[key] = table[key].astype("int64")
    return list(tables.values())


def text_list(text: str) -> list[str] | None:
    """The list of str that `text` writes out as Python's `str` (of a list or a tuple) or JSON does, or None.

    Of other writings None, too: "['a' 'b']", the text of an array, would be read as ['ab'].
    """
    if not _TAGS.fullmatch(text):
        return None
    for read, same in ((json.loads, lambda values: True), (ast.literal_eval, lambda values: str(values) == text)):
        try:
            values = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(values, list | tuple) and all(isinstance(value, str) for value in values) and same(values):
            return list(values)
    return None


def line_of(folder: Path, table: str, row: int | None) -> str:
    """Where the row stands: file and line, counted as an editor does (a quoted field may hold line breaks)."""
    path = folder / f"{table}.csv"
    if row is None:
        return str(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader, start, seen = csv.reader(file), 1, -1
        try:
            for fields in reader:
                if len(fields) > 1 or "".join(fields).strip():  # blank lines are no rows
                    if seen == row:
                        break
                    seen += 1
                start = reader.line_num + 1
        except csv.Error:  # a field longer than the csv module reads; pandas has no such limit
            return f"{path}, row {row + 1}"
    return f"{path}, line {start}"


def _tags(texts: pd.Series) -> list[list[str]]:
    """The tags of each text, separated by | or written as a list or a tuple."""
    written = texts.str.fullmatch(_TAGS)
    tags = [text_list(text) if is_list else text.split("|") for text, is_list in zip(texts, written, strict=True)]
    unread = pd.Series([found is None for found in tags], index=texts.index)
    if not texts[~written].str.contains("|", regex=False).any():
        unread |= ~written & texts.str.contains(_JOINED)
    if unread.any():
        only = "a|b (a tag that holds a comma, alone in its row: end it with |) or a list as to_csv writes it"
        split = r"frame['tags'].str.replace(r'\s*[,;，；、]\s*', '|', regex=True)"
        remedy = f"make arrays lists of str before to_csv: .map(list); else separate the tags by |: {split}"
        raise complain([cell_fault("items", texts, unread, "is not separated by |", only, remedy)])
    return [[tag.strip() for tag in found or () if tag.strip()] for found in tags]


def _lists(texts: pd.Series, table: str) -> list:
    """The list of each text; what is missing stays so."""
    lists = [text_list(text) if isinstance(text, str) else None for text in texts]
    unread = texts.notna() & pd.Series([found is None for found in lists], index=texts.index)
    if unread.any():
        what, remedy = "is a list that cannot be read", "make arrays lists before to_csv: frame[column].map(list)"
        raise complain([cell_fault(table, texts, unread, what, "a list of str: ['a', 'b']", remedy)])
    return lists


def _read(path: Path) -> pd.DataFrame:
    expected = "a comma-separated UTF-8 file with a header line, no line longer than the header"
    remedy = "from_csv wants items.csv, users.csv and interactions.csv; quote a field that holds a comma"
    try:
        _refuse_double_names(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line longer than the header
            # "NA" and "None" are words in a title; only an empty field is missing
            frame = pd.read_csv(
                path,
                dtype=dict.fromkeys(_TEXT, str),
                keep_default_na=False,
                na_values=[""],
                encoding="utf-8-sig",
                index_col=False,
            )
            return frame.copy()  # one block per type: what is done to a hundred thousand columns is done to a few
    except FileNotFoundError:
        what, where, found = "a file is missing", str(path), "no such file"
    except UnicodeDecodeError as error:
        what, where, found = "a file is not UTF-8", f"{path}, line {_undecodable(path)}", str(error)
        remedy = "save the file as UTF-8 (in Excel: 'CSV UTF-8'); or from_frames with pd.read_csv(..., encoding='...')"
    except (ValueError, csv.Error, pd.errors.ParserWarning, OSError) as error:  # ParserError is a ValueError
        what, where, found = "a file cannot be read as a table", str(path), str(error)
    raise DataError(what, where, found, expected, remedy)


def _refuse_double_names(path: Path) -> None:
    """pandas would call the second of them title.1."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next((fields for fields in csv.reader(file) if any(fields)), [])
    twice = sorted({name for name in names if name and names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise complain([Fault(path.stem, "has a column twice", twice[0], "unique names", "rename or drop one")])


def _undecodable(path: Path) -> int:
    """The number of the first line that is not UTF-8."""
    content = path.read_bytes()
    try:
        content.decode("utf-8-sig")
        return 1
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
