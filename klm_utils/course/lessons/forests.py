"""Differences of stored runs as notebook 07b draws them: the number stands behind the name of its row."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from klm_utils import course, plots
from klm_utils.evaluation import kept
from klm_utils.evaluation.experiment import Runs

Pairs = Mapping[str, tuple[str, str]]

AS_IN_07 = "ridge, text and facts"  # of docs/results/facts.json
ALONE = ("attention", "matrices")  # of docs/results/graph_parts.json
WAYS = {  # else of docs/results/graph.json: how the facts enter beside the text
    "counted": "text, facts counted",
    "counted as in 07": AS_IN_07,
    "TransE": "text, TransE",
    "TransE of others": "text, TransE of others",
    "attention alone": "attention",
    "matrices alone": "matrices",
    "layer": "text, relational",
    "layer of others": "text, relational of others",
}
BETWEEN = {
    "TransE minus TransE of others": (WAYS["TransE"], WAYS["TransE of others"]),
    "TransE minus counted": (WAYS["TransE"], WAYS["counted"]),
    "TransE minus counted as in 07": (WAYS["TransE"], AS_IN_07),
    "layer minus TransE": (WAYS["layer"], WAYS["TransE"]),
    "attention alone minus TransE": ("attention", WAYS["TransE"]),
    "matrices alone minus TransE": ("matrices", WAYS["TransE"]),
    "layer minus matrices alone": (WAYS["layer"], "matrices"),
}
TREES = {  # of docs/results/kbert.json
    "tree - same words": ("text, facts as trees", "text, facts read plainly, same words"),
    "tree, trunk pooled - same words": (
        "text, facts as trees, trunk",
        "text, facts read plainly, same words",
    ),
    "tree - text without facts": ("text, facts as trees", "text"),
    "tree of others - tree": ("text, facts of others as trees", "text, facts as trees"),
}
TREE_PARTS = {  # of docs/results/kbert_parts.json
    "mask alone - same words": ("mask", "plain"),
    "soft positions alone - same words": ("positions", "plain"),
}


def joined(runs: Runs, other: Runs, names: Collection[str]) -> Runs:
    """The runs, and beside them those of `other` that are named here, on the same splits only."""
    splits = {run.split for run in runs.runs}
    more = [run for run in other.runs if run.variant in names and run.split in splits]
    return replace(runs, runs=(*runs.runs, *more))


def measured() -> Runs:
    """The runs of `WAYS` and `BETWEEN`, from the three files that have them."""
    graph, halves, facts = (kept.load(course.stored(f"{name}.json")) for name in ("graph", "graph_parts", "facts"))
    return joined(joined(graph, halves, ALONE), facts, [AS_IN_07])


def told(gains: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The same rows, (difference, low, high, ...), each name with its difference behind it."""
    return {f"{name}  {gain[0]:+.3f}": gain for name, gain in gains.items()}


def differences(runs: Runs, pairs: Pairs) -> dict[str, Sequence[Any]]:
    """Rows of `plots.forest`: name -> (difference, low, high, low, high) of the first of a pair minus the second."""
    return told({name: runs.gains(pair)[" minus ".join(pair)] for name, pair in pairs.items()})


def folds(runs: Runs, variants: Mapping[str, str], base: str, label: str) -> Axes:
    """Each variant minus the base, a dot per fold, and the two intervals.

    Args:
        variants: name of the row -> name of the variant.
    """
    gains = differences(runs, {name: (variant, base) for name, variant in variants.items()})
    values = runs.values()
    rows = [values[variant] - values[base] for variant in variants.values()]
    return plots.dots(pd.concat(rows, axis=1, keys=list(gains)), label, gains)
