"""Is a missing link better than a wrong one? The films that exchange their facts in `which_facts.py` lose them here.

    python benchmarks/missing_facts.py [FOLDS]   # 10: about two minutes; writes docs/results/missing_facts.json

The same model, text, folds and films as there, so the two files can be joined: `kept.load(a) | kept.load(b)`.
"""

import sys
from dataclasses import replace

from folds import stamp
from which_facts import OUT as WHICH
from which_facts import SEED, films

import klm_utils as klm
from klm_utils.evaluation import experiment
from klm_utils.knowledge.controls import facts_shuffled
from klm_utils.knowledge.templates import item_texts

OUT = WHICH.with_name("missing_facts.json")
MISSING = (0.25,)


def without(share: float) -> klm.RecDataset:
    """MovieLens without the facts of those films that `facts_shuffled(ds, share=share)` gives another film's."""
    ds = films()
    named = replace(ds, items=ds.items.assign(entity=ds.items.index))  # a name that travels with the facts
    moved = facts_shuffled(named, share=share).items["entity"] != ds.items.index
    bare = {name: [[] if away else own for own, away in zip(ds.items[name], moved, strict=True)] for name in ds.facts}
    return replace(ds, items=ds.items.assign(**bare))


def ridge(bare: klm.RecDataset, text):
    def build(split, fold):
        own = klm.split(bare, "cold_item", fold=fold, seed=SEED)
        return klm.baselines.KernelRidge(text, facts=bare.facts).fit(own)

    return build


def main(folds: int) -> None:
    text, mark = klm.TextEncoder.from_pretrained("minilm").encode(item_texts(films())), stamp()
    variants = {f"links missing: {share:.0%}": ridge(without(share), text) for share in MISSING}
    for fold in range(folds):
        split = klm.split(films(), "cold_item", fold=fold, seed=SEED)
        runs = experiment.run(variants, {fold: split}, keep=OUT, stamp=mark)
        print(runs.values().round(4).to_string(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
