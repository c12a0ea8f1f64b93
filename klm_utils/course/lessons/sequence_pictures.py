"""The drawings of what comes next, for notebook 08. Each returns its Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from klm_utils.plots import COLOURS, forest

BLUE, ORANGE, GREEN, GREY = COLOURS[0], COLOURS[1], COLOURS[2], "#8A8A8A"
WIDE = 34  # letters of a title at most


def next_lists(past: Sequence[str], lists: Mapping[str, Sequence[str]], target: str, ax: Axes | None = None) -> Axes:
    """The last films of a person, newest below, and beside them the list of each model; the film that came is blue."""
    rows = max(len(past), *(len(titles) for titles in lists.values()))
    ax = ax or plt.subplots(figsize=(2.6 * (len(lists) + 1), 0.34 * rows + 0.9), layout="constrained")[1]
    columns = {"the past, newest below": past, **lists}
    for at, (name, titles) in enumerate(columns.items()):
        ax.text(at, -1, name, weight="bold", fontsize=9, color=GREY if at == 0 else "black")
        first = rows - len(titles) if at == 0 else 0
        for row, title in enumerate(titles):
            text = f"{row + 1}. {title}" if at else title
            hit = at > 0 and title == target
            drawn = ax.text(at, first + row, _short(text), fontsize=8.5, color=BLUE if hit else "black", va="center")
            drawn.set(parse_math=False, weight="bold" if hit else "normal")
    ax.axvline(0.93, color=GREY, linewidth=1, linestyle=":")
    ax.set(xlim=(-0.05, len(columns)), ylim=(rows - 0.5, -1.6))
    ax.set_title(f"what came next: {target}", fontsize=10, color=BLUE, loc="left", parse_math=False)
    ax.axis("off")
    return ax


def mask_and_weights(mask: np.ndarray, weights: np.ndarray, titles: Sequence[str]) -> Axes:
    """Who may read whom, and how much each place reads each other one; rows read columns.

    Args:
        mask: bool [t, t]. weights: of attention, [t, t], rows sum to 1. titles: of the places.
    """
    _, (left, right) = plt.subplots(1, 2, figsize=(10.4, 4.4), layout="constrained", width_ratios=[1, 1.1])
    names = [_short(title, 22) for title in titles]
    left.imshow(mask, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    shown = right.imshow(np.where(mask, weights, np.nan), cmap="Blues", vmin=0, aspect="auto")
    for ax, title in ((left, "who may be read"), (right, "how much each is read")):
        ax.set_title(title, fontsize=10)
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
        ax.set_yticks(range(len(names)), names if ax is left else [""] * len(names), fontsize=8)
        for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
            label.set_parse_math(False)
    left.set_ylabel("the place that reads")
    plt.colorbar(shown, ax=right, shrink=0.8)
    return right


def shares(found: Mapping[str, float], label: str, ax: Axes | None = None) -> Axes:
    """Bars of shares, each with its number."""
    ax = ax or plt.subplots(figsize=(7, 0.5 + 0.42 * len(found)), layout="constrained")[1]
    ax.barh(range(len(found)), list(found.values()), color=BLUE, height=0.6)
    for row, value in enumerate(found.values()):
        ax.text(value + 0.01, row, f"{value:.0%}", va="center", fontsize=9)
    ax.set_yticks(range(len(found)), list(found))
    ax.set(ylim=(len(found) - 0.5, -0.5), xlim=(0, max(found.values()) * 1.15), xlabel=label)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def coded(vector: np.ndarray, books: Sequence[np.ndarray], code: Sequence[int], name: str) -> Axes:
    """A vector in the plane, coded twice: the nearest centre of each book, and what it leaves.

    Args:
        vector: [2]. books: two of them, [centres, 2] each. code: the centre taken in each. name: of the film.
    """
    _, panels = plt.subplots(1, 2, figsize=(9.6, 3.9), layout="constrained")
    rest = np.asarray(vector, dtype=float)
    for level, (ax, book, taken) in enumerate(zip(panels, books, code, strict=True)):
        ax.plot(*book.T, "s", color=ORANGE, markersize=9)
        for number, centre in enumerate(book):
            ax.annotate(str(number), centre, (5, 5), textcoords="offset points", color=ORANGE, fontsize=10)
        ax.annotate("", book[taken], (0, 0), arrowprops={"arrowstyle": "->", "color": ORANGE, "lw": 1.5})
        ax.annotate("", rest, book[taken], arrowprops={"arrowstyle": "->", "color": GREEN, "lw": 2})
        ax.plot(*rest, "o", color=BLUE, markersize=9)
        left = rest - book[taken]
        said = name if level == 0 else f"what was left of {name}"
        ax.annotate(said, rest, (7, -13), textcoords="offset points", color=BLUE, fontsize=9, parse_math=False)
        ax.set_title(f"book {level + 1}: nearest is {taken}; left: ({left[0]:+.1f}, {left[1]:+.1f})", fontsize=10)
        reach = 1.3 * np.abs(np.vstack([book, rest])).max()
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        ax.axhline(0, color="#DDDDDD", zorder=0)
        ax.axvline(0, color="#DDDDDD", zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
        rest = left
    return panels[1]


def trade(curve: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Two shares over the number of codes per book: of films that collide, and of new films that can be reached."""
    ax = ax or plt.subplots(figsize=(7, 3.4), layout="constrained")[1]
    for (name, values), colour, marker in zip(curve.items(), (ORANGE, BLUE), "os", strict=True):
        ax.plot(range(len(values)), values, marker=marker, color=colour, label=name)
        for at, value in enumerate(values):
            offset = (0, 8) if colour == BLUE else (0, -14)
            ax.annotate(f"{value:.0%}", (at, value), offset, textcoords="offset points", color=colour, ha="center")
    ax.set_xticks(range(len(curve)), [str(size) for size in curve.index])
    ax.set(
        xlabel="centres in each of the three books", ylabel="share of the films", ylim=(-0.05, curve.max().max() * 1.2)
    )
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def heard(found: Mapping[str, Mapping[str, float]]) -> Axes:
    """For each model its nDCG@10 with the own history and with another person's, and how much both lists share.

    found: {model: what `sequence_trials.listening` returned}.
    """
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 0.9 + 0.5 * len(found)), layout="constrained", sharey=True)
    for row, values in enumerate(found.values()):
        left.plot([values["other"], values["own"]], [row, row], color=GREY, zorder=0)
        left.plot(values["own"], row, "o", color=BLUE, markersize=8, label="their own history" if row == 0 else None)
        left.plot(values["other"], row, "X", color=ORANGE, markersize=8, label="another's" if row == 0 else None)
        right.barh(row, values["shared"], color=GREY, height=0.5)
        right.text(values["shared"] + 0.01, row, f"{values['shared']:.0%}", va="center", fontsize=9)
    left.set_yticks(range(len(found)), list(found))
    left.set(ylim=(len(found) - 0.5, -0.9), xlabel="nDCG@10")
    left.legend(frameon=False, loc="upper center", ncols=2, fontsize=9)
    right.set(xlim=(0, 1.1), xlabel="of ten films, in both lists")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return left


def labelled(probabilities: pd.Series, true: Sequence[str], threshold: float, ax: Axes | None = None) -> Axes:
    """Bars of the likeliest labels of a film, those that it has in blue, and the threshold above which one is given."""
    ax = ax or plt.subplots(figsize=(7, 0.5 + 0.36 * len(probabilities)), layout="constrained")[1]
    colours = [BLUE if name in true else "#C8C8C8" for name in probabilities.index]
    ax.barh(range(len(probabilities)), probabilities.to_numpy(), color=colours, height=0.65)
    ax.axvline(threshold, color=ORANGE, linestyle="--", label=f"given above {threshold:.2f}")
    ax.set_yticks(range(len(probabilities)), list(probabilities.index))
    ax.set(
        ylim=(len(probabilities) - 0.5, -0.5), xlim=(0, 1), xlabel="probability of the label (blue: the film has it)"
    )
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def by_share(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """A line for each way to start, over the share of the users that were learned from.

    table: nDCG@10, a column per way, a row per share, 0 to 1; nan where a way has none.
    """
    ax = ax or plt.subplots(figsize=(7, 3.6), layout="constrained")[1]
    for (name, values), colour, marker in zip(table.items(), COLOURS, "osD^v", strict=False):
        there = values.notna().to_numpy()
        ax.plot(np.flatnonzero(there), values[there], marker=marker, color=colour, label=name)
    ax.set_xticks(range(len(table)), [f"{share:.0%}" for share in table.index])
    ax.set(xlabel="users of the shop that it learned from", ylabel="nDCG@10", ylim=(0, None))
    ax.legend(frameon=False, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def gains(runs, base: str, names: Mapping[str, str], label: str = "", ax: Axes | None = None) -> Axes:
    """What variants have over a base, with both intervals; the value stands behind the name.

    Args:
        runs: `experiment.Runs`. names: {variant: what it is called here}.
    """
    rows = {}
    for variant, name in names.items():
        gain = runs.gain(variant, base)
        rows[f"{name}  {gain.difference:+.3f}"] = (gain.difference, gain.low, gain.high, *gain.others)
    label = label or f"nDCG@10 minus that of {base}; thick: other users, thin: other films too"
    return forest(rows, label, zero=0, ax=ax)


def _short(text: str, most: int = WIDE) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
