"""Right, unfinished and wrong answers to the exercises of chapter 1, each with what its checker is to say."""

import numpy as np
import pandas as pd

import klm_utils as klm
from klm_utils.course.exercises import DONE, STUB, ch01
from klm_utils.course.lessons import cleaning
from klm_utils.course.lessons import leaks as lesson
from klm_utils.data.histories import histories
from klm_utils.evaluation.leaks import changes_with_labels


def half(text):
    return "".join(chr(ord(c) - 0xFEE0) if "！" <= c <= "～" else c for c in text).strip()


def profile(raw, swap=lambda age, tier: age <= 4 and tier >= 10, genders=("女", "f", "男", "m"), judge=True, text=half):
    age, tier = (int(text(raw[k])) if text(raw[k]).isdigit() else None for k in ("age", "city_tier"))
    if age is not None and tier is not None and swap(age, tier):
        age, tier = tier, age
    word = text(raw["gender"]).lower()
    known = {"女": "female", "f": "female", "female": "female", "男": "male", "m": "male", "male": "male"}
    gender = known[word] if word in (*genders, "female", "male") else raw["gender"]
    return {
        "age": None if age is None or (judge and not 10 <= age <= 100) else age,
        "gender": gender,
        "city_tier": tier,
    }


def without_full_width(raw):
    age = raw["age"].strip()
    return profile({**raw, "age": age if age.isascii() else ""})


profiles = [
    (profile, DONE),
    (lambda raw: dict(raw), STUB),
    (lambda raw: {**raw, "age": int(raw["age"]), "gender": "male"}, "it raises ValueError"),
    (lambda raw: {"age": profile(raw)["age"]}, "nothing else"),
    (lambda raw: list(profile(raw).values()), "return a dict"),
    (lambda raw: {**profile(raw), "age": raw["age"]}, "age is still text"),
    (without_full_width, "full-width digits"),
    (lambda raw: profile(raw, swap=lambda age, tier: False), "they changed places"),
    (lambda raw: profile(raw, judge=False), "nobody is 250"),
    (lambda raw: profile(raw, swap=lambda age, tier: age < 10), "Swap if tier is 10+"),
    (lambda raw: profile(raw, swap=lambda age, tier: age < tier), "swap only if"),
    (lambda raw: profile(raw, swap=lambda age, tier: tier >= 10), "swap only if"),
    (lambda raw: profile(raw, swap=lambda age, tier: age <= 4), "swap only if"),
    (lambda raw: profile(raw, swap=lambda age, tier: age < 10 and tier >= 10), "swap only if"),
    (lambda raw: profile(raw, genders=("f", "m", "男")), "女 is female"),
    (lambda raw: profile(raw, genders=("女", "男")), "M is male"),
    (lambda raw: {**profile(raw), "city_tier": 1}, "expected {'age'"),
]


def letters(*chosen):
    return lambda names: list(chosen)


sayings = [
    (letters("B", "E"), DONE),
    (lambda names: {"e", "b"}, DONE),
    (letters(), STUB),
    (lambda names: names["B"], "it raises TypeError"),
    (lambda names: "BE", "return a list of letters"),
    (letters("F"), "from A to E"),
    (lambda names: names, "A: the time is when the rating was sent"),
    (letters("B", "C", "E"), "C: who rated fewer than 20"),
    (letters("D"), "D: the blue parts"),
    (letters("E"), "B is supported too"),
    (letters("B"), "E is supported too"),
]
causes = [
    (lambda names: "the row itself", DONE),
    (lambda names: names[2], DONE),
    (lambda names: "", STUB),
    (lambda names: names["row"], "it raises TypeError"),
    (lambda names: "the label", "return one of earlier purchases"),
    (lambda names: names, "return one of earlier purchases"),
    (lambda names: "later purchases", "'later purchases': then a count of these alone"),
    (lambda names: "earlier purchases", "'earlier purchases': then a count of these alone"),
]


def own(log, targets, length, keep=lambda times, t: times < t, users=True, last=True, by_time=True):
    log = log.sort_values("timestamp", kind="stable") if by_time else log
    found = []
    for user, t in targets.itertuples(index=False):
        rows = log[keep(log["timestamp"], t) & ((log["user_id"] == user) | (not users))]["item_id"].tolist()
        found.append(rows[-length:] if last else rows[:length])
    return found


sequences = [
    (histories, DONE),
    (own, DONE),
    (lambda log, targets, length: [[] for _ in range(len(targets))], STUB),
    (lambda log, targets, length: log["items"], "it raises KeyError"),
    (lambda log, targets, length: own(log, targets, length, keep=lambda x, t: x > 0), "it holds their future"),
    (lambda log, targets, length: own(log, targets, length, keep=lambda x, t: x <= t), "< instead of <="),
    (lambda log, targets, length: own(log, targets, length, users=False), "mixes all users"),
    (lambda log, targets, length: [h[::-1] for h in own(log, targets, length)], "the newest comes first"),
    (lambda log, targets, length: [sorted(h) for h in own(log, targets, length)], "stay in the order of the log"),
    (lambda log, targets, length: [h[:2] for h in own(log, targets, length)], "expected [[], [11, 12]"),
    (lambda log, targets, length: own(log, targets, length, last=False), "keep the last"),
    (lambda log, targets, length: own(log, targets, 9), "length 2: expected"),
    (lambda log, targets, length: own(log, targets, length, by_time=False), "sort it by time first"),
]


def cold(log, items, share, rng, together=True):
    film = (
        items.groupby(["title", "year"], dropna=False).ngroup()
        if together
        else pd.Series(np.arange(len(items)), items.index)
    )
    chosen = rng.permutation(film.unique())[: round(share * film.nunique())]
    test = log["item_id"].isin(items.index[film.isin(chosen)])
    return log[~test], log[test]


def by_rows(log, items, share, rng):
    test = rng.random(len(log)) < share
    return log[~test], log[test]


def overlapping(log, items, share, rng):
    train, test = cold(log, items, share, rng)
    return train.drop(train.index[:30]), pd.concat([test, train.iloc[:30]])


def of_choice(log, items, share, rng, dropna=False):
    numbers = items.groupby(["title", "year"], dropna=dropna).ngroup()
    chosen = rng.choice(numbers.max() + 1, round(share * (numbers.max() + 1)), replace=False)
    test = log["item_id"].isin(numbers.index[numbers.isin(chosen)])
    return log[~test], log[test]


def of_names(log, items, share, rng):
    """Titles with their years as text; groups in the order of a shuffle."""
    name = items["title"] + " / " + items["year"].astype(str)
    chosen = name.drop_duplicates().sample(frac=share, random_state=rng)
    test = log["item_id"].isin(name.index[name.isin(chosen)])
    return log[~test], log[test]


def years_apart(log, items, share, rng):
    """Films without a year are one film for each id."""
    film = items.groupby(["title", "year"]).ngroup()
    film = film.where(film >= 0, -film.index.to_numpy() - 5)
    test = log["item_id"].isin(film.index[film.isin(rng.permutation(film.unique())[: round(share * film.nunique())])])
    return log[~test], log[test]


def of_seed(seed):
    return lambda log, items, share, rng: of_choice(log, items, share, np.random.default_rng(rng.integers(99) + seed))


cold_items = [
    (cold, DONE),
    (of_names, DONE),
    *((of_seed(seed), DONE) for seed in range(0, 1000, 100)),
    (years_apart, "dropna=False"),
    (lambda log, items, share, rng: cleaning.careless(log, items, share, rng), STUB),
    (lambda log, items, share, rng: (log, log.iloc[:0]), "nothing is in test"),
    (lambda log, items, share, rng: log["film"], "it raises KeyError"),
    (lambda log, items, share, rng: cold(log, items, share, rng)[1], "return two DataFrames"),
    (lambda log, items, share, rng: (log, cold(log, items, share, rng)[1]), "to exactly one"),
    (by_rows, "this splits rows"),
    (overlapping, "it is not cold"),
    (lambda log, items, share, rng: cold(log, items, share, rng, together=False), "one film under two ids"),
    (lambda log, items, share, rng: cold(log, items, share / 4, rng), "about 20 of the 100"),
    (lambda log, items, share, rng: cold(log, items, share, np.random.default_rng(0)), "another rng gives the same"),
]


def answer(*lines):
    return lambda names: list(lines)


lines = [
    (answer("A2", "B2", "C3"), DONE),
    (lambda names: {"c3", "a2", "b2"}, DONE),
    (answer(), STUB),
    (lambda names: [][0], "it raises IndexError"),
    (lambda names: "A2", "return a list such as"),
    (answer("A2", "B2"), "one line for each"),
    (answer("A2", "A3", "B2", "C3"), "one line for each"),
    (answer("A2", "B1", "C3"), "B1 only lists the rows"),
    (answer("A2", "B3", "C3"), "where does that share come from"),
    (answer("A3", "B2", "C3"), "print `record` beside `bought`"),
    (answer("A2", "B2", "C4"), "C4 only gives each row its count"),
    (answer("A2", "B2", "C2"), "C2 only says which rows belong together"),
    (answer("A2", "B2", "C1"), "C1 lists all rows"),
    (answer("A2", "B2", "C5"), "No line of C asks for the time"),
    (answer("A2", "B4", "C3"), "whose labels are in the mean"),
]
groupings = [
    (answer("user_id", "brand"), DONE),
    (answer("subcategory", "user_id"), DONE),
    (answer("user_id", "item_id"), DONE),
    (answer("item_id"), STUB),
    (lambda names: 1 / 0, "it raises ZeroDivisionError"),
    (answer("price"), "return a list of some of category"),
    (answer(), "return a list of some of"),
    (answer("user_id", "user_id"), "return a list of some of"),
    (lambda names: "user_id", "return a list of some of"),
    (answer("category"), "counted on 8,972 rows"),
    (answer("user_id"), "counted on 63 rows"),
    (answer("user_id", "category"), "counted on 5 rows"),
]


def only_by_labels(tables, split):
    return [name for name, fit in lesson.trees(tables).items() if changes_with_labels(fit, split) > 0]


def only_by_columns(tables, split):
    found = {name: lesson.columns(table, split) for name, table in tables.items()}
    y = split.test["label"]
    return [n for n, table in found.items() if max(abs(klm.metrics.auc(y, table[c]) - 0.5) for c in table) > 0.2]


leaks = [
    (ch01.leaking, DONE),
    (lambda tables, split: tuple(ch01.leaking(tables, split)), DONE),
    (lambda tables, split: [], STUB),
    (lambda tables, split: tables["nobody"], "it raises KeyError"),
    (lambda tables, split: 1, "return a list of names"),
    (lambda tables, split: list(tables), "everybody is accused"),
    (only_by_columns, "reverse the labels too"),
    (only_by_labels, "reversed labels cannot move it"),
    (lambda tables, split: ch01.leaking(tables, split, low=False), "tells as much as one near 1"),
    (lambda tables, split: ch01.leaking(tables, split, border=0.53), "Is your border too low"),
    (lambda tables, split: ["number of the ticket"], "expected ['is it in"),
]

TABLES = {
    ch01.check_profile: profiles,
    ch01.check_sayings: sayings,
    ch01.check_histories: sequences,
    ch01.check_cold_items: cold_items,
    ch01.check_lines: lines,
    ch01.check_cause: causes,
    ch01.check_grouping: groupings,
    ch01.check_leaks: leaks,
}
