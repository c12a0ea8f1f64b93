"""Right, unfinished and wrong answers to the exercises of chapter 6, each with what its checker is to say."""

import numpy as np
from scipy import stats

from klm_utils.course.exercises import DONE, STUB, ch06
from klm_utils.evaluation import intervals

UNMOVED = ["ndcg@3", "recall@3", "hit_rate@3", "map@3"]
unmoved = [
    (ch06.unmoved, DONE),
    (lambda names: {name.upper() for name in UNMOVED}, DONE),
    (lambda names: [], STUB),
    (lambda names: names.no, "it raises AttributeError"),
    (lambda names: "ndcg@3", "return a list of names"),
    (lambda names: [*UNMOVED, "auc"], "auc compares all pairs"),
    (lambda names: [*UNMOVED, "mrr"], "mrr looks at the whole list"),
    (lambda names: ["ndcg@3"], "hit_rate@3, map@3, recall@3: the first three"),
    (lambda names: ["precision"], "there is no precision here"),
]


def ndcg(discount=lambda place: 1 / np.log2(place + 1), ideal=min, cut=True):
    """A learner's nDCG with another discount, ideal list or end."""

    def fn(hits, relevant, k):
        places = np.arange(1, max(len(hits), k) + 1)
        own = hits[:k] if cut else hits
        return (own * discount(places[: len(own)])).sum() / discount(places[: ideal(k, relevant)]).sum()

    return fn


ndcgs = [
    (ch06.user_ndcg, DONE),
    (ndcg(), DONE),
    (lambda hits, relevant, k: 0.0, STUB),
    (lambda hits, relevant, k: hits[k, 0], "it raises IndexError"),
    (ndcg(cut=False, ideal=lambda k, relevant: relevant), "stop at k"),
    (lambda hits, relevant, k: (hits[:k] / np.log2(np.arange(2, len(hits[:k]) + 2))).sum(), "this is the DCG"),
    (lambda hits, relevant, k: hits[:k].mean(), "places count"),
    (ndcg(lambda place: 1 / place), "not 1 / place"),
    (ndcg(ideal=lambda k, relevant: k), "min(k, relevant)"),
    (lambda hits, relevant, k: 0.7, "expected 0.5307"),
    (lambda hits, relevant, k: ndcg()(hits, relevant, k) if relevant > 1 else 0.1, "one relevant item at place 2"),
    (
        lambda hits, relevant, k: (
            (hits[:k] / np.log2(np.arange(2, k + 2))).sum() / (1 / np.log2(np.arange(2, min(k, relevant) + 2))).sum()
        ),
        "shorter than k",
    ),
]


def over(variance=lambda v, s: (1 / len(v) + s) * np.var(v, ddof=1), t=lambda v: stats.t.ppf(0.975, len(v) - 1)):
    """A learner's interval with another variance or quantile."""

    def fn(values, shared):
        half = t(values) * np.sqrt(variance(values, shared))
        return values.mean() - half, values.mean() + half

    return fn


def fixed(values, shared):
    return ch06.corrected(values, 0.125)


corrections = [
    (ch06.corrected, DONE),
    (over(), DONE),
    (lambda values, shared: (0.0, 0.0), STUB),
    (lambda values, shared: values.no(), "it raises AttributeError"),
    (over(lambda v, s: np.var(v, ddof=1) / len(v)), "folds as independent"),
    (over(lambda v, s: np.var(v, ddof=1)), "spread of single folds"),
    (over(t=lambda v: stats.norm.ppf(0.975)), "not the normal"),
    (over(lambda v, s: (1 / len(v) + s) * np.var(v)), "ddof=1"),
    (over(lambda v, s: (1 / len(v) + s) ** 2 * np.var(v, ddof=1)), "take the root"),
    (over(t=lambda v: stats.t.ppf(0.95, len(v) - 1)), "on each side"),
    (over(t=lambda v: stats.t.ppf(0.975, len(v))), "degrees of freedom"),
    (lambda values, shared: ch06.corrected(values, 0.3), "expected (-0.0002, 0.0320)"),
    (fixed, "with three folds"),
]


def stepped(p):
    order = np.argsort(p)
    return (np.asarray(p)[order] * np.arange(len(p), 0, -1))[np.argsort(order)]


def uncapped(p):
    order = np.argsort(p)
    return np.maximum.accumulate(stepped(p)[order])[np.argsort(order)]


holms = [
    (intervals.holm, DONE),
    (lambda p: p, STUB),
    (lambda p: p["a"], "it raises IndexError"),
    (lambda p: np.minimum(1, p * len(p)), "this is Bonferroni"),
    (lambda p: np.sort(intervals.holm(p)), "in the order in which they came"),
    (lambda p: p * np.arange(len(p), 0, -1), "sort first"),
    (stepped, "running maximum"),
    (lambda p: np.maximum(intervals.holm(p), 0.5), "expected [0.06, 0.004, 0.06, 0.036]"),
    (uncapped, "a p-value ends at 1"),
]


def recall(unseen=True, nobody="out"):
    """A learner's recall with or without the two faults."""

    def fn(scores, train, test, k):
        top = np.argsort(-np.where(train, -np.inf, scores) if unseen else -scores, axis=1)[:, :k]
        hits, relevant = np.take_along_axis(test, top, axis=1).sum(1), test.sum(1)
        if nobody == "out":
            hits, relevant = hits[relevant > 0], relevant[relevant > 0]
        return float((hits / (np.maximum(relevant, 1) if nobody == "zero" else relevant)).mean())

    return fn


def fails_without(scores, train, test, k):
    if not test.any(1).all():
        raise ValueError("nobody")
    return ch06.recall_of_new(scores, train, test, k)


recalls = [
    (ch06.recall_of_new, DONE),
    (recall(), DONE),
    (recall(unseen=False, nobody="nan"), STUB),
    (lambda scores, train, test, k: scores.no, "it raises AttributeError"),
    (recall(unseen=False), "what fills the first places"),
    (lambda scores, train, test, k: 0.5, "expected"),
    (recall(nobody="nan"), "is 0 / 0"),
    (recall(nobody="zero"), "do not count a 0"),
    (fails_without, "with a user who has nothing in test it raises ValueError"),
    (lambda s, train, test, k: ch06.recall_of_new(s, train, test, k) if test.any(1).all() else 0.1, "one user has"),
]

readings = [
    (ch06.reading, DONE),
    (lambda found: ({"a", "b", "d"}, ["b"]), DONE),
    (lambda found: ([], []), STUB),
    (lambda found: found["E"], "it raises KeyError"),
    (lambda found: "B", "return two lists"),
    (lambda found: (["A", "B", "C"], []), "C is the largest"),
    (lambda found: (["A", "B", "D"], ["A", "B"]), "of these films alone"),
    (lambda found: (["A", "B", "D"], ["B", "D"]), "D is one of four claims"),
    (lambda found: (["B"], ["B"]), "look at the first interval"),
    (lambda found: (["A", "B", "D"], []), "the second interval and"),
]

TABLES = {
    ch06.check_unmoved: unmoved,
    ch06.check_ndcg: ndcgs,
    ch06.check_corrected: corrections,
    ch06.check_holm: holms,
    ch06.check_recall: recalls,
    ch06.check_reading: readings,
}
