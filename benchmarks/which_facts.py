"""New films, ten folds that nobody had looked at: which facts are worth something, and what a wrong link costs.

    python benchmarks/which_facts.py [FOLDS]   # 10: about ten minutes; writes docs/results/which_facts.json

Kernel ridge on genre, year, title text and facts, in the form that `facts.py` fixed on the folds of seed 0; these are
the folds of seed 1. Facts are left out by relation, kept by how many films hold them, and exchanged between a share of
the films, as wrong links would do.
"""

import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

from folds import stamp

import klm_utils as klm
from klm_utils.evaluation import experiment
from klm_utils.knowledge.controls import facts_shuffled
from klm_utils.knowledge.templates import item_texts

OUT = Path(__file__).parents[1] / "docs" / "results" / "which_facts.json"
SEED = 1
HELD = {
    "held by 1 film": (1, 1),
    "held by 2 or 3": (2, 3),
    "held by 4 to 15": (4, 15),
    "held by 16 or more": (16, 9999),
}
SPOILT = (0.1, 0.25, 0.5)


@cache
def films() -> klm.RecDataset:
    return klm.load_dataset("movielens-100k")


@cache
def data(kind: str) -> klm.RecDataset:
    """MovieLens with some of its facts, or with facts that a share of the films exchanged."""
    ds = films()
    if kind.startswith("spoilt "):
        return facts_shuffled(ds, share=float(kind.removeprefix("spoilt ")))
    low, high = HELD[kind]
    kept = {}
    for column in ds.facts:
        count = Counter(name for names in ds.items[column] for name in names)
        kept[column] = [[name for name in names if low <= count[name] <= high] for names in ds.items[column]]
    return replace(ds, items=ds.items.assign(**kept))


def ridge(facts: tuple[str, ...] = (), kind: str = "", vectors=None):
    def build(split, fold):
        own = klm.split(data(kind), "cold_item", fold=fold, seed=SEED) if kind else split
        return klm.baselines.KernelRidge(vectors, facts=facts).fit(own)

    return build


def main(folds: int) -> None:
    ds, mark = films(), stamp()
    text = klm.TextEncoder.from_pretrained("minilm").encode(item_texts(ds))
    rest = {name: tuple(other for other in ds.facts if other != name) for name in ds.facts}
    variants = {
        "genre, year": ridge(),
        "text": ridge(vectors=text),
        "facts": ridge(ds.facts),
        "text and facts": ridge(ds.facts, vectors=text),
        **{f"without {name}": ridge(rest[name], vectors=text) for name in ds.facts},
        **{f"only {name}": ridge((name,), vectors=text) for name in ds.facts},
        **{kind: ridge(ds.facts, kind, text) for kind in HELD},
        **{f"links spoilt: {share:.0%}": ridge(ds.facts, f"spoilt {share}", text) for share in (*SPOILT, 1.0)},
    }
    for fold in range(folds):
        split = klm.split(ds, "cold_item", fold=fold, seed=SEED)
        runs = experiment.run(variants, {fold: split}, keep=OUT, stamp=mark)
        print(runs.values().round(3).to_string(), flush=True)
    for base in ("text", "text and facts"):
        print(runs.table(base).round(3).to_string(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
