"""Training of what comes next: the losses that papers differ by, and a loop that can be stopped and shared."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from klm_utils import files, progress
from klm_utils.data.histories import padded
from klm_utils.data.splits import Split
from klm_utils.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    check_choice,
    check_number,
    check_seed,
    check_whole,
)
from klm_utils.evaluation.next_item import asked, rank_next, sequences
from klm_utils.models.sequence import SASRec
from klm_utils.training import distributed
from klm_utils.training.optimizer import Weights, copied, follow, put
from klm_utils.training.resume import RUN

LOSSES = ("softmax", "bce", "gbce")
ASKED = 1000  # rows of valid at most, after each epoch


@dataclass(frozen=True)
class NextConfig:
    """How `fit_next` trains.

    loss: "softmax": the next item against all items of train. "bce": it against `negatives` of them drawn evenly, each
        a question of its own. "gbce": the same with sigmoid(z)^beta for the next item, which takes back that so few of
        the others are asked.
    trust: of gbce: 0 is bce, 1 calibrates the probabilities fully.
    epochs, patience: at most so many; stop after so many without a better valid.
    batch: windows at a step. lr, decay: of AdamW. clip: longest gradient.
    average: share of the running average of the weights that stays at each step; it is what valid sees.
    ties: as in `evaluate_next`, for valid.

    Source: Petrov and Macdonald 2023, gSASRec, eq. 19 (beta from `trust`); Klenitskiy and Vasilev 2023, Turning dross
    into gold loss (softmax).
    """

    loss: str = "softmax"
    negatives: int = 1
    trust: float = 0.75
    epochs: int = 60
    patience: int = 8
    batch: int = 64
    lr: float = 2e-3
    decay: float = 0.0
    clip: float = 1.0
    average: float = 0.98
    ties: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, LOSSES)
        check_choice("ties", self.ties, ("none", "order"))
        for name in ("negatives", "epochs", "patience", "batch"):
            check_whole(f"NextConfig({name})", getattr(self, name))
        for name, most in {"trust": 1.0, "average": 1.0, "decay": math.inf, "clip": math.inf}.items():
            check_number(f"NextConfig({name})", getattr(self, name), 0, most)
        check_number("NextConfig(lr)", self.lr, 1e-12, 1.0)
        check_seed(self.seed, "NextConfig(seed)")


def windows(histories: list[list], items, length: int) -> Tensor:
    """Pieces of `length` + 1 items of each history, cut from its end, int [windows, length + 1]; -1 before the first.

    Each piece begins with the last item of the one before it, so every item but the first is predicted once.
    """
    pieces = [past[max(0, stop - length - 1) : stop] for past in histories for stop in range(len(past), 1, -length)]
    return torch.from_numpy(padded(pieces, items, length + 1))


def loss_of(model: SASRec, window: Tensor, known: Tensor, config: NextConfig, others: Tensor | None = None) -> Tensor:
    """Sum of the losses of the windows' targets.

    Args:
        window: int [b, t + 1].
        known: which items train has, bool [items]; the others are no alternatives.
        others: drawn items, int [b, t, negatives], for a loss that needs them.

    Source: see `NextConfig`.
    """
    history, target, table = window[:, :-1], window[:, 1:], model.table()
    there = (history >= 0) & (target >= 0)
    states, target = model(history, table)[there], target[there]
    if others is None:
        return model.surprise(states, table, target, known).sum()
    others = others[there]
    wrong = (states[:, None] * table[others]).sum(-1) + model.bias[others]
    right = (states * table[target]).sum(-1) + model.bias[target]
    keep = others != target[:, None]  # drawn by chance
    return -(beta(config, int(known.sum())) * F.logsigmoid(right)).sum() - (F.logsigmoid(-wrong) * keep).sum()


def beta(config: NextConfig, items: int) -> float:
    """The power of the next item's probability; 1 for bce."""
    if config.loss == "bce":
        return 1.0
    rate = config.negatives / (items - 1)
    return rate * (config.trust * (1 - 1 / rate) + 1 / rate)


def fit_next(
    model: SASRec, split: Split, config: NextConfig | None = None, checkpoint_dir: str | PathLike[str] | None = None
) -> list[dict[str, Any]]:
    """Train on `split.train`, with the weights of the epoch that is best on `split.valid` in the end.

    Whoever stops it finds the model as it was before; with `checkpoint_dir` the next call goes on after the last whole
    epoch and ends as if it had never stopped. Under `torchrun` the processes share each step.

    Returns:
        epoch, loss (mean over targets) and valid (nDCG@10 over at most 1,000 rows) of each epoch.

    Raises:
        ConfigError: the model knows other items; the loss is no longer finite.
        DataError: nobody chose two things in train.
        CheckpointError: the folder holds another run, a damaged one, or cannot be written.
    """
    config = config or NextConfig()
    if not model.items.equals(split.dataset.items.index):
        remedy = "SASRec(split.dataset.items.index)"
        raise ConfigError("the model was built for other items", "fit_next(model)", len(model.items), remedy=remedy)
    if not (histories := sequences(split)):
        raise DataError("nobody chose two things", "split.train", f"{len(split.train)} rows", "a history to learn from")
    before = copied(dict(model.named_parameters()))
    run = _Run(model, windows(histories, model.items, model.length), config)
    path = None if checkpoint_dir is None else Path(checkpoint_dir).expanduser() / RUN
    if path and path.exists():
        run.load(path)
    valid = asked(split, "valid", config.ties, ASKED)
    try:
        while not run.ended():
            loss = run.epoch()
            now = copied(run.weights)
            put(run.average, run.weights)
            reached = float(rank_next(model, valid, 10)["ndcg@10"].mean())
            if reached > max((row["valid"] for row in run.rows), default=-1.0):
                run.best = copied(run.average)
            put(now, run.weights)
            run.rows.append({"epoch": len(run.rows) + 1, "loss": loss, "valid": reached})
            if path and distributed.first():
                run.save(path)
        before = run.best
    finally:
        put(before, run.weights)
        model.eval()
        progress.done()
    return run.rows


class _Run:
    """A training under way."""

    def __init__(self, model: SASRec, window: Tensor, config: NextConfig):
        self.model, self.window, self.config = model, window, config
        if config.loss != "softmax":  # one of 1 + negatives is right: else the first epochs teach nothing but this
            model.bias.data.fill_(-math.log(config.negatives))
        self.weights: Weights = dict(model.named_parameters())
        self.average, self.best = copied(self.weights), copied(self.weights)
        self.optimizer = torch.optim.AdamW(self.weights.values(), config.lr, (0.9, 0.98), weight_decay=config.decay)
        self.rows: list[dict[str, Any]] = []
        self.steps = 0
        self.known = torch.zeros(len(model.items), dtype=torch.bool)
        self.known[window[window >= 0]] = True

    def ended(self) -> bool:
        """Whether there are no more epochs, or none was better for a while."""
        valid = [row["valid"] for row in self.rows]
        since = len(valid) - 1 - int(np.argmax(valid)) if valid else 0
        return len(valid) >= self.config.epochs or since >= self.config.patience

    def epoch(self) -> float:
        """All windows once; the mean loss of their targets."""
        total, targets = 0.0, 0
        seed = (self.config.seed * 1_000_003 + len(self.rows) + 1) % 2**63  # so that a resumed run draws the same
        draw = torch.Generator().manual_seed(seed)
        self.model.train()
        with torch.random.fork_rng():
            torch.manual_seed(seed + distributed.rank())  # of the dropout
            for at in torch.randperm(len(self.window), generator=draw).split(self.config.batch):
                window = self.window[at]
                size = int(((window[:, :-1] >= 0) & (window[:, 1:] >= 0)).sum())
                total, targets = total + self.step(window, size, draw), targets + size
                if distributed.first():
                    progress.line(f"epoch {len(self.rows) + 1}: loss {total / targets:.3f}", every=1.0)
        self.model.eval()
        if not np.isfinite(total):
            where, remedy = f"fit_next, epoch {len(self.rows) + 1}", f"lower lr, which is {self.config.lr}"
            raise ConfigError("the loss is no longer finite", where, total, "a finite number", remedy)
        return total / targets

    def step(self, window: Tensor, size: int, draw: Generator) -> float:
        """One step of the optimiser; the sum of the losses before it."""
        others = None
        if self.config.loss != "softmax":
            known = self.known.nonzero()[:, 0]
            shape = (len(window), window.shape[1] - 1, self.config.negatives)
            others = distributed.part(known[torch.randint(len(known), shape, generator=draw)])
        window = distributed.part(window)
        device = self.model.bias.device
        loss = torch.zeros((), device=device)
        self.optimizer.zero_grad()
        if len(window):
            window = window.to(device)
            loss = loss_of(self.model, window, self.known.to(device), self.config, others)
            (loss / size).backward()
        loss = distributed.add_up(list(self.weights.values()), loss.detach())
        torch.nn.utils.clip_grad_norm_(self.weights.values(), self.config.clip or math.inf)
        self.steps += 1
        self.optimizer.step()
        follow(self.average, self.weights, self.steps, self.config.average)
        return loss.item()

    def identity(self) -> dict[str, Any]:
        """What a run must share with this one to go on in its place; `epochs` may grow."""
        config = {f"config {name}": value for name, value in asdict(self.config).items() if name != "epochs"}
        shapes = str({name: tuple(weight.shape) for name, weight in self.weights.items()})
        return config | {"model": shapes, "rows": files.checksum({"windows": self.window}, "")}

    def save(self, path: Path) -> None:
        """Write the run down, in place of its earlier self."""
        kinds = {"now": self.weights, "average": self.average, "best": self.best}
        tensors = {f"{kind}.{name}": value for kind, values in kinds.items() for name, value in values.items()}
        for place, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{place}.{key}": value for key, value in state.items()}
        about = {"kind": "run", **self.identity(), "rows so far": self.rows, "steps": self.steps}
        files.write_tensors(path, tensors, about)

    def load(self, path: Path) -> None:
        """Continue from what `save` wrote."""
        tensors, saved = files.read_tensors(path)
        for key, value in self.identity().items():
            if saved.get(key) != value:
                remedy = "give this run a folder of its own, or delete the old one"
                where, found = f"{path}, {key}", saved.get(key)
                raise CheckpointError("this folder holds another run", where, found, str(value), remedy)
        try:
            state: dict[int, Weights] = {}
            for name in [name for name in tensors if name.startswith("adam.")]:
                _, place, key = name.split(".")
                state.setdefault(int(place), {})[key] = tensors[name]
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
            put({name: tensors[f"now.{name}"] for name in self.weights}, self.weights)
            self.average, self.best = (
                {name: tensors[f"{kind}.{name}"].to(weight) for name, weight in self.weights.items()}
                for kind in ("average", "best")
            )
            self.rows, self.steps = list(saved["rows so far"]), int(saved["steps"])
        except files.WRONG as fault:
            raise files.wrong_content(path, fault) from fault
