"""What the checkers of the exercises share. Each chapter's checkers are in a module of their own: ch02.check_...

A checker calls the learner's function through `attempt`, compares with the reference, and gives `verdict` a list of
(is it wrong?, what to say). Neither an exception nor a careless function of the learner harms the notebook.
"""

import copy
import random
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from klm_utils.lazy import modules

__getattr__, __dir__ = modules(__name__)  # ch02 is the module of that chapter

DONE = "[OK]"
STUB = "not done yet"


def attempt(fn: Callable, *args, **kwargs) -> Any:
    """What `fn` returns, or the exception that it raises, as a value.

    It gets copies of the arguments, and what it does to the generators of random numbers, the default dtype or
    autograd's switch is undone.
    """
    args, kwargs = copy.deepcopy((args, kwargs))
    with _global_state_kept():
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            return error


def verdict(rows: Sequence[tuple[bool | np.bool_, str]], done: str = "that is it") -> None:
    """Print the message of the first row that is wrong, or `[OK]` and `done`.

    Args:
        rows: (is it wrong?, message), the most telling first; the row for the stub says "not done yet: ...".
    """
    for wrong, message in rows:
        if wrong:
            print(message if message.startswith(STUB) else f"not yet: {message}")
            return
    print(f"{DONE} {done}")


def same(got: object, want: object, rtol: float = 1e-5, atol: float = 1e-7) -> bool:
    """Whether two values (numbers, lists, arrays, tensors, text, None) have one shape and equal entries.

    nan equals nothing; an exception equals nothing; None equals None.
    """
    if got is None or want is None:
        return got is want
    a, b = _array(got), _array(want)
    if a is None or b is None or a.shape != b.shape:
        return False
    if _numeric(a) and _numeric(b):
        return bool(np.allclose(a, b, rtol=rtol, atol=atol))
    return "V" not in (a.dtype.kind, b.dtype.kind) and bool(np.array_equal(a, b))  # records compare with nothing


def shape(value: object) -> tuple[int, ...] | None:
    """The shape of an array, tensor, list or number; None if it has none (an exception, None, ragged lists)."""
    array = None if value is None else _array(value)
    return None if array is None else array.shape


def has_nan(value: object) -> bool:
    """Whether any entry is nan; False for what is not numeric."""
    array = None if value is None else _array(value)
    return array is not None and _numeric(array) and bool(np.isnan(array).any())


def is_zero(value: object) -> bool:
    """Whether there are entries and all of them are exactly zero."""
    array = None if value is None else _array(value)
    return array is not None and _numeric(array) and array.size > 0 and not array.any()


def letters(got: object) -> set[str] | None:
    """The letters of an answer such as "bd" or ["b", "d"]; None if it is no such thing."""
    entries: list[Any] = list(got) if isinstance(got, str | list | tuple | set) else [None]
    if not all(isinstance(one, str) and len(one) == 1 for one in entries):
        return None
    return {one.lower() for one in entries if one not in " ,"}


def letter_rows(got: object, options: Mapping, wrong: Mapping[str, str], right: Mapping[str, str]) -> list:
    """Rows for `verdict` of an answer in letters.

    options: what the letters stand for. wrong, right: what to say to a letter that is chosen and is not right, or is
    right and was not chosen.
    """
    chosen, last = letters(got), max(options)
    slips = [f"{one}: {wrong[one]}" for one in sorted((chosen or set()) & set(wrong))]
    slips += [text for one, text in sorted(right.items()) if one not in (chosen or set())]
    return [
        (chosen == set(), "not done yet: return letters, such as 'ab'"),
        (isinstance(got, Exception), f"it raises {head(got)}"),
        (chosen is None, f"return letters, such as 'ab'; got {head(got)}"),
        (bool((chosen or set()) - set(options)), f"the letters are a to {last}; got {head(got)}"),
        (bool(slips), f"{slips[0]}; got {head(got)}" if slips else ""),
    ]


def head(value: object, n: int = 3) -> str:
    """A value on one line, in a few words: first entries and shape, or the exception with the line that raised it."""
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {' '.join(str(value).split())}{_learners_line(value)}"
    array = None if value is None else _array(value)
    if array is None or not _numeric(array):
        told = " ".join(repr(value).split())
        return told if len(told) <= 80 else told[:77] + "..."
    if array.ndim == 0:
        return f"{array.item():.6g}"
    first = ", ".join(f"{entry:.6g}" for entry in array.ravel()[:n].tolist())
    return f"[{first}{', ...' if array.size > n else ''}] of shape {tuple(array.shape)}"


def _learners_line(error: BaseException) -> str:
    """The line in the notebook that raised, in brackets; "" if only a library or the checker was running."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") == "__main__":  # what a notebook defines
            return f" (line {line} of your cell)"
    return ""


def _numeric(array: np.ndarray) -> bool:
    return array.dtype.kind in "biufc"


def _array(value: Any) -> np.ndarray | None:
    if isinstance(value, BaseException):
        return None
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            return value.to(torch.float32).numpy() if value.dtype == torch.bfloat16 else value.numpy()
        if isinstance(value, list | tuple):
            value = [_array(entry) if isinstance(entry, torch.Tensor) else entry for entry in value]
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None


@contextmanager
def _global_state_kept() -> Iterator[None]:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
