"""What comes next elsewhere: films' texts in the shop, two encoders, two behaviours in one history.

    python benchmarks/domains.py [shop] [size] [behaviours]   # half an hour; docs/results/domains_*.json

shop: SASRec on vectors of e5 alone, trained on films, asked about the shop (zh and en) as it is, and trained on with 1,
10 and 100 % of the shop's users; beside it the same model from nothing. size: minilm against e5 on films, text alone.
behaviours: the shop's next purchase from purchases alone, from all that was shown, and from both with a mark.
"""

import hashlib
import json
import sys
from functools import cache, partial
from pathlib import Path

import klm_utils as klm
from klm_utils.course.lessons import domains, sequence_trials
from klm_utils.course.lessons.domains import centred
from klm_utils.data.splits import Split
from klm_utils.evaluation import experiment, next_item
from klm_utils.evaluation.next_item import evaluate_next, sequences
from klm_utils.files import atomic_write
from klm_utils.knowledge.templates import item_texts
from klm_utils.models import sequence
from klm_utils.models.next_item import Popular
from klm_utils.models.sequence import SASRec
from klm_utils.training import next_item as training
from klm_utils.training.next_item import NextConfig, fit_next

RESULTS = Path(__file__).parents[1] / "docs" / "results"
CODE = (__file__, domains.__file__, sequence_trials.__file__, sequence.__file__, next_item.__file__, training.__file__)
SHARES = (0.01, 0.1, 1.0)


@cache
def vectors(name: str, language: str, encoder: str = "e5"):
    ds = klm.load_dataset(name, language=language) if name == "shop" else klm.load_dataset(name)
    return centred(klm.TextEncoder.from_pretrained(encoder).encode(item_texts(ds)))


def alone(split: Split, x, seed: int = 0, **settings) -> SASRec:
    """A SASRec that knows of an item only its vector."""
    model = SASRec(split.dataset.items.index, vectors=x, ids=False, seed=seed)
    fit_next(model, split, NextConfig(epochs=40, patience=5, seed=seed, **settings))
    return model


@cache
def of_films() -> SASRec:
    return alone(klm.split(klm.load_dataset("movielens-100k"), "temporal"), vectors("movielens-100k", "en"))


def in_the_shop(language: str, share: float, start: str):
    """A builder: from films, or from nothing, with a share of the shop's users."""

    def build(split, seed):
        x, items = vectors("shop", language), split.dataset.items.index
        model = SASRec(items, vectors=x, ids=False, seed=seed)
        if start == "films":
            model = domains.moved(of_films(), items, x)
        if share:
            part = split if share == 1 else domains.share_of_users(split, share, seed)
            fit_next(model, part, NextConfig(epochs=30, patience=4, seed=seed))
        return model

    return build


def popular(share: float):
    def build(split, seed):
        part = split if share == 1 else domains.share_of_users(split, share, seed)
        return Popular(split.dataset.items.index).fit(sequences(part))

    return build


def popular_purchases(split, seed):
    return Popular(split.dataset.items.index).fit(sequences(domains.reading(split, "bought")))


def reading(kind: str):
    def build(split, seed):
        model = SASRec(split.dataset.items.index, seed=seed)
        fit_next(model, domains.reading(split, kind), NextConfig(epochs=30, patience=4, seed=seed))
        return domains.Reads(model, kind)

    return build


def main(kinds: list[str]) -> None:
    mark = hashlib.sha256(b"".join(Path(path).read_bytes() for path in CODE)).hexdigest()[:16]
    for kind in kinds:
        how = {"keep": RESULTS / f"domains_{kind}.json", "stamp": mark}
        if kind == "shop":
            split = klm.split(klm.load_dataset("shop"), "temporal")
            variants = {f"popularity, {share:.0%}": popular(share) for share in SHARES}
            for language in ("zh", "en"):
                variants[f"films, {language}, 0%"] = in_the_shop(language, 0, "films")
                for share in SHARES:
                    variants[f"films, {language}, {share:.0%}"] = in_the_shop(language, share, "films")
                    variants[f"from nothing, {language}, {share:.0%}"] = in_the_shop(language, share, "nothing")
            runs = experiment.run(variants, split, measure=partial(evaluate_next, most=2000), **how)
        elif kind == "size":
            split = klm.split(klm.load_dataset("movielens-100k"), "temporal")
            both = ("minilm", "e5")
            variants = {
                name: lambda split, seed, name=name: alone(split, vectors("movielens-100k", "en", name), seed)
                for name in both
            }
            runs = experiment.run(variants, split, measure=partial(evaluate_next, most=2000), **how)
            texts = item_texts(klm.load_dataset("movielens-100k"))[:200]
            cost = {name: domains.milliseconds(klm.TextEncoder.from_pretrained(name), texts) for name in both}
            text = json.dumps({"milliseconds a text, one thread": cost})
            atomic_write(RESULTS / "domains_cost.json", lambda part, text=text: part.write_text(text + "\n"))
            print(text)
        else:
            split = domains.behaviours(klm.load_dataset("shop"))
            variants = {"popularity": popular_purchases}
            variants |= {kind: reading(kind) for kind in ("bought", "all as bought", "both")}
            measure = partial(evaluate_next, among="part", most=2000)
            runs = experiment.run(variants, split, measure=measure, **how)
        print(runs.protocol, runs.frame[["variant", "ndcg@10", "seconds"]].round(4).to_string(), sep="\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["shop", "size", "behaviours"])
