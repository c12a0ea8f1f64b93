"""Checkers of 01_data_preparation."""

from collections.abc import Callable

import numpy as np
import pandas as pd

import klm_utils as klm
from klm_utils.course.exercises import attempt, head, same, verdict
from klm_utils.course.lessons import cleaning, leaks
from klm_utils.course.lessons.leaks import Features
from klm_utils.data.histories import histories
from klm_utils.data.schema import RecDataset
from klm_utils.data.splits import Split
from klm_utils.evaluation.leaks import changes_with_labels

_PROFILES = {  # what goes in -> what is to come out
    ("25", "male", "1"): (25, "male", 1),
    ("３５ ", "女", " 2"): (35, "female", 2),
    ("3", "M", "41"): (41, "male", 3),
    ("", "f", "4"): (None, "female", 4),
    ("250", "男", "2"): (None, "male", 2),
    ("7", "F", "1"): (None, "female", 1),
    ("10", " Female ", ""): (10, "female", None),
    ("100", "MALE", "３"): (100, "male", 3),
    ("3", "f", "2"): (None, "female", 2),
    ("25", "m", "26"): (25, "male", 26),
    ("7", "M", "12"): (None, "male", 12),
}
_FIELDS = ("age", "gender", "city_tier")


def check_profile(fn: Callable) -> None:
    """Say what is right or wrong with the learner's cleaning of one profile."""
    raw = [dict(zip(_FIELDS, texts, strict=True)) for texts in _PROFILES]
    got = [attempt(fn, profile) for profile in raw]
    dicts = all(isinstance(g, dict) for g in got)
    want = [dict(zip(_FIELDS, values, strict=True)) for values in _PROFILES.values()]

    def of(place: int, field: str):
        return got[place].get(field) if isinstance(got[place], dict) else None

    first_error = next((g for g in got if isinstance(g, Exception)), None)
    wrong = next((k for k, (g, w) in enumerate(zip(got, want, strict=True)) if dicts and g != w), 0)
    verdict(
        [
            (dicts and got == raw, "not done yet: the profile comes back as it was"),
            (first_error is not None, f"it raises {head(first_error)}"),
            (not dicts, f"return a dict; got {head(got[0])}"),
            (dicts and set(got[0]) != set(_FIELDS), f"return {', '.join(_FIELDS)}, nothing else; got {head(got[0])}"),
            (of(0, "age") == "25", "age is still text: turn it into an int"),
            (of(1, "age") in (None, "３５", "３５ "), "'３５ ' is 35: full-width digits, and a blank behind them"),
            (of(2, "age") in (3, None), "age 3 beside tier 41: they changed places. Look before you judge the range"),
            (of(4, "age") == 250, "nobody is 250: an age outside 10-100 becomes None"),
            (
                of(5, "city_tier") == 7,
                "age 7 and tier 1 did not change places: 1 is no age either. Swap if tier is 10+",
            ),
            (
                dicts and (of(8, "city_tier") == 3 or of(9, "age") == 26 or of(10, "age") == 12),
                "swap only if age is 4 or less AND tier is 10 or more. Age 3 and tier 2, age 25 and tier 26, age 7 and "
                "tier 12 stay where they are",
            ),
            (of(1, "gender") == "女", "女 is female"),
            (of(2, "gender") in ("M", "m"), "M is male"),
            (dicts and got != want, f"{raw[wrong]}: expected {want[wrong]}, got {head(got[wrong])}"),
        ],
        "writing, places, range: in this order nothing true is lost",
    )


_SAYINGS = {  # letter -> why it is not supported; "" if it is
    "A": "A: the time is when the rating was sent; when the film was seen, no table says",
    "B": "",
    "C": "C: who rated fewer than 20 films is not in the data at all",
    "D": "D: the blue parts are people who came; nothing was measured of how much anybody watched",
    "E": "",
}


def check_sayings(fn: Callable) -> None:
    """Say what is right or wrong with the learner's choice of sentences about MovieLens."""
    got = attempt(fn, list(_SAYINGS))
    plain = isinstance(got, list | tuple | set) and all(isinstance(g, str) for g in got)
    letters = {g.strip().upper() for g in got} if plain else set()
    false = next((_SAYINGS[one] for one in sorted(letters & set(_SAYINGS)) if _SAYINGS[one]), "")
    verdict(
        [
            (plain and not letters, "not done yet: no letter"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not plain or bool(letters - set(_SAYINGS)), f"return a list of letters from A to E; got {head(got)}"),
            (bool(false), f"{false}; got {head(got)}"),
            ("B" not in letters, "B is supported too: look at the minutes from a user's first rating to the last"),
            ("E" not in letters, "E is supported too: look at the red line in the left picture"),
        ],
        "the data say when people rated, and that a few films get most of it; no more",
    )


def _plain(value):
    """Arrays, tuples and Series inside of a list are as good as lists."""
    if not isinstance(value, list):
        return value
    return [list(h) if isinstance(h, tuple | np.ndarray | pd.Series) else h for h in value]


def check_histories(fn: Callable) -> None:
    """Say what is right or wrong with the learner's histories."""
    log = pd.DataFrame(
        {
            "user_id": [1, 2, 1, 1, 1, 2, 1, 1],
            "item_id": [11, 21, 12, 14, 13, 22, 15, 16],  # 14 and 13 bear one second: their order is that of the log
            "timestamp": [10, 15, 20, 30, 30, 35, 40, 50],
        }
    )
    targets = pd.DataFrame({"user_id": [1, 1, 1, 2, 2, 3], "timestamp": [10, 30, 45, 15, 40, 99]})

    def equal(value, want: list) -> bool:
        return isinstance(value, list) and value == want

    def reference(length: int) -> list[list]:
        return histories(log, targets, length)

    got, short = _plain(attempt(fn, log, targets, 9)), _plain(attempt(fn, log, targets, 2))
    order = [5, 0, 3, 7, 4, 2, 6, 1]  # the two of one second stay in order
    mixed = _plain(attempt(fn, log.iloc[order], targets, 9))
    lists = isinstance(got, list) and all(isinstance(h, list) for h in got)
    turned = lists and not equal(got, reference(9))
    of_user = {u: part["item_id"].tolist() for u, part in log.groupby("user_id")}
    with_second = [
        log.loc[(log["user_id"] == u) & (log["timestamp"] <= t), "item_id"].tolist()
        for u, t in targets.itertuples(index=False)
    ]
    everybody = [log.loc[log["timestamp"] < t, "item_id"].tolist() for t in targets["timestamp"]]
    verdict(
        [
            (equal(got, [[]] * len(targets)), "not done yet: every history is empty"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (
                equal(got, [of_user.get(u, []) for u in targets["user_id"]]),
                "the whole log of the user: it holds their future",
            ),
            (equal(got, with_second), "rows of the target's own second are not before it: < instead of <="),
            (equal(got, everybody), "this mixes all users: a history belongs to one"),
            (
                turned and equal([h[::-1] for h in got], reference(9)),
                "the newest comes first here: turn each list round, oldest first",
            ),
            (
                turned and [sorted(h) for h in got] == [sorted(h) for h in reference(9)],
                "the right films in another order: oldest first; rows of one second stay in the order of the log",
            ),
            (not equal(got, reference(9)), f"expected {reference(9)}, got {head(got)}"),
            (
                equal(short, [h[:2] for h in reference(9)]),
                "length 2: these are the first two; keep the last, the most recent",
            ),
            (not equal(short, reference(2)), f"length 2: expected {reference(2)}, got {head(short)}"),
            (
                not equal(mixed, reference(9)),
                f"the log may come in any order: sort it by time first; got {head(mixed)}",
            ),
        ],
        "strictly before, the user's own, the last ones, oldest first",
    )


def check_cold_items(fn: Callable) -> None:
    """Say what is right or wrong with the learner's cold-item split, which began with two faults."""
    titles = [f"film {i // 2 if i < 40 else i}" for i in range(100)]  # the first forty ids are twenty films
    titles[90:98] = np.repeat([f"a film without a year {i}" for i in range(4)], 2).tolist()  # four more
    titles[98:] = ["a remake"] * 2  # one title, two years: two films
    years = [1990.0] * 90 + [np.nan] * 8 + [1950.0, 1999.0]
    items = pd.DataFrame({"title": titles, "year": years}, index=pd.RangeIndex(1, 101, name="item_id"))
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user_id": rng.integers(1, 30, 900), "item_id": rng.integers(1, 101, 900)})
    film = items.groupby(["title", "year"], dropna=False).ngroup()
    got = attempt(fn, log, items, 0.2, np.random.default_rng(1))
    other = attempt(fn, log, items, 0.2, np.random.default_rng(2))
    more = [
        attempt(fn, log, items, 0.5, np.random.default_rng(seed)) for seed in range(3)
    ]  # a fault must not be missed

    def is_pair(value):
        return isinstance(value, tuple | list) and [type(part) for part in value] == [pd.DataFrame] * 2

    two = is_pair(got)
    train, test = got if two else (log, log.iloc[:0])
    rows = np.sort(np.concatenate([train.index, test.index]))
    cold, careless = test["item_id"].unique(), cleaning.careless(log, items, 0.2, rng)[1]

    def divided(parts) -> set:
        """The films, by number, that have an id on both sides."""
        sides = [set(film.reindex(part["item_id"].unique()).dropna()) for part in parts]
        return sides[0] & sides[1]

    apart = set().union(*(divided(one) for one in (got, other, *more) if is_pair(one) and "item_id" in one[1]))
    no_year = set(film[items["year"].isna()])
    verdict(
        [
            (two and same(test.index, careless.index), "not done yet: both faults are there"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (two and len(test) == 0, "nothing is in test"),
            (not two, f"return two DataFrames, train and test; got {head(got)}"),
            (
                not same(rows, np.sort(log.index)),
                "every row of the log belongs to exactly one of the two, with the index it had",
            ),
            (
                np.isin(cold, train["item_id"]).any() and len(cold) > 60,
                "this splits rows: nearly every item of test is also in train, so none is new",
            ),
            (np.isin(cold, train["item_id"]).any(), "an item of test is also in train: it is not cold"),
            (
                bool(apart - no_year),
                "items of equal title and year are one film under two ids: keep them together, else train knows it",
            ),
            (bool(apart), "two ids without a year and of equal title are one film too: groupby(..., dropna=False)"),
            (not 12 <= len(cold) <= 28, f"about 20 of the 100 items should be in test, not {len(cold)}"),
            (
                is_pair(other) and same(other[1].index, test.index),
                "another rng gives the same items: draw with the rng that you are given",
            ),
        ],
        "no item of test was ever seen, not even under another name",
    )


def check_lines(fn: Callable) -> None:
    """Say what is right or wrong with the learner's search for the line of each of three leaks."""
    got = attempt(fn, ["A", "B", "C"])
    plain = isinstance(got, list | tuple | set) and all(isinstance(g, str) for g in got)
    lines = {g.strip().upper() for g in got} if plain else set()
    of = {leak: sorted(line for line in lines if line[:1] == leak) for leak in "ABC"}
    verdict(
        [
            (plain and not lines, "not done yet: no line"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not plain, f"return a list such as ['A1', 'B1', 'C1']; got {head(got)}"),
            (any(len(some) != 1 for some in of.values()), f"one line for each of A, B, C; got {head(got)}"),
            ("B1" in lines, "B1 only lists the rows, and each needs its input; who may be counted in them?"),
            ("B3" in lines, "B3 gives each row the share of its item; where does that share come from?"),
            (
                "A2" not in lines,
                "A: print `record` beside `bought`. Which column could the shop not have known before?",
            ),
            (
                "C1" in lines,
                "C1 lists all rows, as B1 does, and each row needs its input. It reads no label; which line counts?",
            ),
            (
                "C2" in lines,
                "C2 only says which rows belong together, and a count of earlier rows needs it too. Which line counts "
                "without asking for the time?",
            ),
            ("C4" in lines, "C4 only gives each row its count; what was counted?"),
            ("C3" not in lines, "C: to what moment belongs a count? No line of C asks for the time"),
            ("B2" not in lines, "B: whose labels are in the mean?"),
        ],
        "an id written too late, a mean over test rows, a count without a moment",
    )


_CAUSES = ("earlier purchases", "later purchases", "the row itself")


def check_cause(fn: Callable) -> None:
    """Say whether the learner's guess is one of the three causes; which one is true, the next cell shows."""
    got = attempt(fn, list(_CAUSES))
    choice = got if isinstance(got, str) else None
    verdict(
        [
            (choice == "", "not done yet: choose one of the three"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (choice not in _CAUSES, f"return one of {', '.join(_CAUSES)}; got {head(got)}"),
            (
                choice != "the row itself",
                f"{choice!r}: then a count of these alone would be as good. Run the next cell, then choose again",
            ),
        ],
        "a row that was bought has a count of at least one, its own",
    )


_COLUMNS = ("category", "subcategory", "brand", "item_id", "user_id")


def check_grouping(fn: Callable) -> None:
    """Say what is right or wrong with the columns by which the learner makes leak B worth more than .3."""
    got = attempt(fn, list(_COLUMNS))
    plain = isinstance(got, list | tuple) and all(isinstance(g, str) for g in got)
    known = plain and len(got) > 0 and set(got) <= set(_COLUMNS) and len(set(got)) == len(got)
    found = leaks.worth_of_sharing(*sorted(got)) if known else {"worth": 0.0, "rows": 1.0}
    counted = f"worth {found['worth']:.3f}: a share is counted on {found['rows']:,.0f} rows"
    told = f"{counted}. On fewer, the row's own label weighs more"
    alone = found["rows"] < 1.01
    verdict(
        [
            (plain and list(got) == ["item_id"], "not done yet: that is leak B as it was"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not known, f"return a list of some of {', '.join(_COLUMNS)}; got {head(got)}"),
            (found["worth"] <= 0.3, told),
        ],
        f"worth {found['worth']:.3f}: a share is counted on {found['rows']:.1f} rows, "
        + ("so it is the label of the row itself, written twice" if alone else "one of them the row itself"),
    )


def suspects() -> tuple[dict[str, Features], Split]:
    """Five tables of features by name, two of them clean; and a split of a small made-up log."""
    rng, n, many = np.random.default_rng(5), 200, 40
    log = pd.DataFrame({"user_id": np.repeat(np.arange(n), many), "item_id": np.tile(np.arange(many), n)})
    true = 1 / (1 + np.exp(-rng.normal(0, 0.6, many)[log["item_id"]] - rng.normal(0, 0.6, n)[log["user_id"]]))
    label = (rng.random(len(log)) < true).astype(int)
    log = log.assign(timestamp=rng.permutation(len(log)), rating=label.astype(float), label=label)
    log = log.assign(position=rng.integers(1, 20, len(log))).sort_values("timestamp", ignore_index=True)
    items = pd.DataFrame({"item_id": np.arange(many), "title": [f"item {i}" for i in range(many)]})
    items[["category", "subcategory", "brand"]] = "any"
    ds = RecDataset.from_frames(items, pd.DataFrame({"user_id": np.arange(n)}), log, name="suspects")
    ticket = (1 - log["label"]) * 1000 + np.arange(len(log)) % 997  # of the till: a purchase gets a low one

    def till(split: Split) -> pd.DataFrame:
        return split.dataset.interactions[["position"]].assign(ticket=ticket)

    def ever(split: Split) -> pd.DataFrame:
        every = split.dataset.interactions
        mine = every[every["label"] == 1].groupby("user_id")["item_id"].agg(set)
        hit = [i in mine.get(u, set()) for u, i in every[["user_id", "item_id"]].itertuples(index=False)]
        return every[["position"]].assign(hit=hit)

    tables = {
        "position": leaks.position,
        "share of the item, all rows": leaks.share_by(["item_id"], "all"),
        "number of the ticket": till,
        "share of the item, strictly before": leaks.share_by(["item_id"], "before"),
        "is it in what the user ever bought": ever,
    }
    return tables, klm.split(ds, "random")


def leaking(tables: dict[str, Features], split: Split, low: bool = True, border: float = leaks.TOO_GOOD) -> list:
    """Reference: the names of those that set off an alarm; without `low` a column that is too bad sets off none."""
    found = []
    for name, fit in leaks.trees(tables).items():
        aucs = [klm.metrics.auc(split.test["label"], one) for _, one in leaks.columns(tables[name], split).items()]
        alone = max([*aucs, *(1 - auc for auc in aucs if low)])
        if alone > border or changes_with_labels(fit, split) > 0:
            found.append(name)
    return found


def check_leaks(fn: Callable) -> None:
    """Say what is right or wrong with the learner's search for leaks."""
    tables, split = suspects()
    got = attempt(fn, tables, split)
    names = set(got) if isinstance(got, list | tuple | set) and all(isinstance(g, str) for g in got) else None
    every, future, ticket = (
        "share of the item, all rows",
        "is it in what the user ever bought",
        "number of the ticket",
    )
    clean = {"position", "share of the item, strictly before"}
    verdict(
        [
            (names == set(), "not done yet: nobody is accused"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (names is None, f"return a list of names; got {head(got)}"),
            (names == set(tables), "everybody is accused; two of the five are honest"),
            (
                names == {future, ticket},
                f"{every!r} knows answers, and no column of it is too good alone: reverse the labels too",
            ),
            (
                names == {future, every},
                f"{ticket!r} was written before the fit: reversed labels cannot move it. Look at the column: "
                "an AUC near 0 tells as much as one near 1",
            ),
            (
                bool(names and names & clean),
                f"{sorted(names & clean) if names else ''} read nothing but train: honest. Is your border too low?",
            ),
            (
                names != {every, future, ticket},
                f"expected {sorted((every, future, ticket))}, got {sorted(names or ())}",
            ),
        ],
        "two alarms, because each misses what the other finds",
    )
