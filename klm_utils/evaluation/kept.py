"""Runs in a file: the values of each user, from which every table and interval of an experiment follows.

runs = experiment.run(variants, splits, keep="runs.json")  # killed, and called again, it goes on
runs = kept.load("runs.json")  # and is shown without training anything
"""

import json
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from klm_utils.errors import CheckpointError
from klm_utils.evaluation import intervals
from klm_utils.evaluation.experiment import Run, Runs
from klm_utils.evaluation.report import Report, report_of
from klm_utils.files import atomic_write

DIGITS = 5  # of a value that is kept
PLAIN = ("name", "objective", "part", "protocol", "level", "n_boot", "setting", "rows", "shared")


def save(path: str | PathLike, runs: Runs, stamp: str = "") -> None:
    """Write what the means over users of these runs need; the file is the old one or the new one whole.

    Args:
        stamp: what made them, such as a checksum of the code: `run(keep=)` goes on with a file of the same only.
    """
    users: dict[str, list] = {}
    records = []
    for run in runs.runs:
        means = {name: stat for name, stat in run.report.statistics.items() if stat.values is not None}
        ids = [list(stat.users) for stat in means.values()]
        users.setdefault(str(run.split), np.asarray(ids[0]).tolist())
        values = {
            name: [None if np.isnan(v) else round(float(v), DIGITS) for v in stat.values]
            for name, stat in means.items()
            if stat.values is not None and list(stat.users) == ids[0]
        }
        about = {name: getattr(run.report, name) for name in PLAIN}
        records.append(
            {"variant": run.variant, "split": run.split, "seed": run.seed, "seconds": round(run.seconds, 2)}
            | {"report": about, "values": values}
        )
    text = json.dumps({"stamp": stamp, "users": users, "runs": records}, ensure_ascii=False)
    atomic_write(Path(path), lambda part: part.write_text(text + "\n", encoding="utf8"), CheckpointError)


def load(path: str | PathLike, stamp: str | None = None) -> Runs:
    """The runs of a file, without their models and splits.

    Args:
        stamp: if given, no runs at all where there is no file, or one of another stamp.

    Raises:
        CheckpointError: no file of runs, where no stamp is given.
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf8"))
        if stamp is not None and found["stamp"] != stamp:
            return Runs((), {}, {})
        runs = tuple(_run(record, np.array(found["users"][str(record["split"])])) for record in found["runs"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        if stamp is not None and isinstance(fault, FileNotFoundError):
            return Runs((), {}, {})
        expected, remedy = "what experiment.run(keep=) wrote", "run the experiment again, into another file"
        raise CheckpointError("there are no runs in this file", str(path), str(fault), expected, remedy) from fault
    if not runs:
        return Runs((), {}, {})
    return Runs(runs, {}, {}, runs[0].report.level, runs[0].report.n_boot)


def _run(record: dict, users: np.ndarray) -> Run:
    values = {name: np.array(some, dtype=np.float64) for name, some in record["values"].items()}
    report = _report(record["report"], users, values)
    return Run(record["variant"], record["split"], record["seed"], record["seconds"], report)


def _report(about: dict, users: np.ndarray, values: dict[str, np.ndarray]) -> Report:
    statistics = {name: intervals.mean_over_users(users, some) for name, some in values.items()}
    setting, rows = tuple(about["setting"]), tuple(about["rows"])
    report = report_of(statistics, about["name"], about["protocol"], setting, rows, about["level"], about["n_boot"], 0)
    return replace(report, by_run=(report.metrics,), shared=about["shared"])


def as_kept(run: Run, metrics: tuple[str, ...]) -> Run:
    """A run as it comes back from a file: these metrics, to `DIGITS` digits."""
    about = {name: getattr(run.report, name) for name in PLAIN}
    stats = {name: run.report.statistics[name] for name in metrics}
    (users, *_) = (stat.users for stat in stats.values())
    values = {name: np.round(stat.values, DIGITS) for name, stat in stats.items() if stat.values is not None}
    return replace(run, seconds=round(run.seconds, 2), report=_report(about, users, values))
