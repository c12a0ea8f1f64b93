"""Right, unfinished and wrong answers to the exercises of chapter 7, each with what its checker is to say."""

import numpy as np

from klm_utils.course.exercises import DONE, STUB, ch07
from klm_utils.course.exercises.ch07 import NOW

pairs = [
    (lambda pairs: "bd", DONE),
    (lambda pairs: ["D", "b"], DONE),
    (lambda pairs: "b, d", DONE),
    (lambda pairs: "", STUB),
    (lambda pairs: pairs.no, "it raises AttributeError"),
    (lambda pairs: 3, "return letters"),
    (lambda pairs: "bf", "the letters are a to e"),
    (lambda pairs: "abd", "a: two films of one name"),
    (lambda pairs: "bcd", "c: a name of one word"),
    (lambda pairs: "bde", "e: one letter makes another film"),
    (lambda pairs: "d", "b: the year is the same"),
    (lambda pairs: "b", "d: one letter differs"),
]

later = ch07.KNOWN["critics"]
alarms = [
    (ch07.alarm, DONE),
    (lambda columns, known: {c for c in columns if c not in known or known[c] != NOW}, DONE),
    (lambda columns, known: [], STUB),
    (lambda columns, known: [c for c in columns if known[c] != NOW], "a column may be missing"),
    (lambda columns, known: columns.no, "it raises AttributeError"),
    (lambda columns, known: True, "return a list"),
    (lambda columns, known: [c for c in columns if known.get(c) == NOW], "the other way round"),
    (lambda columns, known: columns, "no alarm for them"),
    (lambda columns, known: ["critics"], "critics and oscars come later"),
    (lambda columns, known: [c for c in columns if known.get(c, NOW) != NOW], "ring for it too"),
    (lambda columns, known: [c for c in columns if c in ("critics", "oscars", "producer")], "read `known`"),
    (lambda columns, known: [c for c in columns if known.get(c, later) == later], "ring for whatever is not"),
]

idfs = [
    (ch07.idf, DONE),
    (lambda n, c: np.log(1 + n) - np.log(1 + c) + 1, DONE),
    (lambda n, c: 1.0, STUB),
    (lambda n, c: n.no, "it raises AttributeError"),
    (lambda n, c: np.log((1 + n) / (1 + c)), "add 1 at the end"),
    (lambda n, c: np.log(n / c) + 1, "both counts have 1 added"),
    (lambda n, c: np.log(n / (1 + c)) + 1, "both counts have 1 added"),
    (lambda n, c: np.log1p(n / c) + 1, "not to their ratio"),
    (lambda n, c: np.log(1 + (n + 1) / (c + 1)), "not to their ratio"),
    (lambda n, c: np.log(1 + (n + 1) / (c + 1)) + 1, "not to their ratio"),
    (lambda n, c: np.log10((1 + n) / (1 + c)) + 1, "natural logarithm"),
    (lambda n, c: np.log2((1 + n) / (1 + c)) + 1, "natural logarithm"),
    (lambda n, c: np.log((1 + c) / (1 + n)) + 1, "the other way round"),
    (lambda n, c: n / c, "expected 5.6062"),
    (lambda n, c: ch07.idf(n, c) if n > 5 else 0.0, "all films hold weighs 1"),
]

sentences = [
    (lambda sentences: "ae", DONE),
    (lambda sentences: {"A", "E"}, DONE),
    (lambda sentences: "", STUB),
    (lambda sentences: sentences.no, "it raises AttributeError"),
    (lambda sentences: None, "return letters"),
    (lambda sentences: "az", "the letters are a to e"),
    (lambda sentences: "abe", "b: see the last row of the table"),
    (lambda sentences: "ade", "d: see the row 'our model, known films'"),
    (lambda sentences: "ace", "c: see the row of genre, year and facts"),
    (lambda sentences: "a", "e: compare the means"),
    (lambda sentences: "e", "a: the user interval"),
    (lambda sentences: " ", STUB),
]

FILM = ch07.film(ch07.EMPTY)
described = [
    (lambda empty: FILM, DONE),
    (lambda empty: FILM | {"cast": ["Zhang Ziyi"], "directors": []}, DONE),
    (lambda empty: empty, STUB),
    (lambda empty: empty.no, "it raises AttributeError"),
    (lambda empty: "Heat", "return a dict"),
    (lambda empty: {"title": "Heat"}, "cast, countries, directors, languages, tags, writers, year: missing"),
    (lambda empty: FILM | {"cast": "Al Pacino"}, "cast: a list of names"),
    (lambda empty: FILM | {"cast": [7]}, "cast: each name is a text"),
    (lambda empty: FILM | {"title": 7}, "title: a text"),
    (lambda empty: FILM | {"year": "1998"}, "year: a whole number"),
    (lambda empty: FILM | {"year": True}, "year: a whole number"),
    (lambda empty: empty | {"director": ["Ang Lee"]}, "director: no column of a film"),
    (lambda empty: empty | {"countries": ["China"]}, "name a director"),
    (lambda empty: FILM | {"directors": []}, "name a director"),
]


def learner(signs=(1, -1, 1), factor=lambda d, e: 1 / (1 + np.exp(e - d))):
    """A learner's gradients with other signs or another factor."""

    def fn(h, r, t, other):
        far, near = h + r - other, h + r - t
        push = factor((near**2).sum(), (far**2).sum())
        return signs[0] * 2 * push * (near - far), signs[1] * 2 * push * near, signs[2] * 2 * push * far

    return fn


pushes = [
    (ch07.pushes, DONE),
    (learner(), DONE),
    (learner((1, 1, 1)), STUB),
    (learner((1, 1, -1)), "the gradient in other was right"),
    (learner((-1, 1, 1)), "the gradient in h was right"),
    (learner((-1, 1, -1)), "this is the step downhill"),
    (learner(factor=lambda d, e: 1.0), "is gone"),
    (learner(factor=lambda d, e: 1 / (1 + np.exp(d - e))), "became sigmoid(d' - d)"),
    (learner((1, 0, 1)), "t must move too"),
    (lambda h, r, t, other: (0 * h, learner((1, 1, 1))(h, r, t, other)[1], 0 * h), "t still runs away"),
    (lambda h, r, t, other: h + r - t, "return three gradients"),
    (lambda h, r, t, other: h.no, "it raises AttributeError"),
    (learner((1, -2, 1)), "in t, expected"),
    (learner((2, -1, 1)), "in h, expected"),
    (learner((1, -1, 2)), "in other, expected"),
    (lambda h, r, t, other: (ch07.pushes(h, r, t, other)[0][:2], *ch07.pushes(h, r, t, other)[1:]), "in h, expected"),
]

reaches = [
    (ch07.reach, DONE),
    (lambda see, layers: np.linalg.matrix_power(see, layers), DONE),  # bools: `@` is "or" of "and"
    (lambda see, layers: np.zeros_like(see), STUB),
    (lambda see, layers: see[layers, 9], "it raises IndexError"),
    (lambda see, layers: see.any(), "return a matrix of the shape"),
    (lambda see, layers: see, "this is who sees whom"),
    (lambda see, layers: see.astype(int) ** layers > 0, "this is who sees whom"),
    (lambda see, layers: ch07.reach(see, layers).T, "rows and columns are exchanged"),
    (lambda see, layers: np.ones_like(see), "0 sees only 1"),
    (lambda see, layers: ch07.reach(see, layers + 1), "one layer too many"),
    (lambda see, layers: np.linalg.matrix_power(see.astype(int), layers), "these count the ways"),
    (lambda see, layers: ch07.reach(see, layers) & ~np.eye(4, dtype=bool), "each of four sees the next"),
    (lambda see, layers: ch07.reach(see, layers) if layers < 3 else see, "three layers"),
    (lambda see, layers: see @ see if layers > 1 else see, "this is right for two layers"),
    (lambda see, layers: see @ see, "after one layer a token knows whom it sees"),
    (lambda see, layers: np.triu(np.tri(len(see), k=layers, dtype=bool)), "not for a title that all facts see"),
    (lambda see, layers: np.triu(ch07.reach(see, layers)), "not for a title that all facts see"),
]

balances = [
    (ch07.settles, DONE),
    (lambda s, lam, sign: (s + lam * (1 + sign) / 2) / (1 + lam), DONE),
    (lambda s, lam, sign: s, STUB),
    (lambda s, lam, sign: s.no, "it raises AttributeError"),
    (lambda s, lam, sign: s + lam * sign, "count the invented rows in the denominator"),
    (lambda s, lam, sign: s + lam * (1 - s) if sign > 0 else s - lam * s, "lambda of the way"),
    (lambda s, lam, sign: 1.0, "the rule alone"),
    (lambda s, lam, sign: s / (1 + lam), "raises p"),
    (lambda s, lam, sign: (s + lam) / (1 + lam), "look at sign"),
    (lambda s, lam, sign: 0.5, "share .4, lambda .5, says buys"),
    (lambda s, lam, sign: ch07.settles(s, lam, 1) if sign > 0 else s, "the same, says does not buy"),
    (lambda s, lam, sign: ch07.settles(s, lam, sign) if s == 0.4 else s, "share .25, lambda 3"),
]

TABLES = {
    ch07.check_pairs: pairs,
    ch07.check_alarm: alarms,
    ch07.check_idf: idfs,
    ch07.check_sentences: sentences,
    ch07.check_film: described,
    ch07.check_pushes: pushes,
    ch07.check_reach: reaches,
    ch07.check_settles: balances,
}
