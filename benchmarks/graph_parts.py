"""What makes the layer worse than the TransE it starts from: its attention, or its learnt matrices?

    python benchmarks/graph_parts.py [FOLDS]   # 10: about eight minutes on one core; docs/results/graph_parts.json

Folds, TransE and kernel ridge are those of `graph.py`. "Attention": the weights, with W the identity, so nothing is
learnt. "Matrices": the W_r learnt as in the layer, but all facts of a film count alike. Nothing was sought here.
"""

import hashlib
import sys
from pathlib import Path

import folds as ten_folds
import graph as whole
import numpy as np
from torch import Tensor

import klm_utils as klm
from klm_utils.data.splits import Split
from klm_utils.evaluation import experiment
from klm_utils.knowledge.relational import RelationalLayer

OUT = Path(__file__).parents[1] / "docs" / "results" / "graph_parts.json"


class Alike(RelationalLayer):
    """The layer with equal weights: z is the mean of W_r (t - r)."""

    def forward(self, edges: Tensor, films: int) -> tuple[Tensor, Tensor]:
        film, kind, tail = edges.T
        count = film.bincount(minlength=films).clamp_min(1)
        turned = (self.turn[kind] @ (self.t[tail] - self.r[kind])[..., None])[..., 0]
        pi = 1 / count[film]
        return turned.new_zeros(films, turned.shape[1]).index_add(0, film, pi[:, None] * turned), pi


def attention(split: Split, fold: int) -> np.ndarray:
    return RelationalLayer(whole.transe(fold, False)).items(whole.facts(False))


def matrices(split: Split, fold: int) -> np.ndarray:
    found = whole.facts(False)
    return Alike(whole.transe(fold, False)).fit(found, split, seed=fold).items(found)


def main(folds: int) -> None:
    kinds = {
        "TransE": whole.translated,
        "attention": attention,
        "matrices": matrices,
        "layer": whole.attended,
    }
    built = {"text": whole.ridge(lambda split, fold: whole.text())}
    built |= {name: whole.ridge(whole.beside(vectors)) for name, vectors in kinds.items()}
    own = Path(whole.__file__).read_bytes() + Path(__file__).read_bytes()
    mark = hashlib.sha256(ten_folds.stamp().encode() + own).hexdigest()[:16]
    for fold in range(folds):
        split = klm.split(whole.data(), "cold_item", fold=fold)
        runs = experiment.run(built, {fold: split}, keep=OUT, stamp=mark)
        print(runs.values().round(3).T.to_string(), flush=True)
    for name, row in runs.gains(*((kind, "TransE") for kind in kinds if kind != "TransE")).items():
        print(f"{name:30} {row}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
