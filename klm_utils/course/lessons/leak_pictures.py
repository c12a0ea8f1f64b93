"""The drawings of what a leak is worth, in notebook 01. Each returns its Axes."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from klm_utils.course.lessons.data_pictures import BLUE, GREY, INK, PALE, RED, box


def pipeline(ax: Axes) -> Axes:
    """Log, split, features, model, score; where each of the three leaks leaves, and that all enter the features."""
    steps = ["raw tables", "log\n(all rows)", "split", "features", "model", "AUC"]
    for place, step in enumerate(steps):
        box(ax, 1.7 * place, 1.2, 1.35, step, "#CFE3F2", INK, 10)
        if place:
            ax.annotate("", (1.7 * place, 1.6), (1.7 * place - 0.35, 1.6), arrowprops={"arrowstyle": "->"})
    notes = {  # where it leaves, where it enters, at what height
        "A": (0.65, 5.75, 3.2, "an id written after the purchase"),
        "B": (2.35, 5.6, 0.0, "a share of all rows"),
        "C": (2.35, 5.95, -1.1, "a count over all rows"),
    }
    shape: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 14, "color": RED, "linewidth": 1.8}
    for name, (start, tip, level, text) in notes.items():
        edge = 2.08 if level > 1 else 1.12
        ax.plot([start, start, tip], [edge, level, level], color=RED, linewidth=1.8)
        ax.add_patch(FancyArrowPatch((tip, level), (tip, edge), shrinkA=0, shrinkB=0, **shape))
        ax.text(start + 0.12, level + 0.1, f"{name}: {text}", fontsize=9.5, color=RED, va="bottom")
    ax.set(xlim=(-0.1, 10.1), ylim=(-1.25, 3.75))
    ax.axis("off")
    return ax


def dumbbells(found: pd.DataFrame, ceiling: float, ax: Axes) -> Axes:
    """The AUC of each leak's honest form (grey) and of the leak (red), with what lies between; the line is the ceiling.

    Args:
        found: of `leaks.worth`.
        ceiling: AUC of the true probabilities.
    """
    for place, (_, row) in enumerate(found.iterrows()):
        ax.plot([row["honest"], row["leak"]], [place, place], color=RED, linewidth=3, alpha=0.4)
        ax.plot(row["honest"], place, "o", color=GREY, markersize=9, label=None if place else "honest form")
        ax.plot(row["leak"], place, "o", color=RED, markersize=9, label=None if place else "with the leak")
        told = f"+{row['worth']:.3f}  [{row['low']:+.3f}, {row['high']:+.3f}]"
        ax.text(1.03, place, told, va="center", fontsize=9.5, color=RED, family="monospace")
    ax.axvline(ceiling, color=INK, linestyle=":", linewidth=1.2)
    ax.text(ceiling + 0.005, -0.62, f"true probabilities {ceiling:.3f}", fontsize=9, va="bottom", color=INK)
    ax.set_yticks(range(len(found)), [str(name) for name in found.index])
    ax.set(ylim=(len(found) - 0.4, -0.65), xlim=(0.48, 1.02), xlabel="AUC on the same test rows; 0.5 is chance")
    ax.legend(frameon=False, fontsize=9, loc="center right")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def dots(found: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The AUC of some tables of features, a dot with its interval each; the dotted line is the first of them.

    Args:
        found: of `leaks.aucs`.
    """
    ax = ax or plt.subplots(figsize=(7.6, 0.8 + 0.4 * len(found)), layout="constrained")[1]
    ax.axvline(found["auc"].iloc[0], color=GREY, linestyle=":", linewidth=1.2, zorder=0)
    for place, (_, row) in enumerate(found.iterrows()):
        colour = RED if row["low"] > found["high"].iloc[0] else GREY
        ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2)
        ax.plot(row["auc"], place, "o", color=colour, markersize=8)
        behind = {"color": "white", "pad": 1}
        place_of = row["high"] + 0.008, place
        ax.text(*place_of, f"{row['auc']:.3f}", va="center", fontsize=9.5, color=colour, bbox=behind, zorder=1)
    ax.set_yticks(range(len(found)), [str(name) for name in found.index])
    ax.set(ylim=(len(found) - 0.5, -0.5), xlim=(0.48, 0.88), xlabel="AUC on the same test rows; 0.5 is chance")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def knob(
    points: Mapping[str, pd.Series],
    chance: pd.DataFrame,
    mine: Mapping[str, pd.Series] | None = None,
    *,
    ax: Axes,
) -> Axes:
    """What a share counted on all rows is worth, over the mean number of rows that it is counted on.

    Args:
        points: name of the grouping -> of `leaks.worth_of_sharing`.
        chance: of `leaks.worth_of_chance`; a grey line for each draw.
        mine: the reader's own, drawn as a star.
    """
    name = f"random groups of rows, {chance.shape[1]} draws"
    for place, (_, draw) in enumerate(chance.items()):
        ax.plot(draw.index, draw, "-", color="#AAAAAA", linewidth=1, zorder=1, label=None if place else name)
    for name, row in points.items():
        ax.vlines(row["rows"], row["low"], row["high"], color=BLUE, linewidth=2)
        ax.plot(row["rows"], row["worth"], "o", color=BLUE)
        ax.annotate(str(name), (row["rows"], row["worth"]), (6, 7), textcoords="offset points", fontsize=9)
    for name, row in (mine or {}).items():
        ax.vlines(row["rows"], row["low"], row["high"], color=RED, linewidth=2)
        ax.scatter(row["rows"], row["worth"], marker="*", color=RED, s=180, zorder=3)
        ax.scatter([], [], marker="*", color=RED, s=60, label=f"yours: {name}")
    ax.legend(frameon=False, fontsize=9)
    ax.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log", xlabel="rows that a share is counted on (mean over the groups)", ylabel="AUC, leak minus honest"
    )
    rows, worth = zip(*((row["rows"], row["worth"]) for row in [*points.values(), *(mine or {}).values()]), strict=True)
    ax.set(xlim=(0.7, 4 * max(rows)), ylim=(-0.04, 1.15 * max(*worth, chance.to_numpy().max())))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def alarm_grid(alarms: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Which alarm finds what: a row per alarm, a column per table of features; red where it finds a leak.

    Args:
        alarms: of `leaks.alarms`.
    """
    ax = ax or plt.subplots(figsize=(8, 2.7), layout="constrained")[1]
    names = {
        "alone": "one column alone: AUC\nabove .7 or below .3",
        "moved": "reversed labels of test:\na probability moves",
        "truth": "AUC minus that of the\ntrue probabilities: above 0",
    }
    for line, (key, name) in enumerate(names.items()):
        ax.text(-0.08, -line - 0.5, name, ha="right", va="center", fontsize=9.5)
        for place, (_, row) in enumerate(alarms.iterrows()):
            rings = bool(row[f"{key}_heard"])
            ax.add_patch(Rectangle((place + 0.02, -line - 0.95), 0.96, 0.9, color=RED if rings else PALE))
            number = f"{row[key]:+.3f}" if key == "truth" else f"{row[key]:.3f}"
            told = f"{number}\n{'found' if rings else 'nothing'}"
            at = (place + 0.5, -line - 0.5)
            ax.text(*at, told, ha="center", va="center", fontsize=9.5, color="white" if rings else GREY)
    for place, name in enumerate(alarms.index):
        ax.text(place + 0.5, 0.1, str(name), ha="center", va="bottom", fontsize=10)
    ax.set(xlim=(-1.75, len(alarms)), ylim=(-3.05, 0.5))
    ax.axis("off")
    return ax
