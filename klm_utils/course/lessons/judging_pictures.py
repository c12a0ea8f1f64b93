"""The drawings of notebook 06, with the reader's numbers in them. Each returns its Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from klm_utils.plots import COLOURS

HIT, MISS, INK = COLOURS[0], "#DDDDDD", "#333333"


def ranked_list(titles: Sequence[str], hits: Sequence[int], k: int, ax: Axes | None = None) -> Axes:
    """A list of films from its first place down: hits coloured, what place each has and what a hit there is worth."""
    ax = ax or plt.subplots(figsize=(6.4, 0.6 + 0.42 * len(titles)), layout="constrained")[1]
    for place, (title, hit) in enumerate(zip(titles, hits, strict=True), start=1):
        inside = place <= k
        ax.add_patch(Rectangle((0.6, -place + 0.1), 4, 0.8, color=HIT if hit else MISS, alpha=1 if inside else 0.35))
        ax.text(0.3, -place + 0.5, str(place), ha="center", va="center", fontsize=10)
        colour = "white" if hit and inside else INK
        ax.text(0.8, -place + 0.5, title, va="center", fontsize=10, color=colour, parse_math=False)
        worth = f"1 / log2({place + 1}) = {1 / np.log2(place + 1):.2f}" if hit and inside else "0"
        ax.text(4.9, -place + 0.5, worth, va="center", fontsize=10, color=INK if inside else "#999999")
    ax.axhline(-k - 0.0, color=COLOURS[1], linewidth=1.5)
    ax.text(7.4, -k + 0.05, f"k = {k}", ha="right", va="bottom", fontsize=10, color=COLOURS[1])
    ax.set(xlim=(0, 7.5), ylim=(-len(titles) - 0.05, 0))
    ax.axis("off")
    return ax


def folds_of(parts: Sequence[str], folds: int = 10, ax: Axes | None = None) -> Axes:
    """Which part of the items is test, valid and train in each fold; `parts` are titles, one for each part."""
    ax = ax or plt.subplots(figsize=(6.4, 0.3 * folds + 0.9), layout="constrained")[1]
    for fold in range(folds):
        for part in range(folds):
            role = "test" if part == fold else "valid" if part == (fold + 1) % folds else "train"
            colour = {"test": COLOURS[0], "valid": COLOURS[4], "train": MISS}[role]
            ax.add_patch(Rectangle((part, -fold - 1), 0.94, 0.88, color=colour))
            if role != "train":
                light = "white" if role == "test" else INK
                ax.text(part + 0.47, -fold - 0.56, role, ha="center", va="center", fontsize=8, color=light)
        ax.text(-0.2, -fold - 0.56, f"fold {fold}", ha="right", va="center", fontsize=9)
    for part, title in enumerate(parts[:folds]):
        ax.text(part + 0.47, 0.08, title, ha="left", va="bottom", fontsize=8, rotation=30, parse_math=False)
    ax.set(xlim=(-1.2, folds + 0.6), ylim=(-folds - 0.1, 1.4))
    ax.axis("off")
    return ax


def coverage_bars(shares: Mapping[str, float], repetitions: int, nominal: float = 0.95, ax: Axes | None = None) -> Axes:
    """How often each kind of interval held the truth, beside what it promises and what chance makes of that."""
    ax = ax or plt.subplots(figsize=(6.4, 0.9 + 0.36 * len(shares)), layout="constrained")[1]
    noise = 1.96 * np.sqrt(nominal * (1 - nominal) / repetitions)
    ax.axvspan(nominal - noise, nominal + noise, color="#EEEEEE")
    ax.axvline(nominal, color=INK, linewidth=1, linestyle=":")
    for row, share in enumerate(shares.values()):
        good = nominal - 0.03 <= share <= nominal + 0.03
        ax.plot([0.7, share], [row, row], color=COLOURS[0] if good else COLOURS[1], linewidth=6, solid_capstyle="butt")
        ax.text(share + 0.004, row, f"{share:.3f}", va="center", fontsize=9)
    ax.set_yticks(range(len(shares)), list(shares))
    ax.set(ylim=(len(shares) - 0.5, -0.5), xlim=(0.7, 1.03))
    ax.set_xlabel(f"held the truth: share of {repetitions} worlds")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def band(value: float, dealt: np.ndarray, label: str, ax: Axes | None = None) -> Axes:
    """What the true knowledge reaches, and what it reaches dealt out to others, again and again."""
    ax = ax or plt.subplots(figsize=(6.4, 2.2), layout="constrained")[1]
    ax.hist(dealt, bins=min(20, max(5, len(dealt) // 4)), color="#BBBBBB", label=f"shuffled, {len(dealt)} times")
    ax.axvline(value, color=COLOURS[0], linewidth=2.5, label="as it is")
    ax.set(xlabel=label, ylabel="shuffles")
    ax.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def two_rankings(values: pd.DataFrame, label: str) -> np.ndarray:
    """One panel per column, one bar per model, in the same order, colours and scale; the Axes."""
    axes = plt.subplots(1, values.shape[1], figsize=(7.2, 2.2), layout="constrained", sharex=True, sharey=True)[1]
    for ax, (name, column) in zip(axes, values.items(), strict=True):
        ax.barh(list(column.index), column, color=COLOURS[: len(column)])
        ax.invert_yaxis() if ax is axes[0] else None  # the first on top; the other panel shares this axis
        ax.set_xlabel(f"{label} {name}")
        ax.spines[["top", "right"]].set_visible(False)
    return axes


def tail(parts: pd.DataFrame) -> np.ndarray:
    """What `judging.by_popularity` found: AUC of each part, and its mean probability against what came; two Axes."""
    axes = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")[1]
    rows = parts["rows of the item in train"].astype(int).astype(str)
    axes[0].bar(rows, parts["auc"], color=COLOURS[0])
    axes[0].set(xlabel="training rows of the film, median of the part", ylabel="AUC", ylim=(0.5, None))
    ends = parts[["predicted", "liked"]].to_numpy().min() - 0.05, parts[["predicted", "liked"]].to_numpy().max() + 0.05
    axes[1].plot(ends, ends, color="#777777", linewidth=0.8)
    axes[1].plot(parts["predicted"], parts["liked"], "o", color=COLOURS[0])
    axes[1].set(xlabel="mean probability", ylabel="share that liked it")
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return axes


def damage(value: float, dealt: np.ndarray, wrong: Mapping[float, float], label: str) -> np.ndarray:
    """Left the band of shuffles, right the metric over the share of the items whose tags are wrong; two Axes."""
    axes = plt.subplots(1, 2, figsize=(8.4, 2.4), layout="constrained", width_ratios=[3, 2])[1]
    band(value, dealt, label, axes[0])
    axes[1].plot(list(wrong), list(wrong.values()), "o-", color=COLOURS[0])
    top = 1.1 * max(wrong.values())
    axes[1].set(xlabel="share of the films with wrong genres", ylabel=label.split(" of ")[0], ylim=(0, top))
    axes[1].spines[["top", "right"]].set_visible(False)
    return axes


def settings(tried: pd.DataFrame, label: str) -> np.ndarray:
    """What `judging.tried` found: a panel per model, its settings from left to right, a ring at the one that valid
    picks. The dashed line in all panels is what the last model reaches on test with its pick; the Axes."""
    names = list(tried["model"].unique())
    axes = plt.subplots(1, len(names), figsize=(8.4, 2.7), layout="constrained", sharey=True, squeeze=False)[1][0]
    last = tried[(tried["model"] == names[-1]) & tried["picked"]]
    for ax, name, colour in zip(axes, names, COLOURS, strict=False):
        own = tried[tried["model"] == name].reset_index(drop=True)
        for part, style in (("valid", ":"), ("test", "-")):
            ax.plot(own[part], style, marker="o", markersize=5, color=colour, label=part)
            ax.plot(own[part][own["picked"]], "o", color=INK, fillstyle="none", markersize=11)
        ax.axhline(last["test"].iloc[0], color="#777777", linestyle="--", linewidth=1, label=f"{names[-1]}, picked")
        ax.set_xticks(range(len(own)), [_setting(one) for one in own["setting"]])
        ax.set(title=name, ylim=(0, 1.1 * tried[["valid", "test"]].to_numpy().max()))
        ax.legend(frameon=False, fontsize=8, loc="lower center", ncols=3)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(label)
    return axes


def _setting(setting: float | Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in np.atleast_1d(setting))


def folds_and_intervals(
    values: np.ndarray, found: Mapping[str, Sequence[float]], label: str, ax: Axes | None = None
) -> Axes:
    """The differences of the folds as dots, and below them each interval of their mean with its name; grey is what
    reaches zero."""
    ax = ax or plt.subplots(figsize=(7.2, 1.3 + 0.36 * len(found)), layout="constrained")[1]
    values = np.asarray(values, dtype=float)
    ax.plot(values, np.linspace(-0.22, 0.22, len(values)), "o", color=COLOURS[0], alpha=0.7, markeredgewidth=0)
    ax.axvline(values.mean(), color=COLOURS[1], linewidth=1)
    ax.axvline(0, color="black", linewidth=0.8, linestyle=":")
    for row, (low, high) in enumerate(found.values(), start=1):
        colour = "#999999" if low <= 0 <= high else INK
        ax.plot([low, high], [row, row], color=colour, linewidth=4, solid_capstyle="butt")
    ax.set_yticks(range(len(found) + 1), [f"{len(values)} folds", *found])
    ax.set(ylim=(len(found) + 0.5, -0.6), xlabel=label)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def cold_start(people: pd.DataFrame, shares: pd.DataFrame) -> np.ndarray:
    """Left nDCG@10 of new users over the films that they were shown, right of known films over the share of the rows
    of train; a line per column, the two Axes."""
    axes = plt.subplots(1, 2, figsize=(8, 2.7), layout="constrained")[1]
    people.plot(ax=axes[0], marker="o", color=COLOURS, xlabel="films shown", ylabel="nDCG@10 of a new user")
    shares.plot(ax=axes[1], marker="o", color=COLOURS, logx=True, xlabel="share of the training rows")
    axes[1].set_ylabel("nDCG@10, known films")
    axes[0].set_xticks(people.index)
    axes[1].set_xticks(shares.index, [f"{share:g}" for share in shares.index])
    axes[1].minorticks_off()
    for ax, table in zip(axes, (people, shares), strict=True):
        ax.set_ylim(0, 1.1 * table.to_numpy().max())
        ax.legend(frameon=False, fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    return axes


def who_is_new(aucs: pd.DataFrame) -> Axes:
    """A group of bars per row, a bar per column with its value on it; chance is the floor."""
    ax = aucs.plot.bar(figsize=(8.4, 2.8), rot=0, width=0.8, color=COLOURS, ylim=(0.5, 1.08 * aucs.to_numpy().max()))
    for bars in ax.containers:
        ax.bar_label(bars, fmt="%.2f", fontsize=8, padding=1)
    ax.set_ylabel("AUC")
    ax.legend(frameon=False, fontsize=9, loc="upper right")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
