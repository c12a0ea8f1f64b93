"""Record linkage: which row of one table of films is which of another, by title and year alone.

A film has many names ("Seven Samurai (The Magnificent Seven) (Shichinin no samurai)"), and a name many films. So titles
are normalised, candidates are sought among films of about the same year (blocking), and rules are tried from strict to
loose; the first rule that finds exactly one film links it, a rule that finds several ends the search.

Source: Christen 2012, Data Matching, chapters 3 to 6.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import HashingVectorizer

from klm_utils.errors import DataError, check_kind

ARTICLES = {"the", "a", "an", "le", "la", "les", "l", "il", "lo", "gli", "el", "los", "las", "un", "une"}
ARTICLES |= {"der", "die", "das", "ein", "den", "det"}
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
SAME = {"ii": "2", "iii": "3", "iv": "4", "vi": "6", "vii": "7", "viii": "8", "monsieur": "mr", "blvd": "boulevard"}
SAME |= {"colours": "colors"} | {word: str(n) for n, word in enumerate(NUMBERS, 1)}
SPELLING = 0.8  # cosine of letter trigrams from which two titles are one title spelt in two ways
_BRACKETS = re.compile(r"\s*\(([^)]*)\)")
_PARTS = re.compile(r"[:–]| - ")
_YEAR = re.compile(r"\((\d{4})\)")

RULES = (  # from strict to loose
    "same name, same year",
    "same name, a year off",
    "part of the name",
    "name within the name",
    "other spelling",
    "long name, years off",
)


def words(title: str) -> list[str]:
    """What two spellings of a title have in common: no case, accents, articles; numbers as digits.

    >>> words("Three Colours: Blue"), words("Godfather: Part II, The"), words("8½")
    (['3', 'colors', 'blue'], ['godfather', 'part', '2'], ['8', '1', '2'])
    """
    found = _all_words(title)
    while len(found) > 1 and found[0] in ARTICLES:
        found = found[1:]
    while len(found) > 1 and found[-1] in ARTICLES:
        found = found[:-1]
    return [SAME.get(word, word) for word in found]


def _all_words(title: str) -> list[str]:
    text = title.replace("&", " and ").replace("½", " 1/2 ").replace("'", "").replace("’", "")
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", text.casefold())


def names(title: str) -> list[str]:
    """The title, and its other titles, which MovieLens puts in brackets.

    >>> names("Postino, Il (The Postman)")
    ['Postino, Il', 'The Postman']
    """
    own = _BRACKETS.sub("", title).strip() or title
    others = [re.sub(r"^a\.?k\.?a\.? ", "", other, flags=re.I) for other in _BRACKETS.findall(title)]
    return [own, *(other for other in others if not other.isdigit())]


def link(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """For each row of `ours` the row of `theirs` that is the same film, where exactly one is.

    Args:
        ours, theirs: with columns `title` (str) and `year` (missing where unknown).

    Returns:
        under the index of `ours`: `entity`, a label of the index of `theirs` or missing; `rule`, which rule linked it,
        or "" (no candidate), "several" (more than one).

    Raises:
        DataError: a column is missing.
        ConfigError: no table.
    """
    for where, frame in (("link(ours)", ours), ("link(theirs)", theirs)):
        check_kind(where, frame, pd.DataFrame, "a table with title and year")
        if missing := {"title", "year"} - set(frame):
            raise DataError("a column is missing", where, list(frame), ", ".join(sorted(missing)), "rename yours")
    search = Search(theirs)
    found = [search(title, year) for title, year in zip(ours["title"], ours["year"], strict=True)]
    at, rule = zip(*found, strict=True) if found else ((), ())
    entity = pd.Series(theirs.index.to_numpy(dtype=object)[list(at)], index=ours.index, dtype=object)
    return pd.DataFrame({"entity": entity.mask([i < 0 for i in at]), "rule": list(rule)}, index=ours.index)


class Search:
    """Looks films up in a table; called with a title and a year it gives position (-1: none) and rule."""

    def __init__(self, theirs: pd.DataFrame):
        self.year = pd.to_numeric(theirs["year"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        self.of_year: dict[float, list[int]] = defaultdict(list)
        self.whole: dict[str, list[int]] = defaultdict(list)
        self.part: dict[str, list[int]] = defaultdict(list)
        self.title = list(theirs["title"])
        self.words = [words(title) for title in self.title]
        for i, title in enumerate(self.title):
            self.of_year[self.year[i]].append(i)
            for key in {_key(name) for name in names(title)}:
                self.whole[key].append(i)
            for key in {_key(part) for name in names(title) for part in _parts(name)}:
                self.part[key].append(i)
        self.trigrams = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 3), alternate_sign=False)
        self.vectors = self.trigrams.transform(" ".join(own) for own in self.words)
        tries: list[Callable[[list[str], float], Iterable[int]]] = [
            lambda own, year: self._near(self._named(own), year, 0),
            self._year_off,
            self._of_part,
            self._within,
            self._spelt,
            self._long,
        ]
        self.rules = dict(zip(RULES, tries, strict=True))

    def __call__(self, title: str, year: float) -> tuple[int, str]:
        if pd.isna(year) and (written := _YEAR.search(title)):
            year = float(written[1])
        if pd.isna(year):
            return -1, ""
        own = names(title)
        for rule, candidates in self.rules.items():
            found = set(candidates(own, year))
            if found:
                return (found.pop(), rule) if len(found) == 1 else (-1, "several")
        return -1, ""

    def _named(self, own: list[str]) -> list[int]:
        return [i for name in own for i in self.whole.get(_key(name), ())]

    def _year_off(self, own: list[str], year: float) -> list[int]:
        """A name of one word must have the same article: "The Fear" of 1995 is not "Fear" of 1996."""
        near = self._near(self._named(own), year, 1)
        if len(words(own[0])) > 1:
            return near
        return [i for i in near if sorted(_all_words(self.title[i])) == sorted(_all_words(own[0]))]

    def _near(self, candidates: Iterable[int], year: float, most: int) -> list[int]:
        return [i for i in candidates if abs(self.year[i] - year) <= most]

    def _block(self, year: float) -> list[int]:
        return [i for near in (year - 1, year, year + 1) for i in self.of_year.get(near, ())]

    def _of_part(self, own: list[str], year: float) -> list[int]:
        """Their name before or after a colon is ours, or ours theirs."""
        theirs = [i for name in own for i in self.part.get(_key(name), ())]
        ours = [i for name in own for part in _parts(name) for i in self.whole.get(_key(part), ())]
        return self._near([*theirs, *ours], year, 1)

    def _within(self, own: list[str], year: float) -> list[int]:
        """The words of the one are among those of the other, in order; two at least."""
        mine = [word for word in words(own[0]) if word != "and"]
        theirs = {i: [word for word in self.words[i] if word != "and"] for i in self._block(year)}
        return [i for i, other in theirs.items() if min(len(mine), len(other)) > 1 and _in_order(mine, other)]

    def _spelt(self, own: list[str], year: float) -> list[int]:
        """Nearly the same letters, in names of two words or more: Twisted is not Twister. Or one s more at the end."""
        block = self._block(year)
        if not block:
            return []
        mine = [" ".join(words(name)) for name in own]
        alike = (self.vectors[block] @ self.trigrams.transform(mine).T).toarray()
        pairs = [(" ".join(self.words[i]), name) for i in block for name in mine]
        spelt = [" " in a and " " in b and near >= SPELLING for (a, b), near in zip(pairs, alike.flat, strict=True)]
        one_more = [a + "s" == b or b + "s" == a for a, b in pairs]
        return [block[at // len(mine)] for at in np.flatnonzero(np.logical_or(spelt, one_more))]

    def _long(self, own: list[str], year: float) -> list[int]:
        """The only film of a name of three words or more, within ten years: one of the two years is wrong."""
        long = [i for name in own if len(words(name)) > 2 for i in self.whole.get(_key(name), ())]
        return self._near(long, year, 10) if len(set(long)) == 1 else []


def _key(name: str) -> str:
    return "".join(words(name))  # "Good Fellas" and "Goodfellas" are one


def _parts(name: str) -> list[str]:
    parts = _PARTS.split(name)
    return [part for part in parts if len(_key(part)) > 2] if len(parts) > 1 else []


def _in_order(a: list[str], b: list[str]) -> bool:
    """Whether the shorter list is a subsequence of the longer one."""
    short, long = sorted((a, b), key=len)
    rest = iter(long)
    return all(word in rest for word in short)
