"""Facts of items as vectors: counted, weighted and reduced."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.linalg import ArpackError
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from klm_utils.errors import DataError, check_kind, check_seed, check_whole

WIDTH = 64


class FactVectors:
    """Facts as `width` numbers of length 1: each fact counts, a rare one more (idf), and a few directions remain (SVD).

    Thousands of facts for a thousand items would be learnt by heart; in the directions that remain, facts that occur
    together lie together. Which facts there are, how much each weighs, and the directions are learnt on one table and
    applied to others: a fact that was not met is nothing, and an item without any is zero.

    columns: the lists of str that the facts stand in. facts: "directors=Woody Allen", in the order of the rows of
    axes, float32 [facts, width], which the vectors are sums of.

    Source: Deerwester et al. 1990, Indexing by Latent Semantic Analysis.
    """

    def __init__(self, columns: Sequence[str], facts: Sequence[str], axes: np.ndarray):
        self.columns, self.facts, self.axes = tuple(columns), list(facts), axes
        self._at = {fact: i for i, fact in enumerate(self.facts)}

    @classmethod
    def fit(cls, frame: pd.DataFrame, columns: Sequence[str], width: int = WIDTH, seed: int = 0) -> "FactVectors":
        """Learn from a table of items: of those in train only.

        Args:
            frame: one row per item.
            columns: names of columns with lists of str.
            width: numbers per item; fewer where there are fewer facts or items.
            seed: of the SVD.

        Raises:
            DataError: a column that is not there, or holds something else; no fact at all.
            ConfigError: no DataFrame, no width, no seed.
        """
        width, seed = check_whole("width", width), check_seed(seed, "FactVectors.fit(seed)")
        bags = facts_in(frame, columns)
        if not any(bags):
            remedy = "name other columns, or leave facts out"
            raise DataError("nothing is known of any item", "FactVectors.fit", list(columns), "a fact at least", remedy)
        counts = TfidfVectorizer(analyzer=_itself)
        weighted = counts.fit_transform(bags)
        width = min(width, weighted.shape[1], weighted.shape[0])
        axes = (counts.idf_[:, None] * _directions(weighted, width, seed).T).astype("float32")
        return cls(columns, counts.get_feature_names_out().tolist(), axes)

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """The vectors of a table of items, float32 [len(frame), width]; `DataError` as `fit`."""
        out = np.zeros((len(frame), self.axes.shape[1]), dtype="float32")
        for row, bag in zip(out, facts_in(frame, self.columns), strict=True):
            row += self.axes[[self._at[fact] for fact in bag if fact in self._at]].sum(0)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def _directions(weighted: sparse.csr_matrix, width: int, seed: int) -> np.ndarray:
    """The leading right singular vectors, float [width, facts]."""
    if width == min(weighted.shape):  # all of them: the SVD is no approximation, and scikit-learn's would refuse
        return np.linalg.svd(weighted.toarray(), full_matrices=False)[2][:width]
    try:
        return TruncatedSVD(width, algorithm="arpack", random_state=seed).fit(weighted).components_
    except ArpackError:  # where few films share a fact, directions are equally long, and it may find no end
        return TruncatedSVD(width, n_iter=20, random_state=seed).fit(weighted).components_


def facts_in(frame: pd.DataFrame, columns: Sequence[str]) -> list[list[str]]:
    """Of each row its facts, each once: "directors=Woody Allen".

    Raises:
        DataError: a column that is not there; a value that is no list of str.
        ConfigError: no table; one name in place of several.
    """
    check_kind("facts_in(frame)", frame, pd.DataFrame, "a table of items", "pass ds.items")
    check_kind("facts_in(columns)", columns, tuple | list, "a tuple of names", "pass ds.facts")
    bags: list[list[str]] = [[] for _ in range(len(frame))]
    for name in columns:
        if name not in frame:
            there = ", ".join(map(str, frame.columns))
            raise DataError("no such column of facts", "facts", name, there, "name columns of the table of items")
        for i, value in enumerate(frame[name]):
            if not isinstance(value, list) or not all(isinstance(fact, str) for fact in value):
                where, remedy = f"column {name}, item {frame.index[i]!r}", "write [] where nothing is known"
                raise DataError("facts are no list of texts", where, value, "a list of str", remedy)
            bags[i] += [f"{name}={fact}" for fact in dict.fromkeys(value)]
    return bags


def _itself(bag: Any) -> Any:
    """The analyzer of a text that is a list already; a lambda could not be pickled by a parallel fit."""
    return bag
