"""What averaging is worth: one model, the mean of several, and the rivals, on known films, new films and tomorrow.

    python benchmarks/averaging.py [QUESTION ...]   # all three: about half an hour on two cores

Writes docs/results/averaging.json; a question that is not named keeps what stands there.

The members: our model with three losses and three seeds each, and the two best baselines. The third loss ("ordinal")
was added after test of `random` had been read with two (.8110 over ten seeds). Valid is measured beside test, so that
one may pick by it.
"""

import functools
import json
import sys
from pathlib import Path

import pandas as pd

import klm_utils as klm
from klm_utils.evaluation import experiment
from klm_utils.files import atomic_write
from klm_utils.models.baselines import BiasALS, GradientBoosting

OUT = Path(__file__).parents[1] / "docs" / "results" / "averaging.json"
LOSSES = ("bce", "squared_error", "ordinal")
START = 3  # seeds of each loss
SPLITS = {"random": 10, "cold_item": 10, "temporal": 1}  # by time there is one split; its numbers would be starts
QUESTIONS = {"random": {"id_dropout": 0.0}, "cold_item": {"id_dropout": 0.2}, "temporal": {"id_dropout": 0.2}}


@functools.cache
def encoder() -> klm.TextEncoder:
    return klm.TextEncoder.from_pretrained("minilm")


@functools.cache
def split_of(name: str, number: int) -> klm.Split:
    """The split of a seed; of new films a fold."""
    ds = klm.load_dataset("movielens-100k")
    return klm.split(ds, name, fold=number) if name == "cold_item" else klm.split(ds, name, seed=number)


@functools.cache
def ours(name: str, number: int, loss: str, start: int) -> klm.KLMRecommender:
    split = split_of(name, number)
    model = klm.KLMRecommender.from_split(split, encoder=encoder(), seed=1000 * start + number)
    klm.fit(model, split, klm.TrainConfig(loss=loss, seed=1000 * start + number, **QUESTIONS[name]))
    return model


@functools.cache
def rival(name: str, number: int, kind: type):
    return kind().fit(split_of(name, number))


def variants(name: str) -> dict:
    """{name: build(split, number)} of single models, and of means of more and more of them."""
    kinds = [(loss, start) for start in range(START) for loss in LOSSES]

    def mean(chosen, rivals=()):
        def build(split, number):
            members = [ours(name, number, *kind) for kind in chosen]
            return klm.Average(*members, *(rival(name, number, kind) for kind in rivals))

        return build

    single = {loss: lambda split, number, loss=loss: ours(name, number, loss, 0) for loss in LOSSES}
    rivals = {"bias + ALS": BiasALS, "gradient boosting": GradientBoosting}
    alone = {label: lambda split, number, kind=kind: rival(name, number, kind) for label, kind in rivals.items()}
    return (
        alone
        | single
        | {
            "one of each loss": mean(kinds[: len(LOSSES)]),
            "three of each loss": mean(kinds),
            "and the rivals": mean(kinds, rivals.values()),
        }
    )


def main(names: list[str]) -> None:
    found = json.loads(OUT.read_text(encoding="utf8")) if OUT.exists() else {}
    for name in names:
        splits = {number: split_of(name, number) for number in range(SPLITS[name])}
        runs = experiment.run(variants(name), splits)
        values, gains = runs.values().droplevel("seed").round(4), runs.to_rows("bce")
        valid = experiment.run(variants(name), splits, part="valid").values().mean().round(4)
        found[name] = {"protocol": runs.protocol, "auc": values.to_dict("list"), "minus bce": gains}
        found[name] |= {"valid": valid.to_dict()}
        print(pd.DataFrame({"valid": valid, "test": values.mean().round(4)}), gains, sep="\n", flush=True)
        ours.cache_clear(), rival.cache_clear()
        text = json.dumps(found, indent=1) + "\n"
        atomic_write(OUT, lambda part, text=text: part.write_text(text, encoding="utf8"))


if __name__ == "__main__":
    main(sys.argv[1:] or list(QUESTIONS))
