"""What notebook 01 runs beside its own lines: raw tables and their checks, and what each of its leaks is worth."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

import klm_utils as klm
from klm_utils.data.histories import histories
from klm_utils.data.schema import RecDataset, title_text
from klm_utils.data.shipped import shipped
from klm_utils.data.shop.cleaning import CJK, Cleaned, to_simplified
from klm_utils.data.splits import Split
from klm_utils.errors import LeakError
from klm_utils.evaluation import intervals
from klm_utils.evaluation.leaks import changes_with_labels

TABLES = ("items", "users", "interactions")
Features = Callable[[Split], pd.DataFrame]


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


def books(raw: Mapping[str, pd.DataFrame], done: Cleaned) -> pd.DataFrame:
    """A row per table: rows in, rows dropped by each rule, rows out, and whether the sum is right."""
    found = {}
    for name in TABLES:
        dropped = done.report.query("table == @name and action == 'row dropped'")["rule"].value_counts()
        rows = {"in": len(raw[name])} | dropped.to_dict() | {"out": len(getattr(done, name))}
        found[name] = rows | {"balanced": rows["in"] - dropped.sum() == rows["out"]}
    table = pd.DataFrame(found).T[["in", "unknown", "twice", "out", "balanced"]].fillna(0)
    return table.astype(dict.fromkeys(["in", "unknown", "twice", "out"], "int64"))


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
    """The rows of a user around the one with this item: `title`, `item_id`, `seconds` from that row, in file order."""
    rows = ds.interactions[ds.interactions["user_id"] == user].reset_index(drop=True)
    at = int(rows.index[rows["item_id"] == item][0])
    near = rows.iloc[max(0, at - before) : at + after + 1]
    titles = ds.items["title"].reindex(near["item_id"]).map(title_text).to_numpy()
    seconds = near["timestamp"] - rows["timestamp"][at]
    return pd.DataFrame({"title": titles, "item_id": near["item_id"], "seconds": seconds, "target": near.index == at})


def shifted(log: pd.DataFrame, targets: pd.DataFrame, length: int) -> list[list]:
    """The leak: the last `length` rows of the user that stand above the target in the file, ties included.

    Both frames bear the row index of one log that is sorted by time.
    """
    own = {user: (rows.index.to_numpy(), rows["item_id"].to_numpy()) for user, rows in log.groupby("user_id")}
    nothing = (np.arange(0), np.arange(0))
    found = []
    for row, user in zip(targets.index, targets["user_id"], strict=True):
        places, items = own.get(user, nothing)
        stop = np.searchsorted(places, row)
        found.append(items[max(0, stop - length) : stop].tolist())
    return found


def worth_of_ties(split: Split, length: int = 5) -> pd.Series:
    """nDCG@10 of each next film by item kNN, from histories with ties and strictly before; their difference.

    A film's score is the sum of its cosines (of the users in train) with the films of the history; films that the user
    has in train are out. A mean over the test rows of a user, then over users; the interval is for other users.
    """
    users, items = split.dataset.users.index, split.dataset.items.index
    chosen = np.zeros((len(users), len(items)), dtype=np.float32)
    chosen[users.get_indexer(split.train["user_id"]), items.get_indexer(split.train["item_id"])] = 1
    alike = chosen.T @ chosen
    norm = np.sqrt(np.maximum(alike.diagonal(), 1))
    alike /= norm[:, None] * norm
    np.fill_diagonal(alike, 0)
    test = split.test
    user, item = users.get_indexer(test["user_id"]), items.get_indexer(test["item_id"])
    found = []
    for past in (shifted(split.train, test, length), histories(split.train, test, length)):
        bags = np.zeros((len(test), len(items)), dtype=np.float32)
        for row, history in enumerate(past):
            bags[row, items.get_indexer(history)] = 1
        scores = bags @ alike
        scores[chosen[user] > 0] = -np.inf
        own = scores[np.arange(len(test)), item][:, None]
        place = 1 + (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2  # ties share the mean of their places
        gain = np.where(place <= 10, 1 / np.log2(place + 1), 0)
        of_user = pd.Series(gain).groupby(test["user_id"].to_numpy()).mean()
        found.append(intervals.mean_over_users(of_user.index.to_numpy(), of_user.to_numpy()))
    return _gain(found[0], found[1])


def _gain(leak: intervals.Statistic, honest: intervals.Statistic) -> pd.Series:
    both = intervals.difference(leak, honest)
    low, high = intervals.interval(both)
    values = [leak.estimate(), honest.estimate(), both.estimate(), low, high]
    return pd.Series(values, index=["leak", "honest", "worth", "low", "high"])


class Tree:
    """A tree on a table of features, fitted on the rows of train; `predict` looks the rows of the log up."""

    def __init__(self, features: Features, split: Split, name: str = "tree"):
        log, self.name = split.dataset.interactions, name
        x = features(split).set_axis(log.index)
        tree = DecisionTreeClassifier(min_samples_leaf=1000, random_state=0)  # 100 lets a column of noise cost .02
        tree.fit(x.loc[split.train.index], split.train["label"])
        pairs = pd.MultiIndex.from_frame(log[["user_id", "item_id"]])
        self.p = pd.Series(tree.predict_proba(x)[:, 1], index=pairs)

    def predict(self, user_ids, item_ids) -> np.ndarray:
        """Probability of each pair of the log, float64 [n]."""
        return self.p.reindex(pd.MultiIndex.from_arrays([user_ids, item_ids])).to_numpy()


def auc(model: Any, split: Split) -> intervals.Statistic:
    """Pooled AUC of anything with predict on the rows of test."""
    test = split.test
    p = model.predict(test["user_id"].to_numpy(), test["item_id"].to_numpy())
    return intervals.pooled_auc(test["user_id"].to_numpy(), test["label"].to_numpy(), p)


def worth(pairs: Mapping[str, tuple[Features, Features]], split: Split) -> pd.DataFrame:
    """AUC of a tree with each leak, of its honest form, and their difference with the interval for other users.

    Args:
        pairs: name -> (features with the leak, features of the honest form).
    """
    found = {name: [auc(Tree(one, split), split) for one in both] for name, both in pairs.items()}
    return pd.DataFrame({name: _gain(*both) for name, both in found.items()}).T


def share_by(columns: Sequence[str], counted: str) -> Features:
    """Features: the share bought in the row's group, and the position.

    Args:
        columns: of the log or of the items, such as ["brand"] or ["user_id", "category"].
        counted: on which rows: "all" (the leak), "train" (for a row of train its own label is in it), or "before":
            rows of train strictly before the row.
    """

    def features(split: Split) -> pd.DataFrame:
        log = _with_items(split.dataset)
        return _share(split, log.groupby(list(columns)).ngroup(), counted)

    return features


def share_by_chance(size: int, counted: str, seed: int = 0) -> Features:
    """The same for groups of `size` rows that are drawn at random, so that a group means nothing."""

    def features(split: Split) -> pd.DataFrame:
        log = split.dataset.interactions
        return _share(split, pd.Series(np.random.default_rng(seed).permutation(len(log)) // size, log.index), counted)

    return features


def _share(split: Split, group: pd.Series, counted: str) -> pd.DataFrame:
    log = split.dataset.interactions
    rows = pd.Series(1 if counted == "all" else log.index.isin(split.train.index).astype(int), log.index)
    bought = log["label"] * rows
    if counted == "before":
        sums = [before(one, group, log["timestamp"]) for one in (bought, rows)]
    else:
        sums = [one.groupby(group).transform("sum") for one in (bought, rows)]
    return pd.DataFrame({"share": sums[0] / sums[1].where(sums[1] > 0), "at": log["position"]})


def before(values: pd.Series, group: pd.Series, time: pd.Series) -> pd.Series:
    """The sum of the values in a row's group strictly before its time, [rows]; the log is in order of time."""
    until = values.groupby(group).cumsum().groupby([group, time]).transform("last")
    return until - values.groupby([group, time]).transform("sum")


def later(split: Split) -> pd.DataFrame:
    """Features: the position, and how many of the subcategory this user bought strictly after the row, in all rows."""
    log = split.dataset.interactions
    group = log.groupby([log["user_id"], log["item_id"].map(split.dataset.items["subcategory"])]).ngroup()
    label = log["label"]
    same = label.groupby([group, log["timestamp"]]).transform("sum")
    after = label.groupby(group).transform("sum") - before(label, group, log["timestamp"]) - same
    return pd.DataFrame({"position": log["position"], "alike, bought later": after})


def earlier(split: Split) -> pd.DataFrame:
    """Features: the position, and how many of the subcategory this user bought in train strictly before the row."""
    every, kind = split.dataset.interactions, split.dataset.items["subcategory"].to_dict()
    past = histories(split.train[split.train["label"] == 1], every, length=100)
    alike = [sum(kind[i] == kind[j] for i in h) for h, j in zip(past, every["item_id"], strict=True)]
    return pd.DataFrame({"position": every["position"], "alike, bought before": alike})


def position(split: Split) -> pd.DataFrame:
    """Features: the row's place in the list that was shown, and nothing else."""
    return split.dataset.interactions[["position"]]


def aucs(tables: Mapping[str, Features], split: Split) -> pd.DataFrame:
    """AUC of a tree on each table of features, with the interval for other users: `auc`, `low`, `high`, a row each."""
    found = {name: auc(Tree(one, split), split) for name, one in tables.items()}
    rows = {name: [one.estimate(), *intervals.interval(one)] for name, one in found.items()}
    return pd.DataFrame(rows, index=["auc", "low", "high"]).T


def trees(tables: Mapping[str, Features]) -> dict[str, Callable[[Split], Tree]]:
    """A function for each table that fits a tree on it."""
    return {name: partial(Tree, features, name=name) for name, features in tables.items()}


def _with_items(ds: RecDataset) -> pd.DataFrame:
    return ds.interactions.join(ds.items[["category", "subcategory", "brand"]], on="item_id")


@cache
def _tomorrow() -> Split:
    return klm.split(klm.load_dataset("shop", language="zh"), "temporal")


@cache
def worth_of_sharing(*columns: str) -> pd.Series:
    """What `share_by` is worth on the shop's temporal split, as of `worth`, and the mean `rows` of a group."""
    split = _tomorrow()
    found = worth({"": (share_by(columns, "all"), share_by(columns, "before"))}, split).loc[""]
    groups = _with_items(split.dataset).groupby(list(columns)).ngroups
    return pd.concat([found, pd.Series({"rows": len(split.dataset.interactions) / groups})])


def worth_of_chance(*sizes: int) -> pd.Series:
    """What a share is worth that is counted on random groups of each size, index = size."""
    both = {str(size): (share_by_chance(size, "all"), share_by_chance(size, "before")) for size in sizes}
    return worth(both, _tomorrow())["worth"].set_axis(list(sizes))


def alarms(tables: Mapping[str, Features], split: Split) -> pd.DataFrame:
    """What three alarms say of each table of features; True in `heard`.

    Returns:
        A row per table. `alone`: the AUC of its best single column, whichever direction. `moved`: the largest change of
        a probability on test after a second fit with the labels of test reversed. `truth`: AUC minus that of the true
        probabilities; and the three with `_heard`: alone is above .7; moved is above 0; `klm.evaluate` raises.
    """
    y, best, rows = split.test["label"].to_numpy(), None, {}
    if split.dataset.optimum is not None:
        best = klm.metrics.auc(y, split.dataset.optimum[split.test.index])
    for name, features in tables.items():
        model = Tree(features, split, name)
        columns = features(split).set_axis(split.dataset.interactions.index).loc[split.test.index]
        alone = max(_either(y, columns[c]) for c in columns)
        moved = changes_with_labels(lambda one, f=features: Tree(f, one), split)
        rows[name] = {"alone": alone, "moved": moved, "alone_heard": alone > 0.7, "moved_heard": moved > 0}
        rows[name] |= {"truth": auc(model, split).estimate() - best if best else np.nan, "truth_heard": False}
        try:
            klm.evaluate(model, split, n_boot=50)
        except LeakError:
            rows[name]["truth_heard"] = True
    return pd.DataFrame(rows).T


def _either(y: np.ndarray, values: pd.Series) -> float:
    found = klm.metrics.auc(y, values.astype(float).fillna(values.astype(float).median()).to_numpy())
    return max(found, 1 - found)


def coverage(ds: RecDataset) -> pd.DataFrame:
    """For each kind of knowledge about the shop's items: the share of `older` and of `newer` ones that have it, and of
    the newer ones whose value was `met` on an older one."""
    new, title = ds.items["launched"] > ds.items["launched"].min(), ds.items["title"]
    values = {
        c: ds.items[c].map(lambda v: set(v) if isinstance(v, list) else {v}) for c in ("tags", "brand", "category")
    }
    triples = _triples(ds)
    for relation, facts in triples[triples["head"].isin(title)].groupby("relation"):
        values[f"graph: {relation}"] = title.map(facts.groupby("head")["tail"].agg(set))
    rows = {}
    for name, column in values.items():
        known = set().union(*column[~new].dropna()) | set(title[~new])  # the graph also names items themselves
        met = [isinstance(value, set) and bool(value & known) for value in column[new]]
        rows[name] = {"older": column[~new].notna().mean(), "newer": column[new].notna().mean(), "met": np.mean(met)}
    return pd.DataFrame(rows).T


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
    """A cold-item split that draws ids one by one, so that one film can be on both sides: train, test."""
    ids = items.index.to_numpy()
    test = log["item_id"].isin(rng.permutation(ids)[: round(share * len(ids))])
    return log[~test], log[test]
