"""Where the small files lie that come with the course."""

from pathlib import Path

from klm_utils.errors import AssetError

_PACKAGE = Path(__file__).parents[1]


def shipped(relative: str) -> Path:
    """The path of a file or folder of the repository's `data/`, in a checkout and in an installed wheel.

    The wheel carries `data/` as `klm_utils/shipped/` (pyproject.toml, `[tool.setuptools]`).

    Raises:
        AssetError: there is no such file.
    """
    roots = (_PACKAGE / "shipped", _PACKAGE.parent / "data")
    for root in roots:
        if (root / relative).exists():
            return root / relative
    where, remedy = " and ".join(str(root / relative) for root in roots), "install it again, or use a whole checkout"
    raise AssetError("a file of the course is missing", where, "no such file", "a file that ships with it", remedy)
