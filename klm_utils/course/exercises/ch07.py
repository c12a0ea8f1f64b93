"""Checkers of 07_knowledge."""

from collections.abc import Callable
from typing import Any

import numpy as np

from klm_utils.course.exercises import attempt, head, is_zero, letter_rows, letters, same, shape, verdict
from klm_utils.data.films import FACTS, KNOWN

PAIRS = {
    "a": "Titanic (1997), Titanic (1953)",
    "b": "Star Wars (1977), Star Wars: Episode IV – A New Hope (1977)",
    "c": "Fear (1996), The Fear (1995)",
    "d": "U.S. Marshalls (1998), U.S. Marshals (1998)",
    "e": "Twisted (1996), Twister (1996)",
}
TWO_FILMS = {
    "a": "two films of one name: their years are 44 apart",
    "c": "a name of one word, with another article, in another year: these are two films",
    "e": "one letter makes another film of it, and both are of 1996",
}
NOW = "when the film comes out"


def _names(got: object) -> set[str] | None:
    listed = isinstance(got, list | tuple | set) and all(isinstance(name, str) for name in got)
    return set(got) if listed else None  # type: ignore[call-overload]


def check_pairs(fn: Callable) -> None:
    """Say which pair is no single film, or is missing."""
    got = attempt(fn, PAIRS)
    chosen = letters(got)
    wrong = sorted((chosen or set()) & set(TWO_FILMS))
    verdict(
        [
            (chosen == set(), "not done yet: return letters, such as 'ab'"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (chosen is None, f"return letters, such as 'ab'; got {head(got)}"),
            (bool((chosen or set()) - set(PAIRS)), f"the letters are a to e; got {head(got)}"),
            (bool(wrong), f"{wrong[0]}: {TWO_FILMS[wrong[0]]}; got {head(got)}" if wrong else ""),
            (
                chosen is not None and "b" not in chosen,
                f"b: the year is the same, and one name is a part of the other; got {head(got)}",
            ),
            (
                chosen is not None and "d" not in chosen,
                f"d: one letter differs in a long name of one year; got {head(got)}",
            ),
        ],
        "a year, an article and the length of the name decide",
    )


def alarm(columns: list[str], known: dict[str, str]) -> list[str]:
    """Reference: the columns that a new film does not have, or of which nobody has said."""
    return [column for column in columns if known.get(column) != NOW]


def check_alarm(fn: Callable) -> None:
    """Say which column the learner's alarm misses, or rings for."""
    columns = ["title", "critics", "cast", "oscars", "producer"]
    got, want = attempt(fn, columns, KNOWN), alarm(columns, KNOWN)
    listed, names = _names(got) is not None, _names(got) or set()
    again = attempt(fn, ["critics", "cast"], {"critics": NOW, "cast": "next year"})
    verdict(
        [
            (listed and not names, "not done yet: critics are not known when the film comes out"),
            (isinstance(got, KeyError), "a column may be missing from `known`: known.get(column) gives None then"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not listed, f"return a list of columns; got {head(got)}"),
            (names == set(columns) - set(want), "the other way round: return those that come too late"),
            ("title" in names or "cast" in names, f"title and cast are known {NOW}: no alarm for them"),
            (not {"critics", "oscars"} <= names, f"critics and oscars come later; got {head(got)}"),
            ("producer" not in names, "nobody has said when `producer` is known: ring for it too"),
            (_names(again) == set(), f"ring for whatever is not {NOW!r}: `known` may say 'next year' too"),
            (
                _names(again) != {"cast"},
                f"read `known`, not the names of the columns: where cast comes later, expected ['cast'], "
                f"got {head(again)}",
            ),
        ],
        "what nobody has thought about rings too",
    )


def idf(n: int, c: int) -> float:
    """Reference: the weight of a fact that c of n films hold."""
    return float(np.log((1 + n) / (1 + c)) + 1)


def check_idf(fn: Callable) -> None:
    """Say what is right or wrong with the learner's weight of a fact."""
    got, want = attempt(fn, 1000, 9), idf(1000, 9)
    verdict(
        [
            (same(got, 1.0), "not done yet: a fact of 9 in 1,000 films weighs more than 1"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, np.log(1001 / 10)), "add 1 at the end: a fact that all films hold still weighs 1"),
            (
                any(same(got, np.log(ratio) + 1) for ratio in (1000 / 9, 1000 / 10, 1001 / 9)),
                "both counts have 1 added: a fact that no film holds must not divide by 0",
            ),
            (
                same(got, np.log10(1001 / 10) + 1) or same(got, np.log2(1001 / 10) + 1),
                "ln is the natural logarithm: np.log",
            ),
            (
                any(same(got, np.log(1 + ratio) + end) for ratio in (1000 / 9, 1001 / 10) for end in (0, 1)),
                "add 1 to each of the two counts, not to their ratio",
            ),
            (same(got, np.log(10 / 1001) + 1), "the other way round: a rare fact weighs more"),
            (not same(got, want), f"9 of 1,000 films hold it: expected {want:.4f}, got {head(got)}"),
            (not same(attempt(fn, 5, 5), 1.0), "a fact that all films hold weighs 1"),
        ],
        "the rarer, the heavier",
    )


SENTENCES = {
    "a": "On these films, other users would gain from facts beside the text.",
    "b": "Facts make the title superfluous.",
    "c": "Facts are better than the title (both with genre and year).",
    "d": "Our model gains from facts of films that people have rated.",
    "e": "In the closed form, facts of other films cost about as much as true facts bring.",
}
UNPROVED = {
    "b": "see the last row of the table: the title still adds to facts, and both intervals exclude 0",
    "c": "see the row of genre, year and facts minus text: both intervals contain 0",
    "d": "see the row 'our model, known films': both intervals contain 0",
}
PROVED = {
    "a": "the user interval is about other users of the same films, and it excludes 0 where facts join the text",
    "e": "compare the means of the two rows of the closed form: +.033 and -.034",
}


def check_sentences(fn: Callable) -> None:
    """Say which sentence the tables do not support, or which is missing."""
    proved = {letter: f"{letter}: {why}" for letter, why in PROVED.items()}
    verdict(
        letter_rows(attempt(fn, SENTENCES), SENTENCES, UNPROVED, proved),
        "a sentence is as wide as its row: which model, which films, which users",
    )


def empty() -> dict[str, Any]:
    """A film of which nothing is known; a new one at each call, whose lists nobody else holds."""
    return {"title": "", "year": 1998, "tags": []} | {name: [] for name in FACTS}


EMPTY = empty()


def film(empty: dict[str, Any]) -> dict[str, Any]:
    """Reference: a film that nobody has seen."""
    return {**empty, "title": "The Silent Robot", "tags": ["Sci-Fi"], "directors": ["James Cameron"]}


def check_film(fn: Callable) -> None:
    """Say whether this describes a film with facts."""
    got = attempt(fn, EMPTY)
    made = got if isinstance(got, dict) else {}
    missing, other = sorted(set(EMPTY) - set(made)), sorted(str(name) for name in set(made) - set(EMPTY))
    lists = [name for name in ("tags", *FACTS) if not isinstance(made.get(name), list)]
    texts = [name for name in made if isinstance(made[name], list) and not all(isinstance(x, str) for x in made[name])]
    verdict(
        [
            (made == EMPTY, "not done yet: nothing is known of this film"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not isinstance(got, dict), f"return a dict; got {head(got)}"),
            (bool(missing), f"{', '.join(missing)}: missing; got {head(got)}"),
            (bool(other), f"{', '.join(other)}: no column of a film; the columns are {', '.join(EMPTY)}"),
            (bool(lists), f"{', '.join(lists)}: a list of names, such as ['Woody Allen'], or [] if nothing is known"),
            (bool(texts), f"{', '.join(texts)}: each name is a text"),
            (not isinstance(made.get("title"), str), f"title: a text; got {head(made.get('title'))}"),
            (type(made.get("year")) is not int, f"year: a whole number; got {head(made.get('year'))}"),
            (
                not any(made.get(name) for name in ("directors", "writers", "cast")),
                "name a director or an actor at least",
            ),
        ],
        "a film that only you know",
    )


def pushes(h: np.ndarray, r: np.ndarray, t: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, ...]:
    """Reference: gradients of log(1 + exp(d - d')) of TransE in h, t and the other tail."""
    far, near = h + r - other, h + r - t
    push = 1 / (1 + np.exp((far**2).sum() - (near**2).sum()))
    return 2 * push * (near - far), -2 * push * near, 2 * push * far


def check_pushes(fn: Callable) -> None:
    """Say which of the three gradients is left with a wrong sign, or was right before."""
    h, r, t, other = np.random.default_rng(3).normal(0, 0.5, (4, 3))
    got, want = attempt(fn, h, r, t, other), pushes(h, r, t, other)
    three = isinstance(got, tuple | list) and len(got) == 3
    of_h, of_t, of_other = got if three else (None, None, None)
    far, near = h + r - other, h + r - t
    push = 1 / (1 + np.exp((far**2).sum() - (near**2).sum()))
    right = three and same(of_h, want[0]) and same(of_other, want[2])
    verdict(
        [
            (right and same(of_t, -want[1]), "not done yet: this is the code as it was"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not three, f"return three gradients, of h, of t and of other; got {head(got)}"),
            (
                three and all(same(one, -true) for one, true in zip(got, want, strict=True)),
                "this is the step downhill: the gradient points uphill",
            ),
            (
                three and all(same(one, true / push) for one, true in zip(got, want, strict=True)),
                "the signs are right, but the factor sigmoid(d - d') is gone",
            ),
            (
                three and all(same(one, true * (1 - push) / push) for one, true in zip(got, want, strict=True)),
                "sigmoid(d - d') became sigmoid(d' - d): a triple in order would be pushed hardest",
            ),
            (three and same(of_h, -want[0]), "the gradient in h was right: +2 (h + r - t), less that of the other"),
            (three and same(of_other, -want[2]), "the gradient in other was right: two minus signs are a plus"),
            (three and same(of_t, -want[1]), "t still runs away from h + r: downhill must lead it there"),
            (three and same(of_t, np.zeros(3)), "t must move too: its gradient is not zero"),
            *(
                (not same(one, true), f"in {name}, expected {np.round(true, 3).tolist()}, got {head(one)}")
                for name, one, true in zip(("h", "t", "other"), (of_h, of_t, of_other), want, strict=True)
            ),
        ],
        "d contains -t, so its gradient in t has a minus",
    )


def reach(see: np.ndarray, layers: int) -> np.ndarray:
    """Reference: who can know of whom after so many layers, bool [n, n]; the row is who knows."""
    return np.linalg.matrix_power(see.astype(int), layers) > 0


def check_reach(fn: Callable) -> None:
    """Say what is right or wrong with who can know of whom, where each of four tokens sees the next, and in a tree."""
    see = np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool)
    one, two, three = (attempt(fn, see, layers) for layers in (1, 2, 3))
    want, all_of_three = reach(see, 2), reach(see, 3)
    star = np.eye(4, dtype=bool)  # a title and three facts of one token
    star[0] = star[:, 0] = True
    of_star = attempt(fn, star, 1), attempt(fn, star, 2)
    verdict(
        [
            (is_zero(two), "not done yet: each token knows at least itself"),
            (isinstance(two, Exception), f"it raises {head(two)}"),
            (shape(two) != (4, 4), f"return a matrix of the shape of `see`, here 4 x 4; got {head(two)}"),
            (same(two, see), "this is who sees whom: with two layers a token also knows what those it sees have heard"),
            (same(two, want.T), "rows and columns are exchanged: the row is who knows"),
            (same(two, np.ones((4, 4))), "0 sees only 1, 1 sees 2: after two layers 0 cannot know of 3"),
            (same(two, all_of_three), "one layer too many: after one layer a token knows whom it sees, not more"),
            (same(two, np.linalg.matrix_power(see.astype(int), 2)), "these count the ways: say `> 0`"),
            (
                not same(two, want),
                f"each of four sees the next, two layers: expected {head(want, 16)}, got {head(two, 16)}",
            ),
            (not same(one, see), f"after one layer a token knows whom it sees; got {head(one, 16)}"),
            (
                same(three, want),
                "this is right for two layers, whatever `layers` is: multiply once more for each layer",
            ),
            (
                same(three, all_of_three) and not (same(of_star[0], star) and same(of_star[1], np.ones((4, 4)))),
                "right for a row of tokens, not for a title that all facts see: read `see`",
            ),
            (not same(three, all_of_three), f"three layers: expected {head(all_of_three, 16)}, got {head(three, 16)}"),
        ],
        "what is not seen is heard of",
    )


def settles(share: float, lam: float, sign: int) -> float:
    """Reference: where data and rule loss balance, the weight of the rule being free."""
    return (share + lam * (sign > 0)) / (1 + lam)


def check_settles(fn: Callable) -> None:
    """Say what is right or wrong with the learner's balance between data and rule."""
    share, lam = 0.4, 0.5
    got, want, against = attempt(fn, share, lam, 1), settles(share, lam, 1), attempt(fn, share, lam, -1)
    verdict(
        [
            (same(got, share), "not done yet: with lambda = .5 the rule pulls, p does not stay at the share"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, share + lam), "p + lambda leaves [0, 1]: count the invented rows in the denominator too"),
            (same(got, share + lam * (1 - share)), "this moves by lambda of the way to 1, past it at lambda = 2"),
            (same(got, 1.0), "this is lambda without end: the rule alone, and no data"),
            (same(got, share / (1 + lam)), "a rule that says buys raises p: its invented rows are purchases"),
            (not same(got, want), f"share .4, lambda .5, says buys: expected {want:.4f}, got {head(got)}"),
            (same(against, want), "look at sign: a rule that says 'does not buy' pulls down"),
            (
                not same(against, settles(share, lam, -1)),
                f"the same, says does not buy: expected {settles(share, lam, -1):.4f}, got {head(against)}",
            ),
            (not same(attempt(fn, 0.25, 3.0, 1), settles(0.25, 3.0, 1)), "share .25, lambda 3: expected 0.8125"),
        ],
        "lambda counts invented rows",
    )
