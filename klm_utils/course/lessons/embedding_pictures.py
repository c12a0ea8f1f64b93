"""The drawings of notebook 02 of vectors: users, worth, the cone, neighbours, the ellipse. Each returns its Axes."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, FancyArrowPatch, Rectangle

from klm_utils.plots import COLOURS

BLUE, ORANGE, GREEN = COLOURS[:3]
PALE, INK, GREY = "#DDDDDD", "#333333", "#777777"


def history_and_list(
    history: Sequence[tuple[str, float]], ranked: Sequence[tuple[str, float, int]], name: str, ax: Axes | None = None
) -> Axes:
    """Left films that a user rated, with their weights; right new films, nearest first; blue is liked, orange is not.

    Args:
        history: (title, weight), a weight above 0 for what was liked.
        ranked: (title, cosine, liked later: 0 or 1). name: what stands above the left column.
    """
    ax = ax or plt.subplots(figsize=(8, 0.7 + 0.36 * max(len(history), len(ranked))), layout="constrained")[1]
    _column(ax, 0, [(t, f"{w:+.2f}", BLUE if w > 0 else ORANGE) for t, w in history], name)
    _column(
        ax, 5.6, [(t, f"{c:+.3f}", BLUE if liked else ORANGE) for t, c, liked in ranked], "new films, nearest first"
    )
    middle = -max(len(history), len(ranked)) / 2
    ax.add_patch(FancyArrowPatch((4.25, middle), (5.4, middle), arrowstyle="-|>", mutation_scale=16, color=INK))
    ax.text(4.82, middle + 0.25, "cosine", ha="center", va="bottom", fontsize=9)
    ax.set(xlim=(-0.1, 9.9), ylim=(-max(len(history), len(ranked)) - 0.1, 1.0))
    ax.axis("off")
    return ax


def _column(ax: Axes, x: float, rows: Sequence[tuple[str, str, str]], title: str, wide: float = 4.1) -> None:
    """Boxes from the top down: (text, number, colour)."""
    ax.text(x, 0.25, title, fontsize=10, parse_math=False)
    for place, (text, number, colour) in enumerate(rows, start=1):
        ax.add_patch(Rectangle((x, -place + 0.1), wide, 0.82, color=colour))
        ink = INK if colour == PALE else "white"
        ax.text(x + 0.12, -place + 0.5, _short(text), va="center", fontsize=9, color=ink, parse_math=False)
        ax.text(x + wide - 0.1, -place + 0.5, number, va="center", ha="right", fontsize=9, color=ink)


def _short(text: str, letters: int = 31) -> str:
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def worth(
    films: Mapping[str, Sequence[float]],
    bands: Mapping[str, Sequence[float]],
    one_list: Mapping[str, Sequence[float]],
    ax: Axes | None = None,
) -> Axes:
    """What untrained vectors are worth: a dot per fold and their mean; a diamond: one list; grey: shuffles.

    Args:
        films, one_list: reader -> AUC of each fold, of the users' own vectors and of the mean user.
        bands: reader -> AUCs of its shuffles.
    """
    ax = ax or plt.subplots(figsize=(6.6, 1.2 + 0.31 * len(films)), layout="constrained")[1]
    for row, (name, values) in enumerate(films.items()):
        last = row == 0  # one entry each in the legend
        ax.plot(
            values, row + np.linspace(-0.2, 0.2, len(values)), "o", color=BLUE, alpha=0.5, markersize=4.5,
            label="a fold" if last else None,
        )  # fmt: skip
        ax.plot(
            [np.mean(values)] * 2, [row - 0.3, row + 0.3], color=ORANGE, linewidth=2.5, label="mean" if last else None
        )
        ax.plot(
            np.mean(one_list[name]), row, "D", color="black", fillstyle="none", markersize=6.5,
            label="mean, one list for all" if last else None,
        )  # fmt: skip
        ax.text(np.max(values) + 0.005, row, f"{np.mean(values):.3f}", va="center", fontsize=9)
    _shuffles(ax, list(films), bands)
    ax.set_xlim(0.47, 0.67)
    ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.45, 1.14), ncols=3)
    return ax


def shop(
    goods: Mapping[str, Sequence[float]],
    bands: Mapping[str, Sequence[float]],
    apart: pd.DataFrame,
    ax: Axes | None = None,
) -> Axes:
    """The same in the shop: reader -> (AUC, low, high); grey: the row's shuffles.

    Args:
        apart: a row per reader, a column per kind of goods: the AUC among them.
    """
    ax = ax or plt.subplots(figsize=(7.2, 0.9 + 0.3 * len(goods)), layout="constrained")[1]
    for row, (value, low, high) in enumerate(goods.values()):
        ax.plot([low, high], [row, row], color=BLUE, linewidth=3.5, solid_capstyle="butt")
        ax.plot(value, row, "o", color=BLUE)
    for row, name in enumerate(goods):
        parts = ", ".join(f"{part} {auc:.3f}" for part, auc in apart.loc[name].items())
        ax.text(0.67, row, f"{goods[name][0]:.3f}  ({parts})", va="center", fontsize=9)
    _shuffles(ax, list(goods), bands)
    ax.set_xlim(right=0.83)
    ax.set_xticks([0.5, 0.55, 0.6, 0.65])
    ax.set_title("shop, simulated (line: interval for other users)", fontsize=10)
    return ax


def _shuffles(ax: Axes, names: Sequence[str], bands: Mapping[str, Sequence[float]]) -> None:
    """The grey bands behind the rows, and what both pictures of worth have."""
    for row, name in enumerate(names):
        low, high = np.min(bands[name]), np.max(bands[name])
        ax.add_patch(Rectangle((low, row - 0.4), high - low, 0.8, color="#CCCCCC", zorder=0))
    ax.set_yticks(range(len(names)), list(names), fontsize=9)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="AUC of a user; grey: the row's shuffles")
    ax.spines[["top", "right"]].set_visible(False)


def cone(vectors: np.ndarray, centred: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Arrows of some vectors of length 1 as they are and centred; each seen in a plane.

    The plane of the left panel holds the mean of all vectors (upwards) and their main direction around it; that of the
    right one the two main directions of the centred vectors. Args: vectors, centred: [n, d]; names of the first rows.
    """
    mean = vectors.mean(0) / np.linalg.norm(vectors.mean(0))
    rest = vectors - np.outer(vectors @ mean, mean)
    side = np.linalg.svd(rest - rest.mean(0), full_matrices=False)[2][0]
    planes = (np.stack([side, mean]), np.linalg.svd(centred, full_matrices=False)[2][:2])
    axes = plt.subplots(1, 2, figsize=(7.4, 3.4), layout="constrained")[1]
    for ax, rows, plane in zip(axes, (vectors, centred), planes, strict=True):
        flat = rows @ plane.T
        for x, y in flat:
            ax.plot([0, x], [0, y], color=PALE, linewidth=0.8, zorder=0)
        shown = flat[: len(names)]
        for x, y in shown:
            ax.add_patch(
                FancyArrowPatch((0, 0), (x, y), arrowstyle="-|>", mutation_scale=10, color=BLUE, shrinkA=0, shrinkB=0)
            )
        _spread(ax, shown, names)
        reach = 1.25 * np.abs(flat).max()
        ax.set(xlim=(-reach, reach), ylim=(min(-0.08, 1.3 * flat[:, 1].min()), 1.18 * flat[:, 1].max()), aspect="equal")
        ax.axis("off")
    angle = np.degrees(np.arccos(np.clip(_pairs(vectors).mean(), -1, 1)))
    axes[0].set_title(f"as they come\n(in {vectors.shape[1]} dimensions {angle:.0f}° between two tags)", fontsize=10)
    axes[1].set_title("centred\n(a shadow: what looks near may be far)", fontsize=10)
    axes[0].set(xlim=(-0.62, 0.62), ylim=(-0.08, 1.12))
    return axes


def _spread(ax: Axes, ends: np.ndarray, names: Sequence[str]) -> None:
    """Names at the ends of arrows; those above others are raised so that no two are at one height."""
    order = np.argsort(ends[:, 0])
    for number, at in enumerate(order):
        x, y = ends[at]
        up = 0.05 * (1 + number % 3) * (1 if y >= 0 else -1) * np.abs(ends).max()
        ax.text(x, y + up, names[at], ha="center", va="center", fontsize=9, color=INK)


def _pairs(vectors: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of rows of length 1."""
    return (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]


def two_users(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]], users: Sequence[str], names: Sequence[str]
) -> np.ndarray:
    """A dot per product: its cosine to one user (right) and to another (up); the first choice of each is named.

    Args:
        panels: title -> (cosines to the first user, cosines to the second), [products] each.
        users: what to call the two. names: of the products.
    """
    axes = plt.subplots(1, len(panels), figsize=(8, 3.4), layout="constrained", squeeze=False)[1][0]
    for ax, (title, (x, y)) in zip(axes, panels.items(), strict=True):
        ax.plot(x, y, ".", color=BLUE, alpha=0.5, markersize=5)
        for best in (int(np.argmax(x)), int(np.argmax(y))):
            ax.plot(x[best], y[best], "o", color=ORANGE)
            name, style = "\n".join(wrap(names[best], 22)), {"fontsize": 9, "parse_math": False}
            if y[best] < np.max(y):  # the label in the corner below, where few dots are
                line = {"arrowstyle": "-", "color": GREY}
                ax.annotate(name, (x[best], y[best]), (0.99, 0.03), "data", "axes fraction", line, ha="right", **style)
            else:
                ax.annotate(name, (x[best], y[best]), (0, 8), "data", "offset points", ha="center", **style)
        ax.set_title(f"{title}: correlation of these two {np.corrcoef(x, y)[0, 1]:.2f}", fontsize=10)
        ax.set(xlabel=f"cosine to {users[0]}", ylabel=f"cosine to {users[1]}")
        ax.margins(0.12, 0.22)
        ax.spines[["top", "right"]].set_visible(False)
    return axes


def side_by_side(name: str, found: Mapping[str, Sequence[tuple[str, float]]], ax: Axes | None = None) -> Axes:
    """The neighbours of one thing under several models: a column each, nearest first, darker where nearer."""
    longest = max(map(len, found.values()))
    ax = ax or plt.subplots(figsize=(8, 0.75 + 0.34 * longest), layout="constrained")[1]
    for column, (model, own) in enumerate(found.items()):
        x = 4.05 * column
        ax.text(x, 0.25, model, fontsize=10)
        for place, (text, cosine) in enumerate(own, start=1):
            shade = plt.get_cmap("Blues")(0.15 + 0.75 * max(0.0, cosine))
            ink = "white" if cosine > 0.6 else INK
            ax.add_patch(Rectangle((x, -place + 0.1), 3.9, 0.82, color=shade))
            ax.text(x + 0.12, -place + 0.5, _short(text, 27), va="center", fontsize=9, color=ink, parse_math=False)
            ax.text(x + 3.8, -place + 0.5, f"{cosine:.2f}", va="center", ha="right", fontsize=9, color=ink)
    ax.set(xlim=(-0.1, 4.05 * len(found)), ylim=(-longest - 0.1, 1.0))
    ax.set_title(f"nearest to {name}", fontsize=11, loc="left", parse_math=False)
    ax.axis("off")
    return ax


def ranks(places: Mapping[str, Mapping[str, int]], of: int, ax: Axes | None = None) -> Axes:
    """Where each reader ranks something: a row per pair, a marker per reader, on a log axis; grey is the first ten.

    Args:
        places: pair -> reader -> rank, 1 is first. of: the number of things ranked.
    """
    ax = ax or plt.subplots(figsize=(8, 1.0 + 0.26 * len(places)), layout="constrained")[1]
    readers = list(next(iter(places.values())))
    for number, (reader, colour, marker) in enumerate(zip(readers, (BLUE, GREEN, ORANGE), "osD", strict=False)):
        rank = [own[reader] for own in places.values()]
        first = sum(one <= 10 for one in rank)
        label = f"{reader}: {first} of {len(rank)}\nin the first ten"
        ax.plot(
            rank,
            np.arange(len(rank)) + 0.3 * (number - 1),
            marker,
            color=colour,
            markersize=4.5,
            label=label,
        )
    ax.axvspan(0.8, 10.5, color="#E4E4E4", zorder=0)
    ax.set_yticks(range(len(places)), list(places), fontsize=9)
    ax.set(xscale="log", xlim=(0.8, 1.2 * of), ylim=(len(places) - 0.5, -0.5), xlabel=f"rank among {of:,} titles")
    ticks = [10**power for power in range(4) if 10**power <= of]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def ellipses(panels: Mapping[str, np.ndarray], names: Mapping[int, str]) -> np.ndarray:
    """Points in two dimensions with the ellipse of their covariance (two standard deviations), and the origin.

    Args:
        panels: title -> [n, 2]. names: row -> label.
    """
    axes = plt.subplots(1, len(panels), figsize=(8, 2.9), layout="constrained", squeeze=False)[1][0]
    for ax, (title, points) in zip(axes, panels.items(), strict=True):
        values, directions = np.linalg.eigh(np.cov(points.T))
        turn = np.degrees(np.arctan2(directions[1, 1], directions[0, 1]))
        size = 4 * np.sqrt(values[::-1])
        ax.scatter(*points.T, s=8, color=BLUE, alpha=0.5)
        ax.add_patch(Ellipse(points.mean(0), *size, angle=turn, fill=False, color=ORANGE, linewidth=2))
        ax.plot(0, 0, "+", color="black", markersize=12)
        back = {"facecolor": "white", "alpha": 0.85, "pad": 1, "edgecolor": "none"}
        far = points[:, 0].mean() > 2 * points[:, 0].std()  # right of the origin: there is room on the left
        side, away = ("right", -9) if far else ("left", 9)
        for row, name in names.items():
            ax.plot(*points[row], "o", color=ORANGE, markersize=5)
            ax.annotate(name, points[row], xytext=(away, 6), textcoords="offset points", ha=side, fontsize=9, bbox=back)
        ax.set_title(f"{title}\nellipse {size[0]:.2f} by {size[1]:.2f}", fontsize=10)
        ax.set_aspect("equal", adjustable="datalim")
        ax.tick_params(labelsize=8)
    return axes


def strips(panels: Mapping[str, Mapping[str, np.ndarray]], label: str) -> np.ndarray:
    """A row of points per group with its median, a panel per way: a yardstick of what is near and what is far."""
    first = next(iter(panels.values()))
    size = (8, 0.9 + 0.36 * len(first))
    axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", sharey=True, squeeze=False)[1][0]
    rng = np.random.default_rng(0)
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        for row, (some, colour) in enumerate(zip(values.values(), (GREY, BLUE, ORANGE), strict=False)):
            ax.plot(some, row + rng.uniform(-0.25, 0.25, len(some)), ".", color=colour, markersize=3, alpha=0.5)
            ax.plot([np.median(some)] * 2, [row - 0.35, row + 0.35], color="black", linewidth=1.5)
            ax.annotate(f"{np.median(some):.2f}", (np.max(some), row), (6, 0), textcoords="offset points", va="center")
        ax.margins(x=0.14)
        ax.set(ylim=(len(values) - 0.5, -0.5), xlabel=label)
        ax.set_title(title, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(first)), list(first), fontsize=9)
    return axes
