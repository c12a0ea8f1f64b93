"""evaluate() -> Report: every number with its protocol and its interval."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape

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
    protocol: str
    n_users: int
    level: float
    n_boot: int
    seed: int
    setting: tuple = field(repr=False, default=())
    rows: tuple[str, ...] = field(repr=False, default=())
    statistics: dict[str, Statistic] = field(repr=False, default_factory=dict)
    by_run: tuple[dict[str, float], ...] = field(repr=False, default=())
    shared: float = field(repr=False, default=float("nan"))

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Of each metric, over users; drawn when it is first asked for, since most experiments read the pooled one."""
        draws = self.level, self.n_boot, self.seed
        return {name: intervals.interval(stat, *draws) for name, stat in self.statistics.items()}

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
            note = f"  rests on {users} of {self.n_users} users{few(users)}" if users < self.n_users else ""
            lines.append(f"  {name:{width}s}  {value:.4f}  [{low:.4f}, {high:.4f}]{note}")
        return "\n".join([*lines, f"  [{self._of()}]"])

    def _of(self) -> str:
        return f"{interval_text(self.level, self.n_boot)}, {users_text(self.n_users)}"

    def to_markdown(self) -> str:
        """The same as a table in Markdown; names are escaped."""
        head = f"**{plain(self.name)}**: {self.objective}, {self.part}. {plain(self.protocol)}"
        rows = ["| metric | value | low | high | users |", "|---|---|---|---|---|"]
        for name, *values, users in self.table().itertuples():
            rows.append(f"| {plain(name)} | {' | '.join(f'{value:.4f}' for value in values)} | {users:.0f} |")
        return "\n".join([head, "", *rows, "", plain(self._of())])

    def _repr_html_(self) -> str:
        """What a notebook shows; names are escaped."""
        head = f"<b>{escape(self.name)}</b>: {self.objective}, {self.part}<br>{escape(self.protocol)}"
        table = self.table().to_html(float_format="{:.4f}".format, formatters={"users": "{:.0f}".format}, escape=True)
        return f"<p>{head}</p>{table}<p>{escape(self._of())}</p>"


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
    report = report_of(statistics, name, protocol, setting, (fingerprint(frame),), level, n_boot, seed)
    return replace(report, by_run=(report.metrics,), shared=shared)


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
    report = report_of(statistics, name, protocol, reports[0].setting, rows, level, n_boot, seed)
    return replace(report, by_run=by_run, shared=float(np.mean([r.shared for r in reports])))


def report_of(
    statistics: dict[str, Statistic], name: str, protocol: str, setting: tuple, rows: tuple[str, ...], *draws
) -> Report:
    """A report of these statistics; draws: level, n_boot, seed."""
    return Report(
        name=name,
        objective=setting[3],
        part=setting[2],
        metrics={name: stat.estimate() for name, stat in statistics.items()},
        protocol=protocol,
        n_users=len(next(iter(statistics.values())).users),
        level=draws[0],
        n_boot=draws[1],
        seed=draws[2],
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


def fingerprint(frame: pd.DataFrame) -> str:
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


def interval_text(level: float, n_boot: int) -> str:
    """What an interval is, in words: "95 % bootstrap over users, 1000 draws"."""
    return f"{100 * level:g} % bootstrap over users, {n_boot} draws"


def users_text(users: int) -> str:
    """A number of users, with a word of warning where they are few."""
    return f"{users} user{'' if users == 1 else 's'}{few(users)}"


def few(users: int) -> str:
    """A word of warning after a number of users."""
    if users < 2:
        return ": an interval needs two"
    return ": few, the interval is too narrow" if users < intervals.HANDFUL else ""


def plain(value) -> str:
    """A name or a protocol in Markdown: one line, and neither HTML nor a link nor code nor a table.

    It may come from a file that somebody else made.
    """
    line = escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"[\[\]`|]", lambda sign: f"&#{ord(sign[0])};", line)


def _json(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
