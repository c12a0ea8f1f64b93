"""What comes next: losses, what items start from, codes in place of ids, order; by three protocols.

    python benchmarks/sequences.py [last] [time] [new] [all]   # an hour on one core; docs/results/sequences_*.json

last: the last liked film of each user, seeds 0 to 2 of the main rows. time: 2,000 choices of the last tenth of the log,
each asked when it is made. new: films that are new in folds 0 to 2, among themselves; all: the same among all films.
Valid picks the epoch of each. Settings were tried on valid of "last" with seed 0 (length of windows, width, dropout,
size of the first vectors).
"""

import hashlib
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np

import klm_utils as klm
from klm_utils.course.lessons import codes, sequence_trials
from klm_utils.course.lessons.sequence_trials import fact_vectors, known_items, principal
from klm_utils.evaluation import experiment, next_item
from klm_utils.knowledge.templates import item_texts
from klm_utils.models import sequence
from klm_utils.models.next_item import Markov, NextEASE, Popular
from klm_utils.models.sequence import SASRec
from klm_utils.training import next_item as training
from klm_utils.training.next_item import NextConfig, fit_next

RESULTS = Path(__file__).parents[1] / "docs" / "results"
LONG = {"epochs": 40, "patience": 5}
CODE = (__file__, codes.__file__, sequence_trials.__file__, sequence.__file__, next_item.__file__, training.__file__)


@cache
def texts():
    ds = klm.load_dataset("movielens-100k")
    return klm.TextEncoder.from_pretrained("minilm").encode(item_texts(ds))


def closed(kind, **options):
    return lambda split, seed: kind(split.dataset.items.index, **options).fit(next_item.sequences(split))


FITTED: dict = {}  # for what is measured in two ways


def with_slot(build):
    """The same model, and the nearest new item at place ten."""
    return lambda split, seed: sequence_trials.Slot(build(split, seed), texts(), known_items(split))


def trained(ties, items="text start", config=None, mixed=False):
    """A builder of a SASRec, or of a speller; items: what an item's vector comes from."""

    def build(split, seed):
        key = split.protocol, seed, ties, items, str(config), mixed
        if key not in FITTED:
            FITTED[key] = fit(split, seed)
        return FITTED[key]

    def fit(split, seed):
        ids, known = split.dataset.items.index, known_items(split)
        text, facts = principal(texts(), known), None
        options = {"seed": seed}
        if items == "text start":
            options["start"] = text
        elif items == "text + ids":
            options |= {"vectors": text}
        elif items == "text alone":
            options |= {"vectors": text, "ids": False}
        elif items.startswith("facts"):
            facts = principal(fact_vectors(split), known)
            options |= {"vectors": facts} if items == "facts + ids" else {"vectors": facts, "ids": False}
        if items == "facts and text":
            options |= {"vectors": np.hstack([text, facts]), "ids": False}
        if items.startswith("codes"):
            _, kind, size = items.split()
            own = codes.residual_codes(texts(), known, int(size), seed=seed)
            own = codes.dealt(own, seed) if kind == "dealt" else own
            own = codes.drawn(len(ids), int(size), seed=seed) if kind == "drawn" else own
            model = codes.Speller(ids, own, known, seed=seed)
        else:
            model = SASRec(ids, **options)
        settings = LONG | {"ties": ties, "seed": seed} | (config or {})
        fit_next(model, sequence_trials.out_of_order(split, seed) if mixed else split, NextConfig(**settings))
        return sequence_trials.Mixed(model, seed) if mixed else model

    return build


def main(kinds: list[str]) -> None:
    ds = klm.load_dataset("movielens-100k")
    mark = hashlib.sha256(b"".join(Path(path).read_bytes() for path in CODE)).hexdigest()[:16]
    for kind in kinds:
        ties = "order" if kind == "last" else "none"
        fit = partial(trained, ties)
        simple = {"popularity": closed(Popular), "Markov table": closed(Markov), "EASE": closed(NextEASE, reg=200.0)}
        main_rows = {"SASRec": fit(), "SASRec, BCE, 1 other": fit(config={"loss": "bce", "epochs": 80})}
        others = {
            "SASRec, BCE, 64 others": fit(config={"loss": "bce", "negatives": 64}),
            "SASRec, gBCE, 64 others": fit(config={"loss": "gbce", "negatives": 64}),
            "SASRec, out of order": fit(mixed=True),
            "SASRec, ids": fit("ids"),
            "SASRec, text + ids": fit("text + ids"),
            "SASRec, facts + ids": fit("facts + ids"),
            "SASRec, text alone": fit("text alone"),
            "codes, 32": fit("codes true 32"),
            "codes, 32, dealt": fit("codes dealt 32"),
            "codes, 32, drawn": fit("codes drawn 32"),
        }
        if kind == "last":
            liked = sequence_trials.last_liked(ds, "liked")
            few = {"popularity": simple["popularity"], "EASE": simple["EASE"], "SASRec": main_rows["SASRec"]}
            how = {"measure": partial(next_item.evaluate_next, ties=ties), "stamp": mark}
            split = sequence_trials.last_liked(ds)
            show(experiment.run(simple | main_rows | others, split, keep=RESULTS / "sequences_last.json", **how))
            again = main_rows | {"SASRec, ids": others["SASRec, ids"]}
            seeds = experiment.run(again, split, (0, 1, 2), keep=RESULTS / "sequences_last.json", **how)
            show(seeds.only(*again))
            show(experiment.run(few, liked, (0, 1, 2), keep=RESULTS / "sequences_liked.json", **how))
        elif kind == "time":
            how = {"measure": partial(next_item.evaluate_next, most=2000), "stamp": mark}
            split = klm.split(ds, "temporal")
            more = others | {"SASRec and a slot": with_slot(main_rows["SASRec"])}
            show(experiment.run(simple | main_rows | more, split, keep=RESULTS / "sequences_time.json", **how))
        else:
            alone = {"SASRec, facts alone": fit("facts alone"), "SASRec, facts and text alone": fit("facts and text")}
            names = ("SASRec, ids", "SASRec, text + ids", "SASRec, text alone", "codes, 32", "codes, 32, dealt")
            rows = {"SASRec": main_rows["SASRec"]} | {name: others[name] for name in names} | alone
            if kind == "all":
                rows |= {"SASRec and a slot": with_slot(main_rows["SASRec"])}
            splits = {fold: klm.split(ds, "cold_item", fold=fold) for fold in range(3)}
            how = {"measure": partial(next_item.evaluate_next, among="part" if kind == "new" else "all"), "stamp": mark}
            show(experiment.run(rows, splits, keep=RESULTS / f"sequences_{kind}.json", **how))


def show(runs) -> None:
    print(runs.protocol, runs.frame.groupby("variant", sort=False)[["ndcg@10", "seconds"]].mean().round(4), sep="\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:] or ["last", "time", "new", "all"])
