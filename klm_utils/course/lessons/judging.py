"""What notebook 06 measures with: other libraries' metrics, sampled ranking, splits, shuffles, a look into lists."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from klm_utils.data import load_dataset
from klm_utils.data.catalogue import choices, positions
from klm_utils.data.schema import RecDataset
from klm_utils.data.splits import Split
from klm_utils.data.splits import split as split_of
from klm_utils.errors import DataError, check_choice, check_number, check_whole
from klm_utils.evaluation import metrics, ranking
from klm_utils.knowledge import graph
from klm_utils.knowledge.controls import KINDS, knowledge, others
from klm_utils.models.choice_baselines import Chooser, KernelRidge

PAIRS_AT_ONCE = 200_000  # that a model is asked for


def disagreements(hits: np.ndarray, relevant: int, k: int) -> pd.DataFrame:
    """One list under five decisions that libraries take in different ways, each decision taken both ways.

    Args:
        hits: 1 where the list holds a relevant item, best place first, int [n].
        relevant: how many relevant items there are, in the list or not.
        k: length that is looked at.
    """
    at_k, places, few = hits[:k], np.arange(1, len(hits) + 1), min(k, relevant)
    discount, steep = 1 / np.log2(places[:k] + 1), 1 / places[:k]
    precision = (np.cumsum(at_k) / places[:k] * at_k).sum()
    first = int(np.flatnonzero(hits)[0]) + 1 if hits.any() else np.inf
    ndcg = (at_k * discount).sum() / discount[:few].sum()
    rows = {
        f"nDCG@{k}: ideal list of min(k, relevant), or of k": (ndcg, (at_k * discount).sum() / discount.sum()),
        f"nDCG@{k}: discount 1 / log2(place + 1), or 1 / place": (ndcg, (at_k * steep).sum() / steep[:few].sum()),
        f"recall@{k}: over relevant, or min(k, relevant)": (at_k.sum() / relevant, at_k.sum() / few),
        f"average precision@{k}: over min(k, relevant), or hits": (precision / few, precision / max(1, at_k.sum())),
        f"reciprocal rank: of the whole list, or cut at {k}": (1 / first, 1 / first if first <= k else 0.0),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["this course", "others"])


def sampled(model: ranking.Model, split: Split, k: int = 10, negatives: int = 100, seed: int = 0) -> float:
    """nDCG@k as many papers have it: each chosen item of test is ranked among so many items drawn for it, not all;
    the mean of each user, then over users.

    Source: Krichene and Rendle 2020, On sampled metrics for item recommendation, section 3.
    """
    negatives, rng = check_whole("negatives", negatives), np.random.default_rng(seed)
    ds, (user, item) = split.dataset, choices(split, split.test)
    met = np.zeros((len(ds.users), len(ds.items)), dtype=bool)
    met[positions(ds, pd.concat([split.train, split.valid, split.test]))] = True
    values, step = np.empty(len(user)), max(1, PAIRS_AT_ONCE // (negatives + 1))
    for start in range(0, len(user), step):
        chunk, lists = slice(start, start + step), []
        for u, i in zip(user[chunk], item[chunk], strict=True):
            free = np.flatnonzero(~met[u])
            lists.append(np.append(rng.choice(free, min(negatives, len(free)), replace=False), i))
        sizes = [len(one) for one in lists]
        scores = ranking.predict(
            model,
            ds.users.index[np.repeat(user[chunk], sizes)].to_numpy(),
            ds.items.index[np.concatenate(lists)].to_numpy(),
        )
        for place, own in enumerate(np.split(scores, np.cumsum(sizes)[:-1]), start):
            above = (own[:-1] > own[-1]).sum() + 0.5 * (own[:-1] == own[-1]).sum()
            values[place] = 1 / np.log2(above + 2) if above < k else 0.0
    return float(pd.Series(values).groupby(user).mean().mean())


def tried(models: Mapping[str, Sequence[Chooser]], split: Split) -> pd.DataFrame:
    """nDCG@10 of each setting on valid and on test, one row each: model, setting, valid, test, and whether valid picks
    it among those of its model.

    Args:
        models: name -> models of one setting each, which are fitted here.
    """
    rows = []
    for name, own in models.items():
        for model in own:
            model.fit(split)
            parts = [ranking.rank(model, split, part=part).values["ndcg@10"].mean() for part in ("valid", "test")]
            rows.append((name, model.setting, *map(float, parts)))
    table = pd.DataFrame(rows, columns=["model", "setting", "valid", "test"])
    return table.assign(picked=table.index.isin(table.groupby("model")["valid"].idxmax()))


def leave_one_out(ds: RecDataset) -> Split:
    """Of each user's chosen rows the last is test, the one before it valid, all others and what came before are train.

    The usual protocol of sequence papers. Train holds rows that are later than the test rows of other users.
    """
    log = ds.interactions
    chosen = ds.chosen(log)
    place = chosen.groupby("user_id").cumcount(ascending=False)
    many = chosen.groupby("user_id")["item_id"].transform("size") >= 3
    test, valid = chosen.index[many & (place == 0)], chosen.index[many & (place == 1)]
    rest = log.index.difference(test).difference(valid)
    protocol = f"{ds.name}, leave-one-out: the last choice of each user is test, the one before it valid"
    return Split(log.loc[rest], log.loc[valid], log.loc[test], protocol, ds, "leave_one_out", log.iloc[:0])


def from_the_future(split: Split) -> float:
    """The share of rows of train that are later than a row of test, mean over the rows of test."""
    times = np.sort(split.train["timestamp"].to_numpy())
    return float(1 - np.searchsorted(times, split.test["timestamp"].to_numpy(), side="right").mean() / len(times))


def damaged(ds: RecDataset, share: float, seed: int = 0) -> RecDataset:
    """The same data set with the tags of a share of its items dealt out among them: wrong, as frequent as before."""
    share, rng = check_number("share", share, 0, 1), np.random.default_rng(seed)
    wrong = rng.permutation(len(ds.items))[: round(share * len(ds.items))]
    tags = ds.items["tags"].tolist()
    for place, other in zip(wrong, wrong[others(len(wrong), seed)] if len(wrong) > 1 else wrong, strict=True):
        tags[place] = ds.items["tags"].iloc[other]
    return replace(ds, items=ds.items.assign(tags=tags))


def learning_split(split: Split, share: float, seed: int = 0) -> Split:
    """The same split with a part of the rows of train; the others are nowhere, so nobody may look at them."""
    share, rng = check_number("share", share, 0, 1), np.random.default_rng(seed)
    kept = np.sort(rng.permutation(len(split.train))[: round(share * len(split.train))])
    if not len(kept):
        raise DataError("nothing is left to learn from", "learning_split(share)", share, "a row of train", "take more")
    parts = {"train": split.train.iloc[kept], "valid": split.valid, "test": split.test, "shown": split.shown}
    protocol = f"{split.protocol}; {share:.0%} of the rows of train"
    return of_these(split.dataset, {part: rows.index for part, rows in parts.items()}, protocol, split.name)


def of_these(ds: RecDataset, parts: Mapping[str, pd.Index], protocol: str, name: str) -> Split:
    """A split whose data set has these rows of the log and no others, so that nobody looks at them."""
    log = ds.interactions.loc[sorted(row for rows in parts.values() for row in rows)]
    small = replace(ds, interactions=log.reset_index(drop=True), optimum=None)
    where = pd.Series(np.arange(len(log)), log.index)
    none = pd.Index([], dtype=log.index.dtype)
    train, valid, test, shown = (
        small.interactions.iloc[np.sort(where[parts.get(part, none)])] for part in ("train", "valid", "test", "shown")
    )
    return Split(train, valid, test, protocol, small, name, shown)


def band(
    fit: Callable[[np.ndarray], ranking.Model], vectors: np.ndarray, split: Split, deals: int, seed: int = 0
) -> tuple[float, np.ndarray]:
    """nDCG@10 with the vectors of the items as they are, and dealt out anew so many times: value, float [deals].

    Args:
        fit: vectors -> a fitted model.
    """
    among = "part" if split.name == "cold_item" else "all"

    def reached(own: np.ndarray) -> float:
        return float(ranking.rank(fit(own), split, among=among).values["ndcg@10"].mean())

    rng = np.random.default_rng(seed)
    dealt = [reached(vectors[others(len(vectors), int(s))]) for s in rng.integers(0, 2**31, deals)]
    return reached(vectors), np.array(dealt)


def by_popularity(model: ranking.Model, split: Split, parts: int = 10) -> pd.DataFrame:
    """AUC and share of the test rows by how many rows of train an item has, least first; ten parts of equal rows."""
    count = split.test["item_id"].map(split.train["item_id"].value_counts()).fillna(0)
    group = pd.qcut(count.rank(method="first"), parts, labels=False)
    p = ranking.predict(model, split.test["user_id"].to_numpy(), split.test["item_id"].to_numpy())
    rows = []
    for part in range(parts):
        here = (group == part).to_numpy()
        y = split.test["label"].to_numpy()[here]
        rows.append((count[here].median(), metrics.auc(y, p[here]), y.mean(), p[here].mean()))
    return pd.DataFrame(rows, columns=["rows of the item in train", "auc", "liked", "predicted"])


def of_lists(model: ranking.Model, split: Split, vectors: np.ndarray, k: int = 10) -> dict[str, float]:
    """What lists are like beside their hits.

    coverage: share of the items in any list; novelty: mean of -log2(share of users who chose the item in train);
    diversity: one minus the mean cosine of two items of a list; gini: of how often items are listed (1: always one).
    """
    found = ranking.rank(model, split, check_whole("of_lists(k)", k, 2))
    listed = found.top[(found.top >= 0).all(1)]
    share = np.bincount(choices(split, split.train)[1], minlength=len(split.dataset.items)) + 1
    surprise = -np.log2(share / (split.train["user_id"].nunique() + 1))
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    alike = (unit[listed].sum(1) ** 2).sum(1)  # of all k * k pairs, the k of an item with itself being 1 each
    shown = np.sort(np.bincount(listed.ravel(), minlength=len(share)))
    n = len(shown)
    return {
        f"ndcg@{k}": float(found.values[f"ndcg@{k}"].mean()),
        "coverage": float((shown > 0).mean()),
        "novelty": float(surprise[listed].mean()),
        "diversity": float(1 - ((alike - k) / (k * (k - 1))).mean()),
        "gini": float(((2 * np.arange(1, n + 1) - n - 1) * shown).sum() / (n * shown.sum())),
    }


def gap_to_the_optimum(
    models: Mapping[str, ranking.Model], split: Split, segments: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """AUC of the true probabilities minus that of each model, by segment of the test rows; simulated data only.

    Args:
        segments: {name: bool [rows of test]}.
    """
    if split.dataset.optimum is None:
        raise DataError("nobody knows the truth of this data set", split.dataset.name, None, "optimum", "use the shop")
    y, best = split.test["label"].to_numpy(), split.dataset.optimum[split.test.index]
    rows = {}
    for name, here in segments.items():
        rows[name] = {"rows": int(here.sum()), "ceiling": metrics.auc(y[here], best[here])}
        for label, model in models.items():
            p = ranking.predict(model, split.test["user_id"].to_numpy()[here], split.test["item_id"].to_numpy()[here])
            rows[name][label] = rows[name]["ceiling"] - metrics.auc(y[here], p)
    return pd.DataFrame.from_dict(rows, orient="index")


def controls(vectors: np.ndarray, seed: int = 0, kinds: Sequence[str] = KINDS) -> dict[str, Callable]:
    """{kind: build(split, number)}: kernel ridge with these vectors of the items as they are, dealt out to other items,
    drawn at random with the same mean and covariance, and without them.

    Its setting is fixed, so that no kind is tuned better than another.
    """

    def build(kind: str) -> Callable:
        own = knowledge(vectors, kind, seed) if kind != "absent" else None
        return lambda split, number: KernelRidge(own, (1.0,), (3.0,)).fit(split)

    return {kind: build(kind) for kind in kinds}


def as_vectors(tags: Sequence[Sequence[str]]) -> np.ndarray:
    """One column per tag that two or more items have, 1 where an item has it; float [items, tags]."""
    found = pd.Series([list(dict.fromkeys(own)) for own in tags]).explode().dropna()
    table = pd.crosstab(found.index, found).reindex(range(len(tags)), fill_value=0)
    return table.loc[:, table.sum() >= 2].to_numpy(dtype=float)


def both_new(ds: RecDataset, fold: int) -> dict[str, Split]:
    """The test rows of one question each, by who is new: nobody, the user, the item, both; one train for all four.

    Train and valid lack the users of this fold of `cold_user` and the items of this fold of `cold_item`. "nobody is
    new" tests a tenth of the other rows, drawn at random; another tenth is valid.
    """
    users, items = split_of(ds, "cold_user", fold=fold), split_of(ds, "cold_item", fold=fold)
    new_user = ds.interactions["user_id"].isin(users.test["user_id"]).to_numpy()
    new_item = ds.interactions["item_id"].isin(items.test["item_id"]).to_numpy()
    drawn = np.random.default_rng(fold).permutation(np.flatnonzero(~new_user & ~new_item))
    tenth = len(drawn) // 10
    tests = {
        "nobody is new": drawn[:tenth],
        "the user is new": np.flatnonzero(new_user & ~new_item),
        "the item is new": np.flatnonzero(~new_user & new_item),
        "both are new": np.flatnonzero(new_user & new_item),
    }
    protocol = f"{ds.name}, users and items of fold {fold} are new"
    both = {"train": pd.Index(drawn[2 * tenth :]), "valid": pd.Index(drawn[tenth : 2 * tenth])}
    return {name: of_these(ds, both | {"test": pd.Index(rows)}, protocol, "both_new") for name, rows in tests.items()}


class Constant:
    """The same score for everything."""

    def predict(self, users, items):
        return np.full(len(users), 0.5)


def recall_of_a_constant(split: Split, popular: ranking.Model) -> dict[str, float]:
    """recall@10 of a model without an opinion: its ties in random order, as here, or in the order of popularity."""
    models = {"ties in random order": Constant(), "ties in the order of popularity": popular}
    return {name: float(ranking.rank(model, split).values["recall@10"].mean()) for name, model in models.items()}


def knowledge_of(name: str, ds: RecDataset, text: np.ndarray) -> tuple[RecDataset, np.ndarray]:
    """A data set and vectors of its items that are to be controlled: "text", "tags" (of films whose table lacks them),
    "mislinked graph" (of films, RecBole's), "shop graph" (of the shop, where they are true)."""
    check_choice("knowledge", name, ("text", "tags", "mislinked graph", "shop graph"))
    if name == "text":
        return ds, text
    if name == "tags":
        return replace(ds, items=ds.items.assign(tags=[[]] * len(ds.items))), as_vectors(ds.items["tags"])
    source = load_dataset("shop" if name == "shop graph" else "movielens-100k-mislinked")
    return ds if name == "mislinked graph" else source, as_vectors(graph.as_tags(graph.facts(source)))
