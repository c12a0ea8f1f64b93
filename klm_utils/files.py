"""Files that are whole or absent, and the folder of the cache."""

import errno
import functools
import hashlib
import os
import platform
import re
import secrets
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from klm_utils.errors import AssetError, KLMError

WAIT = 600  # seconds for which a process waits for another one that writes
_TEMPORARY = re.compile(r"\.klm-tmp-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}-.*")  # machine, process, chance, end of the name
_REMEDY = {
    errno.EACCES: "mend the permissions, or choose another place (the cache: set KLM_CACHE)",
    errno.EISDIR: "move away what stands there: a folder in place of a file, or a file in place of a folder",
    errno.ENAMETOOLONG: "choose a shorter path (the cache: set KLM_CACHE)",
    errno.ENOSPC: "free some disk space (`python -m klm_utils cache` shows and clears the cache), or choose another "
    "place (the cache: set KLM_CACHE)",
}
_REMEDY |= dict.fromkeys([errno.EPERM, errno.EROFS], _REMEDY[errno.EACCES])
_REMEDY |= dict.fromkeys([errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY], _REMEDY[errno.EISDIR])


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
        raise AssetError(
            "there is no place for the cache",
            where=f"KLM_CACHE={chosen}" if chosen else "the cache of this user",
            found=str(fault),
            expected="a folder, or a path where one can be made",
            remedy="set KLM_CACHE to the full path of a folder that you may write to",
        ) from fault
    return path


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


@contextmanager
def locked(path: Path, error: type[KLMError] = AssetError, wait: float | None = None, **options):
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
            where=str(path),
            found=f"still locked after {wait:g} seconds",
            expected="a process that is done with it by then",
            remedy="wait until that process is over or end it, then try again; deleting the lock file would let two "
            f"processes write at once (who holds it, on Linux: `fuser {path}`)",
        ) from fault
    except OSError as fault:
        raise unwritable(path, fault, error) from fault
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path, locked: bool = False) -> None:
    """Delete what killed writers left in `folder`: files of this machine whose process is gone.

    No clock is asked, since clocks differ. With `locked` it deletes all: for the holder of the folder's lock, beside
    whom nobody writes.
    """
    for rest in folder.glob(".klm-tmp-*"):
        if locked or abandoned(rest):
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


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unwritable(path: Path, fault: Exception, error: type[KLMError]) -> KLMError:
    """The error of kind `error` that says why `path` cannot be written, with the remedy for that cause."""
    return error(
        "cannot write",
        where=str(path),
        found=str(fault),
        expected="a writable folder with free space",
        remedy=_REMEDY.get(getattr(fault, "errno", None), _REMEDY[errno.ENOSPC]),
    )
