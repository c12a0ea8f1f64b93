"""Differences of stored runs as notebook 07b draws them: the number stands behind the name of its row."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from klm_utils import plots
from klm_utils.evaluation.experiment import Runs

Pairs = Mapping[str, tuple[str, str]]

WAYS = {  # of docs/results/graph.json: how the facts enter beside the text
    "counted": "text, facts counted",
    "TransE": "text, TransE",
    "TransE of others": "text, TransE of others",
    "layer": "text, relational",
    "layer of others": "text, relational of others",
}
BETWEEN = {
    "TransE minus TransE of others": (WAYS["TransE"], WAYS["TransE of others"]),
    "TransE minus counted": (WAYS["TransE"], WAYS["counted"]),
    "layer minus TransE": (WAYS["layer"], WAYS["TransE"]),
}
PARTS = {  # of docs/results/graph_parts.json
    "attention alone minus TransE": ("attention", "TransE"),
    "matrices alone minus TransE": ("matrices", "TransE"),
}
TREES = {  # of docs/results/kbert.json
    "tree - same words": ("text, facts as trees", "text, facts read plainly, same words"),
    "tree - text without facts": ("text, facts as trees", "text"),
    "tree of others - tree": ("text, facts of others as trees", "text, facts as trees"),
}
TREE_PARTS = {  # of docs/results/kbert_parts.json
    "mask alone - same words": ("mask", "plain"),
    "soft positions alone - same words": ("positions", "plain"),
}


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
