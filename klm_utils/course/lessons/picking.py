"""What notebook 05 asks of stored curves: what each way of picking an epoch and a setting reaches on test."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from klm_utils.evaluation import intervals

Curves = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]  # setting -> fold -> "valid", "test" -> by epoch
WAYS = ("valid, each fold", "valid, all folds", "test (cheating)")


def picks(curves: Curves, settings: Sequence[str], first: int = 1, last: int | None = None) -> pd.DataFrame:
    """The metric on test of each fold, at the setting and epoch that are picked in three ways; a row per fold.

    valid, each fold: the best on valid of that fold. valid, all folds: one for all, the best on the mean of valid over
    the folds; left out is the fold before, whose valid items are the test items of this one. test: the best on test,
    which is no result: it says what looking would bring.

    Args:
        curves: of the same number of epochs in every fold.
        settings: those to pick from; the epochs of one are a choice too.
        first, last: no epoch before the one or after the other is picked; counted from 1; None: no limit.
    """
    folds = sorted(int(fold) for fold in curves[settings[0]])

    def of(part: str) -> np.ndarray:
        rows = [[curves[setting][str(fold)][part][first - 1 : last] for setting in settings] for fold in folds]
        return np.array(rows).reshape(len(folds), -1)  # [folds, settings * epochs]

    valid, test = of("valid"), of("test")
    rows = {}
    for place, fold in enumerate(folds):
        used = [k for k, other in enumerate(folds) if (other + 1) % (max(folds) + 1) != fold] or [place]
        best = valid[place].argmax(), valid[used].mean(0).argmax(), test[place].argmax()
        rows[fold] = test[place][list(best)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(WAYS)).rename_axis("fold")


def kept_epochs(curves: Curves, setting: str) -> dict[int, int]:
    """The epoch that the valid of each fold keeps, counted from 1: fold -> epoch."""
    return {int(fold): 1 + int(np.argmax(one["valid"])) for fold, one in curves[setting].items()}


def equal_epochs(curves: Curves, full: str, still: str, starts: int = 60) -> dict[str, pd.DataFrame]:
    """`picks` of models that all had their epochs, whatever valid said on the way; early: up to `starts`, late: after.

    A number in a name says how many epochs valid may pick from.

    Args:
        full: the setting in which the language model learns after epoch `starts`.
        still: the same run with a language model that stands still to the end.
    """
    found = {"no text 60": "no text, all epochs", "frozen 60": "frozen, setting 0", "frozen 68": "frozen, 68 epochs"}
    found |= {"frozen, shuffled 60": "frozen, shuffled, all epochs", "full 68": full}
    picked = {name: picks(curves, [setting]) for name, setting in found.items()}
    picked["full 28"] = picks(curves, ["full"], last=28)  # 20 epochs, then 8 in which the language model learns
    picked["frozen 28"] = picks(curves, ["frozen, setting 0"], last=28)
    picked["full late"] = picks(curves, [full], first=starts + 1)
    picked["still late"] = picks(curves, [still], first=starts + 1)
    picked["still early"] = picks(curves, [still], last=starts)
    return picked


def same_for_all(values: pd.Series) -> pd.DataFrame:
    """What a model without epochs reaches on test of each fold, in the columns of `picks`."""
    return pd.DataFrame(dict.fromkeys(WAYS, values))


def stopped(
    of_folds: Mapping[str, Mapping[str, Sequence[float]]], rule: Callable[..., tuple[int, int]], patience: int
) -> tuple[float, float]:
    """What a rule of early stopping reaches on test, and the epochs that it runs, both as the mean of the folds.

    Args:
        of_folds: fold -> "valid", "test" -> by epoch.
        rule: (valid, patience) -> (epoch kept, last epoch run), counted from 1.
    """
    found = [(one["test"], *rule(one["valid"], patience)) for one in of_folds.values()]
    return float(np.mean([test[best - 1] for test, best, _ in found])), float(np.mean([last for *_, last in found]))


def differences(
    picked: Mapping[str, pd.DataFrame], pairs: Sequence[tuple[str, str]], way: str, shared: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Paired differences of `picks`: of each fold, for `plots.dots`, and of all.

    Args:
        picked: {name: what `picks` returned}.
        pairs: names, the first minus the second.
        way: a column of `picks`.
        shared: rows of test over rows of train, in one fold.

    Returns:
        a column per pair and a row per fold; and a row per pair with the mean, the ends of its interval for other
        users (none here: NaN) and for other items too, and Holm's p of the latter over these pairs.
    """
    table = pd.DataFrame({f"{a} minus {b}": picked[a][way] - picked[b][way] for a, b in pairs})
    rows = {}
    for name, d in table.items():
        low, high = intervals.over_splits(d.to_numpy(), shared)
        error = (high - low) / 2 / stats.t.ppf(0.975, len(d) - 1)
        rows[name] = [d.mean(), np.nan, np.nan, low, high, 2 * stats.t.sf(abs(d.mean()) / error, len(d) - 1)]
    columns = ["difference", "low", "high", "others low", "others high", "p others"]
    found = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table, found.assign(**{"p others": intervals.holm(found["p others"])})


def beside(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of `differences` side by side: way of picking -> table becomes two columns of text, with the interval for
    other items too, and Holm's p."""
    columns = {}
    for way, table in found.items():
        ends = table[["difference", "others low", "others high"]].itertuples(index=False)
        columns[way] = [f"{d:+.3f} [{low:+.3f}, {high:+.3f}]" for d, low, high in ends]
        columns[f"p ({way})"] = [f"{p:.2f}" for p in table["p others"]]
    return pd.DataFrame(columns, index=next(iter(found.values())).index)
