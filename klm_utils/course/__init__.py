"""The tools around the notebooks: check the machine, run them, build the student copies, check exercises.

Importing this package imports nothing heavy.
"""

import json
import tomllib
from pathlib import Path

from klm_utils.errors import ConfigError
from klm_utils.lazy import modules

HERE = Path(__file__).resolve().parent


def find_root(start: Path | None = None) -> Path | None:
    """The checkout of the course around `start` (default: the working directory), else around this package.

    A checkout is a folder with `notebooks/` and a `pyproject.toml` that has a `[tool.klm]` table.
    Returns None when there is none, as with an installed wheel.

    Raises:
        ConfigError: the working directory was deleted.
    """
    try:
        start = Path(start or Path.cwd()).resolve()
    except FileNotFoundError as error:
        raise ConfigError("the working directory is gone", remedy="cd into a folder that exists") from error
    for folder in (start, *start.parents, HERE.parents[1]):
        if (folder / "notebooks").is_dir() and "repository" in setting(folder):
            return folder
    return None


def require_root(start: Path | None = None) -> Path:
    """As `find_root`, but the absence of a checkout raises ConfigError."""
    root = find_root(start)
    if root is None:
        expected = "a checkout of the course: a folder with notebooks/ and a pyproject.toml that has [tool.klm]"
        what, remedy = (
            "an installed package holds no notebooks",
            "clone the repository and run the command inside of it",
        )
        raise ConfigError(what, str(Path.cwd()), expected=expected, remedy=remedy)
    return root


def setting(root: Path) -> dict[str, str]:
    """`repository` and `branch` of the course, from the `[tool.klm]` table of `root`/pyproject.toml; {} if none."""
    try:
        return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf8")).get("tool", {}).get("klm", {})
    except (OSError, tomllib.TOMLDecodeError):
        return {}


def results(number: str) -> dict | None:
    """The stored full-scale run of notebook `number` ("05"), or None where there is none yet.

    Keys: notebook, scale, date, protocol, parameters, versions, threads, seconds, metrics.
    """
    path = stored(f"{number}.json")
    return json.loads(path.read_text(encoding="utf8")) if path.exists() else None


def stored(name: str) -> Path:
    """The file of this name in docs/results of the checkout, or in what the installed wheel carries of it."""
    root = find_root()
    return (root / "docs" / "results" if root else HERE.parent / "shipped" / "results") / name


__getattr__, __dir__ = modules(__name__)
