"""The drawings of tables, logs and lists in notebook 01, with the reader's own rows in them. Each returns its Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from klm_utils.data.shop.cleaning import Cleaned
from klm_utils.plots import COLOURS

BLUE, RED, GREEN, ORANGE, SKY = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[4], COLOURS[5]
PALE, INK, GREY = "#EEEEEE", "#333333", "#777777"
ACTIONS = {"repaired": BLUE, "made missing": ORANGE, "row dropped": RED, "kept": GREY}
# name of a check -> the cells that it colours in the picture of the raw tables
ITEM_CELLS = {
    "price with full-width digits": ["title_en", "price"],
    "blanks at the ends of a title": ["title_zh"],
    "Chinese in the English title": ["title_zh", "title_en"],
    "tag list written as Python text": ["tags_zh"],
    "item id that is there twice": ["item_id"],
}
USER_CELLS = {
    "age missing": ["age"],
    "age below 10 or above 100": ["age"],
    "gender in other words": ["gender"],
}
LOG_CELLS = {
    "item that the catalogue lacks": ["item_id"],
    "event written twice": ["user_id", "item_id", "timestamp"],
    "second event of a user in one second": ["user_id", "timestamp"],
}
SHORT = {
    "item that the catalogue lacks": "an unknown item",
    "event written twice": "written twice",
    "second event of a user in one second": "two in one second",
    "price with full-width digits": "full-width digits",
    "blanks at the ends of a title": "blanks at the ends",
    "Chinese in the English title": "languages swapped",
    "tag list written as Python text": "a list of Python",
    "item id that is there twice": "an id that is twice",
    "age below 10 or above 100": "age and tier swapped",
    "gender in other words": "other words",
}
KEPT = ("second event of a user in one second",)  # strange, but no defect
TWICE = (*list(LOG_CELLS)[1:], "item id that is there twice")  # it takes two rows to see it
RULES = {"width": "full-width", "space": "blanks", "script": "繁体", "tags": "lists", "tie": "one second"}
CELLS = {"items": ITEM_CELLS, "users": USER_CELLS, "interactions": LOG_CELLS}
WIDTHS = {  # of the columns that are drawn
    "items": {"item_id": 0.95, "title_zh": 2.5, "title_en": 3.1, "tags_zh": 2.4, "price": 1.5},
    "users": {"user_id": 0.95, "age": 1.1, "gender": 1.1, "city_tier": 1.1},
    "interactions": {"record": 1.2, "user_id": 1.1, "item_id": 1.1, "timestamp": 1.7, "bought": 1.0},
}


def panels(*heights: float, columns: int = 1) -> list:
    """The Axes of one figure: a line of the given height (in inches) each, with as many `columns`.

    A line has its own margins, so the long labels of one do not narrow the others.
    """
    figure = plt.figure(figsize=(8, sum(heights)), layout="constrained")
    lines = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    return [line.subplots(1, columns) for line in lines]


def order(ax: Axes) -> Axes:
    """One visitor, repaired in two orders: range before places loses the age, places before range keeps it."""
    raw = "age 4\ntier 26"
    lanes = [
        ("range first", [raw, "age missing\ntier 26", "age missing\ntier 26"], ["range", "places"], ORANGE),
        ("places first", [raw, "age 26\ntier 4", "age 26\ntier 4"], ["places", "range"], BLUE),
    ]
    for lane, (name, states, steps, colour) in enumerate(lanes):
        top = -1.0 * lane
        ax.text(0, top + 0.4, name, va="center", fontsize=10, color=INK)
        for place, state in enumerate(states):
            last = place == len(states) - 1
            light = "white" if last and colour == BLUE else INK
            box(ax, 1.6 + 2.6 * place, top, 1.6, state, colour if last else PALE, light, 9.5)
        for place, step in enumerate(steps):
            left = 3.25 + 2.6 * place
            ax.annotate("", (left + 0.9, top + 0.4), (left, top + 0.4), arrowprops={"arrowstyle": "->", "color": GREY})
            ax.text(left + 0.45, top + 0.5, step, ha="center", va="bottom", fontsize=9, color=GREY)
    ax.set(xlim=(-0.1, 8.6), ylim=(-1.05, 0.9))
    ax.axis("off")
    return ax


def defects(raw: Mapping[str, pd.DataFrame], found: Mapping[str, pd.Series]) -> np.ndarray:
    """One real row for each kind of defect, the bad cells coloured, its name on the right; a table each, three Axes.

    Args:
        raw: the raw tables `items`, `users` and `interactions`.
        found: name of a check -> bool [rows of its table], of `cleaning.checks`.
    """
    lines = {name: _bad_rows(found, cells, raw[name]) for name, cells in CELLS.items()}
    ratios = [len(rows) + 1 for rows in lines.values()]
    size = (8, 0.3 * sum(ratios) + 0.6)
    axes = plt.subplots(3, 1, figsize=size, layout="constrained", height_ratios=ratios)[1]
    for ax, (name, rows) in zip(axes, lines.items(), strict=True):
        _grid(ax, raw[name], WIDTHS[name], rows)
    return axes


def _bad_rows(found: Mapping, cells: Mapping, table: pd.DataFrame) -> list[tuple]:
    """A row (by position) for each check: one that no other check of the table names, where there is one.

    Returns:
        (row, what is written beside it, columns to colour, is it no defect?) of each line.
    """
    rows: list[tuple] = [(0, "as it should be", [], False)]
    for name, columns in cells.items():
        others = sum(found[other].astype(int) for other in cells if other != name)
        alone = np.flatnonzero((found[name] & (others == 0)).to_numpy()).tolist()
        alone = alone or np.flatnonzero(found[name].to_numpy()).tolist()
        columns = [*columns, "city_tier"] if name.startswith("age below") else columns
        if name.startswith("age below"):  # the pair that changed places tells more than a 250
            alone = [row for row in alone if len(table["city_tier"].iloc[row]) == 2]
        if name in TWICE:
            same = (table[columns] == table[columns].iloc[alone[0]]).all(axis=1).to_numpy()
            rows.append((int(np.flatnonzero(same)[0]), "", columns, name in KEPT))
        rows.append((int(alone[0]), SHORT.get(name, name), columns, name in KEPT))
    return rows


def _grid(ax: Axes, table: pd.DataFrame, widths: Mapping[str, float], rows: Sequence) -> None:
    x = dict(zip(widths, np.cumsum([0, *widths.values()]), strict=False))
    for column, left in x.items():
        ax.text(left + 0.06, 0.5, column, va="center", fontsize=9, color=GREY)
    for line, (row, name, bad, kept) in enumerate(rows):
        strong = GREY if kept else RED
        for column, left in x.items():
            value = table[column].iloc[row]
            colour = strong if column in bad else PALE
            ax.add_patch(Rectangle((left, -line - 0.9), widths[column] - 0.06, 0.82, color=colour))
            most = int(widths[column] * 6.6)
            text = value if _width(value) <= most else _cut(value, most)
            light = "white" if column in bad else INK
            ax.text(left + 0.06, -line - 0.48, text, va="center", fontsize=9, color=light, parse_math=False)
        end = sum(widths.values())
        ax.text(end + 0.1, -line - 0.48, name, va="center", fontsize=9, color=strong if bad else GREY)
    ax.set(xlim=(0, 12.6), ylim=(-len(rows) - 0.05, 0.95))
    ax.axis("off")


def _width(text: str) -> int:
    return sum(2 if ord(c) > 0x2E80 else 1 for c in text)


def _cut(text: str, most: int) -> str:
    while _width(text) > most - 2:
        text = text[:-1]
    return text + "..."


def funnel(raw: Mapping[str, pd.DataFrame], done: Cleaned, ax: Axes) -> Axes:
    """A lane per table: rows in, what each rule found, rows out; the colour is what was done."""
    for lane, name in enumerate(raw):
        top, left = -1.25 * lane, 1.95
        box(ax, 0, top, 1.8, f"{name}\n{len(raw[name]):,} rows in", "#DDDDDD", INK)
        found = done.report[done.report["table"] == name]
        empty = (found["rule"] == "number") & found["found"].isna()  # nothing was there before either
        named = found["rule"].map(RULES).fillna(found["rule"]).mask(empty, "empty")
        for (rule, action), rows in found.groupby([named, "action"], sort=False):
            colour = ACTIONS[str(action)]
            box(ax, left, top, 0.98, f"{rule}\n{len(rows)}", colour, INK if colour == ORANGE else "white")
            left += 1.05
        box(ax, 8.75, top, 1.45, f"{len(getattr(done, name)):,}\nrows out", "#DDDDDD", INK)
        ax.annotate("", (8.72, top + 0.4), (left, top + 0.4), arrowprops={"arrowstyle": "->", "color": GREY})
    for action, colour in ACTIONS.items():
        ax.scatter([], [], marker="s", s=60, color=colour, label=action.replace("made missing", "now missing"))
    ax.legend(loc="lower center", ncols=4, frameon=False, fontsize=9)
    ax.set(xlim=(-0.1, 10.3), ylim=(-3.3, 0.95))
    ax.axis("off")
    return ax


def box(ax: Axes, left: float, bottom: float, width: float, text: str, colour: str, ink: str, size: float = 9) -> None:
    """A box with rounded corners and its text in the middle."""
    ax.add_patch(FancyBboxPatch((left + 0.05, bottom + 0.05), width - 0.1, 0.7, "round,pad=0.04", color=colour))
    place = (left + width / 2, bottom + 0.4)
    ax.text(*place, text, ha="center", va="center", fontsize=size, color=ink, parse_math=False)


def tail_and_floor(counts: np.ndarray, ratings: pd.Series, axes: np.ndarray) -> np.ndarray:
    """Left how often each film was rated, most first, and where half of all is reached; right the ratings of a user,
    with the fewest marked.

    Args:
        counts: ratings of each film, int [films], in any order.
        ratings: ratings of each user, [users].
        axes: two, to draw on.
    """
    counts = np.sort(np.asarray(counts))[::-1]
    half = int((counts.cumsum() < counts.sum() / 2).sum()) + 1
    places = np.arange(1, len(counts) + 1)
    axes[0].plot(places, counts, color=BLUE)
    axes[0].fill_between(places[:half], counts[:half], color=BLUE, alpha=0.25)
    axes[0].axvline(half, color=RED, linewidth=1.2)
    said = f"half of all ratings are\nleft of this line:\n{half:,} of {len(counts):,} films"
    axes[0].text(half + 0.02 * len(counts), 0.95 * counts[0], said, va="top", fontsize=9, color=RED)
    axes[0].set(xlabel="films, most rated first", ylabel="ratings of the film", ylim=(0, None), xlim=(0, len(counts)))
    axes[1].hist(ratings, bins=np.arange(0, 420, 10), color=GREEN)
    axes[1].axvline(ratings.min(), color=RED, linewidth=1.2)
    top = axes[1].get_ylim()[1]
    said = f"nobody has fewer than {ratings.min()}:\nsuch users were left out"
    axes[1].text(ratings.min() + 30, 0.95 * top, said, va="top", fontsize=9, color=RED)
    more = f"ratings of a user ({(ratings > 410).sum()} users have more than 410)"
    axes[1].set(xlabel=more, ylabel="users", xlim=(0, 420))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return axes


def waves(
    days: Mapping[str, pd.DataFrame], notes: Mapping[str, tuple[float, float, str]], axes: np.ndarray
) -> np.ndarray:
    """Rows of each day, those of users who came that very day in blue on the grey ones; a panel per data set.

    Args:
        days: name -> of `cleaning.of_days`.
        notes: name -> (day, rows, text): what to write there, with an arrow to the blue of that day.
        axes: as many as there are data sets.
    """
    for ax, (name, frame) in zip(axes, days.items(), strict=True):
        more = frame["rows"] - frame["first"]
        ax.bar(frame.index, frame["first"], width=1, bottom=more, color=BLUE, label="on the user's first day")
        ax.bar(frame.index, more, width=1, color="#999999", label="later")
        if name in notes:
            x, y, text = notes[name]
            arrow = {"arrowstyle": "->", "color": RED}
            ax.annotate(
                text,
                (x, frame["rows"][x]),
                (0.4 * x, y),
                fontsize=9,
                color=RED,
                ha="center",
                va="top",
                arrowprops=arrow,
            )
        ax.set(title=name, xlabel="day of the log", ylabel="rows a day", ylim=(0, 1.25 * frame["rows"].max()))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=9, loc="upper right")
    return axes


def timeline(near: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """A history with its target cut out: what is strictly before (blue), of the same second (red), later (grey).

    Args:
        near: of `cleaning.window`.
    """
    ax = ax or plt.subplots(figsize=(8, 2.9), layout="constrained")[1]
    ax.annotate("", (len(near) + 0.1, 0), (-0.4, 0), arrowprops={"arrowstyle": "->", "color": INK})
    for place, row in enumerate(near.itertuples()):
        tie = row.seconds == 0 and not row.target
        colour = ORANGE if row.target else RED if tie else BLUE if row.seconds < 0 else "#BBBBBB"
        ax.plot(place, 0, "o", color=colour, markersize=9)
        title = row.title.replace(": ", ":\n") if len(row.title) > 16 else row.title
        where, side = (0.5, "bottom") if place % 2 else (-0.9, "top")
        ax.plot([place, place], [0, 0.42 if place % 2 else -0.82], color=colour, linewidth=1)
        ax.text(place, where, title, ha="center", va=side, fontsize=9.5, color=INK, parse_math=False)
        ax.text(place + 0.06, -0.2, f"{row.seconds:+d} s".replace("+0", "0"), va="top", fontsize=9, color=colour)
        if row.target:
            ax.text(place + 0.06, -0.52, "target", va="top", fontsize=10, color=ORANGE)
        elif tie:
            ax.text(place, 1.15, "same second:\nnot before", ha="center", va="bottom", fontsize=9.5, color=RED)
    before = int((near["seconds"] < 0).sum())
    ax.axvspan(-0.45, before - 0.5, color=SKY, alpha=0.2)
    ax.text(
        -0.4, 1.9, f"the history: {near['above'].iloc[0]} earlier films, and these", fontsize=10, color=BLUE, va="top"
    )
    ax.text(len(near) - 1, 1.9, "the future", fontsize=10, color=GREY, va="top", ha="center")
    ax.set(xlim=(-0.6, len(near) - 0.2), ylim=(-1.6, 2.0))
    ax.axis("off")
    return ax


def pairs(named: pd.DataFrame, ax: Axes) -> Axes:
    """Facts as the graph states them: the film on the left, an arrow, its alleged sequel on the right.

    Args:
        named: `film`, `sequel`, of `cleaning.sequels`.
    """
    for line, row in enumerate(named.itertuples()):
        ax.add_patch(Rectangle((0, -line - 0.85), 4.2, 0.7, color=PALE))
        ax.add_patch(Rectangle((5.8, -line - 0.85), 4.2, 0.7, color="#F6D5C4"))
        ax.text(4.1, -line - 0.5, row.film, ha="right", va="center", fontsize=9.5, parse_math=False)
        ax.text(5.9, -line - 0.5, row.sequel, va="center", fontsize=9.5, parse_math=False)
        ax.annotate("", (5.75, -line - 0.5), (4.25, -line - 0.5), arrowprops={"arrowstyle": "->", "color": RED})
    ax.text(4.1, 0.1, "the film", ha="right", fontsize=9.5, color=GREY)
    ax.text(5.9, 0.1, "its sequel, says the graph", fontsize=9.5, color=RED)
    ax.set(xlim=(-0.05, 10.05), ylim=(-len(named) - 0.05, 0.55))
    ax.axis("off")
    return ax


def alike(found: pd.DataFrame, ax: Axes) -> Axes:
    """Common genres of each kind of pair (a dot), and the band of 95 % of the shuffles (grey).

    Args:
        found: of `cleaning.common_genres`.
    """
    for place, (_, row) in enumerate(found.iterrows()):
        ax.plot([row["low"], row["high"]], [place, place], color="#BBBBBB", linewidth=12, solid_capstyle="butt")
        colour = BLUE if row["alike"] > row["high"] else RED
        ax.plot(row["alike"], place, "o", color=colour, markersize=9)
        ax.text(row["alike"] + 0.015, place - 0.3, f"{row['alike']:.3f}", fontsize=9.5, color=colour, va="center")
    ax.plot([], [], color="#BBBBBB", linewidth=12, label="95 % of the means of 200 shuffles")
    ax.set_yticks(range(len(found)), [f"{name} ({row['pairs']:,.0f} pairs)" for name, row in found.iterrows()])
    ax.set(
        ylim=(len(found) - 0.5, -0.7), xlim=(0, 1.02), xlabel="common genres: shared by both, of all that either has"
    )
    ax.legend(frameon=False, fontsize=9, loc="upper right")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def lists(seen: Mapping[str, Sequence[str]], got: Mapping[str, Sequence[str]], fresh: Sequence[str] = ()) -> Axes:
    """What each person has seen (grey), and below it the list that they get; orange is a film that train never met.

    Args:
        seen, got: name of the person -> titles.
        fresh: titles without a row in train.
    """
    most, listed = max(map(len, seen.values())), max(map(len, got.values()))
    ax = plt.subplots(figsize=(8, 0.36 * (most + listed + 4)), layout="constrained")[1]
    for place, name in enumerate(got):
        ax.text(place + 0.5, 0.15, name, ha="center", fontsize=10)
        for line, title in enumerate(seen[name]):
            _line(ax, place, -line - 0.9, title, "#DDDDDD", INK)
        top = -most - 0.15
        arrow = {"arrowstyle": "-|>", "color": GREY}
        ax.annotate("", (place + 0.5, top - 0.65), (place + 0.5, top - 0.0), arrowprops=arrow)
        for line, title in enumerate(got[name]):
            new = title in fresh
            _line(ax, place, top - line - 1.6, title, ORANGE if new else BLUE, INK if new else "white")
    for colour, text in {"#DDDDDD": "seen", BLUE: "train has it", ORANGE: "no click in train"}.items():
        ax.scatter([], [], marker="s", s=60, color=colour, label=text)
    ax.legend(loc="lower center", ncols=3, frameon=False, fontsize=9)
    ax.set(xlim=(0, len(got)), ylim=(-most - listed - 1.9, 0.7))
    ax.axis("off")
    return ax


def _line(ax: Axes, left: float, bottom: float, text: str, colour: str, ink: str) -> None:
    ax.add_patch(Rectangle((left + 0.02, bottom), 0.96, 0.84, color=colour))
    text = text if len(text) <= 32 else _cut(text, 32)
    ax.text(left + 0.5, bottom + 0.42, text, ha="center", va="center", fontsize=9, color=ink, parse_math=False)
