"""New films, ten folds: what facts are worth, as vectors and as text, with every control.

    python benchmarks/facts.py [FOLDS]   # 10: about ten minutes on two cores; writes docs/results/facts.json

The folds are those of `folds.py`, whose rows these go with. All settings are the presets; about thirty variants were
looked at on test of these folds while FactVectors was built. Each run is kept as soon as it is measured. Controls: "of
others", the facts of each film at another one; "mislinked", RecBole's graph; none.
"""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

from folds import stamp

import klm_utils as klm
from klm_utils.evaluation import experiment
from klm_utils.knowledge import graph
from klm_utils.knowledge.controls import facts_shuffled
from klm_utils.knowledge.templates import FIELDS, item_texts

OUT = Path(__file__).parents[1] / "docs" / "results" / "facts.json"
EPOCHS = 60


@cache
def data(kind: str) -> klm.RecDataset:
    """MovieLens with its facts, those of other films, or those of the mislinked graph."""
    ds = klm.load_dataset("movielens-100k")
    if kind == "others":
        return facts_shuffled(ds)
    if kind == "mislinked":
        tags = graph.as_tags(graph.facts(klm.load_dataset("movielens-100k-mislinked")))
        return replace(ds, items=ds.items.assign(facts=tags), facts=("facts",))
    return ds


def ridge(encoder: klm.TextEncoder, kind: str = "", text: bool = False):
    """Kernel ridge, with texts or facts or both."""

    def build(split, fold):
        ds = data(kind)
        vectors = encoder.encode(item_texts(ds)) if text else None
        model = klm.baselines.KernelRidge(vectors, facts=ds.facts if kind else ())
        return model.fit(klm.split(ds, "cold_item", fold=fold))

    return build


def klm_model(encoder: klm.TextEncoder, kind: str = "", vectors: bool = False, read: bool = False):
    """A frozen model whose facts are vectors, or are read by the language model, or both."""

    def build(split, fold):
        ds = data(kind)
        own = klm.split(ds, "cold_item", fold=fold)
        text = (*FIELDS, *ds.facts) if read else FIELDS
        facts = ds.facts if vectors else ()
        model = klm.KLMRecommender.from_split(own, encoder, text=text, facts=facts, seed=fold)
        klm.fit(model, own, klm.TrainConfig(objective="interaction", epochs=EPOCHS, seed=fold))
        return model

    return build


def main(folds: int) -> None:
    encoder = klm.TextEncoder.from_pretrained("minilm")
    variants = {
        "ridge": ridge(encoder),
        "ridge, text": ridge(encoder, text=True),
        "ridge, facts": ridge(encoder, "true"),
        "ridge, facts of others": ridge(encoder, "others"),
        "ridge, facts mislinked": ridge(encoder, "mislinked"),
        "ridge, text and facts": ridge(encoder, "true", text=True),
        "ridge, text and facts of others": ridge(encoder, "others", text=True),
        "ridge, text and facts mislinked": ridge(encoder, "mislinked", text=True),
        "KLM, text": klm_model(encoder),
        "KLM, text, facts as vectors": klm_model(encoder, "true", vectors=True),
        "KLM, text, facts read": klm_model(encoder, "true", read=True),
        "KLM, text, facts both ways": klm_model(encoder, "true", vectors=True, read=True),
        "KLM, text, facts of others both ways": klm_model(encoder, "others", vectors=True, read=True),
    }
    ds, mark = data("true"), stamp()  # of the code that runs, whatever becomes of the files meanwhile
    for fold in range(folds):
        split = klm.split(ds, "cold_item", fold=fold)
        runs = experiment.run(variants, {fold: split}, keep=OUT, stamp=mark)
        print(runs.values().round(3).to_string(), flush=True)
    for base in ("ridge", "ridge, text", "KLM, text"):
        print(runs.table(base).round(3).to_string(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
