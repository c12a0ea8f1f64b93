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
    """Write what the means over users or rows of these runs need; the file is the old one or the new one whole.

    Args:
        stamp: what made them, such as a checksum of the code: `run(keep=)` goes on with a file of the same only.
    """
    users: dict[str, list] = {}  # of each split; of means over rows with the items
    records = []
    for run in runs.runs:
        means = {name: _parts(stat) for name, stat in run.report.statistics.items()}
        means = {name: parts for name, parts in means.items() if parts}
        ids = [np.asarray(of).tolist() for of in next(iter(means.values()))[:-1]]
        users.setdefault(str(run.split), ids[0] if len(ids) == 1 else ids)
        values = {
            name: [None if np.isnan(v) else round(float(v), DIGITS) for v in some]
            for name, (*of, some) in means.items()
            if len(of) == len(ids) and np.asarray(of[0]).tolist() == ids[0]
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
        runs = tuple(_run(record, found["users"][str(record["split"])]) for record in found["runs"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        if stamp is not None and isinstance(fault, FileNotFoundError):
            return Runs((), {}, {})
        expected, remedy = "what experiment.run(keep=) wrote", "run the experiment again, into another file"
        raise CheckpointError("there are no runs in this file", str(path), str(fault), expected, remedy) from fault
    if not runs:
        return Runs((), {}, {})
    return Runs(runs, {}, {}, runs[0].report.level, runs[0].report.n_boot)


def _parts(stat: intervals.Statistic) -> tuple[np.ndarray, ...]:
    """The users and the values of a mean over users; users, items and values of one over rows; nothing of others."""
    if stat.rows is not None:
        return stat.rows
    return () if stat.values is None else (stat.users, stat.values)


def _run(record: dict, users: list) -> Run:
    by_row = bool(users) and isinstance(users[0], list)
    of = tuple(np.array(ids) for ids in (users if by_row else [users]))
    stats = {name: (*of, np.array(some, dtype=np.float64)) for name, some in record["values"].items()}
    return Run(record["variant"], record["split"], record["seed"], record["seconds"], _report(record["report"], stats))


def _report(about: dict, parts: dict[str, tuple[np.ndarray, ...]]) -> Report:
    statistics = {
        name: intervals.mean_over_users(*some)
        if len(some) == 2
        else intervals.mean_over_rows(some[0], some[2], some[1])
        for name, some in parts.items()
    }
    setting, rows = tuple(about["setting"]), tuple(about["rows"])
    report = report_of(statistics, about["name"], about["protocol"], setting, rows, about["level"], about["n_boot"], 0)
    return replace(report, by_run=(report.metrics,), shared=about["shared"])


def as_kept(run: Run, metrics: tuple[str, ...]) -> Run:
    """A run as it comes back from a file: these metrics, to `DIGITS` digits."""
    about = {name: getattr(run.report, name) for name in PLAIN}
    parts = {name: _parts(run.report.statistics[name]) for name in metrics}
    rounded = {name: (*of, np.round(values, DIGITS)) for name, (*of, values) in parts.items()}
    return replace(run, seconds=round(run.seconds, 2), report=_report(about, rounded))
