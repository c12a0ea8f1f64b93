"""Files that are whole or absent: written in one step, checked when read; tensors, sealed folders, the cache."""

import errno
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from klm_utils.errors import AssetError, CheckpointError, KLMError

if TYPE_CHECKING:  # the package itself imports this module, and torch takes a second
    import torch

WAIT = 600  # seconds for which a process waits for another one that writes
SEAL = "sha256.json"  # the list of the files of a sealed folder
LEFT_BY_SYSTEMS = {".DS_Store", "desktop.ini", "Thumbs.db"}
# What reading a description of wrong content may raise.
WRONG = (ArithmeticError, AttributeError, LookupError, RecursionError, RuntimeError, TypeError, ValueError, KLMError)
_TEMPORARY = re.compile(r"\.klm-tmp-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}-.*")  # machine, process, chance, end of the name
_ELSEWHERE = "another place (the cache: set KLM_CACHE)"
_FULL = f"free some disk space (`python -m klm_utils cache` shows and clears the cache), or choose {_ELSEWHERE}"
_REMEDIES = {errno.ENAMETOOLONG: "choose a shorter path (the cache: set KLM_CACHE)"}
_REMEDIES |= dict.fromkeys([errno.EACCES, errno.EPERM, errno.EROFS], f"mend the permissions, or choose {_ELSEWHERE}")
_REMEDIES |= dict.fromkeys(
    [errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY],
    "move away what stands there: a folder in place of a file, or a file in place of a folder",
)
_OURS = "a file written by save_pretrained or fit"


def cache_dir() -> Path:
    """The folder of everything fetched or derived: KLM_CACHE, else the user's cache; created when absent.

    Raises:
        AssetError: the folder cannot be created, or there is no home to create it in.
    """
    chosen = os.environ.get("KLM_CACHE")
    try:
        path = Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_cache_dir("klm"))
        if not path.is_absolute():
            raise RuntimeError(f"this user has no home folder, only {path}")
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as fault:
        where = f"KLM_CACHE={chosen}" if chosen else "the cache of this user"
        expected = "a folder, or a path where one can be made"
        remedy = "set KLM_CACHE to the full path of a folder that you may write to"
        raise AssetError("there is no place for the cache", where, str(fault), expected, remedy) from fault
    return path


# Writing in one step


def atomic_write(path: Path, write: Callable[[Path], object], error: type[KLMError] = AssetError) -> None:
    """Let `write(temporary)` fill a file beside `path`, then move it in: readers see the old file or the new one.

    Args:
        path: the file to write; its folder is created.
        write: receives a path in the same folder with the same suffix.
        error: the kind raised when the disk is full or read-only; the old file is then untouched.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "there is a folder of this name")
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
    except (OSError, ValueError) as fault:  # ValueError: a zero character in the path
        raise unwritable(path, fault, error) from fault
    mark = f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".klm-tmp-{mark}-{path.name[-40:]}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as fault:  # safetensors hides a full disk in an error of its own
        raise unwritable(path, fault, error) from fault
    finally:
        with suppress(OSError):
            temporary.unlink()


def unwritable(path: Path, fault: Exception, error: type[KLMError]) -> KLMError:
    """The error of kind `error` that says why `path` cannot be written, with the remedy for that cause."""
    remedy = _REMEDIES.get(getattr(fault, "errno", 0), _FULL)
    return error("cannot write", str(path), str(fault), "a writable folder with free space", remedy)


def sweep(folder: Path, alone: bool = False) -> None:
    """Delete what killed writers left in `folder`: files of this machine whose process is gone.

    No clock is asked, since clocks differ. With `alone` it deletes all: for the holder of the folder's lock, beside
    whom nobody writes.
    """
    for rest in folder.glob(".klm-tmp-*"):
        if alone or abandoned(rest):
            with suppress(OSError):  # another process was quicker, or it is another user's
                rest.unlink()


def abandoned(path: Path) -> bool:
    """Whether a temporary file belongs to a process of this machine that is no more."""
    mark = _TEMPORARY.fullmatch(path.name)
    if mark is None or mark[1] != _machine() or os.name == "nt":  # os.kill would end the process there
        return False
    try:
        os.kill(int(mark[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's
        return False
    return False


@functools.cache
def _machine() -> str:
    """Eight digits for the machine or container in which a process number means something."""
    facts = [platform.node()]
    with suppress(OSError):
        facts.append(Path("/etc/machine-id").read_text(encoding="utf8"))
    with suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


# Locks


@contextmanager
def locked(path: Path, error: type[KLMError] = AssetError, wait: float | None = None, **options: Any) -> Iterator[None]:
    """Hold the lock file `path`: one process at a time. The file stays, as others may be waiting for it.

    Args:
        path: the file; its folder is there.
        error: the kind raised.
        wait: seconds, default `WAIT`.
        options: of FileLock.

    Raises:
        error: another process still holds it after `wait` seconds, or it cannot be written.
    """
    wait = WAIT if wait is None else wait
    lock = FileLock(path, timeout=wait, **options)
    try:
        lock.acquire()
    except Timeout as fault:
        raise error(
            "another process holds the lock of this folder",
            str(path),
            f"still locked after {wait:g} seconds",
            "a process that is done with it by then",
            "wait until that process is over or end it, then try again; deleting the lock file would let two "
            f"processes write at once (who holds it, on Linux: `fuser {path}`)",
        ) from fault
    except OSError as fault:
        raise unwritable(path, fault, error) from fault
    try:
        yield
    finally:
        lock.release()


def locked_folder(folder: Path) -> AbstractContextManager[None]:
    """A lock for writers of this folder: one process at a time.

    Raises:
        CheckpointError: another process still holds it after `WAIT` seconds.
    """
    # In the temporary folder of the system, which all processes share whatever their KLM_CACHE, and all users (so
    # mode): a file in the folder itself would be pushed to the hub. A process with another TMPDIR is not seen.
    name = hashlib.sha256(str(Path(folder).resolve()).encode("utf8", "surrogateescape")).hexdigest()[:16]
    return locked(Path(tempfile.gettempdir()) / f"klm-save-{name}.lock", CheckpointError, mode=0o666)


# Checksums


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(tensors: "Mapping[str, torch.Tensor]", about: str) -> str:
    """sha256 of names, kinds, shapes and values of tensors, and of a text."""
    import torch

    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# Tensors with a description, in one file


def write_tensors(path: Path, tensors: "Mapping[str, torch.Tensor]", about: dict) -> None:
    """Write tensors and their description in one step: after a kill or on a full disk the old file is still there.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, ensure_ascii=False, default=lambda number: number.item())  # numpy's
    metadata = {"about": text, "sha256": checksum(tensors, text)}
    atomic_write(Path(path), lambda beside: save_file(tensors, beside, metadata), CheckpointError)


def read_tensors(path: Path) -> "tuple[dict[str, torch.Tensor], dict]":
    """What `write_tensors` wrote.

    Raises:
        CheckpointError: no such file, or one that is cut short or was edited.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError("there is no checkpoint here", str(path), "no such file", _OURS, "check the path")
    with _opened(path) as file:
        # cloned: as long as a tensor is a view of the file, Windows does not let the file be replaced
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = file.metadata() or {}
    if "about" not in metadata:
        found = f"a safetensors file with {len(tensors)} tensors and no description"
        raise CheckpointError("this file was not written by klm_utils", str(path), found, _OURS, "check the path")
    if metadata.get("sha256") != checksum(tensors, metadata["about"]):
        raise _unreadable(path, "its checksum does not fit its content")
    return tensors, _parsed(path, metadata["about"])


def description(path: Path) -> dict:
    """The description in a file that `write_tensors` wrote, without its tensors.

    Raises:
        CheckpointError: the file cannot be read.
    """
    with _opened(path) as file:
        text = (file.metadata() or {}).get("about", "{}")
    return _parsed(path, text)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as fault:
        raise _unreadable(path, str(fault)) from fault


def _parsed(path: Path, text: str) -> dict:
    """A JSON object; with a key that stands twice, or of another kind, it is refused."""

    def once(pairs: list[tuple]) -> dict:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=once)
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (ValueError, RecursionError) as fault:
        raise wrong_content(path, fault) from fault
    return found


def wrong_content(path: Path, fault: object) -> CheckpointError:
    """The error for a file that is whole and yet no model or run: somebody made it, or another version did."""
    what = "this file is whole, but its content is not what klm_utils writes"
    found = f"{type(fault).__name__}: {fault}"[:300] if isinstance(fault, Exception) else fault
    remedy = "get it from where it was made; a file of a run can also be deleted, and the run made anew"
    return CheckpointError(what, str(path), found, _OURS, remedy)


def _unreadable(path: Path, found: str) -> CheckpointError:
    what, remedy = "the checkpoint is cut short or was edited", "copy it again, or delete it and train again"
    return CheckpointError(what, str(path), found, "the file as it was written", remedy)


# Sealed folders


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
        what, names = "files of this folder are not as they were written", ", ".join(sorted(changed))
        expected = f"the files that {SEAL} lists, each with its checksum, and no others"
        raise error(what, str(folder), names, expected, "take away what was added, or copy or save the folder again")


def foreign(folder: Path) -> set[str]:
    """The files of a sealed folder that were not there when it was sealed, hidden ones too."""
    try:
        listed = {SEAL, *json.loads((folder / SEAL).read_text(encoding="utf8"))}
    except (OSError, ValueError, TypeError, RecursionError):
        listed = {SEAL}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return {name for name in there - listed if Path(name).name not in LEFT_BY_SYSTEMS}


def _checksums(folder: Path) -> dict[str, str]:
    """The sha256 of each file below the folder that is neither the seal, nor hidden, nor left by a system."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    ours = (name for name in sorted(names) if "/." not in f"/{name}" and Path(name).name not in LEFT_BY_SYSTEMS)
    return {name: sha256(names[name]) for name in ours if name != SEAL}
