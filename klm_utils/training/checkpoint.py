"""One file for a model or a run: tensors and a JSON description in safetensors, complete or absent, never altered."""

import hashlib
import json
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from klm_utils import files
from klm_utils.errors import CheckpointError, KLMError
from klm_utils.files import atomic_write

# What reading a description of wrong content may raise.
WRONG = (ArithmeticError, AttributeError, LookupError, RecursionError, RuntimeError, TypeError, ValueError, KLMError)


def write(path: Path, tensors: dict[str, torch.Tensor], about: dict) -> None:
    """Write tensors and their description in one step: after a kill or on a full disk the old file is still there.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, ensure_ascii=False, default=lambda number: number.item())  # numpy's
    metadata = {"about": text, "sha256": checksum(tensors, text)}
    atomic_write(Path(path), lambda beside: save_file(tensors, beside, metadata), CheckpointError)


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """What `write` wrote.

    Raises:
        CheckpointError: no such file, or one that is cut short or was edited.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            "there is no checkpoint here",
            where=str(path),
            found="no such file",
            expected="a file written by save_pretrained or fit",
            remedy="check the path",
        )
    try:
        with safe_open(path, framework="pt") as file:
            # cloned: as long as a tensor is a view of the file, Windows does not let the file be replaced
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as fault:
        raise _unreadable(path, str(fault)) from fault
    if "about" not in metadata:
        raise CheckpointError(
            "this file was not written by klm_utils",
            where=str(path),
            found=f"a safetensors file with {len(tensors)} tensors and no description",
            expected="a file written by save_pretrained or fit",
            remedy="check the path",
        )
    if metadata.get("sha256") != checksum(tensors, metadata["about"]):
        raise _unreadable(path, "its checksum does not fit its content")
    return tensors, _parsed(path, metadata["about"])


def about(path: Path) -> dict:
    """The description in a file that `write` wrote, without its tensors.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("about", "{}")
    except (SafetensorError, OSError) as fault:
        raise _unreadable(path, str(fault)) from fault
    return _parsed(path, text)


def wrong_content(path: Path, fault: object) -> CheckpointError:
    """The error for a file that is whole and yet no model or run: somebody made it, or another version did."""
    return CheckpointError(
        "this file is whole, but its content is not what klm_utils writes",
        where=str(path),
        found=f"{type(fault).__name__}: {fault}"[:300] if isinstance(fault, Exception) else fault,
        expected="a file written by save_pretrained or fit",
        remedy="get it from where it was made; a file of a run can also be deleted, and the run made anew",
    )


def locked(folder: Path):
    """A lock for writers of this folder: one process at a time.

    Raises:
        CheckpointError: another process still holds it after `klm_utils.files.WAIT` seconds.
    """
    # In the temporary folder of the system, which all processes share whatever their KLM_CACHE, and all users (so
    # mode): a file in the folder itself would be pushed to the hub. A process with another TMPDIR is not seen.
    name = hashlib.sha256(str(Path(folder).resolve()).encode("utf8", "surrogateescape")).hexdigest()[:16]
    return files.locked(Path(tempfile.gettempdir()) / f"klm-save-{name}.lock", CheckpointError, mode=0o666)


def checksum(tensors: dict[str, torch.Tensor], about: str) -> str:
    """sha256 of names, kinds, shapes and values of tensors, and of a text."""
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


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


def _unreadable(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        "the checkpoint is cut short or was edited",
        where=str(path),
        found=found,
        expected="the file as it was written",
        remedy="copy it again, or delete it and train again",
    )
