"""What notebook 05 trains and measures: each kind of model once on each split, and what is asked of it."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch

from klm_utils.course.lessons import cost
from klm_utils.data.schema import RecDataset
from klm_utils.data.splits import Split
from klm_utils.data.splits import split as split_of
from klm_utils.embedding import mlm, modes
from klm_utils.embedding.encoder import TextEncoder
from klm_utils.errors import ConfigError
from klm_utils.evaluation import experiment, paired_gain
from klm_utils.evaluation.experiment import Runs
from klm_utils.knowledge.templates import item_texts
from klm_utils.models.baselines import BASELINES
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training.config import TrainConfig
from klm_utils.training.curves import History
from klm_utils.training.loop import fit

NEW_FILMS = ("cold_item", "interaction")
SPECS: dict[str, tuple[list[str], list[str], dict[str, Any]]] = {  # question: kinds of text, rivals, settings
    "random, label": (["no text", "frozen"], ["bias_als"], {"id_dropout": 0.0}),
    "cold_item, label": (
        ["no text", "frozen", "frozen, shuffled"],
        ["user_item_bias", "logistic", "gradient_boosting"],
        {"id_dropout": 0.2},
    ),
    "random, interaction": (["frozen"], ["popularity", "ease"], {"id_dropout": 0.0, "batch": 256, "lr": 0.01}),
    "temporal, label": (["no text", "frozen"], ["user_item_bias", "bias_als"], {"id_dropout": 0.2}),
}
RANGES = {"lr": (1e-3, 2e-2), "decay_ids": (0.03, 3.0), "decay_maps": (0.03, 3.0), "id_dropout": (0.1, 0.9)}


@dataclass
class Trials:
    """Models of one data set; what was trained once is not trained again.

    A kind is "no text", a mode, a mode and ", shuffled" (the texts dealt out among the films), ", pretrained" (the
    language model has guessed hidden words of train first) or ", joint" (it guesses them along the way).

    folds: of the new films. seeds: of the other splits.
    epochs: at most, for a model whose language model stands still. head_epochs, text_epochs: of the others.
    mlm_texts, mlm_epochs: of guessing hidden words; at most so many texts.
    """

    ds: RecDataset
    encoder: TextEncoder
    folds: Sequence[int]
    seeds: Sequence[int]
    epochs: int
    head_epochs: int
    text_epochs: int
    mlm_texts: int = 64
    mlm_epochs: int = 1
    done: dict = field(default_factory=dict, repr=False)

    def split(self, name: str, number: int) -> Split:
        """A fold of new films, or the split of this seed."""
        at = {"fold": number} if name == "cold_item" else {"seed": number}
        return self._once(("split", name, number), lambda: split_of(self.ds, name, **at))

    def train(
        self, kind: str, number: int, name: str = "cold_item", objective: str = "interaction", **settings: Any
    ) -> tuple[KLMRecommender, History]:
        """A trained model of this kind, and its history."""
        key = ("model", kind, number, name, objective, *sorted(settings.items()))
        return self._once(key, lambda: self._train(kind, number, name, objective, settings))

    def _train(self, kind: str, number: int, name: str, objective: str, settings: dict[str, Any]):
        mode, *how = kind.split(", ")
        options: dict[str, Any] = {} if kind == "no text" else {"encoder": self.encoder, "mode": mode}
        if "shuffled" in how:
            options["knowledge"] = "shuffled"
        if "pretrained" in how:
            options["encoder"] = self.pretrained(number)[0]
        split = self.split(name, number)
        model = KLMRecommender.from_split(split, seed=number, **options)
        own: dict[str, Any] = {"epochs": self.epochs}
        if model.texts is not None:
            own = {"epochs": self.head_epochs + self.text_epochs, "head_epochs": self.head_epochs}
        own |= {"mlm": 0.1} if "joint" in how else {}
        return model, fit(model, split, TrainConfig(objective=objective, seed=number, **own | settings))

    def measure(
        self,
        kinds: Sequence[str],
        baselines: Sequence[str] = (),
        name: str = "cold_item",
        objective: str = "interaction",
        **settings: Any,
    ) -> Runs:
        """These baselines and kinds of model on the folds (of new films) or the seeds."""
        known: Any = BASELINES[objective]
        rivals = [known[baseline] for baseline in baselines]
        variants: dict[str, Any] = {
            rival().name: lambda split, number, rival=rival: rival().fit(split) for rival in rivals
        }
        for kind in kinds:
            variants[kind] = lambda split, number, kind=kind: self.train(kind, number, name, objective, **settings)[0]
        numbers = self.folds if name == "cold_item" else self.seeds
        return experiment.run(variants, {number: self.split(name, number) for number in numbers})

    def question(self, question: str) -> tuple[experiment.Rows, experiment.Rows]:
        """Values and paired differences of one of `SPECS`."""
        kinds, rivals, settings = SPECS[question]
        name, objective = question.split(", ")
        found = self.measure(kinds, rivals, name, objective, **settings)
        return found.to_rows(), found.gains(*[("frozen", other) for other in found.variants if other != "frozen"])

    # hidden words

    def texts_of(self, part: str, fold: int) -> list[str]:
        """The texts of the films that this part of a fold has."""
        there = self.ds.items.index.isin(getattr(self.split("cold_item", fold), part)["item_id"])
        return [text for text, here in zip(item_texts(self.ds), there, strict=True) if here]

    def pretrained(self, fold: int) -> tuple[TextEncoder, mlm.MaskedHead]:
        """An encoder that has guessed hidden words of the texts of the films in train, and its head."""

        def make():
            texts = self.texts_of("train", fold)[: self.mlm_texts]
            return mlm.pretrain(self.encoder, texts, epochs=self.mlm_epochs, seed=fold)

        return self._once(("pretrained", fold), make)

    def perplexity(self, fold: int, joint: bool = False) -> dict[str, float]:
        """On the texts of new films: of a model that counts words, at the start, pretrained, and of "full, joint"."""
        new = self.texts_of("test", fold)[: self.mlm_texts]
        row = {"unigrams": mlm.unigram_perplexity(self.encoder, self.texts_of("train", fold), new)}
        row["at the start"] = mlm.perplexity(self.encoder, mlm.MaskedHead(self.encoder, fold), new)
        row["pretrained"] = mlm.perplexity(*self.pretrained(fold), new)
        if joint:
            texts = self.train("full, joint", fold)[0].texts
            assert texts is not None and texts.head is not None
            row["full, joint"] = mlm.perplexity(texts.encoder, texts.head, new)
        return {name: round(value, 1) for name, value in row.items()}

    # what the full-scale run asks besides

    def others(self, ten: Runs, masked: Sequence[str], questions: Sequence[str], trials: int) -> dict[str, dict]:
        """Values and differences of kinds with a second loss and of other questions, the perplexities, and a search.

        Args:
            ten: the stored runs on all folds; what has no second loss is not trained again.
            masked: kinds with ", pretrained" or ", joint".
            questions: of `SPECS`.
            trials: of the search.

        Returns:
            "tables", "gains", "perplexity", "search", each empty where nothing of it was asked for.
        """
        found: dict[str, dict] = {"tables": {}, "gains": {}, "perplexity": {}, "search": {}}
        if masked:
            both = ten | self.measure(masked)
            found["tables"]["second loss"] = both.only("frozen", "full", *masked).to_rows()
            found["gains"]["second loss"] = both.gains(*[(kind, kind.split(",")[0]) for kind in masked])
        if self.mlm_epochs:
            joint = "full, joint" in masked
            found["perplexity"] = {f"fold {fold}": self.perplexity(fold, joint) for fold in self.folds}
        for question in questions:
            found["tables"][question], found["gains"][question] = self.question(question)
        if trials:
            found["search"] = self.search(trials, self.seeds[0])
        return found

    # a search, on valid only

    def search(self, trials: int, seed: int = 0) -> dict[str, Any]:
        """Settings of the frozen model on the first fold: the preset, nine at random, then TPE; valid picks, and the
        winner meets the preset on test once."""
        import optuna

        fold = self.folds[0]

        def on_valid(trial) -> float:
            settings = {
                name: trial.suggest_float(name, *ends, log=name != "id_dropout") for name, ends in RANGES.items()
            }
            return float(self.train("frozen", fold, **settings)[1].epochs["valid"].max())

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        preset = TrainConfig(objective="interaction").of("frozen")
        study.enqueue_trial({name: getattr(preset, name) for name in RANGES})
        study.optimize(on_valid, n_trials=trials)
        split = {fold: self.split("cold_item", fold)}
        both = {"winner": lambda split, fold: self.train("frozen", fold, **study.best_params)[0]}
        both["preset"] = lambda split, fold: self.train("frozen", fold)[0]
        runs = experiment.run(both, split)
        test = paired_gain(runs.reports("winner"), runs.reports("preset"))
        found = {"valid": [round(trial.value or 0.0, 4) for trial in study.trials], "best": study.best_params}
        return found | {
            "lr": [trial.params["lr"] for trial in study.trials],
            "test": [test.difference, test.low, test.high],
        }

    def _once(self, key: tuple, make):
        if key not in self.done:
            self.done[key] = make()
        return self.done[key]


def power_cut(epoch: int) -> Callable[[KLMRecommender], None]:
    """A function to `watch` a training, which breaks it off in this epoch, before the epoch's checkpoint is written."""
    seen = []

    def watch(model: KLMRecommender) -> None:
        seen.append(1)
        if len(seen) == epoch:
            raise RuntimeError(f"the power fails in epoch {epoch}")

    return watch


def in_two_processes(module: str = "klm_utils.course.lessons.two_processes") -> KLMRecommender:
    """The model that this module saves to the folder in its argument, run by torchrun in two processes.

    Raises:
        ConfigError: the module failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        run = subprocess.run([*torchrun, "-m", module, folder], capture_output=True, text=True)
        if run.returncode:
            found, remedy = run.stderr.strip()[:1000], "see the error of the processes"
            raise ConfigError("the module failed", "in_two_processes", found, "a saved model", remedy)
        return KLMRecommender.from_pretrained(folder)


def costs(steps: int) -> dict[str, dict[str, float]]:
    """What a step costs in each mode, plain, with a trimmed table of tokens, and with checkpointing."""
    extras: dict[str, dict] = {
        "": {},
        "trimmed": {"trimmed": True},
        "checkpointing": {"tuning": {"checkpointing": True}},
    }
    cases = {f"minilm {m} {name}": {"mode": m} | extra for m in modes.MODES for name, extra in extras.items()}
    del cases["minilm frozen checkpointing"]  # nothing to go back through
    cases |= {f"e5 full {name}": {"mode": "full", "name": "e5"} | extras[name] for name in ("", "trimmed")}
    columns = ("trained", "parameters", "seconds", "peak_mb")
    found = {name: cost.in_a_process_of_its_own(**case, steps=steps) for name, case in cases.items()}
    return {name.strip(): {column: one[column] for column in columns} for name, one in found.items()}


def spent(steps: int, stored: dict[str, Any]) -> dict[str, Any]:
    """The `costs`, and how many times fewer positions are read if a step reads each text once ("times_less").

    Args:
        steps: to time; 0: what is stored.
        stored: the metrics of the full-scale run.
    """
    if not steps:
        return {name: stored[name] for name in ("costs", "times_less") if name in stored}
    row, item = (
        cost.in_a_process_of_its_own(objective="label", grouped=grouped, steps=1)["positions"]
        for grouped in (False, True)
    )
    return {"costs": costs(steps), "times_less": round(row / item, 1)}


def seconds_and_peaks(costs: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Seconds of an epoch and MB of the peak by mode, plain and with checkpointing, as text; - where none is there."""
    columns = {"seconds": ("seconds an epoch", ".1f"), "peak_mb": ("peak, MB", ".0f")}
    rows = {
        mode: {
            label + how: format(costs[name][column], form) if (name := f"minilm {mode}{key}") in costs else "-"
            for column, (label, form) in columns.items()
            for key, how in (("", ""), (" checkpointing", ", checkpointing"))
        }
        for mode in modes.MODES
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def held(found: dict[str, dict[str, float]]) -> pd.DataFrame:
    """MB that training must hold, by mode: weights, what each trained number takes besides, and what a step keeps.

    Args:
        found: mode -> "parameters", "trained", "kept_mb", as `cost.measure` gives them.
    """
    each = 4 / 2**20  # MB of a number in float32
    rows = {
        mode: {
            "weights": one["parameters"] * each,
            "gradient and AdamW": 3 * one["trained"] * each,
            "average, best": 2 * one["trained"] * each,
            "kept for the way back": one["kept_mb"],
        }
        for mode, one in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


SHOWN = {  # question, rival: in words
    ("random, label", "no text"): "known films, liked? minus no text",
    ("random, label", "bias + ALS"): "known films, liked? minus bias + ALS",
    ("cold_item, label", "no text"): "new films, liked? minus no text",
    ("cold_item, label", "logistic regression"): "new films, liked? minus logistic",
    ("random, interaction", "EASE"): "known films, chosen? (nDCG) minus EASE",
    ("temporal, label", "no text"): "tomorrow, liked? minus no text",
    ("temporal, label", "user + item bias"): "tomorrow, liked? minus bias",
}


def named(gains: dict[str, experiment.Rows]) -> experiment.Rows:
    """The differences of the frozen model to its rivals in `SPECS`, as far as they were measured, with plain names."""
    pairs = {name: (question, f"frozen minus {rival}") for (question, rival), name in SHOWN.items()}
    return {name: gains[q][pair] for name, (q, pair) in pairs.items() if pair in gains.get(q, {})}


@torch.no_grad()
def guess(encoder: TextEncoder, head: mlm.MaskedHead, text: str, word: str, k: int = 3):
    """The tokens of a text, the place of `word` among them, and the k likeliest tokens there if it is hidden.

    Returns:
        list of tokens without the special ones; the place; [(token, probability)].
    """
    tokenizer, was = encoder.tokenizer, encoder.model.training
    encoder.model.eval()
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids[0])
    at = tokens.index(word)
    ids[0, at] = tokenizer.mask_token_id
    states = encoder.model(input_ids=ids.to(encoder.model.device)).last_hidden_state
    p = head(states[0, at][None])[0].softmax(0)
    encoder.model.train(was)
    best = p.topk(k)
    words = tokenizer.convert_ids_to_tokens(best.indices)
    return tokens[1:-1], at - 1, list(zip(words, best.values.tolist(), strict=True))
