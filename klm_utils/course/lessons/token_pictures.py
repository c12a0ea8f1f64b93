"""The drawings of notebook 02 of texts: tokens, the padded batch, attention, what it costs. Each returns its Axes."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from klm_utils.plots import COLOURS

BLUE, ORANGE, GREEN = COLOURS[:3]
PALE, INK, GREY = "#DDDDDD", "#333333", "#777777"


def way_of_a_text(steps: Sequence[tuple[str, str]], ax: Axes | None = None) -> Axes:
    """Boxes from left to right with an arrow between them: (what it is, the thing itself)."""
    ax = ax or plt.subplots(figsize=(8, 1.35), layout="constrained")[1]
    for x, (title, content) in enumerate(steps):
        ax.add_patch(Rectangle((x, 0), 0.84, 1, color="#CFE3F2"))
        ax.text(x + 0.42, 1.08, title, ha="center", va="bottom", fontsize=9)
        ax.text(x + 0.42, 0.5, content, ha="center", va="center", fontsize=9, parse_math=False)
    for one, other in pairwise(range(len(steps))):
        ax.add_patch(
            FancyArrowPatch(
                (one + 0.84, 0.5), (other, 0.5), arrowstyle="-|>", mutation_scale=13, color=INK, shrinkA=0, shrinkB=0
            )
        )
    ax.set(xlim=(-0.05, len(steps) - 0.1), ylim=(-0.05, 1.35))
    ax.axis("off")
    return ax


def pieces(text: str, tokens: Mapping[str, Sequence[str]], unknown: Sequence[str], ax: Axes | None = None) -> Axes:
    """A text in boxes: a row per model, a box per token; orange where the model does not know what stands there."""
    ax = ax or plt.subplots(figsize=(7, 0.5 + 0.62 * (1 + len(tokens))), layout="constrained")[1]
    ax.text(0, 0.5, f"{text}", va="center", fontsize=14)
    for row, (name, own) in enumerate(tokens.items(), start=1):
        ax.text(0, -row + 0.5, name, va="center", fontsize=10)
        x: float = 2.2
        for token in own:
            wide = 0.5 + 0.19 * sum(1 if c.isascii() else 2 for c in token)
            lost = token in unknown
            ax.add_patch(Rectangle((x, -row + 0.12), wide, 0.76, color=ORANGE if lost else BLUE))
            ax.text(
                x + wide / 2, -row + 0.5, token, ha="center", va="center", fontsize=11, color="white", parse_math=False
            )
            x += wide + 0.12
    ax.set(xlim=(-0.1, 11), ylim=(-len(tokens) - 0.1, 1.1))
    ax.axis("off")
    return ax


def same_or_not(cosines: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """A heat map of the cosines of all pairs per model, [n, n] each; a cross where two vectors are one.

    Each has its own scale of colours, from the tenth below its lowest cosine to 1.
    """
    axes = plt.subplots(1, len(cosines), figsize=(8, 4.6), layout="constrained", squeeze=False)[1][0]
    for ax, (name, cosine) in zip(axes, cosines.items(), strict=True):
        drawn = ax.imshow(cosine, cmap="Blues", vmin=np.floor(10 * cosine.min()) / 10, vmax=1)
        one = np.argwhere((cosine > 1 - 1e-6) & ~np.eye(len(names), dtype=bool))
        if len(one):
            ax.plot(one[:, 1], one[:, 0], "x", color=ORANGE, markersize=5)
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=9)
        ax.set_yticks(range(len(names)), names, fontsize=9)
        ax.set_title(f"{name}: {len(_classes(cosine))} vectors for {len(names)} tags", fontsize=10)
        ax.figure.colorbar(drawn, ax=ax, label="cosine", orientation="horizontal", shrink=0.7)
    return axes


def _classes(cosine: np.ndarray) -> set[int]:
    """The first of each group of equal rows."""
    return {int(np.argmax(row > 1 - 1e-6)) for row in cosine}


def padded_batch(
    tokens: Sequence[Sequence[str]], mask: np.ndarray, numbers: np.ndarray, ax: Axes | None = None
) -> Axes:
    """Two texts in one grid: a square per position, padding pale, the first number of each token's vector in it.
    Below each text the three poolings of these numbers; a bracket in their colour spans the squares of either mean.

    Args:
        tokens: [texts][width]. mask: [texts, width], 1 for a token. numbers: [texts, width].
    """
    width = len(tokens[0])
    ax = ax or plt.subplots(figsize=(8, 0.3 + 1.15 * len(tokens)), layout="constrained")[1]
    for row, (own, real, values) in enumerate(zip(tokens, mask, numbers, strict=True)):
        top, last = -2.1 * row, int(np.flatnonzero(real)[-1])
        for x, (token, is_real, value) in enumerate(zip(own, real, values, strict=True)):
            colour = PALE if not is_real else COLOURS[4] if x == 0 else GREEN if x == last else BLUE
            ink = GREY if not is_real else INK if x == 0 else "white"
            ax.add_patch(Rectangle((x, top), 0.94, 0.94, color=colour))
            ax.text(x + 0.47, top + 0.64, token, ha="center", va="center", fontsize=9, color=ink, parse_math=False)
            ax.text(x + 0.47, top + 0.26, f"{value:.2f}", ha="center", va="center", fontsize=9, color=ink)
        said = {f"first {values[0]:.2f}": "#B07800", f"last {values[last]:.2f}": GREEN}
        said |= {
            f"mean of tokens {values[real > 0].mean():.2f}": BLUE,
            f"mean with padding {values.mean():.2f}": GREY,
        }
        for down, end, colour in ((0.1, last, BLUE), (0.24, width - 1, GREY)):
            ax.plot([0, 0, end + 0.94, end + 0.94], top - down + np.array([0.06, 0, 0, 0.06]), color=colour, lw=2)
        for start, (text, colour) in zip((0, 0.155, 0.33, 0.66), said.items(), strict=True):
            ax.text(start * width, top - 0.46, text, va="center", fontsize=9.5, color=colour)
    ax.set(xlim=(-0.1, width + 0.1), ylim=(-2.1 * (len(tokens) - 1) - 0.7, 1.0))
    ax.axis("off")
    return ax


def widths(found: Mapping[str, Mapping[int, float]], label: str, ax: Axes | None = None) -> Axes:
    """A line per pooling: the value over the width to which a batch is padded."""
    ax = ax or plt.subplots(figsize=(6, 2.3), layout="constrained")[1]
    for (name, values), colour in zip(found.items(), (BLUE, ORANGE), strict=False):
        ax.plot(list(values), list(values.values()), "o-", color=colour, label=name)
    ticks = list(next(iter(found.values())))
    ax.set(xscale="log", xlabel="padded to (tokens)", ylabel=label)
    ax.set_xticks(ticks, list(map(str, ticks)))
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def heads(found: Mapping[str, tuple[Sequence[str], np.ndarray]]) -> np.ndarray:
    """A heat map per head: rows look, columns are looked at; the share is written where it is .2 or more."""
    axes = plt.subplots(1, len(found), figsize=(8, 4), layout="constrained", squeeze=False)[1][0]
    for ax, (name, (tokens, weights)) in zip(axes, found.items(), strict=True):
        ax.imshow(weights, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.argwhere(np.asarray(weights) >= 0.2):
            ink = "white" if weights[row, column] > 0.6 else INK
            number = f"{weights[row, column]:.1f}".lstrip("0")
            ax.text(column, row, number, ha="center", va="center", fontsize=8, color=ink)
        ax.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=9)
        ax.set_yticks(range(len(tokens)), tokens, fontsize=9)
        ax.set_title(name, fontsize=10)
    return axes


def bars(values: Mapping[str, float], label: str, unit: str = "ms", ax: Axes | None = None) -> Axes:
    """One bar each on a log axis, the value at its end."""
    ax = ax or plt.subplots(figsize=(6.8, 0.7 + 0.34 * len(values)), layout="constrained")[1]
    ax.barh(list(values), list(values.values()), color=BLUE)
    for row, value in enumerate(values.values()):
        ax.text(value * 1.1, row, f"{value:.3g} {unit}", va="center", fontsize=9)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel=label, xlim=(None, 4 * max(values.values())))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def waste(lengths: Sequence[int], size: int) -> np.ndarray:
    """Batches as rows of a grid, as the texts come and sorted by length: tokens blue, padding pale; two Axes."""
    axes = plt.subplots(1, 2, figsize=(7.6, 2.4), layout="constrained", sharex=True, sharey=True)[1]
    for ax, own, title in zip(
        axes, (list(lengths), sorted(lengths)), ("as they come", "sorted by length"), strict=True
    ):
        image = np.zeros((len(own), max(own)))
        for first in range(0, len(own), size):
            batch = own[first : first + size]
            image[first : first + len(batch), : max(batch)] = 1
            for row, length in enumerate(batch, start=first):
                image[row, :length] = 2
        colours = np.array([[255, 255, 255], [221, 221, 221], [0, 114, 178]], dtype=np.uint8)
        ax.imshow(colours[image.astype(int)], aspect="auto", interpolation="nearest")
        ax.set(xlabel="tokens")
        ax.set_title(f"{title}: {np.mean(image[image > 0] == 1):.0%} padding", fontsize=10)
    axes[0].set_ylabel("texts")
    return axes
