"""What each leak of notebook 01 is worth, its honest form, and the alarms that find it."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

import klm_utils as klm
from klm_utils.data.histories import histories
from klm_utils.data.schema import RecDataset
from klm_utils.data.splits import Split
from klm_utils.errors import LeakError
from klm_utils.evaluation import intervals
from klm_utils.evaluation.leaks import changes_with_labels

Features = Callable[[Split], pd.DataFrame]
TOO_GOOD = 0.7  # AUC of one column alone: a tenth above that of an honest model with all columns of the shop


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


def visit(ds: RecDataset, item, rows: int = 6) -> pd.DataFrame:
    """The first purchase of an item and the rows that its visitor saw before it in one list: `title`, `bought`."""
    log = ds.interactions
    end = log[(log["item_id"] == item) & (log["label"] == 1)].iloc[0]
    there = (log["user_id"] == end["user_id"]) & (log["list"] == end["list"])
    near = log[there & log["position"].between(end["position"] - rows + 1, end["position"])]
    return pd.DataFrame({"title": near["item_id"].map(ds.items["title"]), "bought": near["label"].astype(int)})


class Tree:
    """A decision tree on a table of features, fitted on the rows of train; `predict` looks the rows of the log up."""

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


def auc(model: Any, split: Split, rows: pd.DataFrame | None = None) -> intervals.Statistic:
    """Pooled AUC of anything with predict on the rows of test, or on some of them."""
    test = split.test if rows is None else rows
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
        counted: on which rows: "all" (the leak), "others" (all but the row itself: a leak in reverse), "train" (for a
            row of train its own label is in it), or "before": rows of train strictly before the row.
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
    rows = pd.Series(1 if counted in ("all", "others") else log.index.isin(split.train.index).astype(int), log.index)
    bought = log["label"] * rows
    if counted == "before":
        sums = [before(one, group, log["timestamp"]) for one in (bought, rows)]
    else:
        sums = [one.groupby(group).transform("sum") for one in (bought, rows)]
        sums = [one - own for one, own in zip(sums, (bought, rows), strict=True)] if counted == "others" else sums
    return pd.DataFrame({"share": sums[0] / sums[1].where(sums[1] > 0), "at": log["position"]})


def own_label(by: Sequence[str], split: Split) -> pd.DataFrame:
    """What a row's own label in its share of train does, on the test rows that have a share.

    Returns:
        One row: the part of the test rows that have one; AUC with "before" and with "train"; the difference with its
        interval for other users.
    """
    test = split.test[share_by(by, "train")(split)["share"].notna().loc[split.test.index]]
    both = [auc(Tree(share_by(by, counted), split), split, test) for counted in ("train", "before")]
    found = _gain(*both)
    rows = {"rows with a share": len(test) / len(split.test), "strictly before": found["honest"]}
    rows |= {"the row itself too": found["leak"], "difference": found["worth"], "low": found["low"]}
    return pd.DataFrame([rows | {"high": found["high"]}])


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


def worth_of_chance(*sizes: int, draws: int = 3) -> pd.DataFrame:
    """What a share is worth that is counted on random groups of each size: index = size, a column for each draw."""
    split = _tomorrow()

    def reached(size: int, counted: str, seed: int) -> float:
        return auc(Tree(share_by_chance(size, counted, seed), split), split).estimate()

    found = [[reached(n, "all", seed) - reached(n, "before", seed) for seed in range(draws)] for n in sizes]
    return pd.DataFrame(found, index=list(sizes))


def alarms(tables: Mapping[str, Features], split: Split) -> pd.DataFrame:
    """What three alarms say of each table of features; True in `heard`.

    Returns:
        A row per table. `alone`: the AUC of its best single column, whichever direction. `moved`: the largest change of
        a probability on test after a second fit with the labels of test reversed. `truth`: AUC minus that of the true
        probabilities; and the three with `_heard`: alone is above TOO_GOOD; moved is above 0; `klm.evaluate` raises.
    """
    y, best, rows = split.test["label"], None, {}
    if split.dataset.optimum is not None:
        best = klm.metrics.auc(y, split.dataset.optimum[split.test.index])
    for name, fit in trees(tables).items():
        found = [klm.metrics.auc(y, column) for _, column in columns(tables[name], split).items()]
        alone, moved = max([*found, *(1 - one for one in found)]), changes_with_labels(fit, split)
        rows[name] = {"alone": alone, "moved": moved, "alone_heard": alone > TOO_GOOD, "moved_heard": moved > 0}
        model = fit(split)
        rows[name] |= {"truth": auc(model, split).estimate() - best if best else np.nan, "truth_heard": False}
        try:
            klm.evaluate(model, split, n_boot=50)
        except LeakError:
            rows[name]["truth_heard"] = True
    return pd.DataFrame(rows).T


def columns(features: Features, split: Split) -> pd.DataFrame:
    """The columns of a table on the rows of test, float64; where a cell is empty, the median of its column."""
    table = features(split).set_axis(split.dataset.interactions.index).loc[split.test.index].astype(float)
    return table.fillna(table.median())
