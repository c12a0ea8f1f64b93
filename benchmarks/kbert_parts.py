"""What makes a sentence tree worse than the same words read plainly: the mask, or the soft positions?

    python benchmarks/kbert_parts.py [FOLDS]   # 10: about ten minutes on one core; docs/results/kbert_parts.json

Folds, kernel ridge and words are those of `kbert.py`; MiniLM is not trained. "Mask": the visible matrix of the tree,
with positions that count on. "Positions": the soft positions of the tree, and each token sees all. Without both a tree
is read as the plain text, with both as a tree. Nothing was sought here.
"""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from facts import data
from folds import stamp

import klm_utils as klm
from klm_utils.course.lessons import kbert
from klm_utils.evaluation import experiment

OUT = Path(__file__).parents[1] / "docs" / "results" / "kbert_parts.json"


def part(tree: kbert.Tree, mask: bool, positions: bool) -> kbert.Tree:
    """The tree with its mask or its soft positions or both exchanged for those of a plain text."""
    n = len(tree.ids)
    see = tree.visible if mask else np.ones((n, n), dtype=bool)
    return replace(tree, visible=see, positions=tree.positions if positions else np.arange(n))


def main(folds: int) -> None:
    encoder, ds = klm.TextEncoder.from_pretrained("minilm"), data("true")
    trees = kbert.item_trees(ds, encoder)
    kinds = {"plain": (False, False), "mask": (True, False), "positions": (False, True), "tree": (True, True)}
    vectors = {name: kbert.encode_trees(encoder, [part(tree, *of) for tree in trees]) for name, of in kinds.items()}
    own = Path(kbert.__file__).read_bytes() + Path(__file__).read_bytes()
    mark = hashlib.sha256(stamp().encode() + own).hexdigest()[:16]

    def ridge(kind: str):
        return lambda split, fold: klm.baselines.KernelRidge(vectors[kind]).fit(split)

    for fold in range(folds):
        runs = experiment.run(
            {kind: ridge(kind) for kind in vectors},
            {fold: klm.split(ds, "cold_item", fold=fold)},
            keep=OUT,
            stamp=mark,
        )
        print(runs.values().round(3).to_string(), flush=True)
    print(runs.table("plain").round(3).to_string(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
