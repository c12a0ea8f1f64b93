"""Four ways to cut a log into train, valid and test, each answering another question.

Nothing is ever fitted on more than `train`; `valid` picks; `test` is read once.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from klm_utils.data.rules import cell_fault, complain, places
from klm_utils.data.schema import RecDataset, scale_of, title_text
from klm_utils.errors import ConfigError, DataError, check_kind, check_seed, check_whole

SPLITS = ("random", "temporal", "cold_item", "cold_user")
PARTS = ("train", "valid", "test", "shown")
MIN_ROWS, TEST_SHARE, VALID_SHARE = 5, 0.15, 0.10  # of the cold splits


@dataclass(frozen=True, eq=False)
class Split:
    """A log cut in parts. The frames keep the columns and the row index of `dataset.interactions`, in order of time.

    `shown` is empty but for cold_user with `shown=k`: the first k rows of each cold user, which a model may use
    as history at prediction, and which are in no other part.

    Raises:
        DataError: a row is in two parts or in none, a part is empty, or a part knows what its kind must not know.
    """

    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame
    protocol: str
    dataset: RecDataset
    name: str
    shown: pd.DataFrame

    def __post_init__(self) -> None:
        _refuse_leaks(self)

    def __repr__(self) -> str:
        return f"Split: {self.protocol}"

    def seen_users(self, part: str = "test") -> np.ndarray:
        """For each row of a part, whether its user has rows in train. bool [rows]."""
        return _seen(getattr(self, part), self.train)

    def all_in_train(self) -> "Split":
        """Every row of the log in `train`, for the final model: there is nothing left to pick or to measure by."""
        log, protocol = self.dataset.interactions, f"{self.dataset.name}, all rows in train"
        return Split(log, log[:0], log[:0], protocol, self.dataset, "all", log[:0])


def split(
    ds: RecDataset, name: str, seed: int = 0, *, shown: int = 0, fold: int | None = None, folds: int = 10
) -> Split:
    """Cut the log of a data set.

    - random: 80/10/10 of the rows. Will this user like this film, everything else known?
    - temporal: 80/10/10 by time, ties in stable order, no seed. What is known tomorrow?
    - cold_item: of the items with 5 or more interactions 15 % are test and another 10 % valid; items of equal title
      (as `item_text` writes it, an empty one being like no other) and year stay together, in train if they are more
      than valid is to hold. What of an item nobody has seen?
    - cold_user: the same with users; the first `shown` rows of each cold user go to `Split.shown`.

    With `fold`, a cold split is one of `folds`, which share a seed: the items (users) with 5 or more interactions are
    dealt into so many parts of about equal size, twins together; part `fold` is test, the next one valid, the others
    are train. So over all folds each of them is test once, and a mean over folds is about all of them.

    The protocol says it where test rows of random are pairs of train, and where ratings became labels unlike 4 of 5.

    Raises:
        ConfigError: no data set; an unknown name; a seed or `shown` that is no int >= 0; `shown` or `fold` with another
            split; fewer than three folds, or a fold that is none of them.
        DataError: the data set has no log, or one too small for the split; a list of years (cold_item).
    """
    _check_arguments(ds, name, seed, shown, fold, folds)
    if name in ("random", "temporal"):
        masks, how = _cut_rows(ds, name, np.random.default_rng(seed))
    else:
        masks, how = _cut_ids(ds, name, np.random.default_rng(seed), shown, None if fold is None else (fold, folds))
    parts = {part: ds.interactions[mask] for part, mask in zip(PARTS, masks, strict=True)}
    _refuse_empty(parts, name, ds)
    how += "" if name == "temporal" else f", seed {seed}"
    if name == "temporal":
        new = ~_seen(parts["test"], parts["train"])
        how += f"; {new.sum():,} of {len(new):,} test rows ({new.mean():.0%}) are of users never seen in train"
    if name == "random":
        pair = ds.interactions.groupby(["user_id", "item_id"], sort=False).ngroup()
        known = pair[parts["test"].index].isin(pair[parts["train"].index])
        if known.any():
            how += f"; {known.sum():,} of {len(known):,} test rows ({known.mean():.0%}) are pairs of train"
    how += f"; {scale}" if (scale := scale_of(ds.interactions)) else ""
    return Split(**parts, protocol=f"{ds.name}, {how}", dataset=ds, name=name)


def _seen(part: pd.DataFrame, train: pd.DataFrame) -> np.ndarray:
    return places(pd.Index(train["user_id"].unique()), part["user_id"]) >= 0


def _cut_rows(ds: RecDataset, name: str, rng: np.random.Generator) -> tuple[tuple[np.ndarray, ...], str]:
    """The rows of each part as masks, and how they were cut."""
    n = len(ds.interactions)
    place = rng.permutation(n) if name == "random" else np.arange(n)
    first, second = int(0.8 * n), int(0.9 * n)
    masks = place < first, (first <= place) & (place < second), place >= second, np.zeros(n, dtype=bool)
    return masks, "random 80/10/10 of rows" if name == "random" else "temporal 80/10/10 by time"


def _cut_ids(
    ds: RecDataset, name: str, rng: np.random.Generator, shown: int, fold: tuple[int, int] | None
) -> tuple[tuple[np.ndarray, ...], str]:
    """The rows of each part as masks, and how they were cut."""
    key, ids = ("item_id", ds.items.index) if name == "cold_item" else ("user_id", ds.users.index)
    groups = _twins(ds.items) if key == "item_id" else np.arange(len(ids))
    at, least = places(ids, ds.interactions[key]), max(MIN_ROWS, shown + 1)
    eligible = np.bincount(at, minlength=len(ids)) >= least
    role, crowd = _draw_cold(eligible, groups, least, rng, fold, where=f"split({name!r})")
    valid, test = ((role[eligible] == r).sum() for r in (1, 2))
    of_row = role[at]
    early = (of_row > 0) & (pd.Series(at).groupby(at).cumcount().to_numpy() < shown)
    masks = of_row == 0, (of_row == 1) & ~early, (of_row == 2) & ~early, early
    kind = name if fold is None else f"{name} fold {fold[0]} of {fold[1]}"
    how = f"{kind}: {test} test and {valid} valid of {eligible.sum()} {key[:4]}s with {least}+ rows, none in train"
    if crowd.any():
        title = ds.items["title"].iloc[np.argmax(crowd)]
        how += f"; {crowd.sum()} items share a title with too many to be cold and stay in train, such as {title!r}"
    return masks, how + (f", first {shown} rows of each cold user shown" if shown else "")


def _check_arguments(ds: RecDataset, name: str, seed: int, shown: int, fold: int | None, folds: int) -> None:
    check_kind("split(ds)", ds, RecDataset, "a RecDataset", "klm.split(ds, 'random'): the data set comes first")
    if not isinstance(name, str) or name not in SPLITS:
        names, remedy = ", ".join(map(repr, SPLITS)), "see klm.split for what each of them asks"
        raise ConfigError("there is no split of this name", "split(name)", name, names, remedy)
    check_seed(seed, "split(seed)")
    if check_whole("split(shown)", shown, 0) and name != "cold_user":
        expected, remedy = f"0 for {name!r}", "leave shown out, or use 'cold_user'"
        raise ConfigError("only cold users have rows to show", "split(shown)", shown, expected, remedy)
    if fold is not None and check_whole("split(fold)", fold, 0) >= check_whole("split(folds)", folds, 3):
        raise ConfigError("there is no such fold", "split(fold)", fold, f"0 to {folds - 1}", f"folds={folds}")
    if fold is not None and not name.startswith("cold_"):
        remedy = "take seeds in their place, or a cold split"
        raise ConfigError(f"the split {name!r} has no folds", "split(fold)", fold, "fold=None", remedy)
    if ds.interactions.empty:
        remedy = "use 'movielens-100k', or add a log with RecDataset.from_frames"
        what = f"{ds.name} has no interactions to split"
        raise DataError(what, "split(ds)", "0 interactions", "a data set with a log", remedy)


def _twins(items: pd.DataFrame) -> np.ndarray:
    """A group number per item: equal for items of equal title and year (of equal title where there is no year).

    Titles are equal if their texts are: train must not know the text of a cold item. No title is no text to know.
    """
    titles = items["title"].map(title_text).astype(object)
    keys = [titles, _years(items["year"])] if "year" in items.columns else [titles]
    groups = items.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()
    return pd.factorize(np.where(titles == "", len(items) + np.arange(len(items)), groups))[0]


def _years(years: pd.Series) -> pd.Series:
    """The years as they are; a list of them cannot be compared."""
    if (several := years.map(pd.api.types.is_list_like).astype(bool)).any():
        remedy = "keep one: items[column].map(lambda y: next(iter(y), None) if pd.api.types.is_list_like(y) else y)"
        raise complain([cell_fault("items", years, several, "is not one value", "a year", remedy)])
    return years


def _draw_cold(
    eligible: np.ndarray,
    groups: np.ndarray,
    least: int,
    rng: np.random.Generator,
    fold: tuple[int, int] | None,
    where: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Role of each id, 0 train, 1 valid, 2 test, by group: if one id of it is eligible, all go along.

    A group larger than valid is to be would fill a part or empty the next one. It stays in train, if the others are
    enough for valid, test and train; the second mask tells the ids of such groups.
    """
    total, parts = int(eligible.sum()), 3 if fold is None else fold[1]
    if total < parts:
        found, remedy = f"{total} ids with {least} or more interactions", "use more data, or the split 'random'"
        expected = f"at least {parts}: one each for {'train, valid and test' if fold is None else 'every fold'}"
        raise DataError("too few ids for a cold split", where, found, expected, remedy)
    size = np.bincount(groups, weights=eligible).astype(int)
    shares = (TEST_SHARE, VALID_SHARE) if fold is None else (1 / parts, 1 / parts)
    n_test, n_valid = (max(1, round(share * total)) for share in shares)
    crowd = size > n_valid
    crowd &= size[~crowd].sum() > n_test + n_valid
    drawn = rng.permutation(np.flatnonzero((size > 0) & ~crowd))
    before = np.cumsum(size[drawn]) - size[drawn]  # eligible ids in the groups drawn so far
    role = np.zeros(len(size), dtype=int)
    if fold is None:
        role[drawn[before < n_test + n_valid]] = 1
        role[drawn[before < n_test]] = 2
    else:
        part = before * parts // max(1, size[drawn].sum())
        role[drawn[part == (fold[0] + 1) % parts]] = 1
        role[drawn[part == fold[0]]] = 2
    return role[groups], crowd[groups]


def _refuse_empty(parts: dict[str, pd.DataFrame], name: str, ds: RecDataset) -> None:
    for part in PARTS[:3]:
        if parts[part].empty:
            why, found, remedy = "the log is too small", f"{len(ds.interactions)} interactions", "use more data"
            groups = _twins(ds.items) if name == "cold_item" else np.arange(len(ds.items))
            twins = groups == np.bincount(groups).argmax()
            if twins.sum() > max(1, VALID_SHARE * len(twins)):
                why = "too many items share one title, and stay together,"
                found = f"{twins.sum()} of {len(twins)} items with the title {ds.items['title'].iloc[twins.argmax()]!r}"
                remedy = "give each its own title, or '' where there is none"
            what, expected = f"{why} for this split: {part} would be empty", "a row each in train, valid and test"
            raise DataError(what, f"split({name!r})", found, expected, remedy)


def _refuse_leaks(split: Split) -> None:
    """Look for every leak that the kind of split excludes."""
    ds, parts = split.dataset, [getattr(split, part) for part in PARTS]
    if split.name != "all":
        _refuse_empty(dict(zip(PARTS, parts, strict=True)), split.name, ds)
    rows = np.concatenate([part.index.to_numpy() for part in parts])
    leaks = []
    if not np.array_equal(np.sort(rows), ds.interactions.index.to_numpy()):
        leaks.append("the parts do not hold each row of the log exactly once")
    if split.name == "temporal":
        times = [part["timestamp"] for part in parts[:3]]
        if times[0].max() > times[1].min() or times[1].max() > times[2].min():
            leaks.append("an earlier part knows a later row")
    if split.name in ("cold_item", "cold_user"):
        key = f"{split.name.removeprefix('cold_')}_id"
        table = ds.items if key == "item_id" else ds.users
        groups = _twins(table) if key == "item_id" else np.arange(len(table))
        ids = [set(groups[np.unique(places(table.index, part[key]))]) for part in parts]
        if ids[0] & (ids[1] | ids[2] | ids[3]):
            leaks.append(f"train knows a cold {key}, or its twin of equal title and year")
        if ids[1] & ids[2]:
            leaks.append(f"valid and test share one {key}, or its twin")
    if leaks:
        what, where = "the split leaks: " + "; ".join(leaks), f"Split {split.name!r} of {ds.name}"
        remedy = "make splits with klm.split and do not edit their frames"
        raise DataError(what, where, expected="parts that know nothing of each other", remedy=remedy)
