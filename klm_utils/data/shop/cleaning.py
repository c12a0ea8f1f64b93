"""Raw tables of a bilingual shop, cleaned by stated rules: every change and every dropped row is reported.

| rule | what it finds | what it does |
|---|---|---|
| width | full-width letters, digits and blanks (Chinese punctuation is as it should be) | repaired |
| space | white space at the ends, or several blanks in a row | repaired |
| script | traditional characters in a Chinese column | repaired |
| swapped | Chinese in the English column, none in the Chinese one; age 1-4 beside tier 10-100 | repaired |
| tags | a list written as Python text: "['手机', '数码']" | repaired |
| gender | another word for female or male (女, F, ...) | repaired |
| number | a price, age or tier that is no number or outside its range | made missing |
| id | an id or a time that is no whole number, a label that is not 0 or 1 | row dropped |
| unknown | a user or an item that its table does not have | row dropped |
| twice | an id that an earlier row has; an event that an earlier row has | row dropped |
| tie | two events of one user in one second | kept, in the order of the file |
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from klm_utils.data.csv_folder import text_list
from klm_utils.data.rules import number
from klm_utils.errors import DataError

CJK = re.compile("[\u3400-\u9fff]")
# full-width forms stand 0xFEE0 above ASCII; Chinese punctuation stays
HALF = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in "！（），：；？～"} | {0x3000: 0x20}
WORDS = ("title", "description", "tags", "brand", "category", "subcategory")
NEEDED = {
    "items": ["item_id", "title_zh", "title_en", "tags_zh", "tags_en"],
    "users": ["user_id", "age", "gender", "city_tier", "interests_zh", "interests_en"],
    "interactions": ["user_id", "item_id", "timestamp", "bought"],
}
RANGES = {"price": (0.01, 1e7), "age": (10, 100), "city_tier": (1, 4)}
GENDERS = {"女": "female", "f": "female", "woman": "female", "男": "male", "m": "male", "man": "male"}
DROPPED, REPAIRED, MISSING, KEPT = "row dropped", "repaired", "made missing", "kept"


@dataclass(frozen=True, eq=False)
class Cleaned:
    """The clean tables, and one row of `report` for each finding: table, row (of the raw table), column, rule, found,
    now, action."""

    items: pd.DataFrame
    users: pd.DataFrame
    interactions: pd.DataFrame
    report: pd.DataFrame


def clean(items: pd.DataFrame, users: pd.DataFrame, interactions: pd.DataFrame) -> Cleaned:
    """Clean three raw tables by the rules at the head of the module. They are not changed; read them as text.

    Rows in = rows out + rows reported as dropped. The clean tables keep the row labels of the raw ones.

    Raises:
        DataError: a table without a column it needs, or with row labels that stand twice.
    """
    raw = {"items": items, "users": users, "interactions": interactions}
    for table, frame in raw.items():
        _check_columns(table, frame)
    found: list[tuple] = []
    items, users = _clean_items(items, found), _clean_users(users, found)
    log = _clean_log(interactions, items["item_id"], users["user_id"], found)
    report = pd.DataFrame(found, columns=["table", "row", "column", "rule", "found", "now", "action"])
    return Cleaned(items, users, log, report)


def to_simplified(text: str) -> str:
    """Traditional characters as simplified ones (OpenCC's tables), all else unchanged."""
    return _converter().convert(text) if CJK.search(text) else text


@cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


def _clean_items(frame: pd.DataFrame, found: list) -> pd.DataFrame:
    frame = _tidy(frame, "items", found)
    for word in WORDS:
        if {f"{word}_zh", f"{word}_en"} <= set(frame):
            zh, en = frame[f"{word}_zh"], frame[f"{word}_en"]
            has = [column.map(lambda v: bool(CJK.search(v)) if isinstance(v, str) else False) for column in (zh, en)]
            _swap(frame, f"{word}_zh", f"{word}_en", ~has[0] & has[1], "items", found)
    for column in ("tags_zh", "tags_en"):
        _apply(frame, column, _joined, "tags", "items", found)
    for column in [c for c in frame if c.endswith("_zh")]:
        _apply(frame, column, to_simplified, "script", "items", found)
    _numbers(frame, "price", "items", found)
    return _keyed(frame, "item_id", "items", found)


def _clean_users(frame: pd.DataFrame, found: list) -> pd.DataFrame:
    frame = _tidy(frame, "users", found)
    for column in ("interests_zh", "interests_en"):
        _apply(frame, column, _joined, "tags", "users", found)
    _apply(frame, "interests_zh", to_simplified, "script", "users", found)
    _apply(frame, "gender", lambda v: GENDERS.get(v.lower(), v.lower()), "gender", "users", found)
    age, tier = number(frame["age"]), number(frame["city_tier"])
    _swap(frame, "age", "city_tier", age.between(*RANGES["city_tier"]) & tier.between(*RANGES["age"]), "users", found)
    for column in ("age", "city_tier"):
        _numbers(frame, column, "users", found)
    return _keyed(frame, "user_id", "users", found)


def _clean_log(frame: pd.DataFrame, items: pd.Series, users: pd.Series, found: list) -> pd.DataFrame:
    frame = _tidy(frame, "interactions", found)
    for column in NEEDED["interactions"]:
        values = number(frame[column])
        good = (values % 1 == 0) & (values >= 0) & (values < 2.0**53)
        good &= values.isin([0, 1]) if column == "bought" else True
        frame = _drop(frame, ~good, column, "id", "interactions", found)
        frame[column] = number(frame[column]).astype("int64")
    for column, known in (("item_id", items), ("user_id", users)):
        frame = _drop(frame, ~frame[column].isin(known), column, "unknown", "interactions", found)
    event = ["user_id", "item_id", "timestamp"]
    frame = _drop(frame, frame.duplicated(event), "timestamp", "twice", "interactions", found)
    tied = frame[frame.duplicated(["user_id", "timestamp"])]
    found += [("interactions", row, "timestamp", "tie", t, t, KEPT) for row, t in tied["timestamp"].items()]
    return frame


def _tidy(frame: pd.DataFrame, table: str, found: list) -> pd.DataFrame:
    """A copy with its text normalised; empty text is missing."""
    frame = frame.copy()
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column].dtype):
            frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
            _apply(frame, column, lambda v: v.translate(HALF), "width", table, found)
            _apply(frame, column, lambda v: " ".join(v.split()), "space", table, found)
            frame.loc[frame[column] == "", column] = None
    return frame


def _apply(frame: pd.DataFrame, column: str, change: Callable[[str], str], rule: str, table: str, found: list) -> None:
    """Change each text of a column in place, once per different text, and report what became another."""
    old = frame[column]
    different = {v: change(v) for v in old.dropna().unique() if isinstance(v, str)}
    changed = {v: now for v, now in different.items() if v != now}
    if changed:
        rows = old.index[old.isin(list(changed))]
        found += [(table, row, column, rule, old[row], changed[old[row]], REPAIRED) for row in rows]
        frame[column] = old.map(lambda v: changed.get(v, v) if isinstance(v, str) else v).astype(object)


def _joined(text: str) -> str:
    """A list written as Python text, with | between its entries; any other text as it is."""
    if not (text.startswith("[") and text.endswith("]")):
        return text
    if (tags := text_list(text)) is None:
        tags = [tag.strip(" '\"") for tag in text[1:-1].split(",")]
    return "|".join(tag.strip() for tag in tags)


def _swap(frame: pd.DataFrame, a: str, b: str, rows: pd.Series, table: str, found: list) -> None:
    for row in frame.index[rows]:
        old = frame.at[row, a], frame.at[row, b]
        found.append((table, row, f"{a}, {b}", "swapped", old, old[::-1], REPAIRED))
    frame.loc[rows, [a, b]] = frame.loc[rows, [b, a]].to_numpy()


def _numbers(frame: pd.DataFrame, column: str, table: str, found: list) -> None:
    """A numeric column as float64; what is no number or out of range becomes missing."""
    if column in frame:
        values = number(frame[column])
        bad = frame.index[~values.between(*RANGES[column])]
        found += [(table, row, column, "number", frame.at[row, column], np.nan, MISSING) for row in bad]
        frame[column] = values.where(values.between(*RANGES[column]))


def _keyed(frame: pd.DataFrame, key: str, table: str, found: list) -> pd.DataFrame:
    """Rows with a whole number as id, each once."""
    values = number(frame[key])
    frame = _drop(frame, ~((values % 1 == 0) & (values >= 0) & (values < 2.0**53)), key, "id", table, found)
    frame[key] = number(frame[key]).astype("int64")
    return _drop(frame, frame[key].duplicated(), key, "twice", table, found)


def _drop(frame: pd.DataFrame, bad: pd.Series, column: str, rule: str, table: str, found: list) -> pd.DataFrame:
    found += [(table, row, column, rule, value, None, DROPPED) for row, value in frame.loc[bad, column].items()]
    return frame[~bad].copy()


def _check_columns(table: str, frame: pd.DataFrame) -> None:
    if missing := [column for column in NEEDED[table] if column not in frame]:
        what, there = f"the raw table {table} lacks a column", list(map(str, frame.columns))
        remedy = "rename the columns as data/shop/README.md has them"
        raise DataError(what, f"clean({table})", there, f"a column {missing[0]!r}", remedy)
    if frame.index.has_duplicates:
        what = f"the row labels of {table} are not unique, so a report could not say which row it means"
        twice = frame.index[frame.index.duplicated()][0]
        raise DataError(what, f"clean({table})", twice, "each label once", "call reset_index(drop=True) first")
