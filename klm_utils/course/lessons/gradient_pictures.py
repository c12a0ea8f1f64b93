"""The drawings of notebook 04: values forward in blue, gradients backward in orange, with the reader's numbers."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from klm_utils.gradients.check import STEP
from klm_utils.plots import COLOURS

VALUE, SLOPE, INK, GREY = COLOURS[0], COLOURS[1], "#333333", "#DDDDDD"
HOLDS = {"float32": 3e-4, "bfloat16": 8e-3, "float16": 1e-3}  # a relative error that counts as right


def sigmoid(z: np.ndarray | float) -> np.ndarray:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-np.asarray(z, dtype=float)))


def graph(features: Mapping[str, float], w: Sequence[float], y: float, backward: bool = True) -> Axes:
    """The graph of z = w . x, p = sigmoid(z) and its loss: the value in each box and, if wanted, the gradient below it.

    Args:
        features: name -> x. w: the weights, in the same order. y: 1 or 0.
        backward: draw the gradients too.
    """
    x, weights = np.array(list(features.values()), dtype=float), np.asarray(w, dtype=float)
    z = float(weights @ x)
    p = float(sigmoid(z))
    loss = -float(np.log(p if y else 1 - p))
    ax = plt.subplots(figsize=(8, 0.72 * len(x) + 0.7), layout="constrained")[1]
    rows = [float(row) for row in reversed(range(len(x)))]
    middle = rows[0] / 2

    def box(place: tuple[float, float], name: str, value: float, slope: float | None = None, colour: str = "#CFE3F2"):
        ax.add_patch(Rectangle((place[0] - 0.62, place[1] - 0.41), 1.24, 0.82, facecolor=colour, edgecolor="none"))
        lines = [(name, INK), (_short(value), VALUE)]
        if backward and slope is not None:
            lines.append((_short(slope), SLOPE))
        for at, (text, ink) in zip(np.linspace(0.24, -0.26, 3), lines, strict=False):
            ax.text(place[0], place[1] + at, text, ha="center", va="center", fontsize=9, color=ink, parse_math=False)

    for k, (name, row) in enumerate(zip(features, rows, strict=True)):
        box((0, row), f"x: {name}", x[k], colour=GREY)
        box((1.7, row), f"w: {name}", weights[k], (p - y) * x[k])
        box((3.4, row), "w · x", weights[k] * x[k], p - y)
        ax.text(0.85, row, "×", ha="center", va="center", fontsize=12, color=INK)
        for tail, tip in (((2.35, row), (2.75, row)), ((4.05, row), (4.5, middle + 0.2 * (row - middle)))):
            _arrow(ax, tail, tip)
    box((5.15, middle), "z", z, p - y)
    box((6.85, middle), "p", p, (p - y) / (p * (1 - p)))
    box((8.55, middle), "loss", loss, 1.0)
    box((8.55, middle - 1.3), "y", y, colour=GREY)
    for tail, tip in (((5.8, middle), (6.2, middle)), ((7.5, middle), (7.9, middle))):
        _arrow(ax, tail, tip)
    _arrow(ax, (8.55, middle - 0.86), (8.55, middle - 0.44))
    ax.text(6.0, rows[0] + 0.2, "blue: value", color=VALUE, fontsize=10)
    if backward:
        ax.text(7.5, rows[0] + 0.2, "orange: gradient", color=SLOPE, fontsize=10)
    ax.set(xlim=(-0.7, 9.3), ylim=(min(-0.5, middle - 1.75), rows[0] + 0.55))
    ax.axis("off")
    return ax


def slope_at(z: float, y: float = 1.0) -> np.ndarray:
    """Left the sigmoid, right both losses over the logit, each with the tangent at z; the two Axes."""
    axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")[1]
    line, p = np.linspace(-5, 5, 201), float(sigmoid(z))
    near = np.array([z - 1.6, z + 1.6])
    axes[0].plot(line, sigmoid(line), color=VALUE)
    axes[0].plot(near, p + p * (1 - p) * (near - z), color=SLOPE)
    axes[0].plot(z, p, "o", color=INK)
    axes[0].annotate(f"p = {p:.2f}, slope {p * (1 - p):.2f}", (z, p), xytext=(8, -14), textcoords="offset points")
    axes[0].set(title="the sigmoid turns z into p", xlabel="z", ylabel="p")
    for label, colour in ((1.0, VALUE), (0.0, "#777777")):
        axes[1].plot(line, np.log1p(np.exp(line)) - label * line, color=colour)
        axes[1].text(-4.2 if label else 4.2, 3.3, f"y = {label:.0f}", color=colour, ha="center", rotation=0)
    loss = np.log1p(np.exp(z)) - y * z
    axes[1].plot(near, loss + (p - y) * (near - z), color=SLOPE)
    axes[1].plot(z, loss, "o", color=INK)
    told = f"loss {loss:.2f}, slope {p - y:+.2f}"
    axes[1].text(0, 4.6, told, ha="center", color=INK)
    axes[1].set(title="the loss and its slope p - y", xlabel="z", ylabel="loss", ylim=(-0.6, 5.2))
    for ax in axes:
        _plain(ax)
    return axes


def step_sizes(errors: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Relative error of central differences over the step h, one line per precision.

    errors: index h, a column per precision; 0 is drawn at 1e-16.
    """
    ax = ax or plt.subplots(figsize=(6.4, 2.9), layout="constrained")[1]
    for (name, column), colour, marker in zip(errors.items(), COLOURS, "osD", strict=False):
        ax.loglog(errors.index, column.clip(lower=1e-16), marker=marker, markersize=4, color=colour, label=name)
    ax.axvline(STEP, color=INK, linestyle=":", linewidth=1)
    ax.text(STEP * 1.25, 1e-15, "the h of compare", fontsize=9, color=INK)
    ax.text(1e-12, 4e-3, "too small: rounding", fontsize=9, color="#555555")
    ax.text(1.5, 1e-12, "too large: the curve bends", fontsize=9, ha="right", color="#555555")
    ax.set(xlabel="h", ylabel="relative error of the slope", ylim=(1e-16, 10))
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return _plain(ax)


def precisions(found: pd.DataFrame) -> Axes:
    """Loss and slope that a way of writing the loss gives, in each precision and at each place: right, off or lost.

    found: what `gradient_trials.in_precisions` measured, a row per (way, precision, place).
    """
    rows = list(dict.fromkeys(zip(found["way"], found["precision"], strict=True)))
    places = list(dict.fromkeys(found["place"]))
    ways = list(dict.fromkeys(found["way"]))
    ax = plt.subplots(figsize=(8, 0.38 * len(rows) + 0.75), layout="constrained")[1]
    colours = {"right": "#CFE3F2", "off": "#F6D9B0", "lost": SLOPE}
    for one in found.itertuples():
        row, column = rows.index((one.way, one.precision)), places.index(one.place)
        kind, gap = _kind(one), 0.25 * ways.index(one.way)
        ax.add_patch(Rectangle((column, -row - 1 - gap), 0.97, 0.92, color=colours[kind]))
        text = f"{one.loss:.4g}, {one.slope:.4g}"
        ink = "white" if kind == "lost" else INK
        ax.text(column + 0.48, -row - 0.54 - gap, text, ha="center", va="center", fontsize=9, color=ink)
    for row, (way, precision) in enumerate(rows):
        gap = 0.25 * ways.index(way)
        ax.text(-0.04, -row - 0.54 - gap, f"{way}, {precision}", ha="right", va="center", fontsize=9)
    for column, place in enumerate(places):
        ax.text(column + 0.48, 0.1, place, ha="center", va="bottom", fontsize=9)
    ax.set(xlim=(-1.35, len(places)), ylim=(-len(rows) - 0.25 * len(ways), 0.6))
    ax.axis("off")
    return ax


def _kind(one) -> str:
    """Lost: not finite, or another slope. Off: by more than what a precision cannot hold anyway."""
    if not np.isfinite(one.loss) or not abs(one.slope - one.true_slope) < 0.1:
        return "lost"
    return "right" if abs(one.loss - one.true) <= HOLDS[one.precision] * abs(one.true) else "off"


def chain(stops: Sequence[tuple[str, float, float]]) -> Axes:
    """From a word up to the loss: one value (blue) and its gradient (orange) at each stop.

    stops: (name, value, gradient of the loss in it), the lowest first.
    """
    ax = plt.subplots(figsize=(8, 2.1), layout="constrained")[1]
    for k, (name, value, slope) in enumerate(stops):
        ax.add_patch(Rectangle((k - 0.42, -0.3), 0.84, 0.6, facecolor=GREY if k == 0 else "#CFE3F2", edgecolor="none"))
        ax.text(k, 0, name, ha="center", va="center", fontsize=9, color=INK, parse_math=False)
        ax.text(k, 0.5, _short(value), ha="center", fontsize=10, color=VALUE)
        ax.text(k, -0.72, _short(slope), ha="center", fontsize=10, color=SLOPE)
        if k:
            _arrow(ax, (k - 0.8, 0.85), (k - 0.2, 0.85), VALUE)
            _arrow(ax, (k - 0.2, -0.95), (k - 0.8, -0.95), SLOPE)
    ax.text(-0.42, 1.02, "forward: values", color=VALUE, fontsize=10)
    ax.text(len(stops) - 0.58, -1.3, "backward: gradient of the loss in each", color=SLOPE, fontsize=10, ha="right")
    ax.set(xlim=(-0.5, len(stops) - 0.5), ylim=(-1.4, 1.3))
    ax.axis("off")
    return ax


def felt(words: Sequence[Sequence[str]], lengths: np.ndarray, ax: Axes | None = None) -> Axes:
    """The padded batch as a grid: each word in its place, the darker the longer its gradient; padding is crossed.

    lengths: [texts, places], of the gradient in each token's vector.
    """
    ax = ax or plt.subplots(figsize=(8, 0.42 * len(words) + 0.3), layout="constrained")[1]
    for row, text in enumerate(words):
        for place in range(lengths.shape[1]):
            share = lengths[row, place] / lengths.max()
            inside = place < len(text)
            face = plt.get_cmap("Oranges")(0.75 * share) if inside else "white"
            ax.add_patch(Rectangle((place, -row - 1), 0.96, 0.9, facecolor=face, edgecolor=GREY))
            told = f"{text[place]} {lengths[row, place]:.3f}" if inside else f"– {lengths[row, place]:.0f}"
            ink = "white" if inside and share > 0.7 else INK
            ax.text(place + 0.48, -row - 0.55, told, ha="center", va="center", fontsize=9, color=ink)
    ax.set(xlim=(-0.02, lengths.shape[1]), ylim=(-len(words) - 0.05, 0))
    ax.axis("off")
    return ax


def agreement(lengths: Mapping[str, float], gaps: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """Each parameter as a dot: how long its gradient is, and how far by hand and autograd differ. 0 is drawn at 1e-18.

    Parameters whose gradient is 0 but for rounding are named.
    """
    ax = ax or plt.subplots(figsize=(6.4, 2.9), layout="constrained")[1]
    length = np.array([lengths[name] for name in gaps]).clip(1e-18)
    gap = np.array([gaps[name] for name in gaps]).clip(1e-18)
    silent = length < 1e-12
    for chosen, colour, label in ((~silent, VALUE, "gradient"), (silent, SLOPE, "gradient 0: " + _kinds(gaps, silent))):
        if chosen.any():
            ax.loglog(length[chosen], gap[chosen], "o", color=colour, alpha=0.7, label=f"{chosen.sum()} with {label}")
    ends = np.array([1e-18, 1e-8])
    ax.loglog(ends, ends, ":", color="#777777", linewidth=1)
    ax.text(5e-12, 1e-12, "on the line: nothing but rounding", fontsize=9, color="#555555")
    ax.set(xlabel="length of the gradient", ylabel="largest difference", xlim=(5e-19, 100), ylim=(5e-19, 1e-8))
    ax.legend(frameon=False, fontsize=9, loc="upper left")
    return _plain(ax)


def _kinds(names: Mapping[str, float], chosen: np.ndarray) -> str:
    kinds = {".".join(name.split(".")[-2:]) for name, one in zip(names, chosen, strict=True) if one}
    return ", ".join(sorted(kinds))


def questions(stars: Mapping[str, int | None]) -> Axes:
    """What three kinds of losses look at in the films of one user: single films, pairs, the whole shelf.

    stars: title -> the user's stars, None where they have not rated. 4 or 5 stars are a like.
    """
    ax = plt.subplots(figsize=(8, 3.0), layout="constrained")[1]
    asks = ["one film: liked, or how many stars?", "two films: which first?", "all films: which one was chosen?"]
    shelf = list(stars)
    for row, ask in enumerate(asks):
        for k, (title, given) in enumerate(stars.items()):
            face = "white" if given is None else "#CFE3F2" if given >= 4 else GREY
            ax.add_patch(Rectangle((k, -1.5 * row), 0.94, 0.55, facecolor=face, edgecolor="#AAAAAA"))
            told = f"{title}\n{'★' * given if given else '?'}"
            ax.text(k + 0.47, -1.5 * row + 0.27, told, ha="center", va="center", fontsize=9, parse_math=False)
        ax.text(0, -1.5 * row + 0.62, ask, fontsize=10, color=INK, va="bottom")
    first = next(k for k, given in enumerate(stars.values()) if given is not None)
    ax.plot([first + 0.02, first + 0.92], [-0.08, -0.08], color=SLOPE, linewidth=2.5)  # one term looks at one film
    rated = {title: given for title, given in stars.items() if given is not None}
    best, worst = max(rated, key=rated.__getitem__), min(rated, key=rated.__getitem__)
    ends = shelf.index(worst) + 0.47, shelf.index(best) + 0.47
    bow = FancyArrowPatch(
        (ends[0], -1.55), (ends[1], -1.55), arrowstyle="-|>", mutation_scale=12, color=SLOPE, linewidth=2,
        connectionstyle="arc3,rad=-0.1",
    )  # fmt: skip
    ax.add_patch(bow)
    ax.plot([0.02, len(shelf) - 0.08], [-3.08, -3.08], color=SLOPE, linewidth=2.5)
    ax.set(xlim=(-0.02, len(shelf)), ylim=(-3.2, 1.0))
    ax.axis("off")
    return ax


def targets(aims: pd.DataFrame) -> Axes:
    """What each squared error wants the score to be, over the stars that a film got; a dotted line before "liked".

    aims: a row per number of stars, a column per control.
    """
    ax = plt.subplots(figsize=(6.4, 2.5), layout="constrained")[1]
    for (name, column), colour, marker in zip(aims.items(), ("#777777", SLOPE, VALUE), "osD", strict=False):
        ax.plot(column.index, column, marker=marker, linestyle="none", color=colour, label=name)
        for stars in column.index[[0, -1]]:
            told = f"{column[stars]:.2f}".rstrip("0").rstrip(".")
            ax.annotate(
                told, (stars, column[stars]), xytext=(7, -3), textcoords="offset points", fontsize=9, color=colour
            )
    ax.axvline(3.5, color=INK, linestyle=":", linewidth=1)
    ax.text(3.45, 5.6, "not liked", ha="right", fontsize=9, color=INK)
    ax.text(3.55, 5.6, "liked", fontsize=9, color=INK)
    ax.set(xlabel="stars of the film", ylabel="wanted score", xlim=(0.7, 5.6), ylim=(-0.5, 6.2), xticks=aims.index)
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return _plain(ax)


def pulls(gradients: pd.DataFrame) -> Axes:
    """The gradient in the score of each film, one bar for each way to compute it; the films with their share drawn.

    gradients: a row per film, a column per way.
    """
    ax = plt.subplots(figsize=(7.2, 0.55 * len(gradients) + 0.8), layout="constrained")[1]
    height = 0.8 / gradients.shape[1]
    for k, ((name, column), colour) in enumerate(zip(gradients.items(), ("#777777", SLOPE, VALUE), strict=False)):
        ax.barh(np.arange(len(column)) + height * (k - 1), column, height * 0.9, color=colour, label=name)
    ax.set_yticks(range(len(gradients)), list(gradients.index))
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_ylim(len(gradients) - 0.5, -0.5)
    ax.set_xlabel("gradient in the score (right: pushed down)")
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return _plain(ax)


def lists(columns: Mapping[str, Sequence[tuple[str, int]]], most: int) -> Axes:
    """Lists side by side, the best film on top; the bar behind a title is how many ratings the film has in train.

    Args:
        columns: name -> (title, ratings) from the first place down. most: ratings of a bar of full width.
    """
    ax = plt.subplots(figsize=(8, 0.3 * max(map(len, columns.values())) + 0.5), layout="constrained")[1]
    for at, (name, films) in enumerate(columns.items()):
        left = 1.0 * at
        ax.text(left, 0.25, name, fontsize=10, va="bottom")
        for place, (title, ratings) in enumerate(films, start=1):
            ax.add_patch(Rectangle((left, -place), 0.95, 0.85, color="#F2F2F2"))
            ax.add_patch(Rectangle((left, -place), 0.95 * min(1, ratings / most), 0.85, color="#A8CBE5"))
            shown = title if len(title) <= 27 else title[:26] + "…"
            ax.text(left + 0.02, -place + 0.4, f"{place} {shown}", va="center", fontsize=9, parse_math=False)
            ax.text(left + 0.94, -place + 0.4, f"{ratings}", va="center", ha="right", fontsize=9, color="#555555")
    ax.set(xlim=(-0.01, len(columns) - 0.03), ylim=(-max(map(len, columns.values())) - 0.1, 1.1))
    ax.axis("off")
    return ax


def log_odds(bins: Mapping[str, pd.DataFrame], shift: float) -> np.ndarray:
    """Predicted against true, left in log-odds, where a shift is a parallel line, right in probabilities; the Axes.

    Args:
        bins: name -> means of groups of rows, columns `p` and `truth`.
        shift: of the dashed line, in log-odds.
    """
    axes = plt.subplots(1, 2, figsize=(8, 3.1), layout="constrained")[1]
    for (name, means), colour, marker in zip(bins.items(), ("#BBBBBB", SLOPE, VALUE), "osD", strict=False):
        left, right = (np.log(means[c] / (1 - means[c])) for c in ("p", "truth"))
        wide = 2.0 if colour == "#BBBBBB" else 1.0  # the first is seen behind the others
        style = {"marker": marker, "markersize": 4 * wide, "linewidth": 1.5 * wide, "color": colour}
        axes[0].plot(left, right, **style)
        axes[1].plot(means["p"], means["truth"], label=name, **style)
    ends = np.array(axes[0].get_xlim())
    axes[0].plot(ends, ends, ":", color=INK, linewidth=1, label="true = predicted")
    axes[0].plot(ends, ends + shift, "--", color=SLOPE, linewidth=1, label="the same, shifted")
    axes[0].legend(frameon=False, fontsize=9, loc="upper left")
    axes[0].text(ends[1], ends[1] + shift, f"{shift:+.2f} ", color=SLOPE, fontsize=9, ha="right", va="bottom")
    axes[1].plot([0, 1], [0, 1], ":", color=INK, linewidth=1)
    axes[0].set(title="log-odds: a shift is parallel", xlabel="predicted logit", ylabel="true log-odds")
    axes[1].set(title="probabilities: a shift bends", xlabel="predicted p", ylabel="true probability")
    axes[1].legend(frameon=False, fontsize=9, loc="upper left")
    for ax in axes:
        _plain(ax)
    return axes


def landscape(paths: Mapping[tuple[float, float], np.ndarray], share: float = 0.8) -> Axes:
    """The loss of z = a b where a share of the labels is 1; both curves of the lowest loss, each start with its way.

    paths: start -> points of the descent, [steps + 1, 2].
    """
    ax = plt.subplots(figsize=(5.0, 5.0), layout="constrained")[1]
    line = np.linspace(-2.7, 2.7, 181)
    z = np.outer(line, line)
    height = share * np.log1p(np.exp(-z)) + (1 - share) * np.log1p(np.exp(z))
    levels = np.geomspace(height.min(), height.max(), 13)
    ax.contourf(line, line, height, levels, cmap="Greys", norm="log", alpha=0.8)
    goal = np.log(share / (1 - share))
    told = f"a · b = {goal:.2f}: lowest loss (darker is higher)"
    for side in (1, -1):
        a = side * np.linspace(goal / 2.7, 2.7, 100)
        ax.plot(a, goal / a, color="white", linewidth=5, alpha=0.8)
        ax.plot(a, goal / a, color=VALUE, linewidth=2, label=told if side > 0 else None)
    for (start, path), colour in zip(paths.items(), (SLOPE, *COLOURS[2:]), strict=False):
        ax.plot(*np.asarray(path).T, "-", color=colour, linewidth=2)
        ax.plot(*start, "o", color=colour, markersize=8, markeredgecolor="black")
        told, place = f"({start[0]:g}, {start[1]:g})", (8, 9)
        if start[0] > 1.5:  # near the right edge
            place = (-46, -18)
        elif not any(start):  # where another start is just right of it
            place = (-36, 8)
        style = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        ax.annotate(told, start, xytext=place, textcoords="offset points", fontsize=9, bbox=style)
    ax.set(xlabel="a, number of the user", ylabel="b, number of the film", xlim=(-2.7, 2.7), ylim=(-2.7, 2.7))
    ax.set_aspect("equal")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), frameon=False, fontsize=9)
    return ax


def _arrow(ax: Axes, tail: tuple[float, float], tip: tuple[float, float], colour: str = "#777777") -> None:
    ax.add_patch(FancyArrowPatch(tail, tip, arrowstyle="-|>", mutation_scale=9, color=colour, shrinkA=0, shrinkB=0))


def _short(value: float) -> str:
    """Three digits, with the minus of print."""
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")


def _plain(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax
