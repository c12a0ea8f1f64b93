"""Checkers of 00_tour."""

from collections.abc import Callable
from typing import Any

import torch

from klm_utils.course.exercises import attempt, head, same, shape, verdict

PARTS = {  # of the score of a new film, and why it is the same for each of them; "" where it is not
    "c": "c is one number for all cells",
    "b_user": "b_user belongs to the user, and the user is one",
    "own * b_film": "own is 0 for a new film, so this is 0, whatever b_film is",
    "own * Q": "own is 0 for a new film, so this is 0, whatever Q is",
    "x @ w": "",
    "x @ W": "",
}
SENTENCES = {
    "a": "",
    "b": "both are compared with genre and year here, not with each other; their intervals overlap widely",
    "c": "every film of this test was hidden; nothing is said of films that many have rated",
    "d": "",
}


def user_scores(
    c: torch.Tensor, b_user: torch.Tensor, b_film: torch.Tensor, P: torch.Tensor, Q: torch.Tensor
) -> torch.Tensor:
    """Reference: the scores of all users and films, float [users, films]."""
    return c + b_user + b_film + P @ Q.T


def check_score(fn: Callable) -> None:
    """Say what is right or wrong with the learner's score of every user and film."""
    draw = torch.Generator().manual_seed(0)
    b_user, b_film = torch.randn(5, 1, generator=draw), torch.randn(7, generator=draw)
    P, Q = torch.randn(5, 3, generator=draw), torch.randn(7, 3, generator=draw)
    c, biases = torch.tensor(-2.7), -2.7 + b_user + b_film
    got, want = attempt(fn, c, b_user, b_film, P, Q), user_scores(c, b_user, b_film, P, Q)
    verdict(
        [
            (same(got, biases), "not done yet: this is the first run, the same order of films for everybody"),
            (isinstance(got, RuntimeError), f"it raises {head(got)}; P is [users, 16], so Q must become [16, films]"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, P @ Q.T), "this is the product alone: add it to the three numbers of the first run"),
            (same(got, biases - P @ Q.T), "the sign is turned round: equal directions must raise the score"),
            (same(got, want.T), "this is [films, users]: P comes first, then Q transposed"),
            (shape(got) != (5, 7), f"for 5 users and 7 films the scores are of shape (5, 7); got {head(got)}"),
            (not same(got, want), f"expected {head(want)}, got {head(got)}"),
        ],
        "one score for each user and film",
    )


def parts(names: list[str]) -> list[str]:
    """Reference: what can differ between two new films."""
    return [name for name in names if not PARTS[name]]


def check_parts(fn: Callable) -> None:
    """Say which part cannot differ between two new films, or is missing."""
    got = attempt(fn, list(PARTS))
    listed = isinstance(got, list | tuple | set) and all(isinstance(name, str) for name in got)
    names = [name.strip() for name in got] if listed else []
    equal = [name for name in names if PARTS.get(name)]
    verdict(
        [
            (listed and not names, "not done yet: return those of the six that can differ"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not listed, f"return a list of names, such as ['c']; got {head(got)}"),
            (bool({*names} - {*PARTS}), f"the names are {', '.join(PARTS)}; got {head(got)}"),
            *[(name in equal, why) for name, why in PARTS.items() if why],
            ("x @ w" not in names, "one is missing: the text has a part of the bias, too"),
            ("x @ W" not in names, "one is missing: which part makes the score differ from user to user?"),
        ],
        "only the text tells one new film from another",
    )


def check_sentences(fn: Callable) -> None:
    """Say which sentence the dots do not support, or is missing."""
    got = attempt(fn, dict(SENTENCES))
    entries: list[Any] = list(got) if isinstance(got, str | list | tuple | set) else [None]
    ok = all(isinstance(one, str) and len(one) == 1 for one in entries)
    letters = {one.lower() for one in entries if one not in " ,"} if ok else set()
    verdict(
        [
            (ok and not letters, "not done yet: return letters, such as 'ab'"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not ok, f"return letters, such as 'ab'; got {head(got)}"),
            (bool(letters - {*SENTENCES}), f"the letters are a to d; got {head(got)}"),
            *[(letter in letters, f"{letter}: {why}; got {head(got)}") for letter, why in SENTENCES.items() if why],
            ("a" not in letters, "a: look at the thin line of the last row: is 0 in it?"),
            ("d" not in letters, "d: count the dots of the last row that are left of 0"),
        ],
        "and no word more than the dots say",
    )
