"""Pretrained language models, by name: the two pinned ones, or anything that from_pretrained can read."""

import copy
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import transformers
from huggingface_hub import HfApi
from huggingface_hub import constants as hub
from huggingface_hub.errors import HfHubHTTPError
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import cached_file

from klm_utils.data.assets import ASSETS, fetch, offline
from klm_utils.embedding import e5
from klm_utils.errors import AssetError, ConfigError
from klm_utils.files import LEFT_BY_SYSTEMS, check_seal, sealed

log = logging.getLogger(__name__)
transformers.utils.logging.set_verbosity_error()  # load reports and hints
transformers.utils.logging.disable_progress_bar()  # huggingface_hub's too
logging.getLogger("huggingface_hub").setLevel("ERROR")  # one line per retry of a download
TEXT_ENCODER = {"pooling": "mean", "normalize": True, "max_length": 256, "prefix": None}  # defaults of from_pretrained
_POOLINGS = {"mean": "mean", "cls": "cls", "lasttoken": "last"}  # word of sentence-transformers -> word of TextEncoder
PREFIXES = {"e5": "query: "}  # Wang et al. 2024, Multilingual E5, section 2: texts of symmetric tasks start so


def load_backbone(name: str | os.PathLike) -> tuple[transformers.PreTrainedTokenizerBase, transformers.PreTrainedModel]:
    """A tokenizer and its language model, in evaluation mode, float32, on the CPU; nothing is printed.

    Args:
        name: "minilm" (all-MiniLM-L6-v2, English), "e5" (multilingual-e5-small), a hub id or a local folder.

    Raises:
        ConfigError: `name` is not a text.
        AssetError: the model is missing, incomplete, of an unknown kind, or wants code of its own to run.
    """
    if not isinstance(name, str | os.PathLike) or not str(name):
        what, expected = "the name of a language model must be a text", '"minilm", "e5", a hub id or a local folder'
        raise ConfigError(what, "load_backbone(name)", name, expected, "pass one of these")
    if name == "minilm":
        folder = fetch("minilm")
        _refuse_foreign(folder, ASSETS["minilm"].members)
        return _pretrained(AutoTokenizer, folder, True), _pretrained_model(folder, True)
    if name == "e5":
        tokenizer, folder = e5.tokenizer(), e5.folder()
        _refuse_foreign(folder, e5.FILES)
        return tokenizer, _pretrained_model(folder, True)
    if sealed(Path(name)):  # save_pretrained wrote it
        check_seal(Path(name))
    local = not hub_answers(name)
    tokenizer = _pretrained(AutoTokenizer, name, local)
    if set(tokenizer.get_vocab()) <= {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab(), "▁"}:
        # transformers makes such a tokenizer when it finds no file of one
        what, found = "the tokenizer knows no word, so all texts would be equal", sorted(tokenizer.get_vocab())[:5]
        expected = "the files of the tokenizer beside those of the model: tokenizer.json, or vocab.txt and the like"
        raise AssetError(what, str(name), found, expected, "add them: tokenizer.save_pretrained(folder)")
    return tokenizer, _pretrained_model(name, local)


def hub_answers(name: str | os.PathLike) -> bool:
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
        what, expected = (
            "the vocabulary of this kind of tokenizer cannot be trimmed",
            "Unigram (e5), WordPiece (minilm)",
        )
        raise ConfigError(what, "trim_vocabulary(tokenizer)", kind, expected, "use the model as it is")
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
    table: Any = model.get_input_embeddings()
    small: Any = copy.deepcopy(model, {id(table): table})  # the big table is not copied
    rows = torch.nn.Embedding.from_pretrained(table.weight.detach()[old].clone(), freeze=not table.weight.requires_grad)
    small.set_input_embeddings(rows)
    small.config.vocab_size, small.config.pad_token_id = len(old), trimmed.pad_token_id
    return trimmed, small


def _refuse_foreign(folder: Path, known: Iterable[str]) -> None:
    """AssetError if a pinned model has a file more: transformers would read an adapter_config.json, for example."""
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()} - set(known)
    seen = sorted(file for file in files if not file.startswith(".") and "/." not in file)
    if foreign := [file for file in seen if PurePosixPath(file).name not in LEFT_BY_SYSTEMS]:
        what, expected = "a file that does not belong to this model, and may change it", f"only {', '.join(known)}"
        raise AssetError(what, str(folder / foreign[0]), foreign, expected, "move it to another folder")


def _pretrained_model(name: str | os.PathLike, local: bool) -> transformers.PreTrainedModel:
    """AutoModel without pooling layer: none of our poolings uses it, and where the file lacks it, it is random."""
    options = {"dtype": torch.float32, "output_loading_info": True}
    try:
        model, info = _pretrained(AutoModel, name, local, add_pooling_layer=False, **options)
    except TypeError:  # this architecture has no such argument
        model, info = _pretrained(AutoModel, name, local, **options)
    if info["missing_keys"]:
        what = "the file of weights is incomplete; random values would stand in for the rest"
        found = f"{len(info['missing_keys'])} tensors missing, first {min(info['missing_keys'])}"
        expected = f"all tensors of {type(model).__name__}"
        raise AssetError(what, str(name), found, expected, "save or download the model again")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # off the file, which Windows lets nobody replace while it is mapped
    return model.eval()


def _pretrained(kind: Any, name: str | os.PathLike, local: bool, **options: Any) -> Any:
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
        what, found = f"{kind.__name__} cannot load this model", (str(fault).strip().splitlines() or [""])[0]
        expected = '"minilm", "e5", a hub id, or a folder with config.json, model.safetensors and tokenizer files'
        raise AssetError(what, str(name), f"{type(fault).__name__}: {found}", expected, remedy) from fault
    finally:
        hub.HF_HUB_OFFLINE = before


# What a model of sentence-transformers says of its own pooling. TextEncoder goes by its arguments, but tells.


def warn_if_stated(name: str | os.PathLike, given: dict) -> None:
    """One line of the log if the model says otherwise than the arguments left at their defaults, with what to pass.

    Args:
        name: a hub id or a local folder.
        given: the arguments of `TEXT_ENCODER`; who passes another value has decided.
    """
    said = stated(name)
    lacks = [f"a layer {layer}" for layer in said.pop("layers", ())]
    if said.get("pooling", "mean") not in _POOLINGS.values():
        lacks.append(f"the pooling {said.pop('pooling')}")
    if lacks:
        log.warning("%s wants %s: TextEncoder has none, and gives other vectors", name, " and ".join(lacks))
    other = {key: value for key, value in said.items() if given[key] == TEXT_ENCODER[key] != value}
    if other:
        follow = ", ".join(f"{key}={value!r}" for key, value in other.items())
        log.warning("%s was made for %s: pass that to TextEncoder.from_pretrained to follow it", name, follow)


def stated(name: str | os.PathLike) -> dict:
    """Arguments of TextEncoder that the files of sentence-transformers state, and "layers" that it lacks; {} if none.

    They are modules.json, the config.json of the pooling, sentence_bert_config.json and
    config_sentence_transformers.json.
    """
    local = not hub_answers(name)
    modules = _json(name, "modules.json", local)
    if not isinstance(modules, list):
        return {}
    kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
    said: dict[str, Any] = {"normalize": "Normalize" in kinds}
    if layers := sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"}):
        said["layers"] = layers
    if "Pooling" in kinds:
        said["pooling"] = _pooling(_json(name, f"{kinds['Pooling']}/config.json", local) or {})
    if length := (_json(name, "sentence_bert_config.json", local) or {}).get("max_seq_length"):
        said["max_length"] = length
    config = _json(name, "config_sentence_transformers.json", local) or {}
    prompts = {key: text for key, text in (config.get("prompts") or {}).items() if text}
    if prompts:
        said["prefix"] = prompts.get(config.get("default_prompt_name"), next(iter(prompts.values())))
    return said


def _pooling(config: dict) -> str:
    """One word, or several with + between: {"pooling_mode": "cls"}, before 2026 {"pooling_mode_cls_token": true}."""
    word = config.get("pooling_mode")
    words = [word] if isinstance(word, str) else word or [k for k, on in config.items() if on is True and "mode_" in k]
    words = [w.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for w in words]
    return _POOLINGS.get(words[0], words[0]) if len(words) == 1 else "+".join(words) or "mean"


def _json(name: str | os.PathLike, file: str, local: bool) -> Any:
    """The content of a file of the model, or None if there is no such file, or it cannot be read."""
    try:
        path = cached_file(name, file, local_files_only=local)
        return path and json.loads(Path(path).read_text(encoding="utf8"))
    except (OSError, ValueError, TypeError):
        return None
