"""Variants of a model on the same splits: measured, pooled, compared in pairs, shown.

    splits = {seed: klm.split(ds, "cold_item", seed=seed) for seed in (0, 1, 2)}
    runs = experiment.run({"no text": build, "frozen": other}, splits)  # build(split, seed) -> a fitted model
    runs.table("no text")  # values, and paired differences to one variant
    runs.plot("no text")

A difference has two intervals: for the same items and other users, and for other items too (`Gain`). `stored` is what
`to_rows` gave, with the same arguments, in a run at full scale; it is shown beside the small one.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from klm_utils import plots, progress
from klm_utils.data.splits import Split
from klm_utils.errors import ConfigError, check_choice, check_kind
from klm_utils.evaluation import intervals
from klm_utils.evaluation.gain import Gain, paired_gain
from klm_utils.evaluation.ranking import Model
from klm_utils.evaluation.report import UNFINISHED, Report, evaluate, pooled

Build = Callable[[Split, int], Model]
Rows = dict[str, list[float | None]]  # {label: [value, low, high]}, None where undefined; differences have low and
# high for other items behind these


@dataclass(frozen=True, eq=False)
class Run:
    """One variant on one split: the split's number, the seed that it was built with, the seconds to build it."""

    variant: str
    split: int
    seed: int
    seconds: float
    report: Report


@dataclass(frozen=True, eq=False)
class Runs:
    """What `run` measured. Metrics are by default the headline (`auc`, `ndcg@k`).

    runs: one for each variant, split and seed. models: the last one of each variant. splits: by their numbers.

    Every method raises `ConfigError` for a variant or a metric that there is none of.
    """

    runs: tuple[Run, ...]
    models: dict[str, Model] = field(repr=False)
    splits: dict[int, Split] = field(repr=False)
    level: float = 0.95
    n_boot: int = 1000

    @property
    def variants(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(run.variant for run in self.runs))

    @property
    def frame(self) -> pd.DataFrame:
        """One row per run: variant, split, seed, name of the model, seconds, and every metric."""
        about = [(run.variant, run.split, run.seed, run.report.name, run.seconds) for run in self.runs]
        frame = pd.DataFrame(about, columns=["variant", "split", "seed", "model", "seconds"])
        return frame.join(pd.DataFrame([run.report.metrics for run in self.runs]))

    @cached_property
    def pooled(self) -> dict[str, Report]:
        """Each variant's report, the mean over its splits and seeds; intervals draw users."""
        return {name: pooled(self.reports(name), level=self.level, n_boot=self.n_boot) for name in self.variants}

    @property
    def protocol(self) -> str:
        """What was measured, on which rows; of the first variant."""
        return self.pooled[self.variants[0]].protocol

    def reports(self, variant: str) -> list[Report]:
        """One for each split and seed."""
        return list(self._by_place(variant).values())

    def _by_place(self, variant: str) -> dict[tuple[int, int], Report]:
        check_choice("variant", variant, tuple(self.variants))
        return {(run.split, run.seed): run.report for run in self.runs if run.variant == variant}

    def values(self, metric: str | None = None) -> pd.DataFrame:
        """The metric of each run: a row per split and seed, a column per variant."""
        return self.frame.pivot(index=["split", "seed"], columns="variant", values=self._metric(metric))[self.variants]

    def users(self, metric: str | None = None) -> pd.DataFrame:
        """One row per variant, split, seed and user, with the value of a metric that is a mean over users.

        Raises:
            ConfigError: a metric of rows, such as the AUC of all rows, has none for a user.
        """
        metric, parts = self._metric(metric), []
        for run in self.runs:
            stat = run.report.statistics[metric]
            if stat.values is None:
                means = [name for name, other in run.report.statistics.items() if other.values is not None]
                what, remedy = f"{metric} has no value for a user", "take one of these"
                raise ConfigError(what, "Runs.users(metric)", metric, ", ".join(means), remedy)
            part = pd.DataFrame({"user_id": stat.users, metric: stat.values})
            part.insert(0, "seed", run.seed), part.insert(0, "split", run.split), part.insert(0, "variant", run.variant)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def gain(self, a: str, b: str, metric: str | None = None) -> Gain:
        """The paired difference a - b, pooled over the splits and seeds that both were run on."""
        of_a, of_b = self._by_place(a), self._by_place(b)
        both = [place for place in of_a if place in of_b]
        if not both:
            remedy = "run both on the same splits and seeds"
            raise ConfigError("these were not run on the same split", "Runs.gain", (a, b), "a split of both", remedy)
        reports = [of_a[place] for place in both], [of_b[place] for place in both]
        gain = paired_gain(*reports, self._metric(metric), self.level, self.n_boot)
        named = {a: gain.a, b: gain.b}
        a, b = (f"{own}: {named[own]}" if _unfinished(named[own]) else own for own in (a, b))
        return replace(gain, a=a, b=b)

    def gains(self, *pairs: tuple[str, str], metric: str | None = None) -> Rows:
        """{"a minus b": [difference, low, high, low, high]} of those pairs that were both run, to 4 digits.

        The first low and high are for other users, the second for other items too.
        """
        there = [(a, b) for a, b in pairs if {a, b} <= {*self.variants}]
        return {f"{a} minus {b}": _row(*_ends(self.gain(a, b, metric))) for a, b in there}

    def to_rows(self, base: str | None = None, metric: str | None = None) -> Rows:
        """{variant: [value, low, high]}, or with `base` the `gains` over it; to 4 digits, ready for JSON."""
        return {name: _row(*row) for name, row in self._rows(base, metric).items()}

    def table(self, base: str | None = None, metric: str | None = None, stored: Rows | None = None) -> pd.DataFrame:
        """One row per variant: the metric and its interval over users; with `base` also the paired difference to it.

        The difference has two intervals: "low", "high" for the same items and other users, "others low", "others high"
        for other items too. Where there are several differences, a column has Holm's p-values: "p others" (of the
        second interval), or "p users" where some row has none. `splits` says on how many splits, where these differ.

        Where the training of a model was interrupted, a column `model` has the names, which say so. `stored` adds a
        column "full scale": of the differences if there is a base, a star where the interval excludes 0.
        """
        table = pd.DataFrame.from_dict(self._rows(None, metric), orient="index")
        table.columns = [self._metric(metric), "low", "high"]
        if base is not None:
            gains = self._gains(base, metric)
            ends = {label: _ends(gain) for label, gain in gains.items()}
            minus = pd.DataFrame.from_dict(ends, orient="index", columns=range(5))
            names = [f"minus {base}", "minus low", "minus high", "others low", "others high"]
            table[names] = minus.reindex(table.index)
            if len(gains) > 1:
                which = "p users" if any(math.isnan(gain.p_others) for gain in gains.values()) else "p others"
                p = [gain.p if which == "p users" else gain.p_others for gain in gains.values()]
                table[which] = pd.Series(intervals.holm(p), list(gains)).reindex(table.index)
        splits = self.frame.groupby("variant")["split"].nunique()
        if splits.nunique() > 1:
            table["splits"] = splits
        models = {variant: report.name for variant, report in self.pooled.items()}
        if any(map(_unfinished, models.values())):
            table["model"] = pd.Series(models)
        return table if stored is None else beside(table, stored, signed=base is not None)

    def plot(
        self, base: str | None = None, metric: str | None = None, stored: Rows | None = None, ax: Axes | None = None
    ) -> Axes:
        """Forest plot of the values, or of the paired differences to `base`; below each its row at full scale."""
        rows, full = self._rows(base, metric), stored or {}
        shown: dict[str, tuple[float, ...]] = {}
        for label in dict.fromkeys([*rows, *full]):
            if label in rows:
                shown[label] = rows[label]
            if label in full:
                shown[f"{label}, full scale"] = _numbers(full[label])
        what, level = self._metric(metric) + (f" minus that of {base}" if base else ""), f"{100 * self.level:g} %"
        over = f"{level} over users" if base is None else f"{level}: thick other users, thin other items too"
        return plots.forest(shown, f"{what}, {over}", None if base is None else 0, ax)

    def only(self, *variants: str) -> "Runs":
        """Those of these variants, in this order."""
        for name in variants:
            check_choice("variant", name, tuple(self.variants))
        runs = tuple(run for name in variants for run in self.runs if run.variant == name)
        return replace(self, runs=runs, models={name: self.models[name] for name in variants if name in self.models})

    def __or__(self, other: "Runs") -> "Runs":
        """Both; of a variant in both the one of `other`."""
        kept = tuple(run for run in self.runs if run.variant not in other.variants)
        return replace(
            self, runs=kept + other.runs, models=self.models | other.models, splits=self.splits | other.splits
        )

    def _metric(self, metric: str | None) -> str:
        metrics = tuple(self.runs[0].report.metrics)
        if metric is not None:
            check_choice("metric", metric, metrics)
        return metric or metrics[0]

    def _rows(self, base: str | None, metric: str | None) -> dict[str, tuple[float, ...]]:
        name = self._metric(metric)
        if base is None:
            return {label: (r.metrics[name], *r.intervals[name]) for label, r in self.pooled.items()}
        return {label: _ends(gain) for label, gain in self._gains(base, name).items()}

    def _gains(self, base: str, metric: str | None) -> dict[str, Gain]:
        """What every other variant has over this one."""
        check_choice("base", base, tuple(self.variants))
        return {label: self.gain(label, base, metric) for label in self.variants if label != base}


def run(
    variants: Mapping[str, Build],
    splits: Split | Iterable[Split] | Mapping[int, Split],
    seeds: Sequence[int] | None = None,
    *,
    k: int = 10,
    part: str = "test",
    objective: str | None = None,
    level: float = 0.95,
    n_boot: int = 1000,
    keep: str | PathLike | None = None,
    stamp: str = "",
    measure: Callable[..., Report] = evaluate,
) -> Runs:
    """Build every variant on every split, and measure it there.

    Args:
        variants: {name: function of a split and a seed that returns a fitted model}.
        splits: one, several, or {number: split}, of equal protocol but for the seed or fold.
        seeds: with which each variant is built on each split; by default the number, or place, of the split.
        k, part, objective, level, n_boot: see `evaluate`.
        measure: in place of `evaluate`; called with the model, the split and these arguments, objective if given.
        keep: a file to write each run to once it is measured, with the headline metric of each user and no other; what
            it holds already is not run again, if it has the same `stamp`: what made it, such as a checksum of the code.

    Raises:
        ConfigError: nothing to run; a variant that is no function; what `evaluate` refuses.
    """
    from klm_utils.evaluation import kept  # which writes what is defined here

    check_kind("run(variants)", variants, Mapping, "{name: build(split, seed)}", '{"mine": build}')
    for name, build in variants.items():
        check_kind(f"run(variants), {name}", build, Callable, "build(split, seed) -> a fitted model", "a function")
    how: dict[str, Any] = {"k": k, "part": part, "level": level, "n_boot": n_boot}
    how |= {} if objective is None else {"objective": objective}
    several = [splits] if isinstance(splits, Split) else splits
    numbered = several.items() if isinstance(several, Mapping) else enumerate(several)
    runs: list[Run] = [] if keep is None else list(kept.load(keep, stamp).runs)
    done = {(run.variant, run.split, run.seed) for run in runs}
    models, used = dict[str, Model](), dict[int, Split]()
    try:
        for at, split in numbered:
            used[at] = split
            for seed in [at] if seeds is None else seeds:
                for name, build in variants.items():
                    if (name, at, seed) in done:
                        continue
                    progress.line(f"split {at}, seed {seed}: {name}")
                    start = time.perf_counter()
                    models[name] = build(split, seed)
                    seconds = time.perf_counter() - start
                    report = measure(models[name], split, **how)
                    runs.append(Run(name, at, seed, seconds, report))
                    if keep is not None:
                        runs[-1] = kept.as_kept(runs[-1], tuple(report.metrics)[:1])
                        kept.save(keep, Runs(tuple(runs), {}, {}, level, n_boot), stamp)
    finally:
        progress.done()
    if not runs:
        raise ConfigError("there is nothing to run", "run", None, "variants, splits and seeds", "splits=[split]")
    return Runs(tuple(runs), models, used, level, n_boot)


def beside(table: pd.DataFrame, stored: Rows, signed: bool = False) -> pd.DataFrame:
    """A table with a column "full scale" of stored rows, by label; labels that the table lacks come last.

    signed: they are differences: with their sign and both intervals, a star where an interval excludes 0.
    """
    form = "{:+.4f}" if signed else "{:.4f}"
    cells = {}
    for label, row in stored.items():
        value, *ends = _numbers(row)
        cells[label] = form.format(value)
        for low, high in zip(ends[::2], ends[1::2], strict=True):
            cells[label] += f" [{form}, {form}]".format(low, high) + ("*" if signed and (low > 0 or high < 0) else "")
    table = table.reindex(dict.fromkeys([*table.index, *cells]))
    return table.assign(**{"full scale": pd.Series(cells, dtype=object).reindex(table.index, fill_value="")})


def _unfinished(name: str) -> bool:
    return any(mark in name for mark in UNFINISHED)


def _ends(gain: Gain) -> tuple[float, ...]:
    return gain.difference, gain.low, gain.high, *gain.others


def _row(*row: float) -> list[float | None]:
    return [None if math.isnan(value) else round(value, 4) for value in row]


def _numbers(row: list[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if x is None else x for x in row)
