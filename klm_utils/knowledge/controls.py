"""Knowledge true, shuffled, random, absent: a gain that survives the wrong knowledge is no gain from knowledge."""

from dataclasses import replace

import numpy as np

from klm_utils.data.rules import floats
from klm_utils.data.schema import RecDataset
from klm_utils.errors import DataError, check_choice, check_kind, check_number, check_seed

KINDS = ("true", "shuffled", "random", "absent")


def knowledge(X: np.ndarray, kind: str, seed: int = 0) -> np.ndarray:
    """The vectors of n items, or a control of the same shape.

    - true: X itself.
    - shuffled: the rows of X, each at another item (n > 1). Every statistic of X is kept but the pairing.
    - random: draws from the Gaussian with the mean and covariance of X. Rows of X of length 1 do not stay so.
    - absent: zeros.

    Args:
        X: float [n, width], finite.
        kind: one of the four.
        seed: of the shuffle and the draws.

    Returns:
        float32 [n, width], never X's own memory.

    Raises:
        ConfigError: an unknown kind; no seed.
        DataError: X is not a finite table of real numbers, none masked; one row is to be shuffled.

    Source: Hewitt and Liang 2019, Designing and Interpreting Probes with Control Tasks, for the idea of a control.
    """
    check_choice("kind", kind, KINDS)
    seed = check_seed(seed, "knowledge(seed)")
    X = _finite_table(X)
    if kind == "shuffled":
        X = X[others(len(X), seed)]
    elif kind == "random":
        rng = np.random.default_rng(seed)
        mean = X.mean(0)
        covariance = (X - mean).T @ (X - mean) / len(X)
        X = rng.multivariate_normal(mean, covariance, size=len(X), check_valid="ignore", method="eigh")
    elif kind == "absent":
        X = np.zeros_like(X)
    return X.astype("float32")


def facts_shuffled(ds: RecDataset, seed: int = 0, share: float = 1.0) -> RecDataset:
    """The data set with the facts of each item (`ds.facts`, and its `entity` in the graph) at another item.

    Args:
        share: of the items, chosen at random, that exchange their facts; the others keep what is theirs.

    Raises:
        DataError: the data set has no facts; one item alone would exchange.
        ConfigError: no data set, no seed, a share outside 0 to 1.
    """
    check_kind("facts_shuffled(ds)", ds, RecDataset, "a RecDataset", "klm.load_dataset('movielens-100k')")
    if not ds.facts:
        remedy = "name its columns of facts: RecDataset.from_frames(..., facts=('directors',))"
        raise DataError("the data set has no facts", f"facts_shuffled({ds.name})", ds.facts, "columns of items", remedy)
    seed, share = check_seed(seed, "facts_shuffled(seed)"), check_number("facts_shuffled(share)", share, 0, 1)
    place = np.arange(len(ds.items))
    chosen = np.sort(np.random.default_rng([seed, 1]).permutation(place)[: round(share * len(place))])
    if len(chosen):
        place[chosen] = chosen[others(len(chosen), seed)]
    columns = [*ds.facts, *(["entity"] if "entity" in ds.items else [])]
    dealt = {name: ds.items[name].array[place] for name in columns}
    return replace(ds, items=ds.items.assign(**dealt))


def others(n: int, seed: int = 0) -> np.ndarray:
    """For each of n things (n > 1) another one, each taken once, int [n]: the next stop on a random round trip.

    Raises:
        DataError: there is one thing, which has no other: it would keep what is its own, and be no control.
    """
    if n == 1:
        remedy = "use 'absent' as the control, or more items"
        raise DataError("one thing alone cannot be shuffled", "others(n)", n, "2 or more", remedy)
    trip = np.random.default_rng(seed).permutation(n)
    place = np.empty(n, dtype=int)
    place[trip] = np.roll(trip, 1)
    return place


def _finite_table(X) -> np.ndarray:
    try:
        X = floats(X)
    except (TypeError, ValueError):
        X = np.array(np.nan)
    if X.ndim == 2 and len(X) and np.isfinite(X).all():
        return X
    bad = np.argwhere(~np.isfinite(X))[:1].tolist()
    what, where = "the vectors are not a finite table of numbers", "knowledge(X)"
    where += f", row {bad[0][0]}" if bad and X.ndim == 2 else ""
    found = f"shape {X.shape}" + (f", {X[tuple(bad[0])]}" if bad else "")
    expected = "float [items, width], at least one item, no nan, no inf"
    raise DataError(what, where, found, expected, "encode a missing text as '' rather than as nan")
