"""Checkers of 05_end_to_end_training."""

from collections.abc import Callable

import numpy as np
import torch

from klm_utils.course.exercises import attempt, head, letters, same, shape, verdict


def best_epoch(valid: list[float], patience: int) -> tuple[int, int]:
    """Reference: (epoch kept, last epoch run), counted from 1; stop once `patience` epochs brought nothing better."""
    best = 1
    for epoch, value in enumerate(valid, start=1):
        if value > valid[best - 1]:
            best = epoch
        if epoch - best >= patience:
            return best, epoch
    return best, len(valid)


def check_best_epoch(fn: Callable) -> None:
    """Say what is right or wrong with the learner's early stopping."""
    valid = [0.60, 0.70, 0.69, 0.71, 0.70, 0.70, 0.69, 0.68, 0.90, 0.80]
    got, at_once, spare = attempt(fn, valid, 3), attempt(fn, valid, 1), attempt(fn, [0.1, 0.2], 5)
    verdict(
        [
            (same(got, (10, 10)), "not done yet: this runs all epochs and keeps the last one"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, (9, 10)), "epoch 9 is never reached: three in vain after epoch 4, and training has stopped"),
            (same(got, (9, 7)), "the best of all epochs lies behind the stop: you cannot know it yet"),
            (same(got, (7, 7)), "it stops in time but keeps the last weights: keep those of the best epoch"),
            (same(got, (4, 6)), "patience 3 means three in a row without a better value: you stop too early"),
            (same(got, (4, 8)), "patience 3 means three in a row without a better value: you stop too late"),
            (same(got, (4, 10)), "it never stops: epochs after the seventh are wasted"),
            (same(got, (3, 6)), "count the epochs from 1"),
            (not same(got, (4, 7)), f"expected (4, 7): best in 4, three in vain, stop after 7; got {head(got)}"),
            (not same(at_once, (2, 3)), f"with patience 1 expected (2, 3), got {head(at_once)}"),
            (
                not same(attempt(fn, [0.70, 0.60, 0.65, 0.62], 2), (1, 3)),
                "compare with the best value so far, not with the one before",
            ),
            (not same(attempt(fn, [0.5, 0.5, 0.5], 2), (1, 3)), "an equal value is not a better one"),
            (not same(spare, (2, 2)), f"with patience to spare it runs to the end: expected (2, 2), got {head(spare)}"),
            (not same(attempt(fn, [-3.0, -4.0], 1), (1, 2)), "start from the first value, it may lie below zero"),
        ],
        "valid picks, and the best weights are kept",
    )


def lora(x: torch.Tensor, W: torch.Tensor, b: torch.Tensor, A: torch.Tensor, B: torch.Tensor, alpha: float):
    """Reference: x W' + b + alpha / r * x A' B', for A [r, in] and B [out, r]."""
    return x @ W.T + b + alpha / len(A) * (x @ A.T @ B.T)


def check_lora(fn: Callable) -> None:
    """Say what is right or wrong with the learner's LoRA."""
    draw = torch.Generator().manual_seed(0)
    x, W, b = (torch.randn(*size, generator=draw) for size in ((5, 4), (3, 4), (3,)))
    A, B, alpha = torch.randn(2, 4, generator=draw), torch.randn(3, 2, generator=draw), 6.0
    got, start = attempt(fn, x, W, b, A, B, alpha), attempt(fn, x, W, b, A, 0 * B, alpha)
    plain, extra = x @ W.T + b, x @ A.T @ B.T
    wide = torch.cat([A, A]), torch.cat([B, B], 1)  # of rank 4
    many = [(plain + extra, "alpha / r is missing"), (plain + alpha * extra, "divide alpha by the rank, len(A)")]
    verdict(
        [
            (same(got, plain), "not done yet: this is the map without LoRA"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            *((same(got, wrong), message) for wrong, message in many),
            (same(got, 3 * extra), "add it to the map, do not replace the map"),
            (same(got, plain - b + 3 * extra), "the bias is lost"),
            (same(got, plain + alpha / 8 * extra, 1e-4), "r is not always 8: it is the number of rows of A"),
            (same(got, plain + alpha / 4 * extra), "r is the rank, the smaller side of A"),
            (not same(start, plain), f"with B = 0 it must be the map itself, got {head(start)}"),
            (not same(got, plain + 3 * extra, 1e-4), f"expected {head(plain + 3 * extra)}, got {head(got)}"),
            (not same(attempt(fn, x, W, b, *wide, alpha), plain + 3 * extra, 1e-4), "r is not always 2: it is len(A)"),
        ],
        "as at the start where B is zero, and few numbers to train",
    )


def grouped(items: torch.Tensor, read, users: torch.Tensor) -> torch.Tensor:
    """Reference: scores of rows, where each item is read once: read(int [k]) -> [k, width]; users float [n, width]."""
    some, place = items.unique(return_inverse=True)
    return (read(some)[place] * users).sum(1)


def check_grouped(fn: Callable) -> None:
    """Say what is right or wrong with the learner's item-grouped batch."""
    draw = torch.Generator().manual_seed(0)
    items = torch.tensor([7, 2, 7, 7, 9, 2, 7])
    users, table = torch.randn(7, 3, generator=draw), torch.randn(10, 3, generator=draw)
    true, log = torch.zeros(10, 3).index_add(0, items, users), []

    def run():
        vectors = table.clone().requires_grad_(True)

        def read(some):
            log.append(len(some))
            return vectors[some]

        scores = fn(items.clone(), read, users.clone())
        if not torch.is_grad_enabled():  # turned off by fn: then there is no gradient to look at
            return scores, true
        return scores, torch.autograd.grad(scores.sum(), vectors)[0] if getattr(scores, "grad_fn", None) else None

    found = attempt(run)
    got, slope = found if isinstance(found, tuple) else (found, None)
    want, calls, texts = (table[items] * users).sum(1), len(log), sum(log)
    verdict(
        [
            (same(got, want, 1e-4) and texts == 7 and calls == 1, "not done yet: 7 rows, 7 texts read, 3 would do"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (shape(got) != (7,), f"one score for each row: expected shape (7,), got {head(got)}"),
            (calls == 0, "nothing was read: call read with the items"),
            (not same(got, want, 1e-4), f"expected {head(want)}, got {head(got)}: bring each vector to its rows"),
            (texts > 3, f"{texts} texts were read for 3 different items"),
            (calls > 1, f"read was called {calls} times: one call makes one batch"),
            (not same(slope, true, 1e-4), "the gradient of all rows of an item must reach its text: no detach"),
        ],
        "each text is read once, and all of its rows share the gradient",
    )


LAYERS = {"frozen": 0, "adapter": 6, "partial": 2, "full": 6}  # through which the gradient passes, of six


def depth(modes: list[str]) -> dict[str, int]:
    """Reference: how many of the six layers the gradient passes through, by mode."""
    return {mode: LAYERS[mode] for mode in modes}


def check_depth(fn: Callable) -> None:
    """Say for which mode the learner sends the gradient too far, or not far enough."""
    got = attempt(fn, list(LAYERS))
    whole = isinstance(got, dict) and all(isinstance(n, int | np.integer) for n in got.values())
    found: dict = got if whole and isinstance(got, dict) else {}
    verdict(
        [
            (whole and found == dict.fromkeys(LAYERS, 0), "not done yet: in three modes the language model learns"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not whole or set(found) != set(LAYERS), f"return a number of layers for each mode, got {head(got)}"),
            (any(not 0 <= n <= 6 for n in found.values()), f"there are six layers, from 0 to 6; got {head(got)}"),
            (found.get("frozen") != 0, "frozen: nothing below the fusion learns, so nothing asks for a gradient there"),
            (found.get("full") != 6, "full: all six layers learn, layer 1 too, so the gradient must pass them all"),
            (found.get("partial") != 2, "partial: the last two layers learn, and below them nothing asks"),
            (
                found.get("adapter") != 6,
                "adapter: layers stand still, but LoRA has matrices beside *each*, layer 1 too",
            ),
        ],
        "a layer that stands still can still pass the gradient on",
    )


def reading(letters: str) -> str:
    """Reference: the letters of the sentences that the ten folds support."""
    return "ac"


def check_reading(fn: Callable) -> None:
    """Say which sentence the learner has read into the picture."""
    got = attempt(fn, "abcd")
    chosen = letters(got) or set()
    verdict(
        [
            (isinstance(got, str) and not got, "not done yet: return the letters, such as 'bd'"),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (not chosen or not chosen <= set("abcd"), f"return letters from a to d, got {head(got)}"),
            ("b" in chosen, f"b speaks of other films: look at the thin line of full minus frozen; got {head(got)}"),
            ("d" in chosen, "d: both lines of that row contain 0, so the picture cannot say which is better"),
            ("a" not in chosen, "one is missing: read the thick lines again, they speak of other users"),
            ("c" not in chosen, "one is missing: read the thin lines again, they speak of other films"),
        ],
        "one picture, two questions: other users, and other films",
    )


def rank(rows: int, columns: int) -> int:
    """Reference: the smallest rank at which two thin matrices have more numbers than one of rows x columns."""
    return rows * columns // (rows + columns) + 1


def check_rank(fn: Callable) -> None:
    """Say what is right or wrong with the rank at which LoRA saves nothing any more."""
    got, square, small = attempt(fn, 1536, 384), attempt(fn, 384, 384), attempt(fn, 3, 2)
    verdict(
        [
            (
                same(got, 8) and same(square, 8),
                "not done yet: with rank 8 the two have 15,360 numbers, the map 589,824",
            ),
            (isinstance(got, Exception), f"it raises {head(got)}"),
            (same(got, 384), "a matrix of 1,536 x 384 has rank 384 at most, but much earlier nothing is saved"),
            (same(got, 307), "at 307 the two still have fewer numbers: one more"),
            (same(got, 308) and same(square, 192), "at 192 both have 147,456 numbers: equal is not more"),
            (
                not same(got, 308),
                f"A has r x 384 numbers, B 1,536 x r: together more than 1,536 x 384; got {head(got)}",
            ),
            (not same(square, 193), f"for 384 x 384 expected 193, got {head(square)}"),
            (not same(small, 2), f"for 3 x 2 expected 2, got {head(small)}"),
        ],
        "far below that rank LoRA is small",
    )


def step(optimizer: torch.optim.Optimizer, weights: list[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
    """Reference: one step with a gradient of length 1 at most; the length before that."""
    optimizer.zero_grad()
    loss.backward()
    length = torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    return length


def check_step(fn: Callable) -> None:
    """Say which of the faults of a training step is still there."""
    slopes = torch.tensor([[3.0, 4.0], [4.0, -3.0], [0.3, 0.4]])

    def run():
        weight = torch.zeros(2, requires_grad=True)
        optimizer, lengths, path = torch.optim.SGD([weight], lr=1.0), [], []
        for slope in slopes:
            with torch.enable_grad():
                loss = (weight * slope).sum()
            lengths.append(fn(optimizer, [weight], loss))
            path.append((-weight.detach()).tolist())
        return path, lengths

    found = attempt(run)
    path, lengths = found if isinstance(found, tuple) else ([None] * 3, [found] * 3)
    first, second, third = path
    kinds = int, float, np.number, torch.Tensor
    numbers = all(isinstance(n, kinds) and shape(n) == () and same(n, n) for n in lengths)  # nan equals nothing
    verdict(
        [
            (
                same(first, [3.0, 4.0]) and same(second, [7.6, 1.8], 1e-3),
                "not done yet: a gradient of length 5 moved the weight by 5, and the next step still had it in",
            ),
            (isinstance(found, Exception), f"it raises {head(found)}"),
            (not numbers, f"return the length of the gradient before it is shortened, got {head(lengths[0])}"),
            (same(third, [0.0, 0.0]), "nothing moves: the gradient is thrown away before the step uses it"),
            (same(first, [3.0, 4.0]), "a gradient of length 5 moved the weight by 5: shorten it before the step"),
            (same(first, [0.6, 0.8], 1e-3) and not same(second, [1.4, 0.2], 1e-3), "the last gradient is still in it"),
            (same(third, [2.0, 1.0], 1e-3), "a gradient of length 0.5 is no longer than 1: it stays as it is"),
            (not same(third, [1.7, 0.6], 1e-3), f"after three steps expected about [-1.7, -0.6], got {head(third)}"),
            (not same(lengths, [5.0, 5.0, 0.5], 1e-3), f"expected lengths 5, 5 and 0.5, got {head(lengths)}"),
        ],
        "clear, go back, shorten, step",
    )
