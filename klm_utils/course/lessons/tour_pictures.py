"""The drawings of the tour, with the reader's numbers in them. Each returns its Axes."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from klm_utils.plots import COLOURS

INK, PALE, GREY = "#333333", "#EEEEEE", "#999999"
BLUE, ORANGE, GREEN = COLOURS[0], COLOURS[1], COLOURS[2]
PALE_BLUE, PALE_ORANGE = "#CFE3F2", "#FBE3D3"


def gaps(ratings: np.ndarray, users: Sequence[str], titles: Sequence[str], new: int, ax: Axes | None = None) -> Axes:
    """A corner of the table of ratings: a number where there is one, white where there is none, `?` for the new film.

    Args:
        ratings: float [users, films], nan for a gap.
        new: the column of the film that nobody has rated.
    """
    ax = ax or plt.subplots(figsize=(6.8, 1.5 + 0.34 * len(users)), layout="constrained")[1]
    for row in range(len(users)):
        for column, value in enumerate(ratings[row]):
            there, colour = not np.isnan(value), PALE_ORANGE if column == new else "white"
            face = PALE_BLUE if there else colour
            ax.add_patch(Rectangle((column, -row - 1), 1, 1, facecolor=face, edgecolor="#CCCCCC", linewidth=0.8))
            text = f"{value:.0f}" if there else "?" if column == new else ""
            colour = ORANGE if column == new else INK
            ax.text(column + 0.5, -row - 0.5, text, ha="center", va="center", fontsize=11, color=colour)
        ax.text(-0.15, -row - 0.5, users[row], ha="right", va="center", fontsize=10)
    for column, title in enumerate(titles):
        colour, weight = (ORANGE, "bold") if column == new else (INK, "normal")
        about: dict[str, Any] = {"rotation": 32, "fontsize": 9, "color": colour, "weight": weight, "parse_math": False}
        ax.text(column + 0.4, 0.12, title, **about)
    ax.set(xlim=(-1.6, len(titles) + 1.8), ylim=(-len(users) - 0.05, 2.5))
    ax.axis("off")
    return ax


def lists(columns: Mapping[str, Sequence[tuple[str, str]]], marked: Sequence[str] = (), ax: Axes | None = None) -> Axes:
    """Ranked lists side by side; beside each title what to know of it, such as its number of ratings.

    Args:
        columns: heading -> (title, note) from the first place down. A heading may have two lines.
        marked: notes that are drawn in orange.
    """
    most = max(map(len, columns.values()))
    ax = ax or plt.subplots(figsize=(8, 0.8 + 0.32 * most), layout="constrained")[1]
    width = 8 / len(columns)
    for number, (heading, films) in enumerate(columns.items()):
        left = number * width
        ax.text(left + 0.3, 0.15, heading, fontsize=10, weight="bold", va="bottom", parse_math=False)
        for place, (title, note) in enumerate(films, start=1):
            if place % 2:
                ax.add_patch(Rectangle((left, -place), width - 0.12, 1, color="#F5F5F5"))
            ax.text(left + 0.2, -place + 0.5, str(place), ha="right", va="center", fontsize=9, color=GREY)
            short = cut(title, int(104 / len(columns)) - len(note) - 4)
            ax.text(left + 0.3, -place + 0.5, short, va="center", fontsize=9, color=INK, parse_math=False)
            colour = ORANGE if note in marked else GREY
            ax.text(left + width - 0.18, -place + 0.5, note, ha="right", va="center", fontsize=9, color=colour)
    ax.set(xlim=(-0.05, 8), ylim=(-most, 1.5))
    ax.axis("off")
    return ax


def cut(title: str, most: int) -> str:
    """A title of at most so many characters, the end replaced by three dots."""
    return title if len(title) <= most else title[: most - 3].rstrip(" :,") + "..."


def pipeline(steps: Mapping[str, str], film: str, end: str = "", ax: Axes | None = None) -> Axes:
    """The steps as numbered boxes from left to right, and below each what the film has become there.

    Args:
        steps: name of the step -> what is inside of it then; both may have line breaks.
        film: what goes in on the left, drawn above.
        end: the name of a step that is the outcome: it has no number.
    """
    ax = ax or plt.subplots(figsize=(8, 2.6), layout="constrained")[1]
    colours = [COLOURS[n] for n in (4, 0, 2, 1, 3, 5)]
    for number, (name, inside) in enumerate(steps.items()):
        left, colour = 1.12 * number, colours[number % len(colours)]
        style = "round,pad=0.02,rounding_size=0.06"
        ax.add_patch(FancyBboxPatch((left, 0.5), 0.88, 0.42, boxstyle=style, color=colour, alpha=0.28))
        middle = left + 0.44
        ax.text(middle, 0.71, name, ha="center", va="center", fontsize=9, weight="bold", color=INK)
        ax.text(middle, 0.4, inside, ha="center", va="top", fontsize=9, color=INK, linespacing=1.3, parse_math=False)
        if name != end:
            ax.text(middle, 0.97, str(number + 1), ha="center", va="bottom", fontsize=9, color=GREY)
        if number:
            arrow = FancyArrowPatch((left - 0.22, 0.71), (left - 0.02, 0.71), arrowstyle="-|>", mutation_scale=11)
            arrow.set_color(INK)
            ax.add_patch(arrow)
    ax.text(0, 1.24, film, fontsize=10, color=ORANGE, weight="bold", parse_math=False)
    ax.set(xlim=(-0.05, 1.12 * len(steps) - 0.2), ylim=(-0.3, 1.4))
    ax.axis("off")
    return ax


def near(values: Mapping[str, float], title: str, ax: Axes | None = None) -> Axes:
    """A bar for each film, by its cosine to the one in the title, the number at its end."""
    ax = ax or plt.subplots(figsize=(7, 0.8 + 0.3 * len(values)), layout="constrained")[1]
    drawn = ax.barh(range(len(values)), list(values.values()), color=BLUE, height=0.7)
    ax.bar_label(drawn, [f"{value:.2f}" for value in values.values()], padding=3, fontsize=9)
    ax.set_yticks(range(len(values)), list(values), fontsize=9, parse_math=False)
    ax.set(ylim=(len(values) - 0.5, -0.5), xlim=(min(0, *values.values()), 1.08), xlabel=f"cosine with {title}")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def loss(score: float, losses: Sequence[float]) -> np.ndarray:
    """Left the loss over the score, for a film that was watched and one that was not, with its slope at this score;
    right the mean loss step by step. The two Axes."""
    axes = plt.subplots(1, 2, figsize=(8, 2.9), layout="constrained", width_ratios=[3, 2])[1]
    s = np.linspace(-5, 5, 101)
    p = 1 / (1 + np.exp(-score))
    for label, colour, curve, value, slope, above in (
        ("watched: $-\\log p$", BLUE, np.logaddexp(0, -s), np.logaddexp(0, -score), p - 1, 9),
        ("not watched: $-\\log(1-p)$", ORANGE, np.logaddexp(0, s), np.logaddexp(0, score), p, -15),
    ):
        axes[0].plot(s, curve, color=colour, label=label)
        axes[0].plot(score, value, "o", color=colour)
        ends = np.array([score - 1, score + 1])
        axes[0].plot(ends, value + slope * (ends - score), color=INK, linewidth=1.2)
        note = f"loss {value:.2f}, slope {slope:+.2f}"
        axes[0].annotate(note, (score, value), xytext=(9, above), textcoords="offset points", fontsize=9, color=colour)
    axes[0].set(xlabel=f"score s (dot: {score:.2f}, so p = {p:.2f})", ylabel="loss of one cell", ylim=(-0.9, 5.6))
    axes[0].legend(frameon=False, fontsize=9, loc="upper center")
    axes[1].plot(range(1, len(losses) + 1), losses, color=INK)
    axes[1].set(xlabel="training step", ylabel="mean loss of all cells")
    axes[1].margins(y=0.2)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return axes


def who(rows: Mapping[str, Sequence[bool]], ax: Axes | None = None) -> Axes:
    """A row of users for each way to choose them: blue if the user did watch the film, and how many did."""
    ax = ax or plt.subplots(figsize=(8, 0.5 + 0.5 * len(rows)), layout="constrained")[1]
    for row, (name, found) in enumerate(rows.items()):
        ax.text(-0.4, -row, name, ha="right", va="center", fontsize=10)
        for place, hit in enumerate(found):
            ax.plot(place, -row, "o", color=BLUE if hit else "#DDDDDD", markersize=11)
        ax.text(len(found), -row, f"{sum(map(bool, found))} of {len(found)}", va="center", fontsize=10)
    longest = max(map(len, (found for found in rows.values())))
    ax.set(xlim=(-0.42 * max(map(len, rows)) - 0.5, longest + 2.6), ylim=(-len(rows) + 0.4, 0.6))
    ax.axis("off")
    return ax


def waterfall(parts: Mapping[str, float], title: str, ax: Axes | None = None) -> Axes:
    """One score, part by part: each bar begins where the one above it ends; the last one is the sum, with its
    probability."""
    ax = ax or plt.subplots(figsize=(7.4, 1.2 + 0.36 * len(parts)), layout="constrained")[1]
    start = 0.0
    for row, value in enumerate(parts.values()):
        ax.barh(row, value, left=start, color=BLUE if value > 0 else ORANGE, height=0.62)
        ax.plot([start + value] * 2, [row - 0.31, row + 1.31], color=GREY, linewidth=0.9)
        ax.text(max(start, start + value) + 0.08, row, f"{value:+.2f}", va="center", fontsize=9)
        start += value
    ax.barh(len(parts), start, color=INK, height=0.62)
    p = 1 / (1 + np.exp(-start))
    ax.text(max(0, start) + 0.08, len(parts), f"s = {start:.2f}, p = {p:.2f}", va="center", fontsize=9, weight="bold")
    ax.set_yticks(range(len(parts) + 1), [*parts, "score"], fontsize=9, parse_math=False)
    ax.axvline(0, color=INK, linewidth=0.8)
    ends = np.cumsum([0, *parts.values()])
    ax.set(ylim=(len(parts) + 0.5, -0.5), xlim=(ends.min() - 0.25, ends.max() + 1.5), xlabel="score (log-odds)")
    ax.set_title(title, fontsize=10, parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
