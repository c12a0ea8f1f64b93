"""What notebook 05 asks of stored curves: what each way of picking an epoch and a setting reaches on test."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from klm_utils.evaluation import intervals

Curves = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]  # setting -> fold -> "valid", "test" -> by epoch


def picks(curves: Curves, settings: Sequence[str]) -> pd.DataFrame:
    """The metric on test of each fold, at the setting and epoch that are picked in three ways; a row per fold.

    valid, each fold: the best on valid of that fold. valid, all folds: one for all, the best on the mean of valid over
    the folds; left out is the fold before, whose valid items are the test items of this one. test: the best on test,
    which is no result: it says what looking would bring.

    Args:
        curves: of the same number of epochs in every fold.
        settings: those to pick from; the epochs of one are a choice too.
    """
    folds = sorted(int(fold) for fold in curves[settings[0]])

    def of(part: str) -> np.ndarray:
        rows = [np.concatenate([curves[setting][str(fold)][part] for setting in settings]) for fold in folds]
        return np.array(rows)  # [folds, settings * epochs]

    valid, test = of("valid"), of("test")
    rows = {}
    for place, fold in enumerate(folds):
        used = [k for k, other in enumerate(folds) if (other + 1) % (max(folds) + 1) != fold] or [place]
        best = valid[place].argmax(), valid[used].mean(0).argmax(), test[place].argmax()
        rows[fold] = test[place][list(best)]
    columns = ["valid, each fold", "valid, all folds", "test (cheating)"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("fold")


def differences(
    picked: Mapping[str, pd.DataFrame], pairs: Sequence[tuple[str, str]], way: str, shared: float
) -> tuple[pd.DataFrame, dict[str, list[float]]]:
    """Paired differences of `picks` for `plots.dots`: a column per pair, and its mean and interval for other items too.

    Args:
        picked: {name: what `picks` returned}.
        way: one of its columns.
        shared: rows of test over rows of train, in one fold.
    """
    table = pd.DataFrame({f"{a} minus {b}": picked[a][way] - picked[b][way] for a, b in pairs})
    ends = {name: intervals.over_splits(d.to_numpy(), shared) for name, d in table.items()}
    return table, {name: [float(table[name].mean()), np.nan, np.nan, *ends[name]] for name in table}
