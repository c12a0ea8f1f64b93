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

guesses = [
    (ch00.guess, DONE),
    (lambda users: (15, 20, 20), DONE),
    (lambda users: [8, 0, 0], DONE),
    (lambda users: [], STUB),
    (lambda users: users.no, "it raises AttributeError"),
    (lambda users: 12, "return a list of three numbers"),
    (lambda users: [12, 14], "three numbers: who watch most"),
    (lambda users: [12, 14, 21], "a whole number of 0 to 20"),
    (lambda users: [12, 14.5, 17], "a whole number of 0 to 20"),
    (lambda users: ["12", "14", "17"], "a whole number of 0 to 20"),
    (lambda users: [True, 14, 17], "a whole number of 0 to 20"),
    (lambda users: [3, 14, 17], DONE),
]

sentences = [
    (lambda texts: "ac", DONE),
    (lambda texts: ["C", "a"], DONE),
    (lambda texts: "", STUB),
    (lambda texts: texts.no, "it raises AttributeError"),
    (lambda texts: 3, "return letters, such as 'ab'; got 3"),
    (lambda texts: np.ones(2), "return letters, such as 'ab'; got [1, 1]"),
    (lambda texts: "ae", "the letters are a to d"),
    (lambda texts: "abcd", "b: no row compares these two. Facts minus text"),
    (lambda texts: "acd", "d: look at the row"),
    (lambda texts: "c", "a: look at the thin line"),
    (lambda texts: "a", "c: count the dots"),
]

TABLES = {ch00.check_score: scores, ch00.check_guess: guesses, ch00.check_sentences: sentences}
