"""Full ranking: every candidate item of every user is scored and sorted, none is sampled."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from klm_utils import progress
from klm_utils.data.catalogue import choices, positions
from klm_utils.data.rules import places
from klm_utils.data.splits import Split
from klm_utils.errors import ConfigError, DataError, check_choice, check_seed, check_whole
from klm_utils.evaluation import metrics

PAIRS_AT_ONCE = 400_000  # bounds memory: about 20 MB of ids, scores and ranks for a chunk of users
Pairs = tuple[np.ndarray, np.ndarray]  # rows and columns


class Model(Protocol):
    """What can be evaluated. `name` and `objective` are used where a model has them."""

    def predict(self, user_ids, item_ids) -> np.ndarray:
        """The probability of each pair, [n]."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """What full ranking yields for each user.

    users: ids of the users with a relevant candidate, [users].
    values: for each metric (`ndcg@10`, ...) its value for each user, float [users].
    top: the first k items of each user as positions among the candidates, best first, int [users, k]; -1 = no item.
    candidates: ids of the items that could be ranked, [n].
    protocol: what was ranked, in one sentence.
    """

    users: np.ndarray
    values: dict[str, np.ndarray]
    top: np.ndarray
    candidates: np.ndarray
    protocol: str


def rank(model: Model, split: Split, k: int = 10, *, part: str = "test", among: str = "all", seed: int = 0) -> Ranking:
    """Rank all candidates of every user who has a chosen row in `part`.

    Candidates are all items of the data set (`among="all"`) or those of the part (`among="part"`: the cold items of a
    cold_item split among themselves), without those the user has met: in train, in the shown rows, and for the test
    part in valid. A chosen item that the user has met before is no candidate and not relevant either.

    Args:
        model: anything with `predict(user_ids, item_ids) -> [n]`; only the order of its scores matters here. If it has
            `predict_grid(user_ids, item_ids) -> [users, items]`, that is called: the same numbers, faster.
        split: a `Split`.
        k: length of the lists.
        part: "test" or "valid".
        among: "all" or "part".
        seed: order of tied scores.

    Raises:
        DataError: nobody has a relevant candidate, or `predict` returns the wrong shape or a value that is not finite.
        ConfigError: model, split, k, part, among or seed has no meaning.

    Source: Krichene and Rendle 2020, On sampled metrics for item recommendation (why nothing is sampled).
    """
    check_model("rank(model)", model)
    check_split("rank(split)", split)
    k, seed = check_whole("k", k), check_seed(seed, "seed")
    check_choice("part", part, ("test", "valid"))
    check_choice("among", among, ("all", "part"))
    frame = getattr(split, part)
    items = pd.Index(pd.unique(frame["item_id"])) if among == "part" else split.dataset.items.index
    users, met, relevant = _tables(split, part, items)
    if not len(users):
        where, expected = f"split.{part} of {split.name!r}", "a user with a chosen item not met before"
        raise DataError("Nobody has anything to rank", where, f"{len(frame)} rows", expected, "use more data")
    rng = np.random.default_rng(seed)
    step = max(1, PAIRS_AT_ONCE // len(items))
    values, top = [], []
    for start in progress.Bar(range(0, len(users), step), "ranking", unit_scale=step, unit=" users"):
        chunk = slice(start, start + step)
        scores = _score(model, users[chunk], items)
        scores[_dense(met, chunk, scores.shape)] = -np.inf
        hits, count, order = metrics.ranked_hits(_dense(relevant, chunk, scores.shape).astype(float), scores, rng)
        values.append(_values(hits, count, k))
        first = order[:, :k]
        top.append(np.where(np.isneginf(np.take_along_axis(scores, first, -1)), -1, first))
    what = f"the {len(items)} items of the {part} part" if among == "part" else f"all {len(items)} items"
    before = ("shown, " if len(split.shown) else "") + ("train or valid" if part == "test" else "train")
    protocol = f"full ranking of {what}, without those the user met in {before}"
    merged = {name: np.concatenate([v[name] for v in values]) for name in values[0]}
    return Ranking(users.to_numpy(), merged, np.concatenate(top), items.to_numpy(), protocol)


def check_model(where: str, model: object) -> None:
    """Raise `ConfigError` unless this has a predict to call."""
    if isinstance(model, type) or not callable(getattr(model, "predict", None)):
        expected = "a model: anything with predict(user_ids, item_ids) -> probabilities [n]"
        remedy = "pass the model first, then the split; a class must be built, and fitted, before"
        raise ConfigError("this cannot be evaluated: it has no predict", where, model, expected, remedy)


def check_split(where: str, split: object) -> None:
    """Raise `ConfigError` unless this has the parts of a `Split`."""
    missing = [part for part in ("train", "valid", "test", "shown", "dataset") if not hasattr(split, part)]
    if missing:
        raise ConfigError(f"this is no split: it has no {missing[0]}", where, split, "a Split", "klm.split(ds, ...)")


def predict(model: Model, user_ids: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
    """`model.predict`, checked: float64 [n]; what is not one finite number per pair raises `DataError`."""
    return _checked(model, model.predict(user_ids, item_ids), user_ids, item_ids)


def _checked(model: Model, scores, user_ids: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
    name = model_name(model)
    where = f"{name}.predict(user_ids, item_ids)"
    scores = metrics.numbers(scores, where)
    if scores.shape != (len(user_ids),):
        what, expected = (
            f"The model {name!r} returns scores of the wrong shape",
            f"({len(user_ids)},): one for each pair",
        )
        raise DataError(what, where, scores.shape, expected, "return a flat array in the order of the pairs")
    if not np.isfinite(scores).all():
        at = int(np.flatnonzero(~np.isfinite(scores))[0])
        what, where = (
            f"The model {name!r} returns a score that is not finite",
            f"user {user_ids[at]}, item {item_ids[at]}",
        )
        remedy = "look for a division by zero or a training that diverged"
        raise DataError(what, f"{name}.predict: {where}", float(scores[at]), "a finite number", remedy)
    return scores


def model_name(model: Model) -> str:
    """The model's `name`, else its class."""
    return str(getattr(model, "name", None) or type(model).__name__)


def _tables(split: Split, part: str, items: pd.Index) -> tuple[pd.Index, Pairs, Pairs]:
    """Users with a relevant candidate, and for them (row, column) of what they met and of what is relevant."""
    ds, n = split.dataset, len(split.dataset.items)
    before = [split.train, split.shown] + ([split.valid] if part == "test" else [])
    user, item = positions(ds, pd.concat([frame for frame in before if len(frame)]))
    chosen_by, chosen = choices(split, getattr(split, part))
    met = np.unique(user * n + item)
    new = np.setdiff1d(chosen_by * n + chosen, met)
    users = pd.Index(np.sort(ds.users.index[np.unique(new // n)]))
    row, column = places(users, ds.users.index), places(items, ds.items.index)
    return users, _cells(met, row, column), _cells(new, row, column)


def _cells(pairs: np.ndarray, row: np.ndarray, column: np.ndarray) -> Pairs:
    """user * items + item as cells of a table with these rows and columns, -1 for none; row after row."""
    rows, columns = row[pairs // len(column)], column[pairs % len(column)]
    known = (rows >= 0) & (columns >= 0)
    order = np.argsort(rows[known], kind="stable")
    return rows[known][order], columns[known][order]


def _dense(pairs: Pairs, chunk: slice, shape: tuple) -> np.ndarray:
    rows, columns = pairs
    low, high = np.searchsorted(rows, [chunk.start, chunk.stop])
    table = np.zeros(shape, dtype=bool)
    table[rows[low:high] - chunk.start, columns[low:high]] = True
    return table


def _score(model: Model, users: pd.Index, items: pd.Index) -> np.ndarray:
    """Scores of all pairs, float64 [users, items]: from `predict_grid` where the model has it, else from `predict`."""
    pairs = np.repeat(users.to_numpy(), len(items)), np.tile(items.to_numpy(), len(users))
    if hasattr(model, "predict_grid"):
        grid = metrics.numbers(model.predict_grid(users.to_numpy(), items.to_numpy()), "predict_grid")
        return _checked(model, grid.ravel(), *pairs).reshape(len(users), len(items)).copy()
    return predict(model, *pairs).reshape(len(users), len(items)).copy()


def _values(hits: np.ndarray, relevant: np.ndarray, k: int) -> dict[str, np.ndarray]:
    return {
        f"ndcg@{k}": metrics.user_ndcg(hits, relevant, k),
        f"recall@{k}": metrics.user_recall(hits, relevant, k),
        f"hit_rate@{k}": metrics.user_hit(hits, relevant, k),
        "mrr": metrics.user_reciprocal_rank(hits, relevant, hits.shape[1]),
        f"map@{k}": metrics.user_average_precision(hits, relevant, k),
    }
