"""What notebook 07 asks of facts: which of them moves a score, and its drawings with the reader's numbers in them."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from klm_utils.data.films import RELATIONS
from klm_utils.data.schema import RecDataset
from klm_utils.evaluation.experiment import Runs
from klm_utils.knowledge.vectors import facts_in
from klm_utils.models.recommender import KLMRecommender
from klm_utils.plots import COLOURS

INK, PALE = "#333333", "#EEEEEE"


def drop_one(model: KLMRecommender, film: pd.Series, facts: Sequence[str], user_id) -> pd.Series:
    """How much each fact of a film brings to its score for a user: the score with all, minus the score without it.

    Args:
        model: built with `facts=`.
        film: a row of `ds.items`.
        facts: its columns of facts.

    Returns:
        log-odds by fact ("directors=Woody Allen"), the largest first.
    """
    own = facts_in(film.to_frame().T, facts)[0]
    copies = [film.copy() for _ in range(len(own) + 1)]
    for copy, fact in zip(copies[1:], own, strict=True):
        column, name = fact.split("=", 1)
        copy[column] = [other for other in film[column] if other != name]
    ids = [int(max(model.items.index)) + n for n in range(1, len(copies) + 1)]
    frame = pd.DataFrame(copies).assign(item_id=ids).astype({"year": "Int64"})
    score = model.with_items(frame).scores([user_id] * len(ids), ids)
    return pd.Series(score[0] - score[1:], index=own).sort_values(ascending=False)


def said(fact: str) -> str:
    """A fact as people say it.

    >>> said("cast=Sigourney Weaver")
    'actor Sigourney Weaver'
    """
    column, name = fact.split("=", 1)
    return f"{RELATIONS.get(column, column)} {name}"


def known_of(title: str, facts: Mapping[str, Sequence[str]], ax: Axes | None = None) -> Axes:
    """A film in the middle, its facts around it, and beside each the other films that share it."""
    ax = ax or plt.subplots(figsize=(8.4, 0.5 + 0.52 * len(facts)), layout="constrained")[1]
    middle = -(len(facts) + 1) / 2
    for row, (fact, others) in enumerate(facts.items(), start=1):
        ax.plot([1.9, 2.6], [middle, -row], color="#AAAAAA", linewidth=1, zorder=0)
        _box(ax, 2.6, -row, 2.9, fact, COLOURS[5])
        if others:
            ax.plot([5.5, 5.9], [-row, -row], color="#AAAAAA", linewidth=1, zorder=0)
        shown = ", ".join(others[:2]) + (f" and {len(others) - 2} more" if len(others) > 2 else "")
        ax.text(6.0, -row, shown or "no other film", va="center", fontsize=9, parse_math=False, color=INK)
    _box(ax, 0.0, middle, 1.9, title, COLOURS[4])
    ax.set(xlim=(-0.1, 10.2), ylim=(-len(facts) - 0.6, -0.4))
    ax.axis("off")
    return ax


def _box(ax: Axes, left: float, height: float, width: float, text: str, colour: str) -> None:
    style = "round,pad=0.02,rounding_size=0.08"
    ax.add_patch(FancyBboxPatch((left, height - 0.36), width, 0.72, boxstyle=style, color=colour, alpha=0.45))
    ax.text(left + width / 2, height, text, ha="center", va="center", fontsize=9, parse_math=False, color=INK)


def ladder(counts: Mapping[str, int], total: int, ax: Axes | None = None) -> Axes:
    """How many films each rule links, one after the other; what is not linked is left white."""
    ax = ax or plt.subplots(figsize=(8.0, 0.7 + 0.4 * len(counts)), layout="constrained")[1]
    before = 0
    for row, count in enumerate(counts.values()):
        ax.barh(row, total, color=PALE, height=0.7)
        ax.barh(row, before, color="#BBBBBB", height=0.7)
        ax.barh(row, count, left=before, color=COLOURS[0], height=0.7)
        before += count
        ax.text(total * 1.01, row, f"+{count}: {before / total:.1%}", va="center", fontsize=9)
    ax.set_yticks(range(len(counts)), list(counts))
    ax.set(ylim=(len(counts) - 0.5, -0.5), xlim=(0, total * 1.16), xlabel="films of MovieLens (blue: new by this rule)")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def timeline(events: Mapping[str, float], now: float, ax: Axes | None = None) -> Axes:
    """Events by year (1998.25: the end of March); what comes after `now` is orange: nobody can know it on that day."""
    ax = ax or plt.subplots(figsize=(8.4, 0.9 + 0.36 * len(events)), layout="constrained")[1]
    for row, year in enumerate(events.values()):
        ax.plot([min(events.values()), year], [row, row], color=PALE, linewidth=5, solid_capstyle="butt", zorder=0)
        ax.plot(year, row, "o", color=COLOURS[1] if year > now else COLOURS[0], markersize=9)
    ax.axvline(now, color=INK, linestyle=":", linewidth=1.2)
    ax.text(now, -0.75, "the last rating", ha="center", va="bottom", fontsize=9)
    ax.set_yticks(range(len(events)), [event.replace("$", r"\$") for event in events])
    ticks = np.arange(np.floor(min(events.values()) * 4) / 4, max(events.values()) + 0.2, 0.25)
    months = [f"{('Jan', 'Apr', 'Jul', 'Oct')[round(tick % 1 * 4) % 4]} {int(tick)}" for tick in ticks]
    ax.set_xticks(ticks, months)
    ax.set_ylim(len(events) - 0.5, -0.7)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax


def bars(values: Mapping[str, float], label: str, ax: Axes | None = None) -> Axes:
    """Horizontal bars, the first on top; orange below zero."""
    ax = ax or plt.subplots(figsize=(7.2, 0.8 + 0.32 * len(values)), layout="constrained")[1]
    colours = [COLOURS[0] if value >= 0 else COLOURS[1] for value in values.values()]
    drawn = ax.barh(range(len(values)), list(values.values()), color=colours, height=0.7)
    ax.bar_label(drawn, [f"{value:,.4g}" for value in values.values()], padding=3, fontsize=9)
    ax.set_yticks(range(len(values)), [name.replace("$", r"\$") for name in values])
    ax.set(ylim=(len(values) - 0.5, -0.5), xlabel=label)
    ax.margins(x=0.12)
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def moved(before: Sequence[str], after: Sequence[str], labels: tuple[str, str], ax: Axes | None = None) -> Axes:
    """Two lists side by side, a line between the places of a film that stands in both; orange: it has risen."""
    ax = ax or plt.subplots(figsize=(8.4, 0.7 + 0.34 * len(before)), layout="constrained")[1]
    for side, titles in enumerate((before, after)):
        for place, title in enumerate(titles, start=1):
            there = title in (after if side == 0 else before)
            text, x = f"{place}  {title}" if side else f"{title}  {place}", 0.62 * side
            colour = INK if there else (COLOURS[0] if side else "#999999")
            ax.text(
                x, -place, text, ha="left" if side else "right", va="center", fontsize=9, color=colour, parse_math=False
            )
        ax.text(0.62 * side, -0.1, labels[side], ha="left" if side else "right", fontsize=10, weight="bold")
    for place, title in enumerate(before, start=1):
        if title in after:
            to = list(after).index(title) + 1
            ax.plot([0.02, 0.6], [-place, -to], color=COLOURS[1] if to < place else "#BBBBBB", linewidth=1.6)
    ax.set(xlim=(-0.75, 1.4), ylim=(-len(before) - 0.6, 0.5))
    ax.axis("off")
    return ax


def curve(runs: Runs, points: Mapping[float, str], lines: Mapping[str, str], ax: Axes | None = None) -> Axes:
    """Quality against the share of spoilt links: a dot per fold, their mean as a line; `lines`: others, level.

    Args:
        points: share -> variant.
        lines: variant -> label.
    """
    ax = ax or plt.subplots(figsize=(7.2, 3.4), layout="constrained")[1]
    values = runs.values()
    for share, variant in points.items():
        ax.plot([share] * len(values), values[variant], "o", color=COLOURS[0], alpha=0.3, markersize=4)
    ax.plot(list(points), [values[name].mean() for name in points.values()], "-o", color=COLOURS[0])
    for colour, (variant, label) in zip((COLOURS[1], "#777777"), lines.items(), strict=False):
        ax.plot([0, 1], [values[variant].mean()] * 2, color=colour, linestyle="--", linewidth=1.2)
        ax.text(1.02, values[variant].mean(), label, va="center", fontsize=9, color=colour)
    ax.set(
        xlabel="share of the films whose facts are another film's", ylabel="nDCG@10 (dot: a fold)", xlim=(-0.03, 1.25)
    )
    ax.set_xticks(list(points), [f"{share:.0%}" for share in points])
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def holders(ds: RecDataset) -> dict[str, list]:
    """Which items hold each fact: {"cast=Al Pacino": item ids}."""
    found: dict[str, list] = {}
    for item, own in zip(ds.items.index, facts_in(ds.items, ds.facts), strict=True):
        for fact in own:
            found.setdefault(fact, []).append(item)
    return found
