"""A folder with a list of its files and their checksums, so that a changed, lost or added one is seen."""

import json
import os
from pathlib import Path

from klm_utils.errors import AssetError, KLMError
from klm_utils.files import atomic_write, sha256

SEAL = "sha256.json"
LEFT_BY_SYSTEMS = {".DS_Store", "desktop.ini", "Thumbs.db"}


def seal(folder: Path) -> None:
    """Write down what is in a folder; it is now `sealed`."""
    text = json.dumps(_checksums(folder), indent=1, sort_keys=True)
    atomic_write(folder / SEAL, lambda beside: beside.write_text(text, encoding="utf8"))


def sealed(folder: Path) -> bool:
    """Whether `seal` was called on this folder."""
    return os.path.isfile(folder / SEAL)  # of a name that no folder can have, too


def check_seal(folder: Path, error: type[KLMError] = AssetError) -> None:
    """Raise `error` if a sealed folder holds something else than when it was sealed; hidden files do not count."""
    try:
        wanted, found = json.loads((folder / SEAL).read_text(encoding="utf8")), _checksums(folder)
        changed = {name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)}
    except (OSError, ValueError, AttributeError, RecursionError):
        changed = {SEAL}
    if changed:
        raise error(
            "files of this folder are not as they were written",
            where=str(folder),
            found=", ".join(sorted(changed)),
            expected=f"the files that {SEAL} lists, each with its checksum, and no others",
            remedy="take away what was added, or copy the folder again; a model saves it anew",
        )


def foreign(folder: Path) -> set[str]:
    """The files of a sealed folder that were not there when it was sealed, hidden ones too."""
    try:
        listed = {SEAL, *json.loads((folder / SEAL).read_text(encoding="utf8"))}
    except (OSError, ValueError, TypeError, RecursionError):
        listed = {SEAL}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return {name for name in there - listed if Path(name).name not in LEFT_BY_SYSTEMS}


def _checksums(folder: Path) -> dict[str, str]:
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: sha256(path) for name, path in sorted(names.items()) if _counts(name)}


def _counts(name: str) -> bool:
    return name != SEAL and "/." not in f"/{name}" and Path(name).name not in LEFT_BY_SYSTEMS
