"""The errors that klm_utils raises on purpose, so that one `except klm.KLMError` catches them all."""


class KLMError(Exception):
    """Something the caller can mend. The message names what is wrong, where, and what to do.

    Args:
        what: the fault in one sentence.
        where: file or argument, with row and column where they apply.
        found: the value found.
        expected: the value or kind of value expected.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", found: object = None, expected: str = "", remedy: str = ""):
        self.what, self.where, self.found, self.expected, self.remedy = what, where, found, expected, remedy
        lines = [what]
        lines += [f"  where:    {where}"] if where else []
        lines += [f"  found:    {found!r}"] if found is not None else []
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  remedy:   {remedy}"] if remedy else []
        super().__init__("\n".join(lines))


class DataError(KLMError):
    """A table, a row or an id that cannot be used."""


class AssetError(KLMError):
    """A pinned model or data file that is missing, altered or cannot be fetched."""


class ConfigError(KLMError):
    """An argument or a setting that has no meaning here."""


class CheckpointError(KLMError):
    """A saved model or run that cannot be read or does not belong to this model."""
