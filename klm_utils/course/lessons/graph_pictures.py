"""A graph as vectors, drawn: a film's facts as arrows, how much each counts, and a sentence with branches."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from klm_utils.course.lessons.kbert import Tree
from klm_utils.errors import DataError
from klm_utils.knowledge.graph import Facts
from klm_utils.knowledge.relational import RelationalLayer
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
    """h, the arrow of each relation to h + r, the tail, and a dotted line for what is missing between the two.

    Nodes have length 1, and h + r is drawn at length 1 too: which node is nearest to it does not change by that. All
    in the plane, through h, in which the ends and the tails are spread most (principal directions); `others` are nodes
    drawn in grey. Beside each tail: its relation, and how near it is to h + r among all nodes, 1 for the nearest.

    Raises:
        DataError: the head, another node, or a relation or tail of the facts, is not in the graph.
    """
    met = {head, *others, *(tail for _, tail in facts)} <= {*model.nodes.index}
    if not facts or not met or not {relation for relation, _ in facts} <= {*model.relations.index}:
        raise DataError(
            "not in the graph", "arrows(head, facts)", (head, facts), "names of TransE", "model.nodes.index"
        )
    h = model.nodes.loc[head].to_numpy()
    sums = np.stack([h + model.relations.loc[relation] for relation, _ in facts])
    ends = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9) - h
    tails = np.stack([model.nodes.loc[tail] - h for _, tail in facts])
    plane = np.linalg.svd(np.vstack([ends, tails]), full_matrices=False)[2][:2].T
    plane[:, 0] *= np.sign((ends @ plane)[:, 0].sum()) or 1  # the arrows go to the right
    ax = ax or plt.subplots(figsize=(7.2, 4.2), layout="constrained")[1]
    if len(others):
        ax.plot(*((model.nodes.loc[list(others)].to_numpy() - h) @ plane).T, "o", color="#D8D8D8", markersize=3)
    heights = []
    right = max((ends @ plane)[:, 0].max(), (tails @ plane)[:, 0].max())
    for at, (relation, tail) in enumerate(facts):
        end, to, colour = ends[at] @ plane, tails[at] @ plane, COLOURS[at % len(COLOURS)]
        ax.annotate("", end, (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "lw": 2})
        ax.plot(*zip(end, to, strict=True), ":", color=colour)
        ax.plot(*to, "o", color=colour)
        said = f"{relation} {tail}: nearest no. {rank(model, sums[at], tail)}"
        label = ax.text(right * 1.12, to[1], said, va="center")
        label.set(color=colour, parse_math=False, fontsize=9)
        ax.plot([to[0], right * 1.1], [to[1]] * 2, color=colour, linewidth=0.5, alpha=0.5)
        heights.append((to[1], label))
    spread_out(heights, 0.09 * np.ptp([*(ends @ plane)[:, 1], *(tails @ plane)[:, 1], 0]))
    ax.plot(0, 0, "ks")
    ax.text(0, 0, f"{name}  ", ha="right", va="center", fontsize=9, weight="bold", parse_math=False)
    ax.margins(0.12)
    ax.set(xlim=(-0.45 * right, 2.2 * right), xticks=[], yticks=[])
    return ax


def rank(model: TransE, place: np.ndarray, tail: str) -> int:
    """1 for the node that is nearest to this place, float [width]."""
    far = ((model.nodes.to_numpy() - np.asarray(place)) ** 2).sum(axis=1)
    return int((far < far[model.nodes.index.get_loc(tail)]).sum()) + 1


def spread_out(labels: list, least: float) -> None:
    """Move texts, [(height, text)], up and down until two of them are `least` apart."""
    labels = sorted(labels, key=lambda one: one[0])
    heights = np.array([height for height, _ in labels])
    for _ in range(50):
        gap = np.maximum(least - np.diff(heights), 0) / 2
        heights[:-1] -= gap
        heights[1:] += gap
    for height, (_, text) in zip(heights, labels, strict=True):
        text.set_y(height)


def neighbours(
    model: TransE, triples: pd.DataFrame, node: str, names: Mapping[str, str] | None = None, n: int = 5
) -> pd.DataFrame:
    """The n nodes nearest to this one: name, role (its relations as a tail), how many heads it shares with the node,
    and in how many triples it occurs.

    Args:
        triples: what the model has learnt from. names: of nodes that are heads, such as the titles of films.
    """
    far = ((model.nodes - model.nodes.loc[node]) ** 2).sum(axis="columns")
    heads = triples.groupby("tail")["head"].agg(set)
    roles = triples.groupby("tail")["relation"].unique().map(", ".join)
    rows, called = [], {} if names is None else names
    for near in far.drop(node).nsmallest(n).index:
        shared = len(heads.get(near, set()) & heads.get(node, set()))
        often = int(((triples["head"] == near) | (triples["tail"] == near)).sum())
        rows.append((called.get(near, near), roles.get(near, "film"), shared, often))
    return pd.DataFrame(rows, columns=["name", "role", "shared films", "triples"])


def starts(
    models: Sequence[TransE], triples: pd.DataFrame, head: str, relation: str, tail: str
) -> tuple[pd.DataFrame, float]:
    """What random starts change: a row for each model, and the share of drawn tails that share a head with this one.

    A row has the place of the tail among the nodes nearest to h + r, the three nodes nearest to the tail, and how many
    of the five nearest share a head with it. The tails of other relations than those of this one are not drawn.
    """
    rows = []
    for model in models:
        near = neighbours(model, triples, tail)
        end = model.nodes.loc[head] + model.relations.loc[relation]
        rows.append((rank(model, end, tail), ", ".join(near["name"][:3]), int((near["shared films"] > 0).sum())))
    names = [f"as {relation}", "three nearest nodes", "of 5 share a film"]
    roles = triples.loc[triples["tail"] == tail, "relation"].unique()
    heads = triples[triples["relation"].isin(roles)].groupby("tail")["head"].agg(set)
    meets = heads.drop(tail).map(lambda own: bool(own & heads[tail]))
    return pd.DataFrame(rows, columns=names).rename_axis("start"), float(meets.mean())


Pushes = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def as_given(h: np.ndarray, r: np.ndarray, t: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, ...]:
    """The code of exercise 7.6 as the reader finds it, with one wrong sign."""
    near, far = h + r - t, h + r - other
    push = 1 / (1 + np.exp((far**2).sum() - (near**2).sum()))
    return 2 * push * (near - far), 2 * push * near, 2 * push * far


def trained(pushes: Pushes, h, r, t, other, steps: int = 100, rate: float = 0.02) -> np.ndarray:
    """d and d' of one triple, float [steps + 1, 2], while h, t and the other tail go downhill.

    The nodes are brought back to length 1 before each step, as TransE does it; r stays.
    """
    nodes, found = [np.asarray(node, dtype=float) for node in (h, t, other)], []
    for _ in range(steps + 1):
        h, t, other = nodes = [node / max(np.linalg.norm(node), 1e-9) for node in nodes]
        found.append([((h + r - t) ** 2).sum(), ((h + r - other) ** 2).sum()])
        nodes = [node - rate * np.asarray(slope) for node, slope in zip(nodes, pushes(h, r, t, other), strict=True)]
    return np.array(found)


def two_distances(runs: Mapping[str, np.ndarray]) -> np.ndarray:
    """d (full) and d' (dashed) over the steps, a panel for each run of `trained`."""
    axes = plt.subplots(1, len(runs), figsize=(7.2, 2.7), sharey=True, layout="constrained", squeeze=False)[1][0]
    for ax, (name, run) in zip(axes, runs.items(), strict=True):
        ax.plot(run[:, 0], color=COLOURS[0], linewidth=2, label="d, the true tail")
        ax.plot(run[:, 1], color=COLOURS[1], linewidth=2, linestyle="--", label="d', the drawn tail")
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("step")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("squared distance")
    axes[-1].legend(frameon=False, fontsize=9)
    return axes


def attention_by_kind(layer: RelationalLayer, found: Facts) -> pd.DataFrame:
    """What each relation gets of the attention, what it would get if all facts of a film counted alike, and the first
    by the second: what one fact gains. Mean over the films of `found` that have all relations of the graph.

    Raises:
        DataError: no film has them all.
    """
    parts = []
    for own in found:
        if len(layer.edges([own])[:, 1].unique()) == len(layer.kind):
            share = layer.attention(own).groupby("relation").agg(["sum", "size"])
            parts.append(pd.DataFrame({"attention": share["sum"], "alike": share["size"] / share["size"].sum()}))
    if not parts:
        expected, remedy = "a film with all of " + ", ".join(layer.kind), "more films"
        raise DataError("no film has all relations", "attention_by_kind(found)", len(found), expected, remedy)
    table = pd.concat(parts).groupby("relation").mean()
    return table.assign(**{"one fact": table["attention"] / table["alike"]}).rename_axis(f"{len(parts)} films")


def bars(attention: pd.Series, most: int = 8, always: str = "director", ax: Axes | None = None) -> Axes:
    """The attention of one film, a bar for each of the first facts, and a line where equal ones would end.

    always: a relation whose facts are drawn in any case, in orange.
    """
    alike, whole = 1 / max(len(attention), 1), attention
    asked = whole.index.get_level_values(0) == always
    attention = whole[(np.arange(len(whole)) < most) | asked]
    ax = ax or plt.subplots(figsize=(6.4, 0.8 + 0.24 * len(attention)), layout="constrained")[1]
    names = [f"{relation}: {tail}" for relation, tail in attention.index]
    own = [COLOURS[int(relation == always)] for relation, _ in attention.index]
    ax.barh(range(len(names)), attention, color=own)
    ax.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
    ax.axvline(alike, color="black", linestyle=":")
    ax.invert_yaxis()
    named = f" and each {always}" if len(attention) > most else ""
    ax.set_xlabel(
        f"weight of the fact, the {min(most, len(names))} heaviest of {len(whole)}{named};\ndotted: all alike"
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def one_fact(kinds: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What one fact of each relation gains by attention, of `attention_by_kind`; the dotted line is a plain mean."""
    ax = ax or plt.subplots(figsize=(4, 2.9), layout="constrained")[1]
    gains = kinds["one fact"].sort_values(ascending=False)
    ax.barh(range(len(gains)), gains, color=[COLOURS[int(name == "director")] for name in gains.index])
    for place, gain in enumerate(gains):
        ax.text(gain + 0.03, place, f"{gain:.2f}", va="center", fontsize=9)
    ax.set_yticks(range(len(gains)), [str(name) for name in gains.index], fontsize=9, parse_math=False)
    ax.axvline(1, color="black", linestyle=":")
    ax.invert_yaxis()
    ax.set(xlabel=f"weight of one fact by that in a plain mean;\nmean of {kinds.index.name}")
    ax.set_xlim(0, max(1, gains.max()) * 1.2)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def weights(attention: pd.Series, kinds: pd.DataFrame) -> np.ndarray:
    """One film's `bars`, and beside them what one fact gains as a mean of many films, `one_fact`."""
    wide = {"width_ratios": [1.5, 1]}
    axes = plt.subplots(1, 2, figsize=(8.4, 3), gridspec_kw=wide, layout="constrained")[1]
    bars(attention, ax=axes[0])
    one_fact(kinds, axes[1])
    return axes


def tree_drawing(tree: Tree, ax: Axes | None = None) -> Axes:
    """A sentence tree as a tree: the sentence is the trunk, each fact a branch from the title.

    The column is the soft position of a token; it is written below the tokens.
    """
    ax = ax or plt.subplots(figsize=(7.4, 2.6), layout="constrained")[1]
    hangs = tree.positions[tree.title].max()
    many = int(tree.branches.max())
    levels = {0: 0.0} | {k: (k + 1) // 2 * (1.0 if k % 2 else -1.0) for k in range(1, many + 1)}
    colours = ["#BBBBBB", *(COLOURS[k % len(COLOURS)] for k in range(many))]
    for branch, level in levels.items():
        own = tree.positions[tree.branches == branch]
        ax.plot([own.min(), own.max()], [level, level], color=colours[branch], linewidth=2, zorder=1)
        if branch:
            ax.plot([hangs, own.min()], [0, level], color=colours[branch], linewidth=2, zorder=1)
    for token, position, branch, title in zip(tree.tokens, tree.positions, tree.branches, tree.title, strict=True):
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colours[branch], "linewidth": 1.5}
        text = ax.text(position, levels[branch], token, fontsize=9, ha="center", va="center", bbox=box, zorder=2)
        text.set(parse_math=False, weight="bold" if title else "normal")
    low = min(levels.values())
    ax.set(xlim=(-0.6, tree.positions.max() + 0.6), ylim=(low - 0.5, max(levels.values()) + 0.5), yticks=[])
    ax.set_xticks(range(tree.positions.max() + 1))
    ax.set_xlabel("soft position")
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax


def moved_tokens(tokens: Sequence[str], moved: Mapping[str, np.ndarray], ax: Axes | None = None) -> Axes:
    """Which tokens have moved, bool [tokens], a column for each entry of `moved`; blue is moved."""
    ax = ax or plt.subplots(figsize=(6.4, 0.9 + 0.2 * len(tokens)), layout="constrained")[1]
    ax.imshow(np.stack([*moved.values()], axis=1) * 1.0, cmap="Blues", vmin=0, vmax=1.5, aspect="auto")
    ax.set_yticks(range(len(tokens)), tokens, fontsize=9, parse_math=False)
    ax.set_xticks(range(len(moved)), list(moved), fontsize=9)
    ax.xaxis.tick_top()
    for line in np.arange(1, len(moved)) - 0.5:
        ax.axvline(line, color="white", linewidth=3)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
