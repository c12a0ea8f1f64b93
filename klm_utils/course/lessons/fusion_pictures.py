"""Drawings of notebook 03: lists, sums, fusion layers, timelines, differences with their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from klm_utils import plots
from klm_utils.course.lessons.fusion_boxes import SOURCES, Boxes
from klm_utils.plots import COLOURS

INK, PALE, LINE = "#333333", "#DDDDDD", "#777777"
PLACES = {  # of the boxes of a layer: across, up; "user" to "tags" are the row below
    "person": (0.5, 1.6),
    "film": (3.0, 1.6),
    "content": (3.5, 1.1),
    "joined": (2.0, 1.2),
    "score": (1.75, 3.0),
}
FORMULAS = {
    "dot": "score = person · film",
    "hadamard": "score = w · (person * film)",
    "gate": "mix = g * id + (1 − g) * content",
    "residual": "film = content + MLP(content) + id",
    "tags": "attention = sum of weight × tag",
    "target": "attention = sum of weight × past film",
    "concat": "score = MLP([user; past; id; text; tags])",
}
OWN = {
    "hadamard": {"person": (0.5, 1.2), "film": (3.0, 1.2), "product": (1.75, 2.1)},
    "gate": {"g": (1.6, 1.8), "content": (3.85, 1.2), "mix": (3.1, 2.2), "person": (0.4, 1.9)},
    "residual": {"content": (3.9, 1.15), "MLP": (3.9, 2.3), "film": (2.45, 1.75), "person": (0.5, 1.75)},
    "tags": {"attention": (3.8, 1.5), "film": (2.2, 1.95), "person": (0.5, 1.2)},
    "target": {"attention": (1.5, 1.25), "film": (3.3, 1.2), "person": (0.3, 2.2)},
    "concat": {"joined": (2.0, 0.98), "MLP": (2.0, 2.03), "score": (2.0, 3.05)},
}


def short(title: str, length: int = 21) -> str:
    """A title cut to so many characters."""
    return title if len(title) <= length else title[: length - 1].rstrip(" ,:") + "…"


def five_lists(joined: Mapping[str, Sequence[str]], product: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Person -> titles, the best first: above those of the joined vectors, below those of the product; the two Axes.

    A title that stands in one person's list only has the colour of that person.
    """
    axes = plt.subplots(2, 1, figsize=(8, 4.3), layout="constrained")[1]
    names = ("Joined: [film; person], then a linear layer", "Multiplied: film · person, plus a bias of each")
    for ax, lists, name in zip(axes, (joined, product), names, strict=True):
        often = pd.Series([title for own in lists.values() for title in own]).value_counts()
        for column, (person, own) in enumerate(lists.items()):
            for place, title in enumerate(own):
                shared = often[title] > 1
                colour = PALE if shared else COLOURS[column]
                ax.add_patch(Rectangle((column, -place - 1), 0.96, 0.88, facecolor=colour, alpha=1 if shared else 0.3))
                at = (column + 0.03, -place - 0.56)
                ax.text(*at, f"{place + 1} {short(title, 18)}", va="center", fontsize=9, parse_math=False)
            ax.text(column + 0.04, 0.12, person, va="bottom", fontsize=9, weight="bold")
        ax.set_title(name, fontsize=10.5, loc="left", pad=2)
        ax.set(xlim=(0, len(lists)), ylim=(-max(map(len, lists.values())), 0.75))
        ax.axis("off")
    return axes


def sums_and_products(a: pd.Series, b: pd.Series, products: pd.DataFrame) -> np.ndarray:
    """Left the scores a(film) + b(person), right other scores of the same pairs, rows films, columns persons; the Axes.

    The place of each film in the list of its column is drawn in brackets, the first place blue.
    """
    axes = plt.subplots(1, 2, figsize=(8, 0.42 * len(a) + 1.0), layout="constrained", width_ratios=[1.45, 1])[1]
    total = pd.DataFrame(np.add.outer(a.to_numpy(), b.to_numpy()), index=a.index, columns=b.index)
    _grid(axes[0], total, "joined: a(film) + b(person)", a, b)
    _grid(axes[1], products, "and with film · person")
    return axes


def _grid(ax: Axes, scores: pd.DataFrame, title: str, a: pd.Series | None = None, b: pd.Series | None = None) -> None:
    places = scores.rank(ascending=False).astype(int)
    rows, columns = scores.shape
    for r, film in enumerate(scores.index):
        if a is not None:
            ax.text(-0.75, r, short(film, 24), ha="right", va="center", fontsize=9, parse_math=False)
            ax.text(-0.15, r, f"{a[film]:.2f}", ha="right", va="center", fontsize=9, color=COLOURS[1])
        for c, person in enumerate(scores.columns):
            first = places.iat[r, c] == 1
            ax.add_patch(Rectangle((c, r - 0.44), 0.96, 0.88, color=COLOURS[0] if first else "#EEEEEE"))
            text, colour = f"{scores.iat[r, c]:.2f}  ({places.iat[r, c]})", "white" if first else INK
            ax.text(c + 0.48, r, text, ha="center", va="center", fontsize=9, color=colour)
            if r == 0:
                below = f"{person}\n" if b is None else f"{person}\n{b[person]:+.2f}"
                ax.text(
                    c + 0.48,
                    -0.55,
                    below,
                    ha="center",
                    va="bottom",
                    fontsize=9,
                    color=COLOURS[1] if b is not None else INK,
                )
    ax.set_title(title, fontsize=10.5)
    ax.set(xlim=(-3.3 if a is not None else -0.1, columns), ylim=(rows - 0.5, -1.6))
    ax.axis("off")


def agreement(taus: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Kendall's tau of every two persons' lists, a row of dots per way to score, with a bar at the median.

    A row is orange if every two lists are one.
    """
    ax = ax or plt.subplots(figsize=(7.2, 0.8 + 0.36 * len(taus)), layout="constrained")[1]
    for row, values in enumerate(taus.values()):
        spread = row + np.random.default_rng(0).uniform(-0.25, 0.25, len(values))
        colour = COLOURS[1] if min(values) > 0.999 else COLOURS[0]
        ax.plot(values, spread, "o", color=colour, alpha=0.35, markersize=3.5, markeredgewidth=0)
        ax.plot([np.median(values)] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=2)
    ax.set_yticks(range(len(taus)), list(taus))
    ax.set(ylim=(len(taus) - 0.5, -0.5), xlim=(-0.45, 1.05))
    ax.set_xlabel("Kendall's tau of two lists: 1 is the same list; the bar is the median")
    return _plain(ax)


def layer(name: str, boxes: Boxes, notes: Mapping[str, str] | None = None, ax: Axes | None = None) -> Axes:
    """A fusion layer, from what is known (below) to the score (above), with the numbers of one person and one film.

    Args:
        name: a key of `fusion_boxes.SOURCES`.
        boxes: box -> its numbers, as of `Small.boxes`.
        notes: box -> what to write instead of its numbers, on lines of their own.
    """
    ax = ax or plt.subplots(figsize=(4, 3.4), layout="constrained")[1]
    places = {box: (float(x), 0.0) for x, box in enumerate(("user", "past", "id", "text", "tags"))}
    places |= {box: (PLACES | OWN.get(name, {}))[box] for box in SOURCES[name]}
    said = {box: (notes or {}).get(box) or _numbers(boxes[box]) for box in places}
    sizes = {box: _size(box, text) for box, text in said.items()}
    for box, sources in SOURCES[name].items():
        for source in sources.split():
            _arrow(ax, places[source], places[box], sizes[source], sizes[box])
    for box, at in places.items():
        colour = PALE if at[1] == 0 else COLOURS[0] if box == "score" else "#CFE3F2"
        _box(ax, at, sizes[box], f"{box}\n{said[box]}", colour)
    ax.set_title(f"{name}\n", fontsize=11)
    ax.text(0.5, 1.0, FORMULAS[name], ha="center", va="bottom", fontsize=9, color=LINE, transform=ax.transAxes)
    ax.set(xlim=(-0.6, 4.7), ylim=(-0.5, 3.35))
    ax.axis("off")
    return ax


def layers(names: Sequence[str], boxes: Mapping[str, Boxes], notes: Mapping[str, Mapping[str, str]]) -> np.ndarray:
    """`layer` for each of these, two in a row; the Axes."""
    rows = -(-len(names) // 2)
    axes = plt.subplots(rows, 2, figsize=(8, 3.2 * rows), layout="constrained", squeeze=False)[1]
    for name, ax in zip(names, axes.flat, strict=True):
        layer(name, boxes[name], notes.get(name), ax)
    return axes


def _numbers(values: np.ndarray) -> str:
    """One or two numbers below each other, four in a square; of more only how many there are."""
    said = [f"{value:.2f}" for value in np.atleast_1d(values)]
    if len(said) == 4:
        return f"{said[0]}  {said[1]}\n{said[2]}  {said[3]}"
    return "\n".join(said) if len(said) < 4 else f"{len(said)} numbers"


def _size(name: str, numbers: str) -> tuple[float, float]:
    """How wide and high the box of this text is."""
    return max(0.86, 0.13 * max(map(len, [name, *numbers.split("\n")]))), 0.08 + 0.23 * (2 + numbers.count("\n"))


def _box(ax: Axes, at: tuple[float, float], size: tuple[float, float], text: str, colour: str) -> None:
    corner = (at[0] - size[0] / 2, at[1] - size[1] / 2)
    ax.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0.02", linewidth=0, zorder=2, facecolor=colour))
    ink = "white" if colour == COLOURS[0] else INK
    ax.text(*at, text, ha="center", va="center", fontsize=9, color=ink, zorder=3, linespacing=1.0)


def _arrow(ax: Axes, tail: tuple, tip: tuple, size_of_tail: tuple, size_of_tip: tuple) -> None:
    """From the edge of one box to the edge of another."""
    a, b = np.array(tail), np.array(tip)
    start, end = a + (b - a) * _share(b - a, size_of_tail), b - (b - a) * _share(b - a, size_of_tip)
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9, "color": LINE, "zorder": 1}
    style |= {"shrinkA": 1, "shrinkB": 2}
    ax.add_patch(FancyArrowPatch(tuple(start), tuple(end), **style))


def _share(way: np.ndarray, size: tuple[float, float]) -> float:
    """Which share of the way from a box's middle lies in the box."""
    return float(min((s / 2 + 0.03) / max(abs(w), 1e-9) for w, s in zip(way, size, strict=True)))


def timeline(titles: Sequence[str], weights: Mapping[str, Sequence[float]]) -> np.ndarray:
    """A history, the oldest film on the left; above each film a bar with the weight that it gets; a panel per way.

    The highest bar of a panel is dark, if it is at least a fifth higher than every other one.
    """
    _figure, axes = plt.subplots(
        len(weights), 1, figsize=(8, 1.05 * len(weights) + 1.4), layout="constrained", sharex=True, squeeze=False
    )
    for ax, (name, values) in zip(axes[:, 0], weights.items(), strict=True):
        own = np.asarray(values, dtype=float)
        alone = (own >= own.max() / 1.2).sum() == 1
        colours = [COLOURS[0] if alone and weight == own.max() else "#9ECAE1" for weight in own]
        ax.bar(range(len(own)), own, width=0.7, color=colours)
        for place, weight in enumerate(own):
            ax.text(place, max(weight, 0), f"{weight:.2f}", ha="center", va="bottom", fontsize=9)
        ax.set_title(name, fontsize=10, loc="left", pad=3)
        ax.set_ylim(min(0, own.min()) * 1.2, 1.3 * max(own.max(), 0.01))
        ax.set_yticks([])
        ax.spines[["top", "right", "left"]].set_visible(False)
    axes[-1, 0].set_xticks(range(len(titles)), [short(t, 22) for t in titles], rotation=30, ha="right", fontsize=9)
    return axes[:, 0]


def own_history(titles: Sequence[str], target: str, ax: Axes | None = None) -> Axes:
    """A row of train and the history that goes in with it: the target is among what the person chose."""
    ax = ax or plt.subplots(figsize=(8, 1.9), layout="constrained")[1]
    for place, title in enumerate(titles):
        itself = title == target
        ax.add_patch(Rectangle((place, 0), 0.95, 0.75, color=COLOURS[1] if itself else PALE))
        own: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "parse_math": False}
        ax.text(place + 0.475, 0.37, _wrapped(title), color="white" if itself else INK, **own)
    at = list(titles).index(target) + 0.475
    middle = len(titles) / 2
    ax.text(len(titles) - 0.05, 0.82, "history, the last one here", ha="right", fontsize=10)
    ax.set(xlim=(0, len(titles)), ylim=(0, 2.05))
    ax.axis("off")
    ax.text(middle, 1.85, f"row of train: this person and {target}", ha="center", va="center", fontsize=10)
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 14, "color": COLOURS[1], "linewidth": 2}
    ax.add_patch(FancyArrowPatch((middle, 1.7), (at, 0.78), **style))
    ax.text((at + middle) / 2 + 0.35, 1.3, "puts the film into the history", fontsize=9, color=COLOURS[1])
    return ax


def _wrapped(title: str) -> str:
    words, lines = short(title, 22).split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 9 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines[:3])


def train_and_test(values: pd.DataFrame, label: str, ax: Axes | None = None) -> Axes:
    """Two columns, train and test; a line per row from one to the other, with the values at both ends."""
    ax = ax or plt.subplots(figsize=(5.8, 2.8), layout="constrained")[1]
    gap = 0.09 * np.ptp(values.to_numpy())
    for (name, own), colour in zip(values.iterrows(), COLOURS, strict=False):
        ax.plot([0, 1], own, "o-", color=colour)
        for x, column in enumerate(values):
            above = (values[column] < own[column]).any()  # two labels at one height are pushed apart
            height = own[column] + (gap / 2 if above else -gap / 2)
            text = f"{own[column]:.3f}  {name}" if x else f"{own[column]:.3f}"
            ax.text(x + (0.05 if x else -0.05), height, text, ha="left" if x else "right", va="center", color=colour)
    ax.set_xticks([0, 1], list(values.columns))
    ax.set(xlim=(-0.35, 1.9), ylabel=label)
    ax.margins(y=0.2)
    return _plain(ax)


def gates(films: pd.DataFrame, g: np.ndarray, titles: Sequence[str]) -> np.ndarray:
    """Left each number of the gates of six films, right of every film the lengths of what is added; the two Axes.

    Args:
        films: columns "rows", "id" and "content", as of `fusion_boxes.gates`. From 1 on their axis grows by factors.
        g: the gates of each film, [films, d].
        titles: one per film.
    """
    axes = plt.subplots(1, 2, figsize=(8, 3.1), layout="constrained", width_ratios=[1, 1.1])[1]
    rows = films["rows"].to_numpy()
    six = [int(np.abs(rows - wanted).argmin()) for wanted in (0, 1, 10, 50, 200, rows.max())]
    for place, film in enumerate(six):
        axes[0].plot(g[film], np.full(g.shape[1], place), "o", color=COLOURS[0], alpha=0.5, markeredgewidth=0, ms=5)
        axes[0].plot([g[film].mean()] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=2)
    axes[0].set_yticks(range(6), [f"{short(titles[film], 18)} ({rows[film]})" for film in six], parse_math=False)
    axes[0].set(xlim=(0, 1), xlabel="the numbers of g; bar: their mean")
    edges = [0, 1, 3, 10, 30, 100, 300, np.inf]
    middle = films.groupby(pd.cut(films["rows"], edges, right=False), observed=True).median()
    for part, label, colour in (("id", "g * id", COLOURS[0]), ("content", "(1 − g) * content", COLOURS[1])):
        axes[1].plot(rows, films[part], "o", color=colour, alpha=0.15, markersize=3, markeredgewidth=0)
        axes[1].plot(middle["rows"], middle[part], "o-", color=colour, markersize=5, label=label)
    axes[1].set_xscale("symlog", linthresh=1)
    axes[1].set_xticks([0, 1, 10, 100], ["0: new", "1", "10", "100"])
    axes[1].set(xlabel="ratings of the film in train", ylabel="length of the vector", xlim=(-0.3, 700))
    axes[1].legend(frameon=False, fontsize=9)
    for ax in axes:
        _plain(ax)
    return axes


def differences(rows: Mapping[str, Sequence[float]], label: str, ax: Axes | None = None) -> Axes:
    """As a panel of `four_tables`: blue is better, orange is worse, and grey means that an interval contains 0."""
    ax = ax or plt.subplots(figsize=(7, 0.8 + 0.36 * len(rows)), layout="constrained")[1]
    _rows(ax, rows, list(rows))
    ax.set_xlabel(label)
    ax.locator_params(axis="x", nbins=6)
    return ax


def _rows(ax: Axes, rows: Mapping[str, Sequence[float]], names: list[str]) -> None:
    """Of each row a dot with its intervals, at the place of its name."""
    for name, (value, *ends) in rows.items():
        both = np.array(ends, dtype=float).reshape(-1, 2)
        sure = all(low > 0 or high < 0 for low, high in both[~np.isnan(both).any(1)])
        colour = "#999999" if not sure else COLOURS[0] if value > 0 else COLOURS[1]
        for (low, high), width in zip(both, (4.0, 1.3), strict=False):
            at = [names.index(name)] * 2
            ax.plot([low, high], at, color=colour, linewidth=width, solid_capstyle="butt")
        ax.plot(value, names.index(name), "o", color=colour, markersize=5)
    ax.axvline(0, color="black", linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    _plain(ax)


def four_tables(tables: Mapping[str, Mapping[str, Sequence[float]]], label: str) -> np.ndarray:
    """A panel per table on one scale: a row per layer, its difference, thick the user interval, thin the item interval.

    tables: title -> {layer: (difference, low, high, low, high)}. Grey: an interval contains 0.
    """
    names = list(dict.fromkeys(name for rows in tables.values() for name in rows))
    size = (8, 0.34 * len(names) * -(-len(tables) // 2) + 1.5)
    figure, axes = plt.subplots(
        -(-len(tables) // 2), 2, figsize=size, layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    for ax, (title, rows) in zip(axes.flat, tables.items(), strict=False):
        _rows(ax, rows, names)
        ax.set_title(title, fontsize=10)
    figure.supxlabel(label, fontsize=10)
    return axes


def worth_and_folds(rows: Mapping[str, Sequence[float]], label: str, folds: pd.DataFrame, test: Sequence[float]) -> Any:
    """Above as `differences`; below the one column of `folds` as dots, with its mean and both intervals; the Axes."""
    axes = plt.subplots(2, 1, figsize=(7, 3.6), layout="constrained", sharex=True)[1]
    differences(rows, label, ax=axes[0])
    plots.dots(folds, "AUC, new films", {folds.columns[0]: test}, ax=axes[1])
    for line in axes[1].lines:  # its mean is no difference that is worse
        line.set_color(INK if line.get_color() == COLOURS[1] else line.get_color())
    return axes


def importance(tables: Mapping[str, Mapping[str, Sequence[float]]], label: str) -> np.ndarray:
    """A panel per table: a bar per input up to its mean loss, and a line from the smallest to the largest loss.

    tables: title -> {input: (mean, smallest, largest)}.
    """
    rows = len(next(iter(tables.values())))
    size = (4 * len(tables), 0.33 * rows + 1.0)
    own: dict[str, Any] = {"layout": "constrained", "squeeze": False, "sharex": True, "sharey": True}
    axes = plt.subplots(1, len(tables), figsize=size, **own)[1][0]
    for ax, (title, losses) in zip(axes, tables.items(), strict=True):
        for row, (value, low, high) in enumerate(losses.values()):
            ax.barh(row, value, color=COLOURS[0], height=0.6)
            ax.plot([low, high], [row, row], color=INK, linewidth=1.5)
        ax.set_yticks(range(rows), list(losses))
        ax.set_ylim(rows - 0.4, -0.6)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(label)
        ax.axvline(0, color="black", linewidth=0.8)
        _plain(ax)
    return axes


def _plain(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax
