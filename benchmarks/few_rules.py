"""Few rows of train: does a loss of rules help because the rules are true, or would any pull help?

    python benchmarks/few_rules.py [SHOPS]   # 5: some minutes on one core; docs/results/few_rules.json

The rules are read as a feature, and lambda is that of the loss. Three true rules, the complement rule alone, and the
complement rule with a wrong table. "Shrunk": no loss of rules, but the decay is of the strengths too, as it is of all
other weights. The decay of each fit is picked on valid by log loss, lambda = 0 included. Of each shop the mean over
four draws of the rows; an interval is over shops (Student's t): other users, the same products.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np

import klm_utils as klm
from klm_utils.course.lessons import logic
from klm_utils.data import shop
from klm_utils.evaluation import intervals
from klm_utils.files import atomic_write

OUT = Path(__file__).parents[1] / "docs" / "results" / "few_rules.json"
ROWS, LAMBDAS, DECAYS, DRAWS = (1000, 3000), (0.0, 0.03, 0.1, 0.3), (3e-4, 1e-3, 3e-3), 4


class Shrunk(logic.Logistic):
    """The rules as a feature, and the strengths shrink as other weights do; the constant does not."""

    @property
    def shrinks(self) -> np.ndarray:
        return np.arange(self.free + self.size) >= 1


WAYS = {f"{lam:g}": partial(logic.Logistic, True, lam) for lam in LAMBDAS} | {"shrunk": partial(Shrunk, True, 0.0)}


def one_shop(seed: int) -> dict[tuple[str, int], np.ndarray]:
    """{(rules, rows): distance to the truth, float [draws, ways]} of one shop."""
    ds = shop.with_facts(shop.resimulated(seed) if seed else klm.load_dataset("shop"))
    log, split = ds.interactions, klm.split(ds, "temporal")
    rows = log["user_id"], log["item_id"], log["timestamp"]
    x, true = logic.crosses(ds, *rows[:2]), logic.bodies(ds, *rows)
    wrong = logic.bodies(ds, *rows, kinds=logic.wrong_table(ds, seed))
    y, valid, test = log["label"].to_numpy(), split.valid.index, split.test.index
    found = {}
    for kind, says in {"three": true, "complement": true[:, :1], "wrong complement": wrong[:, :1]}.items():
        for n in ROWS:
            far = np.zeros((DRAWS, len(WAYS)))
            for draw in range(DRAWS):
                part = np.random.default_rng(draw).choice(split.train.index, n, replace=False)
                for at, way in enumerate(WAYS.values()):
                    models = [way(decay=decay).fit(x[part], says[part], y[part]) for decay in DECAYS]
                    losses = [klm.metrics.logloss(y[valid], model.predict(x[valid], says[valid])) for model in models]
                    p = models[int(np.argmin(losses))].predict(x[test], says[test])
                    far[draw, at] = logic.measures(p, true[test], y[test], ds.optimum[test])["distance"]
            found[kind, n] = far
    return found


def mean_and_ends(values: np.ndarray) -> list[float]:
    return [round(float(v), 5) for v in (values.mean(), *intervals.over_splits(values, 0.0))]


def main(shops: int) -> None:
    parts = []
    for seed in range(shops):
        parts.append(one_shop(seed))
        print(seed, {key: (far - far[:, :1]).mean(0).round(4).tolist() for key, far in parts[-1].items()}, flush=True)
    result: dict = {"protocol": f"test of {shops} shops of the same products, {DRAWS} draws of each; decay on valid"}
    for kind, n in parts[0]:
        gains = np.array([(part[kind, n] - part[kind, n][:, :1]).mean(0) for part in parts])
        of = dict(zip(WAYS, gains.T, strict=True))
        of["0.1 minus shrunk"] = of["0.1"] - of["shrunk"]
        own = {name: mean_and_ends(gain) for name, gain in of.items() if name != "0"}
        own["feature alone"] = round(float(np.mean([part[kind, n][:, 0].mean() for part in parts])), 5)
        result.setdefault(kind, {})[str(n)] = own
    atomic_write(OUT, lambda part: part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8"))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
