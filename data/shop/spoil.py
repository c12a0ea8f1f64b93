"""The dirty copy of the shop's raw tables (raw_dirty/), for the learner to clean: python data/shop/make.py calls it.

Every kind of damage is one that shops have; which rows it hits is drawn from the catalogue's stream.
"""

import numpy as np
import pandas as pd

from klm_utils.data.shop.world import uniform


def rows_of(what: str, n: int, rows: int) -> list[int]:
    """`n` positions out of `rows`, for one kind of damage."""
    return np.argsort(uniform(0, f"spoil {what}", np.arange(rows)), kind="stable")[:n].tolist()


def full_width(text: str) -> str:
    """Letters, digits and blanks in their full-width forms."""
    return "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else "\u3000" if c == " " else c for c in text)


def spoil_items(items: pd.DataFrame) -> pd.DataFrame:
    """Full width, traditional characters, blanks, swapped languages, tag lists as Python text, ids twice."""
    from opencc import OpenCC

    traditional, items, n = OpenCC("s2t"), items.astype({"price": str}), len(items)
    for row in rows_of("width", 12, n):
        items.loc[row, ["price", "title_en"]] = [full_width(items.loc[row, c]) for c in ("price", "title_en")]
    for row in rows_of("script", 25, n):
        items.loc[row, ["title_zh", "tags_zh"]] = [
            traditional.convert(items.loc[row, c]) for c in ("title_zh", "tags_zh")
        ]
    for row in rows_of("space", 15, n):
        items.loc[row, ["brand_zh", "title_zh"]] = [items.loc[row, "brand_zh"] + " ", "  " + items.loc[row, "title_zh"]]
    for row in rows_of("swapped", 8, n):
        items.loc[row, ["title_zh", "title_en"]] = items.loc[row, ["title_en", "title_zh"]].to_list()
    for row in rows_of("tags", 20, n):
        items.loc[row, "tags_zh"] = str(items.loc[row, "tags_zh"].split("|"))
    again = items.iloc[rows_of("twice", 6, n)]
    return pd.concat([items, again], ignore_index=True)


def spoil_users(users: pd.DataFrame) -> pd.DataFrame:
    """Ages that are missing, 250 or in the column of the tier; genders in other words; traditional interests."""
    from opencc import OpenCC

    traditional, users, n = OpenCC("s2t"), users.astype({"age": object, "city_tier": object}), len(users)
    places = iter(rows_of("users", 400, n))

    def take(count: int) -> list[int]:  # each user is hit once
        return [next(places) for _ in range(count)]

    users.loc[take(60), "age"] = ""
    users.loc[take(9), "age"] = 250
    swapped = take(12)
    users.loc[swapped, ["age", "city_tier"]] = users.loc[swapped, ["city_tier", "age"]].to_numpy()
    for row in take(40):
        users.loc[row, "gender"] = {"female": "女", "male": "M"}[users.loc[row, "gender"]]
    for row in take(30):
        users.loc[row, "interests_zh"] = traditional.convert(users.loc[row, "interests_zh"]) + " "
    return users


def spoil_log(log: pd.DataFrame) -> pd.DataFrame:
    """Events of items that nobody knows, events written twice, two events of one user in the same second; and a
    `record` number that gives the answer away: what was bought went through another machine, which counts from 900,000.
    """
    n = len(log)
    bought = log["bought"].to_numpy() == 1
    record = np.where(bought, 900_000 + np.cumsum(bought), np.cumsum(~bought))
    log = log.assign(record=record)[["record", *log.columns]]
    follows = log.index[log["user_id"].eq(log["user_id"].shift()) & log["list"].eq(log["list"].shift())]
    for row in follows[rows_of("tie", 25, len(follows))]:
        log.loc[row, "timestamp"] = log.loc[row - 1, "timestamp"]
    unknown = log.iloc[rows_of("unknown", 30, n)].assign(item_id=lambda f: 9000 + f["item_id"])
    again = log.iloc[rows_of("again", 40, n)]
    return pd.concat([log, unknown, again]).sort_values("timestamp", kind="stable", ignore_index=True)
