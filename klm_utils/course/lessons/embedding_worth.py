"""What vectors are worth before any training: users from what they rated, goods from tags, cheap rivals, shuffles.

Vectors are float [n, width], one row per item in the order of `ds.items`, unless said otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from klm_utils.data.features import item_features
from klm_utils.data.schema import RecDataset, title_text
from klm_utils.data.splits import Split
from klm_utils.data.splits import split as split_of
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.embedding.pooling import bag_vectors
from klm_utils.evaluation import intervals

Encode = Callable[[list[str]], np.ndarray]
ONE_LIST, ANOTHER = "one list for all", "another user"  # the controls of `gains`


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its length; a row of zeros stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def centred(vectors: np.ndarray, fit: np.ndarray | None = None) -> np.ndarray:
    """Rows minus the mean of `fit` (rows, or None: all of them), of length 1."""
    return unit(vectors - vectors[slice(None) if fit is None else fit].mean(0))


# The rivals.


def letters(texts: Sequence[str], fit: np.ndarray | None = None) -> np.ndarray:
    """The cheap rival: tf-idf of groups of 3 to 5 letters (of 1 to 3 characters if not Latin). It knows no meaning.

    The groups and their weights are those of the texts in `fit` (bool [texts], or None: all). Nothing is compressed:
    the rows, [texts, texts], have the products of the counts, and are shorter than those.
    """
    latin = np.mean([text.isascii() for text in texts]) > 0.5
    grams = TfidfVectorizer(analyzer="char", ngram_range=(3, 5) if latin else (1, 3))
    grams.fit([text for at, text in enumerate(texts) if fit is None or fit[at]])
    counts = grams.transform(texts)
    return np.linalg.cholesky((counts @ counts.T).toarray() + 1e-9 * np.eye(len(texts)))  # some texts are equal


def genres(ds: RecDataset) -> np.ndarray:
    """One column per tag that the items have: 1 where the item has it."""
    tags = sorted({tag for own in ds.items["tags"] for tag in own})
    return np.array([[float(tag in own) for tag in tags] for own in ds.items["tags"]])


def year(split: Split) -> np.ndarray:
    """A column of 0 and 1 per span of years, as the course's models get them."""
    return item_features(split, columns=["year"])[1]


def genres_and_year(split: Split) -> np.ndarray:
    """A column of 0 and 1 per genre and per span of years, as the course's models get them."""
    return item_features(split, columns=["tags", "year"])[1]


# A user is what they rated: nothing is trained.


def tastes(split: Split) -> sparse.csr_array:
    """Label minus the user's own mean, of the rows of train, [users, items]; 0 where there is no row."""
    train, ds = split.train, split.dataset
    taste = train["label"] - train.groupby("user_id")["label"].transform("mean")
    at = ds.users.index.get_indexer(train["user_id"]), ds.items.index.get_indexer(train["item_id"])
    return sparse.csr_array((taste, at), (len(ds.users), len(ds.items)))


def in_train(split: Split) -> np.ndarray:
    """Whether an item has a row in train, bool [items]."""
    return split.dataset.items.index.isin(split.train["item_id"].unique())


def story(split: Split, user_id: int, users: np.ndarray, items: np.ndarray, k: int = 3) -> tuple[list, list]:
    """For the picture: the k films of a user that weigh most and least, and their new films, nearest first.

    Args:
        users, items: of length 1, [users, width] and [items, width].

    Returns:
        (title, weight) of the history; (title, cosine, label) of the rows of test.
    """
    ds = split.dataset
    row, titles = ds.users.index.get_loc(user_id), [title_text(title) for title in ds.items["title"]]
    taste = tastes(split)[[row]].toarray()[0]
    often = split.train["item_id"].value_counts().reindex(ds.items.index, fill_value=0).to_numpy()
    order = [at for at in np.lexsort((-often, -taste)) if taste[at]]  # of equal weights the best known first
    liked, not_liked = order[:k], [at for at in np.lexsort((-often, taste)) if taste[at]][:k]
    test = split.test[split.test["user_id"] == user_id]
    at = ds.items.index.get_indexer(test["item_id"])
    found = [(titles[i], float(items[i] @ users[row]), int(y)) for i, y in zip(at, test["label"], strict=True)]
    return [(titles[i], float(taste[i])) for i in (*liked, *not_liked)], sorted(found, key=lambda one: -one[1])


def places(split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row of test the user (row of `ds.users`) and the place of its item among those of test; these items."""
    ds, test = split.dataset, split.test
    wanted, item = np.unique(ds.items.index.get_indexer(test["item_id"]), return_inverse=True)
    return ds.users.index.get_indexer(test["user_id"]), item, wanted


def auc(split: Split, users: np.ndarray, items: np.ndarray, rows: np.ndarray | None = None) -> intervals.Statistic:
    """Mean over users of the AUC among their own test rows, where a score is the product of two vectors.

    Args:
        rows: which rows of test count, bool [rows]; None: all.
    """
    u, i, wanted = places(split)
    scores, some = (users @ items[wanted].T)[u, i].round(7), slice(None) if rows is None else rows
    test = split.test[some]
    return intervals.user_auc(test["user_id"].to_numpy(), test["label"].to_numpy(float), scores[some])


def everybody(users: np.ndarray) -> np.ndarray:
    """The mean user in the place of each: one list for all."""
    return np.tile(unit(users).mean(axis=0), (len(users), 1))


def shuffled(
    split: Split, users: np.ndarray | Callable[[np.ndarray], np.ndarray], items: np.ndarray, draws: int
) -> np.ndarray:
    """`auc` with the vectors of the items given to other items, [draws]: what this reader reaches by chance.

    Args:
        users: their vectors, or the linear map that makes them from those of the items, such as `tastes(split).dot`.
    """
    u, i, wanted = places(split)
    liked = split.test["label"].to_numpy() == 1
    rows = pd.DataFrame({"user": u, "row": np.arange(len(u))})
    pairs = rows[liked].merge(rows[~liked], on="user")  # every liked row of a user with every other one
    weight = 1 / pairs.groupby("user")["user"].transform("size").to_numpy() / pairs["user"].nunique()
    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        x = items[rng.permutation(len(items))].astype("float32")
        scores = (users(x @ x[wanted].T) if callable(users) else users @ x[wanted].T)[u, i]
        gap = scores[pairs["row_x"].to_numpy()] - scores[pairs["row_y"].to_numpy()]
        found.append(weight @ (np.sign(gap.round(6)) + 1) / 2)
    return np.array(found)


class FilmsWorth(NamedTuple):
    """What each reader says of new films.

    table, one_list, another: AUC [folds, readers] of the users' own vectors; of the mean user in the place of each; of
        another user's vector in the place of each. bands: AUCs of the shuffles of each reader, means over folds
        [draws]. shared: rows of test over rows of train.
    """

    table: pd.DataFrame
    one_list: pd.DataFrame
    another: pd.DataFrame
    bands: dict[str, np.ndarray]
    shared: float


def films_worth(ds: RecDataset, readers: Mapping, folds: Sequence[int], shuffles: int) -> FilmsWorth:
    """What each reader says of new films: each is new in one of ten folds.

    Args:
        readers: name -> vectors of the items, or a function that makes them from a split.
    """
    tables: list[dict[int, dict]] = [{fold: {} for fold in folds} for _ in range(3)]
    bands, shared = {name: np.zeros((len(folds), shuffles)) for name in readers}, []
    for number, fold in enumerate(folds):
        split = split_of(ds, "cold_item", fold=fold)
        taste, known = tastes(split).astype("float32"), in_train(split)
        order = np.random.default_rng(fold).permutation(len(ds.users))
        for name, vectors in readers.items():
            x = centred(vectors(split) if callable(vectors) else vectors, known)
            users = taste @ x
            for table, who in zip(tables, (users, everybody(users), users[order]), strict=True):
                table[fold][name] = auc(split, who, x).estimate()
            bands[name][number] = shuffled(split, taste.dot, x, shuffles)
        shared.append(len(split.test) / len(split.train))
    own, one_list, another = (pd.DataFrame(table).T.rename_axis("fold") for table in tables)
    means = {name: band.mean(0) for name, band in bands.items()}
    return FilmsWorth(own, one_list, another, means, float(np.mean(shared)))


def gains(films: FilmsWorth, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Mean over the folds of the difference of two readers, with its interval for other films too.

    Args:
        pairs: (reader, another reader, or `ONE_LIST` or `ANOTHER`: the reader's own control).
    """
    controls, found = {ONE_LIST: films.one_list, ANOTHER: films.another}, {}
    for one, other in pairs:
        rival = controls[other][one] if other in controls else films.table[other]
        minus = (films.table[one] - rival).to_numpy()
        low, high = intervals.over_splits(minus, films.shared)
        found[f"{one} minus {other}"] = {"mean": minus.mean(), "item interval from": low, "to": high}
    return pd.DataFrame(found).T


# The shop: interests of a user against tags of an item.


def shop_vectors(split: Split, encode: Encode) -> tuple[np.ndarray, np.ndarray]:
    """Users (the mean of their interests) and items (the mean of their tags), not centred."""
    ds = split.dataset
    return bag_vectors(encode, ds.users["interests"].tolist()), bag_vectors(encode, ds.items["tags"].tolist())


def old(ds: RecDataset) -> np.ndarray:
    """Whether an item of the shop is there from the first day, bool [items]."""
    return (ds.items["launched"] == ds.items["launched"].min()).to_numpy()


def centrings(split: Split, users: np.ndarray, items: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Users and items of length 1: as they are, with one side centred, and both; the mean user in the place of each.

    Means are of the users of train and of the goods of the first day.
    """
    known, there = split.dataset.users.index.isin(split.train["user_id"]), old(split.dataset)
    u, i = unit(users), unit(items)
    cu, ci = centred(users, known), centred(items, there)
    return {
        "nothing": (u, i),
        "items": (u, ci),
        "users": (cu, i),
        "both": (cu, ci),
        "mean user alone": (everybody(u), i),
    }


def _looked_up(rows: pd.DataFrame, words: Sequence[str]) -> np.ndarray:
    return rows.loc[list(words)].to_numpy()


class ShopWorth(NamedTuple):
    """ "reader, language" -> (AUC, low, high) for other users; -> AUCs of its shuffles [shuffles]; a row each: the AUC
    among the goods of the first day, and among the new ones."""

    values: dict[str, tuple[float, float, float]]
    bands: dict[str, np.ndarray]
    apart: pd.DataFrame


def shop_worth(shops: Mapping[str, RecDataset], encoders: Mapping[str, TextEncoder], shuffles: int) -> ShopWorth:
    """What each encoder, and letters fitted on the tags of the older goods, say of the shop in each language."""
    found, bands, apart = {}, {}, {}
    for language, ds in shops.items():
        split, there = split_of(ds, "temporal"), old(ds)
        older = {tag for own in ds.items["tags"][there] for tag in own}
        words = sorted({tag for part in (ds.items["tags"], ds.users["interests"]) for own in part for tag in own})
        rows = pd.DataFrame(letters(words, np.isin(words, list(older))), words)
        ways: dict[str, Encode] = {name: encoder.encode for name, encoder in encoders.items()}
        ways["letters"] = partial(_looked_up, rows)
        known = np.isin(split.test["item_id"], ds.items.index[there])
        for reader, encode in ways.items():
            name = f"{reader}, {language}"
            both = centrings(split, *shop_vectors(split, encode))["both"]
            stat = auc(split, *both)
            found[name] = (stat.estimate(), *intervals.interval(stat, n_boot=500))
            bands[name] = shuffled(split, *both, shuffles)
            goods = {"older": known, "new": ~known}
            apart[name] = {which: auc(split, *both, rows=rows).estimate() for which, rows in goods.items()}
    return ShopWorth(found, bands, pd.DataFrame(apart).T)


# One list for everybody.


def agreement(users: np.ndarray, items: np.ndarray, n: int = 200) -> float:
    """Mean rank correlation of the lists of two users, among the first n of them; 1 is one list for everybody."""
    places = np.argsort(np.argsort(users[:n] @ items.T, axis=1), axis=1)
    return float(np.asarray(np.corrcoef(places))[np.triu_indices(min(n, len(users)), 1)].mean())


def shared_top(users: np.ndarray, items: np.ndarray, n: int = 200, k: int = 10) -> float:
    """How many of their first k items two users share, the mean over the pairs among the first n users."""
    first = np.argsort(-(users[:n] @ items.T), axis=1)[:, :k]
    listed = np.zeros((len(first), len(items)))
    np.put_along_axis(listed, first, 1, axis=1)
    return float((listed @ listed.T)[np.triu_indices(len(first), 1)].mean())


def alike(split: Split, ways: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """A row per way to centre: AUC, and how alike the lists of two users are."""
    measures = {"AUC of a user": lambda *both: auc(split, *both).estimate()}
    measures |= {"agreement": agreement, "top ten shared": shared_top}
    rows = {way: {name: measure(*both) for name, measure in measures.items()} for way, both in ways.items()}
    return pd.DataFrame(rows).T.rename_axis("what is centred")
