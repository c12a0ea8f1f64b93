"""The errors that klm_utils raises on purpose, so that one `except klm.KLMError` catches them all."""

from numbers import Integral

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

    def __init__(self, what: str, *, where: str = "", found: object = _ABSENT, expected: str = "", remedy: str = ""):
        self.what, self.where, self.expected, self.remedy = what, where, expected, remedy
        self.found = None if found is _ABSENT else found
        lines = [what]
        lines += [f"  where:    {where}"] if where else []
        lines += [f"  found:    {found!r}"] if found is not _ABSENT else []
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  remedy:   {remedy}"] if remedy else []
        super().__init__("\n".join(lines))


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


def check_choice(name: str, value, choices: tuple) -> None:
    """Raise `ConfigError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(
            f"Unknown {name}",
            where=name,
            found=value,
            expected=" or ".join(repr(c) for c in choices),
            remedy=f"pass {name}={choices[0]!r}",
        )


def check_whole(name: str, value: int, least: int = 1) -> int:
    """`value` as an int; anything but a whole number >= `least` raises `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ConfigError(
            f"{name} must be a whole number of at least {least}",
            where=name,
            found=value,
            expected=f"an int >= {least}",
            remedy=f"pass for example {name}=10",
        )
    return int(value)
