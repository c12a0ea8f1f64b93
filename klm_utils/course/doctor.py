"""Is this machine fit for the course? Runs with whatever is installed, and says what is not."""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from klm_utils.course import find_root
from klm_utils.errors import KLMError

FREE_GB = 2.0  # the assets with their wheels, the rebuilt e5 and the stored vectors take about 1 GB


@dataclass(frozen=True)
class Check:
    """One requirement: its name, whether it holds, what was found, and what to do if it does not hold."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def main() -> int:
    """Print one [OK] or [FAIL] line per requirement and the remedy for each FAIL; 1 if anything fails, else 0."""
    failed = 0
    for check in checks():
        print(f"[{'OK' if check.ok else 'FAIL'}] {check.name}: {check.found}", flush=True)
        if not check.ok:
            failed += 1
            print(f"       remedy: {check.remedy}")
    print(f"\n{failed} to mend" if failed else "\nall is well")
    return int(failed > 0)


def checks() -> Iterator[Check]:
    """All checks, in the order in which it makes sense to mend them."""
    yield python_version(sys.version_info[:3])
    for line in requirements(find_root()):
        yield package(line)
    yield from cache_and_assets()
    yield from threads_and_device()


def python_version(found: tuple[int, ...]) -> Check:
    """Python 3.11 to 3.13."""
    ok = (3, 11) <= found[:2] <= (3, 13)
    remedy = "install Python 3.11, 3.12 or 3.13 and make a new environment with it"
    return Check("Python", ok, ".".join(map(str, found)), remedy)


def requirements(root: Path | None) -> list[str]:
    """Requirement lines: in a checkout those of the base and of both extras, elsewhere of the installed package."""
    if root is None:
        return [line for line in importlib.metadata.requires("klm-course") or [] if "extra ==" not in line]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf8"))["project"]
    return project["dependencies"] + [line for lines in project["optional-dependencies"].values() for line in lines]


def package(line: str) -> Check:
    """The package of one requirement line is installed in a version that serves."""
    ((name, bounds),) = re.findall(r"^\s*([\w.-]+)\s*([^;]*)", line)
    remedy = f'python -m pip install "{name}{bounds.strip()}"'
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, f"not installed, {bounds} is needed", remedy)
    try:
        from packaging.specifiers import SpecifierSet
    except ModuleNotFoundError:  # named in a line of its own; without it versions cannot be compared
        return Check(name, True, f"{version} ({bounds} not checked: packaging is not installed)")
    ok = SpecifierSet(bounds).contains(version, prereleases=True)
    return Check(name, ok, version if ok else f"{version}, {bounds} is needed", remedy)


def cache_and_assets() -> Iterator[Check]:
    """The cache folder can be written, its disk has room, and every pinned asset is whole."""
    try:
        from klm_utils.data import assets
        from klm_utils.files import cache_dir

        folder = cache_dir()
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except ImportError as error:
        yield Check("cache", False, f"cannot be looked at: {error}", "install the packages above")
        return
    except (OSError, KLMError) as error:
        remedy = "set KLM_CACHE to a folder that you may write to"
        yield Check("cache", False, f"cannot be written: {str(error).splitlines()[0]}", remedy)
        return
    yield Check("cache", True, f"{folder} can be written, {sum(assets.cache_size().values()) / 1e6:.0f} MB in it")
    free = shutil.disk_usage(folder).free / 1e9
    yield Check("free disk", free >= FREE_GB, f"{free:.1f} GB", f"free {FREE_GB:.0f} GB, or set KLM_CACHE elsewhere")
    for name in assets.asset_names():
        lacks = list(assets.missing(name))
        found = f"{len(lacks)} file(s) missing or altered, first {lacks[0]}" if lacks else "present"
        yield Check(f"asset {name}", not lacks, found, "python -m klm_utils cache --fetch")


def threads_and_device() -> Iterator[Check]:
    """How many threads torch uses, and on what."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        remedy = "install torch (see above); if it is installed, install it again: it does not load"
        yield Check("threads", False, f"{cores} cores, torch does not load: {error}", remedy)
        yield Check("device", False, "unknown without torch", remedy)
        return
    yield Check("threads", True, f"{torch.get_num_threads()} of {cores} cores")
    if torch.cuda.is_available():
        device = f"cuda ({torch.cuda.get_device_name()})"
    else:
        device = "mps" if torch.backends.mps.is_available() else f"cpu ({platform.machine()})"
    yield Check("device", True, device)
