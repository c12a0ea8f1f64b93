"""New films, ten folds: what text and training the language model are worth, for films that nobody has picked.

    python benchmarks/folds.py [FOLDS]   # 10: about two hours on two cores; writes docs/results/folds.json

Every film with five or more ratings is new in one fold. All settings are the presets of the course, none was sought
here. Each model is kept as soon as it is measured: killed, and started again with the same code, the run goes on. The
curves of valid and test by epoch are kept too, and, for a frozen model, those of settings drawn at random; nothing is
picked by the curves of test.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

import klm_utils as klm
from klm_utils.data.splits import Split
from klm_utils.evaluation import experiment, ranking
from klm_utils.files import atomic_write
from klm_utils.knowledge.templates import item_texts

ROOT = Path(__file__).parents[1]
OUT, CURVES = ROOT / "docs" / "results" / "folds.json", ROOT / "docs" / "results" / "folds_curves.json"
ROOMS = (
    "data/[!_]*.py",
    "embedding/*.py",
    "fusion/*.py",
    "knowledge/*.py",
    "losses.py",
    "models/[bcri]*.py",
    "training/*.py",
)
MODES = {"adapter": "adapter", "partial": "partial", "full": "full"}
ALL = ("no text", "frozen", "frozen, shuffled", "kernel ridge", "kernel ridge + text", "popularity", "full", "adapter")
FEW = ("full, shuffled", "frozen, clipped", "partial")  # on the first three folds
RANGES = {"lr": (1e-3, 2e-2), "decay_ids": (0.03, 3.0), "decay_maps": (0.03, 3.0), "id_dropout": (0.1, 0.9)}
SETTINGS, EPOCHS, HEAD, TEXT = 8, 60, 20, 8
LONGER = (  # all epochs, whatever valid says on the way: the same time for everybody
    ("no text, all epochs", "no text", {}),
    ("frozen, shuffled, all epochs", "frozen, shuffled", {}),
    ("full, long head", "full", {"head_epochs": EPOCHS, "epochs": EPOCHS + TEXT}),
)


def stamp() -> str:
    """A checksum of all code that a training runs through."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(path for room in ROOMS for path in (ROOT / "klm_utils").glob(room)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Curves:
    """{label: {fold: {"valid": [...], "test": [...]}}} in a file, each written as soon as it is there."""

    def __init__(self):
        known = json.loads(CURVES.read_text(encoding="utf8")) if CURVES.exists() else {}
        self.found = known if known.get("stamp") == stamp() else {"stamp": stamp(), "curves": {}}

    def has(self, label: str, fold: int) -> bool:
        return str(fold) in self.found["curves"].get(label, {})

    def add(self, label: str, fold: int, history) -> None:
        values = history.epochs[["valid", "test"]].round(4).to_dict("list")
        self.found["curves"].setdefault(label, {})[str(fold)] = values
        text = json.dumps(self.found) + "\n"
        atomic_write(CURVES, lambda part: part.write_text(text, encoding="utf8"))


def trained(split: Split, fold: int, kind: str, encoder, curves: Curves, label: str, **settings):
    """A model of this kind; its curves are kept."""
    mode, options = MODES.get(kind.split(",")[0], "frozen"), {}
    if kind != "no text":
        options = {"encoder": encoder, "mode": mode, "knowledge": "shuffled" if "shuffled" in kind else "true"}
    defaults = {"epochs": EPOCHS} if mode == "frozen" else {"epochs": HEAD + TEXT, "head_epochs": HEAD}
    if kind == "frozen, clipped":
        settings |= {"warmup": 20, "clip": 1.0}
    model = klm.KLMRecommender.from_split(split, seed=fold, **options)
    config = klm.TrainConfig(objective="interaction", seed=fold, **(defaults | settings))

    def watch(model):
        return {"test": ranking.rank(model, split, among="part").values["ndcg@10"].mean()}

    curves.add(label, fold, klm.fit(model, split, config, watch=watch))
    return model


def main(folds: int) -> None:
    ds, curves = klm.load_dataset("movielens-100k"), Curves()
    encoder = klm.TextEncoder.from_pretrained("minilm")
    vectors = encoder.encode(item_texts(ds))
    splits = {fold: klm.split(ds, "cold_item", fold=fold) for fold in range(folds)}
    rivals = {
        "popularity": klm.baselines.Popularity,
        "kernel ridge": klm.baselines.KernelRidge,
        "kernel ridge + text": lambda: klm.baselines.KernelRidge(vectors),
    }

    def variant(kind: str):
        if kind in rivals:
            return lambda split, fold: rivals[kind]().fit(split)
        return lambda split, fold: trained(split, fold, kind, encoder, curves, kind)

    for number, split in splits.items():  # fold by fold, so that a part of it is a part of every comparison
        for kinds in (ALL, FEW if number < 3 else ()):
            if kinds:
                experiment.run({kind: variant(kind) for kind in kinds}, {number: split}, keep=OUT, stamp=stamp())
        rng = np.random.default_rng(0)
        for setting in range(SETTINGS + 1):  # the first is the preset, for all epochs
            drawn = (
                {name: float(np.exp(rng.uniform(*np.log(ends)))) for name, ends in RANGES.items()} if setting else {}
            )
            label = f"frozen, setting {setting}"
            if not curves.has(label, number):
                trained(split, number, "frozen", encoder, curves, label, patience=EPOCHS, **drawn)
        for label, kind, settings in LONGER:
            if not curves.has(label, number):
                trained(split, number, kind, encoder, curves, label, patience=EPOCHS + TEXT, **settings)
        print(f"fold {number} is done", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
