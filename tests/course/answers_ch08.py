"""Right, unfinished and wrong answers to the exercises of chapter 8, each with what its checker is to say."""

import numpy as np

from klm_utils.course.exercises import DONE, STUB, ch08

EYE = np.eye

masks = [
    (ch08.mask, DONE),
    (lambda real: [[(s <= t and bool(real[s])) or s == t for s in range(len(real))] for t in range(len(real))], DONE),
    (lambda real: np.ones((len(real), len(real)), dtype=bool), STUB),
    (lambda real: real[9], "it raises IndexError"),
    (lambda real: real, "return a matrix"),
    (lambda real: ch08.mask(real).T, "rows and columns are exchanged"),
    (lambda real: np.outer(real, real) | EYE(len(real), dtype=bool), "a place reads a later one"),
    (lambda real: np.tril(np.ones((len(real), len(real)), dtype=bool)), "place 0 holds no film"),
    (lambda real: ch08.mask(real) & ~EYE(len(real), dtype=bool), "a place reads itself too"),
    (lambda real: np.tril(np.outer(real, real)), "padding must read something"),
    (lambda real: EYE(len(real), dtype=bool), "expected rows"),
    (lambda real: ch08.mask(real) if len(real) > 3 else EYE(2, dtype=bool), "two films without padding"),
]

leaks = [
    (lambda lines: "be", DONE),
    (lambda lines: ["e", "B"], DONE),
    (lambda lines: "", STUB),
    (lambda lines: lines.no, "it raises AttributeError"),
    (lambda lines: 2, "return letters"),
    (lambda lines: "bz", "the letters are a to f"),
    (lambda lines: "abe", "a: the order within a user"),
    (lambda lines: "c", "c: it only counts"),
    (lambda lines: "de", "d: the last row is test"),
    (lambda lines: "bef", "f: it only uses"),
    (lambda lines: "e", "counted before the log is cut"),
    (lambda lines: "b", "which rows does train still hold"),
]

claims = [
    (lambda claims: "bd", DONE),
    (lambda claims: {"D", "b"}, DONE),
    (lambda claims: "", STUB),
    (lambda claims: claims.no, "it raises AttributeError"),
    (lambda claims: None, "return letters"),
    (lambda claims: "bx", "the letters are a to d"),
    (lambda claims: "abd", "a: two things differ"),
    (lambda claims: "bcd", "c: notebook 06"),
    (lambda claims: "d", "b: one thing differs"),
    (lambda claims: "b", "d: the claim is small"),
]


def learner(left=lambda rest, centre: rest - centre, pick=lambda book, rest: ((book - rest) ** 2).sum(1).argmin()):
    """A learner's code with another rest or another choice."""

    def fn(vector, books):
        found, rest = [], vector
        for book in books:
            at = pick(book, rest)
            found.append(at)
            rest = left(rest, book[at])
        return found

    return fn


codes = [
    (ch08.code, DONE),
    (learner(), DONE),
    (lambda vector, books: np.array(learner()(vector, books)), DONE),
    (lambda vector, books: [0] * len(books), STUB),
    (lambda vector, books: books[7], "it raises IndexError"),
    (lambda vector, books: learner()(vector, books)[0], "return one number for each book"),
    (learner(left=lambda rest, centre: rest), "codes what is *left*"),
    (learner(pick=lambda book, rest: (book @ rest).argmax()), "the nearest centre, not"),
    (learner(left=lambda rest, centre: centre - rest), "subtract the centre from the vector"),
    (lambda vector, books: [0, 1], "expected [1, 1]"),
    (lambda vector, books: [*learner()(vector, books[:2]), 0][: len(books)], "a third book"),
]

collisions = [
    (lambda sentences: "ad", DONE),
    (lambda sentences: ["D", "a"], DONE),
    (lambda sentences: "", STUB),
    (lambda sentences: sentences.no, "it raises AttributeError"),
    (lambda sentences: 1.0, "return letters"),
    (lambda sentences: "adk", "the letters are a to d"),
    (lambda sentences: "acd", "c: look at the curve"),
    (lambda sentences: "abd", "b: the codes come from the text"),
    (lambda sentences: "d", "a: the model sees"),
    (lambda sentences: "a", "d: it is spelled like"),
]

orders = [
    (lambda models: "Markov, SASRec", DONE),
    (lambda models: "sasrec and the Markov table", DONE),
    (lambda models: "", STUB),
    (lambda models: [].no, "it raises AttributeError"),
    (lambda models: 7, "return a text"),
    (lambda models: "none", "the names are"),
    (lambda models: "popularity, SASRec, Markov", "popularity does not look"),
    (lambda models: "EASE, SASRec, Markov", "EASE adds up"),
    (lambda models: "SASRec", "reads the last film only"),
    (lambda models: "Markov", "adds a vector of the place"),
]

TABLES = {
    ch08.check_mask: masks,
    ch08.check_leak: leaks,
    ch08.check_claims: claims,
    ch08.check_code: codes,
    ch08.check_collision: collisions,
    ch08.check_order: orders,
}
