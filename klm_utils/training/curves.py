"""The history of a training as curves in TensorBoard."""

from contextlib import contextmanager
from pathlib import Path

from klm_utils.errors import CheckpointError, ConfigError
from klm_utils.training import distributed


@contextmanager
def curves_in(folder):
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
        raise ConfigError(
            "the package tensorboard is missing",
            where="fit(log_dir)",
            found=str(fault),
            expected="tensorboard",
            remedy="pip install tensorboard, or leave log_dir out: History.epochs has the same numbers",
        ) from fault

    with _told():
        writer = SummaryWriter(Path(folder).expanduser())

    def write(row):
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
def _told():
    """What the disk refuses, as an error of ours."""
    try:
        yield
    except OSError as fault:
        raise CheckpointError(
            "the curves cannot be written",
            where="fit(log_dir)",
            found=str(fault),
            expected="a folder that can be written, with room on the disk",
            remedy="choose another folder, or leave log_dir out: History.epochs has the same numbers",
        ) from fault
