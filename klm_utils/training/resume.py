"""A training under way: how it begins, is written down, goes on and ends, and what it leaves behind if it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from klm_utils import files, progress
from klm_utils.data.schema import LOG_COLUMNS
from klm_utils.errors import CheckpointError
from klm_utils.evaluation.calibration import platt
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training.config import TrainConfig
from klm_utils.training.curves import History
from klm_utils.training.objectives import Task
from klm_utils.training.optimizer import Weights, copied, parameter_groups, put

RUN = "run.safetensors"


class Snapshot:
    """All that `fit` changes in a model, as it is now."""

    FIELDS = ("objective", "measured", "unfinished")
    RATES = ("p", "id_dropout", "user_dropout")  # of torch's Dropout, of a fusion

    def __init__(self, model: KLMRecommender):
        self.weights = copied(_trained(model))
        self.text = model.fusion.text  # is replaced in training, never written to
        self.scale, self.shift = model.scale.clone(), model.shift.clone()
        self.head = None if model.texts is None else model.texts.head
        self.rates = [(m, name, getattr(m, name)) for m in model.modules() for name in self.RATES if hasattr(m, name)]
        self.fields = {name: getattr(model, name) for name in self.FIELDS}

    def put_back(self, model: KLMRecommender) -> None:
        """Make the model what it was; its name last, so that it is marked until all is in place."""
        model.eval()
        if model.texts is not None:
            model.texts.head = self.head
        self.put_weights_back(model)
        model.scale.copy_(self.scale), model.shift.copy_(self.shift)
        for module, name, rate in self.rates:
            setattr(module, name, rate)
        for name, value in self.fields.items():
            setattr(model, name, value)

    def put_weights_back(self, model: KLMRecommender) -> None:
        """Its weights and text vectors only."""
        put(self.weights, {name: weight for name, weight in _trained(model).items() if name in self.weights})
        model.fusion.text = self.text.to(model.fusion.text)  # the model may have been moved since


class Run:
    """Model, optimiser, the running average of the weights, what happened so far, and the best weights."""

    weights: Weights
    average: Weights
    optimizer: torch.optim.AdamW

    def __init__(self, model: KLMRecommender, task: Task, config: TrainConfig):
        self.model, self.task, self.config, self.before = model, task, config, Snapshot(model)
        self.rows: list[dict[str, Any]] = []
        self.best: Weights = {}  # none before the first epoch is over
        self.steps = 0

    @property
    def history(self) -> History:
        return History(self.rows, self.task.metric, self.config)

    @property
    def reading(self) -> bool:
        """Whether the language model takes part in the steps of the epoch that is under way."""
        return self.model.texts is not None and len(self.rows) >= self.config.head_epochs

    def begin(self, path: Path | None = None) -> None:
        """Go on with the run at `path`, or start a new one."""
        model, config = self.model, self.config
        start = model.start = model.start or self.before
        if model.texts is not None:
            model.texts.learn_to_guess(config.mlm > 0, config.seed)
            model.texts.dropout(config.dropout_text)
        model.fusion.id_dropout, model.fusion.user_dropout = config.id_dropout, config.user_dropout
        self.weights = _trained(model)
        self.optimizer = torch.optim.AdamW(parameter_groups(model, config))
        start.put_weights_back(model)
        if path and path.exists():
            self._load(path)
        else:
            with torch.no_grad():
                model.fusion.constant.fill_(self.task.start)
            self.average = copied(self.weights)
        # Those of an earlier training say nothing of this one.
        self._scale(1.0, 0.0)
        model.objective, model.measured = config.objective, []
        model.unfinished = "in training"

    def finish(self) -> None:
        """Give the model its best weights, and what turns its scores into probabilities.

        Without valid the scale and the shift that the model came with stay.
        """
        put(self.best, self.weights)
        self.model.eval()
        self.model.store()
        if self.config.objective == "label":
            valid = self.task.split.valid
            if self.task.metric:
                self._scale(*platt(self.model.scores(valid["user_id"], valid["item_id"]), valid["label"]))
            else:
                self._scale(self.before.scale.item(), self.before.shift.item())

    def _scale(self, scale: float, shift: float) -> None:
        """What turns a score into log-odds."""
        self.model.scale.fill_(scale)
        self.model.shift.fill_(shift)

    def save(self, path: Path) -> None:
        """Write the run down, in place of its earlier self."""
        tensors = {f"now.{name}": p for name, p in self.weights.items()}
        tensors |= {f"average.{name}": p for name, p in self.average.items()}
        tensors |= {f"best.{name}": p for name, p in self.best.items()}
        if self.model.texts is not None:  # the head epochs learn on these
            tensors["text"] = self.model.fusion.text
        for place, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{place}.{key}": value for key, value in state.items()}
        if path.exists():  # another process may have begun another run here
            self._check_own(path, files.description(path))
        files.write_tensors(path, tensors, {"kind": "run", **self._identity(), "rows": self.rows, "steps": self.steps})

    def _load(self, path: Path) -> None:
        """Continue from what `save` wrote."""
        tensors, saved = files.read_tensors(path)
        self._check_own(path, saved)
        rows = saved.get("rows")
        if isinstance(rows, list) and len(rows) > self.config.epochs:
            what, expected = "the run in this folder is longer than this one is to be", f"at most {self.config.epochs}"
            remedy = "ask for as many epochs, or give this run a folder of its own"
            raise CheckpointError(what, f"{path}, epochs", len(rows), expected, remedy)
        try:
            self._take(tensors, saved)
        except files.WRONG as fault:
            raise files.wrong_content(path, fault) from fault

    def _take(self, tensors: Weights, saved: dict[str, Any]) -> None:
        state: dict[int, Weights] = {}
        for name in [name for name in tensors if name.startswith("adam.")]:
            _, place, key = name.split(".")
            state.setdefault(int(place), {})[key] = tensors[name]
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if self.model.texts is not None:
            self.model.fusion.text = tensors["text"].to(self.model.device)
        rows, steps = saved["rows"], saved["steps"]
        if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)) or steps < len(rows):
            raise ValueError(f"{len(rows)} epochs, {steps} steps")
        now, average, best = (
            {name: tensors[f"{kind}.{name}"].to(p.device) for name, p in self.weights.items()}
            for kind in ("now", "average", "best")
        )
        put(now, self.weights)
        self.average, self.rows, self.steps, self.best = average, rows, steps, best

    def _check_own(self, path: Path, saved: dict[str, Any]) -> None:
        for key, value in self._identity().items():
            if saved.get(key) != value:
                remedy = "give this run a folder of its own, or delete the old one"
                found, expected = saved.get(key), str(value)
                raise CheckpointError("this folder holds another run", f"{path}, {key}", found, expected, remedy)

    def _identity(self) -> dict[str, Any]:
        """What a run must share with this one to go on in its place; `epochs` may grow."""
        config = {f"config {k}": v for k, v in asdict(self.config).items() if k not in ("epochs", "verbose")}
        rows = pd.concat([self.task.split.train, self.task.split.valid])[LOG_COLUMNS]
        text = str([pd.util.hash_pandas_object(rows).tolist(), self.model.items.tolist()])
        buffers = self.model.fusion.named_buffers()  # without the text vectors, whose last bits depend on the machine
        data = files.checksum({name: b for name, b in buffers if "text" not in name and name != "met_table"}, text)
        own = {f"model {k}": v for k, v in self.model.about.items()} | {"model loaded from": self.model.origin}
        return {**config, **own, "rows and features": data}


@contextmanager
def usable(run: Run) -> Iterator[None]:
    """Raise again whatever ends the run early, with the model as it was, or with its best weights so far, marked."""
    try:
        yield
        run.model.unfinished = ""
    except BaseException as fault:
        if not run.best:
            run.before.put_back(run.model)
        else:
            _mark(run, fault)
        raise
    finally:
        progress.done()


def _mark(run: Run, fault: BaseException) -> None:
    """The best weights so far, with a name that says so, as the error does. If even that fails: as it was before."""
    model, epochs = run.model, f"{len(run.rows)} epoch" + "s" * (len(run.rows) > 1)
    stopped = isinstance(fault, KeyboardInterrupt)
    model.unfinished = f"{'interrupted' if stopped else 'broken off'} after {epochs}"
    try:
        run.finish()
    except BaseException as second:  # such as another Ctrl-C
        run.before.put_back(model)
        raise fault from second
    fault.add_note(
        f"The training was {model.unfinished}. The model has the weights of epoch {run.history.best_epoch} and is\n"
        f"called {model.name!r} until a training of it comes to its end."
        + " To train it, run the same cell again."
        * stopped
    )


def _trained(model: KLMRecommender) -> Weights:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
