"""Differences of stored runs as notebook 07b draws them: the number stands behind the name of its row."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from klm_utils import plots
from klm_utils.evaluation.experiment import Runs

Pairs = Mapping[str, tuple[str, str]]


def told(gains: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """The same rows, (difference, low, high, ...), each name with its difference behind it."""
    return {f"{name}  {gain[0]:+.3f}": gain for name, gain in gains.items()}


def differences(runs: Runs, pairs: Pairs) -> dict[str, Sequence[float]]:
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
