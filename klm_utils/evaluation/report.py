"""evaluate() -> Report, paired_gain() -> Gain: every number with its protocol and its interval."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from klm_utils.data.splits import Split
from klm_utils.errors import ConfigError, DataError, check_choice, check_whole
from klm_utils.evaluation import intervals, ranking
from klm_utils.evaluation.intervals import Statistic
from klm_utils.evaluation.leaks import leak_alarm

UNFINISHED = ("(interrupted", "(broken off", "(in training")  # how `klm.fit` marks the name of a model until its end


@dataclass(frozen=True, eq=False)
class Report:
    """What a model reaches on one part of a split, or the mean of several such reports (`pooled`).

    metrics and intervals share their keys, the headline metric first. `setting` is what must agree between seeds
    (data set, split, part, objective, k), `rows` a fingerprint of the evaluated rows of each seed, `by_run` the metrics
    of each, `shared` their rows over those of train (see `intervals.over_splits`), `statistics` what `paired_gain`
    resamples. An interval is (nan, nan) where its metric rests on fewer than two users.
    """

    name: str
    objective: str
    part: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    protocol: str
    n_users: int
    level: float
    n_boot: int
    setting: tuple = field(repr=False, default=())
    rows: tuple[str, ...] = field(repr=False, default=())
    statistics: dict[str, Statistic] = field(repr=False, default_factory=dict)
    by_run: tuple[dict[str, float], ...] = field(repr=False, default=())
    shared: float = field(repr=False, default=float("nan"))

    @property
    def users(self) -> dict[str, int]:
        """The number of users that each metric rests on, at most `n_users`; see `intervals.Statistic.support`."""
        return {name: stat.support for name, stat in self.statistics.items()}

    def table(self) -> pd.DataFrame:
        """One row per metric: value, low, high, and the number of users it rests on."""
        rows = {name: (value, *self.intervals[name]) for name, value in self.metrics.items()}
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"]).rename_axis("metric")
        return table.assign(users=pd.Series(self.users))

    def to_dict(self) -> dict:
        """Everything but the statistics, ready for JSON; an undefined value is None."""
        plain = ("name", "objective", "part", "protocol", "n_users", "users", "level", "n_boot")
        return {name: getattr(self, name) for name in plain} | {
            "metrics": {name: _json(value) for name, value in self.metrics.items()},
            "intervals": {name: [_json(end) for end in ends] for name, ends in self.intervals.items()},
        }

    def __str__(self) -> str:
        width = max(map(len, self.metrics))
        lines = [f"{self.name}: {self.objective}, {self.part}", f"protocol: {self.protocol}"]
        for name, value in self.metrics.items():
            low, high = self.intervals[name]
            users = self.users.get(name, self.n_users)
            note = f"  rests on {users} of {self.n_users} users{_few(users)}" if users < self.n_users else ""
            lines.append(f"  {name:{width}s}  {value:.4f}  [{low:.4f}, {high:.4f}]{note}")
        of = f"{_interval_text(self.level, self.n_boot)}, {_users(self.n_users)}"
        return "\n".join([*lines, f"  [{of}]"])


@dataclass(frozen=True)
class Gain:
    """The difference a - b of one metric, with two intervals, nan where there is none.

    low, high: for the same items and other users: paired bootstrap over `n_users` users, `n_boot` draws.
    others: for other items too, found by `how`: "folds" (or other splits, of which there are `n_splits`), or "two-way"
        for metrics of rows, see `intervals`. Of one split and a metric of lists there is none.
    """

    metric: str
    a: str
    b: str
    difference: float
    low: float
    high: float
    protocol: str
    level: float
    n_boot: int
    n_users: int
    others: tuple[float, float] = intervals.NONE
    how: str = ""
    n_splits: int = 1

    @property
    def excludes_zero(self) -> bool:
        """True if the whole interval over users lies on one side of 0; no interval does not."""
        return self.low > 0 or self.high < 0

    @property
    def holds_for_others(self) -> bool:
        """The same of the interval for other items too."""
        return self.others[0] > 0 or self.others[1] < 0

    def __str__(self) -> str:
        if math.isnan(self.difference):
            found = "undefined"
        elif math.isnan(self.low):
            found = f"{self.difference:+.4f}, its interval is undefined"
        else:
            verdict = "excludes 0" if self.excludes_zero else "does not exclude 0"
            found = f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}], {verdict}"
        if not math.isnan(self.others[0]):
            verdict = "excludes 0" if self.holds_for_others else "does not exclude 0"
            by = f"over {self.n_splits} splits" if self.how == "folds" else "two-way bootstrap of users and items"
            found += f"\n  other items too: [{self.others[0]:+.4f}, {self.others[1]:+.4f}], {verdict} ({by})"
        few = f", {_users(self.n_users)}" if _few(self.n_users) else ""
        return (
            f"{self.a} - {self.b}: {self.metric} {found}\nprotocol: {self.protocol}"
            f"\n  [paired {_interval_text(self.level, self.n_boot)}{few}]"
        )


def evaluate(
    model: ranking.Model,
    split: Split,
    k: int = 10,
    *,
    part: str = "test",
    objective: str | None = None,
    level: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
) -> Report:
    """Measure anything that has `predict(user_ids, item_ids) -> probabilities [n]`.

    Objective "label" (will this user like it?): `auc` over all rows of the part, `user_auc` (mean over users of the
    AUC among their own rows), `logloss`, `ece`. Objective "interaction" (what will this user choose?): full ranking,
    `ndcg@k`, `recall@k`, `hit_rate@k`, `mrr`, `map@k`, `coverage@k`; on a cold_item split the plain names rank the
    cold items of the part among themselves, and names with the suffix " (all items)" rank them among everything.
    On a temporal split the headline metric is also given for users seen in train and for new ones.

    Args:
        model: its `name`, `objective` and `protocol` are used if it has them.
        split: a `Split`.
        k: length of the ranked lists.
        part: "test" or "valid".
        objective: "label" or "interaction"; by default the model's own, else "label".
        level, n_boot, seed: the intervals (see `intervals.interval`); seed also orders tied scores.

    Raises:
        ConfigError: an argument without meaning: no model, no split, or the two swapped, among others; a model that
            was made with another split (its `protocol`, where it has one).
        DataError: no rows to evaluate; predictions of the wrong shape, not finite, or (label) outside [0, 1].
        LeakError: (label) better than the true probabilities, where `dataset.optimum` holds them; see `leak_alarm`.
    """
    ranking.check_model("evaluate(model)", model)
    ranking.check_split("evaluate(split)", split)
    k = check_whole("k", k)
    check_choice("part", part, ("test", "valid"))
    objective = getattr(model, "objective", "label") if objective is None else objective
    check_choice("objective", objective, ("label", "interaction"))
    intervals.check_draws(level, n_boot, seed)
    if (own := getattr(model, "protocol", split.protocol)) != split.protocol:
        what, remedy = "the model may know rows that it is measured on", "pass the split that it was made with"
        raise ConfigError(what, "evaluate(model, split)", split.protocol, own, remedy)
    if objective == "label":
        statistics, what = _label_statistics(model, split, part)
    else:
        statistics, what = _interaction_statistics(model, split, part, k, seed)
    name, protocol = ranking.model_name(model), f"{split.protocol} | {part}: {what}"
    setting, frame = (split.dataset.name, split.name, part, objective, k), getattr(split, part)
    shared = len(frame) / max(1, len(split.train))
    report = _report(statistics, name, protocol, setting, (_fingerprint(frame),), level, n_boot, seed)
    return replace(report, by_run=(report.metrics,), shared=shared)


def paired_gain(
    a: Report | Sequence[Report],
    b: Report | Sequence[Report],
    metric: str | None = None,
    level: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
) -> Gain:
    """The paired difference a - b of one metric.

    Args:
        a, b: reports, or equally long lists of reports, one per split and seed and in the same order. They are pooled:
            the difference is averaged, and a user drawn counts equally in every one.
        metric: by default the headline (`auc`, `ndcg@k`).
        level, n_boot, seed: see `intervals.interval`.

    Raises:
        ConfigError: a and b were not measured on the same rows under the same protocol, or lack the metric; they are
            no reports.
    """
    intervals.check_draws(level, n_boot, seed)
    a, b = (pooled(x, level=level, n_boot=1) for x in (a, b))
    for what in ("setting", "protocol", "rows"):
        found = getattr(a, what), getattr(b, what)
        if found[0] != found[1]:
            fault, where = f"The reports cannot be paired: they differ in {what}", f"{a.name!r} and {b.name!r}"
            remedy = "evaluate both models on the same split with the same arguments, seeds in the same order"
            raise ConfigError(fault, where, found, "the same rows of the same split, part, objective and k", remedy)
    metric = next(iter(a.metrics)) if metric is None else metric
    check_choice("metric", metric, tuple(a.metrics))
    stat = intervals.difference(a.statistics[metric], b.statistics[metric])
    low, high = intervals.interval(stat, level, n_boot, seed)
    others = _for_others(a, b, metric, stat, level, n_boot, seed)
    return Gain(metric, a.name, b.name, stat.estimate(), low, high, a.protocol, level, n_boot, stat.support, *others)


def _for_others(
    a: Report, b: Report, metric: str, stat: Statistic, level: float, n_boot: int, seed: int
) -> tuple[tuple[float, float], str, int]:
    """The interval for other items too, how it was found, and the number of splits; seeds of one split count as one."""
    by_run = [one[metric] - other[metric] for one, other in zip(a.by_run, b.by_run, strict=True)]
    by_split = pd.Series(by_run).groupby(list(a.rows), sort=False).mean().to_numpy()
    if stat.crossed is not None:
        return intervals.two_way(stat, level, n_boot, seed), "two-way", len(by_split)
    if len(by_split) < 2:
        return intervals.NONE, "", len(by_split)
    return intervals.over_splits(by_split, a.shared, level), "folds", len(by_split)


def pooled(reports: Report | Sequence[Report], *, level: float = 0.95, n_boot: int = 1000, seed: int = 0) -> Report:
    """The mean of several reports of one model, one per seed; intervals resample users jointly over the seeds.

    Raises:
        ConfigError: no reports, or reports of different data sets, splits, parts, objectives, k or metrics.
    """
    intervals.check_draws(level, n_boot, seed)
    reports = list(reports) if isinstance(reports, Iterable) else [reports]
    settings = {(r.setting, tuple(r.metrics)) for r in reports if isinstance(r, Report)}
    if len(settings) != 1 or not all(isinstance(r, Report) for r in reports):
        found = [r.setting if isinstance(r, Report) else type(r).__name__ for r in reports]
        expected = "one or more reports of the same data set, split, part, objective and k"
        raise ConfigError("These reports cannot be pooled", "pooled(reports)", found, expected, "pool over seeds only")
    if len(reports) == 1:
        return reports[0]
    statistics = {m: intervals.average([r.statistics[m] for r in reports]) for m in reports[0].metrics}
    name = " / ".join(dict.fromkeys(r.name for r in reports))
    protocol = f"mean of {len(reports)} runs: {_merged([r.protocol for r in reports])}"
    rows, by_run = (tuple(x for r in reports for x in getattr(r, which)) for which in ("rows", "by_run"))
    report = _report(statistics, name, protocol, reports[0].setting, rows, level, n_boot, seed)
    return replace(report, by_run=by_run, shared=float(np.mean([r.shared for r in reports])))


def _report(
    statistics: dict[str, Statistic], name: str, protocol: str, setting: tuple, rows: tuple[str, ...], *draws
) -> Report:
    """draws: level, n_boot, seed."""
    return Report(
        name=name,
        objective=setting[3],
        part=setting[2],
        metrics={name: stat.estimate() for name, stat in statistics.items()},
        intervals={name: intervals.interval(stat, *draws) for name, stat in statistics.items()},
        protocol=protocol,
        n_users=len(next(iter(statistics.values())).users),
        level=draws[0],
        n_boot=draws[1],
        setting=setting,
        rows=rows,
        statistics=statistics,
    )


def _label_statistics(model: ranking.Model, split: Split, part: str) -> tuple[dict[str, Statistic], str]:
    frame = getattr(split, part)
    if not len(frame):
        where, remedy = f"split.{part} of {split.name!r}", "use another split or more data"
        raise DataError("There is nothing to evaluate", where, "0 rows", "at least one row", remedy)
    users, items = frame["user_id"].to_numpy(), frame["item_id"].to_numpy()
    y = frame["label"].to_numpy(dtype=np.float64)
    p = ranking.predict(model, users, items)
    if p.min() < 0 or p.max() > 1:
        at = int(np.flatnonzero((p < 0) | (p > 1))[0])
        what = f"The model {ranking.model_name(model)!r} returns a value that is no probability"
        where = f"predict: user {users[at]}, item {frame['item_id'].iloc[at]}"
        remedy = "pass logits through a sigmoid, or evaluate with objective='interaction'"
        raise DataError(what, where, float(p[at]), "a value in [0, 1]", remedy)
    statistics = {
        "auc": intervals.pooled_auc(users, y, p, items),
        "user_auc": intervals.user_auc(users, y, p),
        "logloss": intervals.logloss(users, y, p, items=items),
        "ece": intervals.ece(users, y, p),
    }
    if split.dataset.optimum is not None:
        optimum, where = split.dataset.optimum[frame.index], f"split.{part} of {split.name!r}"
        leak_alarm(users, y, p, optimum, model=ranking.model_name(model), where=where)
    for name, rows in _seen_and_new(split, users).items():
        statistics[f"auc_{name}"] = intervals.pooled_auc(users[rows], y[rows], p[rows])
    return statistics, f"labels of all {len(frame)} rows"


def _interaction_statistics(
    model: ranking.Model, split: Split, part: str, k: int, seed: int
) -> tuple[dict[str, Statistic], str]:
    statistics: dict[str, Statistic] = {}
    protocols: list[str] = []
    for among in ("part", "all") if split.name == "cold_item" else ("all",):
        suffix = " (all items)" if protocols else ""
        result = ranking.rank(model, split, k, part=part, among=among, seed=seed)
        for name, values in result.values.items():
            statistics[name + suffix] = intervals.mean_over_users(result.users, values)
        listed = result.top >= 0
        row = result.users[np.nonzero(listed)[0]]
        statistics[f"coverage@{k}{suffix}"] = intervals.coverage(row, result.top[listed], len(result.candidates))
        protocols.append(result.protocol)
        for name, rows in _seen_and_new(split, result.users).items():
            values = result.values[f"ndcg@{k}"][rows]
            statistics[f"ndcg@{k}_{name}"] = intervals.mean_over_users(result.users[rows], values)
    return statistics, f"{len(result.users)} users with a new choice; " + "; names with (all items): ".join(protocols)


def _seen_and_new(split: Split, users: np.ndarray) -> dict[str, np.ndarray]:
    """On a temporal split: which entries of `users` are of users seen in train and which not, if both occur."""
    if split.name != "temporal":
        return {}
    seen = pd.Index(users).isin(split.train["user_id"].unique())  # numpy's would compare each text with each other
    if seen.all() or not seen.any():
        return {}
    return {"seen_users": seen, "new_users": ~seen}


def _fingerprint(frame: pd.DataFrame) -> str:
    """Equal for equal (user, item, label) in equal order."""
    rows = pd.util.hash_pandas_object(frame[["user_id", "item_id", "label"]], index=False).to_numpy()
    with np.errstate(over="ignore"):
        return f"{len(rows)}-{int((rows * np.arange(1, 2 * len(rows), 2, dtype=np.uint64)).sum()):016x}"


def _merged(texts: list[str]) -> str:
    """Texts that differ in their numbers only as one, "seed 0/1/2"; others one after the other."""
    pieces = [re.split(r"(\d[\d,.]*)", text) for text in texts]
    if len({tuple(p[::2]) for p in pieces}) > 1:
        return " / ".join(dict.fromkeys(texts))
    return "".join("/".join(dict.fromkeys(piece)) for piece in zip(*pieces, strict=True))


def _interval_text(level: float, n_boot: int) -> str:
    return f"{100 * level:g} % bootstrap over users, {n_boot} draws"


def _users(users: int) -> str:
    return f"{users} user{'' if users == 1 else 's'}{_few(users)}"


def _few(users: int) -> str:
    """A word of warning after a number of users."""
    if users < 2:
        return ": an interval needs two"
    return ": few, the interval is too narrow" if users < intervals.HANDFUL else ""


def _json(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
