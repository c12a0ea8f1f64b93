"""One file for a model or a run: tensors and a JSON description in safetensors, complete or absent, never altered."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from klm_utils.data.assets import atomic_write
from klm_utils.errors import CheckpointError


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
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
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
    return tensors, json.loads(metadata["about"])


def about(path: Path) -> dict:
    """The description in a file that `write` wrote, without its tensors.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("about", "{}"))
    except (SafetensorError, OSError) as fault:
        raise _unreadable(path, str(fault)) from fault


def checksum(tensors: dict[str, torch.Tensor], about: str) -> str:
    """sha256 of names, kinds, shapes and values of tensors, and of a text."""
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _unreadable(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        "the checkpoint is cut short or was edited",
        where=str(path),
        found=found,
        expected="the file as it was written",
        remedy="copy it again, or delete it and train again",
    )
