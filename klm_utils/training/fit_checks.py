"""What `fit` refuses."""

from collections.abc import Callable
from numbers import Real
from os import PathLike
from pathlib import Path
from types import NoneType

import torch

from klm_utils.data.catalogue import known_pairs
from klm_utils.data.splits import Split
from klm_utils.errors import ConfigError, check_kind
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training import distributed
from klm_utils.training.config import TrainConfig
from klm_utils.training.objectives import Task


def check_fit(model, split, config) -> None:
    """Refuse arguments of the wrong kind, and a split that the model was not built for."""
    example = 'for example klm.fit(model, split, klm.TrainConfig(objective="label"))'
    for argument, value, kind in (
        ("model", model, KLMRecommender),
        ("split", split, Split),
        ("config", config, TrainConfig),
    ):
        check_kind(f"fit({argument})", value, kind, f"a {kind.__name__}", example)
    if model.about["protocol"] != split.protocol:
        raise ConfigError(
            "the model was built for another split: its history may hold what it is tested on",
            where="fit(model, split)",
            found=split.protocol,
            expected=model.about["protocol"],
            remedy="build the model with from_split(split, ...) and train it on that split",
        )
    if not torch.equal(model.fusion.pairs.cpu(), known_pairs(split, model.users, model.items.index)):
        raise ConfigError(
            "the model was built for other rows: its history may hold what it is tested on",
            where="fit(model, split)",
            found=f"another train under the same protocol, {split.protocol!r}",
            expected="the split that from_split was given",
            remedy="build the model with from_split(split, ...) and train it on that split",
        )
    if model.about["mode"] != "frozen" and model.texts is None:
        raise ConfigError(
            "the language model that this model trains is not here: a saved model holds only the vectors",
            where="fit(model)",
            found=f"a model of mode {model.about['mode']!r} from from_pretrained",
            expected="a model from from_split",
            remedy="build it anew; an unfinished training goes on from its checkpoint_dir",
        )
    if config.mlm and model.texts is None:
        raise ConfigError(
            "a frozen language model has nothing to gain from a second loss",
            where="TrainConfig(mlm)",
            found=config.mlm,
            expected="0 in mode 'frozen'",
            remedy='mode="full", for example',
        )


def check_folders(checkpoint_dir, log_dir, watch) -> None:
    """Refuse folders that are none, and a `watch` that cannot be called."""
    for name, value in (("checkpoint_dir", checkpoint_dir), ("log_dir", log_dir)):
        check_kind(f"fit({name})", value, (str, PathLike, NoneType), "the name of a folder, or None")
        if value is not None and Path(value).expanduser().is_file():
            raise ConfigError(
                "this is a file",
                where=f"fit({name})",
                found=str(value),
                expected="a folder, which need not exist",
                remedy="give it another name",
            )
    check_kind("fit(watch)", watch, (Callable, NoneType), "a function from a model to a dict of numbers, or None")


def checked_numbers(found) -> dict[str, float]:
    """What `watch` gave, as floats."""
    check_kind("fit(watch)", found, dict, "a function that returns a dict of numbers")
    for name, value in found.items():
        check_kind(f"fit(watch), {name!r}", value, Real, "a number", "for example value.item()")
    return {name: float(value) for name, value in found.items()}


def check_epochs(given: TrainConfig, config: TrainConfig) -> None:
    """Refuse a preset of head epochs that leaves the language model none."""
    if given.head_epochs is None and config.head_epochs >= config.epochs:
        raise ConfigError(
            "the language model would never be trained",
            where="TrainConfig(epochs)",
            found=f"epochs={config.epochs}, of which the preset keeps {config.head_epochs} for the head alone",
            expected=f"more than {config.head_epochs} epochs, or head_epochs of your own",
            remedy="for example head_epochs=0",
        )


def check_shared(task: Task, config: TrainConfig) -> None:
    """Refuse a loss that several processes cannot share."""
    if distributed.world() > 1 and (not task.shared or config.mlm):
        raise ConfigError(
            "this loss cannot be shared between processes: in parts its steps would draw or count otherwise",
            where="fit under torchrun",
            found=f"loss={config.loss!r}, mlm={config.mlm}",
            expected='the default loss of the objective, "bce" or "ordinal", and mlm=0',
            remedy="train in one process",
        )
