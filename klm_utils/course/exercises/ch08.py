"""Checkers of 08_sequences."""

from collections.abc import Callable

import numpy as np

from klm_utils.course.exercises import attempt, head, letter_rows, same, shape, verdict


def mask(real: np.ndarray) -> np.ndarray:
    """Reference: which place s may be read at place t, bool [t, s]."""
    return np.tril(np.outer(np.ones(len(real), dtype=bool), real)) | np.eye(len(real), dtype=bool)


def _bools(value: object, n: int) -> np.ndarray:
    """A matrix [n, n] as truth values; of anything else nothing but False."""
    return np.asarray(value).astype(bool) if shape(value) == (n, n) else np.zeros((n, n), dtype=bool)


def check_mask(fn: Callable) -> None:
    """Say which place the learner's mask shows that it must not show, or hides."""
    real = np.array([False, True, True, True])
    got, want = attempt(fn, real), mask(real)
    there, seen = shape(got) == (4, 4), _bools(got, 4)
    verdict(
        [
            (there and bool(seen.all()), "not done yet: each place still reads all places"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not there, f"return a matrix [4, 4] for four places; got {head(got)}"),
            (np.array_equal(seen, want.T), "rows and columns are exchanged: a place reads what comes after it"),
            (bool(np.triu(seen, 1).any()), "a place reads a later one: it would see what it is to guess"),
            (bool(seen[1:, 0].any()), "place 0 holds no film: the others must not read it"),
            (not seen[[1, 2, 3], [1, 2, 3]].all(), "a place reads itself too: the last film says most"),
            (not seen[0, 0], "padding must read something, itself: a softmax over nothing is nan"),
            (not np.array_equal(seen, want), f"expected rows {want.astype(int).tolist()}, got {head(got)}"),
            (
                not np.array_equal(_bools(attempt(fn, np.array([True, True])), 2), [[True, False], [True, True]]),
                "two films without padding: expected [[1, 0], [1, 1]]",
            ),
        ],
        "no place reads what comes after it, and nobody reads padding",
    )


LINES = {
    "a": 'log = log.sort_values(["user_id", "timestamp"])',
    "b": 'share = log["item_id"].value_counts(normalize=True)',
    "c": 'place = log.groupby("user_id").cumcount(ascending=False)',
    "d": "test, valid = log[place == 0], log[place == 1]",
    "e": "train = log[place != 0]",
    "f": "model = Markov(items).fit(histories(train), share)",
}
INNOCENT = {
    "a": "the order within a user is what we need, and no row is lost",
    "c": "it only counts from the end of each user's rows",
    "d": "the last row is test, the one before it is valid: so it should be",
    "f": "it only uses what the lines above made",
}


def check_leak(fn: Callable) -> None:
    """Say which line is innocent, or which leak is missing."""
    missing = {
        "b": "one more: which number is counted before the log is cut?",
        "e": "one more: which rows does train still hold?",
    }
    verdict(
        letter_rows(attempt(fn, LINES), LINES, INNOCENT, missing),
        "the shares know the test rows, and train holds the valid row that picks the epoch",
    )


CLAIMS = {
    "a": "A decoder of codes (softmax) beats SASRec (BCE, one drawn film): codes are better than ids.",
    "b": "Our SASRec with softmax beats our SASRec with BCE: here the loss matters.",
    "c": "Model X ranks the test film above 100 drawn ones more often than SASRec: X is better at full ranking.",
    "d": "SASRec with softmax beats popularity: it learned more than popularity.",
}
UNFAIR = {
    "a": "two things differ, the codes and the loss: nobody knows which one won",
    "c": "notebook 06, section 2: 100 drawn films and full ranking can have two winners",
}


def check_claims(fn: Callable) -> None:
    """Say which claim is not supported, or which supported one is missing."""
    missing = {
        "b": "b: one thing differs, the loss, and the claim names just this",
        "d": "d: the claim is small, and the comparison carries it",
    }
    verdict(letter_rows(attempt(fn, CLAIMS), CLAIMS, UNFAIR, missing), "change one thing, then name it")


def code(vector: np.ndarray, books: list[np.ndarray]) -> list[int]:
    """Reference: the nearest centre of each book to what the books before have left of the vector."""
    found, rest = [], np.asarray(vector, dtype=float)
    for book in books:
        found.append(int(((book - rest) ** 2).sum(1).argmin()))
        rest = rest - book[found[-1]]
    return found


def check_code(fn: Callable) -> None:
    """Say which slip the learner's code shows."""
    vector = np.array([3.0, 1.0])
    books = [np.array([[0.0, 0.0], [4.0, 0.0], [9.0, 9.0]]), np.array([[3.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])]
    got, want = attempt(fn, vector, books), code(vector, books)
    plain = [int(((book - vector) ** 2).sum(1).argmin()) for book in books]
    verdict(
        [
            (same(got, [0, 0]), "not done yet: the first code is still 0"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (shape(got) != (2,), f"return one number for each book, here two; got {head(got)}"),
            (same(got, plain), "the second book codes what is *left*: subtract the centre that you took"),
            (same(got, [2, 2]), "the nearest centre, not the one with the largest product"),
            (same(got, [1, 2]), "subtract the centre from the vector, not the vector from the centre"),
            (not same(got, want), f"expected {want}, got {head(got)}"),
            (
                not same(attempt(fn, vector, [*books, np.array([[9.0, 9.0], [0.0, 0.0]])]), [*want, 1]),
                "a third book codes what the first two have left",
            ),
        ],
        "each book codes what the books before it have left",
    )


SENTENCES = {
    "a": "After any history the model gives films of one code the same probability.",
    "b": "Two films share a code because the same people like them.",
    "c": "With more codes there are fewer collisions, and more new films can be reached.",
    "d": "A new film that has the code of a known one can stand in a list.",
}
UNREAD = {
    "c": "look at the curve: both fall together, for a code that nobody has is a code that no known film has",
    "b": "the codes come from the text alone; no rating was read",
}


def check_collision(fn: Callable) -> None:
    """Say which sentence does not follow, or which is missing."""
    missing = {
        "a": "a: the model sees and spells codes only; what could tell the two apart?",
        "d": "d: it is spelled like the known film, and gets its probability",
    }
    verdict(
        letter_rows(attempt(fn, SENTENCES), SENTENCES, UNREAD, missing),
        "what makes a new film reachable is what makes two films one",
    )


MODELS = ("popularity", "EASE", "Markov", "SASRec")


def check_order(fn: Callable) -> None:
    """Say what the guess on shuffled histories forgets."""
    got = attempt(fn, MODELS)
    name = got.lower().strip() if isinstance(got, str) else None
    chosen = {kind.lower() for kind in MODELS if kind.lower() in (name or "")}
    verdict(
        [
            (name == "", 'not done yet: name the models that change, such as "popularity, EASE"'),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (name is None, f"return a text with names; got {head(got)}"),
            (not chosen, f"the names are popularity, EASE, Markov, SASRec; got {head(got)}"),
            ("popularity" in chosen, "popularity does not look at the history at all"),
            ("ease" in chosen, "EASE adds up what each film of the past says: a sum has no order"),
            ("markov" not in chosen, "the Markov table reads the last film only: which one is last after a shuffle?"),
            ("sasrec" not in chosen, "SASRec adds a vector of the place to each film: it can tell orders apart"),
        ],
        "two of four read the order; whether it helps them, the next cell measures",
    )
