"""The drawings of what rules do, for notebook 07. Each returns its Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from klm_utils.course.lessons.logic import RULES, STATED
from klm_utils.plots import COLOURS


def by_lambda(test: Mapping[str, Mapping[str, Sequence[float]]], kind: str) -> pd.DataFrame:
    """Means over shops of one kind of model, a row for each lambda, from "test" of docs/results/rules.json."""
    own = {key.removeprefix(f"{kind}, "): value for key, value in test.items() if key.rpartition(", ")[0] == kind}
    return pd.DataFrame({float(lam): {m: v[0] for m, v in row.items()} for lam, row in own.items()}).T


def over_lambda(runs: Mapping[str, pd.DataFrame], columns: Sequence[str], truth: Mapping[str, float]) -> np.ndarray:
    """One panel for each measure, over lambda, one line for each run; dotted: what the true probabilities have."""
    axes = plt.subplots(1, len(columns), figsize=(3.7 * len(columns), 2.8), layout="constrained")[1]
    for ax, column in zip(np.atleast_1d(axes), columns, strict=True):
        for (name, run), colour, marker in zip(runs.items(), COLOURS, "os^Dvp", strict=False):
            ax.plot(range(len(run)), run[column], marker=marker, color=colour, label=name)
        if column in truth:
            ax.axhline(truth[column], color="#555555", linestyle=":")
            ax.text(len(run) - 1, truth[column], "the truth", ha="right", va="bottom", fontsize=8, color="#555555")
        ax.set_xticks(range(len(run)), [f"{lam:g}" for lam in run.index])
        ax.set(xlabel="lambda", title=column)
        ax.spines[["top", "right"]].set_visible(False)
    np.atleast_1d(axes)[0].legend(frameon=False, fontsize=8)
    return axes


def strengths(found: Mapping[str, tuple[np.ndarray, np.ndarray]], ax: Axes | None = None) -> Axes:
    """Learnt strengths with their intervals, a row per rule and a colour per way to learn them; bars: the stated."""
    ax = ax or plt.subplots(figsize=(6.4, 2.4), layout="constrained")[1]
    for row, stated in enumerate(STATED):
        ax.plot([stated, stated], [row - 0.35, row + 0.35], color="black", linewidth=2, label=None if row else "stated")
        for way, ((value, ends), colour, marker) in enumerate(zip(found.values(), COLOURS, "os^Dvp", strict=False)):
            y, label = row + 0.22 * (way - (len(found) - 1) / 2), None if row else list(found)[way]
            ax.plot(ends[row], [y, y], color=colour, linewidth=2.5)
            ax.plot(value[row], y, marker, color=colour, label=label)
    ax.set_yticks(range(len(RULES)), RULES)
    ax.set(xlabel="log-odds for what the rule says", ylim=(len(RULES) - 0.5, -0.5))
    ax.axvline(0, color="#777777", linewidth=0.8, linestyle=":")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return ax
