"""The drawings of the tour, with the reader's numbers in them. Each returns its Axes."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
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


def lists(
    columns: Mapping[str, Sequence[tuple[str, str]]],
    marked: Sequence[str] = (),
    below: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Ranked lists side by side; with each title what to know of it, such as its number of ratings.

    Args:
        columns: heading -> (title, note) from the first place down.
        marked: how the notes end that are drawn in orange.
        below: the note stands below the title and not beside it.
    """
    most, tall = max(map(len, columns.values())), 1.7 if below else 1.0
    ax = ax or plt.subplots(figsize=(8, 0.8 + 0.32 * tall * most), layout="constrained")[1]
    width, letters = 8 / len(columns), int(104 / len(columns))
    for number, (heading, films) in enumerate(columns.items()):
        left = number * width
        ax.text(left + 0.3, 0.15, heading, fontsize=10, weight="bold", va="bottom", parse_math=False)
        for place, (title, note) in enumerate(films, start=1):
            bottom = -place * tall
            if place % 2:
                ax.add_patch(Rectangle((left, bottom), width - 0.12, tall, color="#F5F5F5"))
            y = bottom + (1.2 if below else 0.5)
            ax.text(left + 0.2, y, str(place), ha="right", va="center", fontsize=9, color=GREY)
            short = cut(title, letters - 4 - (0 if below else len(note)))
            ax.text(left + 0.3, y, short, va="center", fontsize=9, color=INK, parse_math=False)
            colour = ORANGE if note.endswith(tuple(marked)) else "#777777"
            at, side = ((left + 0.3, bottom + 0.45), "left") if below else ((left + width - 0.18, y), "right")
            ax.text(*at, cut(note, letters + 1), ha=side, va="center", fontsize=9, color=colour, parse_math=False)
    ax.set(xlim=(-0.05, 8), ylim=(-most * tall, 1.5))
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


def near(values: Mapping[str, float], label: str, digits: int = 2, ax: Axes | None = None) -> Axes:
    """A bar for each film or model, by its cosine or another value of at most 1, the number at its end.

    Args:
        label: what the values are.
        digits: decimals.
    """
    ax = ax or plt.subplots(figsize=(7, 0.8 + 0.3 * len(values)), layout="constrained")[1]
    drawn = ax.barh(range(len(values)), list(values.values()), color=BLUE, height=0.7)
    ax.bar_label(drawn, [f"{value:.{digits}f}" for value in values.values()], padding=3, fontsize=9)
    ax.set_yticks(range(len(values)), list(values), fontsize=9, parse_math=False)
    ax.set(ylim=(len(values) - 0.5, -0.5), xlim=(min(0, *values.values()), 1.15 * max(values.values())), xlabel=label)
    ax.spines[["top", "right"]].set_visible(False)
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
    ax.set(
        ylim=(len(parts) + 0.5, -0.5),
        xlim=(ends.min() - 0.25, ends.max() + 1.5),
        xlabel="logit; blue raises it, orange lowers it",
    )
    ax.set_title(title, fontsize=10, parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def loss(score: float, ax: Axes | None = None) -> Axes:
    """The loss over the score, for a film that was watched and one that was not, with its slope at this score."""
    ax = ax or plt.subplots(figsize=(6, 2.9), layout="constrained")[1]
    s = np.linspace(-5, 5, 101)
    p = 1 / (1 + np.exp(-score))
    for label, colour, curve, value, slope, above in (
        ("watched: $-\\log p$", BLUE, np.logaddexp(0, -s), np.logaddexp(0, -score), p - 1, 9),
        ("not watched: $-\\log(1-p)$", ORANGE, np.logaddexp(0, s), np.logaddexp(0, score), p, -15),
    ):
        ax.plot(s, curve, color=colour, label=label)
        ax.plot(score, value, "o", color=colour)
        ends = np.array([score - 1, score + 1])
        ax.plot(ends, value + slope * (ends - score), color=INK, linewidth=1.2)
        note = f"loss {value:.2f}, slope {slope:+.2f}"
        ax.annotate(note, (score, value), xytext=(9, above), textcoords="offset points", fontsize=9, color=colour)
    ax.set(xlabel=f"score s (dot: {score:.2f}, so p = {p:.3f})", ylabel="loss of one cell", ylim=(-0.9, 5.6))
    ax.legend(frameon=False, fontsize=9, loc="upper center")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def column_and_row(c: float, b_user: Mapping[str, float], b_film: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """How one number, a column of users' biases and a row of films' biases become a table of scores; dark: high."""
    ax = ax or plt.subplots(figsize=(8, 1.1 + 0.4 * len(b_user)), layout="constrained")[1]
    column, row = np.array([*b_user.values()])[:, None], np.array([*b_film.values()])[None]
    table = c + column + row
    span = np.ptp(table) or 1.0
    right = 4.6 + row.shape[1]

    def cells(values: np.ndarray, left: float, top: float, shades: np.ndarray | None = None) -> None:
        for (y, x), value in np.ndenumerate(values):
            shade = 0.0 if shades is None else 0.75 * shades[y, x]
            box = Rectangle((left + x, top - y - 1), 1, 1, facecolor=(*to_rgb(BLUE), shade), edgecolor="#BBBBBB")
            ax.add_patch(box)
            ink = "white" if shade > 0.5 else INK
            ax.text(left + x + 0.5, top - y - 0.5, f"{value:.2f}", ha="center", va="center", fontsize=10, color=ink)

    middle = -len(column) / 2
    cells(column, 1.9, 0)
    cells(row, 3.9, middle + 0.5)
    cells(table, right, 0, (table - table.min()) / span)
    ax.text(0.3, middle, f"c = {c:.2f}", ha="right", va="center", fontsize=10, color=INK)
    for x, sign in ((0.55, "+"), (3.4, "+"), (right - 0.35, "=")):
        ax.text(x, middle, sign, ha="center", va="center", fontsize=13, color=INK)
    for y, user in enumerate(b_user):
        ax.text(1.8, -y - 0.5, user, ha="right", va="center", fontsize=9, color=INK)
    for left, top in ((3.9, middle + 0.5), (right, 0)):
        for x, film in enumerate(b_film):
            ax.text(
                left + x + 0.5, top + 0.12, film.replace(" ", "\n"), ha="center", va="bottom", fontsize=9, color=INK
            )
    ax.set(xlim=(-0.9, right + row.shape[1] + 0.1), ylim=(-len(column) - 0.1, 1.7))
    ax.axis("off")
    return ax


def who(
    rows: Mapping[str, tuple[Sequence[bool], float]], guesses: Sequence[float] = (), ax: Axes | None = None
) -> Axes:
    """A row of users for each way to choose them: blue if the user did watch the film, then how many did, and how
    many do on the average of many films.

    Args:
        rows: name -> (hits, mean); nan: no mean.
        guesses: the reader's numbers, drawn as orange lines: of the second row and of the last ones.
    """
    ax = ax or plt.subplots(figsize=(8, 0.9 + 0.42 * len(rows)), layout="constrained")[1]
    longest = max(len(hits) for hits, _ in rows.values())
    for row, (name, (found, mean)) in enumerate(rows.items()):
        ax.text(-0.9, -row, name, ha="right", va="center", fontsize=10)
        for place, hit in enumerate(sorted(found, reverse=True)):
            ax.plot(place, -row, "o", color=BLUE if hit else "#DDDDDD", markersize=9)
        ax.text(longest + 1.6, -row, str(sum(map(bool, found))), ha="right", va="center", fontsize=10)
        ax.text(longest + 4.8, -row, "" if np.isnan(mean) else f"{mean:.1f}", ha="right", va="center", fontsize=10)
    places = [1, *range(len(rows) - len(guesses) + 1, len(rows))]
    for row, guess in zip(places, guesses, strict=False):
        ax.plot([guess - 0.5] * 2, [-row - 0.38, -row + 0.38], color=ORANGE, linewidth=3)
    key = "a dot: a user; blue: did watch it" + ("; orange line: your guess" if len(guesses) else "")
    ax.text(-0.4, 0.6, key, va="bottom", fontsize=9, color=INK)
    ax.text(longest + 1.7, 0.6, "our film", ha="right", va="bottom", fontsize=9, weight="bold")
    ax.text(longest + 5, 0.6, "mean", ha="right", va="bottom", fontsize=9, weight="bold")
    ax.set(xlim=(-0.42 * max(map(len, rows)) - 1.6, longest + 5.2), ylim=(-len(rows) + 0.4, 1.3))
    ax.axis("off")
    return ax


def gain(titles: Sequence[str], hits: Sequence[bool], total: int, heading: str, ax: Axes | None = None) -> Axes:
    """nDCG of one list: a bar for the weight of each place, blue where the film was watched; the sum over the best sum.

    Args:
        titles, hits: of the places from the first down.
        total: how many films the user watched; the best list begins with them.
    """
    ax = ax or plt.subplots(figsize=(7.4, 1 + 0.27 * len(titles)), layout="constrained")[1]
    weights = 1 / np.log2(np.arange(len(titles)) + 2)
    found, best = weights[np.array(hits, dtype=bool)].sum(), weights[: min(total, len(titles))].sum()
    ax.barh(range(len(titles)), weights, color=[BLUE if hit else "#DDDDDD" for hit in hits], height=0.72)
    for place, weight in enumerate(weights):
        ax.text(weight + 0.02, place, f"{weight:.2f}", va="center", fontsize=9, color=INK if hits[place] else "#777777")
    names = [f"{cut(title, 36)}  {place}" for place, title in enumerate(titles, start=1)]
    ax.set_yticks(range(len(titles)), names, fontsize=9, parse_math=False)
    ax.text(1.5, 0.5, f"blue: {found:.2f}\nbest list: {best:.2f}\nnDCG = {found / best:.2f}", va="top", fontsize=10)
    ax.set(ylim=(len(titles) - 0.4, -0.6), xlim=(0, 2.1), xlabel="weight of the place; blue: did watch the film")
    ax.set_xticks([0, 0.5, 1])
    ax.set_title(heading, fontsize=10, parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
