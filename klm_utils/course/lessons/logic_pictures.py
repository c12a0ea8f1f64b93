"""The drawings of what rules do, for notebook 07b. Each returns its Axes."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from klm_utils.course.lessons.logic import RULES, STATED, implies
from klm_utils.plots import COLOURS

STEPS = "lambda (steps are not to scale)"
MEASURES = {
    "violation": "violation of the true rules",
    "distance": "distance from the truth, nats",
    "strength": "strength, log-odds",
}


FEW_WAYS = ("0.03", "0.1", "0.3", "shrunk")  # of docs/results/few_rules.json


def by_lambda(test: Mapping[str, Mapping[str, Sequence[float]]], kind: str) -> pd.DataFrame:
    """One kind of model over shops, a row for each lambda, from "test" of docs/results/rules.json.

    The mean of each measure under its name, and the ends of its interval as "... low" and "... high".
    """
    own = {key.removeprefix(f"{kind}, "): value for key, value in test.items() if key.rpartition(", ")[0] == kind}
    ways = ("", " low", " high")
    return pd.DataFrame(
        {
            float(lam): {m + way: v[at] for m, v in row.items() for at, way in enumerate(ways)}
            for lam, row in own.items()
        }
    ).T


def over_lambda(
    test: Mapping[str, Mapping[str, Sequence[float]]], kinds: Mapping[str, str], columns: Sequence[str]
) -> np.ndarray:
    """One panel for each measure, over lambda, one line for each kind of model, and its interval as a band.

    The first and the last value are written beside the line, of the strength the second too. The violation of the true
    probabilities is dotted.

    Args:
        test: "test" of docs/results/rules.json. kinds: name -> kind, as for `by_lambda`. columns: names in `MEASURES`.
    """
    axes = plt.subplots(1, len(columns), figsize=(3.7 * len(columns), 2.9), layout="constrained", squeeze=False)[1][0]
    runs = {name: by_lambda(test, kind) for name, kind in kinds.items()}
    for ax, column in zip(axes, columns, strict=True):
        for (name, run), colour, marker in zip(runs.items(), COLOURS, "os^Dvp", strict=False):
            ax.plot(range(len(run)), run[column], marker=marker, color=colour, label=name)
            ends = run[f"{column} low"], run[f"{column} high"]
            ax.fill_between(range(len(run)), *ends, color=colour, alpha=0.2, linewidth=0)
            for at in sorted({0, int(column == "strength"), len(run) - 1}):
                value = run[column].iloc[at]
                above = value >= np.mean([other[column].iloc[at] for other in runs.values()])
                where, va = (0, 5 if above else -7), "bottom" if above else "top"
                written = f"{value:.2f}" if column == "strength" else f"{value:.3f}"
                ax.annotate(written, (at, value), where, textcoords="offset points", va=va, ha="center", fontsize=8)
        if column == "violation":
            truth = test["truth, 0"][column][0]
            ax.axhline(truth, color="#555555", linestyle=":")
            ax.text(len(run) / 2 - 0.5, truth, f"the truth {truth:.3f}", va="bottom", ha="center", fontsize=9)
        ax.set_xticks(range(len(run)), [f"{lam:g}" for lam in run.index])
        ax.margins(x=0.12, y=0.14)
        ax.set(xlabel=STEPS, ylabel=MEASURES[column])
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return axes


def few_rows(found: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], rows: str = "1000") -> Axes:
    """Distance from the truth minus that of the feature alone, for a few rows of train; a colour per rule.

    Over lambda, and last without a loss of rules, but with decay on the strengths.

    Args:
        found: docs/results/few_rules.json. rows: how many rows of train, as it is written there.
    """
    ax = plt.subplots(figsize=(6.4, 2.9), layout="constrained")[1]
    names = {"three": "three true rules", "complement": "complement", "wrong complement": "wrong complement"}
    for way, (kind, label) in enumerate(names.items()):
        own = {name.replace("shrunk", "no loss,\ndecay"): found[kind][rows][name] for name in FEW_WAYS}
        for place, (value, low, high) in enumerate(own.values()):
            at = place + 0.15 * (way - 1)
            ax.plot([at, at], [low, high], color=COLOURS[way], linewidth=2.5)
            ax.plot(at, value, "os^"[way], color=COLOURS[way], label=None if place else label)
    ax.axhline(0, color="#777777", linewidth=0.8, linestyle=":")
    ax.set_xticks(range(len(own)), list(own))
    ax.axvline(len(own) - 1.5, color="#777777", linewidth=0.8)
    ax.set(xlabel="lambda of the loss", ylabel="distance minus feature alone")
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def few_said(found: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> str:
    """Three true rules and 1,000 rows: the gain of the loss, that of decay on the strengths, and their difference."""
    names = {"0.1": "loss, lambda 0.1", "shrunk": "no loss, decay", "0.1 minus shrunk": "difference"}
    form = "three rules, 1,000 rows, {}: {:+.4f} [{:+.4f}, {:+.4f}]"
    return "\n".join(form.format(name, *found["three"]["1000"][way]) for way, name in names.items())


def three_rules(lists: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Sequence[float]]:
    """What all three rules bring to a list, (purchases minus none, low, high): as a feature, also with the filter, as a
    loss by lambda. Lambda 3 costs 1.26 purchases and would press all other rows together.

    Args:
        lists: "lists" of docs/results/rules.json.
    """
    names = {
        "feature + loss, 0": "feature, three rules",
        "feature + loss, filtered, 0": "feature, three, and filter",
    }
    names |= {f"loss, {lam}": f"loss, three, lambda {lam}" for lam in ("0.1", "0.3", "1")}
    return {name: lists[key]["purchases minus none"] for key, name in names.items()}


def paired(values: np.ndarray) -> tuple[float, float, float]:
    """The mean of differences, one per user, and its 95 % interval for other users."""
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return values.mean(), values.mean() - half, values.mean() + half


def truth_cost(points: Mapping[str, tuple[float, float]], ax: Axes | None = None) -> Axes:
    """-log truth of "if body, then head" over p, the truth of the head; a curve and a dot at p for each entry.

    Args:
        points: label -> (body, p).
    """
    ax = ax or plt.subplots(figsize=(6.2, 2.9), layout="constrained")[1]
    over = np.linspace(0.01, 1, 200)
    for (label, (body, p)), colour, marker in zip(points.items(), COLOURS, "os^Dvp", strict=False):
        ax.plot(over, -np.log(implies(body, over)), color=colour)
        ax.plot(p, -np.log(implies(body, p)), marker, color=colour, label=label)
    ax.set(xlabel="p, the truth of the head", ylabel="-log truth", ylim=(-0.15, 4.7))
    ax.legend(frameon=False, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def tug(share: float, lambdas: Sequence[float], settles: Callable[[float, float, int], float]) -> Axes:
    """The loss of rows of which a share bought, plus lambda times that of a rule that says "buys", over p.

    A curve for each lambda with a dot at its lowest point, and a dashed line where `settles(share, lambda, 1)` says
    that it is.
    """
    ax = plt.subplots(figsize=(7.4, 3.1), layout="constrained")[1]
    over = np.linspace(0.02, 0.98, 481)
    data = -share * np.log(over) - (1 - share) * np.log(1 - over)
    for lam, colour, marker in zip(lambdas, COLOURS, "os^Dvp", strict=False):
        total = data - lam * np.log(over)
        low = total.argmin()
        ax.plot(over, total, color=colour)
        ax.plot(over[low], total[low], marker, color=colour, label=f"lambda {lam:g}: lowest at {over[low]:.2f}")
        ax.axvline(settles(share, lam, 1), color=colour, linestyle="--", linewidth=1)
    ax.set(xlabel="p", ylabel=f"loss, of s = {share:g} and the rule", ylim=(0, 3.2))
    ax.legend(
        frameon=False,
        fontsize=9,
        title="dashed: your formula",
        title_fontsize=9,
        loc="upper left",
        bbox_to_anchor=(1, 1),
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def strengths(found: Mapping[str, np.ndarray], ax: Axes | None = None) -> Axes:
    """Learnt strengths with their intervals, a row per rule and a colour per way to learn them; bars: the stated.

    Args:
        found: way -> (strength, low, high) of each rule, [rules, 3].
    """
    ax = ax or plt.subplots(figsize=(6.8, 1.2 + 0.5 * len(found)), layout="constrained")[1]
    for row, stated in enumerate(STATED):
        ax.plot([stated, stated], [row - 0.4, row + 0.4], color="black", linewidth=2, label=None if row else "stated")
        for way, ((name, own), colour, marker) in enumerate(zip(found.items(), COLOURS, "os^Dvp", strict=False)):
            y, (value, low, high) = row + 0.2 * (way - (len(found) - 1) / 2), own[row]
            ax.plot([low, high], [y, y], color=colour, linewidth=2.5)
            ax.plot(value, y, marker, color=colour, label=None if row else name)
    ax.set_yticks(range(len(RULES)), RULES)
    ax.set(xlabel="log-odds for what the rule says", ylim=(len(RULES) - 0.5, -0.5))
    ax.axvline(0, color="#777777", linewidth=0.8, linestyle=":")
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return ax
