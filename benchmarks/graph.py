"""New films: what facts are worth as a graph, and how the vectors of a text had best enter.

    python benchmarks/graph.py [FOLDS]   # 10: about eight minutes of one core; writes docs/results/graph.json

Every variant is kernel ridge on vectors: those of the text, whole or 64 wide, or text and facts side by side, each
centred on train and of length 1. Joined so they are one block, of length 1 together; notebook 07 leaves to each its own
("ridge, text and facts" of `facts.py`, on the same folds). "Of others" is the control: the facts of each film at
another one, before anything is learnt of them. TransE, the relation-aware layer, whitening and the adaptor learn from
films of train alone; about seven settings of the layer were looked at on valid of folds 0 and 1, three of the adaptor
on fold 0.
"""

import hashlib
import sys
from functools import cache
from pathlib import Path

import folds as ten_folds
import numpy as np
import pandas as pd

import klm_utils as klm
from klm_utils.course.lessons import adaptors
from klm_utils.data.splits import Split
from klm_utils.embedding.whitening import fit_whitening
from klm_utils.evaluation import experiment
from klm_utils.knowledge import graph
from klm_utils.knowledge.relational import RelationalLayer
from klm_utils.knowledge.templates import item_texts
from klm_utils.knowledge.transe import TransE
from klm_utils.knowledge.vectors import FactVectors

OUT = Path(__file__).parents[1] / "docs" / "results" / "graph.json"
WIDTH, EPOCHS = 64, 100


@cache
def data() -> klm.RecDataset:
    """MovieLens."""
    return klm.load_dataset("movielens-100k")


@cache
def text() -> np.ndarray:
    """What the language model makes of each film's text."""
    return klm.TextEncoder.from_pretrained("minilm").encode(item_texts(data()))


@cache
def facts(others: bool) -> graph.Facts:
    """Of each film, or of another one."""
    found = graph.facts(data())
    return graph.shuffled(found) if others else found


def met(split: Split) -> np.ndarray:
    """Whether each film is in train, bool [films]."""
    return data().items.index.isin(split.train["item_id"])


@cache
def transe(fold: int, others: bool) -> TransE:
    """Learnt of the facts of the films in train."""
    split = klm.split(data(), "cold_item", fold=fold)
    known = [(f"film {at}", own) for at, own in enumerate(facts(others)) if met(split)[at]]
    rows = [(film, relation, tail) for film, own in known for relation, tail in own]
    return TransE(pd.DataFrame(rows, columns=["head", "relation", "tail"]), WIDTH, EPOCHS, seed=fold)


def counted(split: Split, fold: int) -> np.ndarray:
    """TF-IDF and principal directions: the vectors of `KernelRidge(facts=)`, but joined as the others are."""
    items, columns = data().items, data().facts
    return FactVectors.fit(items[met(split)], columns, WIDTH).transform(items)


def translated(split: Split, fold: int, others: bool = False) -> np.ndarray:
    """TransE: the mean of t - r."""
    return transe(fold, others).items(facts(others))


def attended(split: Split, fold: int, others: bool = False) -> np.ndarray:
    """The relation-aware layer on top of TransE."""
    found = facts(others)
    return RelationalLayer(transe(fold, others)).fit(found, split, seed=fold).items(found)


def beside(of_facts):
    """Text and vectors of facts."""

    def vectors(split: Split, fold: int) -> np.ndarray:
        parts = [part - part[met(split)].mean(0) for part in (text(), of_facts(split, fold))]
        return np.hstack([part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9) for part in parts])

    return vectors


def turned(strength: float):
    """The leading 64 directions of the text, as they are (0) or whitened (1)."""
    return lambda split, fold: fit_whitening(text()[met(split)], "pca", strength, WIDTH)(text())


def ridge(vectors):
    """Kernel ridge on what `vectors(split, fold)` gives."""
    return lambda split, fold: klm.baselines.KernelRidge(vectors(split, fold)).fit(split)


def stamp() -> str:
    """Of the code of the course, of this file and of the adaptor."""
    own = [Path(path).read_bytes() for path in (__file__, adaptors.__file__)]
    return hashlib.sha256(b"".join([ten_folds.stamp().encode(), *own])).hexdigest()[:16]


def main(folds: int) -> None:
    variants = {
        "text": lambda split, fold: text(),
        "text, facts counted": beside(counted),
        "text, TransE": beside(translated),
        "text, TransE of others": beside(lambda *where: translated(*where, others=True)),
        "text, relational": beside(attended),
        "text, relational of others": beside(lambda *where: attended(*where, others=True)),
        "text, 64 directions": turned(0.0),
        "text, 64 whitened": turned(1.0),
        "text, 64 adapted": lambda split, fold: adaptors.adapted(text(), split, width=WIDTH, seed=fold),
    }
    built, mark = {name: ridge(vectors) for name, vectors in variants.items()}, stamp()
    for fold in range(folds):
        split = klm.split(data(), "cold_item", fold=fold)
        runs = experiment.run(built, {fold: split}, keep=OUT, stamp=mark)
        print(runs.values().round(3).T.to_string(), flush=True)
    print(runs.table("text").round(3).to_string())
    pairs = [(f"text, {name}", f"text, {name} of others") for name in ("TransE", "relational")]
    more = [("text, relational", "text, TransE"), ("text, TransE", "text, facts counted")]
    for name, row in runs.gains(*pairs, *more, ("text, 64 adapted", "text, 64 directions")).items():
        print(f"{name:60} {row}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
