"""fit(): the training loop, in plain torch."""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from klm_utils.data.schema import LOG_COLUMNS
from klm_utils.data.splits import Split
from klm_utils.errors import CheckpointError, ConfigError, check_choice, check_whole
from klm_utils.evaluation.calibration import platt
from klm_utils.training import checkpoint, objectives
from klm_utils.training.model import KLMRecommender, check_seed
from klm_utils.training.objectives import BY_POPULARITY, LOSSES

RUN = "run.safetensors"
CHOICES = 512  # a step, for the losses that go through the choices one by one
# What an objective wants. Decay is AdamW's: each step takes lr * decay of a weight away.
PRESETS = {
    "label": {"batch": 4096, "lr": 0.01, "decay_ids": 2.0, "decay_maps": 10.0, "id_dropout": 0.2},
    "interaction": {"batch": 128, "lr": 0.005, "decay_ids": 0.3, "decay_maps": 0.3, "id_dropout": 0.5},
}


@dataclass(frozen=True)
class TrainConfig:
    """How to train. None takes the value of `PRESETS[objective]`.

    objective: "label" (rows of train with their labels) or "interaction" (the chosen rows against all other pairs).
    loss: one of `LOSSES[objective]`, see `klm_utils.training.objectives`; None: "squared_error" of the ratings if
        there are more than two different ones and "bce" of the labels otherwise, or "bce" of all pairs.
    log_q: take log q off where a loss draws negatives by popularity; False only to show what happens without.
    epochs, patience: at most so many; stop after so many without a better value on valid.
    batch: rows a step for "label", items (with all users) for "interaction", choices for its other losses.
    lr: learning rate of AdamW.
    decay_ids, decay_maps, decay_biases: weight decay of free vectors, maps from features, biases.
    id_dropout, user_dropout: share of items, of users, that a step meets as if they were new.
    average: what valid sees and the model keeps is a running average of the weights, of which this share stays at each
        step (0: the weights themselves). It evens out the noise of single steps.
    seed: of the order of the batches and the dropout.
    verbose: a line per epoch; None: if stdout is a terminal.

    Raises:
        ConfigError: a value without meaning.
    """

    objective: str = "label"
    loss: str | None = None
    log_q: bool = True
    epochs: int = 60
    patience: int = 8
    batch: int | None = None
    lr: float | None = None
    decay_ids: float | None = None
    decay_maps: float | None = None
    decay_biases: float = 0.05
    id_dropout: float | None = None
    user_dropout: float = 0.1
    average: float = 0.95
    seed: int = 0
    verbose: bool | None = None

    def __post_init__(self):
        check_choice("objective", self.objective, tuple(PRESETS))
        check_choice("loss", self.loss, (None, *LOSSES[self.objective]))
        check_choice("log_q", self.log_q, (True, False) if self.loss in BY_POPULARITY else (True,))
        single = self.objective == "interaction" and self.loss not in (None, "bce")
        for name, value in (PRESETS[self.objective] | ({"batch": CHOICES} if single else {})).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in ("epochs", "patience", "batch"):
            least = 2 if (name, self.loss) == ("batch", "info_nce") else 1  # its negatives are the other rows
            object.__setattr__(self, name, check_whole(name, getattr(self, name), least=least))
        object.__setattr__(self, "seed", check_seed(self.seed, "TrainConfig(seed)"))
        limits = dict.fromkeys(("lr", "decay_ids", "decay_maps", "decay_biases"), 1e6)
        limits |= dict.fromkeys(("id_dropout", "user_dropout"), 1) | {"average": 0.9999}
        for name, most in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise ConfigError(
                    f"{name} has no meaning",
                    where=f"TrainConfig({name})",
                    found=value,
                    expected=f"a number from 0 to {most:g}",
                    remedy="leave it out for the preset",
                )


@dataclass(frozen=True, eq=False)
class History:
    """What happened in training.

    epochs: one row per epoch: `loss` (mean over train), `valid` (see `metric`), `seconds`.
    metric: what was measured on valid; best_epoch: the epoch whose weights the model has now.
    stopped: "early", "epochs" or "interrupted".
    """

    epochs: pd.DataFrame
    metric: str
    best_epoch: int
    stopped: str

    def __str__(self) -> str:
        if self.epochs.empty:
            return "interrupted in the first epoch"
        best, seconds = self.epochs.loc[self.best_epoch], self.epochs["seconds"].sum()
        return (
            f"{len(self.epochs)} epochs in {seconds:.1f} s, stopped: {self.stopped}; "
            f"best {self.metric} on valid {best['valid']:.4f} in epoch {self.best_epoch}"
        )


def fit(model: KLMRecommender, split, config: TrainConfig | None = None, checkpoint_dir=None) -> History:
    """Train a model on `split.train`, with the weights of the epoch that is best on `split.valid` in the end.

    Ctrl-C ends the training early and leaves the best weights so far. Nothing but the model is changed: neither the
    split nor torch's global random state.

    Args:
        model: from `KLMRecommender.from_dataset(ds, split, ...)`.
        split: the same split.
        config: see `TrainConfig`.
        checkpoint_dir: a folder to write the run to after each epoch. If it holds a run of the same model, split and
            config, that run goes on, and ends as if it had never stopped.

    Raises:
        ConfigError: the model was built for another split; the loss is no longer a finite number; "softmax" for a
            fusion that scores pair by pair.
        DataError: as `klm_utils.training.objectives.task`.
        CheckpointError: the folder holds another run, a damaged one, or cannot be written.
    """
    config = config or TrainConfig()
    _check_fit(model, split, config)
    task = objectives.task(model, split, config)
    decay = {name: getattr(config, f"decay_{name}", 0.0) for name in model.fusion.groups()}
    groups = [{"params": p, "weight_decay": decay[name]} for name, p in model.fusion.groups().items()]
    run = _Run(model, split, torch.optim.AdamW(groups, lr=config.lr), config)
    path = Path(checkpoint_dir) / RUN if checkpoint_dir is not None else None
    if path is not None and path.exists():
        run.load(path)
    else:
        with torch.no_grad():
            model.fusion.constant.fill_(task.start)
    try:
        while run.stopped() is None:
            run.epoch(task)
            if path is not None:
                run.save(path)
        stopped = run.stopped()
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:  # a full disk or a diverged loss leaves the best weights too
        run.restore_best()
    _calibrate(model, split, config)
    table = pd.DataFrame(run.rows, columns=["epoch", "loss", "valid", "seconds"]).set_index("epoch")
    return History(table, task.metric, run.best_epoch, stopped)


class _Run:
    """A training under way: model, optimiser, what happened so far, and the best weights."""

    def __init__(self, model, split, optimizer, config):
        self.model, self.split, self.optimizer, self.config = model, split, optimizer, config
        self.rows, self.best, self.steps = [], None, 0
        self.average = self._weights()
        self.verbose = sys.stdout.isatty() if config.verbose is None else config.verbose

    @property
    def best_epoch(self) -> int:
        return max(self.rows, key=lambda row: row["valid"])["epoch"] if self.rows else 0  # the first one of equals

    def stopped(self) -> str | None:
        if self.rows and self.rows[-1]["epoch"] - self.best_epoch >= self.config.patience:
            return "early"
        return "epochs" if len(self.rows) >= self.config.epochs else None

    def epoch(self, task: objectives.Task) -> None:
        number, start, total = len(self.rows) + 1, time.perf_counter(), 0.0
        draw = torch.Generator().manual_seed(self.config.seed * 1_000_003 + number)  # so a resumed run draws the same
        self.model.train()
        self.model.fusion.id_dropout, self.model.fusion.user_dropout = self.config.id_dropout, self.config.user_dropout
        for batch in torch.randperm(task.n, generator=draw).split(self.config.batch):
            loss = task.loss(batch, draw)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self._follow()
            total += loss.item() * len(batch)
        size = sum(p.detach().square().sum().item() for p in self.model.fusion.parameters())
        if not np.isfinite(total + size):  # the size: the last step may be the one that went too far
            raise ConfigError(
                "the loss or the weights are no longer finite numbers",
                where=f"fit, epoch {number}",
                found=f"loss {total}, sum of squared weights {size}",
                expected="finite numbers",
                remedy=f"lower lr, which is {self.config.lr}",
            )
        self.model.eval()
        now = self._weights()
        self.model.fusion.load_state_dict(self.average, strict=False)  # what is measured, and kept if it is the best
        valid = float(task.valid())
        self.model.fusion.load_state_dict(now, strict=False)
        row = {"epoch": number, "loss": total / task.n, "valid": valid, "seconds": time.perf_counter() - start}
        self.rows.append(row)
        if self.best_epoch == number:
            self.best = {name: value.clone() for name, value in self.average.items()}
        if self.verbose:
            mark = " *" if self.best_epoch == number else ""
            print(f"epoch {number:3d}  loss {row['loss']:.4f}  {task.metric} on valid {valid:.4f}{mark}", flush=True)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.model.fusion.named_parameters()}

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average of the weights towards the weights; early on, when they run, it follows closely."""
        self.steps += 1
        keep = min(self.config.average, self.steps / (self.steps + 9))
        for name, weight in self.model.fusion.named_parameters():
            self.average[name].lerp_(weight, 1 - keep)

    def restore_best(self) -> None:
        if self.best is not None:
            self.model.fusion.load_state_dict(self.best, strict=False)
        self.model.eval()

    def save(self, path: Path) -> None:
        tensors = {f"now.{name}": p for name, p in self.model.fusion.named_parameters()}
        tensors |= {f"average.{name}": p for name, p in self.average.items()}
        tensors |= {f"best.{name}": p for name, p in self.best.items()}
        for place, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{place}.{key}": value for key, value in state.items()}
        checkpoint.write(path, tensors, {"kind": "run", **self._identity(), "rows": self.rows, "steps": self.steps})

    def load(self, path: Path) -> None:
        tensors, saved = checkpoint.read(path)
        for key, value in self._identity().items():
            if saved.get(key) != value:
                raise CheckpointError(
                    "this folder holds another run",
                    where=f"{path}, {key}",
                    found=saved.get(key),
                    expected=str(value),
                    remedy="give this run a folder of its own, or delete the old one",
                )
        state = {}
        for name in [name for name in tensors if name.startswith("adam.")]:
            _, place, key = name.split(".")
            state.setdefault(int(place), {})[key] = tensors[name]
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.model.fusion.load_state_dict(_cut(tensors, "now."), strict=False)  # buffers come from the split
        self.average, self.best = _cut(tensors, "average."), _cut(tensors, "best.")
        self.rows, self.steps = saved["rows"], saved["steps"]

    def _identity(self) -> dict:
        """What a run must share with this one to go on in its place; `epochs` may grow."""
        config = {f"config {k}": v for k, v in asdict(self.config).items() if k not in ("epochs", "verbose")}
        rows = pd.concat([self.split.train, self.split.valid])[LOG_COLUMNS]
        text = str([pd.util.hash_pandas_object(rows).tolist(), self.model.items.tolist()])
        buffers = self.model.fusion.named_buffers()  # without the text vectors, whose last bits depend on the machine
        data = checkpoint.checksum({name: b for name, b in buffers if "text" not in name and name != "met_table"}, text)
        return {**config, **{f"model {k}": v for k, v in self.model.about.items()}, "rows and features": data}


def _cut(tensors: dict, prefix: str) -> dict:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _calibrate(model, split, config) -> None:
    """Tell the model its question, and turn scores into probabilities: fitted on valid, or the sigmoid itself."""
    model.objective, model.scale, model.shift = config.objective, 1.0, 0.0
    if config.objective == "label":
        scores = model.scores(split.valid["user_id"], split.valid["item_id"])
        model.scale, model.shift = platt(scores, split.valid["label"])


def _check_fit(model, split, config) -> None:
    """Refuse arguments of the wrong kind, and a split that the model was not built for."""
    for argument, value, kind in (
        ("model", model, KLMRecommender),
        ("split", split, Split),
        ("config", config, TrainConfig),
    ):
        if not isinstance(value, kind):
            raise ConfigError(
                f"{argument} is of the wrong kind",
                where=f"fit({argument})",
                found=value,
                expected=f"a {kind.__name__}",
                remedy='for example klm.fit(model, split, klm.TrainConfig(objective="label"))',
            )
    if model.about["protocol"] != split.protocol:
        raise ConfigError(
            "the model was built for another split: its history may hold what it is tested on",
            where="fit(model, split)",
            found=split.protocol,
            expected=model.about["protocol"],
            remedy="build the model with from_dataset(ds, split, ...) and train it on that split",
        )
