"""Right, unfinished and wrong answers to the exercises of chapter 0, each with what its checker is to say."""

import numpy as np

from klm_utils.course.exercises import DONE, STUB, ch00

scores = [
    (ch00.user_scores, DONE),
    (lambda c, bu, bi, P, Q: c + bu + bi + (P[:, None] * Q).sum(2), DONE),
    (lambda c, bu, bi, P, Q: (c + bu + bi + P @ Q.T).tolist(), DONE),
    (lambda c, bu, bi, P, Q: c + bu + bi, STUB),
    (lambda c, bu, bi, P, Q: c + bu + bi + P @ Q, "Q must become [16, films]"),
    (lambda c, bu, bi, P, Q: c + bu + bi + P.dotted(Q), "it raises AttributeError"),
    (lambda c, bu, bi, P, Q: P @ Q.T, "the product alone"),
    (lambda c, bu, bi, P, Q: c + bu + bi - P @ Q.T, "the sign is turned round"),
    (lambda c, bu, bi, P, Q: c + bu.T + bi[:, None] + Q @ P.T, "[films, users]"),
    (lambda c, bu, bi, P, Q: (P @ Q.T).sum(1), "for 5 users and 7 films"),
    (lambda c, bu, bi, P, Q: c + bu + P @ Q.T, "expected ["),
]

parts = [
    (ch00.parts, DONE),
    (lambda names: {"x @ w", " x @ W"}, DONE),
    (lambda names: [], STUB),
    (lambda names: names.no, "it raises AttributeError"),
    (lambda names: "x @ w", "return a list of names"),
    (lambda names: ["text"], "the names are c, b_user"),
    (lambda names: names, "c is one number"),
    (lambda names: ["b_user", "x @ w"], "b_user belongs to the user"),
    (lambda names: ["own * b_film", "x @ w", "x @ W"], "whatever b_film is"),
    (lambda names: ["own * Q", "x @ w", "x @ W"], "whatever Q is"),
    (lambda names: ["x @ W"], "a part of the bias"),
    (lambda names: ["x @ w"], "from user to user"),
]

sentences = [
    (lambda texts: "ad", DONE),
    (lambda texts: ["D", "a"], DONE),
    (lambda texts: "", STUB),
    (lambda texts: texts.no, "it raises AttributeError"),
    (lambda texts: 3, "return letters, such as 'ab'; got 3"),
    (lambda texts: np.ones(2), "return letters, such as 'ab'; got [1, 1]"),
    (lambda texts: "ae", "the letters are a to d"),
    (lambda texts: "abcd", "b: both are compared"),
    (lambda texts: "acd", "c: every film"),
    (lambda texts: "d", "a: look at the thin line"),
    (lambda texts: "a", "d: count the dots"),
]

TABLES = {ch00.check_score: scores, ch00.check_parts: parts, ch00.check_sentences: sentences}
