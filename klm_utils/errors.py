"""The errors that klm_utils raises on purpose, so that one `except klm.KLMError` catches them all."""

import math
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from typing import Any

_ABSENT = object()  # None may itself be the value found


class KLMError(Exception):
    """Something the caller can mend. The message names what is wrong, where, and what to do.

    Args:
        what: the fault in one sentence.
        where: file or argument, with row and column where they apply.
        found: the value found.
        expected: the value or kind of value expected.
        remedy: what to do about it.
    """

    def __init__(self, what: str, where: str = "", found: object = _ABSENT, expected: str = "", remedy: str = ""):
        self.what, self.where, self.expected, self.remedy = what, where, expected, remedy
        self.found = None if found is _ABSENT else found
        lines = [what]
        lines += [f"  where:    {where}"] if where else []
        lines += [f"  found:    {_cropped(repr(found))}"] if found is not _ABSENT else []
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  remedy:   {remedy}"] if remedy else []
        super().__init__("\n".join(lines))


def _cropped(text: str, most: int = 1000) -> str:
    """A message with a whole table in it would hide the remedy."""
    return text if len(text) <= most else f"{text[: most // 2]} ... ({len(text):,} characters) ... {text[-most // 4 :]}"


class DataError(KLMError):
    """A table, a row or an id that cannot be used."""


class LeakError(DataError):
    """A result that is too good: better than the true probabilities, so the labels are among the inputs."""


class AssetError(KLMError):
    """A pinned model or data file that is missing, altered or cannot be fetched."""


class ConfigError(KLMError):
    """An argument or a setting that has no meaning here."""


class CheckpointError(KLMError):
    """A saved model or run that cannot be read or does not belong to this model."""


def check_choice(name: str, value: object, choices: tuple) -> None:
    """Raise `ConfigError` unless `value` is one of `choices`, and of its kind: 1 is not True."""
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
        expected = " or ".join(map(repr, choices))
        raise ConfigError(f"Unknown {name}", name, value, expected, f"pass {name}={choices[0]!r}")


def check_flag(name: str, value: object) -> bool:
    """`value` as a bool; anything but a truth value, 0 or 1 raises `ConfigError`: "no" would otherwise mean yes."""
    named_so = type(value).__name__ in ("bool", "bool_")  # numpy's too, without importing it
    if not named_so and (not isinstance(value, Integral) or value not in (0, 1)):
        remedy = f"pass {name}=True or {name}=False"
        raise ConfigError(f"{name} is neither true nor false", name, value, "True or False", remedy)
    return bool(value)


def check_kind(where: str, value: object, kind: Any, expected: str, remedy: str = "see the docstring") -> None:
    """Raise `ConfigError` unless `value` is an instance of `kind`, a class or a tuple of classes."""
    if not isinstance(value, kind):
        raise ConfigError("an argument of the wrong kind", where, value, expected, remedy)


def check_number(name: str, value: float, least: float, most: float, remedy: str = "") -> float:
    """`value` as a float; anything but a finite real number from `least` to `most` raises `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value <= most or math.isinf(value):
        expected = f"a number from {least:g} to {most:g}" if most < math.inf else f"a number of at least {least:g}"
        remedy = remedy or f"pass for example {name}={max(least, min(most, 1)):g}"
        raise ConfigError(f"{name} has no meaning", name, value, expected, remedy)
    return float(value)


def check_options(where: str, options: Iterable[str], known: Collection[str]) -> None:
    """Raise `ConfigError` if one of the names `options` is not among the `known` ones."""
    for name in options:
        if name not in known:
            expected, remedy = ", ".join(sorted(known)) or "no option", "mind the spelling, or leave it out"
            raise ConfigError(f"{where} has no option {name!r}", where, name, expected, remedy)


def check_seed(seed: int, where: str) -> int:
    """`seed` as an int; anything but a whole number from 0, below 2^63, raises `ConfigError`."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**63:
        raise ConfigError("no such seed", where, seed, "an int >= 0", "seed=0 is usual")
    return int(seed)


def check_whole(name: str, value: int, least: int = 1) -> int:
    """`value` as an int; anything but a whole number >= `least` raises `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        what = f"{name} must be a whole number of at least {least}"
        raise ConfigError(what, name, value, f"an int >= {least}", f"pass for example {name}={max(least, 10)}")
    return int(value)
