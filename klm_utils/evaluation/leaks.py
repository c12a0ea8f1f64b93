"""Two alarms for answers among the inputs: better than the true probabilities, and predictions that follow the labels.

`evaluate` sets off the first one by itself wherever the true probabilities are known (simulated data). The second one
needs no truth but a second fit: `changes_with_labels`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.stats import rankdata

from klm_utils.data.splits import PARTS, Split
from klm_utils.errors import LeakError, check_kind
from klm_utils.evaluation import intervals, ranking
from klm_utils.evaluation.intervals import divide, row_losses

LEVEL, DRAWS = 0.999, 4000
DRAWS_AT_ONCE = 100


def leak_alarm(users: np.ndarray, y: np.ndarray, p: np.ndarray, optimum: np.ndarray, *, model: str, where: str) -> None:
    """Raise `LeakError` if a model is better than the true probabilities by more than chance.

    No model that does not know the labels has a higher expected AUC or a lower expected log loss than the true
    probabilities. Where one has in the sample, two tests must agree that this is no luck, else there is no alarm:
    labels drawn anew from `optimum` let the same predictions win by so much at most once in 2,000 times, and the
    99.9 % interval of the difference by the paired bootstrap over users excludes 0. The first holds for any number of
    rows and users; the second if the labels of one user hang together, as when a purchase makes the next more likely.
    (Of a single user there is no interval, and the first decides.)
    (Then `optimum`, which knows the past, is the best possible on a temporal split only: on the others train also holds
    rows of later times.)

    Args:
        users, y, p, optimum: user, label, prediction and true probability of label 1 of each row, [n].
        model, where: what the message calls the model and the rows.
    """
    for metric, gain, of in (
        ("auc", _auc_gain(p, optimum), intervals.pooled_auc),
        ("logloss", _logloss_gain(p, optimum), intervals.logloss),
    ):
        better = gain(y[None])[0]
        if not better > 0 or _chance(gain, better, optimum) > (1 - LEVEL) / 2:
            continue
        reached, best = of(users, y, p), of(users, y, optimum)
        first, second = (reached, best) if metric == "auc" else (best, reached)
        low, high = intervals.interval(intervals.difference(first, second), LEVEL, DRAWS)
        if low > 0 or len(reached.users) == 1:
            raise LeakError(
                f"The model {model!r} is better than the true probabilities: it knows answers",
                where,
                f"{metric} {reached.estimate():.4f}, of the true probabilities {best.estimate():.4f}; "
                f"better by {better:.4f} [{low:.4f}, {high:.4f}], 99.9 % paired bootstrap over users",
                "not better than the true probabilities but by chance",
                "look for the labels among the inputs: rows of valid or test in a history, statistics fitted "
                "on all data, ids or a file order that tell the label",
            )


def _auc_gain(p: np.ndarray, optimum: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """AUC of p minus that of the optimum, as a function of labels [draws, n] -> [draws]."""
    ranks = rankdata(p) - rankdata(optimum)
    return lambda y: divide(y @ ranks, y.sum(1) * (1 - y).sum(1))


def _logloss_gain(p: np.ndarray, optimum: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Log loss of the optimum minus that of p, in the same way."""
    if_0, if_1 = (row_losses(np.full(len(p), c), optimum) - row_losses(np.full(len(p), c), p) for c in (0, 1))
    return lambda y: (y @ if_1 + (1 - y) @ if_0) / len(p)


def _chance(gain: Callable, better: float, optimum: np.ndarray) -> float:
    """How often labels drawn from the optimum yield a gain of at least `better`; the observed one counts as drawn.

    Source: Phipson and Smyth 2010, Permutation p-values should never be zero.
    """
    rng, as_good = np.random.default_rng(0), 1
    for _ in range(0, DRAWS, DRAWS_AT_ONCE):
        drawn = rng.random((DRAWS_AT_ONCE, len(optimum))) < optimum
        as_good += int((gain(drawn.astype(np.float64)) >= better - 1e-12).sum())  # equal but for rounding is equal
    return as_good / (DRAWS + 1)


def changes_with_labels(fit: Callable, split: Split) -> float:
    """Fit twice, the second time with the labels of test reversed: the largest change of a prediction on test.

    0.0 means that the labels of test were not read: predictions are then the same to the last bit. Anything else is a
    leak, or chance in `fit`, which must therefore be seeded. All that `fit` uses must come from the split it is given:
    what was computed before, or is read from a file, cannot change and is not seen here. Nor is a use of the *rows* of
    test whatever their label, or of columns other than `label` and `rating`.

    Args:
        fit: split -> anything with `predict(user_ids, item_ids)`, such as `lambda split: BiasALS().fit(split)`.
        split: a `Split`; it is not changed.

    Raises:
        ConfigError: `fit` cannot be called, or what it returns has no predict; no split.
    """
    check_kind("changes_with_labels(fit)", fit, Callable, "a function: split -> model", "lambda s: EASE().fit(s)")
    check_kind("changes_with_labels(split)", split, Split, "a Split", "klm.split(ds, ...)")
    users, items = (split.test[column].to_numpy() for column in ("user_id", "item_id"))
    found = []
    for one in (split, _reversed(split)):
        model = fit(one)
        ranking.check_model("changes_with_labels(fit), what it returns", model)
        found.append(ranking.predict(model, users, items))
    return float(np.abs(found[1] - found[0]).max())


def _reversed(split: Split) -> Split:
    """The same split of the same rows, but each row of test has the other label and what goes with it.

    Its rating is one that the log gives to the other label (so the two agree, whatever the threshold), its optimum
    1 - optimum.
    """
    data, rows = split.dataset, split.test.index
    log, optimum = data.interactions.copy(), None if data.optimum is None else data.optimum.copy()
    for label in (0, 1):
        turned = rows[split.test["label"] == label]
        ratings = data.interactions.loc[data.interactions["label"] == 1 - label, "rating"]
        log.loc[turned, "label"] = 1 - label
        log.loc[turned, "rating"] = np.resize(ratings, len(turned))
    if optimum is not None:
        optimum[rows] = 1 - optimum[rows]
    data = replace(data, interactions=log, optimum=optimum)
    return replace(split, dataset=data, **{part: data.interactions.loc[getattr(split, part).index] for part in PARTS})
