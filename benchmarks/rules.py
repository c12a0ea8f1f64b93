"""The shop's rules as a feature, as a loss and as a filter, and a wrong rule as control.

    python benchmarks/rules.py [SHOPS]   # 5: six minutes on one core; docs/results/rules.json

Split `temporal`. Each shop has the catalogue that ships and other users; an interval is over shops (Student's t), so it
is of other users and the same products. The decay was picked on valid of the first shop, by the model without rules.
Lists are those of the first shop, their intervals over its users.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import klm_utils as klm
from klm_utils.course.lessons import logic
from klm_utils.data import shop
from klm_utils.evaluation import intervals
from klm_utils.files import atomic_write

OUT = Path(__file__).parents[1] / "docs" / "results" / "rules.json"
LAMBDAS = (0.0, 0.1, 0.3, 1.0, 3.0)
DECAYS = (3e-5, 1e-4, 2e-4)
FEW, FEW_LAMBDAS = (1000, 3000, 10_000), (0.0, 0.03, 0.1, 0.3)


def one_shop(seed: int) -> dict:
    """{"measures": {(kind, lambda): of test}, "strength": {way: (value, interval)}} of one shop."""
    ds = shop.with_facts(shop.resimulated(seed) if seed else klm.load_dataset("shop"))
    log, split = ds.interactions, klm.split(ds, "temporal")
    rows = log["user_id"], log["item_id"], log["timestamp"]
    x, true = logic.crosses(ds, *rows[:2]), logic.bodies(ds, *rows)
    wrong = logic.bodies(ds, *rows, kinds=logic.wrong_table(ds, seed))
    y, train, test = log["label"].to_numpy(), split.train.index, split.test.index
    kinds = {
        "loss": (False, true),
        "feature + loss": (True, true),
        "complement, feature + loss": (True, true[:, :1]),
        "wrong complement, feature + loss": (True, wrong[:, :1]),
        "wrong complement, loss": (False, wrong[:, :1]),
    }
    found: dict = {"measures": {}, "strength": {}}
    for kind, (feature, says) in kinds.items():
        for lam in LAMBDAS:
            model = logic.Logistic(feature, lam).fit(x[train], says[train], y[train])
            p = model.predict(x[test], says[test])
            found["measures"][kind, lam] = logic.measures(p, true[test], y[test], ds.optimum[test])
            if feature and lam == 0 and kind != "complement, feature + loss":
                found["strength"][kind] = model.strength, model.intervals(x[train], says[train])
            if feature:
                found["measures"][kind, lam]["strength"] = float(model.strength[0])
            if seed == 0 and kind in ("loss", "feature + loss"):
                model_lists(found, ds, model, (kind, lam), int(split.test["timestamp"].iloc[0]))
    found["measures"]["truth", 0.0] = logic.measures(ds.optimum[test], true[test], y[test], ds.optimum[test])
    found["strength"]["taste given"] = logic.given_taste(ds.optimum[train], true[train], y[train])
    if seed == 0:
        valid = split.valid.index
        found["valid"] = {}
        for decay in DECAYS:
            p = logic.Logistic(decay=decay).fit(x[train], true[train], y[train]).predict(x[valid], true[valid])
            found["valid"][decay] = logic.measures(p, true[valid], y[valid], ds.optimum[valid])["log loss"]
    return found


def few_rows(shops: int) -> dict:
    """{rows of train: {lambda: distance to the truth with the rule as feature and loss, minus that as feature alone}};
    of each shop the mean over four draws. The decay, 1e-3, was set by hand for so few rows."""
    found: dict = {rows: {f"{lam:g}": [] for lam in FEW_LAMBDAS[1:]} for rows in FEW}
    for seed in range(shops):
        ds = shop.with_facts(shop.resimulated(seed) if seed else klm.load_dataset("shop"))
        log, split = ds.interactions, klm.split(ds, "temporal")
        x = logic.crosses(ds, log["user_id"], log["item_id"])
        says = logic.bodies(ds, log["user_id"], log["item_id"], log["timestamp"])
        y, test = log["label"].to_numpy(), split.test.index
        for rows in FEW:
            far = np.zeros((4, len(FEW_LAMBDAS)))
            for draw in range(len(far)):
                part = np.random.default_rng(draw).choice(split.train.index, rows, replace=False)
                for at, lam in enumerate(FEW_LAMBDAS):
                    model = logic.Logistic(True, lam, decay=1e-3).fit(x[part], says[part], y[part])
                    p = model.predict(x[test], says[test])
                    far[draw, at] = logic.measures(p, says[test], y[test], ds.optimum[test])["distance"]
            for at, lam in enumerate(FEW_LAMBDAS[1:], start=1):
                found[rows][f"{lam:g}"].append((far[:, at] - far[:, 0]).mean())
    return {rows: {lam: mean_and_ends(own) for lam, own in of.items()} for rows, of in found.items()}


def model_lists(found: dict, ds: klm.RecDataset, model: logic.Logistic, name: tuple, time: int) -> None:
    """Add the lists of this model; of the one without rules also those that are filtered."""
    lists = found.setdefault("lists", {})
    lists[name] = logic.lists(ds, model, time)
    if name[1] == 0:
        lists[f"{name[0]}, filtered", 0.0] = logic.lists(ds, model, time, drop=True)


def mean_and_ends(values: list[float]) -> list[float]:
    return [round(float(v), 5) for v in (np.mean(values), *intervals.over_splits(np.array(values), 0.0))]


def main(shops: int) -> None:
    found = []
    for seed in range(shops):
        found.append(one_shop(seed))
        print(seed, pd.DataFrame(found[-1]["measures"]).T.round(4), found[-1]["strength"], sep="\n", flush=True)
    table, strength, lists = {}, {}, {}
    for name, first in found[0]["measures"].items():
        own = {key: [one["measures"][name][key] for one in found] for key in first}
        none = {key: [one["measures"]["loss", 0.0][key] for one in found] for key in first if key != "strength"}
        row = {key: mean_and_ends(values) for key, values in own.items()}
        more = {f"{key} minus none": mean_and_ends(list(np.subtract(own[key], none[key]))) for key in none}
        table[f"{name[0]}, {name[1]:g}"] = row | more
    for way in found[0]["strength"]:
        values = [one["strength"][way][0].tolist() for one in found]
        ends = [np.round(one["strength"][way][1], 4).tolist() for one in found]
        over = [mean_and_ends(list(own)) for own in zip(*values, strict=True)]
        strength[way] = {"shops": np.round(values, 4).tolist(), "intervals": ends, "mean": over}
    base = found[0]["lists"]["loss", 0.0]
    for name, own in found[0]["lists"].items():
        gain = (own["purchases"] - base["purchases"]).to_numpy()
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        lists[f"{name[0]}, {name[1]:g}"] = {
            "purchases": round(float(own["purchases"].mean()), 4),
            "same type": round(float(own["same type"].mean()), 5),
            "purchases minus none": np.round([gain.mean(), gain.mean() - half, gain.mean() + half], 4).tolist(),
        }
    result = {
        "protocol": f"temporal 80/10/10 of {shops} shops of the same products; lists of ten as test starts, shop 0",
        "stated": dict(zip(logic.RULES, logic.STATED.tolist(), strict=True)),
        "valid log loss by decay": found[0]["valid"],
        "test": table,
        "strength": strength,
        "lists": lists,
        "few rows, distance minus feature alone": few_rows(shops),
    }
    text = json.dumps(result, indent=1) + "\n"
    atomic_write(OUT, lambda part: part.write_text(text, encoding="utf8"))
    print(pd.DataFrame(table).T.map(str).to_string(), pd.DataFrame(lists).T, sep="\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
