"""What comes next? Each row of a part is asked of the history before it, by full ranking."""

from dataclasses import replace

import numpy as np
import pandas as pd

from klm_utils.data.catalogue import find
from klm_utils.data.histories import counted, histories
from klm_utils.data.splits import Split
from klm_utils.errors import ConfigError, DataError, check_choice, check_seed, check_whole
from klm_utils.evaluation import intervals, metrics
from klm_utils.evaluation.ranking import check_split, model_name
from klm_utils.evaluation.report import Report, fingerprint, report_of

AT_ONCE = 512  # rows


def evaluate_next(
    model,
    split: Split,
    k: int = 10,
    *,
    part: str = "test",
    among: str = "all",
    ties: str = "none",
    most: int | None = None,
    level: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
) -> Report:
    """For each chosen row of a part: all items that its user has not met are ranked by `model.predict(history)`.

    The history of a row is what its user chose before it, in train, valid and, for rows of test, in test itself: the
    model is asked again after each choice, as a shop would, and never trained on what it is asked about.

    Args:
        model: has `items` and `predict(histories) -> [n, items]`, see `klm_utils.models.next_item`.
        split: a `Split`.
        k: length of the lists.
        part: "test" or "valid".
        among: "all" items, or those of the "part": the new ones of a cold_item split among themselves.
        ties: "none": what bears the same second as the row is not before it. "order": all that stands above it in the
            log is, as sequence papers have it, although the order within a second is that of a file.
        most: so many rows at most, drawn by chance, the same for every model; None: all.
        level, n_boot, seed: the intervals; seed also orders tied scores.

    Returns:
        A report with ndcg@k, hit_rate@k and mrr, means over rows. `paired_gain` of two of them has both intervals,
        for other users and for other items too (two-way).

    Raises:
        ConfigError: an argument without meaning, or a model that was asked about other items.
        DataError: no row to ask about; scores of the wrong shape, or not finite.

    Source: Ji et al. 2023, A critical study on data leakage in recommender system offline evaluation (why by time).
    """
    check_split("evaluate_next(split)", split)
    k, seed = check_whole("k", k), check_seed(seed, "seed")
    check_choice("part", part, ("test", "valid"))
    check_choice("among", among, ("all", "part"))
    check_choice("ties", ties, ("none", "order"))
    intervals.check_draws(level, n_boot, seed)
    rows, items = asked(split, part, ties, most), split.dataset.items.index
    if not items.equals(getattr(model, "items", None)):
        what, remedy = "the model does not score the items of this data set", "build it with split.dataset.items.index"
        raise ConfigError(what, "evaluate_next(model)", type(model).__name__, f"items: {len(items)} ids", remedy)
    candidates = items.isin(getattr(split, part)["item_id"]) if among == "part" else None
    values = rank_next(model, rows, k, seed, candidates)
    users, of = rows["user_id"].to_numpy(), rows["item_id"].to_numpy()
    statistics = {name: intervals.mean_over_rows(users, value, of) for name, value in values.items()}
    how = "what bears the same second is not before it" if ties == "none" else "by the order of the log"
    what = f"{len(rows)} choices of {rows['user_id'].nunique()} users, each from those before it ({how})"
    which = f"all {len(items)} items" if candidates is None else f"the {candidates.sum()} items of the part"
    protocol = f"{split.protocol} | {part}: {what}; full ranking of {which}, without those met before"
    setting = (split.dataset.name, split.name, part, "interaction", k)
    report = report_of(statistics, model_name(model), protocol, setting, (fingerprint(rows),), level, n_boot, seed)
    return replace(report, by_run=(report.metrics,), shared=len(rows) / max(1, len(split.train)))


def rank_next(
    model, rows: pd.DataFrame, k: int = 10, seed: int = 0, candidates: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """ndcg@k, hit_rate@k and reciprocal rank (mrr) of each row of `asked`, float [rows] each.

    candidates: which items are ranked, bool [items]; None: all.
    """
    past, target = rows["history"].tolist(), find(model.items, rows["item_id"], "rows")
    names, rng, found = (f"ndcg@{k}", f"hit_rate@{k}", "mrr"), np.random.default_rng(seed), []
    for at in range(0, len(rows), AT_ONCE):
        chunk = slice(at, at + AT_ONCE)
        scores = _scores(model, past[chunk], len(model.items))
        scores[counted(past[chunk], model.items) > 0] = -np.inf
        if candidates is not None:
            scores[:, ~candidates] = -np.inf
        relevant = np.zeros(scores.shape)
        relevant[np.arange(len(scores)), target[chunk]] = 1
        hits, count, _ = metrics.ranked_hits(relevant, scores, rng)
        ranks = metrics.user_reciprocal_rank(hits, count, hits.shape[1])
        found.append((metrics.user_ndcg(hits, count, k), metrics.user_hit(hits, count, k), ranks))
    return {name: np.concatenate(values) for name, values in zip(names, zip(*found, strict=True), strict=True)}


def asked(split: Split, part: str = "test", ties: str = "none", most: int | None = None) -> pd.DataFrame:
    """The chosen rows of a part with their `history`, a list of ids; without rows of no history, and of items met.

    most: so many of them at most, drawn by chance; None: all.
    """
    before = [split.train, split.shown, split.valid, split.test][: 3 if part == "valid" else 4]
    log = split.dataset.chosen(pd.concat([frame for frame in before if len(frame)]).sort_index())
    rows = split.dataset.chosen(getattr(split, part)).copy()
    if ties == "order":
        place = pd.Series(np.arange(len(log)), index=log.index)
        log, times = log.assign(timestamp=place), place.loc[rows.index]
    else:
        times = rows["timestamp"]
    rows["history"] = histories(log, rows.assign(timestamp=times), max(1, len(log)))
    new = [len(past) > 0 and item not in past for item, past in zip(rows["item_id"], rows["history"], strict=True)]
    if not any(new):
        where, expected = f"split.{part} of {split.name!r}", "a chosen row of an item not met, after another choice"
        raise DataError("There is nothing to ask about", where, f"{len(rows)} rows", expected, "use more data")
    rows = rows[new]
    if most is None or len(rows) <= check_whole("most", most):
        return rows
    return rows.iloc[np.sort(np.random.default_rng(0).permutation(len(rows))[:most])]


def sequences(split: Split) -> list[list]:
    """What each user chose in train, ids in the order of the log; of the users with two choices or more."""
    chosen = split.dataset.chosen(split.train).sort_index()
    found = chosen.groupby("user_id", sort=True)["item_id"].agg(list)
    return [items for items in found if len(items) > 1]


def _scores(model, past: list[list], width: int) -> np.ndarray:
    scores = metrics.numbers(model.predict(past), f"{model_name(model)}.predict")
    if scores.shape != (len(past), width) or not np.isfinite(scores).all():
        found = scores.shape if scores.shape != (len(past), width) else "values that are not finite"
        expected, remedy = f"({len(past)}, {width}) finite numbers", "a row per history, a column per item"
        raise DataError(
            "The model returns no score for each item", f"{model_name(model)}.predict", found, expected, remedy
        )
    return scores.copy()
