"""What happened in a training: a table, a line for each epoch, and curves in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from klm_utils import progress
from klm_utils.errors import CheckpointError, ConfigError
from klm_utils.models.recommender import KLMRecommender
from klm_utils.training import distributed
from klm_utils.training.config import TrainConfig

COLUMNS = ("epoch", "loss", "valid", "seconds")
Watch = Callable[[KLMRecommender], dict[str, Any] | None]


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """What happened in a training.

    rows: of `epochs`, as dicts.
    metric: what was measured on valid; "" where there is no valid.
    config: every setting that was used.
    """

    rows: list[dict[str, Any]]
    metric: str
    config: TrainConfig

    @property
    def epochs(self) -> pd.DataFrame:
        """One row per epoch: `loss` (mean over train; under `mlm` of both terms), `valid` (nan where there is no
        valid), `seconds`, and what `watch` gave."""
        columns = dict.fromkeys(name for row in [COLUMNS, *self.rows] for name in row)
        return pd.DataFrame(self.rows, columns=[*columns]).set_index("epoch")

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are kept: the first of the best ones, or the last one where there is no valid."""
        if not self.metric:
            return len(self.rows)
        return max(self.rows, key=lambda row: row["valid"])["epoch"] if self.rows else 0

    @property
    def stopped(self) -> str:
        """What ended it: "watch", "early" (valid no better for too long) or "epochs"; "" as long as it runs."""
        if self.rows and self.rows[-1].get("stop"):
            return "watch"
        since = max(self.best_epoch, self.config.head_epochs or 0)  # the language model must have had its chance
        if len(self.rows) - since >= self.config.patience:
            return "early"
        return "epochs" if len(self.rows) >= self.config.epochs else ""

    def tell(self) -> None:
        """Print the last epoch, or, with verbose=None, show it on a line that is gone in the end."""
        if not distributed.first() or self.config.verbose is False:
            return
        row, valid = self.rows[-1], ""
        if self.metric:
            valid = f"  {self.metric} on valid {row['valid']:.4f}"
        text = f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}{valid}"
        if self.config.verbose:
            print(text + " *" * (self.best_epoch == len(self.rows)), flush=True)
        else:
            progress.line(f"{text}, best in epoch {self.best_epoch}")

    def __repr__(self) -> str:
        seconds, best = sum(row["seconds"] for row in self.rows), "no valid: the weights of the last one"
        if self.metric:
            value = self.rows[self.best_epoch - 1]["valid"]
            best = f"best {self.metric} on valid {value:.4f} in epoch {self.best_epoch}"
        return f"{len(self.rows)} epochs in {seconds:.1f} s, stopped: {self.stopped}; {best}"


def watched(watch: Watch, model: KLMRecommender) -> dict[str, float]:
    """What the user's function says of an epoch."""
    found = {name: float(value) for name, value in (watch(model) or {}).items()}
    if taken := found.keys() & set(COLUMNS):
        expected, remedy = f"other names than {', '.join(COLUMNS)}", "it decides nothing: give it a name of its own"
        raise ConfigError("these columns are the training's own", "fit(watch)", sorted(taken), expected, remedy)
    return found


@contextmanager
def curves_in(folder: str | PathLike[str] | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that takes the row of an epoch to TensorBoard, or nowhere.

    Raises:
        ConfigError: tensorboard is missing.
        CheckpointError: the folder cannot be written.
    """
    if folder is None or not distributed.first():
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as fault:
        remedy = "pip install tensorboard, or leave log_dir out: History.epochs has the same numbers"
        raise ConfigError(
            "the package tensorboard is missing", "fit(log_dir)", str(fault), "tensorboard", remedy
        ) from fault

    with _told():
        writer = SummaryWriter(Path(folder).expanduser())

    def write(row: dict[str, Any]) -> None:
        with _told():
            for name in row.keys() - {"epoch"}:
                writer.add_scalar(name, row[name], row["epoch"])
            writer.flush()  # a killed run does not write these again

    try:
        yield write
    finally:
        with _told():
            writer.close()


@contextmanager
def _told() -> Iterator[None]:
    """What the disk refuses, as an error of ours."""
    try:
        yield
    except OSError as fault:
        expected = "a folder that can be written, with room on the disk"
        remedy = "choose another folder, or leave log_dir out: History.epochs has the same numbers"
        raise CheckpointError("the curves cannot be written", "fit(log_dir)", str(fault), expected, remedy) from fault
