"""fit(): the training loop, in plain torch."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from klm_utils import files, progress
from klm_utils.data.schema import LOG_COLUMNS
from klm_utils.embedding import mlm
from klm_utils.errors import CheckpointError, ConfigError
from klm_utils.evaluation.calibration import platt
from klm_utils.models.recommender import KLMRecommender
from klm_utils.threads import one_thread
from klm_utils.training import distributed, objectives
from klm_utils.training.config import TrainConfig
from klm_utils.training.curves import curves_in
from klm_utils.training.fit_checks import check_epochs, check_fit, check_folders, check_shared, checked_numbers
from klm_utils.training.undo import Snapshot, leave_usable

SMALL = 10_000_000  # scores of all pairs up to which one thread is as fast as several, where a score is a dot product
RUN = "run.safetensors"
COLUMNS = ("epoch", "loss", "valid", "seconds")


@dataclass(frozen=True, eq=False)
class History:
    """What happened in training.

    epochs: one row per epoch: `loss` (mean over train; under `mlm` of both terms), `valid` (see `metric`), `seconds`,
        and what `watch` gave.
    metric: what was measured on valid; best_epoch: the epoch whose weights the model has now.
    stopped: "early" or "epochs".
    """

    epochs: pd.DataFrame
    metric: str
    best_epoch: int
    stopped: str

    def __str__(self) -> str:
        best, seconds = self.epochs.loc[self.best_epoch], self.epochs["seconds"].sum()
        return (
            f"{len(self.epochs)} epochs in {seconds:.1f} s, stopped: {self.stopped}; "
            f"best {self.metric} on valid {best['valid']:.4f} in epoch {self.best_epoch}"
        )


def fit(
    model: KLMRecommender,
    split,
    config: TrainConfig | None = None,
    checkpoint_dir=None,
    *,
    log_dir=None,
    watch: Callable[[KLMRecommender], dict] | None = None,
) -> History:
    """Train a model on `split.train`, with the weights of the epoch that is best on `split.valid` in the end.

    Each call starts from the weights that the model was built or loaded with, so a second one gives the same model
    again. What ends it early (Ctrl-C, a full disk, a loss that is no number) is raised again: before the first epoch is
    over, the model is then as it was before the call; later it has the best weights so far, can be used, and says in
    its `name` that it is unfinished. Nothing but the model is changed: neither the split nor the encoder that the model
    was built with nor torch's global random state nor its number of threads (see `klm_utils.threads`). Under
    `torchrun` the processes share each step, see `klm_utils.training.distributed`.

    Args:
        model, split: the model from `KLMRecommender.from_split(split, ...)`, and the same split.
        config: see `TrainConfig`.
        checkpoint_dir: a folder to write the run to after each epoch. If it holds a run of the same model, split and
            config, that run goes on, and ends as if it had never stopped.
        log_dir: a folder for TensorBoard, which then shows the columns of `History.epochs` as curves.
        watch: called with the model after each epoch, as valid has met it, with the threads of the caller; the
            numbers it returns become columns of `History.epochs`. They decide nothing.

    Raises:
        ConfigError: the model was built for another split; the loss is no longer a finite number; a loss that this
            fusion or mode cannot have; a language model that is to be trained and is not there; tensorboard is missing.
        DataError: as `klm_utils.training.objectives.task`; nobody chose something new in valid.
        CheckpointError: the folder holds another run, a damaged one, or cannot be written.
    """
    given = config or TrainConfig()
    check_fit(model, split, given)
    check_folders(checkpoint_dir, log_dir, watch)
    config = given.of(model.about["mode"])
    check_epochs(given, config)
    task = objectives.task(model, split, config)
    check_shared(task, config)
    task.valid()  # says now, and not after the first epoch, that valid has nobody to rank for
    run = _trained(model, split, config, task, checkpoint_dir, log_dir, watch)
    columns = [*dict.fromkeys(name for row in [COLUMNS, *run.rows] for name in row)]
    return History(
        pd.DataFrame(run.rows, columns=columns).set_index("epoch"), task.metric, run.best_epoch, run.stopped()
    )


def _trained(model, split, config, task: objectives.Task, checkpoint_dir, log_dir, watch) -> "Run":
    """The run that came to its end; whatever ends it early is raised again, and the model left as `fit` promises."""
    path = None if checkpoint_dir is None else Path(checkpoint_dir).expanduser() / RUN
    before = Snapshot(model)
    model.start = model.start or before
    if model.texts is not None:
        model.texts.learn_to_guess(config.mlm > 0, config.seed)
    run = None
    try:
        run = Run(model, split, config, watch)
        with curves_in(log_dir) as curves:
            run.begin(path, task.start)
            while run.stopped() is None:
                curves(run.epoch(task))
                if path and distributed.first():
                    run.save(path)
        run.finish()
        model.unfinished = ""
    except BaseException as fault:
        if run is None or run.best is None:
            before.put_back(model)
        else:
            leave_usable(run, fault, before)
        raise
    finally:
        progress.done()
    return run


class Run:
    """A training under way: model, optimiser, what happened so far, and the best weights."""

    def __init__(self, model, split, config, watch=None):
        self.model, self.split, self.config, self.watch = model, split, config, watch
        self.weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(parameter_groups(model, config))
        self.average, self.best, self.rows, self.steps = self._copy(), None, [], 0
        self.small = model.fusion.full_matrix and len(model.users) * len(model.items) < SMALL

    def _tell(self, text: str, better: bool) -> None:
        """The epoch, on a line that stays with verbose=True and is gone in the end with None."""
        if distributed.first() and self.config.verbose:
            print(text + " *" * better, flush=True)
        elif distributed.first() and self.config.verbose is None:
            progress.line(f"{text}, best in epoch {self.best_epoch}")

    @property
    def best_epoch(self) -> int:
        return max(self.rows, key=lambda row: row["valid"])["epoch"] if self.rows else 0  # the first one of equals

    def stopped(self) -> str | None:
        waits = self.config.head_epochs if self.model.texts is not None else 0
        since = max(self.best_epoch, waits)  # the language model must have had its chance
        if self.rows and self.rows[-1]["epoch"] - since >= self.config.patience:
            return "early"
        return "epochs" if len(self.rows) >= self.config.epochs else None

    def begin(self, path: Path | None, constant: float) -> None:
        """Go on with the run at `path`, or start a new one with this constant in the score."""
        self.model.start.put_weights_back(self.model)
        if path and path.exists():
            self.load(path)
        else:
            with torch.no_grad():
                self.model.fusion.constant.fill_(constant)
            self.average = self._copy()
        # Those of an earlier training say nothing of this one.
        _scale(self.model, 1.0, 0.0)
        self.model.measured = []
        self.model.unfinished = "in training"

    def epoch(self, task: objectives.Task) -> dict:
        with one_thread(self.small and not self.reading):
            row, now = self._learned(task)
        row |= self._watched()
        self._put(now)
        better = not self.rows or row["valid"] > max(earlier["valid"] for earlier in self.rows)
        best = {name: value.clone() for name, value in self.average.items()} if better else self.best
        self.rows, self.best = [*self.rows, row], best  # both or, after Ctrl-C, neither
        said = f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  {task.metric} on valid {row['valid']:.4f}"
        self._tell(said, better)
        return row

    def _learned(self, task: objectives.Task) -> tuple[dict, dict[str, torch.Tensor]]:
        """The row of one more epoch, and the weights to go on with; the model has their average, which was measured."""
        number, start, total, terms = len(self.rows) + 1, time.perf_counter(), 0.0, 0
        seed = (self.config.seed * 1_000_003 + number) % 2**63  # so that a resumed run draws the same
        draw = torch.Generator().manual_seed(seed)
        self.model.train()
        self.model.fusion.id_dropout, self.model.fusion.user_dropout = self.config.id_dropout, self.config.user_dropout
        if self.model.texts is not None:
            self.model.texts.dropout(self.config.dropout_text)
        with torch.random.fork_rng():
            torch.manual_seed(seed + distributed.rank())  # of the dropout inside the language model
            for at, batch in enumerate(task.batches(draw)):
                if distributed.first() and self.config.verbose is None:
                    progress.line(f"epoch {number}: {at * task.batch:,} of {task.n:,}", every=1.0)
                size = task.terms(batch)
                total, terms = total + self.step(task, batch, draw) * size, terms + size
        size = sum(p.detach().square().sum().item() for p in self.weights.values())
        if not np.isfinite(total + size):  # the size: the last step may be the one that went too far
            raise ConfigError(
                "the loss or the weights are no longer finite numbers",
                where=f"fit, epoch {number}",
                found=f"loss {total}, sum of squared weights {size}",
                expected="finite numbers",
                remedy=f"lower lr, which is {self.config.lr}, or lr_text, which is {self.config.lr_text}",
            )
        self.model.eval()
        now = self._copy()
        self._put(self.average)  # what is measured, and kept if it is the best
        if self.reading:  # else the vectors are still those that the model was built with
            self.model.store(task.valid_items())
        row = {"epoch": number, "loss": total / terms, "valid": float(task.valid())}
        return row | {"seconds": time.perf_counter() - start}, now

    def step(self, task: objectives.Task, batch: torch.Tensor, draw: torch.Generator) -> float:
        """One step of the optimiser; the loss of the batch before it."""
        mine = distributed.part(batch)
        share = 1.0 if len(mine) == len(batch) else task.terms(mine) / task.terms(batch) if len(mine) else 0.0
        value = torch.zeros(())
        reading = self.reading and task.reads
        self.optimizer.zero_grad()
        if share:
            reads = self.model.texts.model if self.model.texts is not None else self.model.fusion.constant
            with _precision(self.config.precision, reads.device):
                text = self.model.read(task.items(mine)) if reading else None
                loss = share * task.loss(mine, text, draw)
                if reading and self.config.mlm:
                    loss = loss + self.config.mlm * self.model.texts.masked_loss(task.items(mine), draw)
            loss.backward()
            value = loss.detach()
        value = distributed.add_up(list(self.weights.values()), value)
        if self.config.clip:
            torch.nn.utils.clip_grad_norm_(self.weights.values(), self.config.clip)
        self._warm_up(-(-task.n // task.batch))
        self.optimizer.step()
        self._follow()
        return value.item()

    @property
    def reading(self) -> bool:
        """Whether the language model takes part in the steps of the epoch that is under way."""
        return self.model.texts is not None and len(self.rows) >= self.config.head_epochs

    def _warm_up(self, steps_of_an_epoch: int) -> None:
        """Set the learning rates of this step; the language model's start to rise when its first step comes."""
        for group in self.optimizer.param_groups:
            late = self.config.head_epochs * steps_of_an_epoch if group["of_text"] else 0
            group["lr"] = group["rate"] * min(1.0, max(0, self.steps - late + 1) / (self.config.warmup + 1))

    def _watched(self) -> dict:
        if self.watch is None:
            return {}
        self.model.objective = self.config.objective
        if self.reading:
            self.model.store()
        found = checked_numbers(self.watch(self.model))
        if taken := found.keys() & set(COLUMNS):
            raise ConfigError(
                "these columns of the history are the training's own",
                where="fit(watch)",
                found=sorted(taken),
                expected=f"other names than {', '.join(COLUMNS)}",
                remedy="what is watched decides nothing: give it a name of its own",
            )
        return found

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.weights.items()}

    @torch.no_grad()
    def _put(self, values: dict[str, torch.Tensor]) -> None:
        for name, p in self.weights.items():
            p.copy_(values[name])

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average of the weights towards the weights; early on, when they run, it follows closely."""
        self.steps += 1
        keep = min(self.config.average, self.steps / (self.steps + 9))
        for name, weight in self.weights.items():
            self.average[name].lerp_(weight, 1 - keep)

    def finish(self) -> None:
        """Give the model its best weights, its question, and what turns its scores into probabilities."""
        self._put(self.best)
        self.model.eval()
        self.model.store()
        _calibrate(self.model, self.split, self.config)

    def save(self, path: Path) -> None:
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

    def load(self, path: Path) -> None:
        tensors, saved = files.read_tensors(path)
        self._check_own(path, saved)
        if isinstance(saved.get("rows"), list) and len(saved["rows"]) > self.config.epochs:
            raise CheckpointError(
                "the run in this folder is longer than this one is to be",
                where=f"{path}, epochs",
                found=len(saved["rows"]),
                expected=f"at most {self.config.epochs}",
                remedy="ask for as many epochs, or give this run a folder of its own",
            )
        try:
            self._take(tensors, saved)
        except files.WRONG as fault:
            raise files.wrong_content(path, fault) from fault

    def _take(self, tensors: dict, saved: dict) -> None:
        """Continue from what `save` wrote."""
        state = {}
        for name in [name for name in tensors if name.startswith("adam.")]:
            _, place, key = name.split(".")
            state.setdefault(int(place), {})[key] = tensors[name]
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self._put(_cut(tensors, "now."))
        if self.model.texts is not None:
            self.model.fusion.text = tensors["text"].to(self.model.fusion.constant.device)
        rows, steps = saved["rows"], saved["steps"]
        if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)) or steps < len(rows):
            raise ValueError(f"{len(rows)} epochs, {steps} steps")
        average, best = _cut(tensors, "average."), _cut(tensors, "best.")
        self.average = {name: average[name].to(p.device) for name, p in self.weights.items()}
        best = {name: best[name].to(p.device) for name, p in self.weights.items()}
        self.rows, self.steps, self.best = rows, steps, best

    def _check_own(self, path: Path, saved: dict) -> None:
        for key, value in self._identity().items():
            if saved.get(key) != value:
                raise CheckpointError(
                    "this folder holds another run",
                    where=f"{path}, {key}",
                    found=saved.get(key),
                    expected=str(value),
                    remedy="give this run a folder of its own, or delete the old one",
                )

    def _identity(self) -> dict:
        """What a run must share with this one to go on in its place; `epochs` may grow."""
        config = {f"config {k}": v for k, v in asdict(self.config).items() if k not in ("epochs", "verbose")}
        rows = pd.concat([self.split.train, self.split.valid])[LOG_COLUMNS]
        text = str([pd.util.hash_pandas_object(rows).tolist(), self.model.items.tolist()])
        buffers = self.model.fusion.named_buffers()  # without the text vectors, whose last bits depend on the machine
        data = files.checksum({name: b for name, b in buffers if "text" not in name and name != "met_table"}, text)
        own = {f"model {k}": v for k, v in self.model.about.items()} | {"model loaded from": self.model.origin}
        return {**config, **own, "rows and features": data}


def parameter_groups(model: KLMRecommender, config: TrainConfig) -> list[dict]:
    """What AdamW is given: each kind of weight of the fusion, and the trained ones of the language model."""
    kinds = [(w, config.lr, getattr(config, f"decay_{name}", 0.0), False) for name, w in model.fusion.groups().items()]
    if model.texts is not None:
        trained = [p for p in model.texts.model.parameters() if p.requires_grad]
        kinds.append((trained, config.lr_text, config.decay_text, True))
        if model.texts.head is not None:
            kinds.append((list(model.texts.head.parameters()), mlm.LR, config.decay_text, True))
    return [
        {"params": weights, "lr": rate, "rate": rate, "weight_decay": decay, "of_text": of_text}
        for weights, rate, decay, of_text in kinds
    ]


def _cut(tensors: dict, prefix: str) -> dict:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _precision(name: str, device: torch.device):
    """A context for the forward pass."""
    if name == "auto":
        name = (
            "bfloat16"
            if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            else "float32"
        )
    return torch.autocast(device.type, torch.bfloat16) if name == "bfloat16" else nullcontext()


def _calibrate(model, split, config) -> None:
    """Tell the model its question, and turn scores into probabilities: fitted on valid, or the sigmoid itself."""
    model.objective = config.objective
    _scale(model, 1.0, 0.0)
    if config.objective == "label":
        scores = model.scores(split.valid["user_id"], split.valid["item_id"])
        _scale(model, *platt(scores, split.valid["label"]))


def _scale(model, scale: float, shift: float) -> None:
    """Set what turns a score into log-odds."""
    model.scale.fill_(scale)
    model.shift.fill_(shift)
