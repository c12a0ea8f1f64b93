"""Figures that more than one notebook draws. Each returns its Axes; call `plt.show()` after it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from klm_utils.data.shipped import shipped
from klm_utils.errors import ConfigError

if TYPE_CHECKING:
    from klm_utils.data.splits import Split

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito 2008: colour-blind safe


def training_curves(histories: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """The value on valid by epoch, one line per `History`, a ring at the epoch whose weights were kept."""
    ax = ax or plt.subplots(figsize=(7.5, 3.2), layout="constrained")[1]
    for (name, history), colour in zip(histories.items(), _cycle(len(histories)), strict=True):
        valid = history.epochs["valid"]
        ax.plot(valid.index, valid, color=colour, label=_as_it_is(name))
        ax.plot(history.best_epoch, valid[history.best_epoch], "o", color=colour, fillstyle="none", markersize=9)
        ax.set_ylabel(f"{history.metric} on valid")
    ax.set_xlabel("epoch (ring: the weights that were kept)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return _plain(ax)


def forest(rows: Mapping[str, Sequence[float]], label: str, zero: float | None = None, ax: Axes | None = None) -> Axes:
    """Values with their intervals, one row each, the first on top.

    Args:
        rows: name -> (value, low, high); of differences also the ends of a second interval, for other items too, which
            is drawn thin.
        label: what the values are, with their unit or metric.
        zero: where to draw the line of no difference. Grey is what reaches it with either interval.
    """
    ax = ax or plt.subplots(figsize=(6.4, 0.8 + 0.36 * len(rows)), layout="constrained")[1]
    for place, (value, *ends) in enumerate(rows.values()):
        there = np.array(ends, dtype=float).reshape(-1, 2)
        sure = zero is None or all(low > zero or high < zero for low, high in there[~np.isnan(there).any(1)])
        colour = COLOURS[0] if sure and not np.isnan(there).all() else "#777777"  # no interval: grey
        for (low, high), width in zip(there, (3.5, 1.2), strict=False):
            ax.plot([low, high], [place, place], color=colour, linewidth=width, solid_capstyle="butt")
        ax.plot(value, place, "o", color=colour)
    if zero is not None:
        ax.axvline(zero, color="black", linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(rows)), map(_as_it_is, rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(_as_it_is(label))
    ax.locator_params(axis="x", nbins=6)
    return _plain(ax)


def dots(
    differences: pd.DataFrame, label: str, gains: Mapping[str, Sequence[float]] | None = None, ax: Axes | None = None
) -> Axes:
    """Paired differences of several folds: a row per comparison, a dot per fold, a bar at their mean.

    Args:
        differences: a row per fold, a column per comparison; NaN where a fold lacks one.
        label: what the differences are of, with the metric.
        gains: comparison -> (difference, low, high, low, high) as of `Runs.gains`: the intervals for other users
            (thick) and for other items too (thin), below the dots; NaN where there is none. Grey reaches zero with one.
    """
    ax = ax or plt.subplots(figsize=(6.4, 0.9 + 0.55 * differences.shape[1]), layout="constrained")[1]
    for row, (name, values) in enumerate(differences.items()):
        there = values.dropna()
        spread = np.linspace(-0.2, 0.1, len(there)) if len(there) > 1 else np.zeros(len(there))
        ax.plot(there, row + spread, "o", color=COLOURS[0], alpha=0.7, markersize=5.5, markeredgewidth=0)
        ax.plot([there.mean()] * 2, [row - 0.28, row + 0.18], color=COLOURS[1], linewidth=2.5)
        ends = np.array((gains or {}).get(str(name), [0.0])[1:], dtype=float).reshape(-1, 2)
        sure = all(low > 0 or high < 0 for low, high in ends[~np.isnan(ends).any(1)])
        for (low, high), width in zip(ends, (4.0, 1.2), strict=False):  # nan is not drawn
            where, colour = [row + 0.3] * 2, "black" if sure else "#999999"
            ax.plot([low, high], where, color=colour, linewidth=width, solid_capstyle="butt")
    ax.axvline(0, color="black", linewidth=0.8, linestyle=":")
    ax.set_yticks(range(differences.shape[1]), [_as_it_is(str(name)) for name in differences])
    ax.set_ylim(differences.shape[1] - 0.4, -0.5)
    ax.set_xlabel(_as_it_is(f"{label}; a dot is a fold, the bar their mean"))
    ax.locator_params(axis="x", nbins=6)  # so that their labels do not touch
    return _plain(ax)


def split_matrix(split: "Split", users: int = 80, items: int = 120, ax: Axes | None = None) -> Axes:
    """A corner of the interaction matrix, each row of the log in the colour of its part.

    Rows are users in the order in which they came, evenly picked; columns the items with most rows, the first on the
    left. White: no row. `figure.legend(*ax.get_legend_handles_labels())` names the colours.
    """
    ax = ax or plt.subplots(figsize=(4.5, 3.2), layout="constrained")[1]
    log = split.dataset.interactions
    came = log["user_id"].unique()
    came = came[np.linspace(0, len(came) - 1, min(users, len(came))).astype(int)]
    often = log["item_id"].value_counts(sort=True).index[:items]
    cells = np.zeros((len(came), len(often)), dtype=int)
    parts = ("train", "valid", "test")
    for number, part in enumerate(parts, start=1):
        rows = getattr(split, part)
        rows = rows[rows["user_id"].isin(came) & rows["item_id"].isin(often)]
        places = (pd.Index(ids).get_indexer(rows[c]) for ids, c in ((came, "user_id"), (often, "item_id")))
        cells[tuple(places)] = number
    colours = ("white", "#BBBBBB", COLOURS[4], COLOURS[0])
    ax.imshow(cells, cmap=ListedColormap(colours), vmin=0, vmax=3, aspect="auto", interpolation="nearest")
    ax.set(title=_as_it_is(split.name), xlabel="items, most rows first", ylabel="users, first come first")
    ax.set(xticks=[], yticks=[])
    for part, colour in zip(parts, colours[1:], strict=True):  # for a legend, of this picture or of a row of them
        ax.scatter([], [], marker="s", color=colour, label=part)
    return ax


def chinese() -> None:
    """Let matplotlib draw Chinese too, in the font of the course, whatever fonts the system has."""
    path = shipped("fonts/NotoSansCJKsc-course.otf")
    font_manager.fontManager.addfont(path)
    plt.rcParams["font.family"] = ["DejaVu Sans", font_manager.FontProperties(fname=path).get_name()]


def flow(steps: Mapping[str, str], title: str = "", ax: Axes | None = None) -> Axes:
    """Boxes and arrows, from what comes in (bottom) to what comes out (top).

    Args:
        steps: box -> the boxes that go into it, by names with a space between, in any order; a name that is no key is
            an input, drawn in the order in which it first appears.
        title: above the picture.
    """
    ax = ax or plt.subplots(figsize=(4, 3), layout="constrained")[1]
    sources = {box: names.split() for box, names in steps.items()}
    inputs = list(dict.fromkeys(name for names in sources.values() for name in names if name not in sources))
    level = dict.fromkeys(inputs, 0)
    while len(level) < len(inputs) + len(sources):
        ready = {b: names for b, names in sources.items() if b not in level and names and level.keys() >= {*names}}
        if not ready:
            what, stuck = "boxes go into each other, or nothing goes into one", [b for b in sources if b not in level]
            remedy = "each box names what goes into it, and none comes back to itself"
            raise ConfigError(what, "flow(steps)", stuck, remedy=remedy)
        level |= {box: 1 + max(level[name] for name in names) for box, names in ready.items()}
    x = {name: float(place) for place, name in enumerate(inputs)}
    for height in range(1, max(level.values()) + 1):
        middle = {box: float(np.mean([x[n] for n in sources[box]])) for box in sources if level[box] == height}
        wanted = sorted(middle, key=middle.__getitem__)
        for place, name in enumerate(wanted):  # above its sources, but not upon its neighbour
            left = x[wanted[place - 1]] + 1.1 if place else -np.inf
            x[name] = max(middle[name], left)
    for name, height in level.items():
        colour = "#DDDDDD" if name in inputs else "#CFE3F2"
        box = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "none"}
        ax.text(
            x[name], height, _as_it_is(name.replace("_", " ")), ha="center", va="center", fontsize=9, bbox=box, zorder=2
        )
        for source in sources.get(name, ()):
            tip, tail = (x[name], height - 0.22), (x[source], level[source] + 0.22)
            bend = 0.25 if abs(x[source] - x[name]) > 0.6 else -0.12  # long arrows go around the boxes between
            bend = 0 if height - level[source] == 1 else bend if x[source] >= x[name] else -bend
            style = {"arrowstyle": "->", "color": "#555555", "connectionstyle": f"arc3,rad={bend}"}
            ax.annotate("", tip, tail, arrowprops=style | {"shrinkA": 0, "shrinkB": 0})
    ax.set(xlim=(-0.6, max(x.values()) + 0.6), ylim=(-0.5, max(level.values()) + 0.5), title=_as_it_is(title))
    ax.axis("off")
    return ax


def _as_it_is(text: str) -> str:
    """A label that matplotlib draws as it is: what stands between two dollars would be a formula, "$5 or $6" too."""
    return str(text).replace("$", r"\$")


def _cycle(n: int, values: Sequence[str] = COLOURS) -> Sequence[str]:
    return [values[i % len(values)] for i in range(n)]


def _plain(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax
