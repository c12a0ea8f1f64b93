"""paired_gain() -> Gain: the difference of two models, with an interval for other users and one for other items too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from klm_utils.errors import ConfigError, check_choice
from klm_utils.evaluation import intervals
from klm_utils.evaluation.intervals import Statistic
from klm_utils.evaluation.report import Report, few, interval_text, pooled, users_text


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

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference for the same items and other users: that of a normal of this interval."""
        return _p_value(self.difference, (self.low, self.high), stats.norm, self.level)

    @property
    def p_others(self) -> float:
        """The same for other items too; over folds that of Student's t."""
        law = stats.t(self.n_splits - 1) if self.how == "folds" else stats.norm
        return _p_value(self.difference, self.others, law, self.level)

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
        note = f", {users_text(self.n_users)}" if few(self.n_users) else ""
        return (
            f"{self.a} - {self.b}: {self.metric} {found}\nprotocol: {self.protocol}"
            f"\n  [paired {interval_text(self.level, self.n_boot)}{note}]"
        )


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


def _p_value(difference: float, ends: tuple[float, float], law, level: float) -> float:
    """At which level the interval would end at 0, if it is `law.ppf` of its level times a standard error wide."""
    error = (ends[1] - ends[0]) / (2 * law.ppf((1 + level) / 2))
    return float(2 * law.sf(abs(difference) / error)) if error > 0 else math.nan


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
