"""Which notebooks run, with what: scales.yaml and the folder of notebooks made into jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from klm_utils.course import HERE
from klm_utils.course.notebook import check_parameters, read
from klm_utils.data.assets import ASSETS
from klm_utils.errors import ConfigError

SCALES = HERE / "scales.yaml"
NAMES = ("smoke", "default", "full")
CEILING = {"smoke": 1800, "default": 1800, "full": 6 * 3600}  # seconds that one cell may take, however busy it is


@dataclass(frozen=True)
class Job:
    """One notebook to execute: where it is, where the executed copy goes, and with what.

    A cell is stopped after `timeout` seconds in which the kernel and its children did no work, and after `ceiling`
    seconds whatever they did. A job that is `alone` runs when no other does, with two threads; no smoke run is.
    """

    name: str
    source: Path
    output: Path
    cwd: Path
    scale: str = "default"
    parameters: dict = field(default_factory=dict)
    timeout: int = 300
    ceiling: int = 1800
    alone: bool = False
    assets: tuple[str, ...] = ()


def load(path: Path = SCALES) -> dict:
    """The file of scales as a dict, checked.

    Raises:
        ConfigError: not YAML, a key that means nothing, a value of the wrong kind, a skip without a reason.
    """
    try:
        scales = yaml.safe_load(path.read_text(encoding="utf8"))
        if not isinstance(scales, dict) or set(scales) != {"timeout", "notebooks"}:
            raise ValueError("the keys are not `timeout` and `notebooks`")
        if not isinstance(scales["timeout"], dict) or set(scales["timeout"]) != set(NAMES):
            raise ValueError(f"timeout: {scales['timeout']!r}")
        if not isinstance(scales["notebooks"], dict):
            raise ValueError(f"notebooks: {scales['notebooks']!r}")
        for name, entry in ({"timeout": {"timeout": scales["timeout"]}} | scales["notebooks"]).items():
            if fault := _fault(entry):
                raise ValueError(f"{name}: {fault}")
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        what, found = "the file of scales cannot be used", f"{type(error).__name__}: {error}"
        expected = "timeout: {smoke, default, full} and notebooks: {NAME: {assets, alone, timeout, smoke, full}}"
        remedy = "see the comment at the top of klm_utils/course/scales.yaml"
        raise ConfigError(what, str(path), found, expected, remedy) from error
    return scales


def _fault(entry) -> str:
    """What is wrong with the entry of one notebook; "" if nothing is."""
    kinds = {"assets": list, "alone": bool, "timeout": dict, "smoke": dict, "full": dict}
    if not isinstance(entry, dict):
        return f"{entry!r} is not a mapping"
    if unknown := [key for key in entry if key not in kinds]:
        return f"unknown keys {unknown}"
    if wrong := [key for key, value in entry.items() if not isinstance(value, kinds[key])]:
        return f"{wrong[0]} is {entry[wrong[0]]!r}, not a {kinds[wrong[0]].__name__}"
    if unknown := [asset for asset in entry.get("assets", []) if not isinstance(asset, str) or asset not in ASSETS]:
        return f"unknown assets {unknown}"
    for scale in ("smoke", "full"):
        parameters, reason = entry.get(scale, {}), entry.get(scale, {}).get("skip", "a reason")
        if not isinstance(reason, str) or not reason.strip() or ("skip" in parameters and len(parameters) > 1):
            return f"{scale}: skip stands alone and needs a reason"
    for scale, seconds in entry.get("timeout", {}).items():
        if scale not in NAMES or type(seconds) is not int or seconds < 1:
            return f"timeout {scale}: {seconds!r}"
    return ""


def plan(
    folder: Path, output: Path, which: Sequence[str] = (), scale: str = "default", scales: Path = SCALES
) -> tuple[list[Job], dict[str, str]]:
    """The jobs for the notebooks of a folder, and name -> reason for those that this scale skips.

    Args:
        folder: holds the notebooks; each runs in it.
        output: folder of the executed copies.
        which: numbers or beginnings of names; empty for all.
        scale: "smoke", "default" or "full".
        scales: the file of scales.

    Raises:
        ConfigError: no notebook of that name, none at all, one that the file of scales does not list, a parameter
            that a notebook does not declare and use.
    """
    jobs, skipped, table = [], {}, load(scales)
    for path in _choose(sorted(folder.glob("*.ipynb")), which, folder):
        entry = table["notebooks"].get(path.stem)
        if entry is None:
            remedy = f"add `{path.stem}:` below `notebooks:`"
            raise ConfigError("this notebook has no scales", str(scales), path.stem, "an entry for each", remedy)
        parameters = entry.get(scale, {})
        if "skip" in parameters:
            skipped[path.stem] = parameters["skip"]
            continue
        check_parameters(read(path), parameters, f"{path.name}, scale {scale} of {scales.name}")
        jobs.append(
            Job(
                name=path.stem,
                source=path.resolve(),
                output=output.resolve() / path.name,
                cwd=folder.resolve(),
                scale=scale,
                parameters=parameters,
                timeout=(table["timeout"] | entry.get("timeout", {}))[scale],
                ceiling=CEILING[scale],
                alone=entry.get("alone", False) and scale != "smoke",
                assets=tuple(entry.get("assets", ())),
            )
        )
    return jobs, skipped


def _choose(paths: list[Path], which: Sequence[str], folder: Path) -> list[Path]:
    chosen, names = set(), ", ".join(path.stem for path in paths)
    for word in which or [""]:
        found = [path for path in paths if path.stem.startswith(word.removesuffix(".ipynb"))]
        if not found:
            expected = f"the beginning of one of: {names}" if names else "notebooks in this folder"
            remedy = "give a number such as 03; the student copies are made by `python -m klm_utils student`"
            raise ConfigError("no such notebook", str(folder), word or "no notebook at all", expected, remedy)
        chosen |= set(found)
    return [path for path in paths if path in chosen]
