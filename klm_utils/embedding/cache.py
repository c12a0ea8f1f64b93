"""Vectors on disk, under the fingerprint of their encoder and the set of their texts. A cache never stops the work."""

import functools
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from klm_utils.errors import AssetError
from klm_utils.files import atomic_write, cache_dir

log = logging.getLogger(__name__)


def cached(fingerprint: str, texts: list[str], width: int, encode: Callable[[], np.ndarray]) -> np.ndarray:
    """The vectors of these texts from the disk, else those of `encode()`, which are then left there.

    Args:
        fingerprint: of the encoder.
        texts: n of them, in an order of their own, so that a set of texts has one place.
        width: of a vector.
        encode: gives float32 [n, width].
    """
    name = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    try:
        path = cache_dir() / "vectors" / fingerprint / f"{name}.safetensors"
    except AssetError as fault:
        _warn_once(f"no cache for vectors, encoding goes on without: {fault.where}: {fault.found}")
        return encode()
    vectors = read(path, (len(texts), width))
    if vectors is None:
        vectors = encode()
        metadata = {"sha256": _checksum(path, vectors)}
        try:
            atomic_write(path, lambda temporary: temporary.write_bytes(save({"vectors": vectors}, metadata)))
        except AssetError as fault:
            _warn_once(f"cannot cache vectors in {path.parent.parent}, encoding goes on without: {fault.__cause__}")
    return vectors


def read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The vectors in a file; None if there is no such file, or one that is not as it was written."""
    try:
        with safe_open(path, framework="numpy") as file:
            vectors, checksum = file.get_tensor("vectors"), (file.metadata() or {}).get("sha256")
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as fault:
        log.warning("cannot read the cached vectors %s (%s): encoding again", path, fault)
        return None
    if vectors.shape != shape or checksum != _checksum(path, vectors):
        log.warning("the cached vectors %s were altered on disk: encoding again", path)
        return None
    return vectors


def _checksum(path: Path, vectors: np.ndarray) -> str:
    """Binds the values to the fingerprint and texts that name the file."""
    head = f"{path.parent.name} {path.name} {vectors.dtype} {vectors.shape}".encode()
    return hashlib.sha256(head + vectors.tobytes()).hexdigest()


@functools.cache
def _warn_once(text: str) -> None:
    log.warning(text)
