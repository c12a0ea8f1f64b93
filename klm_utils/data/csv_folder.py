"""Three CSV files as tables, and the line of a file that a row came from."""

import csv
import warnings
from pathlib import Path

import pandas as pd

from klm_utils.errors import DataError

_WHOLE = r"0|-?[1-9]\d{0,17}"  # what int() and str() turn into each other unchanged, and int64 holds


def read_folder(folder: Path) -> list[pd.DataFrame]:
    """items, users, interactions as `RecDataset.from_frames` takes them: tags as lists, ids of one type throughout.

    Raises:
        DataError: a file that is missing, empty, not UTF-8 or not a CSV table.
    """
    tables = [_read(folder / f"{name}.csv") for name in ("items", "users", "interactions")]
    if "tags" in tables[0]:
        texts = tables[0]["tags"].fillna("")
        tables[0]["tags"] = [[tag.strip() for tag in text.split("|") if tag.strip()] for text in texts]
    for key in ("item_id", "user_id"):
        holders = [table for table in tables if key in table]
        if holders and all(table[key].str.fullmatch(_WHOLE).eq(True).all() for table in holders):
            for table in holders:
                table[key] = table[key].astype("int64")
    return tables


def line_of(folder: Path, table: str, row: int | None) -> str:
    """Where the row stands: file and line, counted as an editor does (a quoted field may hold line breaks)."""
    path = folder / f"{table}.csv"
    if row is None:
        return str(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader, start, seen = csv.reader(file), 1, -1
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():  # blank lines are no rows
                if seen == row:
                    break
                seen += 1
            start = reader.line_num + 1
    return f"{path}, line {start}"


def _read(path: Path) -> pd.DataFrame:
    text = dict.fromkeys(("item_id", "user_id", "title", "tags"), str)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line longer than the header
            # "NA" and "None" are words in a title; only an empty field is missing
            return pd.read_csv(
                path, dtype=text, keep_default_na=False, na_values=[""], encoding="utf-8-sig", index_col=False
            )
    except FileNotFoundError:
        what, found = "a file is missing", "no such file"
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        pd.errors.ParserWarning,
        UnicodeDecodeError,
        OSError,
    ) as error:
        what, found = "a file cannot be read as a table", str(error)
    raise DataError(
        what,
        where=str(path),
        found=found,
        expected="a comma-separated UTF-8 file with a header line, no line longer than the header",
        remedy="from_csv wants items.csv, users.csv and interactions.csv; quote a field that holds a comma",
    )
