"""Other people's libraries, our baselines and our model on the same splits, in one run: `make peers`.

    python benchmarks/peers/run.py PYTHON [BUDGET]   # PYTHON: of an environment with requirements.txt; about an hour

Every model gives a score to every user and item, in a process of its own with one thread; one program, that of this
course, measures them all. A model that was measured is not run again, unless its folder (build/peers) is gone. BUDGET:
CPU seconds after which a training is cut, here 600; the best epoch on valid until then is what counts.
"""

import functools
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

import klm_utils as klm
from klm_utils.course.lessons.judging import leave_one_out
from klm_utils.data.catalogue import positions
from klm_utils.data.splits import Split
from klm_utils.evaluation import paired_gain
from klm_utils.files import atomic_write

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD, OUT = ROOT / "build" / "peers", ROOT / "docs" / "results" / "peers.json"
QUESTION = {"random": "label", "cold_item": "label", "temporal": "label", "last": "interaction"}
THEIRS = {"label": ["FM", "DeepFM", "AutoInt"], "interaction": ["BPR", "LightGCN", "SASRec", "implicit"]}
OWN = {
    "label": ["user_item_bias", "bias_als", "logistic", "gradient_boosting", "KLM", "KLM + text"],
    "interaction": ["popularity", "item_knn", "implicit_als", "ease", "KLM", "KLM + text"],
}
OURS = "KLM + text"  # what the others are compared with
# yes: valid of this split picks one of several settings. preset: the settings were fixed before (theirs in others.py,
# ours in own.py), valid picks the epoch. no: nothing is picked.
TUNED = dict.fromkeys(["bias_als", "logistic", "item_knn", "implicit_als", "ease", "implicit"], "yes")
TUNED |= dict.fromkeys(["FM", "DeepFM", "AutoInt", "BPR", "LightGCN", "SASRec", "KLM", "KLM + text"], "preset")
TUNED |= dict.fromkeys(["popularity", "user_item_bias", "gradient_boosting"], "no")


@functools.cache
def split_of(name: str) -> Split:
    """Seed 0, of new films fold 0; "last": the last film of each user is test, the one before it valid."""
    ds = klm.load_dataset("movielens-100k")
    if name == "last":
        return leave_one_out(ds)
    return klm.split(ds, name, fold=0) if name == "cold_item" else klm.split(ds, name, seed=0)


def export(name: str, folder: Path) -> None:
    """The split as the files that RecBole reads; of `last` also each user's rows in their order, with its place."""
    split, ds = split_of(name), split_of(name).dataset
    here = folder / name
    here.mkdir(parents=True, exist_ok=True)
    users = ds.users.reset_index()[["user_id", "age", "gender", "occupation"]]
    users.columns = [f"{column}:token" for column in users]
    items = pd.DataFrame({"item_id:token": ds.items.index, "release_year:token": ds.items["year"].to_numpy()})
    items["class:token_seq"] = [" ".join(tag.replace(" ", "_") for tag in tags) for tags in ds.items["tags"]]
    for kind, table in (("user", users), ("item", items)):
        table.to_csv(here / f"{name}.{kind}", sep="\t", index=False)
    for part in ("train", "valid", "test"):
        rows = getattr(split, part)[["user_id", "item_id", "label"]]
        rows.columns = ["user_id:token", "item_id:token", "label:float"]
        rows.to_csv(here / f"{name}.{part}.inter", sep="\t", index=False)
    if name == "last":
        there = folder / f"{name}-sequence"
        there.mkdir(parents=True, exist_ok=True)
        rows = pd.concat([split.train, split.valid, split.test])[["user_id", "item_id"]]  # of a user in their order
        rows["place"] = rows.groupby("user_id").cumcount()
        rows.columns = ["user_id:token", "item_id:token", "timestamp:float"]
        rows.to_csv(there / f"{there.name}.inter", sep="\t", index=False)
        items.to_csv(there / f"{there.name}.item", sep="\t", index=False)


class Scores:
    """A table of scores as a model."""

    def __init__(self, name: str, split: Split, table: np.ndarray):
        self.name, self.table, self.ds = name, table.astype(np.float64), split.dataset

    def predict(self, users, items):
        return self.table[positions(self.ds, pd.DataFrame({"user_id": users, "item_id": items}))]

    def predict_grid(self, users, items):
        row = self.ds.users.index.get_indexer(users)
        return self.table[np.ix_(row, self.ds.items.index.get_indexer(items))]


def measured(script: str, python: str, name: str, model: str, budget: float) -> tuple[Scores, dict]:
    """What a model scores and what it cost, run if it was not yet."""
    out = BUILD / "scores" / name / model.replace(" ", "")
    if not Path(f"{out}.json").exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [python, str(HERE / script), str(BUILD / "data"), name, model, str(budget), str(out)]
        run = subprocess.run(command, env=environment, cwd=BUILD, capture_output=True, text=True)
        if run.returncode:
            sys.exit(f"{model} on {name} failed:\n{run.stderr[-3000:]}")
    with np.load(f"{out}.npz") as found:
        return Scores(model, split_of(name), found["scores"]), json.loads(Path(f"{out}.json").read_text("utf8"))


def main(python: str, budget: float) -> None:
    result: dict = {"date": time.strftime("%Y-%m-%d"), "budget": budget, "threads": 1, "protocols": {}, "rows": {}}
    versions = "import importlib.metadata as m; print({n: m.version(n) for n in ('recbole', 'implicit', 'torch')})"
    found = subprocess.run([python, "-c", versions], capture_output=True, text=True, check=True)
    result["versions"] = {"theirs": found.stdout.strip(), "torch": version("torch")}
    for name, question in QUESTION.items():
        export(name, BUILD / "data")
        split, reports, costs = split_of(name), {}, {}
        jobs = [("others.py", python, model) for model in THEIRS[question]]
        jobs += [("own.py", sys.executable, model) for model in OWN[question]]
        for script, interpreter, model in jobs:
            scores, costs[model] = measured(script, interpreter, name, model, budget)
            reports[model] = klm.evaluate(scores, split, objective=question)
            print(name, model, reports[model].metrics, costs[model], flush=True)
        metric = next(iter(reports[OURS].metrics))
        result["protocols"][name] = reports[OURS].protocol
        result["rows"][name] = {}
        for model, report in reports.items():
            row = {"theirs": model in THEIRS[question], "tuned on valid": TUNED[model]}
            row |= {metric: report.metrics[metric]} | costs[model]
            if model != OURS:
                gain = paired_gain(reports[OURS], report)
                row["ours minus this"] = [gain.difference, gain.low, gain.high]
            result["rows"][name][model] = row
    text = json.dumps(result, indent=1) + "\n"
    atomic_write(OUT, lambda part: part.write_text(text, encoding="utf8"))
    print("\n".join(markdown(result)))


NAMES = {
    "user_item_bias": "user + item bias",
    "bias_als": "bias + ALS",
    "logistic": "logistic regression",
    "gradient_boosting": "gradient boosting",
    "item_knn": "item kNN",
    "implicit_als": "implicit ALS",
    "ease": "EASE",
    "implicit": "implicit's ALS",
}
COLUMNS = {"random": "known films, AUC", "cold_item": "new films, AUC", "temporal": "tomorrow, AUC"}


def markdown(result: dict) -> list[str]:
    """The two tables of the README: will they like it, and which film comes last; best first."""
    rows, library = result["rows"], {"BPR": "RecBole", "LightGCN": "RecBole", "SASRec": "RecBole", "implicit": ""}
    library |= dict.fromkeys(THEIRS["label"], "RecBole")

    def costs(row: dict, ours: dict) -> str:
        ratio = ours["cpu"] / row["cpu"]
        shown = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"
        return f"{row['cpu']:.1f}{' (cut)' if row['cut'] else ''} | {row['mb']:.0f} | {shown}"

    def name(model: str) -> str:
        return f"{library[model]} {NAMES.get(model, model)}".strip() if model in library else NAMES.get(model, model)

    lines = [
        f"| will they like it? | {' | '.join(COLUMNS.values())} | tuned on valid? | CPU s | MB | ours / this, CPU |"
    ]
    lines.append("|---" * 8 + "|")
    for model, row in sorted(rows["random"].items(), key=lambda pair: -pair[1]["auc"]):
        values = " | ".join(f"{rows[split][model]['auc']:.3f}" for split in COLUMNS)
        lines.append(f"| {name(model)} | {values} | {row['tuned on valid']} | {costs(row, rows['random'][OURS])} |")
    lines += [
        "",
        "| which film comes last? | nDCG@10 | tuned on valid? | CPU s | MB | ours / this, CPU |",
        "|---" * 6 + "|",
    ]
    for model, row in sorted(rows["last"].items(), key=lambda pair: -pair[1]["ndcg@10"]):
        lines.append(
            f"| {name(model)} | {row['ndcg@10']:.3f} | {row['tuned on valid']} | {costs(row, rows['last'][OURS])} |"
        )
    return lines


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).absolute()), float(sys.argv[2]) if len(sys.argv) > 2 else 600.0)
