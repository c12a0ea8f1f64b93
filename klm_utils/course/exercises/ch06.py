"""Checkers of 06_evaluation."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from klm_utils.course.exercises import attempt, head, same, verdict
from klm_utils.evaluation import intervals

MOVED = {"ndcg@3": False, "recall@3": False, "hit_rate@3": False, "map@3": False, "mrr": True, "auc": True}


def unmoved(names: list[str]) -> list[str]:
    """Reference: the metrics that stay as they are."""
    return [name for name in names if not MOVED[name]]


def check_unmoved(fn: Callable) -> None:
    """Say whether these are the metrics that stay when the only hit rises from place 6 to place 5, with k = 3."""
    got = attempt(fn, list(MOVED))
    listed = isinstance(got, list | tuple | set | frozenset) and all(isinstance(name, str) for name in got)
    names = {name.lower() for name in got} if listed else set()
    stay, unknown = set(unmoved(list(MOVED))), sorted(names - set(MOVED))
    verdict(
        [
            (listed and not names, "not done yet: return the names of the metrics that do not move"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not listed, f"return a list of names, such as ['ndcg@3', 'mrr']; got {head(got)}"),
            (bool(unknown), f"there is no {', '.join(unknown)} here: choose among {', '.join(MOVED)}; got {head(got)}"),
            ("auc" in names, "auc compares all pairs of the list: one more pair is in order now"),
            ("mrr" in names, "mrr looks at the whole list here, and the only hit has risen"),
            (names != stay, f"{', '.join(sorted(stay - names))}: the first three places are as they were, so is this"),
        ],
        "what ends at place 3 cannot see places 5 and 6",
    )


def user_ndcg(hits: np.ndarray, relevant: int, k: int) -> float:
    """Reference: nDCG@k of one list, hits 0 or 1 in order, with so many relevant items in all."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    return float((hits[:k] * discount[: len(hits)]).sum() / discount[: min(k, relevant)].sum())


def check_ndcg(fn: Callable) -> None:
    """Say what is right or wrong with the learner's nDCG."""
    hits = np.array([0, 1, 1, 0, 0, 1])
    got, want = attempt(fn, hits, 4, 3), user_ndcg(hits, 4, 3)
    discount = 1 / np.log2(np.arange(2, 8))
    few = attempt(fn, np.array([0, 1, 0, 0, 0, 0]), 1, 3)
    verdict(
        [
            (same(got, 0.0), "not done yet: this list has hits"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, (hits * discount).sum() / discount[:4].sum()), "stop at k: the hit at place 6 does not count"),
            (same(got, (hits[:3] * discount[:3]).sum()), "this is the DCG: divide it by that of the ideal list"),
            (same(got, 2 / 3), "places count: a hit at place 1 is worth more than one at place 3"),
            (same(got, (1 / 2 + 1 / 3) / (1 + 1 / 2 + 1 / 3)), "the discount is 1 / log2(place + 1), not 1 / place"),
            (not same(got, want), f"hits at 2, 3, 6, four relevant, k = 3: expected {want:.4f}, got {head(got)}"),
            (
                same(few, discount[1] / discount[:3].sum()),
                "with one relevant item the ideal list has one hit: divide by the discounts of min(k, relevant) places",
            ),
            (not same(few, discount[1]), f"one relevant item at place 2: expected {discount[1]:.4f}, got {head(few)}"),
            (not same(attempt(fn, np.array([1, 0]), 1, 3), 1.0), "a list may be shorter than k"),
        ],
        "the ideal list has 1",
    )


def corrected(values: np.ndarray, shared: float) -> tuple[float, float]:
    """Reference: 95 % interval of the mean over folds that share rows of train; `shared` is rows of test / train."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.sqrt((1 / len(values) + shared) * np.var(values, ddof=1))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def check_corrected(fn: Callable) -> None:
    """Say what is right or wrong with the learner's interval over folds."""
    values, shared = np.array([0.039, 0.004, -0.004, 0.013, 0.010, 0.014, 0.007, 0.040, 0.029, 0.007]), 0.125
    got, want = attempt(fn, values, shared), corrected(values, shared)
    mean, t, z = values.mean(), stats.t.ppf(0.975, 9), stats.norm.ppf(0.975)

    def ends(half: float) -> tuple[float, float]:
        return mean - half, mean + half

    sd = values.std(ddof=1)
    verdict(
        [
            (same(got, (0.0, 0.0)), "not done yet: an interval of no width"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, ends(t * sd / np.sqrt(10))), "this treats the folds as independent: add `shared` to 1 / K"),
            (same(got, ends(t * sd)), "this is the spread of single folds: the mean of ten is steadier"),
            (same(got, ends(z * np.sqrt(0.1 + shared) * sd)), "ten folds: Student's t with 9 degrees, not the normal"),
            (same(got, ends(t * np.sqrt(0.1 + shared) * values.std())), "divide the squares by K - 1: ddof=1"),
            (same(got, ends(t * (0.1 + shared) * sd)), "take the root of 1 / K + shared"),
            (
                same(got, ends(stats.t.ppf(0.95, 9) * np.sqrt(0.1 + shared) * sd)),
                "2.5 % on each side: t.ppf(0.975, ...)",
            ),
            (same(got, ends(stats.t.ppf(0.975, 10) * np.sqrt(0.1 + shared) * sd)), "K - 1 degrees of freedom"),
            (not same(got, want), f"expected ({want[0]:.4f}, {want[1]:.4f}), got {head(got)}"),
            (not same(attempt(fn, values[:3], 0.2), corrected(values[:3], 0.2)), "with three folds it must widen"),
        ],
        "wider than a naive one, and more honest",
    )


def check_holm(fn: Callable) -> None:
    """Say what is right or wrong with the learner's correction of several p-values."""
    p = np.array([0.04, 0.001, 0.03, 0.012])
    got, want = attempt(fn, p), intervals.holm(p)
    ties = attempt(fn, np.array([0.9, 0.8]))
    order = np.argsort(p)
    loose = (p[order] * np.arange(4, 0, -1))[np.argsort(order)]
    verdict(
        [
            (same(got, p), "not done yet: these are the p-values as they came"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (
                same(got, np.minimum(1, 4 * p)),
                "this is Bonferroni: the smallest is multiplied by 4, the next by 3, ...",
            ),
            (same(got, np.sort(want)), "give them back in the order in which they came"),
            (same(got, (p * np.arange(4, 0, -1))), "sort first: the smallest p gets the largest factor"),
            (same(got, loose), "none may be smaller than one before it: take the running maximum"),
            (not same(got, want), f"expected {np.round(want, 3).tolist()}, got {head(got, 4)}"),
            (not same(ties, intervals.holm([0.9, 0.8])), "a p-value ends at 1"),
        ],
        "rarely wrong in any of them",
    )


def recall_of_new(scores: np.ndarray, train: np.ndarray, test: np.ndarray, k: int) -> float:
    """Reference: recall@k over users, what they met in train left out, users with nothing in test too."""
    top = np.argsort(-np.where(train, -np.inf, scores), axis=1)[:, :k]
    some = test.any(axis=1)
    return float((np.take_along_axis(test, top, axis=1).sum(1)[some] / test.sum(1)[some]).mean())


def check_recall(fn: Callable) -> None:
    """Say which fault of the given recall is left."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(6, 30))
    test = rng.random((6, 30)) < 0.2
    train = ~test & (rng.random((6, 30)) < 0.5)
    scores[train] += 2.0  # a model has learnt what stands in train
    nobody = test.copy()
    nobody[2] = False
    with np.errstate(invalid="ignore"):
        got, other = attempt(fn, scores.copy(), train, test, 5), attempt(fn, scores.copy(), train, nobody, 5)
    want, want_other = recall_of_new(scores, train, test, 5), recall_of_new(scores, train, nobody, 5)
    seen = recall_of_new(scores, np.zeros_like(train), test, 5)
    zero = want_other * 5 / 6
    verdict(
        [
            (
                same(got, seen) and isinstance(other, float) and np.isnan(other),
                "not done yet: this is the code as it was",
            ),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, seen), "one fault is left: look at what fills the first places of a list"),
            (not same(got, want), f"expected {want:.4f}, got {head(got)}"),
            (isinstance(other, Exception), f"with a user who has nothing in test it raises {head(other)}"),
            (isinstance(other, float) and np.isnan(other), "one fault is left: a user with nothing in test is 0 / 0"),
            (same(other, zero), "a user with nothing in test has no recall: leave her out, do not count a 0"),
            (
                not same(other, want_other),
                f"one user has nothing in test: expected {want_other:.4f}, got {head(other)}",
            ),
        ],
        "what was met in train is no news, and who has nothing to find cannot be failed",
    )


FINDINGS = {  # difference, for other users, for other films too, Holm's p of the latter
    "A": (0.030, (0.022, 0.038), (-0.010, 0.070), 0.25),
    "B": (0.012, (0.008, 0.016), (0.004, 0.020), 0.03),
    "C": (0.040, (-0.005, 0.085), (-0.030, 0.110), 0.25),
    "D": (0.020, (0.015, 0.025), (0.001, 0.039), 0.12),
}


def reading(findings: dict) -> tuple[list[str], list[str]]:
    """Reference: who is better for these films, and who for other films too, after the correction."""
    users = [name for name, (_, (low, _), _, _) in findings.items() if low > 0]
    return users, [name for name, (_, _, (low, _), p) in findings.items() if low > 0 and p < 0.05]


def _letters(names) -> bool:
    return isinstance(names, list | tuple | set) and all(isinstance(name, str) for name in names)


def check_reading(fn: Callable) -> None:
    """Say which of the four findings was read wrongly."""
    got = attempt(fn, FINDINGS)
    pair = isinstance(got, tuple | list) and len(got) == 2 and all(map(_letters, got))
    users, others = ({name.upper() for name in one} for one in got) if pair else (set(), set())
    verdict(
        [
            (pair and not users and not others, "not done yet: two lists of letters"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not pair, f"return two lists, such as (['A'], ['B']); got {head(got)}"),
            ("C" in users | others, "C is the largest difference, and even other users may see the opposite"),
            ("A" in others, "A may be -.010 for other films: of these films alone we know more"),
            ("D" in others, "D is one of four claims: alone it would do, after Holm's correction p is .12"),
            (
                users != {"A", "B", "D"},
                f"for these films and other users: look at the first interval; got {sorted(users)}",
            ),
            (others != {"B"}, f"for other films: the second interval and Holm's p; got {sorted(others)}"),
        ],
        "the smallest difference is the surest one",
    )
