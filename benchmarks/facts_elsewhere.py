"""Facts where the other tables do not look: known films, the first edition's three splits of new films, end to end.

    python benchmarks/facts_elsewhere.py   # about ten minutes; writes docs/results/facts_known.json, facts_seeds.json

Known films: `random`, seeds 0 to 2, what will they choose. New films: `cold_item` as the first edition split them,
seeds 0 to 2, so that the numbers of its notebooks have something beside them; with facts as vectors and read.
"""

import sys
from functools import cache
from pathlib import Path

from folds import stamp

import klm_utils as klm
from klm_utils.evaluation import experiment
from klm_utils.knowledge.templates import FIELDS, item_texts

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SEEDS = (0, 1, 2)


@cache
def encoder() -> klm.TextEncoder:
    return klm.TextEncoder.from_pretrained("minilm")


def ridge(ds: klm.RecDataset, facts: bool):
    vectors = encoder().encode(item_texts(ds))
    return lambda split, seed: klm.baselines.KernelRidge(vectors, facts=ds.facts if facts else ()).fit(split)


def ours(ds: klm.RecDataset, facts: bool, mode: str = "frozen", **settings):
    def build(split, seed):
        columns = ds.facts if facts else ()
        # end to end the facts are vectors only: a cast read at each step made one run longer than an hour
        text = (*FIELDS, *columns) if mode == "frozen" else FIELDS
        model = klm.KLMRecommender.from_split(split, encoder(), text=text, facts=columns, mode=mode, seed=seed)
        klm.fit(model, split, klm.TrainConfig(objective="interaction", seed=seed, **settings))
        return model

    return build


def main(kinds: list[str]) -> None:
    ds, mark = klm.load_dataset("movielens-100k"), stamp()
    frozen = {"ridge, text": ridge(ds, False), "ridge, text and facts": ridge(ds, True)}
    frozen |= {"KLM, text": ours(ds, False, epochs=60), "KLM, text and facts": ours(ds, True, epochs=60)}
    end_to_end = {"KLM full, text": ours(ds, False, "full"), "KLM full, text and facts": ours(ds, True, "full")}
    questions = {"known": ("random", frozen), "seeds": ("cold_item", frozen | end_to_end)}
    for kind in kinds:
        name, variants = questions[kind]
        splits = {seed: klm.split(ds, name, seed=seed) for seed in SEEDS}
        runs = experiment.run(
            variants, splits, objective="interaction", keep=RESULTS / f"facts_{kind}.json", stamp=mark
        )
        print(runs.values().round(3).to_string(), runs.table("KLM, text").round(3).to_string(), sep="\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["known", "seeds"])
