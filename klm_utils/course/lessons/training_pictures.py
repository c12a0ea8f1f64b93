"""The drawings of notebook 05, with the reader's numbers in them. Each returns its Axes."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from klm_utils.plots import COLOURS

NEW, TRAINED, FIXED, INK, GREY = COLOURS[0], COLOURS[1], "#DDDDDD", "#333333", "#777777"
BOXES = ("tokens", *(f"layer {n}" for n in range(1, 7)), "fusion")  # of minilm, from the text up to the score
MODES = ("frozen", "adapter", "partial", "full")
LEARNS = {"partial": BOXES[5:7], "full": BOXES[1:7]}  # boxes of the language model whose weights change


def curves(histories: Mapping[str, pd.DataFrame], starts: int, label: str, ax: Axes | None = None) -> Axes:
    """The column `valid` by epoch, a line per model with a ring at its best epoch.

    Args:
        histories: name -> `History.epochs`.
        starts: epochs before the language model starts to learn; the background changes there.
        label: of the metric.
    """
    ax = ax or plt.subplots(figsize=(7.4, 3.4), layout="constrained")[1]
    longest = max(len(one) for one in histories.values())
    ax.axvspan(starts + 0.5, longest + 0.5, color="#FBEBDD", zorder=0)
    for (name, one), colour in zip(histories.items(), (GREY, COLOURS[0], COLOURS[3], COLOURS[1]), strict=False):
        valid = one["valid"]
        ax.plot(valid.index, valid, color=colour, linewidth=2.6 if name == "full" else 2.0, label=name)
        ax.plot(valid.idxmax(), valid.max(), "o", color=colour, fillstyle="none", markersize=9)
    ax.text(starts + 0.7, ax.get_ylim()[0], " in full, the language\n model learns from here", fontsize=9, va="bottom")
    ax.set(ylabel=label, xlim=(0.5, longest + 0.5))
    ax.set_xlabel("epoch (ring: the best on valid; these weights are kept)")
    ax.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
    return _plain(ax)


def fold_values(values: pd.DataFrame, label: str, marked: int, ax: Axes | None = None) -> Axes:
    """A column of dots per model, a dot per fold, the dots of a fold joined; a bar and a number at each mean.

    Args:
        values: a row per fold, a column per model.
        marked: the fold whose line is drawn in colour.
    """
    ax = ax or plt.subplots(figsize=(7.0, 3.6), layout="constrained")[1]
    places = np.arange(values.shape[1])
    for fold, row in values.iterrows():
        colour, width = (TRAINED, 2.2) if fold == marked else ("#BBBBBB", 1.0)
        ax.plot(places, row, "o-", color=colour, linewidth=width, markersize=5, zorder=3 if fold == marked else 2)
    for place, mean in enumerate(values.mean()):
        ax.plot([place - 0.22, place + 0.22], [mean, mean], color=NEW, linewidth=3.5, zorder=4)
        ax.text(place + 0.25, mean, f"{mean:.3f}", va="center", fontsize=10, color=NEW, zorder=4)
    ax.text(places[-1] + 0.1, values.loc[marked].iloc[-1], f"fold {marked}", va="top", fontsize=9, color=TRAINED)
    ax.set_xticks(places, list(values.columns))
    ax.set(ylabel=label, xlim=(-0.4, places[-1] + 0.6))
    return _plain(ax)


def fork(
    taught: Mapping[str, Mapping[str, Sequence[float]]],
    still: Mapping[str, Mapping[str, Sequence[float]]],
    starts: int,
    kept: Sequence[int],
) -> np.ndarray:
    """Test by epoch of two runs that are one up to `starts`: left their means, right their difference, a line per fold.

    Args:
        taught, still: fold -> "test" -> by epoch; the language model of the first learns after epoch `starts`.
        kept: the epochs that valid keeps of the first, a tick at the bottom of the left panel for each.
    """
    axes = plt.subplots(1, 2, figsize=(8, 3.3), layout="constrained", width_ratios=[3, 2])[1]
    one, other = (np.array([runs[fold]["test"] for fold in taught]) for runs in (taught, still))
    epochs = np.arange(1, one.shape[1] + 1)
    axes[0].plot(epochs, other.mean(0), color=NEW, linewidth=2, label="the language model stands still")
    axes[0].plot(epochs[starts - 1 :], one.mean(0)[starts - 1 :], color=TRAINED, linewidth=2.6, label="it learns")
    bottom = other.mean(0)[int(min(kept)) - 8 :].min() - 0.012
    heights = bottom + 0.0035 * np.array([list(kept)[:n].count(epoch) for n, epoch in enumerate(kept)])
    axes[0].plot(kept, heights + 0.002, "v", color=INK, markersize=6, label="valid of a fold keeps this epoch")
    axes[0].set(xlabel="epoch", ylabel="nDCG@10 on test, ten folds", xlim=(min(kept) - 8, epochs[-1] + 1))
    axes[0].set_ylim(bottom=bottom)
    axes[0].legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1))
    apart = (one - other)[:, starts - 6 :]
    axes[1].plot(epochs[starts - 6 :], apart.T, color="#BBBBBB", linewidth=1)
    axes[1].plot(epochs[starts - 6 :], apart.mean(0), color=TRAINED, linewidth=2.6)
    axes[1].text(epochs[-1] + 0.2, apart[:, -1].mean(), f"{apart[:, -1].mean():+.3f}", color=TRAINED, va="center")
    axes[1].set(xlabel="epoch", ylabel="what teaching adds", xlim=(epochs[starts - 6], epochs[-1] + 3))
    axes[1].set_title("grey: each fold", fontsize=10)
    for ax in axes:
        ax.axvspan(starts + 0.5, epochs[-1] + 0.5, color="#FBEBDD", zorder=0)
        _plain(ax)
    return axes


def lists(before: Sequence[str], after: Sequence[str], title: str, ax: Axes | None = None) -> Axes:
    """Two ranked lists side by side; a film in both has a colour and a line, one that came or went is grey.

    Args:
        before, after: titles, the nearest first.
        title: of the film whose neighbours they are.
    """
    ax = ax or plt.subplots(figsize=(7.6, 0.8 + 0.36 * max(len(before), len(after))), layout="constrained")[1]
    for x, names, align in ((0.0, before, "right"), (1.0, after, "left")):
        for place, name in enumerate(names):
            there = name in before and name in after
            shown = f"{name}  {place + 1}" if align == "right" else f"{place + 1}  {name}"
            colour = NEW if there else GREY if x == 0 else TRAINED
            ax.text(x, -place, shown, ha=align, va="center", fontsize=10, color=colour, parse_math=False)
    for place, name in enumerate(before):
        if name in after:
            ax.plot([0.03, 0.97], [-place, -list(after).index(name)], color=NEW, linewidth=1.2, alpha=0.6)
    for x, text, align in ((0, "before", "right"), (1, "after", "left")):
        ax.text(x, 0.95, f"{text}: nearest to {title}", ha=align, fontsize=10, weight="bold", parse_math=False)
    ax.set(xlim=(-1.9, 2.9), ylim=(-max(len(before), len(after)) + 0.4, 1.5))
    ax.axis("off")
    return ax


def stacks(counts: Mapping[str, int], depth: Mapping[str, int]) -> np.ndarray:
    """The boxes from the text up to the score, once per mode: orange learns, blue is new, grey stands still.

    Args:
        counts: mode -> trained parameters of the language model.
        depth: mode -> how many of the six layers the gradient passes through; a red arrow goes down so far.
    """
    axes = plt.subplots(1, len(MODES), figsize=(7.6, 4.2), layout="constrained")[1]
    for mode, ax in zip(MODES, axes, strict=True):
        for height, name in enumerate(BOXES):
            colour = NEW if name == "fusion" else TRAINED if name in LEARNS.get(mode, ()) else FIXED
            ax.add_patch(Rectangle((0, height), 1, 0.84, color=colour))
            light = "white" if colour != FIXED else INK
            ax.text(0.5, height + 0.42, name, ha="center", va="center", fontsize=10, color=light)
            if mode == "adapter" and name.startswith("layer"):
                ax.add_patch(Rectangle((1.02, height), 0.09, 0.84, color=TRAINED))
        top, end = len(BOXES) + 0.1, len(BOXES) - 1 - max(0, min(6, int(depth.get(mode, 0))))
        arrow: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 14, "color": "#CC0000", "linewidth": 2}
        ax.add_patch(FancyArrowPatch((1.24, top), (1.24, end), shrinkA=0, shrinkB=0, **arrow))
        ax.text(0.5, -0.6, f"{counts[mode]:,}\nnumbers learn", ha="center", va="center", fontsize=9)
        ax.set_title(mode, fontsize=11)
        ax.set(xlim=(-0.06, 1.4), ylim=(-1.1, len(BOXES) + 0.2))
        ax.axis("off")
    said = "orange learns, grey stands still, blue is the new fusion; red: the way back"
    axes[0].figure.supxlabel(said, fontsize=10)
    return axes


def low_rank(shares: Mapping[str, np.ndarray], rank: int, ax: Axes | None = None) -> Axes:
    """How much of a matrix its first directions hold, a line per matrix.

    Args:
        shares: name -> share of the squared norm that the first 1, 2, ... directions hold, rising to 1.
        rank: where to draw the line of LoRA.
    """
    ax = ax or plt.subplots(figsize=(6.6, 3.0), layout="constrained")[1]
    for (name, share), colour in zip(shares.items(), (TRAINED, GREY), strict=False):
        ax.semilogx(range(1, len(share) + 1), share, color=colour, linewidth=2, label=name)
        ax.plot(rank, share[rank - 1], "o", color=colour)
        ax.text(rank * 1.15, share[rank - 1], f"{share[rank - 1]:.0%}", color=colour, fontsize=10, va="top")
    ax.axvline(rank, color=INK, linewidth=1, linestyle=":")
    ax.text(rank * 0.96, 0.97, f"rank {rank}", ha="right", va="top", fontsize=9)
    longest = max(len(share) for share in shares.values())
    ticks = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 384) if n <= longest]
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    ax.set(xlabel="directions that are kept", ylabel="share of the squared norm", ylim=(0, 1.02))
    ax.legend(frameon=False, fontsize=9, loc="center right")
    return _plain(ax)


def thin(rows: int, columns: int, rank: int, ax: Axes | None = None) -> Axes:
    """A matrix and the two thin ones beside it, all to one scale, with the numbers that each has."""
    ax = ax or plt.subplots(figsize=(7.4, 3.9), layout="constrained")[1]
    scale = 3.0 / rows
    w, h, r = columns * scale, rows * scale, rank * scale
    middle = w + 1.15
    ax.add_patch(Rectangle((0, 0), w, h, color=FIXED))
    ax.text(w / 2, h / 2, f"$W$\n{rows:,} x {columns}\n{rows * columns:,}\nstand still", ha="center", va="center")
    ax.text(w / 2, h + 0.06, f"$x$: {columns} in", ha="center", va="bottom", fontsize=10)
    ax.text(-0.06, h / 2, f"{rows:,} out", ha="right", va="center", rotation=90, fontsize=10)
    ax.text(middle + 1.9 + w / 2, h + 0.06, f"$x$: {columns} in", ha="center", va="bottom", fontsize=10)
    ax.text(w + 0.35, h / 2, "+", ha="center", va="center", fontsize=16)
    ax.add_patch(Rectangle((middle, 0), r, h, color=TRAINED))
    ax.text(middle + 0.1, h * 0.62, f"$B$: {rows:,} x {rank}\n{rows * rank:,} learn,\nall 0 at the start", fontsize=10)
    ax.text(middle + 1.6, h - r / 2, "x", ha="center", va="center", fontsize=14)
    ax.add_patch(Rectangle((middle + 1.9, h - r), w, r, color=TRAINED))
    ax.text(middle + 1.9, h - r - 0.1, f"$A$: {rank} x {columns}\n{rank * columns:,} learn", fontsize=10, va="top")
    share = rank * (rows + columns) / (rows * columns)
    ax.text(middle + 1.9, 0.1, f"{rank * (rows + columns):,} in place of\n{rows * columns:,}: {share:.1%}", fontsize=11)
    ax.set(xlim=(-0.3, middle + 3.6), ylim=(-0.05, h + 0.3), aspect="equal")
    ax.axis("off")
    return ax


def once(films: Sequence[str], across: int = 12) -> np.ndarray:
    """Left each row of the log as a square with the colour and letter of its film, right each film once.

    Args:
        films: the title of each row's film.
        across: squares side by side.
    """
    names = list(dict.fromkeys(films))
    colour = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(names)}
    letter = {name: name.removeprefix("The ")[:1] for name in names}
    down = -(-len(films) // across)
    axes = plt.subplots(1, 2, figsize=(7.6, 0.9 + 0.28 * max(down, len(names))), layout="constrained")[1]
    for n, name in enumerate(films):
        x, y = n % across, -(n // across)
        axes[0].add_patch(Rectangle((x, y), 0.86, 0.86, color=colour[name]))
        axes[0].text(x + 0.43, y + 0.43, letter[name], ha="center", va="center", fontsize=9, color="white")
    for n, name in enumerate(names):
        axes[1].add_patch(Rectangle((0, -n), 0.86, 0.86, color=colour[name]))
        axes[1].text(0.43, -n + 0.43, letter[name], ha="center", va="center", fontsize=9, color="white")
        text = f"{name}: {list(films).count(name)} rows"
        axes[1].text(1.2, -n + 0.43, text, va="center", fontsize=9, parse_math=False)
    axes[0].set_title(f"row by row: {len(films)} texts read", fontsize=10)
    axes[1].set_title(f"each film once: {len(names)} texts read", fontsize=10)
    for ax in axes:
        ax.set(xlim=(-0.2, across + 0.2), ylim=(-max(down, len(names)) + 0.8, 1.1), aspect="equal")
        ax.axis("off")
    return axes


def memory(parts: pd.DataFrame, peaks: pd.DataFrame) -> np.ndarray:
    """Left what must be held, a stacked bar per mode; right the measured peaks, a pair of bars per mode; in MB.

    Args:
        parts: a row per mode, a column per part.
        peaks: a row per mode, two columns.
    """
    axes = plt.subplots(1, 2, figsize=(8, 3.1), layout="constrained")[1]
    places, left = np.arange(len(parts)), np.zeros(len(parts))
    for (name, values), colour in zip(parts.items(), (FIXED, *COLOURS[:4]), strict=False):
        axes[0].barh(places, values, left=left, color=colour, label=name, height=0.6)
        left = left + values.to_numpy()
    for place, total in zip(places, left, strict=True):
        axes[0].text(total + 8, place, f"{total:.0f}", va="center", fontsize=9)
    for (name, values), colour, shift in zip(peaks.items(), (GREY, COLOURS[5]), (-0.2, 0.2), strict=True):
        bars = axes[1].barh(places + shift, values, height=0.36, color=colour, label=name)
        axes[1].bar_label(bars, fmt="%.0f", fontsize=9, padding=2)
    for ax, title, top in zip(
        axes, ("counted, MB", "peak of the process, MB"), (left.max(), peaks.max().max()), strict=True
    ):
        ax.set_yticks(places, list(parts.index))
        ax.set(xlabel=title, xlim=(0, 1.18 * top))
        ax.invert_yaxis()
        ax.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        _plain(ax)
    return axes


def resumed(whole: Sequence[float], broken: Sequence[float], killed: int, ax: Axes | None = None) -> Axes:
    """Two runs as a row of boxes, a box per epoch with its loss; the second was killed and went on from a file.

    Args:
        whole, broken: the loss of each epoch of the two runs.
        killed: epochs that were over by then.
    """
    ax = ax or plt.subplots(figsize=(7.4, 2.3), layout="constrained")[1]
    for row, (name, losses) in enumerate((("in one go", whole), ("broken off", broken))):
        ax.text(-0.15, -row + 0.3, name, ha="right", va="center", fontsize=10)
        for epoch, loss in enumerate(losses):
            x = epoch * 1.15 + (0.9 if row and epoch >= killed else 0)
            colour = COLOURS[2] if row and epoch >= killed else NEW
            ax.add_patch(Rectangle((x, -row), 1, 0.6, color=colour))
            ax.text(x + 0.5, -row + 0.3, f"epoch {epoch + 1}\n{loss:.4f}", ha="center", va="center", color="white")
    gap = killed * 1.15 + 0.3
    ax.plot(gap - 0.25, -0.7, "x", color="#CC0000", markersize=12, markeredgewidth=3)
    ax.text(gap + 0.18, -0.7, "file", ha="center", va="center", fontsize=10)
    ax.text(gap + 0.1, -1.35, f"breaks off in epoch {killed + 1}, goes on from the file", ha="center", fontsize=9)
    equal = "equal to the bit" if list(whole) == list(broken) else "NOT equal"
    ax.text(len(whole) * 1.15 + 1.0, -0.2, equal, va="center", fontsize=11, weight="bold")
    ax.set(xlim=(-1.3, len(whole) * 1.15 + 3.2), ylim=(-1.55, 0.7))
    ax.axis("off")
    return ax


def guesses(tokens: Sequence[str], hidden: int, found: Mapping[str, Sequence[tuple[str, float]]]) -> Axes:
    """A text as a row of boxes, one of them hidden, and below it the likeliest words for the gap, a line per model.

    Args:
        tokens: of the text.
        hidden: the place of the one that is hidden.
        found: model -> (token, probability), the likeliest first.
    """
    ax = plt.subplots(figsize=(7.6, 1.1 + 0.42 * len(found)), layout="constrained")[1]
    widths = [0.5 + 0.17 * max(len(word), 3) for word in tokens]
    left = np.cumsum([0, *widths]) + np.arange(len(tokens) + 1) * 0.08
    for place, (word, x, width) in enumerate(zip(tokens, left, widths, strict=False)):
        ax.add_patch(Rectangle((x, 0), width, 0.8, color=TRAINED if place == hidden else FIXED))
        shown, colour = ("?", "white") if place == hidden else (word, INK)
        ax.text(x + width / 2, 0.4, shown, ha="center", va="center", color=colour, fontsize=10, parse_math=False)
    for row, (name, likely) in enumerate(found.items(), start=1):
        text = ",  ".join(f"{token} {p:.0%}" if p >= 0.005 else f"{token} <1%" for token, p in likely)
        right = likely[0][0] == tokens[hidden]
        ax.text(0, 0.35 - 0.8 * row, f"{name}:", fontsize=10, va="center")
        ax.text(0.3 * left[-1], 0.35 - 0.8 * row, text, va="center", color=NEW if right else INK, parse_math=False)
    ax.set(xlim=(-0.1, max(left[-1], 8)), ylim=(-0.8 * len(found) - 0.1, 0.9))
    ax.axis("off")
    return ax


def _plain(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax
