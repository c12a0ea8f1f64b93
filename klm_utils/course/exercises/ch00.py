"""Checkers of 00_tour."""

from collections.abc import Callable
from typing import Any

import torch

from klm_utils.course.exercises import attempt, head, same, shape, verdict

USERS = 20
DRAWN = 8  # of 20 drawn users so many watch the film: 39 % of all users did
SENTENCES = {
    "a": "",
    "b": "no row compares these two. Facts minus text, film by film of the same folds, is +0.004: other users "
    "[-0.001, 0.009], other films too [-0.019, 0.028]. Both contain 0",
    "c": "",
    "d": "look at the row 'both minus facts': is 0 in one of its lines?",
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


def guess(users: int) -> list[int]:
    """One guess, as good as another; the picture shows that it is wrong about the title."""
    return [12, 14, 17]


def check_guess(fn: Callable) -> None:
    """Say whether these are three guesses that can be drawn; which of them come true the picture says."""
    got = attempt(fn, USERS)
    listed = isinstance(got, list | tuple)
    whole = listed and all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= USERS for one in got)
    low = whole and len(got) == 3 and got[0] < DRAWN
    verdict(
        [
            (listed and not len(got), "not done yet: return three numbers, each of 0 to 20"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not listed, f"return a list of three numbers, such as [1, 2, 3]; got {head(got)}"),
            (listed and len(got) != 3, f"three numbers: who watch most, year and genres, title too; got {head(got)}"),
            (not whole, f"each is a whole number of 0 to 20 users; got {head(got)}"),
        ],
        "three guesses; the picture draws them"
        + (f" (your first is below {DRAWN}, what drawn users reach)" if low else ""),
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
            ("a" not in letters, "a: look at the thin line of the second row: is 0 in it?"),
            ("c" not in letters, "c: count the dots of the first row that are left of 0"),
        ],
        "and no word more than the dots say",
    )
