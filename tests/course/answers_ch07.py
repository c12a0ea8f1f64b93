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
]

idfs = [
    (ch07.idf, DONE),
    (lambda n, c: np.log(1 + n) - np.log(1 + c) + 1, DONE),
    (lambda n, c: 1.0, STUB),
    (lambda n, c: n.no, "it raises AttributeError"),
    (lambda n, c: np.log((1 + n) / (1 + c)), "add 1 at the end"),
    (lambda n, c: np.log(n / c) + 1, "both counts have 1 added"),
    (lambda n, c: np.log10((1 + n) / (1 + c)) + 1, "natural logarithm"),
    (lambda n, c: np.log2((1 + n) / (1 + c)) + 1, "natural logarithm"),
    (lambda n, c: np.log((1 + c) / (1 + n)) + 1, "the other way round"),
    (lambda n, c: n / c, "expected 5.6062"),
    (lambda n, c: ch07.idf(n, c) if n > 5 else 0.0, "all films hold weighs 1"),
]

sentences = [
    (lambda sentences: "ac", DONE),
    (lambda sentences: {"A", "C"}, DONE),
    (lambda sentences: "", STUB),
    (lambda sentences: sentences.no, "it raises AttributeError"),
    (lambda sentences: None, "return letters"),
    (lambda sentences: "az", "the letters are a to d"),
    (lambda sentences: "abc", "b: facts alone"),
    (lambda sentences: "acd", "d: all films in these tables are new"),
    (lambda sentences: "c", "a: look at the interval"),
    (lambda sentences: "a", "c: see the rows of others"),
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
    (lambda empty: FILM | {"directors": []}, "name a director"),
]

TABLES = {
    ch07.check_pairs: pairs,
    ch07.check_alarm: alarms,
    ch07.check_idf: idfs,
    ch07.check_sentences: sentences,
    ch07.check_film: described,
}
