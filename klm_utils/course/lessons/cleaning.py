"""What notebook 01 runs beside its own lines: raw tables and their checks, times, twins, and facts that are wrong."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from klm_utils.data.schema import RecDataset, title_text
from klm_utils.data.shipped import shipped
from klm_utils.data.shop.cleaning import CJK, to_simplified

TABLES = ("items", "users", "interactions")


def raw_shop() -> dict[str, pd.DataFrame]:
    """The three raw tables of the shop, every cell as text."""
    return {
        name: pd.read_csv(shipped(f"shop/raw_dirty/{name}.csv.gz"), dtype=str, keep_default_na=False) for name in TABLES
    }


def checks(raw: Mapping[str, pd.DataFrame]) -> dict[str, pd.Series]:
    """Twelve questions with a yes or no for every row, bool [rows of their table]."""
    items, users, log = (raw[name] for name in TABLES)
    age = pd.to_numeric(users["age"], errors="coerce")
    return {
        "price with full-width digits": items["price"].str.contains("[０-９]"),
        "blanks at the ends of a title": items["title_zh"] != items["title_zh"].str.strip(),
        "Chinese in the English title": items["title_en"].str.contains(CJK),
        "traditional characters in a title": items["title_zh"].map(to_simplified) != items["title_zh"],
        "tag list written as Python text": items["tags_zh"].str.startswith("["),
        "item id that is there twice": items["item_id"].duplicated(),
        "age missing": users["age"] == "",
        "age below 10 or above 100": (age < 10) | (age > 100),
        "gender in other words": ~users["gender"].isin(["female", "male"]),
        "item that the catalogue lacks": ~log["item_id"].isin(items["item_id"]),
        "event written twice": log.duplicated(["user_id", "item_id", "timestamp"]),
        "second event of a user in one second": log.duplicated(["user_id", "timestamp"]),
    }


def right(tables: Mapping[str, pd.DataFrame], true: pd.DataFrame) -> pd.DataFrame:
    """A row for each column of a table that has been cleaned: which share of its cells says what is true."""

    def said(frame: pd.DataFrame, column: str) -> np.ndarray:
        return frame[column].astype(object).astype(str).str.removesuffix(".0").to_numpy()

    columns = list(tables.values())[-1].columns
    return pd.DataFrame(
        {name: [(said(frame, c) == said(true, c)).mean() for c in columns] for name, frame in tables.items()},
        index=columns,
    )


def of_users(ds: RecDataset) -> pd.DataFrame:
    """What a user's times say, a row each: `ratings`, `minutes` from the first row to the last."""
    times = ds.interactions.groupby("user_id")["timestamp"].agg(["size", "min", "max"])
    return pd.DataFrame({"ratings": times["size"], "minutes": (times["max"] - times["min"]) / 60})


def of_days(ds: RecDataset) -> pd.DataFrame:
    """Rows of each day, a row each: `rows`, and those of users whose `first` day it is."""
    log = ds.interactions
    start = log["timestamp"].min()
    day, first = (log["timestamp"] - start) // 86400, log.groupby("user_id")["timestamp"].transform("min")
    new = day == (first - start) // 86400
    days = range(int(day.max()) + 1)
    parts = {"rows": day.value_counts(), "first": day[new].value_counts()}
    return pd.DataFrame({name: counts.reindex(days, fill_value=0) for name, counts in parts.items()})


def window(ds: RecDataset, user, item, before: int = 4, after: int = 1) -> pd.DataFrame:
    """The rows of a user around the one with this item, in file order.

    Returns:
        `title`, `item_id`, `seconds` from that row, is it the `target`, and `above`: the user's rows above it.
    """
    rows = ds.interactions[ds.interactions["user_id"] == user].reset_index(drop=True)
    at = int(rows.index[rows["item_id"] == item][0])
    near = rows.iloc[max(0, at - before) : at + after + 1]
    titles = ds.items["title"].reindex(near["item_id"]).map(title_text).to_numpy()
    seconds = near["timestamp"] - rows["timestamp"][at]
    where = {"target": near.index == at, "above": near.index}
    return pd.DataFrame({"title": titles, "item_id": near["item_id"], "seconds": seconds, **where})


def _triples(ds: RecDataset) -> pd.DataFrame:
    return pd.DataFrame(columns=["head", "relation", "tail"]) if ds.triples is None else ds.triples


def sequels(ds: RecDataset) -> pd.DataFrame:
    """The facts "is the sequel of" whose two films are both in the catalogue: `film`, `sequel`, titles as spoken."""
    title = _titles(ds)
    facts = _triples(ds)
    facts = facts[facts["relation"] == "film.film.sequel"]
    pairs = pd.DataFrame({"film": facts["head"].map(title), "sequel": facts["tail"].map(title)})
    return pairs.dropna().reset_index(drop=True)


def _titles(ds: RecDataset) -> pd.Series:
    linked = ds.items.dropna(subset=["entity"]).drop_duplicates("entity").set_index("entity")
    return linked["title"].map(title_text)


def common_genres(ds: RecDataset, seed: int = 0, shuffles: int = 200) -> pd.DataFrame:
    """Mean share of common genres (Jaccard) of films that the graph or the title joins, and what shuffled pairs have.

    Returns:
        A row per kind of pair: `pairs`, `alike`, and `low`, `high`: 95 % of the shuffles are between them.
    """
    linked = ds.items.dropna(subset=["entity"]).drop_duplicates("entity").set_index("entity")
    genres, title = linked["tags"].map(set), linked["title"]
    facts = _triples(ds)
    facts = facts[facts["head"].isin(genres.index)].drop_duplicates()
    sequel = facts[(facts["relation"] == "film.film.sequel") & facts["tail"].isin(genres.index)]
    series = pd.DataFrame({"head": title.index, "tail": title.str.split(":").str[0]})
    kinds = {
        "graph: a sequel": sequel[["head", "tail"]].to_numpy(),
        "graph: one director": _couples(facts[facts["relation"].isin(["film.film.directed_by", "director"])], title),
        "title: begins alike": _couples(series, title),
    }
    kinds = {name: pairs for name, pairs in kinds.items() if len(pairs)}
    rng, rows = np.random.default_rng(seed), {}
    for name, pairs in kinds.items():
        dealt = [jaccard(genres, pairs[:, 0], rng.permutation(pairs[:, 1])) for _ in range(shuffles)]
        low, high = np.quantile(dealt, [0.025, 0.975])
        rows[name] = {"pairs": len(pairs), "alike": jaccard(genres, *pairs.T), "low": low, "high": high}
    return pd.DataFrame(rows).T.astype({"pairs": int})


def _couples(frame: pd.DataFrame, title: pd.Series) -> np.ndarray:
    both = frame.merge(frame, on="tail")
    pairs = both.loc[both["head_x"] < both["head_y"], ["head_x", "head_y"]].to_numpy()
    return pairs[title[pairs[:, 0]].to_numpy() != title[pairs[:, 1]].to_numpy()]  # one film under two ids is no pair


def jaccard(sets: pd.Series, a: Iterable, b: Iterable) -> float:
    """Mean over the pairs: how many the two sets have in common, of all that either has."""
    return float(np.mean([len(sets[x] & sets[y]) / len(sets[x] | sets[y]) for x, y in zip(a, b, strict=True)]))


def twins(items: pd.DataFrame) -> pd.DataFrame:
    """The ids that share title and year with another one, sorted by both."""
    both = items[items.duplicated(["title", "year"], keep=False) & (items["title"] != "")]
    return both.sort_values(["title", "year"])[["title", "year"]].assign(title=lambda f: f["title"].map(title_text))


def divided(test: pd.DataFrame, train: pd.DataFrame, items: pd.DataFrame) -> int:
    """How many films have one of their ids in test and another in train."""
    film = twins(items).groupby(["title", "year"]).ngroup()
    there = [set(film.reindex(part["item_id"].unique()).dropna()) for part in (test, train)]
    return len(there[0] & there[1])


def careless(log: pd.DataFrame, items: pd.DataFrame, share: float, rng: np.random.Generator) -> tuple:
    """A cold-item split with two faults: one film can be on both sides, and `rng` is not used. Returns train, test."""
    ids = items.index.to_numpy()
    test = log["item_id"].isin(np.random.default_rng(0).permutation(ids)[: round(share * len(ids))])
    return log[~test], log[test]


def faults(cut: Callable, ds: RecDataset, seeds: int = 20) -> list[str]:
    """What is wrong with a cold-item split such as `careless`, one line for each fault.

    A mistake in one place must not hide that in another, so each is looked for by itself.
    """
    log, found, tests = ds.interactions, [], set()
    counts = np.zeros((seeds, 2))
    for seed in range(seeds):
        train, test = cut(log, ds.items, 0.15, np.random.default_rng(seed))
        counts[seed] = divided(test, train, ds.items), test["item_id"].isin(train["item_id"]).sum()
        tests.add(tuple(test.index))
    mean = counts.mean(0)
    if mean[1] > 0:
        found.append(f"{mean[1]:.0f} rows of test are of a film that train has")
    if mean[0] > 0:
        found.append(f"{mean[0]:.0f} films have one id in train and another in test")
    if len(tests) < seeds:
        found.append(f"{seeds} different seeds give only {len(tests)} split{'s' if len(tests) > 1 else ''}")
    return found
