"""Right, unfinished and wrong answers to the exercises of chapter 5, each with what its checker is to say."""

import torch
from torch import nn

from klm_utils.course.exercises import DONE, STUB, ch05

loras = [
    (ch05.lora, DONE),
    (lambda x, W, b, A, B, alpha: x @ (W + alpha / A.shape[0] * B @ A).T + b, DONE),
    (lambda x, W, b, A, B, alpha: nn.functional.linear(x, W, b), STUB),
    (lambda x, W, b, A, B, alpha: x @ A @ B, "it raises RuntimeError"),
    (lambda x, W, b, A, B, alpha: x @ (W + B @ A).T + b, "alpha / r is missing"),
    (lambda x, W, b, A, B, alpha: x @ (W + alpha * B @ A).T + b, "divide alpha by the rank"),
    (lambda x, W, b, A, B, alpha: alpha / len(A) * x @ A.T @ B.T, "do not replace the map"),
    (lambda x, W, b, A, B, alpha: x @ (W + alpha / len(A) * B @ A).T, "the bias is lost"),
    (lambda x, W, b, A, B, alpha: x @ (W + alpha / A.shape[1] * B @ A).T + b, "the smaller side of A"),
    (lambda x, W, b, A, B, alpha: x @ W.T + b + alpha / 8 * (x @ A.T @ B.T), "r is not always 8"),
    (lambda x, W, b, A, B, alpha: x @ W.T + b + alpha / 2 * x @ A.T @ B.T, "r is not always 2"),
    (lambda x, W, b, A, B, alpha: ch05.lora(x, W, b, A, B, alpha) + 1, "with B = 0 it must be the map itself"),
    (lambda x, W, b, A, B, alpha: ch05.lora(x, W, b, A, 1.5 * B, alpha), "expected ["),
]


def row_by_row(items, read, users):
    return (read(items) * users).sum(1)


def one_by_one(items, read, users):
    vectors = {int(item): read(item[None])[0] for item in items.unique()}
    return torch.stack([vectors[int(item)] @ user for item, user in zip(items, users, strict=True)])


def twice(items, read, users):
    read(items.unique())
    return ch05.grouped(items, read, users)


def by_hand(items, read, users):
    some = sorted(set(items.tolist()))
    vectors = read(torch.tensor(some))
    return (vectors[[some.index(item) for item in items.tolist()]] * users).sum(1)


groupeds = [
    (ch05.grouped, DONE),
    (by_hand, DONE),
    (row_by_row, STUB),
    (lambda items, read, users: read(items.unique()) * users, "it raises RuntimeError"),
    (lambda items, read, users: (read(items.unique()) @ users.T).sum(1), "expected shape (7,)"),
    (lambda items, read, users: users.sum(1), "nothing was read"),
    (lambda items, read, users: ch05.grouped(items.sort().values, read, users), "bring each vector to its rows"),
    (twice, "6 texts were read for 3"),
    (one_by_one, "read was called 3 times"),
    (lambda items, read, users: ch05.grouped(items, lambda some: read(some).detach(), users), "no detach"),
]

depths = [
    (ch05.depth, DONE),
    (lambda modes: dict.fromkeys(modes, 0), STUB),
    (lambda modes: {mode: len(mode[9]) for mode in modes}, "it raises IndexError"),
    (lambda modes: {"frozen": 0}, "for each mode, got"),
    (lambda modes: ch05.depth(modes) | {"full": 7}, "from 0 to 6"),
    (lambda modes: ch05.depth(modes) | {"frozen": 6}, "frozen: nothing below"),
    (lambda modes: ch05.depth(modes) | {"full": 5}, "full: all six layers"),
    (lambda modes: ch05.depth(modes) | {"partial": 6}, "partial: the last two"),
    (lambda modes: ch05.depth(modes) | {"adapter": 0}, "LoRA has matrices beside *each*"),
]

readings = [
    (ch05.reading, DONE),
    (lambda s: ["A", "c"], DONE),
    (lambda s: "a, c", DONE),
    (lambda s: {"a", "c"}, DONE),
    (lambda s: "", STUB),
    (lambda s: s[9], "it raises IndexError"),
    (lambda s: "ae", "letters from a to d"),
    (lambda s: 2, "letters from a to d, got 2"),
    (lambda s: "abc", "b speaks of other films"),
    (lambda s: "acd", "cannot say which is better"),
    (lambda s: "c", "read the thick lines again"),
    (lambda s: "a", "read the thin lines again"),
]

ranks = [
    (ch05.rank, DONE),
    (lambda rows, columns: next(r for r in range(rows) if r * (rows + columns) > rows * columns), DONE),
    (lambda rows, columns: 8, STUB),
    (lambda rows, columns: rows / 0, "it raises ZeroDivisionError"),
    (min, "much earlier"),
    (lambda rows, columns: rows * columns // (rows + columns), "one more"),
    (lambda rows, columns: -(-rows * columns // (rows + columns)), "equal is not more"),
    (lambda rows, columns: rows, "together more than"),
    (lambda rows, columns: 308, "for 384 x 384 expected 193"),
    (lambda rows, columns: 308 if rows == 1536 else 193, "for 3 x 2 expected 2"),
]


def clip(weights, longest=1.0):
    return nn.utils.clip_grad_norm_(weights, longest)


def as_given(optimizer, weights, loss):
    loss.backward()
    optimizer.step()
    return clip(weights)


def clipped_late(optimizer, weights, loss):
    optimizer.zero_grad()
    return as_given(optimizer, weights, loss)


def never_cleared(optimizer, weights, loss):
    loss.backward()
    length = clip(weights)
    optimizer.step()
    return length


def cleared_late(optimizer, weights, loss):
    loss.backward()
    length = clip(weights)
    optimizer.zero_grad()
    optimizer.step()
    return length


def always_one(optimizer, weights, loss):
    optimizer.zero_grad()
    loss.backward()
    length = weights[0].grad.norm()
    weights[0].grad /= length
    optimizer.step()
    return length


def to_two(optimizer, weights, loss):
    optimizer.zero_grad()
    loss.backward()
    length = clip(weights, 2.0)
    optimizer.step()
    return length


def cleared_at_the_end(optimizer, weights, loss):
    length = never_cleared(optimizer, weights, loss)
    optimizer.zero_grad()
    return length


steps = [
    (ch05.step, DONE),
    (cleared_at_the_end, DONE),
    (as_given, STUB),
    (lambda optimizer, weights, loss: loss.backwards(), "it raises AttributeError"),
    (lambda *a: ch05.step(*a) and None, "before it is shortened, got None"),
    (cleared_late, "nothing moves"),
    (clipped_late, "shorten it before the step"),
    (never_cleared, "the last gradient is still in it"),
    (always_one, "it stays as it is"),
    (to_two, "after three steps expected"),
    (lambda *a: ch05.step(*a).clamp(max=1.0), "expected lengths 5, 5 and 0.5"),
]

TABLES = {
    ch05.check_lora: loras,
    ch05.check_grouped: groupeds,
    ch05.check_depth: depths,
    ch05.check_reading: readings,
    ch05.check_rank: ranks,
    ch05.check_step: steps,
}
