"""A graph as vectors, drawn: a film's facts as arrows, and how much each counts."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from klm_utils.errors import DataError
from klm_utils.knowledge.transe import TransE
from klm_utils.plots import COLOURS


def arrows(
    model: TransE,
    head: str,
    facts: Sequence[tuple[str, str]],
    name: str,
    others: Sequence[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """h, the arrow of each relation from it, the tail, and a dotted line for what is missing from h + r to t.

    All in the plane, through h, in which the ends and the tails are spread most (principal directions); `others` are
    nodes drawn in grey.

    Raises:
        DataError: the head, another node, or a relation or tail of the facts, is not in the graph.
    """
    met = {head, *others, *(tail for _, tail in facts)} <= {*model.nodes.index}
    if not facts or not met or not {relation for relation, _ in facts} <= {*model.relations.index}:
        raise DataError(
            "not in the graph", "arrows(head, facts)", (head, facts), "names of TransE", "model.nodes.index"
        )
    h = model.nodes.loc[head].to_numpy()
    ends = np.stack([model.relations.loc[relation] for relation, _ in facts])
    tails = np.stack([model.nodes.loc[tail] - h for _, tail in facts])
    plane = np.linalg.svd(np.vstack([ends, tails]), full_matrices=False)[2][:2].T
    plane[:, 0] *= np.sign((ends @ plane)[:, 0].sum()) or 1  # the arrows go to the right
    ax = ax or plt.subplots(figsize=(6.8, 4.0), layout="constrained")[1]
    if len(others):
        ax.plot(*((model.nodes.loc[list(others)].to_numpy() - h) @ plane).T, "o", color="#CCCCCC", markersize=3)
    for at, (relation, tail) in enumerate(facts):
        end, to, colour = ends[at] @ plane, tails[at] @ plane, COLOURS[at % len(COLOURS)]
        ax.annotate("", end, (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "lw": 2})
        ax.text(end[0], end[1], f" {relation}", color=colour, fontsize=9, va="center")
        ax.plot(*zip(end, to, strict=True), ":", color=colour)
        ax.plot(*to, "o", color=colour)
        side = (-8.0, 12 * (len(facts) / 2 - at))
        label = ax.annotate(tail, to, side, textcoords="offset points", ha="right", va="center", fontsize=9)
        label.set(
            color=colour, parse_math=False, bbox={"facecolor": "white", "alpha": 0.8, "pad": 1, "edgecolor": "none"}
        )
    ax.plot(0, 0, "ks")
    ax.text(0, 0, f"{name}  ", ha="right", va="center", fontsize=9, weight="bold", parse_math=False)
    ax.margins(0.2)
    ax.set(xticks=[], yticks=[])
    return ax


def bars(attention: pd.Series, most: int = 8, ax: Axes | None = None) -> Axes:
    """The attention of one film, a bar for each of the first facts, and a line where equal ones would end."""
    alike, attention = 1 / max(len(attention), 1), attention.iloc[:most]
    ax = ax or plt.subplots(figsize=(6.4, 0.8 + 0.24 * len(attention)), layout="constrained")[1]
    names = [f"{relation}: {tail}" for relation, tail in attention.index]
    ax.barh(range(len(names)), attention, color=COLOURS[0])
    ax.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
    ax.axvline(alike, color="black", linestyle=":")
    ax.invert_yaxis()
    ax.set_xlabel(f"weight of the fact, the {len(names)} heaviest of {round(1 / alike)}; dotted: all alike")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
